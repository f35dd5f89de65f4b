"""Writing rows that are several records each, all of them or none: by Composite Graph, 75 rows a call, several calls at
once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote

import pyarrow as pa

from salesforce_sync.errors import ServiceUnavailable
from salesforce_sync.records import Outcome, WriteResult
from salesforce_sync.salesforce.collections import (
    Answered,
    headers_of,
    in_halves,
    outcome_of,
    side_by_side,
    with_fields,
)
from salesforce_sync.salesforce.rows import Node, Operation, WriteRequest, json_records
from salesforce_sync.salesforce.session import Session

GRAPHS = 75  # Salesforce's limit for one call (REST API Developer Guide, "Composite Graph Limits")
HALTED = "PROCESSING_HALTED"  # of a request that was not done, since another one failed
REFERENCE = "@{"  # how a text begins that Salesforce replaces by what an earlier request gave


class _Row(NamedTuple):
    """The requests of one row, or why it has none."""

    requests: Sequence[dict[str, Any]]
    salesforce_id: str | None
    refused: WriteResult | None = None


class GraphWriter:
    def __init__(self, session: Session) -> None:
        self._session = session

    def write(self, request: WriteRequest, chunk: pa.Table) -> Answered:
        """A result for each row, in order: that of its own record, or the refusal of whichever failed; and the error of
        the calls that gave none."""
        rows = self._rows(request, chunk)
        groups = [rows[start : start + GRAPHS] for start in range(0, len(rows), GRAPHS)]
        return side_by_side(groups, lambda group: self._group(request, group))

    # -- rows as requests ------------------------------------------------------------------------------------------

    def _rows(self, request: WriteRequest, chunk: pa.Table) -> list[_Row]:
        bodies = {node.name: _bodies(request, node, chunk) for node in request.nodes}
        make = self._upsert if request.operation is Operation.UPSERT else self._update
        return [
            make(request, {name: found[place] for name, found in bodies.items()}, keys)
            for place, keys in enumerate(chunk.select(_key_columns(request)).to_pylist())
        ]

    def _upsert(self, request: WriteRequest, bodies: Mapping[str, dict[str, Any]], keys: Mapping[str, Any]) -> _Row:
        if refused := _refusal(bodies):
            return _Row([], None, refused)
        key = quote(str(keys[request.key]), safe="")
        requests = []
        for node in request.nodes:
            references = {field: f"@{{{target}.id}}" for field, target in node.references.items()}
            path = self._session.path(f"sobjects/{node.object}/{node.key}/{key}")
            requests.append(_patch(node, path, bodies[node.name] | references))
        return _Row(requests, None)

    def _update(self, request: WriteRequest, bodies: Mapping[str, dict[str, Any]], keys: Mapping[str, Any]) -> _Row:
        own = keys[request.key]
        if refused := _refusal(bodies):
            return _Row([], own, refused)
        requests = []
        for node in request.nodes:
            if not bodies[node.name]:
                continue
            record_id = keys.get(node.id_column)
            if not record_id:
                why = f"it has no {node.object} any more, to which {', '.join(bodies[node.name])} would go"
                return _Row([], own, WriteResult(Outcome.REJECTED, own, "NO_PARENT", why))
            path = self._session.path(f"sobjects/{node.object}/{quote(str(record_id), safe='')}")
            requests.append(_patch(node, path, bodies[node.name]))
        return _Row(requests, own)

    # -- calls -----------------------------------------------------------------------------------------------------

    def _group(self, request: WriteRequest, rows: Sequence[_Row]) -> list[WriteResult]:
        """Sends the rows; those that Salesforce did not come to, since too many failed before them, go again."""
        results = [row.refused or (None if row.requests else _unchanged(row)) for row in rows]
        while left := [place for place, result in enumerate(results) if result is None]:
            send = partial(self._call, request)
            found = in_halves([rows[place] for place in left], send, lambda row: row.salesforce_id)
            if not any(found):
                raise ServiceUnavailable("Salesforce did none of the graphs, and says of none why.")
            for place, result in zip(left, found, strict=True):
                results[place] = result
        return [result for result in results if result is not None]

    def _call(self, request: WriteRequest, rows: Sequence[_Row]) -> list[WriteResult | None]:
        """The rows may be sent twice: an update by id and an upsert by key do nothing new then."""
        what = f"{request.operation} of {len(rows)} {request.object} with what belongs to them"
        graphs = [{"graphId": str(place), "compositeRequest": row.requests} for place, row in enumerate(rows)]
        reply = self._session.request(
            "POST",
            self._session.path("composite/graph"),
            what=what,
            json_body={"graphs": graphs},
            headers=headers_of(request),
        )
        answers = reply.value.get("graphs") if isinstance(reply.value, dict) else None
        found = {str(answer.get("graphId")): answer for answer in answers or [] if isinstance(answer, dict)}
        if found.keys() != {str(place) for place in range(len(rows))}:
            raise ServiceUnavailable(f"{what}: the answer is for other graphs, or for none.")
        return [_result(request, row, found[str(place)], what) for place, row in enumerate(rows)]


def _key_columns(request: WriteRequest) -> list[str]:
    if request.operation is Operation.UPSERT:
        return [request.key]
    return list(dict.fromkeys(node.id_column for node in request.nodes if node.id_column))


def _bodies(request: WriteRequest, node: Node, chunk: pa.Table) -> list[dict[str, Any]]:
    """What the node is given in each row: nothing of what is null, but for what is to be cleared."""
    others = tuple(other.prefix for other in request.nodes if other.prefix and other is not node)
    ids = {*_key_columns(request)}
    names = [
        name
        for name in chunk.column_names
        if name.startswith(node.prefix) and name not in ids and not name.startswith(others)
    ]
    own = {name.removeprefix(node.prefix): chunk.column(name) for name in names}
    if not own:
        return [{}] * chunk.num_rows
    clears = frozenset(name.removeprefix(node.prefix) for name in request.clears & {*names})
    records = json_records(replace(request, object=node.object, clears=clears), pa.table(own))
    return [{name: value for name, value in record.items() if name != "attributes"} for record in records]


def _patch(node: Node, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"method": "PATCH", "url": path, "referenceId": node.name, "body": dict(body)}


def _refusal(bodies: Mapping[str, Mapping[str, Any]]) -> WriteResult | None:
    """A text that Salesforce would take for a reference of ours cannot be sent this way, and there is no way to quote
    it."""
    for body in bodies.values():
        for name, value in body.items():
            if isinstance(value, str) and REFERENCE in value:
                why = f"{name} has {REFERENCE!r} in it, which Salesforce takes for a reference here; take it out at its source"
                return WriteResult(Outcome.REJECTED, None, "REFERENCE_IN_TEXT", why)
    return None


def _unchanged(row: _Row) -> WriteResult:
    return WriteResult(Outcome.UPDATED, row.salesforce_id)


def _result(request: WriteRequest, row: _Row, answer: Mapping[str, Any], what: str) -> WriteResult | None:
    """None when Salesforce did not come to it."""
    parts = (answer.get("graphResponse") or {}).get("compositeResponse")
    if not isinstance(parts, list) or len(parts) != len(row.requests):
        raise ServiceUnavailable(f"{what}: a graph has {len(parts) if isinstance(parts, list) else 'no'} answers.")
    if answer.get("isSuccessful"):
        own = next(node.name for node in request.nodes if not node.prefix)
        body = next((part.get("body") for part in parts if part.get("referenceId") == own), None) or {}
        salesforce_id = row.salesforce_id or body.get("id")
        if not salesforce_id:
            raise ServiceUnavailable(f"{what}: a graph has succeeded, and names no record.")
        return WriteResult(outcome_of(request, bool(body.get("created"))), salesforce_id)
    for sent, part in zip(row.requests, parts, strict=True):
        errors = part.get("body") or []
        first = errors[0] if isinstance(errors, list) and errors else {}
        if part.get("httpStatusCode", 0) >= 400 and first.get("errorCode") not in (HALTED, None):
            node = next(node for node in request.nodes if node.name == sent["referenceId"])
            told = "; ".join(with_fields(error.get("message", ""), error.get("fields") or []) for error in errors)
            return WriteResult(Outcome.REJECTED, row.salesforce_id, first["errorCode"], f"{node.object}: {told}")
    return None
