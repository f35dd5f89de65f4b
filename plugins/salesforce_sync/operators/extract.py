"""ExtractOperator: a vendor's records, staged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from salesforce_sync.operators.base import SyncOperator, log, run_identity, swept_staging, window

if TYPE_CHECKING:
    from salesforce_sync.windows import DateWindow


class ExtractOperator(SyncOperator):
    """Stages the records of the run's days as far as `mapping` reads them; returns BatchRefs as dicts for the next task.

    With `retention`, the name of a Variable, it warns of days that the clean-up will not keep.
    """

    def __init__(self, *, system: str, mapping: str, retention: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.system = system
        self.mapping = mapping
        self.retention = retention

    def run_step(self, context: Any) -> list[dict[str, Any]]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.steps.extract import extract
        from salesforce_sync.systems import vendor_hook

        hook, store, days = vendor_hook(self.system), swept_staging(self.dag_id), window(context)
        batches = extract(hook, load_mapping(self.mapping), days, store, run_identity(context))
        self._warn_of_retention(days)
        log.info(
            "%s: %d records of %s (batches: %d)",
            self.mapping,
            sum(batch.count for batch in batches),
            days,
            len(batches),
        )
        if hook.removed:
            log.warning("%s sent personal data that it should not send; taken out: %s", self.system, dict(hook.removed))
        return [batch.as_xcom() for batch in batches]

    def _warn_of_retention(self, days: DateWindow) -> None:
        from salesforce_sync.settings import read_setting

        if self.retention is None:
            return
        kept_from = datetime.now(UTC).date() - timedelta(days=read_setting(self.retention))
        if days.first < kept_from:
            log.warning(
                "Records before %s will be deleted again by this run's clean-up: %s keeps no more.",
                kept_from,
                self.retention,
            )
