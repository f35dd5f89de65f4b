"""What the engine's functions are given, and the frame around their work: a sync run, which ends whatever happens."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine

from salesforce_sync.errors import BudgetExhausted, MissingMetadata, MustWait, SyncError, TooManyRejects
from salesforce_sync.mapping import describe
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import Counts, Outcome, RecordResult, RunIdentity
from salesforce_sync.salesforce.client import SalesforceClient
from salesforce_sync.salesforce.metadata import ObjectInfo
from salesforce_sync.staging import PLANS, Staging
from salesforce_sync.state import runs
from salesforce_sync.state.leases import Held
from salesforce_sync.state.plans import Plan

SHOWN_EXAMPLES = 3
_ENDINGS: tuple[tuple[type[SyncError], str], ...] = ((BudgetExhausted, runs.LIMITED), (MustWait, runs.WAITING))
RARE_COLLECTIONS = 50_000  # new objects between two looks for cycles; Python's own choice is 700
SMALLEST_LIMIT, LIMIT_SHARE = 20, 0.10  # a run may refuse 20 records, or a tenth of what it read, whichever is more


@dataclass(frozen=True)
class Timing:
    """`rest_seconds`: how long a record rests after a call without an answer, before it is sent again. Longer than a call
    may take: the client waits 120 s for an answer, and Salesforce ends a request after 10 minutes."""

    rest_seconds: float = 600.0


@dataclass(frozen=True)
class Brakes:
    """What a delivery may do without a person: see brakes.py. None: everything of that kind. `approve`: nothing at
    all."""

    first_contact: int | None = None  # records, to where hardly any was delivered before
    empty_percent: int | None = None  # points by which a field's share of empty values may rise
    delete_percent: int | None = None  # of the delivered records
    unknown_paths: bool = False  # whether paths that no record has are told of
    approve: bool = False

    @property
    def any_on(self) -> bool:
        return self != NO_BRAKES


NO_BRAKES = Brakes()


@dataclass(frozen=True)
class DryRun:
    """What a dry run leaves behind goes here, and nowhere else: its plans' rows into the real state database, their
    files beside those of other plans."""

    state: Engine
    staging: Staging
    look_at_all: bool = False  # also where each record costs a call


@dataclass
class Context:
    """One task instance at work: the state database, the staged files, and the org, by its client or, for a task that
    holds no Salesforce credentials, by its id alone."""

    state: Engine
    run: RunIdentity
    staging: Staging
    client: SalesforceClient | None = None
    known_org: str = ""
    timing: Timing = field(default_factory=Timing)
    overdue: Held | None = None  # a lease whose holder has given no sign of life for long: it may be taken over
    rested: dict[tuple[int, int, int, int], float] = field(default_factory=dict)  # sending of a chunk -> seconds waited
    made: int = 0  # how often records that were made here were registered
    active: list[SyncRun] = field(default_factory=list)  # the sync runs that are under way, the innermost last
    brakes: Brakes = NO_BRAKES
    questions: list[Plan] = field(default_factory=list)  # held plans that people are to be told of now
    dry: DryRun | None = None  # set in a dry run, in which `state` is a copy that is thrown away

    @property
    def salesforce(self) -> SalesforceClient:
        assert self.client is not None, "this task does not speak to Salesforce"
        return self.client

    @property
    def org(self) -> str:
        """The org's 18-character id: what state is kept apart by."""
        return self.client.org_id if self.client is not None else self.known_org

    @property
    def kept_staging(self) -> Staging:
        """Where plans lie: those of a dry run beside the others."""
        return self.staging if self.dry is None else self.dry.staging

    def plan_folder(self, target: str, number: str) -> Any:
        """Where the files of a plan lie."""
        part = number if self.dry is None else f"dry-{uuid4().hex}"
        return self.kept_staging.folder(PLANS, self.org, target, part)

    @property
    def calls(self) -> int:
        """The Salesforce calls that were made so far."""
        return 0 if self.client is None else self.client.calls


