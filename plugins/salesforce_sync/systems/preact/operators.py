"""Preact's own tasks: metrics are read where the Variable preact_source says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from salesforce_sync.operators.base import SyncOperator, log, vendor_context
from salesforce_sync.operators.compare import CompareOperator
from salesforce_sync.operators.read import PATIENT
from salesforce_sync.settings import Setting, names_of, read_setting
from salesforce_sync.systems.preact.settings import HEARTBEAT_DAYS, PREACT, SOURCE

if TYPE_CHECKING:
    from salesforce_sync.engine.context import Context
    from salesforce_sync.engine.deliver import Delivered
    from salesforce_sync.mapping.model import MappingFile


class CheckMetricsOperator(SyncOperator):
    """Checks the place that the metrics are read from; returns a sentence that says that it works."""

    def run_step(self, context: Any) -> str:
        from salesforce_sync.systems.preact.sources import plain_source

        sentence = plain_source().test()
        log.info(sentence)
        return sentence


class ReadMetricsOperator(SyncOperator):
    """Reads all metrics of the mappings that these settings name; returns how many, by mapping."""

    def __init__(self, *, mappings: Sequence[str | Setting], **kwargs: Any) -> None:
        super().__init__(**(PATIENT | kwargs))
        self.mappings = mappings

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.engine.read_whole import read_whole
        from salesforce_sync.errors import InvalidSetting
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.systems.preact.sources import source

        resend, days = bool(context["params"].get("resend")), read_setting(HEARTBEAT_DAYS)
        found, counts = source(), {}
        with vendor_context(context) as work:
            for name in names_of(self.mappings):
                mapping = load_mapping(name)
                if mapping.direction != "to_salesforce" or mapping.salesforce.find_by is None:
                    raise InvalidSetting(
                        f"The mapping {name} brings no metrics to Salesforce.",
                        fix="Name one that goes to_salesforce and has salesforce.find_by, such as preact/account_metrics.",
                    )
                counts[name] = read_whole(work, found, name, mapping, resend=resend, heartbeat_days=days)
                log.info("%s: %d records", name, counts[name])
        return counts


class CompareMetricsOperator(CompareOperator):
    """For one mapping of metrics, whatever the place that they are read from."""

    def is_set_up(self) -> bool:
        return read_setting(SOURCE) != PREACT or super().is_set_up()

    def rehearse(self, context: Any, work: Context, mappings: dict[str, MappingFile], hook: Any) -> Delivered:
        from salesforce_sync.engine.read_whole import read_whole
        from salesforce_sync.engine.to_salesforce import deliver_to_salesforce
        from salesforce_sync.systems.preact.sources import source

        ((name, mapping),) = mappings.items()
        read_whole(work, source(), name, mapping, resend=True)
        return deliver_to_salesforce(work, name, mapping)
