"""Writing: rows in, one result for each row out, in input order; by collections or a Bulk 2.0 job, whichever needs fewer calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from salesforce_sync.errors import ServiceUnavailable
from salesforce_sync.ids import whole_id
from salesforce_sync.records import Outcome, WriteResult
from salesforce_sync.salesforce.collections import Answered, CollectionWriter
from salesforce_sync.salesforce.graphs import GraphWriter
from salesforce_sync.salesforce.ingest import IngestWriter
from salesforce_sync.salesforce.jobs import JobMemory
from salesforce_sync.salesforce.rows import Operation, WriteRequest, chunks, has_literal_null
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.wire_errors import is_passing_row

BULK_FROM_ROWS = 2_000  # above, a Bulk job needs fewer calls, and Salesforce advises it
ROW_TRIES = 3
ROW_WAIT_SECONDS = 2.0
CONVERTED = "CANNOT_UPDATE_CONVERTED_LEAD"
FOLLOWED = "CONVERTED_LEAD"  # the code of a result that was written to what the Lead was converted into


class Writer:
    def __init__(self, session: Session, patience: float | None = None) -> None:
        self._session = session
        self._collections = CollectionWriter(session)
        self._graphs = GraphWriter(session)
        self._jobs = IngestWriter(session, patience)

    def write(
        self, request: WriteRequest, tables: Iterable[pa.Table], memory: JobMemory | None = None
    ) -> Iterator[tuple[pa.Table, list[WriteResult]]]:
        """Writes the rows and yields them back with their results, in order, in chunks of at most rows.JOB_ROWS.

        A refused row is a result, not an exception. An exception means that the outcome of its chunk is not known, or not
        known of all its rows: see `answer`. JobUnderWay is such an exception.
        """
        for chunk in chunks(tables):
            results, error = self.answer(request, chunk, memory)
            if error is not None:
                raise error
            yield chunk, [result for result in results if result is not None]

    def answer(
        self, request: WriteRequest, chunk: pa.Table, memory: JobMemory | None = None, *, may_be_job: bool = True
    ) -> Answered:
        """Writes the rows; tells the result of each, and the error of the calls that gave none.

        Salesforce refuses all rows of a call that are one record, so a second row of one is written after the first.
        """
        results: list[WriteResult | None] = [None] * chunk.num_rows
        for number, places in enumerate(_rounds(request, chunk)):
            part = chunk if len(places) == chunk.num_rows else chunk.take(pa.array(places, pa.int64()))
            # One round may be a job, which the memory holds: a task that starts again would take another round's for it.
            answered = self._answer(
                request, part, memory if number == 0 else None, may_be_job=may_be_job and number == 0
            )
            for place, result in zip(places, answered.results, strict=True):
                results[place] = result
            if answered.error is not None:
                return Answered(results, answered.error)
        return Answered(results)

    def _answer(
        self, request: WriteRequest, chunk: pa.Table, memory: JobMemory | None, *, may_be_job: bool
    ) -> Answered:
        if request.operation is Operation.UPDATE and request.key != "Id":
            return self._update_by_key(request, chunk, memory, may_be_job=may_be_job)
        if request.parent is None or chunk.num_rows < 2:
            answered = self._with_tries(request, chunk, memory, may_be_job=may_be_job)
        else:  # rows of one parent go together, so that calls at the same time do not wait for each other's locks
            order = pc.sort_indices(chunk, sort_keys=[(request.parent, "ascending")])
            sent = self._with_tries(request, chunk.take(order), memory, may_be_job=may_be_job)
            pairs = sorted(zip(order.to_pylist(), sent.results, strict=True), key=lambda pair: pair[0])
            answered = Answered([result for _, result in pairs], sent.error)
        if answered.error is not None:
            return answered
        return self._follow_converted(request, chunk, answered)

    def _with_tries(
        self, request: WriteRequest, chunk: pa.Table, memory: JobMemory | None, *, may_be_job: bool
    ) -> Answered:
        """Rows that were refused for a passing reason are sent again, after a pause, ROW_TRIES times in all."""
        results, error = self._write_once(request, chunk, memory, may_be_job=may_be_job)
        for attempt in range(1, ROW_TRIES):
            refused = [(index, result) for index, result in enumerate(results) if result and result.code]
            again = [index for index, result in refused if _is_passing(request, result)]
            if not again or error is not None:
                break
            self._session.sleep(ROW_WAIT_SECONDS * 2 ** (attempt - 1))
            part, error = self._write_once(request, chunk.take(pa.array(again)), memory, may_be_job=may_be_job)
            for index, result in zip(again, part, strict=True):
                results[index] = (
                    result if result is not None or isinstance(error, ServiceUnavailable) else results[index]
                )
        return Answered(results, error)

    def _write_once(
        self, request: WriteRequest, chunk: pa.Table, memory: JobMemory | None, *, may_be_job: bool
    ) -> Answered:
        if request.nodes:
            return self._graphs.write(request, chunk)
        # A job knows no header that would let duplicates pass, and chooses owners only by the id of a rule.
        if chunk.num_rows <= BULK_FROM_ROWS or request.allow_duplicates or request.assign or not may_be_job:
            return self._collections.write(request, chunk)
        literal = has_literal_null(chunk)
        if not any(literal):
            return Answered([*self._jobs.write(request, chunk, memory)])
        # Bulk would read the text "#N/A" as null: those rows go the other way.
        mask = pa.array(literal)
        bulk = iter(self._jobs.write(request, chunk.filter(pc.invert(mask)), memory))
        answered = self._collections.write(request, chunk.filter(mask))
        rest = iter(answered.results)
        return Answered([next(rest) if is_literal else next(bulk) for is_literal in literal], answered.error)

    # -- what an update by Id alone cannot do -------------------------------------------------------------------------------------

    def _update_by_key(
        self, request: WriteRequest, chunk: pa.Table, memory: JobMemory | None, *, may_be_job: bool
    ) -> Answered:
        """Updates records found by an external id and creates none; a key that no record has is refused as NOT_FOUND."""
        keys = chunk.column(request.key).to_pylist()
        ids = self._collections.look_up(request, keys)
        known = [index for index, found in enumerate(ids) if found]
        missing = WriteResult(Outcome.REJECTED, None, "NOT_FOUND", f"no {request.object} has this {request.key}")
        results: list[WriteResult | None] = [missing] * len(keys)
        if not known:
            return Answered(results)
        rows = chunk.take(pa.array(known, pa.int64())).drop_columns([request.key])
        rows = rows.append_column("Id", pa.array([ids[index] for index in known], pa.string()))
        answered = self.answer(replace(request, key="Id"), rows, memory, may_be_job=may_be_job)
        for index, result in zip(known, answered.results, strict=True):
            results[index] = result
        return Answered(results, answered.error)

    def _follow_converted(self, request: WriteRequest, chunk: pa.Table, answered: Answered) -> Answered:
        """Writes what a converted Lead refused to the Contact or Account that it became, where the request says how."""
        rule, results = request.converted, answered.results
        places = [index for index, result in enumerate(results) if result and result.code == CONVERTED] if rule else []
        if rule is None or not places:
            return answered
        rows = chunk.take(pa.array(places))
        keys = rows.column(request.key).to_pylist()
        targets = self._collections.look_up(request, keys, f"Converted{rule.object}Id")
        known = [place for place, target in enumerate(targets) if target]
        if not known:
            return answered
        columns = {
            theirs: rows.column(ours).take(pa.array(known, pa.int64()))
            for ours, theirs in rule.fields.items()
            if ours in rows.column_names
        }
        table = pa.table({"Id": pa.array([targets[place] for place in known], pa.string()), **columns})
        clears = frozenset(rule.fields[name] for name in request.clears if name in rule.fields)
        update = WriteRequest(rule.object, Operation.UPDATE, clears=clears)
        sent = self.answer(update, table)
        message = f"written to the {rule.object} that the Lead was converted into"
        for place, result in zip(known, sent.results, strict=True):
            if result is not None and result.outcome is Outcome.UPDATED:
                results[places[place]] = result._replace(code=FOLLOWED, message=message)
            else:
                results[places[place]] = result
        return Answered(results, sent.error)


def _rounds(request: WriteRequest, chunk: pa.Table) -> list[Sequence[int]]:
    """The places of the rows, those that are the same record in different rounds. Keys that differ in case may be one."""
    keys = chunk.column(request.key).cast(pa.string())
    if request.key == "Id":
        keys = pa.chunked_array([pa.array([whole_id(text) or text for text in keys.to_pylist()], pa.string())])
    keys = pc.utf8_lower(keys)
    if pc.count_distinct(keys).as_py() == chunk.num_rows:
        return [range(chunk.num_rows)]
    rounds: list[list[int]] = []
    met: Counter[str] = Counter()
    for place, key in enumerate(keys.to_pylist()):
        if met[key] == len(rounds):
            rounds.append([])
        rounds[met[key]].append(place)
        met[key] += 1
    return [*rounds]


def _is_passing(request: WriteRequest, result: WriteResult) -> bool:
    """Refused for a reason that is likely to be gone soon: a lock, or another run that was creating the same record."""
    if result.code == "DUPLICATE_VALUE":
        # Another transaction that is not committed yet has the key; Salesforce may not say which one it is.
        told = result.message or ""
        return request.operation is Operation.UPSERT and (request.key in told or "<unknown>" in told)
    return is_passing_row(result.code, result.message)
