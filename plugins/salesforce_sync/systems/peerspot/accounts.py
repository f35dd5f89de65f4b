"""Keeps the index of Accounts by domain equal to the org, and the domains of a new state database in mind."""

from __future__ import annotations

from salesforce_sync.engine import accounts
from salesforce_sync.engine.context import Context
from salesforce_sync.state import account_domains

ACTIVITY = "PeerSpot_Activity__c"


def refresh_accounts(context: Context) -> int:
    """Brings the index up to date, by one query; gives how many Accounts were read. The caller holds the lease on the
    activities and on Account."""
    if accounts.is_new(context):
        forgotten = _open_domains_in_org(context)
        with context.state.begin() as connection:
            account_domains.look_again(connection, context.org, forgotten)
    return accounts.refresh_accounts(context)


def _open_domains_in_org(context: Context) -> list[str]:
    """With a new state database: the domains of processed activities without an Account, which an earlier database knew of."""
    soql = f"SELECT Account_Domain__c FROM {ACTIVITY} WHERE Processed__c = true AND Account__c = null AND Account_Domain__c != null"
    return [
        domain
        for table in context.salesforce.read(soql)
        for domain in set(table.column("Account_Domain__c").to_pylist())
    ]
