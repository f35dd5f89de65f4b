"""Derived flows, from Salesforce to Salesforce: under the lease of all that they write, they ask, plan and write.

Nothing is staged for them: what was not written is found by the next question. So a chunk whose sender died is not
repeated; the next holder waits until it cannot land any more, and asks again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection

from salesforce_sync.engine.context import Context, SyncRun, sync_run
from salesforce_sync.engine.deliver import (
    NoteJobs,
    end_job,
    outcome_is_unknown,
    rested_so_far,
    wait_for_calls,
    wait_for_others,
)
from salesforce_sync.engine.lease import Lease, hold
from salesforce_sync.records import Counts, RecordResult, WriteResult
from salesforce_sync.salesforce import rows as row_limits
from salesforce_sync.salesforce.rows import WriteRequest
from salesforce_sync.staging import PLANS, in_parts
from salesforce_sync.state import dead_letters, plans, sync_log
from salesforce_sync.state.engine import reading

log = logging.getLogger(__name__)
MakeResult = Callable[[dict[str, Any], WriteResult], RecordResult]


@dataclass
class Derived:
    """A derived flow at work."""

    context: Context
    lease: Lease
    run: SyncRun
    name: str
    written: int = 0  # plans so far

    def write(
        self,
        request: WriteRequest,
        table: pa.Table,
        make: MakeResult,
        *,
        counted: bool = True,
    ) -> list[RecordResult]:
        """Notes, sends and commits the rows, and gives their results, each made by `make` of the row and the answer.

        Columns that begin with `_` are not sent. Rows that are not `counted` are in the log, and in no count.
        """
        made: list[RecordResult] = []
        for part in in_parts([table] if table.num_rows else [], row_limits.JOB_ROWS):
            made += self._write_part(request, part, make, counted=counted)
        return made

    def add(self, connection: Connection, results: Sequence[RecordResult]) -> None:
        """Logs and counts outcomes that needed no call."""
        sync_log.write(connection, self.run.id, results)
        self.run.counts += Counts.of(result.outcome for result in results)

    def _write_part(
        self, request: WriteRequest, part: pa.Table, make: MakeResult, *, counted: bool
    ) -> list[RecordResult]:
        self.written += 1
        folder = self.context.staging.folder(
            PLANS, self.context.org, self.name, f"{self.lease.epoch}-{self.run.id}-{self.written}"
        )
        facts = {"object": request.object, "operation": str(request.operation), "key": request.key}
        self.context.staging.write(folder, 0, part.replace_schema_metadata({"facts": json.dumps(facts)}))
        with self.lease.transaction() as connection:
            plan_id = plans.make(
                connection, org=self.context.org, target=self.name, epoch=self.lease.epoch, path=str(folder), chunks=1,
                counts={str(request.operation): part.num_rows}, sync_run_id=self.run.id,
            )  # fmt: skip
            plans.note(
                connection, org=self.context.org, target=self.name, plan_id=plan_id, chunk=0, epoch=self.lease.epoch,
                leases=self.lease.epochs,
            )  # fmt: skip
        sent = part.select([column for column in part.column_names if not column.startswith("_")])
        jobs = NoteJobs(self.lease, None, plan_id, 0)
        results, error = self.context.salesforce.answer(request, sent, jobs)
        known = [make(row, result) for row, result in zip(part.to_pylist(), results, strict=True) if result is not None]
        with self.lease.transaction() as connection:
            sync_log.write(connection, self.run.id, known)
            dead_letters.record(connection, self.context.org, self.name, self.run.id, known)
            if counted:
                self.run.counts += Counts.of(result.outcome for result in known)
            if outcome_is_unknown(error):
                plans.change_note(connection, plan_id, 0, rested=0.0, tries=1, epoch=self.lease.epoch)
            else:
                plans.remove_note(connection, plan_id, 0)
                plans.finish(connection, plan_id)
        if error is not None:
            raise error
        return known

    def settle(self) -> None:
        """Waits until no chunk of an earlier holder, or of another flow at the same objects, can land any more."""
        wait_for_others(self.context, self.lease, self.name)
        with reading(self.context.state) as connection:
            found = plans.open_notes(connection, self.context.org, self.name)
        resting = []
        for note in found:
            rested = rested_so_far(self.context, note)
            if note.job_id is not None:
                end_job(self.context, note.job_id)
            elif rested < self.context.timing.rest_seconds:
                resting.append((note, rested))
                continue
            with self.lease.transaction() as connection:
                plans.remove_note(connection, note.plan_id, note.chunk)
        if resting:
            with self.lease.transaction() as connection:
                for note, rested in resting:
                    plans.change_note(connection, note.plan_id, note.chunk, rested=rested)
            wait_for_calls(self.context, resting)


@contextmanager
def derived(context: Context, name: str, objects: Sequence[str], *, step: str = "") -> Iterator[Derived]:
    """The right to write these objects, for a flow called `name`. LeaseHeld while another task writes one of them."""
    with hold(context, objects) as lease, sync_run(context, step or name) as run:
        flow = Derived(context, lease, run, name)
        flow.settle()
        yield flow
