"""Record links: the two ids of a record, and what was last delivered of it.

`record_id` is the id on the side that the record comes from: the vendor's id to Salesforce, Salesforce's id to a vendor.
A link that ends stays as a tombstone, with its version, so that nothing older brings the record back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select, text, update

from salesforce_sync.records import RecordResult
from salesforce_sync.state.bulk import moment, upsert_rows
from salesforce_sync.state.engine import is_one_of
from salesforce_sync.state.schema import record_links

NOTHING = ""  # the fingerprint of a link of which nothing is known to be delivered
COLUMNS = (
    "org", "mapping", "record_id", "salesforce_id", "fingerprint", "staged_fingerprint", "vendor_id", "unique_key",
    "version", "reading", "fingerprint_version", "consent", "gone", "linked_at", "updated_at",
)  # fmt: skip


class Link(NamedTuple):
    salesforce_id: str
    fingerprint: str
    staged_fingerprint: str | None
    vendor_id: str | None
    unique_key: str | None
    version: str
    reading: int
    fingerprint_version: int
    consent: str | None
    gone: bool

    def is_newer_than(self, version: str, reading: int) -> bool:
        return (self.version, self.reading) > (version, reading)


class Linked(NamedTuple):
    """A link with the record that it belongs to."""

    mapping: str
    record_id: str
    link: Link
    org: str = ""  # where it matters


def find(connection: Connection, org: str, mapping: str, record_ids: Sequence[str]) -> dict[str, Link]:
    """The links of these records, tombstones included; records without one are left out."""
    columns = record_links.c
    wanted = [columns.record_id, *(columns[name] for name in Link._fields)]
    these = is_one_of(connection, columns.record_id, record_ids)
    query = select(*wanted).where(columns.org == org, columns.mapping == mapping, these)
    make = Link._make
    return {row[0]: make(row[1:]) for row in connection.execute(query).cursor.fetchall()}


def differing(
    connection: Connection, org: str, mapping: str, rows: Sequence[tuple[str | None, str, str]], *, reading: int
) -> list[int]:
    """The places of the rows (record, fingerprint of the staged record, its version) that are not what was delivered
    last: their record has no living link with that fingerprint, or one of a later version."""
    is_postgresql = connection.dialect.name == "postgresql"
    query = _DIFFERING.format(rows=_ROWS_POSTGRESQL, collation='COLLATE "C"') if is_postgresql else _DIFFERING_SQLITE
    # One parameter of JSON, which is made and read in C: the driver writes arrays a value at a time.
    given = {"org": org, "mapping": mapping, "reading": reading, "rows": json.dumps(rows)}
    return list(connection.execute(text(query), given).scalars())


# Versions are compared as Python compares them: by code points, and then by the reading.
_DIFFERING = """
SELECT given.number FROM {rows}
LEFT JOIN record_links AS link ON link.org = :org AND link.mapping = :mapping AND link.record_id = given.id
WHERE (
    NOT link.gone AND link.staged_fingerprint = given.mark
    AND (link.version {collation} < given.version OR (link.version = given.version AND link.reading <= :reading))
) IS NOT TRUE
"""
_ROWS_POSTGRESQL = """(
    SELECT number - 1 AS number, item ->> 0 AS id, item ->> 1 AS mark, item ->> 2 AS version
    FROM json_array_elements(CAST(:rows AS json)) WITH ORDINALITY AS items(item, number)
) AS given"""
_DIFFERING_SQLITE = _DIFFERING.format(
    rows="(SELECT key AS number, value ->> 0 AS id, value ->> 1 AS mark, value ->> 2 AS version FROM json_each(:rows)) AS given",
    collation="",
)


def with_keys(
    connection: Connection, org: str, mappings: Sequence[str], *, unique_keys: Sequence[str], vendor_ids: Sequence[str]
) -> list[Linked]:
    """The links of these mappings that have one of the unique keys or of the vendor's ids, tombstones included."""
    columns = record_links.c
    wanted = [columns.mapping, columns.record_id, *(columns[name] for name in Link._fields)]
    ours = (columns.org == org) & columns.mapping.in_(list(mappings))
    found: dict[tuple[str, str], Linked] = {}
    for column, values in ((columns.unique_key, unique_keys), (columns.vendor_id, vendor_ids)):
        if values:
            for row in connection.execute(select(*wanted).where(ours, is_one_of(connection, column, values))):
                found[row[0], row[1]] = Linked(row[0], row[1], Link(*row[2:]))
    return list(found.values())


def by_vendor_id(
    connection: Connection, org: str, mappings: Sequence[str], vendor_ids: Sequence[str]
) -> dict[str, str]:
    """Vendor id -> the Salesforce id of the record that became it; of several mappings' records, the first mapping's."""
    columns = record_links.c
    query = select(columns.mapping, columns.vendor_id, columns.salesforce_id).where(
        columns.org == org,
        columns.mapping.in_(mappings),
        columns.gone.is_(False),
        is_one_of(connection, columns.vendor_id, vendor_ids),
    )
    rows = sorted(connection.execute(query), key=lambda row: mappings.index(row[0]), reverse=True)
    return {row[1]: row[2] for row in rows}


def merged_into(connection: Connection, org: str, mappings: Sequence[str], record_ids: Sequence[str]) -> dict[str, str]:
    """Record -> the record that it was merged into, in one step or in several, as far as tombstones tell."""
    columns = record_links.c
    found: dict[str, str] = {}
    asked = list(record_ids)
    while asked:
        query = select(columns.record_id, columns.salesforce_id).where(
            columns.org == org, columns.mapping.in_(mappings), columns.gone.is_(True),
            columns.salesforce_id != columns.record_id, is_one_of(connection, columns.record_id, asked),
        )  # fmt: skip
        step = {loser: master for loser, master in connection.execute(query) if loser not in found}
        found |= step
        asked = [master for master in step.values() if master not in found]
    return {loser: _last(found, loser) for loser in record_ids if loser in found}


