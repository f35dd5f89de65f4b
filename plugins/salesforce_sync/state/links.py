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


def find(connection: Connection, org: str, mapping: str, record_ids: Sequence[str]) -> dict[str, Link]:
    """The links of these records, by vendor id; records without one are left out."""
    columns = record_links.c
    query = select(columns.record_id, columns.salesforce_id, columns.fingerprint, columns.staged_fingerprint).where(
        columns.org == org, columns.mapping == mapping, is_one_of(connection, columns.record_id, record_ids)
    )
    return {row[0]: Link(*row[1:]) for row in connection.execute(query)}


def save(connection: Connection, org: str, mapping: str, results: Sequence[RecordResult]) -> None:
    """Links every result that has a Salesforce id and a fingerprint."""
    now = datetime.now(UTC)
    rows = [
        {
            "org": org, "mapping": mapping, "record_id": result.record_id, "salesforce_id": result.salesforce_id,
            "fingerprint": result.fingerprint, "staged_fingerprint": result.staged_fingerprint, "linked_at": now, "updated_at": now,
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
