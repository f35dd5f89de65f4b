"""Several requests in one: Composite (with references and roll-back), Composite Graph, Composite Batch, and Composite Tree."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from emulators.salesforce.errors import ApiError
from emulators.salesforce.org import Org
from emulators.salesforce.routes.body import json_object, objects
from emulators.salesforce.routes.options import write_options
from emulators.wire import Call, Reply, Route

MAX_SUBREQUESTS = 25
MAX_NODES, MAX_GRAPHS, MAX_FAILED_GRAPHS = 500, 75, 14
_IN_GRAPHS = re.compile(r"/services/data/v\d+\.\d+/sobjects/\w+(/[^?]*)?")  # the only resources that a graph may name
MAX_TREE_RECORDS, MAX_TREE_DEPTH = 200, 5
_REFERENCE = re.compile(r"@\{([A-Za-z0-9_]+)\.?([^}]*)\}")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_HALTED = "The transaction was rolled back since another operation in the same transaction failed."

Answers = list[dict[str, Any]]


class _NoReference(Exception):
    """A reference whose value there is not."""


# -- composite --------------------------------------------------------------------------------------------------------------------


def composite(org: Org, call: Call, version: str) -> Reply:
    body = json_object(call)
    requests = _requests(body, MAX_SUBREQUESTS)
    answers, _ = _run(org, call, requests, all_or_none=bool(body.get("allOrNone")))
    return Reply({"compositeResponse": answers})


def graph(org: Org, call: Call, version: str) -> Reply:
    """Each graph succeeds or fails as a whole; once too many have failed, the rest is not done."""
    graphs = objects(json_object(call).get("graphs"), "graphs")
    for item in graphs:
        for request in objects(item.get("compositeRequest"), "compositeRequest"):
            if not _IN_GRAPHS.fullmatch(str(request.get("url", ""))):
                raise ApiError("INVALID_INPUT", f"{request.get('url')} is not supported in a composite graph")
    if len(graphs) > MAX_GRAPHS:
        raise ApiError("LIMIT_EXCEEDED", f"Limit of {MAX_GRAPHS} reached for number of Graphs")
    if sum(len(item.get("compositeRequest", [])) for item in graphs) > MAX_NODES:
        error = [
            {"errorCode": "LIMIT_EXCEEDED", "message": f"Limit of {MAX_NODES} reached for number of Nodes in the Graph"}
        ]
        return Reply(
            {
                "graphs": [
                    _graph_answer(item, [_answer(error, 400, part) for part in item["compositeRequest"]], False)
                    for item in graphs
                ]
            }
        )
    answered: Answers = []
    for item in graphs:
        requests = _requests(item, MAX_NODES)
        if sum(not done["isSuccessful"] for done in answered) > MAX_FAILED_GRAPHS:
            answered.append(_graph_answer(item, [_answer(_halted(), 400, part) for part in requests], False))
            continue
        answers, succeeded = _run(org, call, requests, all_or_none=True)
        answered.append(_graph_answer(item, answers, succeeded))
    return Reply({"graphs": answered})


def _halted() -> list[dict[str, Any]]:
    return [{"errorCode": "PROCESSING_HALTED", "message": _HALTED}]


def _graph_answer(item: dict[str, Any], answers: Answers, succeeded: bool) -> dict[str, Any]:
    return {"graphId": item.get("graphId"), "graphResponse": {"compositeResponse": answers}, "isSuccessful": succeeded}


def _requests(body: dict[str, Any], most: int) -> list[dict[str, Any]]:
    requests = objects(body.get("compositeRequest"), "compositeRequest")
    if not requests:
        raise ApiError("INVALID_INPUT", "compositeRequest must hold at least one request")
    if len(requests) > most:
        raise ApiError("LIMIT_EXCEEDED", f"Limit of {most} reached for number of subrequests in composite request")
    names = [request.get("referenceId") for request in requests]
    if not all(isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_]+", name) for name in names) or len(
        set(names)
    ) != len(names):
        raise ApiError(
            "INVALID_INPUT", "Each subrequest needs a referenceId of its own, of letters, digits and underscores"
        )
    return requests


def _run(org: Org, call: Call, requests: list[dict[str, Any]], *, all_or_none: bool) -> tuple[Answers, bool]:
    """(the answers in order, whether all succeeded)."""
    if not all_or_none:
        answers = [_one(org, call, request, known) for request, known in _with_known(requests)]
        return answers, all(answer["httpStatusCode"] < 400 for answer in answers)
    answers = []
    with org.store.undoable() as undo:
        for request, known in _with_known(requests):
            answer = _one(org, call, request, known)
            answers.append(answer)
            if answer["httpStatusCode"] >= 400 or _has_failed_rows(answer["body"]):
                undo.wanted = True
                break
    if undo.wanted:
        culprit = answers[-1]
        answers = [
            culprit if request is requests[len(answers) - 1] else _answer(_halted(), 400, request)
            for request in requests
        ]
    return answers, not undo.wanted


def _has_failed_rows(body: Any) -> bool:
    """Whether it is the answer of a collection in which a row failed: then the whole call is rolled back, though its status is 200."""
    return isinstance(body, list) and any(isinstance(row, dict) and row.get("success") is False for row in body)


def _with_known(requests: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each request with the bodies of the answers before it, by referenceId; `_one` fills them in."""
    known: dict[str, Any] = {}
    for request in requests:
        yield request, known


