"""Sync runs: one row per step of a task instance, begun before it works and ended with what it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from salesforce_sync.records import Counts, RunIdentity
from salesforce_sync.state.schema import sync_runs

RUNNING, SUCCESS, FAILED, INTERRUPTED = "running", "success", "failed", "interrupted"
DRY_RUN = "dry run"  # its counts are what would have been done
HELD = "held"  # what was read waits for a person, who lets the plan pass or rejects it
LIMITED = "limited"  # the API budget was spent; the next run goes on
WAITING = "waiting"  # for a Bulk job; the run after it, of the same task, goes on
MESSAGE_CHARACTERS = 2_000


def begin(connection: Connection, run: RunIdentity, step: str, *, org: str | None = None) -> int:
    """The id of a new run in state `running`. An earlier try of the same task and step that never ended is marked `interrupted`."""
    same = (
        (sync_runs.c.dag_id == run.dag_id) & (sync_runs.c.run_id == run.run_id) & (sync_runs.c.task_id == run.task_id)
    )
    connection.execute(
        update(sync_runs)
        .where(same, sync_runs.c.step == step, sync_runs.c.status == RUNNING)
        .values(status=INTERRUPTED, ended_at=datetime.now(UTC))
    )
    values = asdict(run) | {"step": step, "org": org, "status": RUNNING, "started_at": datetime.now(UTC)}
    return int(connection.execute(insert(sync_runs).values(**values).returning(sync_runs.c.id)).scalar_one())


def end(
    connection: Connection,
    sync_run_id: int,
    *,
    status: str,
    counts: Counts,
    api_calls: int,
    message: str = "",
    watermark_from: str | None = None,
    watermark_to: str | None = None,
) -> None:
    """Writes what the run did; a caller that commits records does it in the same transaction."""
    values = asdict(counts) | {
        "status": status, "api_calls": api_calls, "message": message[:MESSAGE_CHARACTERS] or None, "ended_at": datetime.now(UTC),
        "watermark_from": watermark_from, "watermark_to": watermark_to,
    }  # fmt: skip
    connection.execute(update(sync_runs).where(sync_runs.c.id == sync_run_id).values(**values))


def interrupt(connection: Connection, run: RunIdentity) -> None:
    """Ends the runs of a task instance that died at work."""
    same = (
        (sync_runs.c.dag_id == run.dag_id) & (sync_runs.c.run_id == run.run_id) & (sync_runs.c.task_id == run.task_id)
    )
    stale = same & (sync_runs.c.try_number <= run.try_number) & (sync_runs.c.status == RUNNING)
    connection.execute(update(sync_runs).where(stale).values(status=INTERRUPTED, ended_at=datetime.now(UTC)))


def interrupt_older(connection: Connection, *, before: datetime) -> None:
    """Ends the runs that began before this moment and never ended: no task works that long."""
    stale = (sync_runs.c.status == RUNNING) & (sync_runs.c.started_at < before)
    connection.execute(update(sync_runs).where(stale).values(status=INTERRUPTED, ended_at=datetime.now(UTC)))


def last_dag_of(connection: Connection, step: str) -> str | None:
    """The DAG that did this step last."""
    query = select(sync_runs.c.dag_id).where(sync_runs.c.step == step).order_by(sync_runs.c.id.desc()).limit(1)
    return connection.execute(query).scalar()


def named(connection: Connection, run_id: str, dag_id: str = "") -> list[tuple[str, str]]:
    """(DAG, step) of everything that runs of this id did, of one DAG if it is named."""
    columns = sync_runs.c
    query = select(columns.dag_id, columns.step).where(columns.run_id == run_id).distinct()
    if dag_id:
        query = query.where(columns.dag_id == dag_id)
    return sorted((row[0], row[1]) for row in connection.execute(query))


def of_step(connection: Connection, dag_id: str, run_id: str, step: str) -> list[int]:
    """The sync runs of a DAG run's step, every try's."""
    columns = sync_runs.c
    query = select(columns.id).where(columns.dag_id == dag_id, columns.run_id == run_id, columns.step == step)
    return list(connection.execute(query).scalars())


def last_id(connection: Connection) -> int:
    return int(connection.execute(select(func.max(sync_runs.c.id))).scalar() or 0)


def rows_after(connection: Connection, run_id: int) -> list[dict[str, Any]]:
    """The sync runs that began after this one, in a dry run's copy of the state."""
    query = select(sync_runs).where(sync_runs.c.id > run_id).order_by(sync_runs.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]


def bring_in(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keeps what `rows_after` gave: of a dry run remains that it ran, what it would have done, and its API calls."""
    for row in rows:
        status = row["status"] if row["status"] in (FAILED, WAITING, LIMITED) else DRY_RUN
        values = {name: value for name, value in row.items() if name != "id"}
        connection.execute(insert(sync_runs).values(**values | {"status": status}))


def of_dag_run(connection: Connection, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Every sync run of a DAG run, oldest first, as plain dicts."""
    query = select(sync_runs).where(sync_runs.c.dag_id == dag_id, sync_runs.c.run_id == run_id).order_by(sync_runs.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]
