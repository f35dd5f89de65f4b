"""A local copy of what the org's records have in a few fields, kept equal by what changed: one API call a run, however many records there
are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

import pyarrow as pa
from sqlalchemy import Connection

from salesforce_sync.engine.context import Context, sync_run
from salesforce_sync.records import Counts
from salesforce_sync.state import watermarks
from salesforce_sync.state.engine import reading

FULL = ".full"  # behind a mirror's name: when all records were read last
FULL_EVERY = timedelta(days=7)  # what no change tells of: records that are purged, or that sharing rules show or hide


class Copy(Protocol):
    """The table that holds the copy."""

    def latest_mark(self, connection: Connection) -> datetime:
        """The latest `seen_at` in it; the beginning of time when it is empty."""

    def take(self, connection: Connection, rows: pa.Table, *, seen_at: datetime) -> None:
        """These records are like this now; `IsDeleted` tells those that are gone."""

    def drop_unseen(self, connection: Connection, *, before: datetime) -> None:
        """The records that were seen before this moment only are gone."""


def is_empty(context: Context, name: str) -> bool:
    """Whether nothing was ever read into the mirror of this name."""
    with reading(context.state) as connection:
        return watermarks.get(connection, context.org, name) is None


def refresh(context: Context, name: str, object_name: str, fields: list[str], copy: Copy) -> int:
    """Brings the copy up to date, by one query for what changed or, every FULL_EVERY, for all records.

    Gives how many were read. The caller holds a lease, so that nobody else refreshes meanwhile.
    """
    with sync_run(context, name) as run:
        with reading(context.state) as connection:
            since = watermarks.get(connection, context.org, name)
            full_since = watermarks.get(connection, context.org, f"{name}{FULL}")
            # Later than any mark of before, whatever the clock of this machine says: by it, the unseen are told apart.
            mark = max(datetime.now(UTC), copy.latest_mark(connection) + timedelta(seconds=1))
        is_full = since is None or full_since is None or datetime.fromisoformat(full_since) < mark - FULL_EVERY
        begin = None if is_full or since is None else datetime.fromisoformat(since)
        wanted = ["Id", *fields, "IsDeleted"]
        changes = context.salesforce.changes(object_name, wanted, since=begin, include_deleted=not is_full)
        for table in changes.tables:
            run.counts += Counts(read=table.num_rows)
            with context.state.begin() as connection:
                copy.take(connection, table, seen_at=mark)
        with context.state.begin() as connection:
            if is_full:
                copy.drop_unseen(connection, before=mark)
                watermarks.advance(connection, context.org, f"{name}{FULL}", as_watermark(mark))
            after = watermarks.advance(connection, context.org, name, as_watermark(changes.upper))
            run.finish(connection, watermark_from=since, watermark_to=after)
    return run.counts.read


def as_watermark(moment: datetime) -> str:
    """The moment as watermarks are kept: ISO text in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
