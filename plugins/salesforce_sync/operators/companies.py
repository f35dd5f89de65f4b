"""CompaniesOperator: the companies that the reports are built on."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, step_context


class CompaniesOperator(SyncOperator):
    """Brings the companies up to date with the activities of the last 60 days; returns the counts."""

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.steps.companies import COMPANIES, companies

        resend = bool(context["params"].get("resend"))
        with step_context(context) as step:
            counts = companies(step, load_mapping(COMPANIES), today=datetime.now(UTC).date(), resend=resend)
        log.info("Companies: %s", counts)
        return asdict(counts)
