"""A local index of the org's Accounts by domain, and the domains that still look for an Account.

The index is refreshed with the Accounts that changed, so that matching costs one API call a run however many Accounts there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, exists, func, select

from salesforce_sync.matching.accounts import AccountCandidate
from salesforce_sync.state.bulk import with_zone
from salesforce_sync.state.engine import is_one_of, upsert
from salesforce_sync.state.schema import account_domains, open_domains


@dataclass(frozen=True)
class AccountChange:
    """An Account as it is now; `domain` is None when it has none to match by, or when it was deleted."""

    account_id: str
    domain: str | None
    parent_id: str | None
    created_at: str


def refresh(connection: Connection, org: str, changes: Sequence[AccountChange], *, seen_at: datetime) -> None:
    """Brings the index up to these Accounts. A domain that lost an Account is to be looked at again."""
    columns = account_domains.c
    now = {change.account_id: change.domain for change in changes}
    known = select(columns.account_id, columns.domain).where(
        columns.org == org, is_one_of(connection, columns.account_id, list(now))
    )
    lost = [(account_id, domain) for account_id, domain in connection.execute(known) if now[account_id] != domain]
    look_again(connection, org, [domain for _, domain in lost])
    gone = [account_id for account_id, _ in lost if now[account_id] is None]
    connection.execute(
        delete(account_domains).where(columns.org == org, is_one_of(connection, columns.account_id, gone))
    )
    rows = [
        {
            "org": org, "account_id": item.account_id, "domain": item.domain, "parent_id": item.parent_id, "created_at": item.created_at,
            "seen_at": seen_at,
        }
        for item in changes
        if item.domain is not None
    ]  # fmt: skip
    upsert(connection, account_domains, rows)


def latest_mark(connection: Connection, org: str) -> datetime:
    """The latest `seen_at` in the index; the beginning of time when it is empty."""
    found: datetime | None = connection.execute(
        select(func.max(account_domains.c.seen_at)).where(account_domains.c.org == org)
    ).scalar()
    if found is None:
        return datetime.min.replace(tzinfo=UTC)
    return with_zone(found)


def drop_unseen(connection: Connection, org: str, *, before: datetime) -> None:
    """After a full read: the Accounts that were not in it are gone, or no longer visible."""
    unseen = (account_domains.c.org == org) & (account_domains.c.seen_at < before)
    look_again(connection, org, connection.execute(select(account_domains.c.domain).where(unseen)).scalars())
    connection.execute(delete(account_domains).where(unseen))


def drop(connection: Connection, org: str, account_ids: Sequence[str]) -> None:
    """Accounts that Salesforce would not take as a reference: they are not offered again, and their domains are looked at again."""
    these = (account_domains.c.org == org) & is_one_of(connection, account_domains.c.account_id, account_ids)
    look_again(connection, org, connection.execute(select(account_domains.c.domain).where(these)).scalars())
    connection.execute(delete(account_domains).where(these))


def candidates(connection: Connection, org: str, domains: Iterable[str]) -> dict[str, list[AccountCandidate]]:
    """The Accounts on each of these domains; domains without one are left out."""
    found: dict[str, list[AccountCandidate]] = {}
    columns = account_domains.c
    query = select(columns.domain, columns.account_id, columns.parent_id, columns.created_at).where(
        columns.org == org, is_one_of(connection, columns.domain, sorted(set(domains)))
    )
    for domain, account_id, parent_id, created_at in connection.execute(query):
        found.setdefault(domain, []).append(AccountCandidate(account_id, parent_id, created_at))
    return found


def look_again(connection: Connection, org: str, domains: Iterable[str]) -> None:
    """Marks domains whose activities must be matched again."""
    upsert(
        connection, open_domains, [{"org": org, "domain": domain, "recheck": True} for domain in sorted(set(domains))]
    )


def keep_open(connection: Connection, org: str, domains: Iterable[str]) -> None:
    """Notes domains that have no Account, before their activities are marked as processed: should the task die then, they are not
    forgotten."""
    rows = [{"org": org, "domain": domain, "recheck": False} for domain in sorted(set(domains))]
    upsert(connection, open_domains, rows, update_existing=False)


def to_recheck(connection: Connection, org: str) -> list[str]:
    """Open domains that an Account has appeared on, or that have lost theirs."""
    columns = open_domains.c
    has_account = exists().where(account_domains.c.org == org, account_domains.c.domain == columns.domain)
    return list(
        connection.execute(select(columns.domain).where(columns.org == org, columns.recheck | has_account)).scalars()
    )


def settle(connection: Connection, org: str, *, checked: Sequence[str], unmatched: Iterable[str]) -> None:
    """Ends a look at open domains: of those that were checked, the unmatched stay open and the others are done with."""
    columns = open_domains.c
    still_open = sorted(set(unmatched))
    connection.execute(delete(open_domains).where(columns.org == org, is_one_of(connection, columns.domain, checked)))
    upsert(connection, open_domains, [{"org": org, "domain": domain, "recheck": False} for domain in still_open])
