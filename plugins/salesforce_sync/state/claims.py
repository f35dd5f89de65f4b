"""Claims: customers that a queue at a vendor gave out, one row a claim, until each has been told of.

listed -> removed (from the vendor's queue) -> read -> delivered -> told. A claim is settled only by values that were
read after its removal was answered, so that what is changed at the vendor later is a new claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from salesforce_sync.records import RecordResult
from salesforce_sync.state.schema import claims

LISTED, REMOVED, READ, DELIVERED, TOLD = "listed", "removed", "read", "delivered", "told"


class Claim(NamedTuple):
    id: int
    customer: str
    record_id: str | None
    status: str
    epoch: int
    rested: float
    reading: int
    outcome: str | None
    code: str | None
    limit_told: bool


def of_stream(connection: Connection, org: str, stream: str, statuses: Iterable[str]) -> list[Claim]:
    """The claims in these states, the oldest first."""
    columns = claims.c
    query = select(*(columns[name] for name in Claim._fields)).where(
        columns.org == org, columns.stream == stream, columns.status.in_(list(statuses))
    )
    return [Claim(*row) for row in connection.execute(query.order_by(columns.id))]


def list_new(connection: Connection, org: str, stream: str, customers: Iterable[str], *, epoch: int) -> None:
    """A new claim for each customer."""
    now = datetime.now(UTC)
    rows = [
        {
            "org": org, "stream": stream, "customer": customer, "status": LISTED, "epoch": epoch, "rested": 0.0,
            "reading": 0, "claimed_at": now,
        }
        for customer in customers
    ]  # fmt: skip
    if rows:
        connection.execute(insert(claims), rows)


def set_status(connection: Connection, ids: Sequence[int], status: str) -> None:
    ended = {"ended_at": datetime.now(UTC)} if status == TOLD else {}
    for start in range(0, len(ids), 500):
        these = claims.c.id.in_(list(ids[start : start + 500]))
        connection.execute(update(claims).where(these).values(status=status, **ended))


def read(connection: Connection, found: Iterable[tuple[int, str | None]], *, reading: int) -> None:
    """The values of these claims are staged: (id, the record that they are delivered as)."""
    for claim_id, record_id in found:
        values = {"status": READ, "record_id": record_id, "reading": reading}
        connection.execute(update(claims).where(claims.c.id == claim_id).values(**values))


def end(connection: Connection, claim_ids: Sequence[int], *, outcome: str, code: str | None) -> None:
    """The outcome of these claims is known."""
    for start in range(0, len(claim_ids), 500):
        these = claims.c.id.in_(list(claim_ids[start : start + 500]))
        connection.execute(update(claims).where(these).values(status=DELIVERED, outcome=outcome, code=code))


def deliver(connection: Connection, org: str, stream: str, results: Sequence[RecordResult]) -> None:
    """Notes the outcomes of the claims that these results settle: those that were read no later than the result's reading."""
    columns = claims.c
    for item in results:
        these = (columns.org == org) & (columns.stream == stream) & (columns.record_id == item.record_id)
        settled = these & (columns.status == READ) & (columns.reading <= item.reading)
        values = {"status": DELIVERED, "outcome": str(item.outcome), "code": item.code}
        connection.execute(update(claims).where(settled).values(**values))


def any_read(connection: Connection, org: str, stream: str) -> bool:
    columns = claims.c
    query = select(columns.id).where(columns.org == org, columns.stream == stream, columns.status == READ).limit(1)
    return connection.execute(query).scalar() is not None


def tell_limit(connection: Connection, ids: Sequence[int]) -> None:
    """These claims were told that they are on limit: each is told so once."""
    for start in range(0, len(ids), 500):
        these = claims.c.id.in_(list(ids[start : start + 500]))
        connection.execute(update(claims).where(these).values(limit_told=True))


def rest(connection: Connection, org: str, stream: str, seconds: float, *, up_to: int) -> None:
    """The claims whose removal was not answered, up to this id, have been waited for so long."""
    columns = claims.c
    these = (columns.org == org) & (columns.stream == stream) & (columns.status == LISTED) & (columns.id <= up_to)
    connection.execute(update(claims).where(these).values(rested=columns.rested + seconds))


def read_again(connection: Connection, org: str, stream: str, reading: int) -> None:
    """The values of a reading are lost: its claims are to be read again."""
    columns = claims.c
    these = (columns.org == org) & (columns.stream == stream) & (columns.reading == reading)
    connection.execute(update(claims).where(these, columns.status == READ).values(status=REMOVED))


def purge(connection: Connection, *, before: datetime) -> None:
    """Forgets claims that were told before this moment."""
    connection.execute(delete(claims).where(claims.c.status == TOLD, claims.c.ended_at < before))


def of_record(connection: Connection, record_id: str) -> list[tuple[str, Claim]]:
    """(stream, claim) of the customer or record with this id, the oldest first."""
    columns = claims.c
    query = select(columns.stream, *(columns[name] for name in Claim._fields)).where(
        (columns.customer == record_id) | (columns.record_id == record_id)
    )
    return [(row[0], Claim(*row[1:])) for row in connection.execute(query.order_by(columns.id))]
