"""Every flow task by task, without Airflow: tests, soak and benchmarks drive the engine through here.

A task is given what Airflow would give it: run id, try, the org's client or the vendor's hook, the clock's reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine

from emulators.vendors.deployteq import Deployteq
from salesforce_sync.engine.context import NO_BRAKES, Brakes, Context, Timing
from salesforce_sync.engine.deliver import Delivered
from salesforce_sync.engine.from_salesforce import read_changes
from salesforce_sync.engine.maintain import Retention, keep_house
from salesforce_sync.engine.purge import PurgeRule, purge
from salesforce_sync.engine.read_days import DaysRead, Span, read_days
from salesforce_sync.engine.read_whole import WholeSource, read_whole
from salesforce_sync.engine.to_salesforce import deliver_to_salesforce
from salesforce_sync.engine.to_vendor import deliver_to_vendor
from salesforce_sync.engine.two_way.end import deliver_both_ways
from salesforce_sync.engine.two_way.reading import read_ours, read_theirs
from salesforce_sync.engine.two_way.sides import Rules
from salesforce_sync.errors import CallsMayLand, JobUnderWay, LeaseHeld
from salesforce_sync.mapping.loader import load_mapping as read_mapping
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.privacy import Scrubber
from salesforce_sync.records import Counts, RunIdentity
from salesforce_sync.staging import Staging
from salesforce_sync.state import dead_letters, sync_log
from salesforce_sync.state.api_budget import BudgetRule
from salesforce_sync.state.engine import open_state
from salesforce_sync.state.sharing import SharedBudget, SharedDescriptions
from salesforce_sync.systems.deployteq.campaign import read_queue, tell
from salesforce_sync.systems.deployteq.moments import MomentFlow, read_moments
from salesforce_sync.systems.peerspot.companies import COMPANIES, companies
from salesforce_sync.systems.peerspot.process import PRODUCTS, process
from salesforce_sync.systems.spotio.activities import read_activities
from salesforce_sync.windows import DateWindow
from support.world import World

ACTIVITIES = "peerspot/activities"
LEADS = "spotio/leads"
POLLED = ["deployteq/contacts", "deployteq/leads"]
MOMENTS = {"Lead": "deployteq/lead_moments", "Contact": "deployteq/contact_moments"}
load_mapping = cache(read_mapping)
Answer = TypeVar("Answer")
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


def patiently(extra: dict[str, Any], call: Callable[[], Answer]) -> Answer:
    """Calls until the task need not wait any more, as Airflow's triggerer has it: what a task waits for is over when it
    is called again. `extra` are parts of the task's context, which learn what was waited for."""
    for _ in range(100):
        try:
            return call()
        except LeaseHeld as held:
            extra["overdue"] = held.held
        except CallsMayLand as resting:
            extra["rested"] = dict.fromkeys(resting.notes, resting.seconds)
        except JobUnderWay:
            pass
    raise AssertionError("the task waits for ever")


@dataclass
class Poll:
    """The contact poll, or what else goes from Salesforce to a vendor; every call is a run of its own."""

    world: World
    state: Engine
    folder: Path
    hook: Any
    mappings: dict[str, MappingFile] = field(default_factory=lambda: {name: load_mapping(name) for name in POLLED})
    system: str = "deployteq"
    runs: int = 0
    delete: bool = False
    timing: Timing = NO_REST
    attempt: int = 1
    brakes: Brakes = NO_BRAKES
    extra: dict[str, Any] = field(default_factory=dict)

    def context(self, task: str, *, client: bool) -> Context:
        run = RunIdentity("deployteq_contact_poll", f"run-{self.runs}", task, self.attempt)
        found = self.world.client(SharedDescriptions(self.state, "secret"))
        org = "" if client else self.world.client().org_id
        return Context(
            self.state, run, Staging(self.folder), found if client else None, org, timing=self.timing,
            brakes=self.brakes, **self.extra,
        )  # fmt: skip

    def extract(self, **options: Any) -> dict[str, int]:
        context = self.context("extract", client=True)
        return {name: read_changes(context, name, mapping, **options) for name, mapping in self.mappings.items()}

    def push(self) -> dict[str, Counts]:
        return self.delivered().counts

    def delivered(self) -> Delivered:
        """Push, with all that it says."""
        context = self.context("push", client=False)
        return deliver_to_vendor(context, self.system, self.mappings, self.hook, delete=self.delete)

    def __call__(self, **options: Any) -> dict[str, Counts]:
        """`options` are those of read_changes."""
        self.runs += 1
        self.extract(**options)
        return self.push()

    def history(self, record_id: str) -> list[tuple[str, str | None]]:
        """What became of the record, the newest first."""
        with self.state.connect() as connection:
            return [(row["outcome"], row["code"]) for row in sync_log.of_record(connection, record_id)]


