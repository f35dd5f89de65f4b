"""Bulk API 1.0 jobs and batches: what they hold, how they run, and how their results look in CSV, XML and JSON. No HTTP here."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from emulators.salesforce.dml import NULL_IN_CSV, RowResult, WriteOptions
from emulators.salesforce.errors import ApiError
from emulators.salesforce.org import Org
from emulators.salesforce.schema import Field, SObject
from emulators.salesforce.soql.compiler import AGGREGATES_IN_BULK, Compiled
from emulators.salesforce.soql.parser import parse
from emulators.salesforce.soql.results import csv_header, csv_rows, shaper
from emulators.salesforce.store import timestamp

NAMESPACE = "http://www.force.com/2009/06/asyncapi/dataload"
_XSI_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
INGEST, QUERIES = ("insert", "update", "upsert", "delete", "hardDelete"), ("query", "queryAll")
CONTENT_TYPES = ("CSV", "XML", "JSON")
MAX_BATCH_ROWS, MAX_BATCH_BYTES = 10_000, 10_000_000
DEFAULT_CHUNK_ROWS = 100_000
_workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="bulk1")


@dataclass
class Batch:
    """One batch. Of an ingest batch `results` says what became of each row; of a query batch `files` holds the results by their ids."""

    id: str
    job: BulkJob
    request: bytes
    created: str
    state: str = "Queued"
    message: str = ""
    processed: int = 0
    failed: int = 0
    milliseconds: int = 0
    results: list[RowResult] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)

    def info(self) -> dict[str, Any]:
        answer: dict[str, Any] = {"id": self.id, "jobId": self.job.id, "state": self.state}
        if self.message:
            answer["stateMessage"] = self.message
        return answer | {
            "createdDate": self.created, "systemModstamp": self.created, "numberRecordsProcessed": self.processed,
            "numberRecordsFailed": self.failed, "totalProcessingTime": self.milliseconds, "apiActiveProcessingTime": self.milliseconds,
            "apexProcessingTime": 0,
        }  # fmt: skip


@dataclass
class BulkJob:
    id: str
    operation: str
    sobject: SObject
    content_type: str
    version: str
    user_id: str
    created: str
    external_id: Field | None = None
    concurrency: str = "Parallel"
    chunk_rows: int | None = None  # with PK chunking
    state: str = "Open"
    batches: dict[str, Batch] = field(default_factory=dict)

    def info(self) -> dict[str, Any]:
        batches = list(self.batches.values())
        states = [batch.state for batch in batches]
        answer: dict[str, Any] = {
            "id": self.id, "operation": self.operation, "object": self.sobject.name, "createdById": self.user_id, "createdDate": self.created,
            "systemModstamp": self.created, "state": self.state,
        }  # fmt: skip
        if self.external_id:
            answer["externalIdFieldName"] = self.external_id.name
        milliseconds = sum(batch.milliseconds for batch in batches)
        return answer | {
            "concurrencyMode": self.concurrency, "contentType": self.content_type, "numberBatchesQueued": states.count("Queued"),
            "numberBatchesInProgress": states.count("InProgress"), "numberBatchesCompleted": states.count("Completed"),
            "numberBatchesFailed": states.count("Failed"), "numberBatchesTotal": len(states),
            "numberRecordsProcessed": sum(batch.processed for batch in batches), "numberRetries": 0,
            "apiVersion": float(self.version), "numberRecordsFailed": sum(batch.failed for batch in batches),
            "totalProcessingTime": milliseconds, "apiActiveProcessingTime": milliseconds, "apexProcessingTime": 0,
        }  # fmt: skip


def new_job(org: Org, spec: dict[str, str], version: str, chunk_rows: int | None) -> BulkJob:
    """A job by its description; ApiError with an exceptionCode of Bulk API 1.0."""
    operation, name = spec.get("operation", ""), spec.get("object", "")
    if operation not in (*INGEST, *QUERIES):
        raise ApiError("InvalidJob", f"Invalid operation: {operation}")
    sobject = org.schema.find(name)
    if sobject is None:
        raise ApiError("InvalidJob", f"Unable to find object: {name}")
    content_type = spec.get("contentType") or "XML"
    if content_type not in CONTENT_TYPES:
        raise ApiError("InvalidJob", f"The content type {content_type} is not one of {', '.join(CONTENT_TYPES)}")
    key = spec.get("externalIdFieldName", "")
    item = sobject.find(key) if key else None
    if operation == "upsert" and not key:
        raise ApiError(
            "InvalidJob", f"External ID was blank for {sobject.name}. An External ID must be specified for upsert."
        )
    if operation == "upsert" and (item is None or not item.is_lookup):
        raise ApiError("InvalidJob", f"Field name provided, {key} does not match an External ID for {sobject.name}")
    return BulkJob(
        org.new_id("750"), operation, sobject, content_type, version, org.user_id, timestamp(org.clock.now()), item,
        spec.get("concurrencyMode") or "Parallel", chunk_rows if operation in QUERIES else None,
    )  # fmt: skip


def add_batch(org: Org, job: BulkJob, body: bytes) -> Batch:
    """Queues a batch; ApiError when the job takes none."""
    if job.state != "Open":
        raise ApiError("InvalidJobState", f"Unable to add batch to job when job's state is: {job.state}")
    if len(body) > MAX_BATCH_BYTES:
        raise ApiError("ExceededQuota", f"Batch size of {len(body)} bytes exceeds the limit of {MAX_BATCH_BYTES}")
    batch = Batch(org.new_id("751"), job, body, timestamp(org.clock.now()))
    job.batches[batch.id] = batch
    return batch


def run_later(org: Org, batch: Batch) -> None:
    _workers.submit(_run, org, batch)


def _run(org: Org, batch: Batch) -> None:
    if batch.job.state == "Aborted":
        batch.state = "NotProcessed"
        return
    fault = org.faults.take("slow-job", "fail-job", path=batch.job.sobject.name)
    if fault is not None and fault.kind == "slow-job":
        time.sleep(fault.seconds)
    batch.state, started = "InProgress", time.monotonic()
    try:
        if fault is not None and fault.kind == "fail-job":
            raise ApiError(fault.code or "InternalServerError", fault.message or "The batch failed")
        final = _query(org, batch) if batch.job.operation in QUERIES else _ingest(org, batch)
    except ApiError as error:
        batch.message, final = f"{error.code} : {error.message}", "Failed"
    except Exception as error:  # noqa: BLE001 - an emulator's own defect must show as a failed batch, not as one that never ends
        batch.message, final = f"InternalServerError : {type(error).__name__}: {error}", "Failed"
    batch.milliseconds = int((time.monotonic() - started) * 1000)
    batch.state = final


# -- ingest -----------------------------------------------------------------------------------------------------------------------


def _ingest(org: Org, batch: Batch) -> str:
    job = batch.job
    from_text = job.content_type != "JSON"
    if job.id not in org.bulk1_jobs:
        return "NotProcessed"  # the org was reset meanwhile
    rows = {"CSV": _csv_rows, "XML": _xml_rows, "JSON": _json_rows}[job.content_type](batch.request)
    if len(rows) > MAX_BATCH_ROWS:
        raise ApiError("InvalidBatch", f"Batch has {len(rows)} records; the limit is {MAX_BATCH_ROWS}")
    for name in dict.fromkeys(name for row in rows for name in row):
        if not _is_known(job.sobject, name):
            raise ApiError("InvalidBatch", f"Field name not found : {name}")
    options = WriteOptions(auto_assign=False)
    if job.operation == "insert":
        batch.results = org.dml.insert(job.sobject, rows, from_csv=from_text, options=options)
    elif job.operation == "update":
        batch.results = org.dml.update(job.sobject, rows, from_csv=from_text, options=options)
    elif job.operation == "upsert":
        assert job.external_id is not None
        batch.results = org.dml.upsert(job.sobject, rows, job.external_id, from_csv=from_text, options=options)
    else:
        if any(name.lower() not in ("id", "attributes") for row in rows for name in row):
            raise ApiError("InvalidBatch", "The 'delete' batch must contain only ids")
        ids = [next((str(value) for name, value in row.items() if name.lower() == "id"), "") for row in rows]
        batch.results = org.dml.delete(job.sobject, ids, hard=job.operation == "hardDelete")
    batch.processed = len(batch.results)
    batch.failed = sum(result.error is not None for result in batch.results)
    return "Completed"


def _is_known(sobject: SObject, name: str) -> bool:
    return (
        name == "attributes"
        or sobject.find(name) is not None
        or sobject.find_relationship(name.partition(".")[0].rpartition(":")[2]) is not None
    )


def _csv_rows(body: bytes) -> list[dict[str, Any]]:
    try:
        text = body.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ApiError("InvalidBatch", f"Failed to parse CSV: {error}") from error
    if not lines:
        raise ApiError("InvalidBatch", "Failed to parse CSV header")
    header, rows = lines[0], lines[1:]
    if any(len(row) != len(header) for row in rows):
        raise ApiError("InvalidBatch", "Failed to parse CSV: a row has another number of fields than the header")
    return [dict(zip(header, row, strict=True)) for row in rows]


def _json_rows(body: bytes) -> list[dict[str, Any]]:
    try:
        rows = json.loads(body)
    except ValueError as error:
        raise ApiError("InvalidBatch", f"Failed to parse JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ApiError("InvalidBatch", "The batch must be a list of objects")
    return rows


def _xml_rows(body: bytes) -> list[dict[str, Any]]:
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ApiError("InvalidBatch", f"Failed to parse XML: {error}") from error
    return [dict(_xml_values(node)) for node in root]


def _xml_values(node: ElementTree.Element) -> Iterator[tuple[str, str]]:
    for child in node:
        name = str(child.tag).rpartition("}")[2]
        nested = next(iter(child), None)
        if nested is not None:  # a parent, by external id: <Owner><sObject><Username>...
            yield from ((f"{name}.{key}", value) for key, value in _xml_values(nested))
        elif name != "type":
            yield name, NULL_IN_CSV if child.get(_XSI_NIL) == "true" else (child.text or "")


def result_csv(batch: Batch) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["Id", "Success", "Created", "Error"])
    for result in batch.results:
        ok = result.error is None
        writer.writerow(
            [
                result.id or "",
                str(ok).lower(),
                str(result.created).lower(),
                "" if result.error is None else result.error.as_bulk(),
            ]
        )
    return text.getvalue()


def result_json(batch: Batch) -> list[dict[str, Any]]:
    return [
        {
            "success": result.error is None, "created": result.created, "id": result.id,
            "errors": [] if result.error is None else [{**result.error.as_row(), "extendedErrorDetails": None}],
        }
        for result in batch.results
    ]  # fmt: skip


def result_xml(batch: Batch) -> str:
    rows = []
    for result in batch.results:
        error = result.error
        fields = "" if error is None else "".join(f"<fields>{escape(name)}</fields>" for name in error.fields or [])
        failure = (
            ""
            if error is None
            else f"<errors>{fields}<message>{escape(error.message)}</message><statusCode>{error.code}</statusCode></errors>"
        )
        identity = f"<id>{result.id}</id>" if result.id else ""
        rows.append(
            f"<result>{failure}{identity}<success>{str(error is None).lower()}</success><created>{str(result.created).lower()}</created></result>"
        )
    return f'<?xml version="1.0" encoding="UTF-8"?><results xmlns="{NAMESPACE}">{"".join(rows)}</results>'


# -- query ------------------------------------------------------------------------------------------------------------------------


def _query(org: Org, batch: Batch) -> str:
    """Runs the batch's statement; with PK chunking it stands for batches of its own, one for each chunk."""
    job, text = batch.job, batch.request.decode("utf-8", errors="replace").strip()
    try:
        compiled = org.compiler.compile(parse(text), text, include_deleted=job.operation == "queryAll")
    except ApiError as error:
        raise ApiError("InvalidBatch", f"Failed to process query: {error.code}: {error.message}") from error
    if compiled.sobject is not job.sobject:
        raise ApiError(
            "InvalidBatch",
            f"Failed to process query: INVALID_TYPE_FOR_OPERATION: The root entity of the requested query ({compiled.sobject.name}) does not match "
            f"the entity of the requested Bulk API Job ({job.sobject.name}).",
        )
    if compiled.not_in_bulk == AGGREGATES_IN_BULK:
        raise ApiError("FeatureNotEnabled", f"{AGGREGATES_IN_BULK} with {job.content_type} content type")
    if compiled.not_in_bulk:
        raise ApiError("InvalidBatch", f"Failed to process query: FUNCTIONALITY_NOT_ENABLED: {compiled.not_in_bulk}")
    if job.chunk_rows is None:
        _write_result(org, batch, compiled, 0, None)
        return "Completed"
    total = len(org.store.reader.execute(compiled.id_sql, compiled.parameters).fetchall())
    for start in range(0, max(total, 1), job.chunk_rows):
        part = Batch(org.new_id("751"), job, batch.request, batch.created, state="InProgress")
        _write_result(org, part, compiled, start, start + job.chunk_rows)
        part.state = "Completed"
        job.batches[part.id] = part
    return "NotProcessed"


