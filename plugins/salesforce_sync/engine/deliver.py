"""Delivering: everything that waits for a group, whoever staged it, planned, written chunk by chunk, and committed.

    T2  the plan's row
    T3  the note of a chunk; then it is sent, outside of any transaction
    T4  its results, links, letters, waits, claims; the note removed
    T5  the lease given back, unless batches came in meanwhile

Each is one transaction, fenced by the epoch of the target's lease. docs/architecture.md has the argument for each order.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Protocol

import numpy as np
import pyarrow as pa

from salesforce_sync.engine import brakes
from salesforce_sync.engine.commit import commit
from salesforce_sync.engine.context import Context, SyncRun, refuse_too_many, sync_run
from salesforce_sync.engine.dry import keep_rehearsed
from salesforce_sync.engine.gate import Gate, covers_all, described
from salesforce_sync.engine.group import Group, Member
from salesforce_sync.engine.lease import Lease, Pulse, hold
from salesforce_sync.engine.plan import Chunk, Look, Mask, PlanWriter, facts_of, newest
from salesforce_sync.engine.read import take_back
from salesforce_sync.engine.summary import Summary, summarize
from salesforce_sync.errors import (
    BudgetExhausted,
    CallsMayLand,
    HeldBack,
    JobUnderWay,
    RowLocked,
    ServiceUnavailable,
    StagedDataMissing,
    SyncError,
    TooManyRejects,
)
from salesforce_sync.mapping.apply import Mapped
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.privacy import mask_text
from salesforce_sync.records import Counts, Outcome, Reason, RecordResult
from salesforce_sync.salesforce.jobs import abandon
from salesforce_sync.salesforce.wire_errors import is_passing_row
from salesforce_sync.staging import file_name, remove_folder
from salesforce_sync.state import inbox, plans, runs, waits
from salesforce_sync.state.engine import reading
from salesforce_sync.state.inbox import Batch
from salesforce_sync.state.plans import Note, Plan

log = logging.getLogger(__name__)

SHOWN_REFUSALS = 10
ALL_ALIKE = 200  # so many refusals with one code, and nothing else, and the fault is not in the rows
CHUNK_TRIES = 5  # then its rows are sent one by one


@dataclass
class Sent:
    """What is known of a chunk's rows after it was sent: results in order, None for rows whose outcome is not known."""

    results: list[RecordResult | None]
    error: SyncError | None = None
    never_sent: frozenset[int] = frozenset()  # rows that no call had: they are planned again, and not repeated


class End(Protocol):
    """The side that is written."""

    def check(self, group: Group) -> None:
        """Raises when the mappings do not fit, before anything is planned."""

    def version(self, member: Member) -> str:
        """Changes with whatever could make a staged record come out differently."""

    def paths(self, member: Member) -> Sequence[str]:
        """What the mapping reads of a staged record."""

    def also(self, member: Member) -> Sequence[str]:
        """What else of a staged record may change its outcome, where it is staged."""

    def map(self, member: Member, columns: Columns) -> Mapped: ...

    def plan(
        self,
        context: Context,
        group: Group,
        looks: Mapping[str, Look],
        changed: Iterator[tuple[Member, pa.Table]],
        writer: PlanWriter,
        *,
        peek: bool,
        keep_doomed: bool,
    ) -> None:
        """Writes the chunks for the changed rows, in the order in which they are to be sent.

        Rows that turn out to need no call become settled results of their member's look. With `peek`, the other side is
        asked nothing: the plan is only to show whether it is held. With `keep_doomed`, deletions are going to wait, and
        what cannot wait of them is planned apart. Of a chunk's facts, `urgent` says that it waits for no person,
        `deletes` that it deletes. """  # fmt: skip

    def rows_per_chunk(self) -> int: ...

    def send(self, context: Context, chunk: pa.Table, jobs: NoteJobs, *, repeated: bool) -> Sent:
        """Writes the rows. `repeated`: they were sent before, and nobody knows with what outcome."""


