"""Leases at work: one writer for each target, one reader for each stream, and every transaction of theirs fenced."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from salesforce_sync.engine.context import Context
from salesforce_sync.errors import LeaseHeld, LeaseLost
from salesforce_sync.records import RunIdentity
from salesforce_sync.state import api_budget, leases, runs
from salesforce_sync.state.leases import Held

BEAT_SECONDS = 20.0  # between two signs of life of a holder that works call by call


@dataclass(frozen=True)
class Lease:
    """Leases that this task holds, by name, each with its epoch."""

    context: Context
    epochs: Mapping[str, int]

    @property
    def epoch(self) -> int:
        """The greatest of the epochs: what notes and plans of this holder are marked with."""
        return max(self.epochs.values())

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that is this holder's alone. LeaseLost when another task has taken over: nothing is written."""
        with self.context.state.begin() as connection:
            if not leases.prove(connection, self.epochs):
                raise LeaseLost("Another task took over, because this one gave no sign of life for long.")
            yield connection

    def beat(self) -> None:
        """A sign of life, for work that goes on for long without a transaction."""
        with self.transaction():
            pass

    def release(self, connection: Connection) -> None:
        """Gives the leases back in the caller's transaction."""
        leases.free(connection, self.epochs)

    def covers(self, names: Sequence[str]) -> bool:
        return {_full(self.context, name) for name in names} <= set(self.epochs)


@contextmanager
def hold(context: Context, names: Sequence[str]) -> Iterator[Lease]:
    """Takes the leases of the org with these names, all or none, and gives them back at the end.

    LeaseHeld when another task has one of them. A lease that `context.overdue` describes is taken over.
    """
    wanted = [_full(context, name) for name in names]
    with context.state.begin() as connection:
        overdue = context.overdue
        taken = leases.take(connection, wanted, holder_text(context.run), overdue=overdue)
        if isinstance(taken, Held):
            raise LeaseHeld(taken)
        if overdue is not None and overdue.name in taken:
            _bury(connection, overdue)
    lease = Lease(context, taken)
    try:
        yield lease
    finally:
        with context.state.begin() as connection:
            leases.free(connection, taken)


def _bury(connection: Connection, overdue: Held) -> None:
    """Ends the sync runs of a holder that died, and frees the API calls that it had taken in advance."""
    runs.interrupt(connection, RunIdentity(**json.loads(overdue.holder)))
    api_budget.free(connection, holder_digest(overdue.holder))


def holder_text(run: RunIdentity) -> str:
    """Which try of which task it is, as leases name their holder."""
    return json.dumps(asdict(run))


def holder_digest(holder: str) -> str:
    """A holder's name in the ledger of API calls."""
    return hashlib.sha256(holder.encode()).hexdigest()


def _full(context: Context, name: str) -> str:
    return f"{context.org}/{name}"


class Pulse:
    """Signs of life now and then, for work that makes many calls between two transactions."""

    def __init__(self, lease: Lease) -> None:
        self._lease, self._last_beat = lease, time.monotonic()

    def beat(self) -> None:
        if time.monotonic() - self._last_beat > BEAT_SECONDS:
            self._lease.beat()
            self._last_beat = time.monotonic()
