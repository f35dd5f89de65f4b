"""Keeps the local index of Accounts by domain equal to the org."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from salesforce_sync.matching.domains import registrable_domain
from salesforce_sync.records import Counts
from salesforce_sync.salesforce.changes import LOOKBACK
from salesforce_sync.salesforce.soql import soql_moment
from salesforce_sync.state import account_domains, watermarks
from salesforce_sync.state.account_domains import AccountChange
from salesforce_sync.state.engine import reading
from salesforce_sync.steps.context import StepContext, sync_run

STREAM = "salesforce/Account.domains"
FULL_STREAM = "salesforce/Account.domains.full"
FULL_EVERY = timedelta(days=7)  # what no change tells of: Accounts that are purged, or that sharing rules show or hide
ACTIVITY = "PeerSpot_Activity__c"


def refresh_accounts(context: StepContext) -> int:
    """Brings the index up to date, by one query for what changed or, every FULL_EVERY, for all Accounts; gives how many were read."""
    started = datetime.now(UTC)
    with sync_run(context, STREAM) as run:
        with reading(context.state) as connection:
            since = watermarks.get(connection, context.org, STREAM)
            full_since = watermarks.get(connection, context.org, FULL_STREAM)
        is_first = since is None
        is_full = since is None or full_since is None or datetime.fromisoformat(full_since) < started - FULL_EVERY
        # What changes while the rows are read may be missed: the next refresh begins where this one did, by Salesforce's clock.
        upper = context.client.session.server_time or started
        count = 0
        for table in context.client.read(_statement(None if is_full else since), include_deleted=not is_full):
            changes = [_change(row) for row in table.to_pylist()]
            count += len(changes)
            with context.state.begin() as connection:
                account_domains.refresh(connection, context.org, changes, seen_at=datetime.now(UTC))
        forgotten = _open_domains_in_org(context) if is_first else []
        with context.state.begin() as connection:
            account_domains.look_again(connection, context.org, forgotten)
            if is_full:
                account_domains.drop_unseen(connection, context.org, before=started)
                watermarks.advance(connection, context.org, FULL_STREAM, _text(started))
            after = watermarks.advance(connection, context.org, STREAM, _text(upper))
            run.finish(connection, Counts(read=count), watermark_from=since, watermark_to=after)
    return count


def _statement(since: str | None) -> str:
    soql = "SELECT Id, Website, ParentId, CreatedDate, SystemModstamp, IsDeleted FROM Account"
    if since is None:
        return soql
    return f"{soql} WHERE SystemModstamp >= {soql_moment(datetime.fromisoformat(since) - LOOKBACK)}"


def _open_domains_in_org(context: StepContext) -> list[str]:
    """With a new state database: the domains of processed activities without an Account, which an earlier database knew of."""
    soql = f"SELECT Account_Domain__c FROM {ACTIVITY} WHERE Processed__c = true AND Account__c = null AND Account_Domain__c != null"
    return [
        domain for table in context.client.read(soql) for domain in set(table.column("Account_Domain__c").to_pylist())
    ]


def _change(row: dict[str, object]) -> AccountChange:
    website, created, parent = row["Website"], row["CreatedDate"], row["ParentId"]
    domain = registrable_domain(str(website)) if website and not row["IsDeleted"] else None
    assert isinstance(created, datetime)
    return AccountChange(str(row["Id"]), domain, None if parent is None else str(parent), _text(created))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
