"""Plans, and the notes of chunks that were sent and are not committed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from salesforce_sync.state.schema import notes, plans

MADE, UNDER_WAY, DONE, REPLACED = "made", "under way", "done", "replaced"


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
    sync_run_id: int,
) -> int:
    """The id of a new plan. An earlier plan for the target that was not finished is replaced: its holder is gone."""
    unfinished = (plans.c.org == org) & (plans.c.target == target) & plans.c.status.in_((MADE, UNDER_WAY))
    connection.execute(update(plans).where(unfinished).values(status=REPLACED, ended_at=datetime.now(UTC)))
    values = {
        "org": org, "target": target, "epoch": epoch, "path": path, "status": MADE, "chunks": chunks,
        "counts": json.dumps(dict(counts)), "sync_run_id": sync_run_id, "made_at": datetime.now(UTC),
    }  # fmt: skip
    return int(connection.execute(insert(plans).values(**values).returning(plans.c.id)).scalar_one())


def finish(connection: Connection, plan_id: int) -> None:
    connection.execute(update(plans).where(plans.c.id == plan_id).values(status=DONE, ended_at=datetime.now(UTC)))


def unfinished(connection: Connection) -> list[tuple[int, str, int, datetime]]:
    """(id, folder, number of chunks, when it was made) of the plans that are not written in full, of all orgs."""
    columns = [plans.c.id, plans.c.path, plans.c.chunks, plans.c.made_at]
    query = select(*columns).where(plans.c.status.in_((MADE, UNDER_WAY))).order_by(plans.c.id)
    return [tuple(row) for row in connection.execute(query)]


def noted_chunks(connection: Connection, plan_id: int) -> set[int]:
    """The chunks of the plan that were sent and are not committed."""
    return set(connection.execute(select(notes.c.chunk).where(notes.c.plan_id == plan_id)).scalars())


def paths_older_than(connection: Connection, before: datetime) -> list[tuple[int, str]]:
    """(id, folder) of the plans that were made before this moment and have no note."""
    noted = select(notes.c.plan_id)
    query = select(plans.c.id, plans.c.path).where(plans.c.made_at < before, plans.c.id.not_in(noted))
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
