"""POST /services/Soap/m/NN: the Metadata API. Deploying tools post to paths below it too, such as /deployRequest; all are the same."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from emulators.salesforce.errors import ApiError
from emulators.salesforce.metadata import catalogue, deploy
from emulators.salesforce.metadata.components import ComponentError, apply, order_of, remove
from emulators.salesforce.metadata.package import NAMESPACE, Component, children_of
from emulators.salesforce.org import Org
from emulators.salesforce.soap.envelope import (
    XSI_TYPE,
    Request,
    Xml,
    fault_reply,
    local_name,
    read_request,
    result_reply,
)
from emulators.wire import Call, Reply

MAX_LIST_QUERIES = 3
MAX_CRUD = 10  # components in one call of createMetadata and the like


def answer(org: Org, call: Call, version: str) -> Reply:
    """Runs the operation of the envelope; errors become faults."""
    try:
        request = read_request(call.body)
        org.authenticate(request.session_id)
        org.usage.count(f"SOAP {request.operation}")
        if request.operation not in OPERATIONS:
            raise ApiError("INVALID_OPERATION", f"The operation {request.operation} is not built in this emulator")
        return result_reply(request.operation, catalogue.NAMESPACE_URI, OPERATIONS[request.operation](org, request))
    except ApiError as error:
        return fault_reply(error, catalogue.NAMESPACE_URI)


# -- deploy -----------------------------------------------------------------------------------------------------------------------


def _deploy(org: Org, request: Request) -> list[Any]:
    options = next((node for node in request.element.iter() if local_name(node) == "DeployOptions"), None)
    given: dict[str, Any] = (
        {local_name(node): (node.text or "").strip() for node in options} if options is not None else {}
    )
    given["runTests"] = [(node.text or "").strip() for node in options or () if local_name(node) == "runTests"]
    deployment = deploy.start(org, _zip(request.text("ZipFile") or ""), deploy.DeployOptions.read(given))
    return [{"done": False, "id": deployment.id, "state": "Queued"}]


def _deploy_validated(org: Org, request: Request) -> list[Any]:
    return [deploy.start_validated(org, request.text("validationId") or request.text("validationID") or "").id]


def _zip(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError) as error:
        raise ApiError("INVALID_ZIP", f"ZipFile is not base64: {error}") from error


def _check_deploy(org: Org, request: Request) -> list[Any]:
    deployment = deploy.find(org, request.text("asyncProcessId") or "")
    result = deployment.result(org, details=(request.text("includeDetails") or "false").lower() == "true")
    return [{key: value for key, value in result.items() if value is not None}]


def _cancel_deploy(org: Org, request: Request) -> list[Any]:
    deployment = deploy.find(org, request.text("String") or request.text("id") or "")
    if not deployment.done:
        deployment.status = "Canceled"
    return [{"done": True, "id": deployment.id}]


# -- what there is ----------------------------------------------------------------------------------------------------------------


def _describe(org: Org, request: Request) -> list[Any]:
    return [catalogue.describe()]


def _list(org: Org, request: Request) -> list[Any]:
    listed: list[Any] = []
    queries = [node for node in request.element if local_name(node) == "queries"]
    if len(queries) > MAX_LIST_QUERIES:
        raise ApiError("LIMIT_EXCEEDED", f"Too many queries: there can be at most {MAX_LIST_QUERIES} in one call")
    for query in queries:
        texts = {local_name(node): (node.text or "").strip() for node in query}
        listed += catalogue.list_metadata(org, texts.get("type", ""), texts.get("folder"))
    return listed


def _read(org: Org, request: Request) -> list[Any]:
    kind = request.text("type") or ""
    names = [(node.text or "").strip() for node in request.element if local_name(node) == "fullNames"]
    bodies = [catalogue.component_xml(org, kind, name) for name in names]
    records = [
        '<records xsi:nil="true"/>'
        if body is None
        else f'<records xsi:type="{escape(kind)}"><fullName>{escape(name)}</fullName>{body}</records>'
        for name, body in zip(names, bodies, strict=True)
    ]
    return [Xml("".join(records))]


def _retrieve(org: Org, request: Request) -> list[Any]:
    wanted: dict[str, list[str]] = {}
    for group in (node for node in request.element.iter() if local_name(node) == "types"):
        texts = [(local_name(node), (node.text or "").strip()) for node in group]
        kind = next((text for name, text in texts if name == "name"), "")
        wanted.setdefault(kind, []).extend(text for name, text in texts if name == "members")
    retrieval_id = org.new_id("09S")
    org.retrievals[retrieval_id] = catalogue.retrieve(
        org, wanted, request.text("apiVersion") or "", single=request.text("singlePackage") == "true"
    )
    return [{"done": False, "id": retrieval_id, "state": "Queued"}]


def _check_retrieve(org: Org, request: Request) -> list[Any]:
    retrieval_id = request.text("asyncProcessId") or ""
    if retrieval_id not in org.retrievals:
        raise ApiError("INVALID_ID_FIELD", f"no retrieval with id {retrieval_id}")
    retrieved = org.retrievals[retrieval_id]
    answered: dict[str, Any] = {
        "done": True, "id": retrieval_id, "status": "Succeeded", "success": True,
        "fileProperties": retrieved.files,
        "messages": [{"fileName": "unpackaged/package.xml", "problem": problem} for problem in retrieved.problems],
    }  # fmt: skip
    if (request.text("includeZip") or "true").lower() == "true":
        answered["zipFile"] = base64.b64encode(retrieved.content).decode()
    return [answered]


# -- component by component -------------------------------------------------------------------------------------------------------


def _create(org: Org, request: Request) -> list[Any]:
    return _save(org, request, may_exist=False, must_exist=False)


def _update(org: Org, request: Request) -> list[Any]:
    return _save(org, request, may_exist=True, must_exist=True)


def _upsert(org: Org, request: Request) -> list[Any]:
    return _save(org, request, may_exist=True, must_exist=False)


def _save(org: Org, request: Request, *, may_exist: bool, must_exist: bool) -> list[Any]:
    """A SaveResult for each component, in order; each is saved or not on its own."""
    nodes = [node for node in request.element if local_name(node) == "metadata"]
    _check_count(nodes)
    return [_save_one(org, node, may_exist, must_exist) for node in nodes]


def _save_one(org: Org, node: ElementTree.Element, may_exist: bool, must_exist: bool) -> dict[str, Any]:
    kind = node.get(XSI_TYPE, "").rpartition(":")[2]
    name = (node.findtext(f"{NAMESPACE}fullName") or "").strip()
    whole = Component(kind, name, "", root=node)
    parts = [whole, *children_of(whole)] if kind == "CustomObject" else [whole]
    draft = deploy.draft_of(org)
    exists = (kind, name) in draft.known or (kind == "CustomObject" and org.schema.find(name) is not None)
    if kind not in ("CustomObject", "CustomField", "PermissionSet"):
        return _failed(name, "INVALID_TYPE", f"The type {kind} cannot be saved one by one in this emulator: deploy it")
    if exists and not may_exist:
        return _failed(name, "DUPLICATE_DEVELOPER_NAME", f"There is already a {kind} named {name}.")
    if not exists and must_exist:
        return _failed(name, "INVALID_CROSS_REFERENCE_KEY", f"In field: fullName - no {kind} named {name} found")
    try:
        for part in sorted(parts, key=order_of):
            apply(draft, part)
    except ComponentError as error:
        return _failed(name, "FIELD_INTEGRITY_EXCEPTION", str(error))
    org.change_schema(draft.schema)
    deploy.keep_components(org, parts)
    return {"fullName": name, "success": True, **({"created": not exists} if may_exist and not must_exist else {})}


def _delete(org: Org, request: Request) -> list[Any]:
    kind = request.text("type") or ""
    names = [(node.text or "").strip() for node in request.element if local_name(node) == "fullNames"]
    _check_count(names)
    results = []
    for name in names:
        draft = deploy.draft_of(org)
        problem = remove(draft, kind, name)
        if problem is not None:
            results.append(_failed(name, "INVALID_CROSS_REFERENCE_KEY", problem.text))
            continue
        org.change_schema(draft.schema)
        org.components.pop((kind, name), None)
        results.append({"fullName": name, "success": True})
    return results


def _failed(name: str, code: str, text: str) -> dict[str, Any]:
    return {"errors": {"message": text, "statusCode": code}, "fullName": name, "success": False}


def _check_count(items: list[Any]) -> None:
    if len(items) > MAX_CRUD:
        raise ApiError(
            "LIMIT_EXCEEDED", f"record limit reached. cannot submit more than {MAX_CRUD} records in this operation"
        )


OPERATIONS: dict[str, Callable[[Org, Request], list[Any]]] = {
    "deploy": _deploy, "checkDeployStatus": _check_deploy, "cancelDeploy": _cancel_deploy, "deployRecentValidation": _deploy_validated,
    "describeMetadata": _describe, "listMetadata": _list, "readMetadata": _read, "retrieve": _retrieve, "checkRetrieveStatus": _check_retrieve,
    "createMetadata": _create, "updateMetadata": _update, "upsertMetadata": _upsert, "deleteMetadata": _delete,
}  # fmt: skip
