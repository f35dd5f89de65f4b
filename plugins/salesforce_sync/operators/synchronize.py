"""The Salesforce Synchronize object's own tasks: what a campaign queued, and what became of it, told back and as Assets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowSkipException

from salesforce_sync.operators.base import SyncOperator, log, run_identity, staging, swept_staging

SETTING = "deployteq_synchronize"
QUEUED = "queued"  # the XCom key of everything that was in the queue


def output_asset(kind: str, output: str) -> Asset:
    """The Asset that other DAGs can be scheduled on: `kind` is contacts or leads, `output` continue, success, error or limit."""
    return Asset(f"x-deployteq://synchronize/{kind}/{output}")


class ExtractQueueOperator(SyncOperator):
    """Stages what is in the queue of `kind`, contacts or leads; returns BatchRefs as dicts, by mapping, of what goes to Salesforce.

    Skipped when the Variable deployteq_synchronize names no queue for it."""

    template_fields: Sequence[str] = ("org",)

    def __init__(self, *, system: str, kind: str, mapping: str, org: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.system = system
        self.kind = kind
        self.mapping = mapping
        self.org = org

    def run_step(self, context: Any) -> dict[str, list[dict[str, Any]]]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.settings import read_setting
        from salesforce_sync.state.engine import open_state
        from salesforce_sync.steps.context import VendorContext
        from salesforce_sync.steps.synchronize import sift, stage_queue
        from salesforce_sync.systems import vendor_hook

        groups = read_setting(SETTING).get(self.kind)
        if groups is None:
            raise AirflowSkipException(f"The Variable {SETTING} names no queue of {self.kind}.")
        step, store, mapping = (
            VendorContext(self.org, open_state(), run_identity(context)),
            swept_staging(self.dag_id),
            load_mapping(self.mapping),
        )
        queued = stage_queue(step, self.mapping, mapping, vendor_hook(self.system), groups["queue"], store)
        context["ti"].xcom_push(key=QUEUED, value=[ref.as_xcom() for ref in queued])
        log.info("%s: %d customers are in the queue", self.mapping, sum(ref.count for ref in queued))
        return {self.mapping: [ref.as_xcom() for ref in sift(step, self.mapping, mapping, queued, store)]}


class ReportFatesOperator(SyncOperator):
    """Tells the vendor what became of everything in `queued`, and empties the queue of what is finished; returns the counts by output.

    Each output that somebody is in is staged, and is an event of its Asset, with the batches in the event's `extra`."""

    template_fields: Sequence[str] = ("org", "queued")

    def __init__(self, *, system: str, kind: str, mapping: str, queued: Any, org: str, **kwargs: Any) -> None:
        self.alias = AssetAlias(f"deployteq_synchronize_{kind}")
        super().__init__(outlets=[self.alias], **kwargs)
        self.system = system
        self.kind = kind
        self.mapping = mapping
        self.queued = queued
        self.org = org

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.settings import read_setting
        from salesforce_sync.staging import batches_of
        from salesforce_sync.state.engine import open_state
        from salesforce_sync.steps.context import VendorContext
        from salesforce_sync.steps.synchronize import fates, tell
        from salesforce_sync.systems import vendor_hook

        run, store = run_identity(context), staging()
        step = VendorContext(self.org, open_state(), run)
        outputs = fates(step, self.mapping, load_mapping(self.mapping), batches_of(self.queued), store)
        tell(vendor_hook(self.system), read_setting(SETTING)[self.kind], outputs)
        for output, customers in outputs.by_name().items():
            if customers:
                records = ({"id": customer} for customer in customers)
                refs = store.write_records(run, records, id_path="id", paths=["id"], high_cursor=None, folder=output)
                extra = {"count": len(customers), "batches": [ref.as_xcom() for ref in refs]}
                context["outlet_events"][self.alias].add(output_asset(self.kind, output), extra=extra)
        return {output: len(customers) for output, customers in outputs.by_name().items()}
