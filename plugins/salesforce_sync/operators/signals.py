"""SignalsOperator: what recent intent means for people."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from salesforce_sync.operators.base import SyncOperator, log, step_context


class SignalsOperator(SyncOperator):
    """Runs the signals that the Variable `peerspot_signals` names; skipped when it names none. Returns the counts."""

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.errors import InvalidSetting
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.settings import read_setting
        from salesforce_sync.steps.signals import MEMBERS, TASKS, SignalMappings, SignalRules, signals

        enabled = frozenset(read_setting("peerspot_signals"))
        if not enabled:
            raise AirflowSkipException("The Variable peerspot_signals switches no signal on.")
        campaign, path = read_setting("peerspot_nurture_campaign"), read_setting("peerspot_prospects_path")
        for signal, value, name in (
            ("nurture", campaign, "peerspot_nurture_campaign"),
            ("prospects", path, "peerspot_prospects_path"),
        ):
            if signal in enabled and not value:
                raise InvalidSetting(
                    f"The signal {signal} needs the Variable {name}.",
                    fix=f"Set {name}, or take {signal} out of peerspot_signals.",
                )
        rules = SignalRules(enabled, datetime.now(UTC).date(), campaign, Path(path) if path else None)
        with step_context(context) as step:
            counts = signals(step, SignalMappings(load_mapping(TASKS), load_mapping(MEMBERS)), rules)
        log.info("Signals: %s", counts)
        return asdict(counts)
