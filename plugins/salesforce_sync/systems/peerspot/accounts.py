"""Keeps the local index of Accounts by domain equal to the org."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from salesforce_sync.engine.context import Context, sync_run
from salesforce_sync.matching.domains import registrable_domain
from salesforce_sync.records import Counts
from salesforce_sync.state import account_domains, watermarks
from salesforce_sync.state.account_domains import AccountChange
from salesforce_sync.state.engine import reading

STREAM = "salesforce/Account.domains"
FULL_STREAM = "salesforce/Account.domains.full"
FULL_EVERY = timedelta(days=7)  # what no change tells of: Accounts that are purged, or that sharing rules show or hide
ACTIVITY = "PeerSpot_Activity__c"


def refresh_accounts(context: Context) -> int:
    """Brings the index up to date, by one query for what changed or, every FULL_EVERY, for all Accounts.

    Gives how many were read. The caller holds a lease, so that nobody else refreshes meanwhile.
    """
    with sync_run(context, STREAM) as run:
        with reading(context.state) as connection:
            since = watermarks.get(connection, context.org, STREAM)
            full_since = watermarks.get(connection, context.org, FULL_STREAM)
            # Later than any mark of before, whatever the clock of this machine says: by it, the unseen are told apart.
            mark = max(datetime.now(UTC), account_domains.latest_mark(connection, context.org) + timedelta(seconds=1))
        is_first = since is None
        is_full = since is None or full_since is None or datetime.fromisoformat(full_since) < mark - FULL_EVERY
        begin = None if is_full or since is None else datetime.fromisoformat(since)
        fields = ["Id", "Website", "ParentId", "CreatedDate", "IsDeleted"]
        changes = context.salesforce.changes("Account", fields, since=begin, include_deleted=not is_full)
        for table in changes.tables:
            found = [_change(row) for row in table.to_pylist()]
            run.counts += Counts(read=len(found))
            with context.state.begin() as connection:
                account_domains.refresh(connection, context.org, found, seen_at=mark)
        forgotten = _open_domains_in_org(context) if is_first else []
        with context.state.begin() as connection:
            account_domains.look_again(connection, context.org, forgotten)
            if is_full:
                account_domains.drop_unseen(connection, context.org, before=mark)
                watermarks.advance(connection, context.org, FULL_STREAM, _text(mark))
            after = watermarks.advance(connection, context.org, STREAM, _text(changes.upper))
            run.finish(connection, watermark_from=since, watermark_to=after)
    return run.counts.read


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
    return AccountChange(str(row["Id"]), domain, None if parent is None else str(parent), _text(created))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
