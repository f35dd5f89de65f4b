"""ExtractChangesOperator: what changed in Salesforce, staged for a vendor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, step_context, swept_staging


class ExtractChangesOperator(SyncOperator):
    """Stages what changed since the last delivery, by each of the mappings; returns their BatchRefs as dicts, by mapping.

    The run parameter `full_sync` stages all records."""

    def __init__(self, *, mappings: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mappings = mappings

    def run_step(self, context: Any) -> dict[str, list[dict[str, Any]]]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.steps.changes import stage_changes

        store, full = swept_staging(self.dag_id), bool(context["params"].get("full_sync"))
        staged = {}
        with step_context(context) as step:
            for name in self.mappings:
                refs = stage_changes(step, name, load_mapping(name), store, full=full)
                log.info("%s: %d records changed", name, sum(ref.count for ref in refs))
                staged[name] = [ref.as_xcom() for ref in refs]
        return staged
