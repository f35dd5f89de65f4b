"""Writing: rows in, one result for each row out, in input order; by collections of 200 or a Bulk 2.0 job, whichever needs fewer calls.

A null in a column clears the field when the column is in `clears`, and leaves the field alone when it is not.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Any
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import urllib3

from salesforce_sync.errors import RequestRejected, ServiceUnavailable
from salesforce_sync.records import Outcome, WriteResult
from salesforce_sync.salesforce.jobs import wait_for_job
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.wire_errors import RETRYABLE_CODES

COLLECTION_ROWS = 200  # Salesforce's limit for one collections call
BULK_FROM_ROWS = 2_000  # above, a Bulk job needs fewer calls, and Salesforce advises it
JOB_ROWS = 100_000  # rows per Bulk job: their results are held in memory to be put in order
JOB_BYTES = 100 * 1024 * 1024  # Salesforce takes 150 MB counted as base64, which is a third longer
PARALLEL_CALLS = 4
ROW_TRIES = 3
FILE_TRIES = 3
ROW_WAIT_SECONDS = 2.0
BULK_NULL = "#N/A"


class Operation(StrEnum):
    UPSERT = "upsert"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True)
class WriteRequest:
    """What to do with the rows. `key` is the external id field of an upsert, `Id` otherwise; every row has it, no two rows share it.

    A column named `Parent__r.Key__c` refers to a parent by the parent's external id.
    """

    object: str
    operation: Operation
    key: str = "Id"
    clears: frozenset[str] = field(default_factory=frozenset)


class Writer:
    def __init__(self, session: Session) -> None:
        self._session = session

    def write(self, request: WriteRequest, tables: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, list[WriteResult]]]:
        """Writes the rows and yields them back with their results, in order, in chunks of at most JOB_ROWS.

        A refused row is a result, not an exception; an exception means that the outcome of its chunk is unknown, and since all three
        operations may be repeated without harm, the caller simply runs again.
        """
        for chunk in _chunks(tables):
            yield chunk, self._write_chunk(request, chunk)

    def _write_chunk(self, request: WriteRequest, chunk: pa.Table) -> list[WriteResult]:
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
        if chunk.num_rows <= BULK_FROM_ROWS:
            return self._by_collections(request, chunk)
        literal = _has_literal_null(chunk)
        if not any(literal):
            return self._by_job(request, chunk)
        # Bulk would read the text "#N/A" as null: those rows go the other way.
        mask = pa.array(literal)
        bulk = iter(self._by_job(request, chunk.filter(pc.invert(mask))))
        rest = iter(self._by_collections(request, chunk.filter(mask)))
        return [next(rest) if is_literal else next(bulk) for is_literal in literal]

    # -- collections --------------------------------------------------------------------------------------------------------------

    def _by_collections(self, request: WriteRequest, chunk: pa.Table) -> list[WriteResult]:
        records = _json_records(request, chunk)
        groups = [records[start : start + COLLECTION_ROWS] for start in range(0, len(records), COLLECTION_ROWS)]
        if len(groups) == 1:
            return self._collection(request, groups[0])
        with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
            return [result for results in pool.map(lambda group: self._collection(request, group), groups) for result in results]

    def _collection(self, request: WriteRequest, records: list[dict[str, Any]]) -> list[WriteResult]:
        what = f"{request.operation} of {len(records)} {request.object}"
        path = self._session.path("composite/sobjects")
        if request.operation is Operation.DELETE:
            ids = ",".join(record["Id"] for record in records)
            reply = self._session.request("DELETE", f"{path}?{urlencode({'ids': ids, 'allOrNone': 'false'}, safe=',')}", what=what)
        else:
            if request.operation is Operation.UPSERT:
                path += f"/{request.object}/{request.key}"
            reply = self._session.request("PATCH", path, what=what, json_body={"allOrNone": False, "records": records})
        answers: list[dict[str, Any]] = reply.json()
        if len(answers) != len(records):
            raise ServiceUnavailable(f"{what}: {len(answers)} results came.")
        return [_from_collection(request, answer) for answer in answers]

    # -- Bulk 2.0 -----------------------------------------------------------------------------------------------------------------

    def _by_job(self, request: WriteRequest, chunk: pa.Table) -> list[WriteResult]:
        what = f"bulk {request.operation} of {chunk.num_rows} {request.object}"
        with tempfile.TemporaryFile(prefix="salesforce-sync-") as upload:
            _write_csv(request, chunk, upload)
            try:
                job_path = self._submit(request, upload, what)
            except ServiceUnavailable:  # the job is aborted: nothing was written, and a new one may do better
                job_path = self._submit(request, upload, what)
        job = wait_for_job(self._session, job_path, what=what)
        keys = chunk.column(request.key).to_pylist()
        results = self._results(request, job_path, job, what)
        missing = [key for key in keys if key not in results]
        if missing:
            raise ServiceUnavailable(f"{what}: job {job['id']} gave no result for {len(missing)} rows, {missing[0]!r} among them.")
        return [results[key] for key in keys]

    def _submit(self, request: WriteRequest, upload: IO[bytes], what: str) -> str:
        description = {"object": request.object, "operation": str(request.operation), "contentType": "CSV", "lineEnding": "LF"}
        if request.operation is Operation.UPSERT:
            description["externalIdFieldName"] = request.key
        created = self._session.request("POST", self._session.path("jobs/ingest"), what=what, json_body=description).json()
        path = self._session.path(f"jobs/ingest/{created['id']}")
        self._advance("PUT", f"{path}/batches", path, what, body=upload, headers={"content-type": "text/csv"})
        self._advance("PATCH", path, path, what, json_body={"state": "UploadComplete"})
        return path

    def _advance(self, method: str, path: str, job_path: str, what: str, **content: Any) -> None:
        """Sends one step of a job that Salesforce does not take twice. When the answer gets lost, the job itself says what became of it."""
        try:
            self._session.request(method, path, what=what, repeatable=False, **content)
        except (ServiceUnavailable, RequestRejected):
            state = self._session.request("GET", job_path, what=what).json()["state"]
            if method == "PATCH" and state != "Open":
                return
            # An upload leaves the job Open whether it arrived or not; a job that is not run costs nothing, so it is dropped.
            self._session.request("PATCH", job_path, what=f"{what}: aborting", json_body={"state": "Aborted"})
            raise

    def _results(self, request: WriteRequest, path: str, job: dict[str, Any], what: str) -> dict[str, WriteResult]:
        """Results by key. A result file that nothing can be in is not fetched."""
        results: dict[str, WriteResult] = {}
        failed = job["numberRecordsFailed"]
        good = job["numberRecordsProcessed"] - failed
        if good:
            columns = [request.key, "sf__Id", "sf__Created"]
            for key, record_id, created in self._result_rows(f"{path}/successfulResults", columns, good, what):
                results[key] = WriteResult(_outcome(request, created == "true"), record_id)
        if failed:
            columns = [request.key, "sf__Id", "sf__Error"]
            for key, record_id, error in self._result_rows(f"{path}/failedResults", columns, failed, what):
                results[key] = WriteResult(Outcome.REJECTED, record_id or None, *split_error(error or ""))
        return results

    def _result_rows(self, path: str, columns: list[str], expected: int, what: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a result file, all of them: a file that breaks off, or has fewer rows than the job says, is read again."""
        for _ in range(FILE_TRIES):
            reply = self._session.stream(path, what=f"{what}: results")
            try:
                table = _read_results(reply, columns)
                if table.num_rows == expected:
                    break
                problem = f"the job has {expected} rows in it, {table.num_rows} came"
            except (urllib3.exceptions.HTTPError, pa.ArrowInvalid, OSError) as error:
                problem = f"it broke off ({type(error).__name__})"
            finally:
                reply.close()
        else:
            raise ServiceUnavailable(f"{what}: a file of results could not be read in {FILE_TRIES} tries: {problem}.")
        for batch in table.to_batches():
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def _read_results(stream: Any, columns: list[str]) -> pa.Table:
    return pa.csv.read_csv(
        pa.PythonFile(stream, mode="r"),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(include_columns=columns, column_types={name: pa.string() for name in columns}),
    )


