"""Bulk API 2.0 over HTTP: /jobs/ingest and /jobs/query."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from emulators.salesforce.bulk import (
    DELIMITERS,
    LINE_ENDINGS,
    MAX_UPLOAD_BYTES,
    OPERATIONS,
    IngestJob,
    Job,
    QueryJob,
    check_bulk_query,
    result_count,
    result_csv,
    result_page,
    rows_of_set,
    run_later,
)
from emulators.salesforce.errors import ApiError, not_found
from emulators.salesforce.org import Org
from emulators.salesforce.routes.body import count, flag, json_object, multipart
from emulators.salesforce.soql.parser import parse
from emulators.salesforce.store import timestamp
from emulators.wire import Call, Reply, Route

JobKind = TypeVar("JobKind", bound=Job)

DEFAULT_RESULT_ROWS = 50_000  # without maxRecords the org chooses
LISTED_JOBS = 1_000
MAX_RESULT_ROWS, MAX_RESULT_PAGES = 250_000, 5


def create_ingest(org: Org, call: Call, version: str) -> Reply:
    body, inline = _job_and_content(call)
    operation = str(body.get("operation", ""))
    if operation not in OPERATIONS:
        raise ApiError("INVALIDJOB", f"Operation '{operation}' is not one of {', '.join(OPERATIONS)}")
    sobject = org.schema.find(str(body.get("object", "")))
    if sobject is None:
        raise ApiError("INVALIDJOB", f"InvalidJob : Unable to find object: {body.get('object')}")
    key = str(body.get("externalIdFieldName", ""))
    item = sobject.find(key) if operation == "upsert" else None
    if operation == "upsert" and not key:
        raise ApiError(
            "INVALIDJOB",
            f"InvalidJob : External ID was blank for {sobject.name}. An External ID must be specified for upsert.",
        )
    if operation == "upsert" and (item is None or not item.is_lookup):
        raise ApiError(
            "INVALIDJOB",
            f"InvalidJob : Field name provided, {key} does not match an External ID, Salesforce Id, or indexed field for {sobject.name}",
        )
    job = IngestJob(
        org.new_id("750"), sobject, operation, version, org.user_id, timestamp(org.clock.now()), "Open",
        line_ending=_choice(body, "lineEnding", "LF", LINE_ENDINGS), delimiter=_choice(body, "columnDelimiter", "COMMA", DELIMITERS),
        external_id=item, assigns=bool(body.get("assignmentRuleId")),
    )  # fmt: skip
    org.jobs[job.id] = job
    if inline is not None:
        job.upload, job.state = inline, "UploadComplete"
    answer = Reply(job.info())
    if inline is not None:
        run_later(org, job)
    return answer


def _job_and_content(call: Call) -> tuple[dict[str, Any], bytes | None]:
    """The job's description, and its rows when they come with it."""
    parts = multipart(call)
    if parts is None:
        return json_object(call), None
    try:
        job, content = json.loads(parts["job"]), parts["content"]
    except (KeyError, ValueError) as error:
        raise ApiError(
            "InvalidMultiPartMessage", "The multipart message needs the parts 'job' and 'content'"
        ) from error
    if not isinstance(job, dict):
        raise ApiError("InvalidMultiPartMessage", "The part 'job' must be an object")
    return job, content


def _choice(body: dict[str, Any], key: str, default: str, allowed: dict[str, str]) -> str:
    value = str(body.get(key, default)).upper()
    if value not in allowed:
        raise ApiError("INVALIDJOB", f"{key} must be one of {', '.join(allowed)}")
    return value


def upload(org: Org, call: Call, version: str, job_id: str) -> Reply:
    job = _job(org, job_id, IngestJob)
    if job.state != "Open" or job.upload is not None:
        raise ApiError(
            "INVALIDJOBSTATE",
            "Found multiple contents for job: <"
            + job.id
            + ">, please 'Close' / 'Abort' / 'Delete' the current Job then create a new Job and make sure you only do 'PUT' once on a given Job.",
        )
    if len(call.body) > MAX_UPLOAD_BYTES:
        raise ApiError("FileTooLarge", "The upload is larger than 150 MB", status=413)
    job.upload = call.body
    return Reply(status=201, body=b"")


