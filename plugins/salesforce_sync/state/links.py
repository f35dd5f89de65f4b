"""Record links: vendor id <-> Salesforce id, with the fingerprints of the values that were last sent and of the staged record behind them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from salesforce_sync.records import RecordResult
from salesforce_sync.state.engine import is_one_of, upsert
from salesforce_sync.state.schema import record_links


class Link(NamedTuple):
    salesforce_id: str
    fingerprint: str
    staged_fingerprint: str | None
    vendor_id: str | None
    unique_key: str | None
    version: str | None


def find(connection: Connection, org: str, mapping: str, record_ids: Sequence[str]) -> dict[str, Link]:
    """The links of these records, by vendor id; records without one are left out."""
    columns = record_links.c
    wanted = [columns.record_id, *(columns[name] for name in Link._fields)]
    query = select(*wanted).where(
        columns.org == org, columns.mapping == mapping, is_one_of(connection, columns.record_id, record_ids)
    )
    return {row[0]: Link(*row[1:]) for row in connection.execute(query)}


def taken_keys(connection: Connection, org: str, mapping: str, unique_keys: Sequence[str]) -> frozenset[str]:
    """Which of these unique keys a record of the mapping has."""
    columns = record_links.c
    query = select(columns.unique_key).where(
        columns.org == org, columns.mapping == mapping, is_one_of(connection, columns.unique_key, unique_keys)
    )
    return frozenset(connection.execute(query).scalars())


def by_vendor_id(
    connection: Connection, org: str, mappings: Sequence[str], vendor_ids: Sequence[str]
) -> dict[str, str]:
    """Vendor id -> the Salesforce id of the record that became it; where records of several mappings did, the first mapping's."""
    columns = record_links.c
    query = select(columns.mapping, columns.vendor_id, columns.salesforce_id).where(
        columns.org == org, columns.mapping.in_(mappings), is_one_of(connection, columns.vendor_id, vendor_ids)
    )
    rows = sorted(connection.execute(query), key=lambda row: mappings.index(row[0]), reverse=True)
    return {row[1]: row[2] for row in rows}


def others_with_vendor_id(connection: Connection, org: str, vendor_id: str, *, besides: str) -> str | None:
    """A record, of any mapping, that has become the same record of the vendor; None when there is none."""
    columns = record_links.c
    query = select(columns.record_id).where(
        columns.org == org, columns.vendor_id == vendor_id, columns.record_id != besides
    )
    return connection.execute(query.limit(1)).scalar()


def save(connection: Connection, org: str, mapping: str, results: Sequence[RecordResult]) -> None:
    """Links every result that has a Salesforce id and a fingerprint."""
    now = datetime.now(UTC)
    rows = [
        {
            "org": org, "mapping": mapping, "record_id": result.record_id, "salesforce_id": result.salesforce_id,
            "fingerprint": result.fingerprint, "staged_fingerprint": result.staged_fingerprint, "vendor_id": result.vendor_id,
            "unique_key": result.unique_key, "version": result.version, "linked_at": now, "updated_at": now,
        }
        for result in results
        if result.salesforce_id and result.fingerprint
    ]  # fmt: skip
    upsert(connection, record_links, rows, keep=["linked_at"])


def forget(connection: Connection, org: str, mapping: str, salesforce_ids: Sequence[str]) -> None:
    """Removes the links of records that are gone from Salesforce, so that they would be created again."""
    columns = record_links.c
    gone = is_one_of(connection, columns.salesforce_id, salesforce_ids)
    connection.execute(delete(record_links).where(columns.org == org, columns.mapping == mapping, gone))
