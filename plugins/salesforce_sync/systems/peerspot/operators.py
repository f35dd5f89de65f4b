"""PeerSpot's own tasks: the Processor, the companies, the signals."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from salesforce_sync.operators.base import SyncOperator, log, salesforce_context
from salesforce_sync.settings import read_setting
from salesforce_sync.systems.peerspot.settings import ACCOUNT_CHOICE, NURTURE_CAMPAIGN, PROSPECTS_PATH, SIGNALS


class ProcessActivitiesOperator(SyncOperator):
    """Processes every activity in Salesforce that is not processed yet, whichever run read it; returns the counts."""

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.systems.peerspot.process import PRODUCTS, process

        choice = read_setting(ACCOUNT_CHOICE)
        with salesforce_context(context) as work:
            counts = process(work, load_mapping(PRODUCTS), account_choice=choice)
        log.info("Activities: %s", counts)
        return asdict(counts)


class CompaniesOperator(SyncOperator):
    """Brings the companies up to date with the activities of the last 60 days; returns the counts."""

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.systems.peerspot.companies import COMPANIES, companies

        resend = bool(context["params"].get("resend"))
        with salesforce_context(context) as work:
            counts = companies(work, load_mapping(COMPANIES), today=datetime.now(UTC).date(), resend=resend)
        log.info("Companies: %s", counts)
        return asdict(counts)


class SignalsOperator(SyncOperator):
    """Runs the signals that the Variable `peerspot_signals` names; skipped when it names none. Returns the counts."""

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.systems.peerspot.signals import MEMBERS, TASKS, SignalMappings, signals

        rules = self._rules()
        with salesforce_context(context) as work:
            counts = signals(work, SignalMappings(load_mapping(TASKS), load_mapping(MEMBERS)), rules)
        log.info("Signals: %s", counts)
        return asdict(counts)

    def _rules(self) -> Any:
        from salesforce_sync.errors import InvalidSetting
        from salesforce_sync.systems.peerspot.signals import SignalRules

        enabled = frozenset(read_setting(SIGNALS))
        if not enabled:
            raise AirflowSkipException("The Variable peerspot_signals switches no signal on.")
        campaign, path = read_setting(NURTURE_CAMPAIGN), read_setting(PROSPECTS_PATH)
        for signal, value, name in (
            ("nurture", campaign, NURTURE_CAMPAIGN.name),
            ("prospects", path, PROSPECTS_PATH.name),
        ):
            if signal in enabled and not value:
                raise InvalidSetting(
                    f"The signal {signal} needs the Variable {name}.",
                    fix=f"Set {name}, or take {signal} out of peerspot_signals.",
                )
        return SignalRules(enabled, datetime.now(UTC).date(), campaign, Path(path) if path else None)