def _write_result(org: Org, batch: Batch, compiled: Compiled, start: int, end: int | None) -> None:
    result_id = org.new_id("752")
    path = org.result_file(result_id)
    kind = batch.job.content_type
    with path.open("w", encoding="utf-8", newline="") as file:
        if kind == "CSV" and end is None:
            file.write(csv_header(compiled))
            for text, count in csv_rows(org.store, compiled):
                file.write(text)
                batch.processed += count
        else:
            records = list(_records(org, compiled, batch.job.version))[start:end]
            batch.processed = len(records)
            file.write(_records_text(kind, compiled, records))
    if kind == "CSV" and batch.processed == 0:
        path.write_text("Records not found for this query")
    batch.files[result_id] = path


def _records(org: Org, compiled: Compiled, version: str) -> Iterator[dict[str, Any]]:
    shape = shaper(compiled, version, org.schema)
    for row in org.store.reader.execute(compiled.sql, compiled.parameters):
        yield shape(row)


def _records_text(kind: str, compiled: Compiled, records: list[dict[str, Any]]) -> str:
    if kind == "JSON":
        return json.dumps([_with_epoch_times(record, compiled) for record in records])
    if kind == "XML":
        rows = "".join(_record_xml("records", record) for record in records)
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><queryResult xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            f"{rows}</queryResult>"
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for record in records:
        writer.writerow([_csv_cell(_at(record, column.path)) for column in compiled.columns])
    return csv_header(compiled) + text.getvalue()


