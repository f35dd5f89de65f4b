"""SPOTIO's own task: reading activities."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, vendor, vendor_context
from salesforce_sync.operators.read import PATIENT
from salesforce_sync.settings import Setting, name_of, read_setting
from salesforce_sync.systems.spotio.settings import LOOKBACK


class ReadActivitiesOperator(SyncOperator):
    """Reads the activities that changed, for the mapping `mapping`; returns how many. `flow` is the mapping both ways
    whose pairs say which Lead or Contact is which record in SPOTIO, or the setting that names it."""

    def __init__(self, *, system: str, mapping: str, flow: str | Setting, **kwargs: Any) -> None:
        super().__init__(**(PATIENT | kwargs))
        self.system, self.mapping, self.flow = system, mapping, flow

    def run_step(self, context: Any) -> int:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.systems.spotio.activities import read_activities

        lookback, resend = timedelta(minutes=read_setting(LOOKBACK)), bool(context["params"].get("resend"))
        with vendor_context(context) as work:
            count = read_activities(
                work, self.mapping, load_mapping(self.mapping), vendor(context, self.system), flow=name_of(self.flow),
                lookback=lookback, resend=resend,
            )  # fmt: skip
        log.info("%s: %d activities changed", self.mapping, count)
        return count
