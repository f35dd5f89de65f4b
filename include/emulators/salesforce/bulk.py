"""Bulk API 2.0 jobs: their state machine, their CSV, and the threads that run them. No HTTP here."""

from __future__ import annotations

import csv
import io
import threading
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulators.salesforce.dml import RowResult, WriteOptions
from emulators.salesforce.errors import ApiError
from emulators.salesforce.org import Org
from emulators.salesforce.schema import Field, SObject
from emulators.salesforce.soql.compiler import Compiled
from emulators.salesforce.soql.results import csv_header, csv_rows
from emulators.salesforce.store import timestamp

CHUNK_ROWS = 10_000  # an org cuts an upload into internal batches of this many rows
DELIMITERS = {"COMMA": ",", "TAB": "\t", "PIPE": "|", "SEMICOLON": ";", "CARET": "^", "BACKQUOTE": "`"}
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
MAX_RESULT_BYTES = 40 * 1024 * 1024  # of a result set; an org publishes no figure
MAX_UPLOAD_BYTES = 150 * 1024 * 1024
csv.field_size_limit(131_072)

_workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="bulk")


@dataclass
class Job:
    """What both kinds of job share. `state` moves as in an org; `created` and `modified` are stored date-times."""

    id: str
    sobject: SObject
    operation: str
    version: str
    user_id: str
    created: str
    state: str
    line_ending: str = "LF"
    delimiter: str = "COMMA"
    modified: str = ""
    error: str = ""
    processed: int = 0
    failed: int = 0
    milliseconds: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def format(self) -> tuple[str, str]:
        """(delimiter, line ending) of its CSV."""
        return DELIMITERS[self.delimiter], LINE_ENDINGS[self.line_ending]

    def info(self) -> dict[str, Any]:
        return {
            "id": self.id, "operation": self.operation, "object": self.sobject.name, "createdById": self.user_id,
            "createdDate": self.created.replace("Z", "+0000"), "systemModstamp": (self.modified or self.created).replace("Z", "+0000"),
            "state": self.state, "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": float(self.version),
            "lineEnding": self.line_ending, "columnDelimiter": self.delimiter,
        }  # fmt: skip


@dataclass
class IngestJob(Job):
    external_id: Field | None = None
    assigns: bool = False  # a job assigns owners only by the id of a rule
    upload: bytes | None = None
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    results: list[RowResult] = field(default_factory=list)

    def info(self) -> dict[str, Any]:
        answer = super().info() | {
            "jobType": "V2Ingest", "contentUrl": f"services/data/v{self.version}/jobs/ingest/{self.id}/batches",
        }  # fmt: skip
        if self.external_id:
            answer["externalIdFieldName"] = self.external_id.name
        if self.state not in ("Open", "UploadComplete"):
            answer |= {
                "numberRecordsProcessed": self.processed, "numberRecordsFailed": self.failed, "retries": 0,
                "totalProcessingTime": self.milliseconds, "apiActiveProcessingTime": self.milliseconds, "apexProcessingTime": 0,
            }  # fmt: skip
        return answer | ({"errorMessage": self.error} if self.error else {})


@dataclass
class QueryJob(Job):
    compiled: Compiled | None = None
    file: Path | None = None
    offsets: array[int] = field(default_factory=lambda: array("Q"))  # where each block of rows begins
    blocks: array[int] = field(default_factory=lambda: array("Q"))  # the number of its first row

    def info(self) -> dict[str, Any]:
        answer = super().info() | {"jobType": "V2Query"}
        if self.state == "JobComplete":
            answer |= {
                "numberRecordsProcessed": self.processed,
                "retries": 0,
                "totalProcessingTime": self.milliseconds,
                "isPkChunkingSupported": True,
            }
        return answer | ({"errorMessage": self.error} if self.error else {})


def run_later(org: Org, job: Job) -> None:
    """Queues the job, as an org does; a `slow-job` fault keeps it in the queue for its seconds."""
    _workers.submit(_run, org, job)