@dataclass
class Delivered:
    """What a delivery did: counts by mapping; `limited` says why it stopped, when the API budget was spent; `held`
    which plan waits for a person."""

    counts: dict[str, Counts] = field(default_factory=dict)
    limited: str = ""
    refused: set[str] = field(default_factory=set)  # ids of refused records
    held: Plan | None = None
    summary: Summary | None = None  # of a dry run, and the id of its plan
    rehearsed: int | None = None

    @property
    def total(self) -> Counts:
        return sum(self.counts.values(), Counts())


class NoteJobs:
    """Keeps the id of a chunk's Bulk job in its note, so that the job is found again: the client's JobMemory."""

    def __init__(self, lease: Lease, note: Note | None, plan_id: int, chunk: int) -> None:
        self._lease, self._note, self._place = lease, note, (plan_id, chunk)
        self.beat = Pulse(lease).beat

    def find(self, content: str) -> str | None:
        note = self._note
        if note is None or note.job_id is None:
            return None
        return note.job_id if note.content == content or is_vendors_job(note) else None

    def remember(self, content: str, job_id: str) -> None:
        """Before the job is closed: a holder that lost its lease cannot note it, and so never closes it."""
        with self._lease.transaction() as connection:
            plans.change_note(connection, *self._place, content=content, job_id=job_id)


def deliver(context: Context, group: Group, end: End, *, lease: Lease | None = None, limit: bool = True) -> Delivered:
    """Delivers all that waits for the group. LeaseHeld when another task does so already.

    With `lease`, the caller holds the targets and goes on holding them. Without `limit`, any number of records may be
    refused. When the API budget is spent, the rest waits for the next delivery, and the sync runs end as `limited`.
    After everything else is committed, raises CallsMayLand when records rest, StagedDataMissing when batches are lost,
    RowLocked when rows were refused for a passing reason, HeldBack when a brake holds rows back, and TooManyRejects.

    In a dry run the plan is made and kept, and nothing is written or committed.
    """
    if lease is not None:
        assert lease.covers(group.targets)
        return _Delivery(context, group, end, lease, owns_lease=False, limit=limit).run()
    with hold(context, group.targets) as held:
        return _Delivery(context, group, end, held, owns_lease=True, limit=limit).run()