@dataclass
class Metrics:
    """The metric push of one mapping, from any source; every call is a run of its own."""

    world: World
    state: Engine
    folder: Path
    source: WholeSource
    name: str = "preact/account_metrics"
    mapping: MappingFile | None = None
    runs: int = 0
    brakes: Brakes = NO_BRAKES
    timing: Timing = NO_REST
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def map(self) -> MappingFile:
        return self.mapping or load_mapping(self.name)

    def context(self, task: str, *, client: bool) -> Context:
        run = RunIdentity("preact_metric_push", f"run-{self.runs}", task)
        found = self.world.client(SharedDescriptions(self.state, "secret"))
        org = "" if client else found.org_id
        return Context(
            self.state, run, Staging(self.folder), found if client else None, org, timing=self.timing, brakes=self.brakes,
            **self.extra,
        )  # fmt: skip

    def extract(self, **options: Any) -> int:
        return read_whole(self.context("extract", client=False), self.source, self.name, self.map, **options)

    def load(self) -> Counts:
        return self.delivered().counts[self.name]

    def delivered(self) -> Delivered:
        """Load, with all that it says."""
        return deliver_to_salesforce(self.context("load", client=True), self.name, self.map)

    def __call__(self, **options: Any) -> Counts:
        self.runs += 1
        self.extract(**options)
        return self.load()

    def refused(self) -> dict[str, tuple[str, str]]:
        """Refused record -> code and message."""
        with self.state.connect() as connection:
            letters = dead_letters.unresolved(connection, mapping=self.name)
        return {row["record_id"]: (row["code"], row["message"]) for row in letters}


@dataclass
class Moments:
    """The hourly contact moments; every call is a run of its own."""

    world: World
    state: Engine
    folder: Path
    hook: Any
    runs: int = 0
    rule: BudgetRule = field(default_factory=lambda: BudgetRule(0, 0))
    timing: Timing = NO_REST

    def _run(self, task: str) -> RunIdentity:
        return RunIdentity("deployteq_contact_moments", f"run-{self.runs}", task)

    @property
    def vendor(self) -> Deployteq:
        return self.world.deployteq

    @property
    def org(self) -> str:
        return self.world.client().org_id

    def extract(self, *, resend: bool = False) -> dict[str, int]:
        mappings = {kind: (name, load_mapping(name)) for kind, name in MOMENTS.items()}
        flow = MomentFlow("deployteq/moments", mappings, POLLED)
        window = DateWindow(date(2026, 11, 1), date(2026, 11, 30))
        context = Context(
            self.state, self._run("extract"), Staging(self.folder), known_org=self.org, timing=self.timing
        )
        return read_moments(context, flow, self.hook, window, resend=resend)

    def load(self, name: str) -> Delivered:
        budget = SharedBudget(self.state, self.rule)
        client = self.world.client()
        client.session._budget = budget
        try:
            context = Context(self.state, self._run(name), Staging(self.folder), client, timing=self.timing)
            return deliver_to_salesforce(context, name, load_mapping(name))
        finally:
            budget.close()

    def __call__(self) -> dict[str, Counts]:
        self.runs += 1
        self.extract()
        return {name: self.load(name).total for name in MOMENTS.values()}


@dataclass
class Campaign:
    """The Synchronize object for Contacts; every call is a run of its own."""

    world: World
    state: Engine
    folder: Path
    hook: Any
    groups: dict[str, int]
    runs: int = 0
    rule: BudgetRule = field(default_factory=lambda: BudgetRule(0, 0))
    timing: Timing = NO_REST
    extra: dict[str, Any] = field(default_factory=dict)

    name = "deployteq/synchronize_contacts"

    def _context(self, task: str, client: Any = None) -> Context:
        run = RunIdentity("deployteq_campaign_sync", f"run-{self.runs}", task)
        org = "" if client else self.world.client().org_id
        return Context(self.state, run, Staging(self.folder), client, org, timing=self.timing, **self.extra)

    def extract(self) -> int:
        mapping = load_mapping(self.name)
        return patiently(
            self.extra,
            lambda: read_queue(self._context("extract"), self.name, mapping, self.hook, self.groups["queue"]),
        )

    def load(self) -> Delivered:
        budget = SharedBudget(self.state, self.rule)
        client = self.world.client()
        client.session._budget = budget
        try:
            return deliver_to_salesforce(self._context("load", client), self.name, load_mapping(self.name))
        finally:
            budget.close()

    def report(self) -> dict[str, list[str]]:
        return tell(self._context("report"), self.name, self.hook, self.groups).by_name()

    def __call__(self) -> dict[str, list[str]]:
        self.runs += 1
        self.extract()
        self.load()
        return self.report()


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
    patient: bool = False  # whether a task waits for what it has to wait for, or raises
    extra: dict[str, Any] = field(default_factory=dict)  # further parts of every context
    state: Engine | None = None  # instead of the one with the URL
    brakes: Brakes = NO_BRAKES

    def _state(self) -> Engine:
        return self.state or open_state(self.state_url)

    def context(self, task: str) -> Context:
        run = RunIdentity("peerspot_intent", self.run_id, task, self.attempt)
        state = self._state()
        client = self.world.client()
        return Context(state, run, self.staging, client, timing=self.timing, brakes=self.brakes, **self.extra)

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
        span = Span(DateWindow(first or last, last), scheduled)
        org = self.world.client().org_id

        def call() -> DaysRead:
            state = self._state()
            context = Context(state, run, self.staging, known_org=org, timing=self.timing, **self.extra)
            return read_days(context, source, ACTIVITIES, self.mapping, span, today=self.today, resend=resend)

        return self._call(call)

    def _call(self, call: Callable[[], Answer]) -> Answer:
        return patiently(self.extra, call) if self.patient else call()

    def load(self, mapping: MappingFile | None = None) -> Delivered:
        return self._call(lambda: deliver_to_salesforce(self.context("load"), ACTIVITIES, mapping or self.mapping))

    def take(self, records: Sequence[dict[str, Any]], **options: Any) -> Delivered:
        """Extract and load."""
        self.extract(records, **options)
        return self.load()

    def process(self, *, account_choice: str = "parentless_oldest") -> Counts:
        products = load_mapping(PRODUCTS)
        return self._call(lambda: process(self.context("process"), products, account_choice=account_choice))

    def companies(self) -> Counts:
        mapping = load_mapping(COMPANIES)
        return self._call(lambda: companies(self.context("companies"), mapping, today=self.today))

    def clean(self, *, days: int = 180) -> Counts:
        rule = PurgeRule(
            "peerspot/clean", "PeerSpot_Activity__c", "Date_Visited__c", "PeerSpot_External_Id__c", ACTIVITIES, days,
            self.today,
        )  # fmt: skip
        return self._call(lambda: purge(self.context("clean"), rule))

    def keep_house(self, *, now: datetime | None = None, **days: int) -> bool:
        return keep_house(self.context("load"), Retention(**days), now=now)

    def run(self, *records: dict[str, Any]) -> Delivered:
        """Extract, load and process."""
        self.extract(records)
        delivered = self.load()
        self.process()
        return delivered


