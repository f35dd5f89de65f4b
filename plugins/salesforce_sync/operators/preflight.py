"""PreflightOperator: the first task of a DAG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, step_context, window


class PreflightOperator(SyncOperator):
    """Checks the run's dates, every credential and every mapping before anything moves; returns a sentence per side that works.

    `system` is the vendor, `mappings` the names of the mappings that the DAG loads by, `settings` the Variables that it reads.
    """

    def __init__(self, *, system: str, mappings: Sequence[str], settings: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.system = system
        self.mappings = mappings
        self.settings = settings

    def run_step(self, context: Any) -> list[str]:
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.settings import read_setting
        from salesforce_sync.steps.preflight import preflight
        from salesforce_sync.systems import vendor_hook

        log.info("This run is about %s", window(context))
        for name in self.settings:
            read_setting(name)
        mappings = {name: load_mapping(name) for name in self.mappings}
        sentences = preflight(step_context(context), self.system, vendors={self.system: vendor_hook(self.system)}, mappings=mappings)
        for sentence in sentences:
            log.info(sentence)
        return sentences