@dataclass
class _Delivery:
    context: Context
    group: Group
    end: End
    lease: Lease
    owns_lease: bool
    limit: bool
    steps: dict[str, SyncRun] = field(default_factory=dict)
    delivered: Delivered = field(default_factory=Delivered)
    examples: dict[str, list[str]] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    locked: int = 0
    lost: list[str] = field(default_factory=list)
    resting: list[Note] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)  # vendor ids and unique keys that a resting chunk may still write
    seen: int = 0  # the newest batch that was planned
    streams: dict[int, tuple[str, int]] = field(default_factory=dict)  # of each batch: its stream and reading
    answered: bool = False  # whether any row was accepted, or refused with another code than the first
    first_code: str | None = None
    refused_alike: int = 0
    gate: Gate | None = None  # of the last pass

    def run(self) -> Delivered:
        with ExitStack() as stack:
            for member in self.group.members:
                self.steps[member.name] = stack.enter_context(sync_run(self.context, member.name))
            try:
                self.end.check(self.group)
                self._settle_notes()
                while not self._pass():
                    pass
            except BudgetExhausted as error:
                self.delivered.limited = str(error)
                log.warning("%s: %s", self.group.name, error)
                self._finish(release=self.owns_lease, status=runs.LIMITED)
            finally:
                self._report()
        self._raise_at_last()
        return self.delivered

    # -- one pass: plan, write, look once more ---------------------------------------------------------------------

    def _pass(self) -> bool:
        """Plans and writes what waits; True when nothing is left that this delivery could do."""
        batches = self._batches()
        if not batches:
            return self._finish_empty()
        self.seen = max([self.seen, *(batch.id for batch in batches)])
        self.gate = gate = Gate.of(self.context, self.group.name)
        peek = gate.held is not None and self.context.dry is None
        looks, writer = self._plan(batches, peek=peek)
        reasons = self._reasons(batches, looks, writer)
        if self.context.dry is not None:
            return self._rehearse(looks, writer, reasons)
        unanswered = gate.unanswered(reasons)
        holds_all = covers_all(unanswered) or self.context.brakes.approve
        if not holds_all and (peek or unanswered):  # most of it is written now, so the other side has to be asked
            remove_folder(writer.folder)
            looks, writer = self._plan(batches, peek=False, keep_doomed=bool(unanswered))
        now, later = self._divide(gate, unanswered, writer)
        plan_id = self._make(looks, now)
        self._commit_settled(looks, notes=any(not chunk.facts.get("urgent") for chunk in now.chunks) or later is None)
        for chunk in now.chunks:
            self._write(plan_id, chunk)
        with self.lease.transaction() as connection:
            plans.finish(connection, plan_id)
            if later is None:
                gate.settle(connection, done=self._wrote_all)
        if later is None:
            return self._finish(release=self.owns_lease)
        self.delivered.held = gate.ask(
            self.lease, later, reasons, lambda asked: self._summary(looks, later, asked),
            sync_run_id=self.steps[self.group.names[0]].id,
        )  # fmt: skip
        return self._finish(release=self.owns_lease, status=runs.HELD)

    def _finish_empty(self) -> bool:
        """Nothing waits, and so no question is open any more."""
        if self.context.dry is None:
            gate = Gate.of(self.context, self.group.name)
            if gate.held is not None or gate.allowed is not None:
                with self.lease.transaction() as connection:
                    gate.settle(connection)
        return self._finish(release=self.owns_lease)

    def _plan(
        self, batches: Sequence[Batch], *, peek: bool, keep_doomed: bool = False
    ) -> tuple[dict[str, Look], PlanWriter]:
        looks = self._looks()
        own_runs = {name: run.id for name, run in self.steps.items()}
        writer = PlanWriter(self.context, self._folder(), self.end.rows_per_chunk(), Pulse(self.lease).beat, own_runs)
        changed = self._changed(batches, looks)
        self.end.plan(self.context, self.group, looks, changed, writer, peek=peek, keep_doomed=keep_doomed)
        return looks, writer

    # -- what waits for a person -----------------------------------------------------------------------------------

    def _reasons(self, batches: Sequence[Batch], looks: Mapping[str, Look], writer: PlanWriter) -> list[Reason]:
        """The brakes that the plan pulls."""
        if not self.context.brakes.any_on or not writer.chunks:
            return []
        deletions = sum(chunk.rows for chunk in writer.chunks if chunk.facts.get("deletes"))
        with reading(self.context.state) as connection:
            return brakes.pulled(
                connection, self.context.org, self.group, looks, batches, self.context.brakes, deletions=deletions
            )

    def _divide(
        self, gate: Gate, unanswered: Sequence[Reason], writer: PlanWriter
    ) -> tuple[PlanWriter, PlanWriter | None]:
        """What is written now, and what waits for a person, None for nothing. What is done of one record is done
        together."""
        if not unanswered and not self.context.brakes.approve:
            return writer, None
        passing: list[Mask] = []
        held: set[tuple[str, str]] = set()
        for chunk in writer.chunks:
            table = self.context.staging.read_table(chunk.path)
            passing.append(self._passes(gate, unanswered, chunk, table))
            waiting = table.column("_id").filter(pa.array(~passing[-1])).to_pylist()
            held.update((chunk.member, str(name)) for name in waiting)
        if not held:
            return writer, None
        now, later = (replace(writer, folder=self._folder(part), chunks=[]) for part in ("now", "held"))
        for chunk, mask in zip(writer.chunks, passing, strict=True):
            table = self.context.staging.read_table(chunk.path)
            if not chunk.facts.get("urgent"):
                names = table.column("_id").to_pylist()
                mask[[(chunk.member, str(name)) in held for name in names]] = False
            now.add(chunk.member, [table.filter(pa.array(mask))], **chunk.facts)
            later.add(chunk.member, [table.filter(pa.array(~mask))], **chunk.facts)
        remove_folder(writer.folder)
        return now, later

    def _passes(self, gate: Gate, unanswered: Sequence[Reason], chunk: Chunk, table: pa.Table) -> Mask:
        """Which rows of the chunk wait for nobody."""
        if chunk.facts.get("urgent"):
            return np.ones(chunk.rows, dtype=bool)
        if unanswered and (covers_all(unanswered) or chunk.facts.get("deletes")):
            return np.zeros(chunk.rows, dtype=bool)
        if self.context.brakes.approve:
            (member,) = [member for member in self.group.members if member.name == chunk.member]
            return gate.approved(table, member.mapping.consent)
        return np.ones(chunk.rows, dtype=bool)

    def _summary(self, looks: Mapping[str, Look], writer: PlanWriter, reasons: Sequence[Reason]) -> Summary:
        tables = (self.context.staging.read_table(chunk.path) for chunk in writer.chunks)
        settled = {name: look.settled for name, look in looks.items()}
        resting = sum(look.left_out for look in looks.values())
        return summarize(self.group.name, tables, settled, reasons, resting=resting)

    def _rehearse(self, looks: Mapping[str, Look], writer: PlanWriter, reasons: Sequence[Reason]) -> bool:
        """The end of a dry run: the plan is kept, with its summary, and nothing of it is done."""
        summary = self._summary(looks, writer, reasons)
        self.delivered.rehearsed = keep_rehearsed(
            self.context, self.group.name, writer.folder, len(writer.chunks), summary, reasons
        )
        self.delivered.summary = summary
        for run in self.steps.values():
            run.counts = summary.as_counts(run.step)
        return True

    def _batches(self) -> list[Batch]:
        """What waits. A batch that lacks what the mapping reads now is taken back, to be read again."""
        with reading(self.context.state) as connection:
            found = inbox.waiting(connection, self.context.org, self.group.names)
        paths = {member.name: set(self.end.paths(member)) for member in self.group.members}
        usable = []
        for batch in found:
            if batch.paths is not None and not paths[batch.mapping] <= batch.paths:
                self._lose(batch, "it lacks a field that the mapping reads now")
            else:
                usable.append(batch)
        self.streams |= {batch.id: (batch.stream, batch.reading) for batch in usable}
        return usable

    def _lose(self, batch: Batch, why: str) -> None:
        with self.lease.transaction() as connection:
            take_back(connection, self.context.org, batch)
        self.lost.append(f"{batch.mapping}: {batch.ref.count} records of the batch {batch.id} ({why})")
        log.error("%s: the batch %s is lost: %s. Its records are read again.", batch.mapping, batch.ref.path, why)

    def _looks(self) -> dict[str, Look]:
        resting = self._resting_records()
        return {
            member.name: Look(
                self.context, member, paths=self.end.paths(member), version=self.end.version(member),
                map=self._mapper(member), also=self.end.also(member),
                resting=resting.get(member.name, frozenset()), taken=frozenset(self.taken),
            )
            for member in self.group.members
        }  # fmt: skip

    def _mapper(self, member: Member) -> Any:
        return lambda columns: self.end.map(member, columns)

    def _changed(self, batches: Sequence[Batch], looks: Mapping[str, Look]) -> Iterator[tuple[Member, pa.Table]]:
        for member in self.group.members:
            own = self._readable(member, [batch for batch in batches if batch.mapping == member.name])
            for batch, chosen in own:
                try:
                    table = looks[member.name].changed(batch, chosen)
                except StagedDataMissing as error:
                    self._lose(batch, str(error))
                    continue
                if table is not None:
                    yield member, table

    def _readable(self, member: Member, batches: list[Batch]) -> list[tuple[Batch, Mask]]:
        """The batches whose files are there and whole, each with the rows that are the newest of their record. Of a source
        that always gives everything, only the last reading counts: what is not in it is nobody's any more."""
        lost: set[int] = set()

        def load(batch: Batch) -> tuple[list[str | None], list[str]]:
            try:
                return self.context.staging.versions(batch.ref)
            except StagedDataMissing as error:
                lost.add(batch.id)
                self._lose(batch, str(error))
                return [], []

        masks = newest(batches, load)
        last = max((batch.reading for batch in batches), default=0)
        for batch in batches if member.mapping.salesforce.find_by else ():
            masks[batch.id] &= batch.reading == last
        return [(batch, masks[batch.id]) for batch in batches if batch.id not in lost]

    def _folder(self, part: str = "") -> Any:
        number = f"{self.lease.epoch}-{self.steps[self.group.names[0]].id}-{self.seen}{part and '-'}{part}"
        return self.context.plan_folder(self.group.name, number)

    def _make(self, looks: Mapping[str, Look], writer: PlanWriter) -> int:
        """T2."""
        counts: Counter[str] = Counter({"write": sum(chunk.rows for chunk in writer.chunks)})
        for look in looks.values():
            counts += look.settled.counts
        with self.lease.transaction() as connection:
            return plans.make(
                connection, org=self.context.org, target=self.group.name, epoch=self.lease.epoch,
                path=str(writer.folder), chunks=len(writer.chunks), counts=counts,
                sync_run_id=self.steps[self.group.names[0]].id, run=self.context.run,
            )  # fmt: skip

    @property
    def _wrote_all(self) -> bool:
        """Whether nothing of the plan was left for another run."""
        return not self.locked and not self.resting

    def _commit_settled(self, looks: Mapping[str, Look], *, notes: bool) -> None:
        """`notes`: also what writes of this plan mean for links of other records; not when those writes wait."""
        for name, look in looks.items():
            settled = look.settled
            results = self._with_payloads([*settled.results, *(settled.notes if notes else ())])
            if results or settled.unchanged:
                with self.lease.transaction() as connection:
                    self._commit(connection, name, results, settled.unchanged)

    def _commit(
        self, connection: Any, name: str, results: Sequence[RecordResult], unchanged: Sequence[Any] = ()
    ) -> None:
        batches = {item.batch for item in results} | {batch for batch, _, _ in unchanged}
        streams = {batch: self.streams[batch] for batch in batches if batch in self.streams}
        commit(connection, self.steps[name], name, results, unchanged=unchanged, streams=streams)
        told = [
            item for item in results if item.code is not None or item.outcome in (Outcome.REJECTED, Outcome.WAITING)
        ]
        self.codes += Counter(item.code or "" for item in told)
        for item in told:
            if item.outcome is Outcome.REJECTED:
                self.delivered.refused.add(item.record_id)
                shown = self.examples.setdefault(name, [])
                if len(shown) < SHOWN_REFUSALS:
                    said = mask_text(item.message or "")  # the message may quote a value
                    shown.append(f"{mask_text(item.record_id)}: {said}")
                    log.warning("%s: %s was refused: %s %s", name, item.record_id, item.code, said)

    # -- a chunk ---------------------------------------------------------------------------------------------------

    def _write(self, plan_id: int, chunk: Chunk) -> None:
        """Notes, sends and commits a chunk."""
        with self.lease.transaction() as connection:
            plans.note(
                connection, org=self.context.org, target=self.group.name, plan_id=plan_id, chunk=chunk.number,
                epoch=self.lease.epoch, leases=self.lease.epochs,
            )  # fmt: skip
        table = self.context.staging.read_table(chunk.path)
        jobs = NoteJobs(self.lease, None, plan_id, chunk.number)
        self._send(table, chunk.member, jobs, (plan_id, chunk.number), repeated=False)

    def _send(
        self,
        table: pa.Table,
        name: str,
        jobs: NoteJobs,
        place: tuple[int, int],
        *,
        repeated: bool,
        tries: int = 0,
        rows: Sequence[int] | None = None,
    ) -> None:
        """`rows` are the places of the table's rows in the chunk, if they are not all of it."""
        try:
            sent = self.end.send(self.context, table, jobs, repeated=repeated)
        except JobUnderWay:
            raise
        except SyncError as error:
            sent = Sent([None] * table.num_rows, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the chunk may be on its way, and is not repeated for ever
            sent = Sent([None] * table.num_rows, _unforeseen(error))
        known = [item for item in sent.results if item is not None]
        passing = [
            item for item in known if item.outcome is Outcome.REJECTED and is_passing_row(item.code, item.message)
        ]
        kept = self._with_payloads([item for item in known if item not in passing] if passing else known)
        unknown = outcome_is_unknown(sent.error) and len(known) + len(sent.never_sent) < len(sent.results)
        with self.lease.transaction() as connection:
            self._commit(connection, name, kept)
            if unknown:
                open_rows = [
                    number if rows is None else rows[number]
                    for number, item in enumerate(sent.results)
                    if item is None and number not in sent.never_sent
                ]
                plans.change_note(
                    connection, *place, tries=tries + 1, rested=0.0, epoch=self.lease.epoch, rows=json.dumps(open_rows)
                )
            else:
                plans.remove_note(connection, *place)
        self.locked += len(passing)
        log.info("%s: %d rows are through", name, len(known))
        if sent.error is not None:
            raise sent.error
        self._stop_when_all_alike(name, known)

    def _with_payloads(self, results: list[RecordResult]) -> list[RecordResult]:
        """The results, those of refused rows with what they held, for their dead letters."""
        rows: dict[int, dict[int, int]] = {}  # batch -> row -> place among the results
        for place, item in enumerate(results):
            if item.outcome is Outcome.REJECTED and item.payload is None and item.batch:
                rows.setdefault(item.batch, {})[item.row] = place
        if not rows:
            return results
        with reading(self.context.state) as connection:
            refs = {batch.id: batch.ref for batch in inbox.waiting(connection, self.context.org, self.group.names)}
        for batch, wanted in rows.items():
            if batch not in refs:
                continue  # another task has the lease by now, and is through with it: the commit will say so
            try:
                payloads = self.context.staging.read(refs[batch]).columns.payloads(list(wanted))
            except StagedDataMissing:
                continue  # the letter has no content then; the record is read again when it is due
            for place, payload in zip(wanted.values(), payloads, strict=True):
                results[place] = results[place]._replace(payload=payload)
        return results

    def _stop_when_all_alike(self, name: str, results: Sequence[RecordResult]) -> None:
        """Ends the delivery when its first rows are all refused with one code: then the fault is in no row."""
        if self.answered:
            return
        for item in results:
            if item.outcome is not Outcome.REJECTED or item.code != (self.first_code or item.code):
                self.answered = True
                return
            self.first_code, self.refused_alike = item.code, self.refused_alike + 1
        if self.refused_alike >= ALL_ALIKE:
            raise TooManyRejects(
                f"{name}: the first {self.refused_alike} records were all refused: {results[-1].code} {results[-1].message}",
                fix="Correct what all of them have in common (a permission, a rule, the mapping); the rest waits for the next run.",
            )

    # -- notes of holders that died, and of calls without an answer ------------------------------------------------

    def _settle_notes(self) -> None:
        """Repeats the chunks that were sent without a committed result, once their calls cannot arrive any more."""
        with reading(self.context.state) as connection:
            found = plans.open_notes(connection, self.context.org, self.group.name)
        if self.context.dry is not None:  # whatever is on its way, a dry run repeats none of it
            self.resting = found
            return
        wait_for_others(self.context, self.lease, self.group.name)
        for note in found:
            rested = rested_so_far(self.context, note)
            with self.lease.transaction() as connection:
                plans.change_note(connection, note.plan_id, note.chunk, rested=rested)
            if note.job_id is None and rested < self.context.timing.rest_seconds:
                self.resting.append(replace(note, rested=rested))
            else:
                self._repeat(note)

    def _repeat(self, note: Note) -> None:
        chunk = self._chunk_of(note)
        if chunk is None:
            with self.lease.transaction() as connection:
                plans.remove_note(connection, note.plan_id, note.chunk)
            return
        name = facts_of(chunk)["member"]
        self._learn_streams()
        places = self._open_places(chunk, note)
        rows = chunk.take(pa.array(places, pa.int64()))
        jobs = NoteJobs(self.lease, note, note.plan_id, note.chunk)
        place = (note.plan_id, note.chunk)
        with self.lease.transaction() as connection:  # it is sent again: whoever finds it after this has to wait again
            plans.change_note(connection, *place, rested=0.0, epoch=self.lease.epoch)
        if places and (
            note.tries < CHUNK_TRIES or is_vendors_job(note)
        ):  # such a job ends some day: nothing is made beside it
            self._send(rows, name, jobs, place, repeated=True, tries=note.tries, rows=places)
            return
        for start in range(rows.num_rows):
            self._send_alone(rows.slice(start, 1), name, jobs)
        with self.lease.transaction() as connection:
            plans.remove_note(connection, *place)

    def _send_alone(self, row: pa.Table, name: str, jobs: NoteJobs) -> None:
        """A row of a chunk that kept failing: it is refused by itself when it fails once more."""
        try:
            sent = self.end.send(self.context, row, jobs, repeated=True)
            error = sent.error
        except (JobUnderWay, BudgetExhausted):
            raise
        except SyncError as failure:
            sent, error = Sent([None]), failure
        except Exception as failure:  # noqa: BLE001 - as above
            sent, error = Sent([None]), _unforeseen(failure)
        (result,) = sent.results
        if result is None:
            marks = {
                key: row.column(key)[0].as_py() for key in ("_id", "_batch", "_row", "_version", "_reading", "_origin")
            }
            result = RecordResult(
                marks["_id"], Outcome.REJECTED, code="UNANSWERED", message=str(error and error.args[0]),
                version=marks["_version"], reading=marks["_reading"], batch=marks["_batch"], row=marks["_row"],
                origin=marks["_origin"],
            )  # fmt: skip
        with self.lease.transaction() as connection:
            self._commit(connection, name, [result])

    def _chunk_of(self, note: Note) -> pa.Table | None:
        folder = self.context.staging.place(note.path)
        try:
            return self.context.staging.read_table(str(folder / file_name(note.chunk)))
        except StagedDataMissing as error:
            log.error("%s: the plan %s is gone: %s", self.group.name, note.path, error)
            return None

    def _open_places(self, chunk: pa.Table, note: Note) -> list[int]:
        """The rows of a noted chunk whose outcome is not known."""
        with reading(self.context.state) as connection:
            found = inbox.waiting(connection, self.context.org, self.group.names)
        still_open = {batch.id: batch.open_rows for batch in found}
        pairs = zip(chunk.column("_batch").to_pylist(), chunk.column("_row").to_pylist(), strict=True)
        noted = None if note.rows is None else set(note.rows)
        return [
            place
            for place, (batch, row) in enumerate(pairs)
            if (noted is None or place in noted)
            and (not batch or (batch in still_open and bool(still_open[batch][row])))  # 0: of no row that waits
        ]

    def _learn_streams(self) -> None:
        with reading(self.context.state) as connection:
            found = inbox.waiting(connection, self.context.org, self.group.names)
        self.streams |= {batch.id: (batch.stream, batch.reading) for batch in found}

    def _resting_records(self) -> dict[str, frozenset[str]]:
        """The records of chunks that may still land, by member."""
        found: dict[str, set[str]] = {}
        for note in self.resting:
            chunk = self._chunk_of(note)
            if chunk is not None:
                ids = found.setdefault(facts_of(chunk)["member"], set())
                rows = chunk.take(pa.array(self._open_places(chunk, note), pa.int64()))
                ids.update(rows.column("_id").to_pylist())
                if "_pair_ours" in rows.column_names:  # both records of a pair rest, on whichever side they were read
                    pairs = {*rows.column("_pair_ours").to_pylist(), *rows.column("_pair_theirs").to_pylist()}
                    for name in self.group.names:
                        found.setdefault(name, set()).update(pairs - {None})
                own = ("Id",) if facts_of(chunk).get("key") == "Id" else ()  # of a record that is updated
                for column in ("_vendor_id", "_key", "_old_key", *own):
                    if column in rows.column_names:
                        self.taken |= {value for value in rows.column(column).to_pylist() if value is not None}
        return {name: frozenset(ids) for name, ids in found.items()}

    # -- the end -----------------------------------------------------------------------------------------------------

    def _finish(self, *, release: bool, status: str = runs.SUCCESS) -> bool:
        """T5: gives the lease back, unless batches were registered since the plan was made. True when it is over."""
        with self.lease.transaction() as connection:
            waiting = inbox.waiting(connection, self.context.org, self.group.names)
            if status == runs.SUCCESS and any(batch.id > self.seen for batch in waiting):
                return False
            left = sum(int(batch.open_rows.sum()) for batch in waiting)
            for run in self.steps.values():
                if status == runs.LIMITED:
                    run.notes.append(f"{self.delivered.limited} {left} records wait for the next run.")
                if self.delivered.held is not None:
                    run.notes.append(f"{described(self.delivered.held)} {left} records wait.")
                if not run.ended:
                    run.finish(connection, status=status)
            if release:
                self.lease.release(connection)
        return True

    def _report(self) -> None:
        self.delivered.counts = {name: run.counts for name, run in self.steps.items()}
        if self.codes:
            told = ", ".join(f"{count:,} {code}" for code, count in self.codes.most_common())
            log.info("%s, by code: %s", self.group.name, told)
        with reading(self.context.state) as connection:
            waiting = waits.counts(connection, self.context.org, self.group.names)
        for reason, count in waiting.items():
            log.info("%s: %s records wait: %s", self.group.name, f"{count:,}", reason)

    def _raise_at_last(self) -> None:
        """What makes the task red or wait, after everything that could be done is committed."""
        if self.context.dry is not None:
            return
        if self.resting:
            left = max(self.context.timing.rest_seconds - note.rested for note in self.resting)
            raise CallsMayLand([note.sent for note in self.resting], left, after=self._trouble())
        if self.lost:
            raise StagedDataMissing(self._lost_text())
        if self.locked:
            raise RowLocked(
                f"{self.group.name}: {self.locked} records were refused because Salesforce had them locked; "
                "the others are saved."
            )
        self._raise_held()
        self._refuse_too_many()

    def _raise_held(self) -> None:
        """The run that first asks is red, unless it is the DAG's setting that asks."""
        if self.gate is not None:
            self.gate.raise_if_new()

    def _trouble(self) -> str:
        """What a task that has to wait first is to fail with afterwards; empty for nothing."""
        try:
            self._raise_held()
            self._refuse_too_many()
        except (HeldBack, TooManyRejects) as error:
            return str(error.args[0])
        return self._lost_text() if self.lost else ""

    def _refuse_too_many(self) -> None:
        for name, counts in self.delivered.counts.items() if self.limit else ():
            refuse_too_many(counts, name, self.examples.get(name, []))

    def _lost_text(self) -> str:
        return f"Staged batches are lost: {'; '.join(self.lost)}."


def wait_for_others(context: Context, lease: Lease, target: str) -> None:
    """Waits until no chunk of another flow, which may have written to what this lease covers, can land any more."""
    with reading(context.state) as connection:
        found = plans.open_notes(connection, context.org)
    resting = []
    for note in found:
        if note.target == target or not note.leases & set(lease.epochs):
            continue
        rested = rested_so_far(context, note)
        with lease.transaction() as connection:
            plans.change_note(connection, note.plan_id, note.chunk, rested=rested)
        if note.job_id is not None and context.client is not None and not is_vendors_job(note):
            end_job(context, note.job_id)
        elif rested < context.timing.rest_seconds:
            resting.append((note, rested))
    if resting:
        wait_for_calls(context, resting)


def is_vendors_job(note: Note) -> bool:
    """Whether the note holds the id of a vendor's job, which has a prefix: one chunk, one job."""
    return note.job_id is not None and ":" in note.job_id


def rested_so_far(context: Context, note: Note) -> float:
    """The seconds that the chunk was left alone: those that its note has, and those that this task has just waited."""
    return note.rested + context.rested.get(note.sent, 0.0)


def end_job(context: Context, job_id: str) -> None:
    """Aborts the Bulk job of a sender that died, unless it is over. JobUnderWay while Salesforce works on it."""
    still_at_work = abandon(context.salesforce.session, job_id)
    if still_at_work is not None:
        raise JobUnderWay(still_at_work)


def wait_for_calls(context: Context, resting: Sequence[tuple[Note, float]]) -> NoReturn:
    """Raises CallsMayLand for these notes, each with the seconds that it has rested."""
    left = context.timing.rest_seconds - min(rested for _, rested in resting)
    raise CallsMayLand([note.sent for note, _ in resting], left)


def _unforeseen(error: Exception) -> ServiceUnavailable:
    """An error that nobody has thought of, in the middle of a call."""
    log.exception("A call failed for a reason that nobody has foreseen.")
    return ServiceUnavailable(
        f"A call failed with {type(error).__name__}; nobody knows what it did.", fix="See the task's log."
    )


def outcome_is_unknown(error: SyncError | None) -> bool:
    """Whether a call that ended with this error may have been done, or may still be."""
    return isinstance(error, ServiceUnavailable)
