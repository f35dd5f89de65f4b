"""sObject Collections: up to 200 records a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from emulators.salesforce.dml import RowResult, roll_back
from emulators.salesforce.errors import ApiError
from emulators.salesforce.org import Org
from emulators.salesforce.routes.body import flag, json_object
from emulators.salesforce.routes.options import write_options
from emulators.salesforce.routes.records import key_field
from emulators.salesforce.schema import SObject
from emulators.salesforce.soql.results import rest_value
from emulators.salesforce.store import quoted
from emulators.wire import Call, Reply, Route

MAX_RECORDS, MAX_TYPE_CHUNKS = 200, 10


def create(org: Org, call: Call, version: str) -> Reply:
    return _by_type(org, call, lambda sobject, rows: org.dml.insert(sobject, rows, options=write_options(call)))


def update(org: Org, call: Call, version: str) -> Reply:
    return _by_type(org, call, lambda sobject, rows: org.dml.update(sobject, rows, options=write_options(call)))


def upsert(org: Org, call: Call, version: str, name: str, key: str) -> Reply:
    sobject = org.object(name)
    item = key_field(sobject, key)
    body = json_object(call)
    rows = _records(body)
    if item.type != "id" and any("id" in {field.lower() for field in row} for row in rows):
        raise ApiError("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
    results = org.dml.upsert(sobject, rows, item, all_or_none=bool(body.get("allOrNone")), options=write_options(call))
    return Reply([_result(result, with_created=True) for result in results])


def delete(org: Org, call: Call, version: str) -> Reply:
    ids = [record_id for record_id in call.query.get("ids", "").split(",") if record_id]
    _check_size(ids)
    objects = {record_id[:3] for record_id in ids}
    results: dict[int, RowResult] = {}
    with org.store.undoable() as undo:
        for prefix in objects:
            sobject = org.schema.by_prefix(prefix)
            places = [index for index, record_id in enumerate(ids) if record_id[:3] == prefix]
            if sobject is None:
                error = ApiError("MALFORMED_ID", f"malformed id {ids[places[0]]}")
                results |= {index: RowResult(error=error) for index in places}
                continue
            results |= dict(zip(places, org.dml.delete(sobject, [ids[index] for index in places]), strict=True))
        undo.wanted = flag(call.query.get("allOrNone")) and roll_back(results.values())
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


Write = Callable[[SObject, Sequence[dict[str, Any]]], list[RowResult]]


def _by_type(org: Org, call: Call, write: Write) -> Reply:
    """Runs `write` for the records of each type, and gives the results in input order."""
    body = json_object(call)
    rows = _records(body)
    names = [str((row.get("attributes") or {}).get("type", "")) for row in rows]
    if not all(names):
        raise ApiError("INVALID_TYPE", "The type attribute is required for each record in attributes")
    if sum(name != before for name, before in zip(names, ["", *names], strict=False)) > MAX_TYPE_CHUNKS:
        raise ApiError("EXCEEDED_ID_LIMIT", f"records of different types: there can be at most {MAX_TYPE_CHUNKS} chunks of one type each")
    results: list[RowResult] = [RowResult() for _ in rows]
    with org.store.undoable() as undo:
        for name in dict.fromkeys(names):
            places = [index for index, other in enumerate(names) if other == name]
            outcome = write(org.object_for_write(name), [rows[index] for index in places])
            for index, result in zip(places, outcome, strict=True):
                results[index] = result
        undo.wanted = bool(body.get("allOrNone")) and roll_back(results)
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


def _result(result: RowResult, with_created: bool = False) -> dict[str, Any]:
    if result.error:
        return {"success": False, "errors": [result.error.as_row()]}
    answer: dict[str, Any] = {"id": result.id, "success": True, "errors": []}
    return answer | {"created": result.created} if with_created else answer


_V = "/services/data/v{version}/composite"
ROUTES = (
    Route(("POST",), f"{_V}/sobjects", create),
    Route(("PATCH",), f"{_V}/sobjects", update),
    Route(("DELETE",), f"{_V}/sobjects", delete),
    Route(("GET", "POST"), f"{_V}/sobjects/{{name}}", retrieve),
    Route(("PATCH",), f"{_V}/sobjects/{{name}}/{{key}}", upsert),
)