def _run(org: Org, job: Job) -> None:
    fault = org.faults.take("slow-job", "stuck-job", "fail-job", path=job.sobject.name)
    if fault is not None and fault.kind == "slow-job":
        time.sleep(fault.seconds)
    with job.lock:
        if job.state != "UploadComplete":
            return
        job.state = "InProgress"
    if fault is not None and fault.kind == "stuck-job":
        return
    started = time.monotonic()
    try:
        if fault is not None and fault.kind == "fail-job":
            raise ApiError(fault.code or "InternalServerError", fault.message or "The job failed")
        if isinstance(job, IngestJob):
            _ingest(org, job)
        elif isinstance(job, QueryJob):
            _query(org, job)
        final = "JobComplete"
    except ApiError as error:
        job.error, final = f"{error.code} : {error.message}", "Failed"
    except UnicodeDecodeError:
        job.error, final = "ClientInputError : The file is not valid UTF-8", "Failed"
    except Exception as error:  # noqa: BLE001 - an emulator's own defect must show as a failed job, not as one that never ends
        job.error, final = f"InternalServerError : {type(error).__name__}: {error}", "Failed"
    with job.lock:
        if job.state == "InProgress":
            job.milliseconds = int((time.monotonic() - started) * 1000)
            job.state, job.modified = final, timestamp(org.clock.now())


# -- ingest -----------------------------------------------------------------------------------------------------------------------


def _ingest(org: Org, job: IngestJob) -> None:
    job.columns, job.rows = _parse(job)
    _check_columns(job)
    job.upload = None
    for start in range(0, len(job.rows), CHUNK_ROWS):
        chunk = [dict(zip(job.columns, row, strict=True)) for row in job.rows[start : start + CHUNK_ROWS]]
        with org.store.writing():
            if job.state == "Aborted" or job.id not in org.jobs:  # the org may have been reset meanwhile
                return
            results = _write(org, job, chunk)
        job.results += results
        job.processed += len(results)
        job.failed += sum(1 for result in results if result.error)


def _write(org: Org, job: IngestJob, chunk: list[dict[str, str]]) -> list[RowResult]:
    options = WriteOptions(auto_assign=job.assigns)
    if job.operation == "insert":
        return org.dml.insert(job.sobject, chunk, from_csv=True, options=options)
    if job.operation == "update":
        return org.dml.update(job.sobject, chunk, from_csv=True, options=options)
    if job.operation == "upsert":
        assert job.external_id is not None
        return org.dml.upsert(job.sobject, chunk, job.external_id, from_csv=True, options=options)
    name = next(column for column in job.columns if column.lower() == "id")
    return org.dml.delete(job.sobject, [row[name] for row in chunk], hard=job.operation == "hardDelete")


def _parse(job: IngestJob) -> tuple[list[str], list[list[str]]]:
    raw = job.upload or b""
    if raw.startswith(b"\xef\xbb\xbf"):
        raw = raw[3:]
    text = raw.decode("utf-8")
    first_line = text.split("\n", 1)[0]
    if job.line_ending == "LF" and first_line.endswith("\r"):
        raise ApiError("ClientInputError", "LineEnding is invalid on user data. Current LineEnding setting is LF")
    if job.line_ending == "CRLF" and "\n" in text and not first_line.endswith("\r"):
        raise ApiError("ClientInputError", "LineEnding is invalid on user data. Current LineEnding setting is CRLF")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=DELIMITERS[job.delimiter], strict=True)
    try:
        columns = next(lines, [])
        rows = [row for row in lines if row]
    except csv.Error as error:
        raise ApiError("ClientInputError", f"Error parsing CSV: {error}") from error
    wrong = next((row for row in rows if len(row) != len(columns)), None)
    if wrong is not None:
        raise ApiError(
            "InvalidBatch",
            f"The '{job.operation}' batch must contain the same number of fields in each row as in its header",
        )
    return columns, rows


