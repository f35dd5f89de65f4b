"""sObject Collections (up to 200 records a call) and Composite Batch (up to 25 calls in one)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from emulators.salesforce.dml import RowResult
from emulators.salesforce.errors import ApiError
from emulators.salesforce.org import Org
from emulators.salesforce.routes.body import flag, json_object
from emulators.salesforce.routes.rest import key_field
from emulators.salesforce.schema import SObject
from emulators.salesforce.soql.results import rest_value
from emulators.salesforce.store import quoted
from emulators.wire import Call, Reply, Route

MAX_RECORDS = 200
MAX_BATCH_REQUESTS = 25


def create(org: Org, call: Call, version: str) -> Reply:
    return _by_type(org, call, lambda sobject, rows, strict: org.dml.insert(sobject, rows, all_or_none=strict))


def update(org: Org, call: Call, version: str) -> Reply:
    return _by_type(org, call, lambda sobject, rows, strict: org.dml.update(sobject, [_with_id(row) for row in rows], all_or_none=strict))


def upsert(org: Org, call: Call, version: str, name: str, key: str) -> Reply:
    sobject = org.object(name)
    item = key_field(sobject, key)
    body = json_object(call)
    rows = _records(body)
    if item.type != "id" and any("id" in {field.lower() for field in row} for row in rows):
        raise ApiError("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
    results = org.dml.upsert(sobject, rows, item, all_or_none=bool(body.get("allOrNone")))
    return Reply([_result(result, with_created=True) for result in results])


def delete(org: Org, call: Call, version: str) -> Reply:
    ids = [record_id for record_id in call.query.get("ids", "").split(",") if record_id]
    _check_size(ids)
    objects = {record_id[:3] for record_id in ids}
    results: dict[int, RowResult] = {}
    for prefix in objects:
        sobject = org.schema.by_prefix(prefix)
        places = [index for index, record_id in enumerate(ids) if record_id[:3] == prefix]
        if sobject is None:
            error = ApiError("MALFORMED_ID", f"malformed id {ids[places[0]]}")
            results |= {index: RowResult(error=error) for index in places}
            continue
        outcome = org.dml.delete(sobject, [ids[index] for index in places], all_or_none=flag(call.query.get("allOrNone")))
        results |= dict(zip(places, outcome, strict=True))
    return Reply([_result(results[index]) for index in range(len(ids))])


def retrieve(org: Org, call: Call, version: str, name: str) -> Reply:
    sobject = org.object(name)
    body = json_object(call) if call.method == "POST" else {key: call.query.get(key, "").split(",") for key in ("ids", "fields")}
    ids, names = list(body.get("ids", [])), list(body.get("fields", []))
    items = []
    for field_name in names:
        item = sobject.find(field_name)
        if item is None:
            raise ApiError("INVALID_FIELD", f"No such column '{field_name}' on sobject of type {sobject.name}")
        items.append(item)
    columns = ", ".join(quoted(item.name) for item in items) or "Id"
    answer: list[Any] = []
    for record_id in ids:
        row = org.store.reader.execute(f"SELECT {columns} FROM {quoted(sobject.name)} WHERE Id = ? AND IsDeleted = 0", (record_id,)).fetchone()
        if row is None:
            answer.append(None)
            continue
        url = f"/services/data/v{version}/sobjects/{sobject.name}/{record_id}"
        values = {item.name: rest_value(value, item.type) for item, value in zip(items, row, strict=False)}
        answer.append({"attributes": {"type": sobject.name, "url": url}} | values)
    return Reply(answer)


Write = Callable[[SObject, Sequence[dict[str, Any]], bool], list[RowResult]]


def _by_type(org: Org, call: Call, write: Write) -> Reply:
    """Runs `write` for each run of records of one type, and gives the results in input order."""
    body = json_object(call)
    rows, strict = _records(body), bool(body.get("allOrNone"))
    names = [str((row.get("attributes") or {}).get("type", "")) for row in rows]
    if not all(names):
        raise ApiError("INVALID_TYPE", "The type attribute is required for each record in attributes")
    results: list[RowResult] = [RowResult() for _ in rows]
    for name in dict.fromkeys(names):
        places = [index for index, other in enumerate(names) if other == name]
        outcome = write(org.object_for_write(name), [rows[index] for index in places], strict)
        for index, result in zip(places, outcome, strict=True):
            results[index] = result
    return Reply([_result(result) for result in results])


def _records(body: dict[str, Any]) -> list[dict[str, Any]]:
    rows = body.get("records")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ApiError("INVALID_INPUT", "records must be a list of objects")
    _check_size(rows)
    return rows


def _check_size(rows: Sequence[Any]) -> None:
    if len(rows) > MAX_RECORDS:
        raise ApiError("EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {MAX_RECORDS} records into this call")


def _with_id(row: dict[str, Any]) -> dict[str, Any]:
    return {("Id" if key.lower() == "id" else key): value for key, value in row.items()}


def _result(result: RowResult, with_created: bool = False) -> dict[str, Any]:
    if result.error:
        return {"success": False, "errors": [result.error.as_row()]}
    answer: dict[str, Any] = {"id": result.id, "success": True, "errors": []}
    return answer | {"created": result.created} if with_created else answer


def batch(org: Org, call: Call, version: str) -> Reply:
    body = json_object(call)
    requests = body.get("batchRequests")
    if not isinstance(requests, list) or not requests:
        raise ApiError("INVALID_INPUT", "batchRequests must be a list of requests")
    if len(requests) > MAX_BATCH_REQUESTS:
        raise ApiError("LIMIT_EXCEEDED", f"Limit of {MAX_BATCH_REQUESTS} reached for number of subrequests in batch request")
    results: list[dict[str, Any]] = []
    halted = False
    for _ in requests[1:]:
        org.usage.count("POST /composite/batch subrequest")  # unlike composite, every part of a batch counts as a call
    for request in requests:
        if halted:
            error = [{"errorCode": "BATCH_PROCESSING_HALTED", "message": "Batch processing halted per request header"}]
            results.append({"statusCode": 412, "result": error})
            continue
        reply = _subrequest(org, call, request)
        results.append({"statusCode": reply.status, "result": reply.body})
        halted = bool(body.get("haltOnError")) and reply.status >= 400
    return Reply({"hasErrors": any(item["statusCode"] >= 400 for item in results), "results": results})


def composite(org: Org, call: Call, version: str) -> Reply:
    """The independent kind of composite request; references between its parts and allOrNone are refused until they are built."""
    body = json_object(call)
    requests = body.get("compositeRequest")
    if not isinstance(requests, list) or not requests:
        raise ApiError("INVALID_INPUT", "compositeRequest must be a list of requests")
    if len(requests) > MAX_BATCH_REQUESTS:
        raise ApiError("LIMIT_EXCEEDED", f"Limit of {MAX_BATCH_REQUESTS} reached for number of subrequests in composite request")
    if body.get("allOrNone") or "@{" in json.dumps(requests):
        raise ApiError("UNKNOWN_EXCEPTION", "composite requests with references or allOrNone are not built in this emulator", status=501)
    answers = []
    for request in requests:
        reply = _subrequest(org, call, request | {"richInput": request.get("body")})
        answers.append({
            "body": reply.body, "httpHeaders": {key: value for key, value in reply.headers.items() if key == "Location"},
            "httpStatusCode": reply.status, "referenceId": request.get("referenceId"),
        })  # fmt: skip
    return Reply({"compositeResponse": answers})


def _subrequest(org: Org, call: Call, request: dict[str, Any]) -> Reply:
    from emulators.salesforce.app import dispatch  # the routes of the app include this one

    parts = urlsplit("/services/data/" + str(request.get("url", "")).removeprefix("/services/data/").lstrip("/"))
    rich_input = request.get("richInput")
    inner = Call(
        method=str(request.get("method", "GET")).upper(),
        path=parts.path.rstrip("/"),
        raw_path=parts.path.rstrip("/"),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers=call.headers,
        body=b"" if rich_input is None else json.dumps(rich_input).encode(),
        base_url=call.base_url,
    )
    return dispatch(org, inner)


_V = "/services/data/v{version}/composite"
ROUTES = (
    Route(("POST",), f"{_V}/sobjects", create),
    Route(("PATCH",), f"{_V}/sobjects", update),
    Route(("DELETE",), f"{_V}/sobjects", delete),
    Route(("GET", "POST"), f"{_V}/sobjects/{{name}}", retrieve),
    Route(("PATCH",), f"{_V}/sobjects/{{name}}/{{key}}", upsert),
    Route(("POST",), f"{_V}/batch", batch),
    Route(("POST",), _V, composite),
)
