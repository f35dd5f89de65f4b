"""SOQL over REST: query, queryAll, and the pages that follow."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from emulators.salesforce.errors import ApiError
from emulators.salesforce.org import Org
from emulators.salesforce.routes.body import flag
from emulators.salesforce.routes.options import header_options, session_token
from emulators.salesforce.schema import NUMBER_TYPES, TEXT_TYPES, Field, Schema
from emulators.salesforce.soql.compiler import MARKS, Column, Compiled, Compiler
from emulators.salesforce.soql.conditions import PARENT_ID
from emulators.salesforce.soql.parser import parse
from emulators.salesforce.soql.results import shaper
from emulators.salesforce.store import VARIABLES_PER_STATEMENT, Store, timestamp
from emulators.salesforce.tooling import IN_DATA_API
from emulators.wire import Call, Reply, Route

DEFAULT_PAGE, SMALLEST_PAGE = 2_000, 200
CURSOR_LIFETIME = timedelta(days=2)
CURSORS_KEPT = 1_000  # an org keeps them all; memory here is smaller
_APEX_TYPES = {
    "id": "Id", "reference": "Id", "boolean": "Boolean", "int": "Integer", "double": "Double", "currency": "Decimal", "percent": "Double",
    "date": "Date", "datetime": "Datetime",
}  # fmt: skip


class Engine(Protocol):
    """What queries run on."""

    @property
    def schema(self) -> Schema: ...
    @property
    def store(self) -> Store: ...
    @property
    def compiler(self) -> Compiler: ...


@dataclass
class Cursor:
    """The rest of a result: the ids still to come, and the statement that reads their columns."""

    engine: Engine
    compiled: Compiled
    ids: list[str]
    page: int
    opened: datetime
    session: str  # the token that opened it; no other one may go on


def query(org: Org, call: Call, version: str) -> Reply:
    return run_query(org, call, version, _engine(org, call), include_deleted=False)


def query_all(org: Org, call: Call, version: str) -> Reply:
    return run_query(org, call, version, _engine(org, call), include_deleted=True)


def _engine(org: Org, call: Call) -> Engine:
    """The org itself, or its Tooling API for the objects that both know."""
    words = re.search(r"\bFROM\s+(\w+)", call.query.get("q", ""), re.IGNORECASE)
    return org.tooling_engine() if words and words[1].lower() in IN_DATA_API else org


def run_query(org: Org, call: Call, version: str, engine: Engine, *, include_deleted: bool) -> Reply:
    """The first page of a query on the org's data or on another engine's."""
    text = call.query.get("q", "")
    if not text:
        raise ApiError("MALFORMED_QUERY", "SOQL query is missing")
    compiled = engine.compiler.compile(parse(text), text, include_deleted=include_deleted)
    if flag(call.query.get("columns")):
        return Reply(column_metadata(compiled))
    if include_deleted:
        engine.store.purge(compiled.sobject, timestamp(org.clock.now()))
    reader = engine.store.reader
    if compiled.is_count:
        total = reader.execute(compiled.sql, compiled.parameters).fetchone()[0]
        return Reply(
            {"totalSize": total if compiled.limit is None else min(total, compiled.limit), "done": True, "records": []}
        )
    page = _page_size(call)
    if compiled.is_aggregate:
        shape = shaper(compiled, version, engine.schema)
        rows = reader.execute(compiled.sql, compiled.parameters).fetchmany(DEFAULT_PAGE + 1)
        if len(rows) > DEFAULT_PAGE:
            raise ApiError("EXCEEDED_ID_LIMIT", "Aggregate query has too many rows for direct assignment, use FOR loop")
        records = [shape(row) for row in rows]
        return Reply({"totalSize": len(records), "done": True, "records": records})
    ids = [row[0] for row in reader.execute(compiled.id_sql, compiled.parameters)]
    locator = _open_cursor(org, Cursor(engine, compiled, ids, page, org.clock.now(), session_token(call) or ""))
    return _page(org, version, locator, org.cursors[locator], 0)


def _open_cursor(org: Org, cursor: Cursor) -> str:
    locator = f"0r8{uuid.uuid4().hex[:15]}"
    org.cursors[locator] = cursor
    while len(org.cursors) > CURSORS_KEPT:
        org.cursors.pop(next(iter(list(org.cursors))), None)
    return locator


def query_more(org: Org, call: Call, version: str, locator: str) -> Reply:
    name, _, start = locator.partition("-")
    cursor = org.cursors.get(name)
    too_late = cursor is not None and cursor.opened < org.clock.now() - CURSOR_LIFETIME
    strange = cursor is not None and cursor.session != (session_token(call) or "")
    if cursor is None or not re.fullmatch("[0-9]{1,9}", start) or too_late or strange:
        raise ApiError("INVALID_QUERY_LOCATOR", "invalid query locator")
    return _page(org, version, name, cursor, int(start))


def _page(org: Org, version: str, locator: str, cursor: Cursor, start: int) -> Reply:
    wanted = cursor.ids[start : start + cursor.page]
    shape = shaper(cursor.compiled, version, cursor.engine.schema)
    by_id = {row[0]: row for row in rows_of(cursor.engine, cursor.compiled, wanted)}
    records = [shape(by_id[record_id]) for record_id in wanted if record_id in by_id]
    for child in cursor.compiled.children:
        for record in records:
            record[child.name] = _child_records(
                org, cursor, version, child.compiled, record["attributes"]["url"].rpartition("/")[2]
            )
    end = start + cursor.page
    answer: dict[str, Any] = {"totalSize": len(cursor.ids), "done": end >= len(cursor.ids)}
    if answer["done"]:
        if start == 0:
            org.cursors.pop(locator, None)
    else:
        answer["nextRecordsUrl"] = f"/services/data/v{version}/query/{locator}-{end}"
    return Reply(answer | {"records": records})


def rows_of(engine: Engine, compiled: Compiled, ids: list[str]) -> list[tuple[Any, ...]]:
    """The rows of these records, deleted ones too, in no order."""
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(ids), VARIABLES_PER_STATEMENT):
        part = ids[start : start + VARIABLES_PER_STATEMENT]
        rows += engine.store.reader.execute(
            compiled.by_id_sql.replace(MARKS, ",".join("?" * len(part))), part
        ).fetchall()
    return rows


def _child_records(org: Org, outer: Cursor, version: str, compiled: Compiled, parent_id: str) -> dict[str, Any] | None:
    """The first page of a parent's children, of a query whose cursor is `outer`; null when it has none."""
    engine = outer.engine
    shape = shaper(compiled, version, engine.schema)
    place = compiled.parameters.index(PARENT_ID)
    parameters = (*compiled.parameters[:place], parent_id, *compiled.parameters[place + 1 :])
    rows = engine.store.reader.execute(compiled.sql, parameters).fetchall()
    if not rows:
        return None
    answer: dict[str, Any] = {"totalSize": len(rows), "done": len(rows) <= DEFAULT_PAGE}
    if not answer["done"]:
        ids = [row[0] for row in rows]
        locator = _open_cursor(org, replace(outer, compiled=compiled, ids=ids, page=DEFAULT_PAGE))
        answer["nextRecordsUrl"] = f"/services/data/v{version}/query/{locator}-{DEFAULT_PAGE}"
    records = [shape(row) for row in rows[:DEFAULT_PAGE]]
    for child in compiled.children:
        for record in records:
            record[child.name] = _child_records(
                org, outer, version, child.compiled, record["attributes"]["url"].rpartition("/")[2]
            )
    return answer | {"records": records}


