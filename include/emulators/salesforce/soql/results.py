"""Rows of a compiled query as REST JSON or Bulk CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

from emulators.salesforce.soql.compiler import Column, Compiled
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
    return value


def csv_value(value: Any, kind: str) -> str:
    """A stored value as a cell of a Bulk API 2.0 result."""
    if kind == "boolean":
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(int(value)) + ".0" if value == int(value) and kind != "int" else repr(value)
    return str(value)


def shaper(compiled: Compiled, version: str) -> Callable[[tuple[Any, ...]], dict[str, Any]]:
    """A function from an SQL row (Id first) to the JSON record."""
    name = "AggregateResult" if compiled.is_aggregate else compiled.sobject.name

    def attributes(kind: str, record_id: str | None) -> dict[str, Any]:
        if compiled.is_aggregate or record_id is None:
            return {"type": kind}
        return {"type": kind, "url": f"/services/data/v{version}/sobjects/{kind}/{record_id}"}

    def shape(row: tuple[Any, ...]) -> dict[str, Any]:
        record: dict[str, Any] = {"attributes": attributes(name, row[0])}
        for column, value in zip(compiled.columns, row[1:], strict=True):
            if len(column.path) == 1:
                record[column.path[0]] = rest_value(value, column.type)
            else:
                _nest(record, column, value)
        return record

    return shape


def _nest(record: dict[str, Any], column: Column, value: Any) -> None:
    node = record
    for name, parent in zip(column.path[:-1], column.parents, strict=True):
        if node.get(name) is None:
            node[name] = {"attributes": {"type": parent.name}}
        node = node[name]
    node[column.path[-1]] = rest_value(value, column.type)


def drop_missing_parents(record: dict[str, Any]) -> dict[str, Any]:
    """A parent none of whose values is known is null, not an object of nulls."""
    for name, value in list(record.items()):
        if name != "attributes" and isinstance(value, dict) and "attributes" in value:
            drop_missing_parents(value)
            if all(item is None or item is False for key, item in value.items() if key != "attributes"):
                record[name] = None
    return record


def csv_rows(store: Store, compiled: Compiled) -> Iterator[tuple[str, int]]:
    """(CSV text, number of rows in it), a block at a time, without the header."""
    cursor = store.reader.execute(compiled.sql, compiled.parameters)
    kinds = [column.type for column in compiled.columns]
    plain = all(kind not in ("boolean", "double", "currency", "percent") for kind in kinds)
    while rows := cursor.fetchmany(FETCH_ROWS):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
        if plain:
            writer.writerows([row[1:] for row in rows])
        else:
            writer.writerows([[csv_value(value, kind) for value, kind in zip(row[1:], kinds, strict=True)] for row in rows])
        yield text.getvalue(), len(rows)


def csv_header(compiled: Compiled) -> str:
    return ",".join(f'"{".".join(column.path)}"' for column in compiled.columns) + "\n"
