"""Records that a person holds out: what they rejected or undid is not written again, until something else is to be
written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select

from salesforce_sync.state.bulk import moment, upsert_rows
from salesforce_sync.state.engine import is_one_of
from salesforce_sync.state.schema import held_out

COLUMNS = ("org", "mapping", "record_id", "fingerprint", "origin", "plan_id", "person", "since")


class HeldOut(NamedTuple):
    """`fingerprint` is of the values that are not to be written; `origin` says where the record can be read again."""

    mapping: str
    record_id: str
    fingerprint: str
    origin: str | None
    plan_id: int
    person: str


def add(connection: Connection, org: str, found: Iterable[HeldOut]) -> None:
    """Holds the records out."""
    now = moment(connection, datetime.now(UTC))
    last = {item[:3]: item for item in found}
    upsert_rows(connection, held_out, COLUMNS, [(org, *item, now) for item in last.values()])


def find(connection: Connection, org: str, mapping: str, record_ids: Sequence[str]) -> dict[str, dict[str, HeldOut]]:
    """What is held out of these records: record -> fingerprint -> what is known of it."""
    columns = held_out.c
    these = is_one_of(connection, columns.record_id, record_ids)
    query = _query().where(columns.org == org, columns.mapping == mapping, these)
    found: dict[str, dict[str, HeldOut]] = {}
    for row in connection.execute(query):
        found.setdefault(row[1], {})[row[2]] = HeldOut(*row)
    return found


def any_of(connection: Connection, org: str, mapping: str) -> bool:
    columns = held_out.c
    query = select(columns.record_id).where(columns.org == org, columns.mapping == mapping).limit(1)
    return connection.execute(query).scalar() is not None


def of_record(connection: Connection, record_id: str) -> list[HeldOut]:
    """What is held out of the record, in all orgs."""
    return [HeldOut(*row) for row in connection.execute(_query().where(held_out.c.record_id == record_id))]


def remove(connection: Connection, org: str, mapping: str, record_ids: Sequence[str]) -> list[HeldOut]:
    """Lets the records in again; gives what was held out."""
    found = find(connection, org, mapping, record_ids)
    columns = held_out.c
    these = is_one_of(connection, columns.record_id, list(found))
    connection.execute(delete(held_out).where(columns.org == org, columns.mapping == mapping, these))
    return [item for items in found.values() for item in items.values()]


def _query() -> Any:
    return select(*(held_out.c[name] for name in HeldOut._fields))
