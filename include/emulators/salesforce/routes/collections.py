"""sObject Collections: up to 200 records a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from emulators.salesforce.dml import RowResult, roll_back
from emulators.salesforce.errors import ApiError
from emulators.salesforce.ids import looks_like_id, to_18
from emulators.salesforce.org import Org
from emulators.salesforce.routes.body import flag, json_object, objects, texts
from emulators.salesforce.routes.options import write_options
from emulators.salesforce.routes.queries import rows_of
from emulators.salesforce.routes.records import key_field
from emulators.salesforce.schema import SObject
from emulators.salesforce.soql.parser import parse
from emulators.salesforce.soql.results import shaper
from emulators.wire import Call, Reply, Route

MAX_RECORDS, MAX_TYPE_CHUNKS, MAX_RETRIEVED = 200, 10, 2_000


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
    body = (
        json_object(call)
        if call.method == "POST"
        else {key: call.query.get(key, "").split(",") for key in ("ids", "fields")}
    )
    ids = [to_18(record_id) for record_id in texts(body.get("ids"), "ids") if looks_like_id(record_id)]
    names = [item for item in texts(body.get("fields"), "fields") if item]
    if not ids or not names:
        raise ApiError("INVALID_INPUT", "ids and fields must each name at least one")
    if len(ids) > MAX_RETRIEVED:
        raise ApiError(
            "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {MAX_RETRIEVED} records into this call"
        )
    unknown = next((item for item in names if sobject.find(item) is None), None)
    if unknown is not None:
        raise ApiError("INVALID_FIELD", f"No such column '{unknown}' on sobject of type {sobject.name}")
    text = f"SELECT {', '.join({item.lower(): item for item in names}.values())} FROM {sobject.name}"
    compiled = org.compiler.compile(parse(text), text)
    shape = shaper(compiled, version, org.schema)
    found = {row[0]: shape(row) for row in rows_of(org, compiled, ids)}
    alive = _alive(org, sobject, list(found))
    return Reply([found[record_id] if record_id in alive else None for record_id in ids])


def _alive(org: Org, sobject: SObject, ids: list[str]) -> set[str]:
    with org.store.lock:
        return {record_id for _, record_id in org.store.lookup(sobject, "Id", ids)}


Write = Callable[[SObject, Sequence[dict[str, Any]]], list[RowResult]]


def _by_type(org: Org, call: Call, write: Write) -> Reply:
    """Runs `write` for the records of each type, and gives the results in input order."""
    body = json_object(call)
    rows = _records(body)
    names = [str(row["attributes"].get("type", "")) if isinstance(row.get("attributes"), dict) else "" for row in rows]
    if not all(names):
        raise ApiError("INVALID_TYPE", "The type attribute is required for each record in attributes")
    if sum(name != before for name, before in zip(names, ["", *names], strict=False)) > MAX_TYPE_CHUNKS:
        raise ApiError(
            "EXCEEDED_ID_LIMIT",
            f"records of different types: there can be at most {MAX_TYPE_CHUNKS} chunks of one type each",
        )
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
    rows = objects(body.get("records"), "records")
    _check_size(rows)
    return rows


def _check_size(rows: Sequence[Any]) -> None:
    if not rows:
        raise ApiError("REQUIRED_FIELD_MISSING", "At least 1 record is required")
    if len(rows) > MAX_RECORDS:
        raise ApiError(
            "EXCEEDED_ID_LIMIT", f"record limit reached. cannot submit more than {MAX_RECORDS} records into this call"
        )


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
