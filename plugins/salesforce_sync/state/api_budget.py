"""The API budget of an org, shared by all DAGs: calls in 24 hours as the org counts them, calls and logins by the clock hour.

Tasks take calls in advance, a few at a time, so that the ledger costs one small transaction for many calls. What a
holder has taken counts beside what the org reports, until the holder reports or gives it back: so no two tasks spend the
same call. What a killed task took is freed by its next try, or by the task that takes its lease over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from salesforce_sync.state.bulk import with_zone
from salesforce_sync.state.engine import upsert
from salesforce_sync.state.schema import api_budget, api_calls_taken

OVERTAKING = timedelta(minutes=1)
LOGINS_PER_HOUR = 3_000  # Salesforce refuses a user more than 3,600


@dataclass(frozen=True)
class BudgetRule:
    """`reserve_percent` of the 24-hour allocation is left for people; `calls_per_hour` is a limit of ours, 0 for none.

    A task with a `share_percent` below 100 stops when that much of the allowance is spent, and leaves the rest to tasks that may spend all.
    """

    reserve_percent: int
    calls_per_hour: int
    share_percent: int = 100


def take(connection: Connection, org: str, wanted: int, rule: BudgetRule, now: datetime, *, holder: str = "") -> int:
    """How many of the wanted calls may be made. While the org's allocation is not known, one at a time: its answer will tell."""
    row = _row(connection, org, now)
    left = 1
    if row.allowed is not None:
        granted_in_all = row.allowed * (100 - rule.reserve_percent) * rule.share_percent // 10_000
        left = granted_in_all - row.used - outstanding(connection, org)
    if rule.calls_per_hour:
        left = min(left, rule.calls_per_hour * rule.share_percent // 100 - row.hour_calls)
    granted = max(0, min(wanted, left))
    connection.execute(
        update(api_budget).where(api_budget.c.org == org).values(hour_calls=api_budget.c.hour_calls + granted)
    )
    taken = {"org": org, "holder": holder, "calls": granted, "taken_at": now}
    upsert(
        connection,
        api_calls_taken,
        [taken],
        key=["org", "holder"],
        changes={"calls": api_calls_taken.c.calls + granted},
    )
    return granted


def outstanding(connection: Connection, org: str) -> int:
    """How many calls all holders together have taken in advance."""
    query = select(func.coalesce(func.sum(api_calls_taken.c.calls), 0)).where(api_calls_taken.c.org == org)
    return int(connection.execute(query).scalar_one())


def free(connection: Connection, holder: str) -> None:
    """Gives back what a holder took that is gone."""
    connection.execute(delete(api_calls_taken).where(api_calls_taken.c.holder == holder))


@dataclass(frozen=True)
class UsageReport:
    """What the org counted, and when it said so."""

    used: int
    allowed: int
    at: datetime


def settle(
    connection: Connection,
    org: str,
    *,
    made: int,
    unused: int,
    report: UsageReport | None,
    now: datetime,
    holder: str = "",
) -> None:
    """A task made so many of the calls that it took, and gives the others back.

    `report` is the answer to its last call. When another task has a later one, that one counts: it includes these calls.
    """
    row = _row(connection, org, now)
    values: dict[str, Any] = {"hour_calls": max(0, row.hour_calls - unused)}
    taken = (api_calls_taken.c.org == org) & (api_calls_taken.c.holder == holder)
    connection.execute(update(api_calls_taken).where(taken).values(calls=api_calls_taken.c.calls - made - unused))
    connection.execute(delete(api_calls_taken).where(taken, api_calls_taken.c.calls <= 0))
    if report is not None:
        last = None if row.reported_at is None else with_zone(row.reported_at)
        if last is None or report.at > last + OVERTAKING:
            values |= {"used": report.used, "allowed": report.allowed, "reported_at": report.at}
        elif (
            report.at > last - OVERTAKING
        ):  # answers overtake each other: within a minute the org's count does not fall
            values |= {
                "used": max(report.used, row.used),
                "allowed": report.allowed,
                "reported_at": max(report.at, last),
            }
    connection.execute(update(api_budget).where(api_budget.c.org == org).values(**values))


def count_login(connection: Connection, org: str, now: datetime) -> bool:
    """Counts a login; False when there were too many within the hour."""
    row = _row(connection, org, now)
    connection.execute(
        update(api_budget).where(api_budget.c.org == org).values(hour_logins=api_budget.c.hour_logins + 1)
    )
    return int(row.hour_logins) < LOGINS_PER_HOUR


def _row(connection: Connection, org: str, now: datetime) -> Any:
    """The org's row, locked, its hour the present one."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    first = {
        "org": org,
        "allowed": None,
        "used": 0,
        "reported_at": None,
        "hour": hour,
        "hour_calls": 0,
        "hour_logins": 0,
    }
    upsert(connection, api_budget, [first], update_existing=False)
    row = connection.execute(select(api_budget).where(api_budget.c.org == org).with_for_update()).one()
    if with_zone(row.hour) == hour:
        return row
    connection.execute(update(api_budget).where(api_budget.c.org == org).values(hour=hour, hour_calls=0, hour_logins=0))
    return connection.execute(select(api_budget).where(api_budget.c.org == org)).one()