def _last(merged: dict[str, str], loser: str) -> str:
    """The end of the chain; of a ring, which people can make by undeleting, any of it."""
    passed = {loser}
    while (master := merged.get(loser)) is not None and master not in passed:
        passed.add(master)
        loser = master
    return loser


def by_salesforce_id(
    connection: Connection, org: str, mapping: str, salesforce_ids: Sequence[str]
) -> dict[str, tuple[str, Link]]:
    """Salesforce id -> (record id, link)."""
    columns = record_links.c
    wanted = [columns.record_id, *(columns[name] for name in Link._fields)]
    these = is_one_of(connection, columns.salesforce_id, salesforce_ids)
    query = select(*wanted).where(columns.org == org, columns.mapping == mapping, these)
    return {row[1]: (row[0], Link(*row[1:])) for row in connection.execute(query)}


def changed_at(connection: Connection, org: str, mapping: str, record_ids: Sequence[str]) -> dict[str, datetime]:
    """When the links of these records were last written: with a delivery, mostly."""
    columns = record_links.c
    these = is_one_of(connection, columns.record_id, record_ids)
    query = select(columns.record_id, columns.updated_at).where(columns.org == org, columns.mapping == mapping, these)
    return {row[0]: row[1] for row in connection.execute(query)}


def any_of(connection: Connection, org: str, mapping: str) -> bool:
    """Whether the mapping has any link."""
    columns = record_links.c
    query = select(columns.record_id).where(columns.org == org, columns.mapping == mapping).limit(1)
    return connection.execute(query).scalar() is not None


def of_record(connection: Connection, any_id: str) -> list[Linked]:
    """The links of a record, by whichever of its ids, in all orgs."""
    columns = record_links.c
    wanted = [columns.mapping, columns.record_id, columns.org, *(columns[name] for name in Link._fields)]
    is_it = (columns.record_id == any_id) | (columns.salesforce_id == any_id) | (columns.vendor_id == any_id)
    rows = connection.execute(select(*wanted).where(is_it))
    return [Linked(row[0], row[1], Link(*row[3:]), row[2]) for row in rows]


def save(connection: Connection, org: str, mapping: str, results: Iterable[RecordResult]) -> None:
    """Links every result that has a Salesforce id and a fingerprint; of several for one record, the last one counts."""
    now = moment(connection, datetime.now(UTC))
    last = {item.record_id: item for item in results if item.salesforce_id and item.fingerprint is not None}
    rows = [
        (
            org, mapping, item.record_id, item.salesforce_id, item.fingerprint, item.staged_fingerprint, item.vendor_id,
            item.unique_key, item.version or "", item.reading, item.fingerprint_version, item.consent, item.gone, now, now,
        )
        for item in last.values()
    ]  # fmt: skip
    upsert_rows(connection, record_links, COLUMNS, rows, keep=["linked_at"])


def bury(connection: Connection, org: str, mapping: str, ids: Sequence[str], *, by: str = "salesforce_id") -> None:
    """Makes tombstones of the links that have these ids in the column `by`: their records are gone from the side that
    they were delivered to, and nobody there is theirs any more. They would be created again."""
    columns = record_links.c
    these = (columns.org == org) & (columns.mapping == mapping) & is_one_of(connection, columns[by], ids)
    values = {
        "gone": True, "fingerprint": NOTHING, "staged_fingerprint": None, "unique_key": None, "consent": None,
        "updated_at": datetime.now(UTC),
    }  # fmt: skip
    connection.execute(update(record_links).where(these).values(**values))


def forget_values(connection: Connection, org: str, mapping: str, record_ids: Sequence[str]) -> None:
    """Nothing counts as delivered of these records any more: the next reading of them is written."""
    columns = record_links.c
    these = (columns.org == org) & (columns.mapping == mapping) & is_one_of(connection, columns.record_id, record_ids)
    connection.execute(
        update(record_links).where(these).values(fingerprint=NOTHING, staged_fingerprint=None, version="", reading=0)
    )


def forget_staged(connection: Connection, org: str, mapping: str, ids: Sequence[str], *, by: str = "record_id") -> None:
    """The next reading of the records that have these ids in the column `by` is looked at, whether or not it is like the
    last one; their versions stay."""
    columns = record_links.c
    these = (columns.org == org) & (columns.mapping == mapping) & is_one_of(connection, columns[by], ids)
    connection.execute(update(record_links).where(these).values(fingerprint=NOTHING, staged_fingerprint=None))


def purge(connection: Connection, *, before: datetime) -> None:
    """Removes tombstones that were made before this moment."""
    connection.execute(delete(record_links).where(record_links.c.gone.is_(True), record_links.c.updated_at < before))


def count_living(connection: Connection, org: str, mappings: Sequence[str]) -> int:
    """How many records of these mappings were delivered, and are not gone."""
    columns = record_links.c
    query = select(func.count()).where(
        columns.org == org, columns.mapping.in_(list(mappings)), columns.gone.is_(False), columns.fingerprint != NOTHING
    )
    return int(connection.execute(query).scalar_one())


def living(connection: Connection, org: str, mapping: str) -> list[str]:
    """The records of the mapping that have a link which is no tombstone."""
    columns = record_links.c
    query = select(columns.record_id).where(columns.org == org, columns.mapping == mapping, columns.gone.is_(False))
    return list(connection.execute(query).scalars())
