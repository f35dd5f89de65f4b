"""Coverage: which days of a stream were read. A day that should have been read and was not is missing, and is listed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from sqlalchemy import Connection, delete, func, select

from salesforce_sync.state.engine import upsert
from salesforce_sync.state.schema import coverage

BEGIN = "begin"  # the row that holds the first day that a scheduled run was about


def cover(connection: Connection, org: str, stream: str, days: Iterable[date], *, reading: int) -> None:
    """Notes that these days were read."""
    rows = [{"org": org, "stream": stream, "day": day.isoformat(), "reading": reading} for day in days]
    upsert(connection, coverage, rows)


def uncover(connection: Connection, org: str, stream: str, days: Iterable[str]) -> None:
    """These days have to be read again."""
    columns = coverage.c
    connection.execute(
        delete(coverage).where(columns.org == org, columns.stream == stream, columns.day.in_(list(days)))
    )


def begin(connection: Connection, org: str, stream: str, day: date) -> None:
    """A scheduled run is about this day: from the first such day on, no day may be missing."""
    first = {"org": org, "stream": f"{stream}#{BEGIN}", "day": day.isoformat(), "reading": 0}
    begun = beginning(connection, org, stream)
    if begun is None or day < begun:
        upsert(connection, coverage, [first], update_existing=False)


def beginning(connection: Connection, org: str, stream: str) -> date | None:
    """The first day that a scheduled run was about."""
    columns = coverage.c
    query = select(func.min(columns.day)).where(columns.org == org, columns.stream == f"{stream}#{BEGIN}")
    found = connection.execute(query).scalar()
    return None if found is None else date.fromisoformat(found)


def missing(connection: Connection, org: str, stream: str, *, first: date, last: date) -> list[date]:
    """The days from `first` (or from the beginning, if that is later) to `last`, both inclusive, that were not read."""
    begun = beginning(connection, org, stream)
    if begun is None:
        return []
    columns = coverage.c
    covered = set(connection.execute(select(columns.day).where(columns.org == org, columns.stream == stream)).scalars())
    day, found = max(first, begun), []
    while day <= last:
        if day.isoformat() not in covered:
            found.append(day)
        day += timedelta(days=1)
    return found
