"""Rows on their way to Salesforce: as JSON records for collections, as CSV for a Bulk job; and rows taken apart and put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

JOB_ROWS = 100_000  # rows per Bulk job: their results are held in memory to be put in order
JOB_BYTES = 100 * 1024 * 1024  # Salesforce takes 150 MB counted as base64, which is a third longer
BULK_NULL = "#N/A"


class Operation(StrEnum):
    INSERT = "insert"
    UPSERT = "upsert"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True)
class ConvertedRule:
    """Where changes of a converted Lead go: `object` is Contact or Account, `fields` says which of its fields each Lead field becomes."""

    object: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Node:
    """One of the records that a row is written as, all of them or none.

    `prefix` is how its columns are named. An upsert finds it by `key`, its external id field, which gets the row's key,
    and fills `references`, field -> name of the node whose id it gets. An update finds it by the id in the column
    `id_column`, and passes over a node without such a column.
    """

    name: str
    object: str
    key: str
    prefix: str = ""
    references: Mapping[str, str] = field(default_factory=dict)
    id_column: str = "Id"


@dataclass(frozen=True)
class WriteRequest:
    """What to do with the rows. Every row has a value in `key`: the external id field of an upsert or insert (an insert
    whose answer got lost is looked up by it), `Id` or an external id of an update, which then creates nothing, `Id` of
    a delete.

    A column named `Parent__r.Key__c` refers to a parent by the parent's external id. A null clears its field when the
    column is in `clears`, and leaves it alone when it is not. `parent` names a column whose equal rows are sent
    together, so that they do not lock their common parent against each other. `assign` lets the org's assignment rules
    choose owners. `allow_duplicates` True saves what a duplicate rule only warns of; None leaves that to the org. With
    `nodes`, each row is several records: see Node; the result is that of the one whose columns have no prefix.
    """

    object: str
    operation: Operation
    key: str = "Id"
    clears: frozenset[str] = field(default_factory=frozenset)
    parent: str | None = None
    assign: bool = False
    allow_duplicates: bool | None = None
    converted: ConvertedRule | None = None
    nodes: tuple[Node, ...] = ()


def chunks(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows again, in tables of JOB_ROWS (or as many as fit JOB_BYTES): every job should be as full as it may be."""
    pending: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        for start in range(0, table.num_rows, JOB_ROWS):
            part = table.slice(start, JOB_ROWS)
            if rows + part.num_rows > JOB_ROWS or size + part.nbytes > JOB_BYTES:
                if pending:
                    yield pa.concat_tables(pending)
                pending, rows, size = [], 0, 0
            pending.append(part)
            rows, size = rows + part.num_rows, size + part.nbytes
    if rows:
        yield pa.concat_tables(pending)


def regrouped(tables: Iterable[pa.Table], rows: int = JOB_ROWS) -> Iterator[pa.Table]:
    """The rows again in tables of at least `rows` where there are that many: fewer, fuller writes cost fewer API calls."""
    pending: list[pa.Table] = []
    waiting = 0
    for table in tables:
        pending.append(table)
        waiting += table.num_rows
        if waiting >= rows:
            yield pa.concat_tables(pending)
            pending, waiting = [], 0
    if pending:
        yield pa.concat_tables(pending)


def has_literal_null(chunk: pa.Table) -> list[bool]:
    mask = pa.array([False] * chunk.num_rows)
    for column in chunk.columns:
        if pa.types.is_string(column.type):
            mask = pc.or_(mask, pc.fill_null(pc.equal(column, BULK_NULL), False))
    return list(mask.to_pylist())


def json_records(request: WriteRequest, chunk: pa.Table) -> list[dict[str, Any]]:
    texts = pa.table({name: _json_column(_unchecked(request, chunk, name)) for name in chunk.column_names})
    return [_json_record(request, row) for row in texts.to_pylist()]


def _unchecked(request: WriteRequest, chunk: pa.Table, name: str) -> pa.ChunkedArray:
    """The column; a checkbox that is cleared is not checked, since Salesforce knows no checkbox without a value."""
    column = chunk.column(name)
    return pc.fill_null(column, False) if pa.types.is_boolean(column.type) and name in request.clears else column


def _json_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return _text_column(column) if pa.types.is_temporal(column.type) else column


def _json_record(request: WriteRequest, row: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {"attributes": {"type": request.object}}
    for name, value in row.items():
        parent, _, key = name.partition(".")
        if value is None and name not in request.clears:
            continue
        if not key:
            record[name] = value
        elif value is None:
            record[parent] = None
        else:
            record[parent] = {key: value}
    return record


def _text_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column.cast(pa.timestamp("ms", tz="UTC")), format="%Y-%m-%dT%H:%M:%SZ")
    return column.cast(pa.string())


def write_csv(request: WriteRequest, chunk: pa.Table, target: IO[bytes]) -> None:
    columns = {
        name: pc.fill_null(_text_column(_unchecked(request, chunk, name)), BULK_NULL if name in request.clears else "")
        for name in chunk.column_names
    }
    options = pa.csv.WriteOptions(include_header=True, quoting_style="all_valid", batch_size=10_000)
    pa.csv.write_csv(pa.table(columns), pa.PythonFile(target, mode="w"), options)
    target.flush()