def _outcome(request: WriteRequest, created: bool) -> Outcome:
    if request.operation is Operation.DELETE:
        return Outcome.DELETED
    return Outcome.CREATED if created else Outcome.UPDATED


def _is_passing(request: WriteRequest, result: WriteResult) -> bool:
    """Refused for a reason that is likely to be gone soon: a lock, or another run that was creating the same record."""
    if result.code == "DUPLICATE_VALUE":
        return request.operation is Operation.UPSERT and request.key in (result.message or "")
    return result.code in RETRYABLE_CODES


def split_error(text: str) -> tuple[str, str]:
    """(code, message) of a Bulk error, which is written `CODE:message:fields --`."""
    match = re.fullmatch(r"([A-Z][A-Z0-9_]{2,79}):(.*)", text, re.DOTALL)
    if match is None:
        return "UNKNOWN", text
    return match[1], match[2].removesuffix(" --").rstrip(":")


def _from_collection(request: WriteRequest, answer: dict[str, Any]) -> WriteResult:
    if answer["success"]:
        return WriteResult(_outcome(request, bool(answer.get("created"))), answer["id"])
    error = answer["errors"][0]
    return WriteResult(Outcome.REJECTED, answer.get("id"), error["statusCode"], error["message"])


def _chunks(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows again, in tables of JOB_ROWS (or as many as fit JOB_BYTES): every job should be as full as it may be."""
    pending: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        for start in range(0, table.num_rows, JOB_ROWS):
            part = table.slice(start, JOB_ROWS)
            if rows + part.num_rows > JOB_ROWS or size + part.nbytes > JOB_BYTES:
                if pending:
                    yield pa.concat_tables(pending)
                pending, rows, size = [], 0, 0
            pending.append(part)
            rows, size = rows + part.num_rows, size + part.nbytes
    if rows:
        yield pa.concat_tables(pending)


def regrouped(tables: Iterable[pa.Table], rows: int = JOB_ROWS) -> Iterator[pa.Table]:
    """The rows again in tables of at least `rows` where there are that many: fewer, fuller writes cost fewer API calls."""
    pending: list[pa.Table] = []
    waiting = 0
    for table in tables:
        pending.append(table)
        waiting += table.num_rows
        if waiting >= rows:
            yield pa.concat_tables(pending)
            pending, waiting = [], 0
    if pending:
        yield pa.concat_tables(pending)


def _has_literal_null(chunk: pa.Table) -> list[bool]:
    mask = pa.array([False] * chunk.num_rows)
    for column in chunk.columns:
        if pa.types.is_string(column.type):
            mask = pc.or_(mask, pc.fill_null(pc.equal(column, BULK_NULL), False))
    return list(mask.to_pylist())


def _json_records(request: WriteRequest, chunk: pa.Table) -> list[dict[str, Any]]:
    texts = pa.table({name: _json_column(chunk.column(name)) for name in chunk.column_names})
    return [_json_record(request, row) for row in texts.to_pylist()]


def _json_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return _text_column(column) if pa.types.is_temporal(column.type) else column


def _json_record(request: WriteRequest, row: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {"attributes": {"type": request.object}}
    for name, value in row.items():
        parent, _, key = name.partition(".")
        if value is None and name not in request.clears:
            continue
        if not key:
            record[name] = value
        elif value is None:
            record[parent] = None
        else:
            record[parent] = {key: value}
    return record


def _text_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column.cast(pa.timestamp("ms", tz="UTC")), format="%Y-%m-%dT%H:%M:%SZ")
    return column.cast(pa.string())


def _write_csv(request: WriteRequest, chunk: pa.Table, target: IO[bytes]) -> None:
    columns = {name: pc.fill_null(_text_column(chunk.column(name)), BULK_NULL if name in request.clears else "") for name in chunk.column_names}
    options = pa.csv.WriteOptions(include_header=True, quoting_style="all_valid", batch_size=10_000)
    pa.csv.write_csv(pa.table(columns), pa.PythonFile(target, mode="w"), options)
    target.flush()