def column_metadata(compiled: Compiled) -> dict[str, Any]:
    """What `columns=true` answers instead of records. A parent's fields and a child query's are joinColumns of one column."""
    columns: dict[str, dict[str, Any]] = {}
    for column in compiled.columns:
        item = compiled.sobject.find(column.path[0])
        own = _column_metadata(column, item, column.path[-1])
        if len(column.path) == 1:
            columns[column.path[0]] = own
        else:
            outer = columns.setdefault(
                column.path[0], _column_metadata(column, None, column.path[0]) | {"apexType": None, "textType": False}
            )
            outer["joinColumns"].append(own | {"columnName": ".".join(column.path[1:])})
    for child in compiled.children:
        inner = column_metadata(child.compiled)["columnMetadata"]
        columns[child.name] = {
            "aggregate": True, "apexType": None, "booleanType": False, "columnName": child.name, "custom": child.name.endswith("__r"),
            "displayName": child.name, "foreignKeyName": None, "insertable": False, "joinColumns": inner, "numberType": False,
            "textType": False, "updatable": False,
        }  # fmt: skip
    return {
        "columnMetadata": list(columns.values()), "entityName": compiled.sobject.name, "groupBy": compiled.is_aggregate,
        "idSelected": "Id" in columns, "keyPrefix": compiled.sobject.prefix,
    }  # fmt: skip


def _column_metadata(column: Column, item: Field | None, name: str) -> dict[str, Any]:
    return {
        "aggregate": column.function is not None, "apexType": _APEX_TYPES.get(column.type, "String"), "booleanType": column.type == "boolean",
        "columnName": name, "custom": name.endswith("__c"), "displayName": column.function or name,
        "foreignKeyName": item.relationship if item else None, "insertable": bool(item and item.createable), "joinColumns": [],
        "numberType": column.type in NUMBER_TYPES, "textType": column.type in TEXT_TYPES, "updatable": bool(item and item.updateable),
    }  # fmt: skip


def _page_size(call: Call) -> int:
    value = header_options(call, "sforce-query-options").get("batchsize", "")
    return max(SMALLEST_PAGE, min(DEFAULT_PAGE, int(value))) if re.fullmatch("[0-9]{1,9}", value) else DEFAULT_PAGE


_V = "/services/data/v{version}"
ROUTES = (
    Route(("GET",), f"{_V}/query", query),
    Route(("GET",), f"{_V}/queryAll", query_all),
    Route(("GET",), f"{_V}/query/{{locator}}", query_more),
    Route(("GET",), f"{_V}/queryAll/{{locator}}", query_more),
)
