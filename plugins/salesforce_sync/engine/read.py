"""Reading: what a source gives is staged, and registered in the inbox in the transaction that moves the reading's mark.

One task at a time reads a stream; the number of its reading comes with the lease. A file counts only when the taking that
read it registers it, else the records are read again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from salesforce_sync.engine.context import Context, SyncRun, sync_run
from salesforce_sync.engine.lease import Lease, hold
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import BatchRef, Counts
from salesforce_sync.staging import BatchWriter, Staging
from salesforce_sync.state import claims, coverage, inbox, leases, seen_paths, versions, watermarks
from salesforce_sync.state.engine import reading as looking
from salesforce_sync.state.inbox import Batch

log = logging.getLogger(__name__)

WHOLE = "/whole"  # behind a stream's name: the mark of its last reading of all records
FIRST = "/first"  # behind a stream's name: when its first reading began, by the clock of the side that was read


@dataclass
class Reading:
    """A reading under way. What is staged becomes part of the inbox by `register`, and by nothing else."""

    context: Context
    stream: str
    lease: Lease
    number: int
    run: SyncRun
    staged: list[tuple[str, BatchRef, tuple[str, ...], str | None]] = field(default_factory=list)

    def folder(self, mapping: str, part: str = "") -> Any:
        """Where this reading stages the records of a mapping: no other reading writes there."""
        return self.context.staging.folder(self.context.org, self.stream, f"{self.number:09d}", mapping, part or "all")

    def writer(self, name: str, mapping: MappingFile, *, origin: str | None = None) -> BatchWriter:
        """Stages records of a mapping to Salesforce one by one; hand its batches to `add`."""
        return records_writer(self.context.staging, self.folder(name, origin or ""), mapping, origin=origin)

    def add(self, mapping: str, refs: Sequence[BatchRef], *, paths: Sequence[str], read_from: str | None = None) -> int:
        """Keeps the batches for `register`; gives how many records they hold. `read_from` is the watermark before."""
        self.staged += [(mapping, ref, tuple(paths), read_from) for ref in refs]
        return sum(ref.count for ref in refs)

    def register(
        self, *, resend: bool = False, marks: Callable[[Connection], None] = lambda _: None, release: bool = True
    ) -> None:
        """T1: inbox rows, and what `marks` writes (a watermark, covered days, versions), in one fenced transaction.

        The lease is given back in it, unless the caller goes on under it.
        """
        with self.lease.transaction() as connection:
            for mapping, ref, paths, read_from in self.staged:
                inbox.register(
                    connection, self.context.run, org=self.context.org, mapping=mapping, stream=self.stream,
                    reading=self.number, refs=[ref], paths=paths, read_from=read_from, resend=resend,
                )  # fmt: skip
            for mapping in {mapping for mapping, *_ in self.staged}:
                named = {path for name, ref, *_ in self.staged if name == mapping for path in ref.filled or ()}
                seen_paths.add(connection, self.context.org, mapping, named)
            marks(connection)
            self.run.counts += Counts(read=sum(ref.count for _, ref, _, _ in self.staged))
            if release:
                self.lease.release(connection)
        self.staged = []


@contextmanager
def reading(context: Context, stream: str, *, name: str = "") -> Iterator[Reading]:
    """The right to read a stream, and the number of this reading. LeaseHeld while another task reads it.

    `name` is the sync run's; without it, the stream's.
    """
    with hold(context, [f"read/{stream}"]) as lease, sync_run(context, name or f"{stream}/extract") as run:
        with looking(context.state) as connection:
            (lease_name,) = lease.epochs
            number = leases.reading_number(connection, lease_name)
        yield Reading(context, stream, lease, number, run)


def records_writer(staging: Staging, folder: Any, mapping: MappingFile, *, origin: str | None = None) -> BatchWriter:
    """Stages records of a mapping to Salesforce: what it reads of them, under their ids."""
    return staging.records(
        folder,
        id_path=mapping.vendor.id,
        paths=mapping.vendor_paths,
        origin=origin,
        whole_ids=mapping.has_salesforce_ids,
    )


def is_whole_due(last_whole: str | None, now: datetime, days: int) -> bool:
    """Whether the last reading of all records was begun at least so many days ago, by UTC date; never with 0."""
    if not days:
        return False
    return last_whole is None or (now.date() - datetime.fromisoformat(last_whole).date()).days >= days


def mark_first(connection: Connection, org: str, stream: str, began: datetime) -> None:
    """Keeps when the stream was first read."""
    if watermarks.get(connection, org, f"{stream}{FIRST}") is None:
        watermarks.advance(connection, org, f"{stream}{FIRST}", began.isoformat())


def take_back(connection: Connection, org: str, batch: Batch) -> None:
    """A batch's file is lost: what it held counts as not read, in whichever way its stream is read."""
    inbox.lose(connection, batch.id)
    if batch.origin is not None:
        coverage.uncover(connection, org, batch.stream, [batch.origin])
        versions.forget(connection, org, batch.stream, batch.origin)
    if batch.read_from is not None:
        watermarks.take_back(connection, org, batch.mapping, batch.read_from)
    claims.read_again(connection, org, batch.stream, batch.reading)


def summary(counts: Mapping[str, int]) -> str:
    """Numbers by name, as a log line says them."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "nothing"
