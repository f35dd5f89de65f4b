"""The sync log: every record's fate in every run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from salesforce_sync.records import RecordResult
from salesforce_sync.state.schema import sync_log, sync_runs


def write(connection: Connection, sync_run_id: int, results: Iterable[RecordResult]) -> None:
    """One row per result."""
    rows = [
        {
            "sync_run_id": sync_run_id, "record_id": result.record_id, "salesforce_id": result.salesforce_id,
            "outcome": str(result.outcome), "code": result.code, "message": result.message,
        }
        for result in results
    ]  # fmt: skip
    if rows:
        connection.execute(insert(sync_log), rows)


def of_record(connection: Connection, record_id: str) -> list[dict[str, Any]]:
    """What became of a record (by its vendor id or Salesforce id), newest first, with the run that it was in."""
    query = (
        select(sync_log, sync_runs.c.step, sync_runs.c.dag_id, sync_runs.c.run_id, sync_runs.c.ended_at)
        .join(sync_runs)
        .where((sync_log.c.record_id == record_id) | (sync_log.c.salesforce_id == record_id))
        .order_by(sync_log.c.id.desc())
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def outcomes(
    connection: Connection, dag_id: str, run_id: str, *, steps: Sequence[str]
) -> dict[str, tuple[str, str | None]]:
    """(outcome, code) of every record that these steps of a DAG run looked at, the last one where there are several."""
    query = (
        select(sync_log.c.record_id, sync_log.c.outcome, sync_log.c.code)
        .join(sync_runs)
        .where(sync_runs.c.dag_id == dag_id, sync_runs.c.run_id == run_id, sync_runs.c.step.in_(steps))
        .order_by(sync_log.c.id)
    )
    return {row[0]: (row[1], row[2]) for row in connection.execute(query)}


def purge(connection: Connection, *, before: datetime) -> int:
    """Deletes the log of runs that started before this moment; the runs' counts stay. Gives the number of rows deleted."""
    old = select(sync_runs.c.id).where(sync_runs.c.started_at < before)
    return connection.execute(delete(sync_log).where(sync_log.c.sync_run_id.in_(old))).rowcount
