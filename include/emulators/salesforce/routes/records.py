"""Records one by one: create, read, update, upsert and delete, by id and by external id; what was updated and deleted."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from emulators.salesforce.errors import ApiError, not_found
from emulators.salesforce.ids import looks_like_id, to_18
from emulators.salesforce.org import Org
from emulators.salesforce.routes.body import flag, json_object
from emulators.salesforce.routes.options import if_modified, write_options
from emulators.salesforce.routes.queries import run_query
from emulators.salesforce.schema import Field, SObject
from emulators.salesforce.soql.parser import parse
from emulators.salesforce.soql.results import rest_value, shaper
from emulators.salesforce.store import quoted, timestamp
from emulators.wire import Call, Reply, Route

_OTHER_RESOURCES = frozenset({"describe", "listviews", "quickactions"})
MIN_PASSWORD = 8
CREATED_IN_UPSERT_FROM = 46  # before, an upsert that updates answers 204 without a body
UPDATED_DAYS, DELETED_DAYS, MAX_REPLICATED = 30, 15, 600_000


def create(org: Org, call: Call, version: str, name: str) -> Reply:
    result = org.dml.insert(org.object(name), [json_object(call)], options=write_options(call))[0]
    if result.error:
        raise result.error
    location = {"Location": f"/services/data/v{version}/sobjects/{org.object(name).name}/{result.id}"}
    return Reply({"id": result.id, "success": True, "errors": []}, status=201, headers=location)


def read(org: Org, call: Call, version: str, name: str, record_id: str) -> Reply:
    sobject = org.object(name)
    return _record(org, call, version, sobject, _existing(sobject, record_id))


def update(org: Org, call: Call, version: str, name: str, record_id: str) -> Reply:
    sobject = org.object(name)
    body = json_object(call)
    if any(key.lower() == "id" for key in body):
        raise ApiError("INVALID_FIELD", "The Id field should not be specified in the sobject data.")
    result = org.dml.update(sobject, [{"Id": _existing(sobject, record_id)} | body], options=write_options(call))[0]
    if result.error:
        raise (
            not_found(_no_external_id(record_id))
            if result.error.code == "INVALID_CROSS_REFERENCE_KEY" and result.error.status == 404
            else result.error
        )
    return Reply(status=204)


def delete(org: Org, call: Call, version: str, name: str, record_id: str) -> Reply:
    sobject = org.object(name)
    result = org.dml.delete(sobject, [_existing(sobject, record_id)])[0]
    if result.error:
        raise result.error
    return Reply(status=204)


def read_by_key(org: Org, call: Call, version: str, name: str, key: str, value: str) -> Reply:
    """The record with this external id; or, when the key is a record's id, what a relationship of that record leads to."""
    sobject = org.object(name)
    if looks_like_id(key) and key[:3] == sobject.prefix:
        return _related(org, call, version, sobject, to_18(key), value)
    ids = _ids_by_key(org, sobject, key_field(sobject, key), value)
    if len(ids) > 1:
        return _several(version, sobject, ids)
    if not ids:
        raise not_found()
    return _record(org, call, version, sobject, ids[0])


def _related(org: Org, call: Call, version: str, sobject: SObject, record_id: str, relationship: str) -> Reply:
    parent = sobject.find_relationship(relationship)
    if parent is not None:
        row = org.store.reader.execute(
            f"SELECT {quoted(parent.name)} FROM {quoted(sobject.name)} WHERE Id = ? AND IsDeleted = 0", (record_id,)
        ).fetchone()
        target = org.schema.by_prefix(row[0][:3]) if row and row[0] else None
        if target is None:
            raise not_found()
        return _record(org, call, version, target, row[0])
    for child, item in org.schema.children_of(sobject.name):
        if (item.child_relationship or "").lower() == relationship.lower():
            names = call.query.get("fields", "") or ", ".join(item.name for item in child.visible)
            soql = f"SELECT {names} FROM {child.name} WHERE {item.name} = '{record_id}'"
            return run_query(org, replace(call, query={"q": soql}), version, org, include_deleted=False)
    raise not_found()


