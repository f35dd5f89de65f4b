"""The first tasks of a DAG: is each side in place before anything moves? One task per side, so that no task holds both credentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from salesforce_sync.operators.base import SyncOperator, log, salesforce_context, window
from salesforce_sync.settings import Setting, name_of, names_of, read_setting


class CheckSalesforceOperator(SyncOperator):
    """Checks the run's dates, the values of `settings`, the Salesforce credentials, and that the org has what the DAG
    needs.

    `mappings` names the mappings that the DAG works by, or the settings that do; `reads` lists the fields that it reads besides, by object. A
    DAG that runs every few minutes may do with what the org said of its objects within the hour: `fresh` False. A run
    that names no day is about the day `days_behind` days before it. `flow` adds both directions of a mapping both ways,
    or of the one that this setting names. Returns a sentence that says that it works.
    """

    def __init__(
        self, *, system: str, mappings: Sequence[str | Setting] = (), reads: Mapping[str, Sequence[str]] | None = None,
        settings: Sequence[Setting] = (),
        fresh: bool = True, days_behind: int = 1, flow: str | Setting | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.fresh = fresh
        self.days_behind = days_behind
        self.system = system
        self.mappings = mappings
        self.reads = reads or {}
        self.settings = settings
        self.flow = flow

    def run_step(self, context: Any) -> str:
        from salesforce_sync.engine.preflight import check_salesforce
        from salesforce_sync.engine.two_way.sides import member_name
        from salesforce_sync.mapping.loader import load_mapping

        if "start_date" in context["params"]:
            log.info("This run is about %s", window(context, days_behind=self.days_behind))
        for setting in self.settings:
            read_setting(setting)
        flow = None if self.flow is None else name_of(self.flow)
        both = [] if flow is None else [member_name(flow, theirs=theirs) for theirs in (False, True)]
        mappings = {name: load_mapping(name) for name in (*names_of(self.mappings), *both)}
        with salesforce_context(context, dry=False) as step:  # it leaves no more than that it looked
            sentence = check_salesforce(step, self.system, mappings=mappings, reads=self.reads, fresh=self.fresh)
        log.info(sentence)
        return sentence


class CheckVendorOperator(SyncOperator):
    """Checks the vendor's credentials by asking it for one record; returns the vendor's own words when it works."""

    def __init__(self, *, system: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.system = system

    def run_step(self, context: Any) -> str:
        from salesforce_sync.systems import vendor_hook

        sentence = vendor_hook(self.system).test()
        log.info(sentence)
        return sentence
