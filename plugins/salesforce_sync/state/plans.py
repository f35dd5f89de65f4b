"""Plans, the questions that hold some of them, and the notes of chunks that were sent and are not committed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update

from salesforce_sync.records import Reason, RunIdentity
from salesforce_sync.state.schema import notes, plans

MADE, UNDER_WAY, DONE, REPLACED = "made", "under way", "done", "replaced"
HELD, ALLOWED, REJECTED, DRY_RUN = "held", "allowed", "rejected", "dry run"
REMIND_EVERY = timedelta(days=1)


@dataclass(frozen=True)
class Plan:
    """A plan as its row has it; `reasons` say why it waits, or waited, for a person. Moments are UTC."""

    id: int
    org: str
    target: str
    status: str
    path: str
    chunks: int
    counts: Mapping[str, int]
    reasons: tuple[Reason, ...]
    dag_id: str
    run_id: str
    made_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Note:
    """A chunk whose rows may be on their way. `rested` is in seconds since its sender's term ended."""

    plan_id: int
    chunk: int
    target: str
    path: str
    epoch: int
    content: str | None
    job_id: str | None
    rested: float
    tries: int
    rows: tuple[int, ...] | None
    leases: frozenset[str]

    @property
    def sent(self) -> tuple[int, int, int, int]:
        """Which sending of which chunk it is: what was waited for counts for this one alone."""
        return self.plan_id, self.chunk, self.epoch, self.tries


def make(
    connection: Connection,
    *,
    org: str,
    target: str,
    epoch: int,
    path: str,
    chunks: int,
    counts: Mapping[str, int],
    sync_run_id: int | None,
    run: RunIdentity,
    status: str = MADE,
    reasons: Sequence[Reason] = (),
) -> int:
    """The id of a new plan. An earlier plan for the target that was made and not finished is replaced: its holder is
    gone. A plan that is held for these `reasons` replaces one that was held before: there is one question for a target."""
    over = {MADE: (MADE, UNDER_WAY), HELD: (HELD, ALLOWED)}.get(status, ())
    unfinished = (plans.c.org == org) & (plans.c.target == target) & plans.c.status.in_(over)
    connection.execute(update(plans).where(unfinished).values(status=REPLACED, ended_at=datetime.now(UTC)))
    values = {
        "org": org, "target": target, "epoch": epoch, "path": path, "status": status, "chunks": chunks,
        "counts": json.dumps(dict(counts)), "sync_run_id": sync_run_id, "made_at": datetime.now(UTC),
        "dag_id": run.dag_id, "run_id": run.run_id,
        "question": json.dumps([reason._asdict() for reason in reasons]) if reasons else None,
        "reminded_at": datetime.now(UTC) if status == HELD else None,
    }  # fmt: skip
    return int(connection.execute(insert(plans).values(**values).returning(plans.c.id)).scalar_one())


def finish(connection: Connection, plan_id: int, *, status: str = DONE) -> None:
    connection.execute(update(plans).where(plans.c.id == plan_id).values(status=status, ended_at=datetime.now(UTC)))


def withdraw(connection: Connection, plan_id: int) -> None:
    """The question has come to nothing, unless somebody has answered it meanwhile."""
    held = (plans.c.id == plan_id) & (plans.c.status == HELD)
    connection.execute(update(plans).where(held).values(status=REPLACED, ended_at=datetime.now(UTC)))


# -- questions -----------------------------------------------------------------------------------------------------


def get(connection: Connection, plan_id: int) -> Plan | None:
    return next(iter(_plans(connection, select(plans).where(plans.c.id == plan_id))), None)


def with_status(connection: Connection, status: str, *, org: str = "", target: str = "") -> list[Plan]:
    """The plans with this status, of one org and target if they are named, the oldest first."""
    query = select(plans).where(plans.c.status == status)
    if org:
        query = query.where(plans.c.org == org)
    if target:
        query = query.where(plans.c.target == target)
    return _plans(connection, query)


def written(connection: Connection, org: str, targets: Sequence[str]) -> list[Plan]:
    """The targets' plans that may have been written, the newest first. The log says which of their rows were."""
    columns = plans.c
    query = select(plans).where(
        columns.org == org, columns.target.in_(list(targets)), columns.status.in_((DONE, UNDER_WAY, REPLACED))
    )
    return _plans(connection, query)[::-1]


def targets_of(connection: Connection, org: str, mapping: str) -> list[str]:
    """The targets of the plans that the mapping was part of: its own name, or several joined by `+`."""
    query = select(plans.c.target).where(plans.c.org == org).distinct()
    return [target for target in connection.execute(query).scalars() if mapping in target.split("+")]


def decide(connection: Connection, plan_id: int, *, allow: bool, person: str, reason: str) -> bool:
    """Lets the held plan pass, or rejects it, in a person's name. False when it is not held, or not any more."""
    values = {
        "status": ALLOWED if allow else REJECTED, "decided_by": person, "decided_at": datetime.now(UTC),
        "reason": reason or None, "ended_at": None if allow else datetime.now(UTC),
    }  # fmt: skip
    held = (plans.c.id == plan_id) & (plans.c.status == HELD)
    return connection.execute(update(plans).where(held).values(**values)).rowcount == 1


