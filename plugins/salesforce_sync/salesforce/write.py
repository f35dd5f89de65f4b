"""Writing: rows in, one result for each row out, in input order; by collections or a Bulk 2.0 job, whichever needs fewer calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from salesforce_sync.records import Outcome, WriteResult
from salesforce_sync.salesforce.collections import CollectionWriter
from salesforce_sync.salesforce.ingest import IngestWriter
from salesforce_sync.salesforce.jobs import JobMemory
from salesforce_sync.salesforce.rows import Operation, WriteRequest, chunks, has_literal_null
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.wire_errors import RETRYABLE_CODES

BULK_FROM_ROWS = 2_000  # above, a Bulk job needs fewer calls, and Salesforce advises it
ROW_TRIES = 3
ROW_WAIT_SECONDS = 2.0
CONVERTED = "CANNOT_UPDATE_CONVERTED_LEAD"
FOLLOWED = "CONVERTED_LEAD"  # the code of a result that was written to what the Lead was converted into


class Writer:
    def __init__(self, session: Session, memory: JobMemory | None = None, patience: float | None = None) -> None:
        self._session = session
        self._collections = CollectionWriter(session)
        self._jobs = IngestWriter(session, memory, patience)

    def write(self, request: WriteRequest, tables: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, list[WriteResult]]]:
        """Writes the rows and yields them back with their results, in order, in chunks of at most rows.JOB_ROWS.

        A refused row is a result, not an exception. An exception means that the outcome of its chunk is unknown, and that the caller may
        simply run again: every operation finds out what is done already. JobUnderWay is such an exception.
        """
        for chunk in chunks(tables):
            yield chunk, self._write_chunk(request, chunk)

    def _write_chunk(self, request: WriteRequest, chunk: pa.Table) -> list[WriteResult]:
        if request.operation is Operation.UPDATE and request.key != "Id":
            return self._update_by_key(request, chunk)
        if request.parent is None or chunk.num_rows < 2:
            results = self._with_tries(request, chunk)
        else:  # rows of one parent go together, so that calls at the same time do not wait for each other's locks
            order = pc.sort_indices(chunk, sort_keys=[(request.parent, "ascending")])
            sent = self._with_tries(request, chunk.take(order))
            results = [
                result for _, result in sorted(zip(order.to_pylist(), sent, strict=True), key=lambda pair: pair[0])
            ]
        return self._follow_converted(request, chunk, results)

    def _with_tries(self, request: WriteRequest, chunk: pa.Table) -> list[WriteResult]:
        """Rows that were refused for a passing reason are sent again, after a pause, ROW_TRIES times in all."""
        results = self._write_once(request, chunk)
        for attempt in range(1, ROW_TRIES):
            again = [index for index, result in enumerate(results) if _is_passing(request, result)]
            if not again:
                break
            self._session.sleep(ROW_WAIT_SECONDS * 2 ** (attempt - 1))
            for index, result in zip(again, self._write_once(request, chunk.take(pa.array(again))), strict=True):
                results[index] = result
        return results

    def _write_once(self, request: WriteRequest, chunk: pa.Table) -> list[WriteResult]:
        # A job knows no header that would let duplicates pass, and chooses owners only by the id of a rule.
        if chunk.num_rows <= BULK_FROM_ROWS or request.allow_duplicates or request.assign:
            return self._collections.write(request, chunk)
        literal = has_literal_null(chunk)
        if not any(literal):
            return self._jobs.write(request, chunk)
        # Bulk would read the text "#N/A" as null: those rows go the other way.
        mask = pa.array(literal)
        bulk = iter(self._jobs.write(request, chunk.filter(pc.invert(mask))))
        rest = iter(self._collections.write(request, chunk.filter(mask)))
        return [next(rest) if is_literal else next(bulk) for is_literal in literal]

    # -- what an update by Id alone cannot do -------------------------------------------------------------------------------------

    def _update_by_key(self, request: WriteRequest, chunk: pa.Table) -> list[WriteResult]:
        """Updates records found by an external id and creates none; a key that no record has is refused as NOT_FOUND."""
        keys = chunk.column(request.key).to_pylist()
        ids = self._collections.look_up(request, keys)
        known = [index for index, key in enumerate(keys) if str(key) in ids]
        rows = chunk.take(pa.array(known, pa.int64())).drop_columns([request.key])
        rows = rows.append_column("Id", pa.array([ids[str(keys[index])] for index in known], pa.string()))
        written = dict(zip(known, self._write_chunk(replace(request, key="Id"), rows) if known else [], strict=True))
        missing = WriteResult(Outcome.REJECTED, None, "NOT_FOUND", f"no {request.object} has this {request.key}")
        return [written.get(index, missing) for index in range(len(keys))]

    def _follow_converted(
        self, request: WriteRequest, chunk: pa.Table, results: list[WriteResult]
    ) -> list[WriteResult]:
        """Writes what a converted Lead refused to the Contact or Account that it became, where the request says how."""
        rule = request.converted
        places = [index for index, result in enumerate(results) if result.code == CONVERTED] if rule else []
        if rule is None or not places:
            return results
        rows = chunk.take(pa.array(places))
        became = self._collections.look_up(request, rows.column(request.key).to_pylist(), f"Converted{rule.object}Id")
        targets = [became.get(str(key)) for key in rows.column(request.key).to_pylist()]
        known = [place for place, target in enumerate(targets) if target]
        columns = {
            theirs: rows.column(ours).take(pa.array(known, pa.int64()))
            for ours, theirs in rule.fields.items()
            if ours in rows.column_names
        }
        table = pa.table({"Id": pa.array([targets[place] for place in known], pa.string()), **columns})
        clears = frozenset(rule.fields[name] for name in request.clears if name in rule.fields)
        update = WriteRequest(rule.object, Operation.UPDATE, clears=clears)
        for place, result in zip(known, self._with_tries(update, table) if known else [], strict=True):
            followed = result._replace(
                code=FOLLOWED, message=f"written to the {rule.object} that the Lead was converted into"
            )
            results[places[place]] = followed if result.outcome is Outcome.UPDATED else result
        return results


def _is_passing(request: WriteRequest, result: WriteResult) -> bool:
    """Refused for a reason that is likely to be gone soon: a lock, or another run that was creating the same record."""
    if result.code == "DUPLICATE_VALUE":
        return request.operation is Operation.UPSERT and request.key in (result.message or "")
    return result.code in RETRYABLE_CODES
