"""Waits: records that cannot be delivered until a key appears, or until another record lets go of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from salesforce_sync.state.bulk import moment, upsert_rows
from salesforce_sync.state.engine import is_one_of
from salesforce_sync.state.schema import waits

COLUMNS = ("org", "mapping", "record_id", "reason", "key", "version", "reading", "origin", "since")


class Wait(NamedTuple):
    """A record that waits for `key`. `origin` is where it can be read again, None: by its id."""

    mapping: str
    record_id: str
    reason: str
    key: str
    version: str
    reading: int
    origin: str | None


def add(connection: Connection, org: str, found: Sequence[Wait]) -> None:
    """Keeps the waits; one that a record has already is replaced."""
    now = moment(connection, datetime.now(UTC))
    last = {(wait.mapping, wait.record_id): wait for wait in found}
    upsert_rows(connection, waits, COLUMNS, [(org, *wait, now) for wait in last.values()], keep=["since"])


def remove(connection: Connection, org: str, mapping: str, record_ids: Sequence[str]) -> None:
    columns = waits.c
    these = is_one_of(connection, columns.record_id, record_ids)
    connection.execute(delete(waits).where(columns.org == org, columns.mapping == mapping, these))


def of_mappings(connection: Connection, org: str, mappings: Iterable[str]) -> list[Wait]:
    """All waits of these mappings."""
    columns = waits.c
    query = select(*(columns[name] for name in Wait._fields)).where(
        columns.org == org, columns.mapping.in_(list(mappings))
    )
    return [Wait(*row) for row in connection.execute(query)]


def of_record(connection: Connection, record_id: str) -> list[Wait]:
    query = select(*(waits.c[name] for name in Wait._fields)).where(waits.c.record_id == record_id)
    return [Wait(*row) for row in connection.execute(query)]


def counts(connection: Connection, org: str, mappings: Iterable[str]) -> Counter[str]:
    """How many records wait, by reason."""
    query = select(waits.c.reason, func.count()).where(waits.c.org == org, waits.c.mapping.in_(list(mappings)))
    return Counter({row[0]: row[1] for row in connection.execute(query.group_by(waits.c.reason))})


def purge(connection: Connection, *, before: datetime) -> None:
    """Gives up what has waited since before this moment."""
    connection.execute(delete(waits).where(waits.c.since < before))
