"""Rows of a compiled query as REST JSON or Bulk CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from emulators.salesforce.schema import Schema
from emulators.salesforce.soql.compiler import Compiled
from emulators.salesforce.soql.expressions import Parent
from emulators.salesforce.store import Store

FETCH_ROWS = 2_000


def rest_value(value: Any, kind: str) -> Any:
    """A stored value as REST JSON shows it."""
    if value is None:
        return False if kind == "boolean" else None
    if kind == "boolean":
        return bool(value)
    if kind == "datetime":
        return value.replace("Z", "+0000")
    if kind == "address":
        return json.loads(value) | {"geocodeAccuracy": None, "latitude": None, "longitude": None}
    return value


def shaper(compiled: Compiled, version: str, schema: Schema) -> Callable[[tuple[Any, ...]], dict[str, Any]]:
    """A function from an SQL row (Id first, then columns, then the ids of parents) to the JSON record."""
    name = "AggregateResult" if compiled.is_aggregate else compiled.sobject.name
    root = f"/services/data/v{version}/sobjects"
    first_parent = 1 + len(compiled.columns)

    def shape(row: tuple[Any, ...]) -> dict[str, Any]:
        attributes = {"type": name} if row[0] is None else {"type": name, "url": f"{root}/{name}/{row[0]}"}
        record: dict[str, Any] = {"attributes": attributes}
        nodes = _parents(compiled.parents, row[first_parent:], root, schema) if compiled.parents else {}
        for column, value in zip(compiled.columns, row[1:first_parent], strict=True):
            if len(column.path) == 1:
                record[column.path[0]] = rest_value(value, column.type)
                continue
            _attach(record, column.path[:-1], nodes)
            node, kind = nodes[column.path[:-1]]
            if node is not None and (column.when is None or column.when == kind):
                node[column.path[-1]] = rest_value(value, column.type)
        return record

    return shape


Nodes = dict[tuple[str, ...], tuple[dict[str, Any] | None, str]]


def _parents(parents: tuple[Parent, ...], ids: tuple[Any, ...], root: str, schema: Schema) -> Nodes:
    """Path -> (the parent's JSON object or None, the name by which TYPEOF's columns know it)."""
    nodes: Nodes = {}
    for parent, record_id in zip(parents, ids, strict=True):
        if record_id is None:
            nodes[parent.path] = (None, "")
            continue
        actual = parent.sobject or schema.by_prefix(record_id[:3])
        kind = actual.name if actual else "Name"
        shown = kind if parent.sobject or parent.whens is not None else "Name"
        when = kind if parent.whens is not None and kind in parent.whens else ""
        nodes[parent.path] = ({"attributes": {"type": shown, "url": f"{root}/{kind}/{record_id}"}}, when)
    return nodes


def _attach(record: dict[str, Any], path: tuple[str, ...], nodes: Nodes) -> None:
    """Hangs the parents on the way of `path` into the record, unless they hang there."""
    node: dict[str, Any] | None = record
    for depth, name in enumerate(path):
        if node is None:
            return
        found = nodes[path[: depth + 1]][0]
        node.setdefault(name, found)
        node = found


def csv_rows(store: Store, compiled: Compiled, delimiter: str = ",", ending: str = "\n") -> Iterator[tuple[str, int]]:
    """(CSV text, number of rows in it), a block at a time, without the header. Null is an empty cell."""
    cursor = store.reader.execute(compiled.csv_sql, compiled.parameters)
    while rows := cursor.fetchmany(FETCH_ROWS):
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL).writerows(rows)
        yield text.getvalue(), len(rows)


def csv_header(compiled: Compiled, delimiter: str = ",", ending: str = "\n") -> str:
    return delimiter.join(f'"{".".join(column.path)}"' for column in compiled.columns) + ending
