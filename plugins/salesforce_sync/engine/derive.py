"""Derived flows, from Salesforce to Salesforce: under the lease of all that they write, they ask, plan and write.

Nothing is staged for them: what was not written is found by the next question. So a chunk whose sender died is not
repeated; the next holder waits until it cannot land any more, and asks again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
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
from salesforce_sync.engine.dry import keep_rehearsed
from salesforce_sync.engine.gate import Gate, described
from salesforce_sync.engine.lease import Lease, hold
from salesforce_sync.engine.plan import Mask, PlanWriter
from salesforce_sync.engine.summary import Summary, summarize
from salesforce_sync.errors import SyncError
from salesforce_sync.mapping.fingerprint import fingerprints
from salesforce_sync.records import Counts, Reason, RecordResult, WriteResult
from salesforce_sync.salesforce import rows as row_limits
from salesforce_sync.salesforce.rows import WriteRequest
from salesforce_sync.staging import in_parts
from salesforce_sync.state import dead_letters, held_out, plans, runs, sync_log
from salesforce_sync.state.engine import reading

log = logging.getLogger(__name__)
MakeResult = Callable[[dict[str, Any], WriteResult], RecordResult]
Answer = Callable[[pa.Table, NoteJobs], tuple[list[WriteResult | None], SyncError | None]]


@dataclass
class Derived:
    """A derived flow at work."""

    context: Context
    lease: Lease
    run: SyncRun
    name: str
    gate: Gate
    written: int = 0  # plans so far
    plan_id: int = 0  # the last of them
    keeps_letters: bool = True  # whether what is refused is tried again
    later: PlanWriter | None = None  # rows that wait for a person, and those of a dry run
    reasons: list[Reason] = field(default_factory=list)  # the brakes that were pulled

    def write(
        self,
        request: WriteRequest,
        table: pa.Table,
        make: MakeResult,
        *,
        counted: bool = True,
        first: Callable[[Connection, pa.Table], None] = lambda *_: None,
        answer: Answer | None = None,
    ) -> list[RecordResult]:
        """Notes, sends and commits the rows, and gives their results, each made by `make` of the row and the answer.

        Columns that begin with `_` are not sent. Rows that are not `counted` are in the log, and in no count. Rows that
        wait for a person have no result. `first` is called with the rows that are about to be sent, in the transaction
        that notes them. `answer` sends them, if that is not for the Salesforce client to do."""
        made: list[RecordResult] = []
        passing = self._passing(request, table) if table.num_rows else table
        for part in in_parts([passing] if passing.num_rows else [], row_limits.JOB_ROWS):
            made += self._write_part(request, part, make, counted=counted, first=first, answer=answer)
        return made

    def brake(self, reasons: Iterable[Reason]) -> None:
        """What is written from now on waits for a person, unless one has let these reasons pass."""
        self.reasons += reasons

    def add(self, connection: Connection, results: Sequence[RecordResult]) -> None:
        """Logs and counts outcomes that needed no call."""
        sync_log.write(connection, self.run.id, results)
        self.run.counts += Counts.of(result.outcome for result in results)

    # -- what waits for a person -------------------------------------------------------------------------------------

    def _passing(self, request: WriteRequest, table: pa.Table) -> pa.Table:
        """The rows that wait for nobody; the others are kept for the question, those of a dry run for its plan."""
        brakes = self.context.brakes
        if self.context.dry is None and not brakes.approve and not self.reasons:
            return table
        ids = table.column("Id") if "Id" in table.column_names else pa.nulls(table.num_rows, pa.string())
        facts = {"object": request.object, "operation": str(request.operation), "key": request.key}
        marked = table.replace_schema_metadata({"facts": json.dumps(facts | {"member": self.name})})
        for name, column in (
            ("_id", _names(request, table)), ("_fingerprint", pa.array(_marks(table))), ("_target", ids),
        ):  # fmt: skip
            marked = marked.append_column(name, column)
        passes = np.ones(table.num_rows, dtype=bool)
        if self.context.dry is not None or self.gate.unanswered(self.reasons):
            passes[:] = False
        elif brakes.approve:
            passes = self.gate.approved(marked)
        out = self._rejected(marked)
        if self.later is None:
            folder = self.context.plan_folder(self.name, f"{self.lease.epoch}-{self.run.id}-held")
            self.later = PlanWriter(self.context, folder, row_limits.JOB_ROWS, self.lease.beat)
        self.later.add(self.name, [marked.filter(pa.array(~passes & ~out))], **facts)
        return table.filter(pa.array(passes & ~out))

    def _rejected(self, marked: pa.Table) -> Mask:
        """Rows that a person rejected, and that would write the same again."""
        with reading(self.context.state) as connection:
            ids = marked.column("_id").to_pylist()
            held = held_out.find(connection, self.context.org, self.name, ids)
        marks = zip(ids, marked.column("_fingerprint").to_pylist(), strict=True)
        return np.array([mark in held.get(name, {}) for name, mark in marks], dtype=bool)

    def ask(self) -> None:
        """At the end: people are asked about what waits. HeldBack when a brake held it, and nobody knew yet."""
        later = self.later
        if self.context.dry is not None:
            self._rehearse(later)
            return
        if later is None or not later.chunks:
            with self.lease.transaction() as connection:
                self.gate.settle(connection)
            return
        plan = self.gate.ask(
            self.lease, later, self.reasons, lambda asked: self._summary(later, asked), sync_run_id=self.run.id
        )
        self.run.notes.append(described(plan))
        self.gate.raise_if_new()
        with self.lease.transaction() as connection:
            self.run.finish(connection, status=runs.HELD)

    def _rehearse(self, later: PlanWriter | None) -> None:
        if later is None:
            folder = self.context.plan_folder(self.name, "")
            later = PlanWriter(self.context, folder, row_limits.JOB_ROWS, self.lease.beat)
        summary = self._summary(later, self.reasons)
        keep_rehearsed(self.context, self.name, later.folder, len(later.chunks), summary, self.reasons)
        self.run.counts += summary.as_counts(self.name)

    def _summary(self, later: PlanWriter, reasons: Sequence[Reason]) -> Summary:
        tables = (self.context.staging.read_table(chunk.path) for chunk in later.chunks)
        return summarize(self.name, tables, {}, reasons)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _write_part(
        self,
        request: WriteRequest,
        part: pa.Table,
        make: MakeResult,
        *,
        counted: bool,
        first: Callable[[Connection, pa.Table], None],
        answer: Answer | None,
    ) -> list[RecordResult]:
        self.written += 1
        folder = self.context.plan_folder(self.name, f"{self.lease.epoch}-{self.run.id}-{self.written}")
        facts = {"member": self.name, "run": str(self.run.id), "object": request.object}
        facts |= {"operation": str(request.operation), "key": request.key}
        self.context.staging.write(folder, 0, part.replace_schema_metadata({"facts": json.dumps(facts)}))
        with self.lease.transaction() as connection:
            self.plan_id = plan_id = plans.make(
                connection, org=self.context.org, target=self.name, epoch=self.lease.epoch, path=str(folder), chunks=1,
                counts={str(request.operation): part.num_rows}, sync_run_id=self.run.id, run=self.context.run,
            )  # fmt: skip
            plans.note(
                connection, org=self.context.org, target=self.name, plan_id=plan_id, chunk=0, epoch=self.lease.epoch,
                leases=self.lease.epochs,
            )  # fmt: skip
            first(connection, part)
        sent = part.select([column for column in part.column_names if not column.startswith("_")])
        jobs = NoteJobs(self.lease, None, plan_id, 0)
        results, error = answer(sent, jobs) if answer else self.context.salesforce.answer(request, sent, jobs)
        known = [make(row, result) for row, result in zip(part.to_pylist(), results, strict=True) if result is not None]
        with self.lease.transaction() as connection:
            sync_log.write(connection, self.run.id, known)
            if self.keeps_letters:
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
def derived(
    context: Context, name: str, objects: Sequence[str], *, step: str = "", keeps_letters: bool = True
) -> Iterator[Derived]:
    """The right to write these objects, for a flow called `name`. LeaseHeld while another task writes one of them."""
    with hold(context, objects) as lease, sync_run(context, step or name) as run:
        flow = Derived(context, lease, run, name, Gate.of(context, name), keeps_letters=keeps_letters)
        if context.dry is None:
            flow.settle()
        yield flow
        flow.ask()


def _names(request: WriteRequest, table: pa.Table) -> pa.ChunkedArray:
    """What each row's record is called: by its own name, or by what it is written by."""
    return table.column("_name" if "_name" in table.column_names else request.key).cast(pa.string())


def _marks(table: pa.Table) -> list[str]:
    """A fingerprint of what each row writes."""
    return fingerprints(table.select([name for name in table.column_names if not name.startswith("_")]))
