"""SyncOperator: what all operators share. Heavy imports wait for `execute`, so that DAG files parse fast."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from salesforce_sync.records import RunIdentity

if TYPE_CHECKING:
    from salesforce_sync.staging import Staging
    from salesforce_sync.steps.context import StepContext
    from salesforce_sync.windows import DateWindow

log = logging.getLogger(__name__)


PATIENCE_SECONDS = 60.0  # how long a worker waits for a Bulk job, before the triggerer does


class SyncOperator(BaseOperator):
    """`step` names the operator in the run parameter `steps`: a run that lists steps skips the others.

    A task that is `deferrable` gives its worker slot back while Salesforce is at work on a long Bulk job. When the job is done, the task
    begins anew, and what it sends finds the job: nothing is sent twice. `budget_share` is how much of the API budget the task may spend, in
    percent: one with less leaves the rest to others.
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
        from salesforce_sync.errors import BudgetExhausted, JobUnderWay
        from salesforce_sync.triggers import BulkJobTrigger

        try:
            return self.run_step(context)
        except BudgetExhausted as error:
            raise AirflowSkipException(str(error)) from error
        except JobUnderWay as job:
            log.info("%s The triggerer waits for it.", job)
            self.defer(trigger=BulkJobTrigger(job.path), method_name="resume")

    def resume(self, context: Any, event: Any) -> Any:
        """Begins anew, after the triggerer has waited for a job."""
        log.info("Salesforce's Bulk job: %s", event)
        return self.execute(context)

    def run_step(self, context: Any) -> Any:
        raise NotImplementedError


def run_identity(context: Any) -> RunIdentity:
    """Which task instance this is."""
    ti = context["ti"]
    return RunIdentity(ti.dag_id, ti.run_id, ti.task_id, ti.try_number)


@contextmanager
def step_context(context: Any) -> Iterator[StepContext]:
    """The org and the state database, for a step; what the step took of the API budget and did not use is given back at its end."""
    from salesforce_sync.errors import RowLocked, TooManyRejects
    from salesforce_sync.hooks.salesforce import SalesforceSyncHook, org_budget
    from salesforce_sync.state.engine import open_state
    from salesforce_sync.steps.context import StepContext
    from salesforce_sync.steps.sharing import TaskJobs

    state, run = open_state(), run_identity(context)
    budget = org_budget(state, share_percent=context["task"].budget_share)
    jobs = TaskJobs(state, run)
    patience = PATIENCE_SECONDS if context["task"].deferrable else None
    hook = SalesforceSyncHook(state=state, budget=budget, jobs=jobs, patience=patience)
    try:
        yield StepContext(hook.client, state, run)
        jobs.forget()
    except (
        RowLocked,
        TooManyRejects,
    ):  # everything else is committed, and the next try is to send the refused rows again
        jobs.forget()
        raise
    finally:
        budget.close()


def staging() -> Staging:
    """Where batches wait between tasks."""
    from pathlib import Path

    from salesforce_sync.home import airflow_home
    from salesforce_sync.settings import read_setting
    from salesforce_sync.staging import Staging

    where = read_setting("staging_path")
    if "://" in where:
        from airflow.sdk import ObjectStoragePath

        return Staging(ObjectStoragePath(where))
    return Staging(Path(where) if where else airflow_home() / "staging")


def swept_staging(dag_id: str) -> Staging:
    """Where batches wait between tasks, rid of what the DAG left there long ago and nobody waits for."""
    from salesforce_sync.state import backlog
    from salesforce_sync.state.engine import open_state, reading

    store = staging()
    with reading(open_state()) as connection:
        store.sweep(dag_id, keep=backlog.paths(connection))
    return store


def window(context: Any) -> DateWindow:
    """The days that the run is about: see windows.resolve_window."""
    from salesforce_sync.windows import resolve_window

    params, run = context["params"], context["dag_run"]
    return resolve_window(
        start_date=params.get("start_date"), end_date=params.get("end_date"), interval_start=run.data_interval_start,
        interval_end=run.data_interval_end, run_after=run.run_after,
    )  # fmt: skip
