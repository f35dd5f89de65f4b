"""Versions, describe, records, queries and limits of the REST API."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from emulators.salesforce.describe import describe_global, describe_object
from emulators.salesforce.errors import ApiError, not_found
from emulators.salesforce.ids import looks_like_id, to_18
from emulators.salesforce.org import MAX_VERSION, MIN_VERSION, Org
from emulators.salesforce.routes.body import flag, json_object
from emulators.salesforce.schema import Field, SObject
from emulators.salesforce.soql.compiler import Compiled
from emulators.salesforce.soql.parser import parse
from emulators.salesforce.soql.results import drop_missing_parents, rest_value, shaper
from emulators.salesforce.store import VARIABLES_PER_STATEMENT, quoted
from emulators.wire import Call, Reply, Route

DEFAULT_PAGE, SMALLEST_PAGE = 2_000, 200
CURSORS_KEPT = 1_000  # an org keeps them for two days; memory here is smaller
CREATED_IN_UPSERT_FROM = 46  # before, an upsert that updates answers 204 without a body
_SEASONS = ("Spring", "Summer", "Winter")


def versions(org: Org, call: Call) -> Reply:
    """Three releases make a year, and Winter carries the next year's number."""
    listed = []
    for number in range(MIN_VERSION, MAX_VERSION + 1):
        index = number - 60  # v60.0 is Spring '24
        year, season = 24 + index // 3, _SEASONS[index % 3]
        listed.append({"label": f"{season} '{year + (season == 'Winter'):02d}", "url": f"/services/data/v{number}.0", "version": f"{number}.0"})
    return Reply(listed)


def resources(org: Org, call: Call, version: str) -> Reply:
    names = ("sobjects", "query", "queryAll", "limits", "composite", "jobs")
    return Reply({name: f"/services/data/v{version}/{name}" for name in names})


def describe_all(org: Org, call: Call, version: str) -> Reply:
    return Reply(describe_global(org.schema, version))


def describe_one(org: Org, call: Call, version: str, name: str) -> Reply:
    return Reply(describe_object(org.schema, org.object(name), version))


def basic_info(org: Org, call: Call, version: str, name: str) -> Reply:
    sobject = org.object(name)
    described = describe_object(org.schema, sobject, version)
    brief = {key: value for key, value in described.items() if key not in ("fields", "childRelationships", "recordTypeInfos")}
    return Reply({"objectDescribe": brief, "recentItems": []})


def limits(org: Org, call: Call, version: str) -> Reply:
    usage = org.usage
    return Reply({
        "DailyApiRequests": {"Max": usage.limit, "Remaining": max(0, usage.limit - usage.used)},
        "DailyBulkApiBatches": {"Max": 15000, "Remaining": 15000 - len(org.jobs)},
        "DailyBulkV2QueryJobs": {"Max": 10000, "Remaining": 10000 - len(org.jobs)},
        "DailyBulkV2QueryFileStorageMB": {"Max": 976562, "Remaining": 976562},
        "DataStorageMB": {"Max": 10240, "Remaining": 10240},
    })  # fmt: skip


def record_count(org: Org, call: Call, version: str) -> Reply:
    wanted = [name for name in call.query.get("sObjects", "").split(",") if name]
    found = [org.schema.find(name) for name in wanted] if wanted else list(org.schema.objects.values())
    return Reply({"sObjects": [{"count": org.store.count(item), "name": item.name} for item in found if item]})


# -- records ----------------------------------------------------------------------------------------------------------------------


def create(org: Org, call: Call, version: str, name: str) -> Reply:
    result = org.dml.insert(org.object(name), [json_object(call)])[0]
    if result.error:
        raise result.error
    location = {"Location": f"/services/data/v{version}/sobjects/{name}/{result.id}"}
    return Reply({"id": result.id, "success": True, "errors": []}, status=201, headers=location)


def read(org: Org, call: Call, version: str, name: str, record_id: str) -> Reply:
    sobject = org.object(name)
    return Reply(_record(org, call, version, sobject, _existing(sobject, record_id)))


