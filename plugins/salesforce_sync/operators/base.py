"""SyncOperator: what all operators share. Heavy imports wait for `execute`, so that DAG files parse fast."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from salesforce_sync.records import RunIdentity

if TYPE_CHECKING:
    from salesforce_sync.engine.context import Brakes, Context
    from salesforce_sync.engine.maintain import Retention
    from salesforce_sync.errors import MustWait
    from salesforce_sync.settings import Setting
    from salesforce_sync.staging import Staging
    from salesforce_sync.windows import DateWindow

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0  # how long a worker waits for a Bulk job, before the triggerer does
ORG_SECONDS = 60.0  # how long a first reading waits until the org is known: its check runs beside it
_STORES = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "abfss": "apache-airflow-providers-microsoft-azure",
}
WAITED = "salesforce_sync_waited"  # under which a resumed task finds what it waited for


class SyncOperator(BaseOperator):
    """`step` names the operator in the run parameter `steps`: a run that lists steps skips the others.

    A task that has to wait (for a Bulk job, for the task that writes to the same target, for calls that may still land)
    gives its worker slot back, and begins again afterwards; nothing is sent twice. A task whose API budget is spent ends as
    successful: what it did not do waits for the next run. `budget_share` is how much of the API budget the task may spend,
    in percent: one with less leaves the rest to others.
    """

    def __init__(
        self, *, step: str | None = None, deferrable: bool = True, budget_share: int = 100, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.deferrable = deferrable
        self.budget_share = budget_share

    def execute(self, context: Any) -> Any:
        steps = context["params"].get("steps")
        if self.step is not None and steps is not None and self.step not in steps:
            raise AirflowSkipException(f"This run was triggered without the step {self.step}.")
        from salesforce_sync.errors import BudgetExhausted, MustWait

        try:
            return self.run_step(context)
        except BudgetExhausted as error:
            log.warning("%s What was not done waits for the next run.", error)
            return {"limited": str(error.args[0])}
        except MustWait as wait:
            log.info("%s The triggerer waits for it.", wait)
            self.defer(trigger=_trigger_for(wait), method_name="go_on")

    def go_on(self, context: Any, event: Any) -> Any:
        """Begins again, after the triggerer has waited."""
        log.info("Waited for: %s", event)
        context[WAITED] = event
        result = self.execute(context)
        if isinstance(event, dict) and event.get("after"):
            from salesforce_sync.errors import TooManyRejects

            raise TooManyRejects(event["after"], fix="See the task's log before it waited.")
        return result

    def resume(self, context: Any, event: Any) -> Any:
        """What a task was to do that an earlier version deferred: its batches were handed over in a way that is gone."""
        from salesforce_sync.errors import ConfigurationError

        raise ConfigurationError(
            "This task was deferred by an earlier version of the package.",
            fix="Clear the whole run: it reads its records again, and nothing is sent twice.",
        )

    def run_step(self, context: Any) -> Any:
        raise NotImplementedError


def _trigger_for(wait: MustWait) -> Any:
    from salesforce_sync.errors import CallsMayLand, JobUnderWay, LeaseHeld
    from salesforce_sync.triggers import BulkJobTrigger, LeaseTrigger, RestTrigger

    if isinstance(wait, LeaseHeld):
        return LeaseTrigger(list(wait.held))
    if isinstance(wait, CallsMayLand):
        return RestTrigger([list(note) for note in wait.notes], wait.seconds, wait.after)
    assert isinstance(wait, JobUnderWay)
    return BulkJobTrigger(wait.path)


def run_identity(context: Any) -> RunIdentity:
    """Which task instance this is."""
    ti = context["ti"]
    return RunIdentity(ti.dag_id, ti.run_id, ti.task_id, ti.try_number)


def is_dry(context: Any) -> bool:
    """Whether the run is a dry one: it makes its plans, and writes nothing."""
    return bool(context["params"].get("dry_run"))


@contextmanager
def salesforce_context(context: Any, *, dry: bool | None = None) -> Iterator[Context]:
    """What the engine needs for a task that speaks to Salesforce; the API calls that it took in advance and did not make
    are given back at its end. In a dry run, its state is a copy that is thrown away, and its client writes nothing."""
    from salesforce_sync.engine.lease import holder_digest, holder_text
    from salesforce_sync.hooks.salesforce import SalesforceSyncHook, org_budget
    from salesforce_sync.state import api_budget
    from salesforce_sync.state.engine import open_state
    from salesforce_sync.state.sharing import TaskJobs

    state, run = open_state(), run_identity(context)
    holder = holder_digest(holder_text(run))
    with state.begin() as connection:
        for attempt in range(1, run.try_number + 1):  # what earlier tries of this task took and left behind
            earlier = RunIdentity(run.dag_id, run.run_id, run.task_id, attempt)
            api_budget.free(connection, holder_digest(holder_text(earlier)))
    budget = org_budget(state, share_percent=context["task"].budget_share, holder=holder)
    jobs = TaskJobs(state, run)
    patience = PATIENCE_SECONDS if context["task"].deferrable else None
    hook = SalesforceSyncHook(state=state, budget=budget, jobs=jobs, patience=patience)
    try:
        hook.client.read_only = rehearses = is_dry(context) if dry is None else dry
        with _at_work(context, _engine_context(context, client=hook.client), dry=rehearses) as work:
            yield work
        jobs.forget()
    finally:
        budget.close()


@contextmanager
def _at_work(context: Any, work: Context, *, dry: bool) -> Iterator[Context]:
    """The engine's context; in a dry run, one that leaves nothing behind. At its end, a mail tells people of plans that
    wait for them."""
    from salesforce_sync.engine.dry import rehearsal
    from salesforce_sync.engine.gate import HOW, described
    from salesforce_sync.operators.alerts import remind

    if dry:
        with rehearsal(work) as copy:
            yield copy
        return
    try:
        yield work
    finally:  # also of a task that has to wait: nobody would be told before tomorrow
        for plan in work.questions:
            remind(context, described(plan), fix=f"{HOW}: plan {plan.id}.")


@contextmanager
def vendor_context(context: Any) -> Iterator[Context]:
    """What the engine needs for a task that speaks to a vendor: it knows the org by the last sign-in, and holds no
    Salesforce credentials. In a dry run, its state is a copy that is thrown away."""
    with _at_work(context, _context_without_client(context), dry=is_dry(context)) as work:
        yield work


def vendor(context: Any, system: str) -> Any:
    """The system's hook; in a dry run, one that changes nothing at the vendor."""
    from salesforce_sync.engine.dry import pretended
    from salesforce_sync.systems import vendor_hook

    hook = vendor_hook(system)
    return pretended(hook) if is_dry(context) else hook