def _at(record: dict[str, Any] | None, path: tuple[str, ...]) -> Any:
    for name in path:
        record = None if record is None else record.get(name)
    return record


def _csv_cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return (
        ""
        if value is None
        else str(value).replace("+0000", "Z")
        if isinstance(value, str) and value.endswith(".000+0000")
        else str(value)
    )


def _with_epoch_times(record: dict[str, Any], compiled: Compiled) -> dict[str, Any]:
    """JSON results of Bulk API 1.0 give date-times as milliseconds since 1970."""
    for column in compiled.columns:
        node = _at(record, column.path[:-1])
        if column.type == "datetime" and node is not None and node[column.path[-1]] is not None:
            node[column.path[-1]] = int(datetime.fromisoformat(node[column.path[-1]]).timestamp() * 1000)
    return record


def _record_xml(name: str, record: dict[str, Any]) -> str:
    kind = record["attributes"]["type"]
    parts = [f'<{name} xsi:type="sObject"><type>{kind}</type>']
    for key, value in record.items():
        if key == "attributes":
            continue
        if isinstance(value, dict):
            parts.append(_record_xml(key, value))
        elif value is None:
            parts.append(f'<{key} xsi:nil="true"/>')
        else:
            parts.append(
                f"<{key}>{escape(str(value).lower() if isinstance(value, bool) else str(value).replace('+0000', 'Z'))}</{key}>"
            )
    return "".join([*parts, f"</{name}>"])
