"""Leases: who may write to a target or read a stream. A row each; its epoch fences every transaction of its holder.

No wall clock is compared: a waiter that sees the same beat for a while, by its own monotonic clock, takes over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from salesforce_sync.state.engine import upsert
from salesforce_sync.state.schema import leases

# Every transaction of a holder begins with it, so it is put together once.
_PROVE = (
    update(leases)
    .where(leases.c.name == bindparam("lease"), leases.c.epoch == bindparam("known"))
    .values(beat=leases.c.beat + 1)
)


class Held(NamedTuple):
    """A lease that somebody holds: what a waiter has to see unchanged before it takes over."""

    name: str
    epoch: int
    beat: int
    holder: str


def take(
    connection: Connection, names: Sequence[str], holder: str, *, overdue: Held | None = None
) -> dict[str, int] | Held:
    """Takes all leases, and gives their epochs; or the first one that another holds, and takes none.

    With `overdue`, a lease whose holder has given no sign of life, everything that this holder has may be taken over, as
    long as the lease still has the epoch and the beat that were seen: a holder raises the beats of all its leases together.
    """
    rows = {name: _locked(connection, name) for name in sorted({*names, *([overdue.name] if overdue else [])})}
    dead = overdue.holder if overdue is not None and rows[overdue.name] == overdue else None
    for name in names:
        row = rows[name]
        if row.holder is not None and row.holder != dead:
            return Held(*row)
    for name in names:
        values = {
            "epoch": rows[name].epoch + 1, "holder": holder, "beat": leases.c.beat + 1,
            "reading": leases.c.reading + 1,
        }  # fmt: skip
        connection.execute(update(leases).where(leases.c.name == name).values(**values))
    return {name: int(rows[name].epoch) + 1 for name in names}


def reading_number(connection: Connection, name: str) -> int:
    """The number that the present taking of the lease gave to its reading."""
    return int(connection.execute(select(leases.c.reading).where(leases.c.name == name)).scalar_one())


def prove(connection: Connection, epochs: Mapping[str, int]) -> bool:
    """Whether the leases are still held under these epochs; locks their rows and raises their beats.

    When it is not so, the caller rolls back.
    """
    found = [connection.execute(_PROVE, {"lease": name, "known": epochs[name]}).rowcount for name in sorted(epochs)]
    return all(found)


def free(connection: Connection, epochs: Mapping[str, int]) -> None:
    """Gives back those of the leases that are still held under these epochs."""
    for name, epoch in sorted(epochs.items()):  # in the order of taking them, or two tasks wait for each other
        still_ours = (leases.c.name == name) & (leases.c.epoch == epoch)
        connection.execute(update(leases).where(still_ours).values(holder=None))


def look(connection: Connection, name: str) -> Held | None:
    """The lease as it is now, if somebody holds it."""
    row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
    return None if row is None or row.holder is None else Held(name, row.epoch, row.beat, row.holder)


def _locked(connection: Connection, name: str) -> Held:
    columns = leases.c
    query = select(columns.name, columns.epoch, columns.beat, columns.holder).where(columns.name == name)
    row = connection.execute(query.with_for_update()).one_or_none()
    if row is None:
        first = {"name": name, "epoch": 0, "holder": None, "beat": 0, "reading": 0}
        upsert(connection, leases, [first], update_existing=False)  # another task may have been faster
        row = connection.execute(query.with_for_update()).one()
    return Held(*row)
