"""PurgeOperator: records past their retention leave Salesforce."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, step_context


class PurgeOperator(SyncOperator):
    """Deletes the records of `object` whose `date_field` is more days ago than the Variable `retention` says; returns the counts.

    A record exactly as old as the retention stays. A Variable that breaks its rule deletes nothing and fails the task. The task is not
    deferrable: what it looks for is gone when it begins anew, and with it the counts.
    """

    def __init__(
        self,
        *,
        name: str,
        object: str,
        date_field: str,
        record_id_field: str,
        mapping: str,
        retention: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=False, **kwargs)
        self.name = name
        self.object = object
        self.date_field = date_field
        self.record_id_field = record_id_field
        self.mapping = mapping
        self.retention = retention

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.settings import read_setting
        from salesforce_sync.steps.purge import PurgeRule, purge

        rule = PurgeRule(
            self.name, self.object, self.date_field, self.record_id_field, self.mapping, days=read_setting(self.retention),
            today=datetime.now(UTC).date(),
        )  # fmt: skip
        with step_context(context) as step:
            counts = purge(step, rule, sync_log_days=read_setting("sync_log_retention_days"))
        log.info("%s before %s: %d deleted", self.object, rule.cutoff, counts.deleted)
        return asdict(counts)