@dataclass
class BothWays:
    """The sync of records between Salesforce and SPOTIO; every call is a run of its own."""

    world: World
    state: Engine
    folder: Path
    hook: Callable[[], Any]  # a new hook, as a new task has one
    flow: str = LEADS
    mapping: MappingFile = field(default_factory=lambda: load_mapping(LEADS))
    rules: Rules = field(default_factory=lambda: Rules(first="all"))
    runs: int = 0
    timing: Timing = NO_REST
    attempt: int = 1
    brakes: Brakes = NO_BRAKES
    extra: dict[str, Any] = field(default_factory=dict)
    calls: int = 0  # of Salesforce, by the last delivery

    def context(self, task: str, *, client: bool = True) -> Context:
        run = RunIdentity("spotio_record_sync", f"run-{self.runs}", task, self.attempt)
        found = self.world.client(SharedDescriptions(self.state, "secret"))
        org = "" if client else self.world.client().org_id
        return Context(
            self.state, run, Staging(self.folder), found if client else None, org, timing=self.timing,
            brakes=self.brakes, **self.extra,
        )  # fmt: skip

    def read_ours(self, *, full: bool = False) -> int:
        return read_ours(self.context("read_salesforce"), self.flow, self.mapping, full=full)

    def read_theirs(self, *, full: bool = False) -> int:
        context = self.context("read_spotio", client=False)
        lookback = timedelta(minutes=5)
        return read_theirs(context, self.flow, self.mapping, self.hook(), full=full, lookback=lookback, whole_days=7)

    def deliver(self) -> Delivered:
        context = self.context("synchronize")
        try:
            return deliver_both_ways(context, "spotio", self.flow, self.mapping, self.hook(), self.rules)
        finally:
            self.calls = context.calls

    def __call__(self, *, full: bool = False) -> Counts:
        self.runs += 1
        self.read_ours(full=full)
        self.read_theirs(full=full)
        return self.deliver().total

    def history(self, record_id: str) -> list[tuple[str, str | None]]:
        """What became of the record, the newest first."""
        with self.state.connect() as connection:
            return [(row["outcome"], row["code"]) for row in sync_log.of_record(connection, record_id)]


@dataclass
class FieldActivities:
    """SPOTIO's activities on their way to Tasks; every call is a run of its own."""

    records: BothWays  # the sync whose pairs say which Lead is which record
    runs: int = 0

    name = "spotio/activities"

    def _context(self, task: str, *, client: bool) -> Context:
        context = self.records.context(task, client=client)
        context.run = RunIdentity("spotio_activity_tasks", f"run-{self.runs}", task)
        return context

    def read(self) -> int:
        return read_activities(
            self._context("extract", client=False), self.name, load_mapping(self.name), self.records.hook(), flow=self.records.flow,
            lookback=timedelta(minutes=5),
        )  # fmt: skip

    def __call__(self) -> Counts:
        self.runs += 1
        self.read()
        return deliver_to_salesforce(self._context("load", client=True), self.name, load_mapping(self.name)).total
