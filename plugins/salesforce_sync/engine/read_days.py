"""Reading by days: a vendor that gives the records of a day. Days that nobody read are read by the next scheduled run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Connection

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.read import reading
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.state import coverage, dead_letters, watermarks
from salesforce_sync.state.engine import reading as looking
from salesforce_sync.windows import DateWindow

log = logging.getLogger(__name__)


class WindowedSource(Protocol):
    """A vendor's hook, as far as reading by days needs it."""

    def read(self, stream: str, *, window: DateWindow) -> Iterator[Sequence[Mapping[str, Any]]]: ...


@dataclass(frozen=True)
class Span:
    """Which days a run is about. A `scheduled` run also takes the days from `oldest` on that should have been read; one
    that takes what is `due` also those of refused records that are to be read again."""

    window: DateWindow
    scheduled: bool = False
    oldest: date = date.min
    due: bool = False


@dataclass(frozen=True)
class DaysRead:
    """`missing` days should have been read and were not; the next scheduled run takes those that are not too old."""

    days: list[date]
    count: int
    missing: list[date]


def read_days(
    context: Context,
    source: WindowedSource,
    name: str,
    mapping: MappingFile,
    span: Span,
    *,
    today: date | None = None,
    resend: bool = False,
) -> DaysRead:
    """Reads the span's days one by one, registers them in the inbox, and notes those that are over as covered.

    `today` is the present day in UTC.
    """
    today = today or datetime.now(UTC).date()
    with reading(context, name) as work:
        if span.scheduled:  # before anything can fail: a day that is not read is missing from now on
            with work.lease.transaction() as connection:
                coverage.begin(connection, context.org, name, span.window.first)
        with looking(context.state) as connection:
            days = _days(connection, context.org, name, span)
        count = 0
        for day in days:
            writer = work.writer(name, mapping, origin=day.isoformat())
            for page in source.read(mapping.vendor.stream, window=DateWindow(day, day)):
                for record in page:
                    writer.add(record)
            count += work.add(name, writer.close(), paths=mapping.vendor_paths)
        over = [day for day in days if day < today]

        def mark(connection: Connection) -> None:
            coverage.cover(connection, context.org, name, over, reading=work.number)
            watermarks.advance(connection, context.org, name, max(over, default=span.window.first).isoformat())

        work.register(resend=resend, marks=mark)
        missing = missing_days(context, name, last=span.window.last)
        if missing:
            work.run.notes.append(f"Not read: {listed(missing)}.")
    return DaysRead(days, count, missing)


def _days(connection: Connection, org: str, name: str, span: Span) -> list[date]:
    wanted = {span.window.first + timedelta(days=number) for number in range(span.window.days)}
    if span.scheduled:
        wanted |= set(coverage.missing(connection, org, name, first=span.oldest, last=span.window.last))
    if span.scheduled or span.due:
        due = dead_letters.due(connection, org, name, datetime.now(UTC))
        origins = {letter.origin for letter in due if letter.origin}
        wanted |= {day for day in map(date.fromisoformat, origins) if span.oldest <= day <= span.window.last}
    return sorted(wanted)


def missing_days(context: Context, name: str, *, last: date) -> list[date]:
    """The days up to `last` that should have been read and were not."""
    with looking(context.state) as connection:
        return coverage.missing(connection, context.org, name, first=date.min, last=last)


def listed(days: Sequence[date]) -> str:
    """Days as a log line says them, the first few of them."""
    shown = ", ".join(day.isoformat() for day in days[:5])
    return shown if len(days) <= 5 else f"{shown} and {len(days) - 5} more"
