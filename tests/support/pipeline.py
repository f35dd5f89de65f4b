"""The steps of the intent DAG wired together without Airflow, as its tasks run them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from salesforce_sync.mapping.loader import load_mapping
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.privacy import Scrubber
from salesforce_sync.records import BatchRef, Counts, RunIdentity
from salesforce_sync.staging import Staging
from salesforce_sync.state.engine import open_state
from salesforce_sync.steps.companies import COMPANIES, companies
from salesforce_sync.steps.context import StepContext
from salesforce_sync.steps.extract import extract
from salesforce_sync.steps.load import Loaded, Source, load
from salesforce_sync.steps.process import ProcessMappings, process
from salesforce_sync.steps.purge import PurgeRule, purge
from salesforce_sync.windows import DateWindow
from support.world import World

ACTIVITIES = "peerspot/activities"


class RecordsSource:
    """A source that extract can read: a list of records, in pages of five."""

    def __init__(self, records: Sequence[dict[str, Any]]) -> None:
        self._records = records
        self._scrubber = Scrubber()

    @property
    def removed(self) -> Counter[str]:
        return self._scrubber.removed

    def read(self, stream: str, *, window: DateWindow) -> Iterator[list[dict[str, Any]]]:
        for start in range(0, len(self._records), 5):
            yield [self._scrubber.scrub(record) for record in self._records[start : start + 5]]


@dataclass
class Pipeline:
    """`today` is what the cleaner takes for today; every call is a task of the run `run_id`."""

    world: World
    state_url: str
    folder: Path
    run_id: str = "run-1"
    today: date = date(2026, 11, 21)

    def context(self, task: str) -> StepContext:
        return StepContext(
            self.world.client(), open_state(self.state_url), RunIdentity("peerspot_intent", self.run_id, task)
        )

    @property
    def staging(self) -> Staging:
        return Staging(self.folder / "staging")

    @property
    def mapping(self) -> MappingFile:
        return load_mapping(ACTIVITIES)

    def extract(self, records: Sequence[dict[str, Any]], *, last: date = date(2026, 11, 10)) -> list[BatchRef]:
        run = RunIdentity("peerspot_intent", self.run_id, "extract")
        return extract(RecordsSource(records), self.mapping, DateWindow(last, last), self.staging, run)

    def load(self, batches: list[BatchRef], *, resend: bool = False) -> Loaded:
        return load(self.context("load"), ACTIVITIES, self.mapping, Source.staged(batches, self.staging), resend=resend)

    def process(self, *, account_choice: str = "parentless_oldest") -> Counts:
        mappings = ProcessMappings(load_mapping("peerspot/vendor_products"), load_mapping("peerspot/activity_products"))
        return process(self.context("process"), mappings, account_choice=account_choice)

    def companies(self) -> Counts:
        return companies(self.context("companies"), load_mapping(COMPANIES), today=self.today)

    def clean(self, *, days: int = 180, sync_log_days: int = 90) -> Counts:
        rule = PurgeRule(
            "peerspot/clean",
            "PeerSpot_Activity__c",
            "Date_Visited__c",
            "PeerSpot_External_Id__c",
            ACTIVITIES,
            days,
            self.today,
        )
        return purge(self.context("clean"), rule, sync_log_days=sync_log_days)

    def run(self, *records: dict[str, Any]) -> Loaded:
        """Extract, load and process."""
        loaded = self.load(self.extract(records))
        self.process()
        return loaded
