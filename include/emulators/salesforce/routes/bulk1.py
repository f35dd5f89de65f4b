"""Bulk API 1.0 over HTTP: /services/async/NN.0/job and below.

A job answers in the format of the request (JSON or XML); a batch answers in JSON for a JSON job and in XML for all others, whatever the
request says. The session comes in X-SFDC-Session, and errors are this API's own, with status 400.
"""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from emulators.salesforce.bulk1 import (
    DEFAULT_CHUNK_ROWS,
    NAMESPACE,
    QUERIES,
    Batch,
    BulkJob,
    add_batch,
    new_job,
    result_csv,
    result_json,
    result_xml,
    run_later,
)
from emulators.salesforce.errors import ApiError
from emulators.salesforce.org import MAX_VERSION, MIN_VERSION, Org
from emulators.salesforce.routes.options import header_options
from emulators.wire import Call, Reply, Route, Router

MAX_CHUNK_ROWS = 250_000
_XML_TYPE, _JSON_TYPE, _CSV_TYPE = "application/xml", "application/json", "text/csv"


def answer(org: Org, call: Call) -> Reply:
    """Any call below /services/async."""
    try:
        _check_version(call.path)
        try:
            org.authenticate(call.headers.get("x-sfdc-session"))
        except ApiError:
            raise ApiError("InvalidSessionId", "Invalid session id") from None
        org.usage.count(f"{call.method} /async")
        found = _ROUTER.find(call.method, call.raw_path)
        if found is None or not callable(found[0]):
            raise ApiError(
                "InvalidUrl",
                f"Destination URL not reset. The URL returned from login must be set: {call.method} {call.path}",
            )
        handler, parameters = found
        assert isinstance(parameters, dict)
        return handler(org, call, **parameters)
    except ApiError as error:
        return _error(call, error)


def _error(call: Call, error: ApiError) -> Reply:
    if _wants_json(call):
        return Reply({"exceptionCode": error.code, "exceptionMessage": error.message}, status=400)
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><error xmlns="{NAMESPACE}"><exceptionCode>{error.code}</exceptionCode>'
        f"<exceptionMessage>{escape(error.message)}</exceptionMessage></error>"
    )
    return Reply(body, status=400, content_type=_XML_TYPE)


def _check_version(path: str) -> None:
    version = path.split("/")[3] if path.count("/") >= 3 else ""
    try:
        number = float(version)
    except ValueError:
        number = 0
    if not MIN_VERSION <= number <= MAX_VERSION:
        raise ApiError("InvalidVersion", f"Api Version '{version}' is not supported")


def _wants_json(call: Call) -> bool:
    return "json" in call.headers.get("content-type", "")


# -- jobs -------------------------------------------------------------------------------------------------------------------------


def create_job(org: Org, call: Call, version: str) -> Reply:
    chunking = header_options(call, "sforce-enable-pkchunking")
    wants_chunks = bool(chunking) and "false" not in chunking
    size = chunking.get("chunksize") or str(DEFAULT_CHUNK_ROWS)
    if wants_chunks and (not re.fullmatch("[0-9]{1,9}", size) or not 1 <= int(size) <= MAX_CHUNK_ROWS):
        raise ApiError("InvalidJob", f"The chunk size must be a number from 1 to {MAX_CHUNK_ROWS}, not {size}")
    rows = int(size) if wants_chunks else None
    job = new_job(org, _spec(call), version, rows)
    org.bulk1_jobs[job.id] = job
    return _job_reply(call, job, 201)


def show_job(org: Org, call: Call, version: str, job_id: str) -> Reply:
    return _job_reply(call, _job(org, job_id), 200)


def change_job(org: Org, call: Call, version: str, job_id: str) -> Reply:
    """Closes or aborts the job."""
    job, wanted = _job(org, job_id), _spec(call).get("state")
    if wanted not in ("Closed", "Aborted"):
        raise ApiError("InvalidJob", f"A job's state cannot be set to {wanted}")
    if job.state != "Open":
        raise ApiError(
            "InvalidJobState",
            f"Closing already {job.state} Job not allowed" if wanted == "Closed" else f"Job is already {job.state}",
        )
    job.state = wanted
    return _job_reply(call, job, 200)


def _spec(call: Call) -> dict[str, str]:
    """The jobInfo of the body."""
    try:
        if _wants_json(call):
            return {key: str(value) for key, value in json.loads(call.body).items() if value is not None}
        root = ElementTree.fromstring(call.body)
    except (ValueError, LookupError, AttributeError, ElementTree.ParseError) as error:
        raise ApiError("InvalidJob", f"Unable to parse Job: {error}") from error
    return {str(node.tag).rpartition("}")[2]: (node.text or "").strip() for node in root}


def _job(org: Org, job_id: str) -> BulkJob:
    for known, job in list(org.bulk1_jobs.items()):
        if known[:15] == job_id[:15]:
            found: BulkJob = job
            return found
    raise ApiError("InvalidJob", f"Unable to find job {job_id}")


