"""Deployteq's own tasks: contact moments, and the Salesforce Synchronize object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowSkipException

from salesforce_sync.operators.base import SyncOperator, is_dry, log, vendor, vendor_context
from salesforce_sync.operators.read import PATIENT
from salesforce_sync.settings import read_setting
from salesforce_sync.systems.deployteq.settings import MOMENTS_DAYS, SYNCHRONIZE


class ReadMomentsOperator(SyncOperator):
    """Reads the e-mails of the last days (the Variable deployteq_moments_days), as far as something happened to them; returns how many, by
    mapping.

    `mappings`: Lead and Contact -> the mapping of its moments; `links_of` names the mappings whose links lead from customers
    to records.
    """

    def __init__(
        self, *, system: str, name: str, mappings: Mapping[str, str], links_of: Sequence[str], **kwargs: Any
    ) -> None:
        super().__init__(**(PATIENT | kwargs))
        self.system = system
        self.name = name
        self.mappings = mappings
        self.links_of = links_of

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.systems.deployteq.moments import MomentFlow, read_moments
        from salesforce_sync.windows import DateWindow

        today = datetime.now(UTC).date()
        # Until tomorrow: the vendor's day may have begun already.
        window = DateWindow(today - timedelta(days=read_setting(MOMENTS_DAYS)), today + timedelta(days=1))
        mappings = {kind: (name, load_mapping(name)) for kind, name in self.mappings.items()}
        flow = MomentFlow(self.name, mappings, self.links_of)
        resend = bool(context["params"].get("resend"))
        with vendor_context(context) as work:
            counts = read_moments(work, flow, vendor(context, self.system), window, resend=resend)
        log.info("%s: %s", self.name, counts)
        return counts


def output_asset(kind: str, output: str) -> Asset:
    """The Asset that other DAGs can be scheduled on: `kind` is contacts or leads, `output` continue, success, error or limit."""
    return Asset(f"x-deployteq://synchronize/{kind}/{output}")


class ReadQueueOperator(SyncOperator):
    """Claims the customers in the queue of `kind`, contacts or leads, and reads them; returns how many go to Salesforce.

    Skipped when the Variable deployteq_synchronize names no queue for it.
    """

    def __init__(self, *, system: str, kind: str, mapping: str, **kwargs: Any) -> None:
        super().__init__(**(PATIENT | kwargs))
        self.system = system
        self.kind = kind
        self.mapping = mapping

    def run_step(self, context: Any) -> int:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.systems.deployteq.campaign import read_queue

        groups = read_setting(SYNCHRONIZE).get(self.kind)
        if groups is None:
            raise AirflowSkipException(f"The Variable {SYNCHRONIZE.name} names no queue of {self.kind}.")
        hook, mapping = vendor(context, self.system), load_mapping(self.mapping)
        with vendor_context(context) as work:
            count = read_queue(work, self.mapping, mapping, hook, groups["queue"])
        log.info("%s: %d customers go to Salesforce", self.mapping, count)
        return count


class TellOutcomesOperator(SyncOperator):
    """Tells the vendor each claimed customer's outcome; returns the counts by output.

    Each output that somebody is in is staged, and is an event of its Asset, with the batches in the event's `extra`.
    """

    def __init__(self, *, system: str, kind: str, mapping: str, **kwargs: Any) -> None:
        self.alias = AssetAlias(f"deployteq_synchronize_{kind}")
        super().__init__(outlets=[self.alias], **kwargs)
        self.system = system
        self.kind = kind
        self.mapping = mapping

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.systems.deployteq.campaign import tell

        if is_dry(context):
            log.info("Dry run: no outcome goes to Deployteq.")
            return {}
        with vendor_context(context) as work:
            hook, groups = vendor(context, self.system), read_setting(SYNCHRONIZE)[self.kind]
            outputs = tell(work, self.mapping, hook, groups).by_name()
            for output, customers in outputs.items():
                if customers:
                    self._stage(work, context, output, customers)
        return {output: len(customers) for output, customers in outputs.items()}

    def _stage(self, work: Any, context: Any, output: str, customers: Sequence[str]) -> None:
        run = work.run
        folder = work.staging.folder("outputs", run.dag_id, run.run_id, run.task_id, output)
        writer = work.staging.records(folder, id_path="id", paths=["id"])
        for customer in customers:
            writer.add({"id": customer})
        batches = [{"path": ref.path, "count": ref.count} for ref in writer.close()]
        extra = {"count": len(customers), "batches": batches}
        context["outlet_events"][self.alias].add(output_asset(self.kind, output), extra=extra)
