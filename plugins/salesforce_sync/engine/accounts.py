"""A mirror of the org's Accounts, by domain and by name: one reading keeps both, whoever matches with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection

from salesforce_sync.engine import mirror
from salesforce_sync.engine.context import Context, require_objects
from salesforce_sync.engine.lease import hold
from salesforce_sync.engine.mirror import as_watermark
from salesforce_sync.matching.domains import registrable_domain
from salesforce_sync.state import account_domains, account_names
from salesforce_sync.state.account_domains import AccountChange
from salesforce_sync.state.account_names import AccountName

NAME = "salesforce/Accounts"
ADDRESS = ("BillingStreet", "BillingPostalCode", "BillingCity", "BillingCountry")
FIELDS = ["Name", "Website", "ParentId", "CreatedDate", *ADDRESS, "Phone", "OwnerId"]


def is_new(context: Context) -> bool:
    """Whether the mirror was never filled, as with a new state database."""
    return mirror.is_empty(context, NAME)


def refresh_accounts(context: Context) -> int:
    """Brings the mirror up to date, by one call; gives how many Accounts were read. LeaseHeld while another task does so.
    Fields that are hidden from the integration user are left out, but for the name."""
    account = require_objects(context, ["Account"])["Account"]
    seen = [name for name in FIELDS if account.find(name)]
    with hold(context, [NAME]):
        return mirror.refresh(context, NAME, "Account", seen, _Accounts(context.org))


@dataclass(frozen=True)
class _Accounts:
    org: str

    def latest_mark(self, connection: Connection) -> datetime:
        return max(
            account_domains.latest_mark(connection, self.org), account_names.latest_mark(connection, self.org)
        )  # fmt: skip

    def take(self, connection: Connection, rows: pa.Table, *, seen_at: datetime) -> None:
        found = rows.to_pylist()
        account_domains.refresh(connection, self.org, [_change(row) for row in found], seen_at=seen_at)
        gone = [str(row["Id"]) for row in found if row.get("IsDeleted")]
        names = [_name(row) for row in found if not row.get("IsDeleted")]
        account_names.refresh(connection, self.org, names, gone, seen_at=seen_at)

    def drop_unseen(self, connection: Connection, *, before: datetime) -> None:
        account_domains.drop_unseen(connection, self.org, before=before)
        account_names.drop_unseen(connection, self.org, before=before)


def _change(row: dict[str, Any]) -> AccountChange:
    website, created, parent = row.get("Website"), row["CreatedDate"], row.get("ParentId")
    domain = registrable_domain(str(website)) if website and not row.get("IsDeleted") else None
    return AccountChange(str(row["Id"]), domain, None if parent is None else str(parent), as_watermark(created))


def _name(row: dict[str, Any]) -> AccountName:
    address = ", ".join(" ".join(str(row[name]).split()) for name in ADDRESS if row.get(name))
    more = (row.get("BillingCity"), address or None, row.get("Phone"), row.get("OwnerId"))
    return AccountName(str(row["Id"]), str(row["Name"] or ""), *more)
