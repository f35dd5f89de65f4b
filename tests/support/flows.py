"""Every flow task by task, without Airflow: tests, soak and benchmarks drive the engine through here.

A task is given what Airflow would give it: run id, try, the org's client or the vendor's hook, the clock's reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from salesforce_sync.engine.context import Context, Timing
from salesforce_sync.engine.deliver import Delivered
from salesforce_sync.engine.maintain import Retention, keep_house
from salesforce_sync.engine.purge import PurgeRule, purge
from salesforce_sync.engine.read_days import DaysRead, Span, read_days
from salesforce_sync.engine.to_salesforce import deliver_to_salesforce
from salesforce_sync.mapping.loader import load_mapping
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.privacy import Scrubber
from salesforce_sync.records import Counts, RunIdentity
from salesforce_sync.staging import Staging
from salesforce_sync.state.engine import open_state
from salesforce_sync.systems.peerspot.companies import COMPANIES, companies
from salesforce_sync.systems.peerspot.process import PRODUCTS, process
from salesforce_sync.windows import DateWindow
from support.world import World

ACTIVITIES = "peerspot/activities"
NO_REST = Timing(rest_seconds=0)


class RecordsSource:
    """A vendor that has these records, in pages of five, whatever day it is asked for."""

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
class Intent:
    """The intent DAG. Every call is a task of the run `run_id`; `today` is what the cleaner takes for today."""

    world: World
    state_url: str
    folder: Path
    run_id: str = "run-1"
    today: date = date(2026, 11, 21)
    attempt: int = 1
    timing: Timing = NO_REST
    extra: dict[str, Any] = field(default_factory=dict)  # further parts of every context

    def context(self, task: str) -> Context:
        run = RunIdentity("peerspot_intent", self.run_id, task, self.attempt)
        state = open_state(self.state_url)
        return Context(state, run, self.staging, self.world.client(), timing=self.timing, **self.extra)

    @property
    def staging(self) -> Staging:
        return Staging(self.folder / "staging")

    @property
    def mapping(self) -> MappingFile:
        return load_mapping(ACTIVITIES)

    def extract(
        self,
        records: Sequence[dict[str, Any]] | Any,
        *,
        last: date = date(2026, 11, 10),
        first: date | None = None,
        scheduled: bool = False,
        resend: bool = False,
    ) -> DaysRead:
        source = records if hasattr(records, "read") else RecordsSource(records)
        run = RunIdentity("peerspot_intent", self.run_id, "extract", self.attempt)
        context = Context(open_state(self.state_url), run, self.staging, known_org=self.world.client().org_id, timing=self.timing)
        span = Span(DateWindow(first or last, last), scheduled)
        return read_days(context, source, ACTIVITIES, self.mapping, span, today=self.today, resend=resend)

    def load(self, mapping: MappingFile | None = None) -> Delivered:
        return deliver_to_salesforce(self.context("load"), ACTIVITIES, mapping or self.mapping)

    def take(self, records: Sequence[dict[str, Any]], **options: Any) -> Delivered:
        """Extract and load."""
        self.extract(records, **options)
        return self.load()

    def process(self, *, account_choice: str = "parentless_oldest") -> Counts:
        return process(self.context("process"), load_mapping(PRODUCTS), account_choice=account_choice)

    def companies(self) -> Counts:
        return companies(self.context("companies"), load_mapping(COMPANIES), today=self.today)

    def clean(self, *, days: int = 180) -> Counts:
        rule = PurgeRule(
            "peerspot/clean", "PeerSpot_Activity__c", "Date_Visited__c", "PeerSpot_External_Id__c", ACTIVITIES, days,
            self.today,
        )  # fmt: skip
        return purge(self.context("clean"), rule)

    def keep_house(self, *, now: datetime | None = None, **days: int) -> bool:
        return keep_house(self.context("load"), Retention(**days), now=now)

    def run(self, *records: dict[str, Any]) -> Delivered:
        """Extract, load and process."""
        self.extract(records)
        delivered = self.load()
        self.process()
        return delivered