def _one(org: Org, call: Call, request: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    try:
        url, body = _resolved(request.get("url", ""), known), _resolved(request.get("body"), known)
    except _NoReference as error:
        return _answer(
            [{"errorCode": "PROCESSING_HALTED", "message": f"Invalid reference specified. {error}"}], 400, request
        )
    reply = _subrequest(org, call, str(request.get("method", "GET")), str(url), body, request.get("httpHeaders"))
    if reply.status < 400:
        known[request["referenceId"]] = reply.body
    headers = {key: value for key, value in reply.headers.items() if key in ("Location", "ETag", "Last-Modified")}
    return _answer(reply.body, reply.status, request, headers)


def _answer(body: Any, status: int, request: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "body": body,
        "httpHeaders": headers or {},
        "httpStatusCode": status,
        "referenceId": request.get("referenceId"),
    }


def _resolved(value: Any, known: dict[str, Any]) -> Any:
    """The value with every `@{reference.path}` in it replaced; a text that is nothing but a reference becomes its value."""
    if isinstance(value, dict):
        return {key: _resolved(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, known) for item in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _referred(whole, known)
    return _REFERENCE.sub(lambda match: str(_referred(match, known)), value)


def _referred(match: re.Match[str], known: dict[str, Any]) -> Any:
    name, path = match.groups()
    node = known.get(name)
    for key, index in _STEP.findall(path):
        if isinstance(node, dict) and key in node:
            node = node[key]
        elif isinstance(node, list) and index and int(index) < len(node):
            node = node[int(index)]
        else:
            node = None
    if node is None:
        raise _NoReference(f"No value for {name}.{path} found in {name}")
    return node


# -- batch ------------------------------------------------------------------------------------------------------------------------


def batch(org: Org, call: Call, version: str) -> Reply:
    """Independent requests, one after the other; every part counts as a call."""
    body = json_object(call)
    requests = objects(body.get("batchRequests"), "batchRequests")
    if len(requests) > MAX_SUBREQUESTS:
        raise ApiError("LIMIT_EXCEEDED", f"Limit of {MAX_SUBREQUESTS} reached for number of batch requests")
    for _ in requests[1:]:  # the call itself was counted when it came in
        org.usage.count("POST /composite/batch part")
    results: Answers = []
    halted = False
    for request in requests:
        if halted:
            error = [{"errorCode": "BATCH_PROCESSING_HALTED", "message": "Batch processing halted per request header"}]
            results.append({"statusCode": 412, "result": error})
            continue
        reply = _subrequest(
            org, call, str(request.get("method", "GET")), str(request.get("url", "")), request.get("richInput")
        )
        results.append({"statusCode": reply.status, "result": reply.body})
        halted = bool(body.get("haltOnError")) and reply.status >= 400
    return Reply({"hasErrors": any(item["statusCode"] >= 400 for item in results), "results": results})


def _subrequest(org: Org, call: Call, method: str, url: str, body: Any, headers: Any = None) -> Reply:
    from emulators.salesforce.app import dispatch  # the routes of the app include this one

    parts = urlsplit("/services/data/" + url.removeprefix("/services/data/").lstrip("/"))
    own = {key.lower(): str(value) for key, value in headers.items()} if isinstance(headers, dict) else {}
    inner = Call(
        method=method.upper(),
        path=parts.path.rstrip("/"),
        raw_path=parts.path.rstrip("/"),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers={**call.headers, **own},
        body=b"" if body is None else json.dumps(body).encode(),
        base_url=call.base_url,
    )
    reply = dispatch(org, inner)
    if isinstance(reply.body, (bytes, str)) and reply.body:
        error = ApiError("INVALID_INPUT", f"{parts.path} cannot be a part of another request: its answer is no JSON")
        return Reply([error.as_rest()], status=error.status)
    return reply


# -- tree -------------------------------------------------------------------------------------------------------------------------


def tree(org: Org, call: Call, version: str, name: str) -> Reply:
    """Records with their children, all created or none."""
    records = objects(json_object(call).get("records"), "records")
    nodes = list(_flat(records, None, None, 1))
    if len(nodes) > MAX_TREE_RECORDS:
        raise ApiError("LIMIT_EXCEEDED", f"The request has {len(nodes)} records; the limit is {MAX_TREE_RECORDS}")
    references = [node["attributes"].get("referenceId") for node, _, _ in nodes]
    if not all(isinstance(name, str) and name for name in references) or len(set(references)) != len(references):
        raise ApiError("INVALID_INPUT", "Each record needs an attributes.referenceId of its own")
    created: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    ids: dict[str, str] = {}
    with org.store.undoable() as undo:
        for node, parent, relationship in nodes:
            reference = node["attributes"]["referenceId"]
            sobject = org.object_for_write(str(node["attributes"].get("type") or name))
            values = {key: value for key, value in node.items() if key != "attributes" and not _is_children(value)}
            if parent is not None:
                if parent not in ids:
                    continue  # its parent failed
                values[_parent_field(org, sobject.name, str(relationship))] = ids[parent]
            result = org.dml.insert(sobject, [values], options=write_options(call))[0]
            if result.error:
                errors.append({"referenceId": reference, "errors": [result.error.as_row()]})
            else:
                ids[reference] = str(result.id)
                created.append({"referenceId": reference, "id": result.id})
        undo.wanted = bool(errors)
    return (
        Reply({"hasErrors": True, "results": errors}, status=400)
        if errors
        else Reply({"hasErrors": False, "results": created}, status=201)
    )


def _flat(
    records: list[Any], parent: str | None, relationship: str | None, depth: int
) -> Iterator[tuple[dict[str, Any], str | None, str | None]]:
    """(record, reference of its parent, child relationship), parents first."""
    if depth > MAX_TREE_DEPTH:
        raise ApiError("LIMIT_EXCEEDED", f"The tree is deeper than {MAX_TREE_DEPTH} levels")
    for record in records:
        if not isinstance(record, dict) or not isinstance(record.get("attributes"), dict):
            raise ApiError("INVALID_INPUT", "Each record needs attributes with type and referenceId")
        yield record, parent, relationship
        for key, value in record.items():
            if _is_children(value):
                yield from _flat(value["records"], record["attributes"].get("referenceId"), key, depth + 1)


def _is_children(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("records"), list)


def _parent_field(org: Org, child: str, relationship: str) -> str:
    found = next(
        (
            item.name
            for item in org.schema.objects[child].fields.values()
            if (item.child_relationship or "").lower() == relationship.lower()
        ),
        None,
    )
    if found is None:
        raise ApiError("INVALID_FIELD", f"No such relation '{relationship}' that leads to {child}")
    return found


_V = "/services/data/v{version}/composite"
ROUTES = (
    Route(("POST",), _V, composite),
    Route(("POST",), f"{_V}/batch", batch),
    Route(("POST",), f"{_V}/graph", graph),
    Route(("POST",), f"{_V}/tree/{{name}}", tree),
)
