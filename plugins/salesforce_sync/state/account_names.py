"""The org's Accounts as company leads are matched with them, and as people are shown them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow as pa
from sqlalchemy import Connection, delete, func, select

from salesforce_sync.state.bulk import moment, upsert_rows, with_zone
from salesforce_sync.state.engine import is_one_of
from salesforce_sync.state.schema import account_names

COLUMNS = ("org", "account_id", "name", "city", "address", "phone", "owner_id", "seen_at")
AT_ONCE = 50_000


class AccountName(NamedTuple):
    """An Account; all but its id and its name may be missing."""

    account_id: str
    name: str
    city: str | None = None
    address: str | None = None
    phone: str | None = None
    owner_id: str | None = None


def refresh(
    connection: Connection, org: str, accounts: Iterable[AccountName], gone: Sequence[str], *, seen_at: datetime
) -> None:
    """Brings the table up to these Accounts."""
    columns = account_names.c
    connection.execute(delete(account_names).where(columns.org == org, is_one_of(connection, columns.account_id, gone)))
    stamp = moment(connection, seen_at)
    upsert_rows(connection, account_names, COLUMNS, [(org, *account, stamp) for account in accounts])


def latest_mark(connection: Connection, org: str) -> datetime:
    """The latest `seen_at` in the table; the beginning of time when it is empty."""
    query = select(func.max(account_names.c.seen_at)).where(account_names.c.org == org)
    found: datetime | None = connection.execute(query).scalar()
    return datetime.min.replace(tzinfo=UTC) if found is None else with_zone(found)


def drop_unseen(connection: Connection, org: str, *, before: datetime) -> None:
    """After a reading of all Accounts: those that were not in it are gone, or no longer visible."""
    connection.execute(delete(account_names).where(account_names.c.org == org, account_names.c.seen_at < before))


def to_match(connection: Connection, org: str) -> pa.Table:
    """All Accounts by what they are matched by: account_id, name, city."""
    columns = account_names.c
    query = (
        select(columns.account_id, columns.name, columns.city).where(columns.org == org).order_by(columns.account_id)
    )
    kind = pa.schema([(name, pa.string()) for name in ("account_id", "name", "city")])
    found = connection.execution_options(yield_per=AT_ONCE).execute(query)
    parts = [
        pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], schema=kind)
        for rows in found.partitions(AT_ONCE)
    ]
    return pa.Table.from_batches(parts, schema=kind).combine_chunks()


def find(connection: Connection, org: str, ids: Sequence[str]) -> dict[str, AccountName]:
    """These Accounts; what is not there is left out."""
    columns = account_names.c
    query = select(*(columns[name] for name in AccountName._fields)).where(
        columns.org == org, is_one_of(connection, columns.account_id, ids)
    )
    return {row[0]: AccountName(*row) for row in connection.execute(query)}