def update(org: Org, call: Call, version: str, name: str, record_id: str) -> Reply:
    sobject = org.object(name)
    body = json_object(call)
    if any(key.lower() == "id" for key in body):
        raise ApiError("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
    result = org.dml.update(sobject, [{"Id": _existing(sobject, record_id)} | body])[0]
    if result.error:
        raise (
            not_found(_no_external_id(record_id))
            if result.error.code == "INVALID_CROSS_REFERENCE_KEY" and result.error.status == 404
            else result.error
        )
    return Reply(status=204)


def delete(org: Org, call: Call, version: str, name: str, record_id: str) -> Reply:
    result = org.dml.delete(org.object(name), [record_id])[0]
    if result.error:
        raise result.error
    return Reply(status=204)


def read_by_key(org: Org, call: Call, version: str, name: str, key: str, value: str) -> Reply:
    sobject = org.object(name)
    return Reply(_record(org, call, version, sobject, _one_by_key(org, version, sobject, key_field(sobject, key), unquote(value))))


def upsert_by_key(org: Org, call: Call, version: str, name: str, key: str, value: str) -> Reply:
    sobject = org.object(name)
    item = key_field(sobject, key)
    body = json_object(call)
    if any(field_name.lower() == item.name.lower() for field_name in body):
        raise ApiError("INVALID_FIELD", f"The {item.name} field should not be specified in the sobject data.")
    ids = _ids_by_key(org, sobject, item, unquote(value))
    if len(ids) > 1:
        return _several(version, sobject, ids)
    result = org.dml.upsert(sobject, [body | {item.name: unquote(value)}], item, update_only=flag(call.query.get("updateOnly")))[0]
    if result.error:
        raise result.error
    if not result.created and int(float(version)) < CREATED_IN_UPSERT_FROM:
        return Reply(status=204)
    answer: dict[str, Any] = {"id": result.id, "success": True, "errors": []}
    if int(float(version)) >= CREATED_IN_UPSERT_FROM:
        answer["created"] = result.created
    return Reply(answer, status=201 if result.created else 200)


def delete_by_key(org: Org, call: Call, version: str, name: str, key: str, value: str) -> Reply:
    sobject = org.object(name)
    return delete(org, call, version, name, _one_by_key(org, version, sobject, key_field(sobject, key), unquote(value)))


def _existing(sobject: SObject, record_id: str) -> str:
    if not looks_like_id(record_id) or record_id[:3] != sobject.prefix:
        raise not_found(_no_external_id(record_id))
    return to_18(record_id)


def _no_external_id(value: str) -> str:
    return f"Provided external ID field does not exist or is not accessible: {value}"


def key_field(sobject: SObject, key: str) -> Field:
    item = sobject.find(key)
    if item is None or not (item.external_id or item.type == "id"):
        raise not_found(_no_external_id(key))
    return item


def _ids_by_key(org: Org, sobject: SObject, item: Field, value: str) -> list[str]:
    with org.store.lock:
        return [row[1] for row in org.store.lookup(sobject, item.name, [value])]


def _one_by_key(org: Org, version: str, sobject: SObject, item: Field, value: str) -> str:
    ids = _ids_by_key(org, sobject, item, value)
    if not ids:
        raise not_found()
    return ids[0]


def _several(version: str, sobject: SObject, ids: list[str]) -> Reply:
    return Reply([f"/services/data/v{version}/sobjects/{sobject.name}/{record_id}" for record_id in ids], status=300)


def _record(org: Org, call: Call, version: str, sobject: SObject, record_id: str) -> dict[str, Any]:
    wanted = [name for name in call.query.get("fields", "").split(",") if name] or list(sobject.fields)
    items = [sobject.find(name) for name in wanted]
    for name, item in zip(wanted, items, strict=True):
        if item is None:
            raise ApiError("INVALID_FIELD", f"No such column '{name}' on sobject of type {sobject.name}")
    known = [item for item in items if item]
    columns = ", ".join(quoted(item.name) for item in known)
    row = org.store.reader.execute(f"SELECT {columns} FROM {quoted(sobject.name)} WHERE Id = ? AND IsDeleted = 0", (record_id,)).fetchone()
    if row is None:
        raise not_found()
    record: dict[str, Any] = {"attributes": {"type": sobject.name, "url": f"/services/data/v{version}/sobjects/{sobject.name}/{record_id}"}}
    return record | {item.name: rest_value(value, item.type) for item, value in zip(known, row, strict=True)}


# -- queries ----------------------------------------------------------------------------------------------------------------------


@dataclass
class Cursor:
    """The rest of a result: the ids still to come, and the statement that reads their columns."""

    compiled: Compiled
    ids: list[str]
    page: int


def query(org: Org, call: Call, version: str) -> Reply:
    return _query(org, call, version, include_deleted=False)


def query_all(org: Org, call: Call, version: str) -> Reply:
    return _query(org, call, version, include_deleted=True)


def _query(org: Org, call: Call, version: str, *, include_deleted: bool) -> Reply:
    text = call.query.get("q", "")
    if not text:
        raise ApiError("MALFORMED_QUERY", "SOQL query is missing")
    compiled = org.compiler.compile(parse(text), text, include_deleted=include_deleted)
    reader = org.store.reader
    if compiled.is_count:
        total = reader.execute(compiled.sql, compiled.parameters).fetchone()[0]
        return Reply({"totalSize": total if compiled.limit is None else min(total, compiled.limit), "done": True, "records": []})
    page = _page_size(call)
    shape = shaper(compiled, version)
    if compiled.is_aggregate:
        rows = reader.execute(compiled.sql, compiled.parameters).fetchmany(DEFAULT_PAGE + 1)
        if len(rows) > DEFAULT_PAGE:
            raise ApiError("EXCEEDED_ID_LIMIT", "Aggregate query has too many rows for direct assignment, use FOR loop")
        records = [shape(row) for row in rows]
        return Reply({"totalSize": len(records), "done": True, "records": records})
    ids = [row[0] for row in reader.execute(compiled.id_sql, compiled.parameters)]
    locator = f"0r8{uuid.uuid4().hex[:15]}"
    org.cursors[locator] = Cursor(compiled, ids, page)
    while len(org.cursors) > CURSORS_KEPT:
        org.cursors.pop(next(iter(org.cursors)))
    return _page(org, version, locator, 0)


def query_more(org: Org, call: Call, version: str, locator: str) -> Reply:
    name, _, start = locator.partition("-")
    if name not in org.cursors or not start.isdigit():
        raise ApiError("INVALID_QUERY_LOCATOR", "invalid query locator")
    return _page(org, version, name, int(start))


def _page(org: Org, version: str, locator: str, start: int) -> Reply:
    cursor: Cursor = org.cursors[locator]
    wanted = cursor.ids[start : start + cursor.page]
    shape = shaper(cursor.compiled, version)
    by_id = {row[0]: row for row in _rows(org, cursor.compiled, wanted)}
    records = [drop_missing_parents(shape(by_id[record_id])) for record_id in wanted if record_id in by_id]
    for child in cursor.compiled.children:
        for record in records:
            record[child.name] = _child_records(org, version, child.compiled, record["attributes"]["url"].rpartition("/")[2])
    end = start + cursor.page
    answer: dict[str, Any] = {"totalSize": len(cursor.ids), "done": end >= len(cursor.ids)}
    if answer["done"]:
        if start == 0:
            del org.cursors[locator]
    else:
        answer["nextRecordsUrl"] = f"/services/data/v{version}/query/{locator}-{end}"
    return Reply(answer | {"records": records})


def _rows(org: Org, compiled: Compiled, ids: list[str]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(ids), VARIABLES_PER_STATEMENT):
        part = ids[start : start + VARIABLES_PER_STATEMENT]
        rows += org.store.reader.execute(compiled.by_id_sql.format(marks=",".join("?" * len(part))), part).fetchall()
    return rows


def _child_records(org: Org, version: str, compiled: Compiled, parent_id: str) -> dict[str, Any] | None:
    shape = shaper(compiled, version)
    parameters = (parent_id, *compiled.parameters[1:])
    records = [shape(row) for row in org.store.reader.execute(compiled.sql, parameters)]
    return {"totalSize": len(records), "done": True, "records": records} if records else None


def _page_size(call: Call) -> int:
    for option in call.headers.get("sforce-query-options", "").split(","):
        name, _, value = option.strip().partition("=")
        if name.lower() == "batchsize" and value.isdigit():
            return max(SMALLEST_PAGE, min(DEFAULT_PAGE, int(value)))
    return DEFAULT_PAGE


_V = "/services/data/v{version}"
ROUTES = (
    Route(("GET",), "/services/data", versions),
    Route(("GET",), _V, resources),
    Route(("GET",), f"{_V}/limits", limits),
    Route(("GET",), f"{_V}/limits/recordCount", record_count),
    Route(("GET",), f"{_V}/query", query),
    Route(("GET",), f"{_V}/queryAll", query_all),
    Route(("GET",), f"{_V}/query/{{locator}}", query_more),
    Route(("GET",), f"{_V}/queryAll/{{locator}}", query_more),
    Route(("GET",), f"{_V}/sobjects", describe_all),
    Route(("GET",), f"{_V}/sobjects/{{name}}/describe", describe_one),
    Route(("GET",), f"{_V}/sobjects/{{name}}", basic_info),
    Route(("POST",), f"{_V}/sobjects/{{name}}", create),
    Route(("GET",), f"{_V}/sobjects/{{name}}/{{record_id}}", read),
    Route(("PATCH",), f"{_V}/sobjects/{{name}}/{{record_id}}", update),
    Route(("DELETE",), f"{_V}/sobjects/{{name}}/{{record_id}}", delete),
    Route(("GET",), f"{_V}/sobjects/{{name}}/{{key}}/{{value...}}", read_by_key),
    Route(("PATCH",), f"{_V}/sobjects/{{name}}/{{key}}/{{value...}}", upsert_by_key),
    Route(("DELETE",), f"{_V}/sobjects/{{name}}/{{key}}/{{value...}}", delete_by_key),
)
