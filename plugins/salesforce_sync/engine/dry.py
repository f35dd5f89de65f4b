"""Dry runs: the real code, on a copy of the state that is thrown away, up to the plan.

A dry run cannot leave anything behind, because its transactions go into the copy; only its plan, and that it ran, are
written into the real state database. Tasks of one DAG run hand each other what they staged in a file, since the inbox
of a copy ends with it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from salesforce_sync.engine.context import Context, DryRun
from salesforce_sync.engine.summary import FILE, Summary
from salesforce_sync.records import Reason
from salesforce_sync.staging import Staging
from salesforce_sync.state import inbox, plans, runs
from salesforce_sync.state.engine import reading
from salesforce_sync.state.scratch import scratch

log = logging.getLogger(__name__)

WRITING_VERBS = frozenset({"save", "update", "delete", "create", "patch", "new_job", "start_job", "resume_job"})
DRY_RUNS = "dry-runs"  # the folder of what dry runs stage; it is swept as other batches are


@contextmanager
def rehearsal(context: Context, *, look_at_all: bool = False) -> Iterator[Context]:
    """The context of a dry run of the same task. What an earlier task of the DAG run registered is in its inbox."""
    run = context.run
    folder = context.staging.folder(DRY_RUNS, run.dag_id, run.run_id)
    with scratch(context.state) as state:
        with state.begin() as connection:
            for file in _handed_over(folder):
                inbox.bring_in(connection, context.staging.read_json(file))
        with reading(state) as connection:
            before = inbox.last_id(connection)
            begun = runs.last_id(connection)
        staging = Staging(folder / run.task_id)
        try:
            yield replace(
                context, state=state, staging=staging, dry=DryRun(context.state, context.staging, look_at_all)
            )
        finally:
            with reading(state) as connection, context.state.begin() as real:
                runs.bring_in(real, runs.rows_after(connection, begun))
        with reading(state) as connection:
            registered = inbox.rows_after(connection, before)
        if registered:
            context.staging.write_text(folder, f"{run.task_id}.json", json.dumps(registered, default=str))


def _handed_over(folder: Any) -> list[Any]:
    try:
        return sorted(
            (file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda file: str(file.name)
        )
    except OSError:
        return []  # nothing was staged


def keep_rehearsed(
    context: Context, target: str, folder: Any, chunks: int, summary: Summary, reasons: Sequence[Reason]
) -> int:
    """Keeps the plan of a dry run, with its summary; gives the plan's id."""
    assert context.dry is not None
    with context.dry.state.begin() as connection:
        plan_id = plans.make(
            connection, org=context.org, target=target, epoch=0, path=str(folder), chunks=chunks, counts=summary.counts,
            sync_run_id=None, run=context.run, status=plans.DRY_RUN, reasons=reasons,
        )  # fmt: skip
    summary.save(context, folder)
    summary.tell(log)
    log.info("Dry run: nothing was written. This is plan %d; its figures are in %s", plan_id, folder / FILE)
    return plan_id


def pretended(hook: Any) -> Any:
    """The vendor's hook without its verbs that change something there. What a reading changes (a queue that is emptied)
    is left as it is; a delivery does not get so far."""
    return _Pretended(hook)


class _Pretended:
    def __init__(self, hook: Any) -> None:
        self._hook = hook

    def remove_members(self, *_: Any) -> None:
        """Leaves the queue as it is."""

    def add_members(self, *_: Any) -> None:
        """Tells nobody."""

    def __getattr__(self, name: str) -> Any:
        assert name not in WRITING_VERBS, f"a dry run calls {name}"
        return getattr(self._hook, name)
