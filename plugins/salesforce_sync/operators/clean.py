"""CleanOperator: records past their retention leave Salesforce."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, retention, salesforce_context
from salesforce_sync.settings import Setting, read_setting


class CleanOperator(SyncOperator):
    """Deletes the records of `object` whose `date_field` is more days ago than `keep` says; returns the counts.

    A record exactly as old as that stays. A setting that breaks its rule deletes nothing and fails the task. More
    records than the Variable brake_delete_percent lets pass wait for a person. `mapping` names the links of these
    records, `record_id_field` what the log calls them.
    """

    def __init__(
        self, *, name: str, object: str, date_field: str, record_id_field: str, mapping: str, keep: Setting, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.name = name
        self.object = object
        self.date_field = date_field
        self.record_id_field = record_id_field
        self.mapping = mapping
        self.keep = keep

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.engine.maintain import keep_house
        from salesforce_sync.engine.purge import PurgeRule, purge

        rule = PurgeRule(
            self.name, self.object, self.date_field, self.record_id_field, self.mapping, days=read_setting(self.keep),
            today=datetime.now(UTC).date(), setting=self.keep.name,
        )  # fmt: skip
        with salesforce_context(context) as work:
            counts = purge(work, rule)
            keep_house(work, retention())
        log.info("%s before %s: %d deleted", self.object, rule.cutoff, counts.deleted)
        return asdict(counts)
