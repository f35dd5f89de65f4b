"""Keeps the local index of Accounts by domain equal to the org."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection

from salesforce_sync.engine import mirror
from salesforce_sync.engine.context import Context
from salesforce_sync.engine.mirror import as_watermark
from salesforce_sync.matching.domains import registrable_domain
from salesforce_sync.state import account_domains
from salesforce_sync.state.account_domains import AccountChange

STREAM = "salesforce/Account.domains"
ACTIVITY = "PeerSpot_Activity__c"


def refresh_accounts(context: Context) -> int:
    """Brings the index up to date, by one query; gives how many Accounts were read. The caller holds a lease."""
    if mirror.is_empty(context, STREAM):
        forgotten = _open_domains_in_org(context)
        with context.state.begin() as connection:
            account_domains.look_again(connection, context.org, forgotten)
    fields = ["Website", "ParentId", "CreatedDate"]
    return mirror.refresh(context, STREAM, "Account", fields, _Domains(context.org))


@dataclass(frozen=True)
class _Domains:
    org: str

    def latest_mark(self, connection: Connection) -> datetime:
        return account_domains.latest_mark(connection, self.org)

    def take(self, connection: Connection, rows: pa.Table, *, seen_at: datetime) -> None:
        account_domains.refresh(connection, self.org, [_change(row) for row in rows.to_pylist()], seen_at=seen_at)

    def drop_unseen(self, connection: Connection, *, before: datetime) -> None:
        account_domains.drop_unseen(connection, self.org, before=before)


def _open_domains_in_org(context: Context) -> list[str]:
    """With a new state database: the domains of processed activities without an Account, which an earlier database knew of."""
    soql = f"SELECT Account_Domain__c FROM {ACTIVITY} WHERE Processed__c = true AND Account__c = null AND Account_Domain__c != null"
    return [
        domain
        for table in context.salesforce.read(soql)
        for domain in set(table.column("Account_Domain__c").to_pylist())
    ]


def _change(row: dict[str, Any]) -> AccountChange:
    website, created, parent = row["Website"], row["CreatedDate"], row["ParentId"]
    domain = registrable_domain(str(website)) if website and not row.get("IsDeleted") else None
    return AccountChange(str(row["Id"]), domain, None if parent is None else str(parent), as_watermark(created))