def _check_columns(job: IngestJob) -> None:
    lower = {column.lower() for column in job.columns}
    if not job.columns:
        raise ApiError("ClientInputError", "The file has no header")
    if len(lower) < len(job.columns):
        raise ApiError("InvalidBatch", "Duplicate field in the header")
    if job.operation in ("update", "delete", "hardDelete") and "id" not in lower:
        raise ApiError("InvalidBatch", f"The '{job.operation}' batch must contain an 'Id' field")
    if job.operation in ("delete", "hardDelete") and lower != {"id"}:
        raise ApiError("InvalidBatch", "The 'delete' batch must contain only ids")
    if job.external_id is not None and job.external_id.name.lower() not in lower:
        raise ApiError("InvalidBatch", f"Field name not found : {job.external_id.name}")
    for column in job.columns:
        relationship, _, rest = column.partition(".")
        if job.sobject.find(column) is None and not (
            rest and job.sobject.find_relationship(relationship.rpartition(":")[2])
        ):
            raise ApiError("InvalidBatch", f"Field name not found : {column}")


def result_csv(job: IngestJob, which: str) -> Iterator[str]:
    """The lines of successfulResults, failedResults or unprocessedrecords."""
    delimiter, ending = job.format
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    own = {"successfulResults": ["sf__Id", "sf__Created"], "failedResults": ["sf__Id", "sf__Error"]}.get(which, [])
    writer.writerow([*own, *job.columns])
    if which == "unprocessedrecords":
        writer.writerows(job.rows[len(job.results) :])
    elif which == "successfulResults":
        done = zip(job.results, job.rows, strict=False)
        writer.writerows(
            [[result.id, str(result.created).lower(), *row] for result, row in done if result.error is None]
        )
    else:
        done = zip(job.results, job.rows, strict=False)
        writer.writerows([[result.id or "", result.error.as_bulk(), *row] for result, row in done if result.error])
    yield text.getvalue()


def result_count(job: IngestJob, which: str) -> int:
    """How many rows that result has."""
    return {"successfulResults": job.processed - job.failed, "failedResults": job.failed}.get(
        which, len(job.rows) - len(job.results)
    )


# -- query ------------------------------------------------------------------------------------------------------------------------


def _query(org: Org, job: QueryJob) -> None:
    assert job.compiled is not None
    job.file = org.result_file(job.id)
    with job.file.open("wb") as file:
        for text, count in csv_rows(org.store, job.compiled, *job.format):
            job.offsets.append(file.tell())
            job.blocks.append(job.processed)
            file.write(text.encode())
            job.processed += count


def rows_of_set(job: QueryJob, most: int) -> int:
    """How many rows a result set has: an org cuts sets by their size, too, whatever number was asked for."""
    if job.file is None or not job.processed:
        return most
    row_bytes = max(1, job.file.stat().st_size // job.processed)
    return max(1, min(most, MAX_RESULT_BYTES // row_bytes))


def result_page(job: QueryJob, start: int, most: int) -> tuple[bytes, int]:
    """(CSV with header, number of rows) of the rows from `start` on."""
    assert job.compiled is not None
    count = max(0, min(rows_of_set(job, most), job.processed - start))
    header = csv_header(job.compiled, *job.format).encode()
    if count == 0:
        return header, 0
    return header + _rows_between(job, start, start + count), count


def _rows_between(job: QueryJob, start: int, end: int) -> bytes:
    """The rows' bytes. Blocks begin at known places; only where a page cuts a block are its rows counted one by one."""
    assert job.file is not None
    first = max(index for index, row in enumerate(job.blocks) if row <= start)
    last = next((index for index, row in enumerate(job.blocks) if row >= end), len(job.blocks))
    end_row = job.blocks[last] if last < len(job.blocks) else job.processed
    with job.file.open("rb") as file:
        file.seek(job.offsets[first])
        raw = file.read((job.offsets[last] - job.offsets[first]) if last < len(job.offsets) else -1)
    if job.blocks[first] == start and end_row == end:
        return raw
    text = io.StringIO()
    delimiter, ending = job.format
    rows = list(csv.reader(io.StringIO(raw.decode(), newline=""), delimiter=delimiter))
    csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL).writerows(
        rows[start - job.blocks[first] : end - job.blocks[first]]
    )
    return text.getvalue().encode()


def check_bulk_query(compiled: Compiled) -> None:
    """What Bulk API 2.0 does not take, refused as an org refuses it."""
    if compiled.not_in_bulk:
        raise ApiError("INVALIDENTITY", compiled.not_in_bulk)
