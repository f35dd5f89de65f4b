"""Which Salesforce records have which value in the field by which a mapping finds them.

Values are kept as hashes: some of them are people's addresses, and this table has no end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, select

from salesforce_sync.state.bulk import moment, upsert_rows, with_zone
from salesforce_sync.state.engine import is_one_of
from salesforce_sync.state.schema import record_keys

COLUMNS = ("org", "mapping", "salesforce_id", "key", "seen_at")


def refresh(
    connection: Connection, org: str, mapping: str, values: Mapping[str, str | None], *, seen_at: datetime
) -> set[str]:
    """Brings the table up to these records (Salesforce id -> value, None for nothing to find it by). Gives the records
    of which another one may be the right match now: those whose value changed, and those that shared the new one."""
    columns = record_keys.c
    ours = (columns.org == org) & (columns.mapping == mapping)
    known = select(columns.salesforce_id, columns.key).where(
        ours, is_one_of(connection, columns.salesforce_id, list(values))
    )
    before = {row[0]: row[1] for row in connection.execute(known)}
    now = {record_id: None if value is None else key_of(value) for record_id, value in values.items()}
    changed = {record_id for record_id, key in now.items() if before.get(record_id) != key}
    taken = sorted({key for record_id in changed if (key := now[record_id]) is not None})
    owners = select(columns.salesforce_id).where(ours, is_one_of(connection, columns.key, taken))
    shared = set(connection.execute(owners).scalars()) if taken else set()
    gone = [record_id for record_id in changed if now[record_id] is None]
    connection.execute(delete(record_keys).where(ours, is_one_of(connection, columns.salesforce_id, gone)))
    stamp = moment(connection, seen_at)
    rows = [(org, mapping, record_id, key, stamp) for record_id, key in now.items() if key is not None]
    upsert_rows(connection, record_keys, COLUMNS, rows)
    return changed | shared


def find(connection: Connection, org: str, mapping: str, values: Iterable[str]) -> dict[str, list[str]]:
    """Value, in lower case -> the ids of the records that have it, sorted; values that none has are left out."""
    columns = record_keys.c
    asked = {key_of(value): value.lower() for value in values}
    found: dict[str, list[str]] = {}
    query = select(columns.key, columns.salesforce_id).where(
        columns.org == org, columns.mapping == mapping, is_one_of(connection, columns.key, list(asked))
    )
    for key, record_id in connection.execute(query.order_by(columns.salesforce_id)):
        found.setdefault(asked[key], []).append(record_id)
    return found


def latest_mark(connection: Connection, org: str, mapping: str) -> datetime:
    """The latest `seen_at` of the mapping's records; the beginning of time when there are none."""
    columns = record_keys.c
    query = select(func.max(columns.seen_at)).where(columns.org == org, columns.mapping == mapping)
    found: datetime | None = connection.execute(query).scalar()
    return datetime.min.replace(tzinfo=UTC) if found is None else with_zone(found)


def drop_unseen(connection: Connection, org: str, mapping: str, *, before: datetime) -> Sequence[str]:
    """After a reading of all records: those that were not in it are gone, or no longer visible. Gives which."""
    columns = record_keys.c
    unseen = (columns.org == org) & (columns.mapping == mapping) & (columns.seen_at < before)
    found = list(connection.execute(select(columns.salesforce_id).where(unseen)).scalars())
    connection.execute(delete(record_keys).where(unseen))
    return found


def key_of(value: str) -> str:
    """The hash of a value, the same in any case of letters, as Salesforce compares texts."""
    return hashlib.blake2b(value.lower().encode(), digest_size=16).hexdigest()