@dataclass
class SyncRun:
    """A begun sync run. `counts` grows with every commit, so that a run that fails says what it had done."""

    id: int
    step: str
    context: Context
    calls_before: int
    nested_calls: int = 0
    notes: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    ended: bool = False

    @property
    def api_calls(self) -> int:
        """The calls of this run alone: those of a run inside it, ended or not, are counted there."""
        active = self.context.active
        inside = active[active.index(self) + 1 :][:1] if self in active else []
        nested = sum(self.context.calls - run.calls_before for run in inside)
        return self.context.calls - self.calls_before - self.nested_calls - nested

    def finish(
        self,
        connection: Connection,
        *,
        status: str = runs.SUCCESS,
        message: str = "",
        watermark_from: str | None = None,
        watermark_to: str | None = None,
    ) -> None:
        """Writes the run's end."""
        runs.end(
            connection, self.id, status=status, counts=self.counts, api_calls=self.api_calls,
            message=" ".join([*self.notes, *([message] if message else [])]), watermark_from=watermark_from,
            watermark_to=watermark_to,
        )  # fmt: skip
        self.ended = True


@contextmanager
def at_work() -> Iterator[None]:
    """Spares work that makes millions of small objects Python's search for cycles: a third of its time."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(RARE_COLLECTIONS, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


@contextmanager
def sync_run(context: Context, step: str) -> Iterator[SyncRun]:
    """Begins the run of a step and ends it: as successful, or, when the block raises, as failed, limited or waiting."""
    before, org = context.calls, context.org  # the org is known by signing in, which is not for a transaction
    with context.state.begin() as connection:
        run_id = runs.begin(connection, context.run, step, org=org)
    run = SyncRun(run_id, step, context, before)
    context.active.append(run)
    try:
        with at_work():
            yield run
        _end(run, runs.SUCCESS, "")
    except SyncError as error:
        status = next((status for kind, status in _ENDINGS if isinstance(error, kind)), runs.FAILED)
        _end(run, status, str(error))
        raise
    except Exception as error:
        _end(run, runs.FAILED, type(error).__name__)  # its text may quote anything, a record or a URL with a token
        raise
    finally:
        context.active.pop()
        if context.active:
            context.active[-1].nested_calls += context.calls - before


def _end(run: SyncRun, status: str, message: str) -> None:
    if not run.ended:
        with run.context.state.begin() as connection:
            run.finish(connection, status=status, message=message)


def require_objects(context: Context, names: Iterable[str]) -> dict[str, ObjectInfo]:
    """The descriptions of these objects, in one call; MissingMetadata names all that the org does not have."""
    described = context.salesforce.describe(names)
    found = {name: info for name, info in described.items() if info is not None}
    absent = sorted(described.keys() - found.keys())
    if absent:
        raise MissingMetadata(
            f"The org {context.org} has no object {', '.join(absent)}, or hides it from the integration user."
        )
    return found


def mapping_problems(context: Context, mapping: MappingFile, described: ObjectInfo | None) -> list[str]:
    """What is wrong with the mapping in this org, paths to parents included."""
    parents = {} if described is None else known_parents(context, mapping, described)
    return describe.problems(mapping, described, parents)


def known_parents(context: Context, mapping: MappingFile, described: ObjectInfo) -> dict[str, ObjectInfo | None]:
    """The descriptions of the objects that the mapping's paths lead to; None for one that the org does not have."""
    known: dict[str, ObjectInfo | None] = {}
    while names := describe.unknown_parents(mapping, described, known):
        known |= context.salesforce.describe(sorted(names))
    return known


def first_refusals(results: Iterable[RecordResult]) -> list[str]:
    """Why the first few refused records were refused."""
    refused = (f"{result.record_id}: {result.message}" for result in results if result.outcome is Outcome.REJECTED)
    return list(islice(refused, SHOWN_EXAMPLES))


def refuse_too_many(counts: Counts, step: str, examples: list[str]) -> None:
    """Raises TooManyRejects when the run refused more than its limit. Call it after everything is committed."""
    limit = max(SMALLEST_LIMIT, int(counts.read * LIMIT_SHARE))
    if counts.rejected > limit:
        shown = "; ".join(examples)
        raise TooManyRejects(
            f"{step}: {counts.rejected} of {counts.read} records were refused (the limit is {limit}), the others are saved. First: {shown}",
            fix="Look the records up in the sync log and the dead letters, correct the data or the mapping, and run the task again.",
        )