def remind(connection: Connection, plan_id: int, *, now: datetime) -> bool:
    """Whether it is time to remind people of the held plan, a day after the last time; notes that it was done."""
    due = (plans.c.id == plan_id) & (plans.c.status == HELD) & (plans.c.reminded_at <= now - REMIND_EVERY)
    return connection.execute(update(plans).where(due).values(reminded_at=now)).rowcount == 1


def of_dag_run(connection: Connection, dag_id: str, run_id: str) -> list[Plan]:
    """The plans that a DAG run made."""
    return _plans(connection, select(plans).where(plans.c.dag_id == dag_id, plans.c.run_id == run_id))


def ask(connection: Connection, run_id: str) -> Plan | None:
    """The oldest held plan of which nobody was asked yet; notes that this run asks."""
    query = select(plans).where(plans.c.status == HELD, plans.c.asked_in.is_(None)).order_by(plans.c.id).limit(1)
    found = _plans(connection, query.with_for_update())
    if not found:
        return None
    connection.execute(update(plans).where(plans.c.id == found[0].id).values(asked_in=run_id))
    return found[0]


def asked_in(connection: Connection, run_id: str) -> Plan | None:
    """The plan that this run asked about."""
    return next(iter(_plans(connection, select(plans).where(plans.c.asked_in == run_id))), None)


def _plans(connection: Connection, query: Select[Any]) -> list[Plan]:
    rows = connection.execute(query.order_by(None).order_by(plans.c.id)).mappings()
    return [
        Plan(
            row["id"], row["org"], row["target"], row["status"], row["path"], row["chunks"], json.loads(row["counts"]),
            tuple(Reason(**item) for item in json.loads(row["question"] or "[]")), row["dag_id"], row["run_id"],
            row["made_at"], row["decided_by"], row["decided_at"], row["reason"],
        )
        for row in rows
    ]  # fmt: skip


# -- keeping house -------------------------------------------------------------------------------------------------


def unfinished(connection: Connection) -> list[tuple[int, str, int, datetime]]:
    """(id, folder, number of chunks, when it was made) of the plans that are not written in full, of all orgs."""
    columns = [plans.c.id, plans.c.path, plans.c.chunks, plans.c.made_at]
    query = select(*columns).where(plans.c.status.in_((MADE, UNDER_WAY))).order_by(plans.c.id)
    return [tuple(row) for row in connection.execute(query)]


def noted_chunks(connection: Connection, plan_id: int) -> set[int]:
    """The chunks of the plan that were sent and are not committed."""
    return set(connection.execute(select(notes.c.chunk).where(notes.c.plan_id == plan_id)).scalars())


def paths_older_than(connection: Connection, before: datetime) -> list[tuple[int, str]]:
    """(id, folder) of the plans that were made before this moment, have no note, and wait for nobody."""
    noted = select(notes.c.plan_id)
    is_over = plans.c.status.not_in((HELD, ALLOWED))
    query = select(plans.c.id, plans.c.path).where(plans.c.made_at < before, plans.c.id.not_in(noted), is_over)
    return [(row[0], row[1]) for row in connection.execute(query)]


def forget(connection: Connection, plan_id: int) -> None:
    connection.execute(delete(plans).where(plans.c.id == plan_id))


# -- notes ---------------------------------------------------------------------------------------------------------


def note(
    connection: Connection, *, org: str, target: str, plan_id: int, chunk: int, epoch: int, leases: Iterable[str]
) -> None:
    """Notes that the chunk is about to be sent, by somebody who holds these leases."""
    values = {
        "plan_id": plan_id, "chunk": chunk, "org": org, "target": target, "epoch": epoch, "rested": 0.0, "tries": 0,
        "leases": json.dumps(sorted(leases)),
        "noted_at": datetime.now(UTC),
    }  # fmt: skip
    connection.execute(insert(notes).values(**values))
    connection.execute(update(plans).where(plans.c.id == plan_id).values(status=UNDER_WAY))


def change_note(connection: Connection, plan_id: int, chunk: int, **values: Any) -> None:
    connection.execute(update(notes).where(notes.c.plan_id == plan_id, notes.c.chunk == chunk).values(**values))


def remove_note(connection: Connection, plan_id: int, chunk: int) -> None:
    connection.execute(delete(notes).where(notes.c.plan_id == plan_id, notes.c.chunk == chunk))


def open_notes(connection: Connection, org: str, target: str | None = None) -> list[Note]:
    """The notes of the target's chunks, or of all chunks of the org, the oldest first."""
    query = (
        select(notes, plans.c.path.label("folder"))
        .join(plans, plans.c.id == notes.c.plan_id)
        .where(notes.c.org == org)
        .order_by(notes.c.plan_id, notes.c.chunk)
    )
    if target is not None:
        query = query.where(notes.c.target == target)
    return [
        Note(
            row["plan_id"], row["chunk"], row["target"], row["folder"], row["epoch"], row["content"], row["job_id"], row["rested"],
            row["tries"],
            None if row["rows"] is None else tuple(json.loads(row["rows"])), frozenset(json.loads(row["leases"])),
        )
        for row in connection.execute(query).mappings()
    ]  # fmt: skip