def change_ingest(org: Org, call: Call, version: str, job_id: str) -> Reply:
    job = _job(org, job_id, IngestJob)
    wanted = json_object(call).get("state")
    if wanted == "UploadComplete":
        if job.state != "Open":
            raise ApiError("INVALIDJOBSTATE", f"Job is not in Open state: {job.state}", status=409)
        if job.upload is None:
            raise ApiError("INVALIDJOBSTATE", "No contents were uploaded for the job", status=400)
        job.state = "UploadComplete"
        answer = Reply(job.info())  # what is said is said before the job begins
        run_later(org, job)
        return answer
    elif wanted == "Aborted":
        _abort(org, job)
    else:
        raise ApiError("INVALIDJOB", f"Invalid job state {wanted}")
    return Reply(job.info())


def _abort(org: Org, job: Job) -> None:
    with job.lock:
        if job.state in ("JobComplete", "Failed", "Aborted"):
            raise ApiError("INVALIDJOBSTATE", "Aborting already Completed Job not allowed", status=400)
        job.state, job.modified = "Aborted", timestamp(org.clock.now())


def show_ingest(org: Org, call: Call, version: str, job_id: str) -> Reply:
    return Reply(_job(org, job_id, IngestJob).info())


def show_query(org: Org, call: Call, version: str, job_id: str) -> Reply:
    return Reply(_job(org, job_id, QueryJob).info())


def list_ingest(org: Org, call: Call, version: str) -> Reply:
    return _list(org, call, version, "ingest", IngestJob)


def list_query(org: Org, call: Call, version: str) -> Reply:
    return _list(org, call, version, "query", QueryJob)


def _list(org: Org, call: Call, version: str, which: str, kind: type[Job]) -> Reply:
    """The jobs that fit the filters jobType, concurrencyMode and isPkChunkingEnabled, LISTED_JOBS at a time."""
    wanted, own = call.query.get("jobType"), {"ingest": "V2Ingest", "query": "V2Query"}[which]
    if wanted not in (None, "Classic", "V2Ingest", "V2Query"):
        raise ApiError("INVALIDJOB", f"jobType must be one of Classic, V2Ingest, V2Query, not {wanted}")
    if call.query.get("concurrencyMode", "parallel").lower() not in ("parallel", "serial"):
        raise ApiError("INVALIDJOB", "concurrencyMode must be parallel or serial")
    none_fit = (
        wanted not in (None, own)
        or call.query.get("concurrencyMode", "parallel").lower() == "serial"
        or flag(call.query.get("isPkChunkingEnabled"))
    )
    infos = [] if none_fit else [job.info() for job in list(org.jobs.values()) if isinstance(job, kind)]
    start = _locator(call.query.get("queryLocator"))
    end = start + LISTED_JOBS
    following = (
        f"/services/data/v{version}/jobs/{which}?queryLocator={_locator_text(end)}" if end < len(infos) else None
    )
    return Reply({"done": following is None, "records": infos[start:end], "nextRecordsUrl": following})


def ingest_results(org: Org, call: Call, version: str, job_id: str, which: str) -> Reply:
    job = _job(org, job_id, IngestJob)
    names = {
        "successfulresults": "successfulResults",
        "failedresults": "failedResults",
        "unprocessedrecords": "unprocessedrecords",
    }
    if which.lower() not in names:
        raise not_found()
    if job.state not in ("JobComplete", "Failed", "Aborted"):
        raise ApiError("INVALIDJOBSTATE", f"The job is still {job.state}; its results are not ready", status=400)
    body = "".join(result_csv(job, names[which.lower()]))
    return Reply(
        body, content_type="text/csv", headers={"Sforce-NumberOfRecords": str(result_count(job, names[which.lower()]))}
    )


def delete_job(org: Org, call: Call, version: str, job_id: str) -> Reply:
    job = _job(org, job_id, Job)
    if job.state in ("Open", "UploadComplete", "InProgress"):
        raise ApiError("INVALIDJOBSTATE", "Deleting open Job is not allowed")
    if isinstance(job, QueryJob) and job.file:
        job.file.unlink(missing_ok=True)
    del org.jobs[job.id]
    return Reply(status=204)


def create_query(org: Org, call: Call, version: str) -> Reply:
    body = json_object(call)
    operation, text = str(body.get("operation", "")), str(body.get("query", ""))
    if operation not in ("query", "queryAll"):
        raise ApiError("INVALIDJOB", f"Operation '{operation}' is not one of query, queryAll")
    compiled = org.compiler.compile(parse(text), text, include_deleted=operation == "queryAll")
    check_bulk_query(compiled)
    if operation == "queryAll":
        org.store.purge(compiled.sobject, timestamp(org.clock.now()))
    job = QueryJob(
        org.new_id("750"), compiled.sobject, operation, version, org.user_id, timestamp(org.clock.now()), "UploadComplete",
        line_ending=_choice(body, "lineEnding", "LF", LINE_ENDINGS), delimiter=_choice(body, "columnDelimiter", "COMMA", DELIMITERS),
        compiled=compiled,
    )  # fmt: skip
    org.jobs[job.id] = job
    answer = Reply(job.info())
    run_later(org, job)
    return answer


