"""WOW Analytics' own tasks: company leads are read, matched, and, of those of which it was decided, created."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from salesforce_sync.operators.base import (
    SyncOperator,
    is_dry,
    log,
    retention,
    salesforce_context,
    vendor,
    vendor_context,
)
from salesforce_sync.operators.read import PATIENT
from salesforce_sync.settings import read_setting
from salesforce_sync.systems.wow.settings import (
    CATCH_UP_DAYS,
    LAST_NAME,
    LEAD_TYPES,
    MODE,
    PRECISION,
    RETENTION_DAYS,
    THRESHOLD,
)


class ReadLeadsOperator(SyncOperator):
    """Reads the company leads that visited since yesterday, and on days that nobody read; returns how many."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**(PATIENT | kwargs))

    def run_step(self, context: Any) -> int:
        from salesforce_sync.systems.wow.leads import purge_leads, read_leads

        today = datetime.now(UTC).date()
        oldest = today - timedelta(days=read_setting(CATCH_UP_DAYS))
        hook = vendor(context, "wow")
        with vendor_context(context) as work:
            count = read_leads(work, hook, read_setting(LEAD_TYPES), today=today, oldest=oldest)
            purge_leads(work, before=today - timedelta(days=read_setting(RETENTION_DAYS)))
        log.info("%d company leads read", count)
        return count


class MatchLeadsOperator(SyncOperator):
    """Finds candidates in Salesforce for the company leads that were not checked; in the mode `auto`, decides what is clear.
    Returns how many leads are in which state."""

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.systems.wow.leads import MatchRules, match_leads

        rules = MatchRules(read_setting(MODE) == "auto", read_setting(THRESHOLD), read_setting(PRECISION))
        with salesforce_context(context) as work:
            counts = match_leads(work, rules)
        for state, count in counts.items():
            log.info("%s: %d", state, count)
        return counts


class CreateLeadsOperator(SyncOperator):
    """Creates Leads in Salesforce of the companies of which that was decided; returns the counts."""

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.engine.maintain import keep_house
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.systems.wow.leads import MAPPING, create_leads

        with salesforce_context(context) as work:
            counts = create_leads(work, load_mapping(MAPPING), last_name=read_setting(LAST_NAME))
            if not is_dry(context):
                keep_house(work, retention())
        log.info("%s: %s", MAPPING, counts)
        return asdict(counts)