def _context_without_client(context: Any) -> Context:
    from salesforce_sync.errors import ServiceUnavailable
    from salesforce_sync.state import orgs
    from salesforce_sync.state.engine import open_state, reading

    deadline = time.monotonic() + ORG_SECONDS
    while True:
        with reading(open_state()) as connection:
            org = orgs.latest(connection)
        if org is not None:
            return _engine_context(context, known_org=org)
        if time.monotonic() >= deadline:
            raise ServiceUnavailable(
                "No task has signed in to Salesforce yet, so it is not known which org the records are for.",
                fix="Look at the task check_salesforce; this task tries again by itself.",
            )
        time.sleep(1)


def _engine_context(context: Any, **known: Any) -> Context:
    from salesforce_sync.engine.context import Context, Timing
    from salesforce_sync.settings import REST_MINUTES, read_setting
    from salesforce_sync.state.engine import open_state
    from salesforce_sync.state.leases import Held

    waited = context.get(WAITED) or {}
    waited = waited if isinstance(waited, dict) else {}
    overdue = waited.get("overdue")
    rested = {tuple(note): float(waited["rested"]) for note in waited.get("notes", [])}
    return Context(
        open_state(), run_identity(context), staging(), timing=Timing(60.0 * read_setting(REST_MINUTES)),
        brakes=brakes(context), overdue=Held(*overdue) if overdue else None, rested=rested, **known,
    )  # fmt: skip


def brakes(context: Any) -> Brakes:
    """What the run may do without a person, by the Variables."""
    from salesforce_sync.engine.context import Brakes
    from salesforce_sync.settings import APPROVE_DAGS, DELETE_PERCENT, EMPTY_PERCENT, FIRST_CONTACT, read_setting

    return Brakes(
        first_contact=read_setting(FIRST_CONTACT), empty_percent=read_setting(EMPTY_PERCENT),
        delete_percent=read_setting(DELETE_PERCENT), unknown_paths=True,
        approve=context["ti"].dag_id in read_setting(APPROVE_DAGS),
    )  # fmt: skip


def staging() -> Staging:
    """Where batches wait between tasks."""
    from salesforce_sync.home import airflow_home
    from salesforce_sync.settings import STAGING_PATH, read_setting
    from salesforce_sync.staging import Staging

    where = read_setting(STAGING_PATH)
    return Staging(open_place(where, STAGING_PATH) if where else airflow_home() / "staging")


def open_place(where: str, setting: Setting) -> Any:
    """The file or folder that the setting names, on a disk or, by a URL, in an object store."""
    from pathlib import Path

    from airflow.sdk import ObjectStoragePath

    from salesforce_sync.errors import InvalidSetting

    if "://" not in where:
        return Path(where)
    kind = where.partition("://")[0]
    try:
        found = ObjectStoragePath(where)
        _ = found.fs  # the driver is loaded now, and not in the middle of a reading
    except (ImportError, ValueError) as error:
        package = _STORES.get(kind, f"the Airflow provider for {kind}://")
        raise InvalidSetting(
            f"The Variable {setting.name} is {where!r}, and this installation cannot open {kind}://: {error}.",
            fix=f"Install {package} on every worker, or name a folder that all of them reach.",
        ) from error
    return found


def retention() -> Retention:
    """How long log, letters and plans are kept."""
    from salesforce_sync.engine.maintain import Retention
    from salesforce_sync.settings import LETTER_DAYS, LOG_DAYS, PLAN_DAYS, read_setting

    return Retention(*(read_setting(days) for days in (LOG_DAYS, LETTER_DAYS, PLAN_DAYS)))


def window(context: Any, *, days_behind: int) -> DateWindow:
    """The days that the run is about: see windows.resolve_window."""
    from salesforce_sync.windows import resolve_window

    params, run = context["params"], context["dag_run"]
    return resolve_window(
        start_date=params.get("start_date"), end_date=params.get("end_date"), interval_start=run.data_interval_start,
        interval_end=run.data_interval_end, run_after=run.run_after, days_behind=days_behind,
    )  # fmt: skip


def is_about_today(context: Any) -> bool:
    """Whether somebody, or another DAG, triggered the run without naming days: it also reads refused records again that
    are due."""
    return _kind(context) not in ("scheduled", "backfill") and not context["params"].get("start_date")


def is_scheduled(context: Any) -> bool:
    """Whether the scheduler made the run for its day: no backfill, nobody's trigger, no dates of its own."""
    return _kind(context) == "scheduled" and not context["params"].get("start_date")


def _kind(context: Any) -> str:
    """Airflow's type of the run: scheduled, backfill, manual, ..."""
    kind = context["dag_run"].run_type
    return str(getattr(kind, "value", kind))