def change_query(org: Org, call: Call, version: str, job_id: str) -> Reply:
    job = _job(org, job_id, QueryJob)
    if json_object(call).get("state") != "Aborted":
        raise ApiError("INVALIDJOB", "A query job can only be aborted")
    _abort(org, job)
    return Reply(job.info())


def query_results(org: Org, call: Call, version: str, job_id: str) -> Reply:
    job = _ready(org, version, job_id)
    start = _locator(call.query.get("locator"))
    most = count(call.query.get("maxRecords"), "maxRecords", default=DEFAULT_RESULT_ROWS, most=MAX_RESULT_ROWS)
    body, found = result_page(job, start, most)
    end = start + found
    following = _locator_text(end) if end < job.processed else "null"
    return Reply(
        body, content_type="text/csv", headers={"Sforce-Locator": following, "Sforce-NumberOfRecords": str(found)}
    )


def result_pages(org: Org, call: Call, version: str, job_id: str) -> Reply:
    job = _ready(org, version, job_id)
    start = _locator(call.query.get("locator"))
    root = f"/services/data/v{version}/jobs/query/{job.id}"
    starts = list(range(start, max(job.processed, 1), rows_of_set(job, DEFAULT_RESULT_ROWS)))
    pages = [
        {"resultUrl": f"{root}/results" + (f"?locator={_locator_text(place)}" if place else "")}
        for place in starts[:MAX_RESULT_PAGES]
    ]
    answer: dict[str, Any] = {"resultPages": pages, "done": len(starts) <= MAX_RESULT_PAGES}
    if not answer["done"]:
        answer["nextRecordsUrl"] = f"{root}/resultPages?locator={_locator_text(starts[MAX_RESULT_PAGES])}"
    return Reply(answer)


def _ready(org: Org, version: str, job_id: str) -> QueryJob:
    job = _job(org, job_id, QueryJob)
    if float(job.version) != float(version):
        raise ApiError(
            "API_ERROR",
            f"The job was created with version {job.version}: ask for its results with the same",
            status=409,
        )
    if job.state != "JobComplete":
        raise ApiError("JOB_NOT_COMPLETE", f"The job is {job.state}; its results are not ready")
    return job


def _locator_text(row: int) -> str:
    return f"MTA{row:x}"


def _locator(text: str | None) -> int:
    if not text:
        return 0
    digits = text.removeprefix("MTA")
    if not re.fullmatch("[0-9a-f]{1,9}", digits):
        raise ApiError("INVALID_QUERY_LOCATOR", "invalid query locator")
    return int(digits, 16)


def _job(org: Org, job_id: str, kind: type[JobKind]) -> JobKind:
    for known, job in list(org.jobs.items()):
        if known[:15] == job_id[:15] and isinstance(job, kind):
            return job
    raise not_found()


_V = "/services/data/v{version}/jobs"
ROUTES = (
    Route(("POST",), f"{_V}/ingest", create_ingest),
    Route(("GET",), f"{_V}/ingest", list_ingest),
    Route(("GET",), f"{_V}/ingest/{{job_id}}", show_ingest),
    Route(("PATCH",), f"{_V}/ingest/{{job_id}}", change_ingest),
    Route(("DELETE",), f"{_V}/ingest/{{job_id}}", delete_job),
    Route(("PUT",), f"{_V}/ingest/{{job_id}}/batches", upload),
    Route(("GET",), f"{_V}/ingest/{{job_id}}/{{which}}", ingest_results),
    Route(("POST",), f"{_V}/query", create_query),
    Route(("GET",), f"{_V}/query", list_query),
    Route(("GET",), f"{_V}/query/{{job_id}}", show_query),
    Route(("PATCH",), f"{_V}/query/{{job_id}}", change_query),
    Route(("DELETE",), f"{_V}/query/{{job_id}}", delete_job),
    Route(("GET",), f"{_V}/query/{{job_id}}/results", query_results),
    Route(("GET",), f"{_V}/query/{{job_id}}/resultPages", result_pages),
)
