"""Pairs: two records, one on each side, that a flow keeps equal both ways, and the marks of what they last agreed on.

No values are kept, only marks of them. A pair that ended stays, so that what is left of it is never created again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from salesforce_sync.mapping.merge import joined
from salesforce_sync.records import PairChange
from salesforce_sync.state.bulk import moment, upsert_rows
from salesforce_sync.state.engine import is_one_of
from salesforce_sync.state.schema import pairs

_COLUMNS = ("org", "flow", "salesforce_id", "vendor_id", "agreed", "ended", "paired_at", "updated_at")


class Pair(NamedTuple):
    salesforce_id: str
    vendor_id: str
    agreed: bytes
    ended: str | None


def of_salesforce(connection: Connection, org: str, flow: str, ids: Sequence[str]) -> dict[str, Pair]:
    """The pairs of these Salesforce records, by their ids; ended ones included."""
    return {pair.salesforce_id: pair for pair in _find(connection, org, flow, "salesforce_id", ids)}


def of_vendor(connection: Connection, org: str, flow: str, ids: Sequence[str]) -> dict[str, Pair]:
    """The pairs of these records of the vendor, by their ids; of several, the one that has not ended."""
    found = sorted(_find(connection, org, flow, "vendor_id", ids), key=lambda pair: pair.ended is None)
    return {pair.vendor_id: pair for pair in found}


def _find(connection: Connection, org: str, flow: str, column: str, ids: Sequence[str]) -> list[Pair]:
    columns = pairs.c
    query = select(*(columns[name] for name in Pair._fields)).where(
        columns.org == org, columns.flow == flow, is_one_of(connection, columns[column], ids)
    )
    return [Pair(*row) for row in connection.execute(query)]


def living_at_vendor(connection: Connection, org: str, flow: str) -> list[str]:
    """The vendor's ids of the pairs that have not ended."""
    columns = pairs.c
    query = select(columns.vendor_id).where(columns.org == org, columns.flow == flow, columns.ended.is_(None))
    return list(connection.execute(query).scalars())


def living_in_salesforce(connection: Connection, org: str, flow: str) -> list[str]:
    """The Salesforce ids of the pairs that have not ended."""
    columns = pairs.c
    query = select(columns.salesforce_id).where(columns.org == org, columns.flow == flow, columns.ended.is_(None))
    return list(connection.execute(query).scalars())


def save(connection: Connection, org: str, changes: Iterable[PairChange]) -> None:
    """Writes the changes, in order: what was agreed before stays, but for the fields that are agreed on now."""
    by_flow: dict[str, list[PairChange]] = {}
    for change in changes:
        by_flow.setdefault(change.flow, []).append(change)
    now = moment(connection, datetime.now(UTC))
    for flow, found in by_flow.items():
        ids = [name for change in found for name in (change.salesforce_id, change.left) if name]
        known = of_salesforce(connection, org, flow, ids)
        for change in found:
            before = known.pop(change.left, None) if change.left else known.get(change.salesforce_id)
            agreed = joined(before.agreed if before else b"", change.agreed)
            known[change.salesforce_id] = Pair(change.salesforce_id, change.vendor_id, agreed, change.ended)
        gone = [change.left for change in found if change.left]
        if gone:
            columns = pairs.c
            these = (columns.org == org) & (columns.flow == flow) & is_one_of(connection, columns.salesforce_id, gone)
            connection.execute(delete(pairs).where(these))
        touched = dict.fromkeys(change.salesforce_id for change in found)
        rows = [(org, flow, *known[name], now, now) for name in touched if name in known]
        upsert_rows(connection, pairs, _COLUMNS, rows, keep=["paired_at"])


def of_record(connection: Connection, any_id: str) -> list[tuple[str, Pair]]:
    """(flow, pair) of the pairs of a record, by either of its ids, in all orgs."""
    columns = pairs.c
    query = select(columns.flow, *(columns[name] for name in Pair._fields)).where(
        (columns.salesforce_id == any_id) | (columns.vendor_id == any_id)
    )
    return [(row[0], Pair(*row[1:])) for row in connection.execute(query)]
