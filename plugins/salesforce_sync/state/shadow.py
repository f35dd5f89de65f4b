"""What flows in the shadow would write, and how each came out: ids, field names and marks, and no values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, distinct, func, insert, select

from salesforce_sync.state.bulk import moment, upsert_rows, with_zone
from salesforce_sync.state.schema import shadow_results, shadow_writes


class Planned(NamedTuple):
    """A write that was planned. `source` and `target` are marks of what the two sides had in the field then. Without a
    `field` it is of the record itself, which the side without an id was to get, or the written side was to lose."""

    salesforce_id: str
    vendor_id: str
    field: str
    at_vendor: bool
    source: str = ""
    target: str = ""


class Tally(NamedTuple):
    """Of how many records it came out so in a field, and two of them."""

    field: str
    at_vendor: bool
    outcome: str
    records: int
    examples: tuple[str, ...]


_KEY = ("salesforce_id", "vendor_id", "field", "at_vendor")
_COLUMNS = ("org", "flow", *Planned._fields, "planned_at")


def plan(connection: Connection, org: str, flow: str, writes: Iterable[Planned]) -> None:
    """Keeps the writes; one that was planned before keeps the moment of that."""
    now = moment(connection, datetime.now(UTC))
    last = {item[: len(_KEY)]: item for item in writes}
    upsert_rows(
        connection,
        shadow_writes,
        _COLUMNS,
        [(org, flow, *item, now) for item in last.values()],
        keep=["planned_at"],
    )


def planned(connection: Connection, org: str, flow: str) -> list[tuple[Planned, datetime]]:
    """What is planned and not settled yet, each with when it was planned first."""
    columns = shadow_writes.c
    query = select(*(columns[name] for name in (*Planned._fields, "planned_at"))).where(
        columns.org == org, columns.flow == flow
    )
    return [(Planned(*row[:-1]), with_zone(row[-1])) for row in connection.execute(query)]


def settle(connection: Connection, org: str, flow: str, outcomes: Sequence[tuple[Planned, str | None]]) -> None:
    """Takes the writes out, and keeps their outcome if they have one; of a write that another task settled, nothing."""
    columns, now = shadow_writes.c, datetime.now(UTC)
    for item, outcome in outcomes:
        own = [columns[name] == getattr(item, name) for name in _KEY]
        gone = connection.execute(delete(shadow_writes).where(columns.org == org, columns.flow == flow, *own)).rowcount
        if gone and outcome is not None:
            values = {name: getattr(item, name) for name in _KEY}
            connection.execute(
                insert(shadow_results).values(org=org, flow=flow, outcome=outcome, seen_at=now, **values)
            )


def tallies(connection: Connection, org: str, flow: str) -> list[Tally]:
    """What came out so far, by field, direction and outcome."""
    columns = shadow_results.c
    by = (columns.field, columns.at_vendor, columns.outcome)
    ours = (columns.org == org, columns.flow == flow)
    pair = columns.salesforce_id.concat(columns.vendor_id)
    counted = (func.count(distinct(pair)), func.min(columns.id), func.max(columns.id))
    query = select(*by, *counted).where(*ours).group_by(*by).order_by(*by)
    found = list(connection.execute(query))
    wanted = {number for row in found for number in row[4:]}
    ids = select(columns.id, columns.salesforce_id, columns.vendor_id).where(*ours, columns.id.in_(wanted))
    records = {number: salesforce_id or vendor_id for number, salesforce_id, vendor_id in connection.execute(ids)}
    return [
        Tally(field, at_vendor, outcome, count, tuple(dict.fromkeys((records[first], records[last]))))
        for field, at_vendor, outcome, count, first, last in found
    ]


def purge(connection: Connection, *, before: datetime) -> None:
    """Removes what was planned, or came out, before this moment."""
    connection.execute(delete(shadow_writes).where(shadow_writes.c.planned_at < before))
    connection.execute(delete(shadow_results).where(shadow_results.c.seen_at < before))
