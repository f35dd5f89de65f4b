"""PushOperator: staged Salesforce records to a vendor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, run_identity, staging


class PushOperator(SyncOperator):
    """Sends `batches` (the output of an ExtractChangesOperator) to the system, mapping by mapping, in the order of `mappings`; returns the
    counts by mapping. Records that have not changed are not sent again, unless the run's parameter `resend` says so.

    `deleted` names the Variable that says what becomes of records that are deleted in Salesforce."""

    template_fields: Sequence[str] = ("batches",)

    def __init__(self, *, system: str, mappings: Sequence[str], batches: Any, deleted: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.system = system
        self.mappings = mappings
        self.batches = batches
        self.deleted = deleted

    def run_step(self, context: Any) -> dict[str, dict[str, int]]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.settings import read_setting
        from salesforce_sync.staging import batches_of
        from salesforce_sync.state.engine import open_state
        from salesforce_sync.steps.context import VendorContext
        from salesforce_sync.steps.load import Source
        from salesforce_sync.steps.push import org_of, push
        from salesforce_sync.systems import vendor_hook

        hook, store, state = vendor_hook(self.system), staging(), open_state()
        delete, resend = read_setting(self.deleted) == "delete", bool(context["params"].get("resend"))
        counts = {}
        for name in self.mappings:
            batches = batches_of(self.batches[name])
            step = VendorContext(org_of(batches), state, run_identity(context))
            loaded = push(
                step, name, load_mapping(name), Source.staged(batches, store), hook, delete=delete, resend=resend
            )
            log.info("%s: %s", name, loaded.counts)
            counts[name] = asdict(loaded.counts)
        return counts
