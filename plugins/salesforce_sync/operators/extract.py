"""ExtractOperator: a vendor's records, staged."""

from __future__ import annotations

from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, run_identity, staging, window


class ExtractOperator(SyncOperator):
    """Stages the records of the run's days as far as `mapping` reads them; returns BatchRefs as dicts for the next task."""

    def __init__(self, *, system: str, mapping: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.system = system
        self.mapping = mapping

    def run_step(self, context: Any) -> list[dict[str, Any]]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.steps.extract import extract
        from salesforce_sync.systems import vendor_hook

        hook, store, days = vendor_hook(self.system), staging(), window(context)
        store.sweep(self.dag_id)
        batches = extract(hook, load_mapping(self.mapping), days, store, run_identity(context))
        log.info("%s: %d records of %s in %d batches", self.mapping, sum(batch.count for batch in batches), days, len(batches))
        if hook.removed:
            log.warning("%s sent personal data that it should not send; taken out: %s", self.system, dict(hook.removed))
        return [batch.as_xcom() for batch in batches]
