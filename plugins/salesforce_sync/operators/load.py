"""LoadOperator: staged records into Salesforce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, staging, step_context


class LoadOperator(SyncOperator):
    """Loads `batches` (the output of an ExtractOperator, or of an operator that stages batches for several mappings) by `mapping`; returns
    the counts. Unchanged records are not sent again, unless the run's parameter `resend` says so."""

    template_fields: Sequence[str] = ("batches",)

    def __init__(self, *, mapping: str, batches: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mapping = mapping
        self.batches = batches

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.staging import batches_of
        from salesforce_sync.steps.load import Source, load

        batches = self.batches[self.mapping] if isinstance(self.batches, Mapping) else self.batches
        source = Source.staged(batches_of(batches), staging())
        with step_context(context) as step:
            loaded = load(
                step, self.mapping, load_mapping(self.mapping), source, resend=bool(context["params"].get("resend"))
            )
        log.info("%s: %s", self.mapping, loaded.counts)
        return asdict(loaded.counts)
