"""Keeping house: every DAG keeps the retention of log, letters, plans and staged files, and checks what always holds."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from salesforce_sync.engine.context import Context
from salesforce_sync.staging import remove_folder
from salesforce_sync.state import claims, dead_letters, inbox, links, plans, runs, shadow, sync_log, waits, watermarks
from salesforce_sync.state.engine import reading

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
STREAM = "maintenance"
LONGEST_RUN = timedelta(days=2)  # longer than any task may take
TOMBSTONES = timedelta(days=30)


@dataclass(frozen=True)
class Retention:
    """How many days the sync log, dead letters (which hold personal data) and plans are kept."""

    log_days: int = 90
    letter_days: int = 30
    plan_days: int = 30


def keep_house(context: Context, retention: Retention, *, now: datetime | None = None) -> bool:
    """Removes what is past its retention, and logs what does not balance; at most once an hour, and not in a dry run.
    True when it did."""
    if context.dry is not None:
        return False
    now = now or datetime.now(UTC)
    with context.state.begin() as connection:
        last = watermarks.get(connection, context.org, STREAM)
        if last is not None and timedelta(0) <= now - datetime.fromisoformat(last) < EVERY:
            return False
        watermarks.take_back(connection, context.org, STREAM, "")
        watermarks.advance(connection, context.org, STREAM, now.isoformat())
    log_before = now - timedelta(days=retention.log_days)
    with context.state.begin() as connection:
        sync_log.purge(connection, before=log_before)
        shadow.purge(connection, before=log_before)
        inbox.purge(connection, before=log_before)
        claims.purge(connection, before=log_before)
        dead_letters.purge(connection, before=now - timedelta(days=retention.letter_days))
        waits.purge(connection, before=now - timedelta(days=max(retention.letter_days, retention.log_days)))
        runs.interrupt_older(connection, before=now - LONGEST_RUN)
        if not inbox.paths_in_use(connection):  # a batch that waits may be older than a tombstone
            links.purge(connection, before=now - max(TOMBSTONES, timedelta(days=retention.plan_days)))
        old_plans = plans.paths_older_than(connection, now - timedelta(days=retention.plan_days))
        kept = inbox.paths_in_use(connection)
    for plan_id, path in old_plans:
        remove_folder(context.staging.place(path))
        with context.state.begin() as connection:
            plans.forget(connection, plan_id)
    context.staging.sweep(keep=kept, now=now)
    _check(context)
    return True


def _check(context: Context) -> None:
    """What always holds of the state alone."""
    with reading(context.state) as connection:
        unbalanced = inbox.unbalanced(connection, context.org)
    if unbalanced:
        log.error("The outcomes of %d batches do not add up to their rows: %s", len(unbalanced), unbalanced[:10])