def _job_reply(call: Call, job: BulkJob, status: int) -> Reply:
    if _wants_json(call):
        return Reply(_for_json(job.info()), status=status)
    return Reply(_document("jobInfo", _xml(job.info())), status=status, content_type=_XML_TYPE)


# -- batches ----------------------------------------------------------------------------------------------------------------------


def create_batch(org: Org, call: Call, version: str, job_id: str) -> Reply:
    job = _job(org, job_id)
    batch = add_batch(org, job, call.body)
    reply = _batch_reply(job, batch.info(), 201)  # what is said is said before the batch begins
    run_later(org, batch)
    return reply


def list_batches(org: Org, call: Call, version: str, job_id: str) -> Reply:
    job = _job(org, job_id)
    infos = [batch.info() for batch in list(job.batches.values())]
    if job.content_type == "JSON":
        return Reply({"batchInfo": [_for_json(info) for info in infos]})
    inner = "".join(f"<batchInfo>{_xml(info)}</batchInfo>" for info in infos)
    return Reply(_document("batchInfoList", inner), content_type=_XML_TYPE)


def show_batch(org: Org, call: Call, version: str, job_id: str, batch_id: str) -> Reply:
    job = _job(org, job_id)
    return _batch_reply(job, _batch(job, batch_id).info(), 200)


def batch_request(org: Org, call: Call, version: str, job_id: str, batch_id: str) -> Reply:
    job = _job(org, job_id)
    return Reply(
        _batch(job, batch_id).request,
        content_type={"CSV": _CSV_TYPE, "XML": _XML_TYPE, "JSON": _JSON_TYPE}[job.content_type],
    )


def batch_result(org: Org, call: Call, version: str, job_id: str, batch_id: str) -> Reply:
    """Row by row for an ingest batch; the ids of the results for a query batch."""
    job = _job(org, job_id)
    batch = _batch(job, batch_id)
    if batch.state == "Failed" and job.operation not in QUERIES:
        raise ApiError("InvalidBatch", "Records not processed")
    if batch.state != "Completed":
        raise ApiError("InvalidBatch", f"Batch not completed: it is {batch.state}")
    if job.operation in QUERIES:
        if job.content_type == "JSON":
            return Reply(list(batch.files))
        return Reply(
            _document("result-list", "".join(f"<result>{name}</result>" for name in batch.files)),
            content_type=_XML_TYPE,
        )
    if job.content_type == "JSON":
        return Reply(result_json(batch))
    if job.content_type == "XML":
        return Reply(result_xml(batch), content_type=_XML_TYPE)
    return Reply(result_csv(batch), content_type=_CSV_TYPE)


def query_result(org: Org, call: Call, version: str, job_id: str, batch_id: str, result_id: str) -> Reply:
    job = _job(org, job_id)
    path = _batch(job, batch_id).files.get(result_id)
    if path is None:
        raise ApiError("InvalidBatch", f"Unable to find result {result_id}")
    return Reply(
        path.read_bytes(), content_type={"CSV": _CSV_TYPE, "XML": _XML_TYPE, "JSON": _JSON_TYPE}[job.content_type]
    )


def _batch(job: BulkJob, batch_id: str) -> Batch:
    found = next((batch for known, batch in list(job.batches.items()) if known[:15] == batch_id[:15]), None)
    if found is None:
        raise ApiError("InvalidBatch", f"Unable to find batch {batch_id}")
    return found


def _batch_reply(job: BulkJob, info: dict[str, Any], status: int) -> Reply:
    if job.content_type == "JSON":
        return Reply(_for_json(info), status=status)
    return Reply(_document("batchInfo", _xml(info)), status=status, content_type=_XML_TYPE)


def _for_json(info: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.replace("Z", "+0000") if key in ("createdDate", "systemModstamp") else value
        for key, value in info.items()
    }


def _xml(info: dict[str, Any]) -> str:
    return "".join(f"<{key}>{escape(str(value))}</{key}>" for key, value in info.items())


def _document(name: str, inner: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><{name} xmlns="{NAMESPACE}">{inner}</{name}>'


_V = "/services/async/{version}/job"
ROUTES = (
    Route(("POST",), _V, create_job),
    Route(("GET",), f"{_V}/{{job_id}}", show_job),
    Route(("POST",), f"{_V}/{{job_id}}", change_job),
    Route(("POST",), f"{_V}/{{job_id}}/batch", create_batch),
    Route(("GET",), f"{_V}/{{job_id}}/batch", list_batches),
    Route(("GET",), f"{_V}/{{job_id}}/batch/{{batch_id}}", show_batch),
    Route(("GET",), f"{_V}/{{job_id}}/batch/{{batch_id}}/request", batch_request),
    Route(("GET",), f"{_V}/{{job_id}}/batch/{{batch_id}}/result", batch_result),
    Route(("GET",), f"{_V}/{{job_id}}/batch/{{batch_id}}/result/{{result_id}}", query_result),
)
_ROUTER = Router(ROUTES)