def upsert_by_key(org: Org, call: Call, version: str, name: str, key: str, value: str) -> Reply:
    sobject = org.object(name)
    item = key_field(sobject, key)
    body = json_object(call)
    if any(field_name.lower() == item.name.lower() for field_name in body):
        raise ApiError("INVALID_FIELD", f"The {item.name} field should not be specified in the sobject data.")
    ids = _ids_by_key(org, sobject, item, value)
    if len(ids) > 1:
        return _several(version, sobject, ids)
    update_only = flag(call.query.get("updateOnly"))
    result = org.dml.upsert(
        sobject, [body | {item.name: value}], item, update_only=update_only, options=write_options(call)
    )[0]
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
    ids = _ids_by_key(org, sobject, key_field(sobject, key), value)
    if len(ids) > 1:
        return _several(version, sobject, ids)
    if not ids:
        raise not_found()
    return delete(org, call, version, name, ids[0])


def _existing(sobject: SObject, record_id: str) -> str:
    if not looks_like_id(record_id) or record_id[:3] != sobject.prefix:
        raise not_found(_no_external_id(record_id))
    return to_18(record_id)


def _no_external_id(value: str) -> str:
    return f"Provided external ID field does not exist or is not accessible: {value}"


def key_field(sobject: SObject, key: str) -> Field:
    """The external id field of this name; a resource that is not built answers as an unknown one."""
    if key.lower() in _OTHER_RESOURCES:
        raise not_found()
    item = sobject.find(key)
    if item is None or not (item.external_id or item.type == "id"):
        raise not_found(_no_external_id(key))
    return item


def _ids_by_key(org: Org, sobject: SObject, item: Field, value: str) -> list[str]:
    if item.type == "id":
        value = to_18(value) if looks_like_id(value) else value
    with org.store.lock:
        return [row[1] for row in org.store.lookup(sobject, item.name, [value])]


def _several(version: str, sobject: SObject, ids: list[str]) -> Reply:
    return Reply([f"/services/data/v{version}/sobjects/{sobject.name}/{record_id}" for record_id in ids], status=300)


def _record(org: Org, call: Call, version: str, sobject: SObject, record_id: str) -> Reply:
    """The record's fields, all or those that the call names, which may be reached over relationships."""
    names = [name.strip() for name in call.query.get("fields", "").split(",") if name.strip()] or [
        item.name for item in sobject.visible
    ]
    wanted = {name.lower(): name for name in [*names, "LastModifiedDate"]}
    odd = next((name for name in names if not re.fullmatch(r"[A-Za-z][\w.]*", name, re.ASCII)), None)
    if odd is not None:
        raise ApiError("INVALID_FIELD", f"No such column '{odd}' on sobject of type {sobject.name}")
    text = f"SELECT {', '.join(wanted.values())} FROM {sobject.name} WHERE Id = '{record_id}'"
    try:
        compiled = org.compiler.compile(parse(text), text)
    except ApiError as error:
        unknown = next((name for name in names if "." not in name and sobject.find(name) is None), None)
        if unknown is None:
            raise
        raise ApiError("INVALID_FIELD", f"No such column '{unknown}' on sobject of type {sobject.name}") from error
    row = org.store.reader.execute(compiled.sql, compiled.parameters).fetchone()
    if row is None:
        raise not_found()
    record = shaper(compiled, version, org.schema)(row)
    changed = next(
        value for column, value in zip(compiled.columns, row[1:], strict=False) if column.path == ("LastModifiedDate",)
    )
    if "lastmodifieddate" not in [name.lower() for name in names]:
        del record["LastModifiedDate"]
    return if_modified(call, changed, Reply(record | {"Id": record_id} if "fields" in call.query else record))


def password(org: Org, call: Call, version: str, user_id: str) -> Reply:
    """Whether the user's password has expired, or a new password for the user."""
    _record(org, call, version, org.schema.objects["User"], _existing(org.schema.objects["User"], user_id))
    if call.method == "GET":
        return Reply({"isExpired": False})
    new = str(json_object(call).get("NewPassword", ""))
    if len(new) < MIN_PASSWORD:
        raise ApiError("INVALID_NEW_PASSWORD", f"Your password must be at least {MIN_PASSWORD} characters long.")
    org.set_password(to_18(user_id), new)
    return Reply(status=204)


