"""Plans, and the notes of chunks that were sent and are not committed."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    path: str
    epoch: int
    content: str | None
    job_id: str | None
    rested: float
    tries: int


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


def paths_older_than(connection: Connection, before: datetime) -> list[tuple[int, str]]:
    """(id, folder) of the plans that were made before this moment and have no note."""
    noted = select(notes.c.plan_id)
    query = select(plans.c.id, plans.c.path).where(plans.c.made_at < before, plans.c.id.not_in(noted))
    return [(row[0], row[1]) for row in connection.execute(query)]


def forget(connection: Connection, plan_id: int) -> None:
    connection.execute(delete(plans).where(plans.c.id == plan_id))


# -- notes ---------------------------------------------------------------------------------------------------------


def note(connection: Connection, *, org: str, target: str, plan_id: int, chunk: int, epoch: int) -> None:
    """Notes that the chunk is about to be sent."""
    values = {
        "plan_id": plan_id, "chunk": chunk, "org": org, "target": target, "epoch": epoch, "rested": 0.0, "tries": 0,
        "noted_at": datetime.now(UTC),
    }  # fmt: skip
    connection.execute(insert(notes).values(**values))
    connection.execute(update(plans).where(plans.c.id == plan_id).values(status=UNDER_WAY))


def change_note(connection: Connection, plan_id: int, chunk: int, **values: Any) -> None:
    connection.execute(update(notes).where(notes.c.plan_id == plan_id, notes.c.chunk == chunk).values(**values))


def remove_note(connection: Connection, plan_id: int, chunk: int) -> None:
    connection.execute(delete(notes).where(notes.c.plan_id == plan_id, notes.c.chunk == chunk))


def open_notes(connection: Connection, org: str, target: str) -> list[Note]:
    """The notes of the target's chunks, the oldest first."""
    query = (
        select(notes, plans.c.path.label("folder"))
        .join(plans, plans.c.id == notes.c.plan_id)
        .where(notes.c.org == org, notes.c.target == target)
        .order_by(notes.c.plan_id, notes.c.chunk)
    )
    return [
        Note(
            row["plan_id"], row["chunk"], row["folder"], row["epoch"], row["content"], row["job_id"], row["rested"],
            row["tries"],
        )
        for row in connection.execute(query).mappings()
    ]  # fmt: skip
