"""Guards of the engine, each broken on purpose: a soak that finds nothing with one of them broken would prove nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
from sqlalchemy import Connection, delete, select

from salesforce_sync.engine import deliver, gate, plan, to_vendor, undo
from salesforce_sync.engine.two_way.merging import Merging
from salesforce_sync.engine.two_way.sending import Sender
from salesforce_sync.mapping import merge
from salesforce_sync.state import inbox, leases, links, plans, waits
from salesforce_sync.state.schema import inbox as inbox_table
from salesforce_sync.state.schema import leases as leases_table
from salesforce_sync.state.schema import record_links


@contextmanager
def broken(guard: str) -> Iterator[None]:
    """The engine without this guard, while the block runs; "" breaks none."""
    if not guard or guard == "rest":  # that one is broken by the schedule's timing
        yield
        return
    target, name, wrong = BREAKS[guard]
    with mock.patch.object(target, name, wrong):
        yield


def _take(connection: Connection, names: Sequence[str], holder: str, *, overdue: Any = None) -> dict[str, int]:
    """Everybody may have the lease, under the epoch that it has."""
    for name in names:
        leases._locked(connection, name)
    query = select(leases_table.c.name, leases_table.c.epoch).where(leases_table.c.name.in_(list(names)))
    for name in names:
        connection.execute(
            leases_table.update().where(leases_table.c.name == name).values(reading=leases_table.c.reading + 1)
        )
    return {row[0]: row[1] for row in connection.execute(query)}


def _newest(batches: Sequence[Any], load: Callable[[Any], Any]) -> dict[int, Any]:
    """Of several rows of one record, the first one counts."""
    masks, seen = {}, set()
    for batch in batches:
        ids = load(batch)[0]
        masks[batch.id] = np.array([not (key in seen or seen.add(key)) for key in ids], dtype=bool)
    return masks


def _settle_all(connection: Connection, outcomes: Mapping[int, tuple[Sequence[int], Counter[str]]]) -> None:
    """Everything that waits is done, not only what was planned."""
    connection.execute(inbox_table.update().values(status=inbox.DONE))


def _forget_gone(connection: Connection, org: str, mapping: str, results: Any) -> None:
    """A record that is gone leaves no tombstone."""
    kept = [item for item in results if not item.gone]
    _save(connection, org, mapping, kept)
    gone = [item.record_id for item in results if item.gone]
    connection.execute(delete(record_links).where(record_links.c.record_id.in_(gone)))


_save = links.save


def _every_consent(self: Any, member: Any, row: Any, own: Any, vendor_id: Any) -> Any:
    return row.consent


def _nothing_moved(self: Any, *, theirs: bool) -> list[int]:
    """What is read just before a write is not compared."""
    ids = [row["_pair_theirs" if theirs else "_pair_ours"] for row in self.rows]
    self.current = (self.end.look_at_theirs if theirs else self.end.look_at_ours)(ids)[0]
    return list(range(len(self.rows)))


BREAKS: dict[str, tuple[Any, str, Any]] = {
    "lease": (leases, "take", _take),
    "epoch": (leases, "prove", lambda *_: True),
    "version": (deliver, "newest", _newest),
    "note": (plans, "open_notes", lambda *_: []),
    "by-id": (to_vendor._Decisions, "_moves", lambda *_: False),
    "done-by-id": (inbox, "settle", _settle_all),
    "tombstone": (links, "save", _forget_gone),
    "wait": (waits, "of_mappings", lambda *_: []),
    "approval": (gate.Gate, "approved", lambda _, chunk, __=None: np.ones(chunk.num_rows, dtype=bool)),
    "held-out": (plan.Look, "_hold_out", lambda *_: None),
    "look": (undo._Undo, "_why_not_restore", lambda *_: ""),
    "consent": (to_vendor._Decisions, "_consent", _every_consent),
    # of records that are kept equal: FLOW=equal
    "last look": (Sender, "_untouched", _nothing_moved),
    "plan look": (Merging, "_refresh", lambda *_, **__: None),
    "agreed": (merge, "unpack", lambda *_: {}),
    "counterpart": (Merging, "_hints", lambda _: []),
}
