"""What every step is given, and the frame around its work: a sync run that begins before it and ends with it, whatever happens."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import Connection, Engine

from salesforce_sync.errors import BudgetExhausted, JobUnderWay, MissingMetadata, SyncError, TooManyRejects
from salesforce_sync.records import Counts, Outcome, RecordResult, RunIdentity
from salesforce_sync.salesforce.client import SalesforceClient
from salesforce_sync.salesforce.metadata import ObjectInfo
from salesforce_sync.state import runs

SHOWN_EXAMPLES = 3
_ENDINGS: dict[type[SyncError], str] = {BudgetExhausted: runs.LIMITED, JobUnderWay: runs.WAITING}
RARE_COLLECTIONS = 50_000  # new objects between two looks for cycles; Python's own choice is 700
SMALLEST_LIMIT, LIMIT_SHARE = 20, 0.10  # a run may refuse 20 records, or a tenth of what it read, whichever is more


@dataclass
class StepContext:
    """One task instance at work: the org, the state database, and which run it is."""

    client: SalesforceClient
    state: Engine
    run: RunIdentity
    active: list[SyncRun] = field(default_factory=list)  # the sync runs that are under way, the innermost last

    @property
    def org(self) -> str:
        return self.client.org_id

    @property
    def calls(self) -> int:
        """The Salesforce calls that were made so far."""
        return self.client.calls


@dataclass
class VendorContext:
    """One task instance at work on a vendor's side alone; it knows the org by its id, and makes no Salesforce calls."""

    org: str
    state: Engine
    run: RunIdentity
    active: list[SyncRun] = field(default_factory=list)
    calls: int = 0


@dataclass
class SyncRun:
    """A begun sync run. `finish` writes its end on the connection that commits the step's records."""

    id: int
    step: str
    context: StepContext | VendorContext
    calls_before: int
    nested_calls: int = 0
    notes: list[str] = field(default_factory=list)
    finished: Counts | None = None

    @property
    def api_calls(self) -> int:
        """The calls of this run alone: those of a run inside it are counted there."""
        return self.context.calls - self.calls_before - self.nested_calls

    def finish(
        self, connection: Connection, counts: Counts, *, watermark_from: str | None = None, watermark_to: str | None = None,
        status: str = runs.SUCCESS,
    ) -> None:  # fmt: skip
        runs.end(
            connection, self.id, status=status, counts=counts, api_calls=self.api_calls, message=" ".join(self.notes),
            watermark_from=watermark_from, watermark_to=watermark_to,
        )  # fmt: skip
        self.finished = counts


@contextmanager
def at_work() -> Iterator[None]:
    """Spares a step that makes millions of small objects the search for cycles among all that Airflow has loaded: a third of its time."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(RARE_COLLECTIONS, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


@contextmanager
def sync_run(context: StepContext | VendorContext, step: str) -> Iterator[SyncRun]:
    """Begins the run of a step; when the block raises before `finish`, the run ends as failed, limited or waiting, with the error's text."""
    before, org = context.calls, context.org  # the org is known by signing in, which is not for a transaction
    with context.state.begin() as connection:
        run_id = runs.begin(connection, context.run, step, org=org)
    run = SyncRun(run_id, step, context, before)
    context.active.append(run)
    try:
        with at_work():
            yield run
    except SyncError as error:
        if run.finished is None:
            status = _ENDINGS.get(type(error), runs.FAILED)
            with context.state.begin() as connection:
                runs.end(
                    connection, run_id, status=status, counts=Counts(), api_calls=run.api_calls, message=str(error)
                )
        raise
    finally:
        context.active.pop()
        if context.active:
            context.active[-1].nested_calls += context.calls - before


def require_objects(context: StepContext, names: Iterable[str]) -> dict[str, ObjectInfo]:
    """The descriptions of these objects, in one call; MissingMetadata names all that the org does not have."""
    described = context.client.describe(names)
    found = {name: info for name, info in described.items() if info is not None}
    absent = sorted(described.keys() - found.keys())
    if absent:
        raise MissingMetadata(
            f"The org {context.org} has no object {', '.join(absent)}, or hides it from the integration user."
        )
    return found


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