# -- replication ------------------------------------------------------------------------------------------------------------------


def updated(org: Org, call: Call, version: str, name: str) -> Reply:
    """Ids of the records that were created or changed within the span, by SystemModstamp."""
    sobject, start, end = org.object(name), *_span(org, call, UPDATED_DAYS)
    sql = f"SELECT Id FROM {quoted(sobject.name)} WHERE IsDeleted = 0 AND SystemModstamp BETWEEN ? AND ?"
    ids = [row[0] for row in org.store.reader.execute(sql, (timestamp(start), timestamp(end)))]
    _check_count(ids)
    return Reply({"ids": ids, "latestDateCovered": _rest_time(end)})


def deleted(org: Org, call: Call, version: str, name: str) -> Reply:
    """The records that were deleted within the span and are still in the recycle bin."""
    sobject, start, end = org.object(name), *_span(org, call, DELETED_DAYS)
    org.store.purge(sobject, timestamp(org.clock.now()))
    sql = (
        f"SELECT Id, SystemModstamp FROM {quoted(sobject.name)} WHERE IsDeleted = 1 AND SystemModstamp BETWEEN ? AND ?"
    )
    rows = org.store.reader.execute(sql, (timestamp(start), timestamp(end))).fetchall()
    _check_count(rows)
    earliest = org.clock.now() - timedelta(days=DELETED_DAYS)
    records = [{"id": record_id, "deletedDate": rest_value(moment, "datetime")} for record_id, moment in rows]
    return Reply(
        {"deletedRecords": records, "earliestDateAvailable": _rest_time(earliest), "latestDateCovered": _rest_time(end)}
    )


def _span(org: Org, call: Call, most_days: int) -> tuple[datetime, datetime]:
    start, end = (_moment(call, key) for key in ("start", "end"))
    if end - start < timedelta(minutes=1):
        raise ApiError("INVALID_REPLICATION_DATE", "startDate must be before endDate by more than one minute")
    if start < org.clock.now() - timedelta(days=most_days):
        raise ApiError(
            "INVALID_REPLICATION_DATE",
            f"startDate before org replication enabled date or more than {most_days} days ago",
        )
    return start, min(end, org.clock.now())


def _moment(call: Call, key: str) -> datetime:
    text = call.query.get(key, "").replace(" ", "+")  # a plus sign that nobody encoded
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ApiError(
            "INVALID_ARGUMENT_TYPE" if text else "MISSING_ARGUMENT", f"{key} must be a date-time, not '{text}'"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _check_count(found: list[Any]) -> None:
    if len(found) > MAX_REPLICATED:
        raise ApiError("EXCEEDED_ID_LIMIT", f"more than {MAX_REPLICATED} records in the span: ask for a shorter one")


def _rest_time(moment: datetime) -> str:
    return str(rest_value(timestamp(moment), "datetime"))


_V = "/services/data/v{version}/sobjects/{name}"
ROUTES = (
    Route(("POST",), _V, create),
    Route(("GET",), f"{_V}/updated", updated),
    Route(("GET",), f"{_V}/deleted", deleted),
    Route(("POST",), f"{_V}/Id", create),
    Route(("GET", "POST"), "/services/data/v{version}/sobjects/User/{user_id}/password", password),
    Route(("GET",), f"{_V}/{{record_id}}", read),
    Route(("PATCH",), f"{_V}/{{record_id}}", update),
    Route(("DELETE",), f"{_V}/{{record_id}}", delete),
    Route(("GET",), f"{_V}/{{key}}/{{value...}}", read_by_key),
    Route(("PATCH",), f"{_V}/{{key}}/{{value...}}", upsert_by_key),
    Route(("DELETE",), f"{_V}/{{key}}/{{value...}}", delete_by_key),
)
