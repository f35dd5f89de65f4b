"""ProcessActivitiesOperator: Vendor Products and Accounts for extracted activities."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, step_context


class ProcessActivitiesOperator(SyncOperator):
    """Processes every activity in Salesforce that is not processed yet, whichever run extracted it; returns the counts."""

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.settings import read_setting
        from salesforce_sync.steps.process import ProcessMappings, process

        mappings = ProcessMappings(load_mapping("peerspot/vendor_products"), load_mapping("peerspot/activity_products"))
        with step_context(context) as step:
            counts = process(step, mappings, account_choice=read_setting("peerspot_account_choice"))
        log.info("Activities: %s", counts)
        return asdict(counts)
