"""The Tooling API: queries on the org's objects and fields, their describes, and custom fields and objects made one by one."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from emulators.salesforce.describe import describe_global, describe_object
from emulators.salesforce.errors import ApiError, not_found
from emulators.salesforce.metadata import deploy
from emulators.salesforce.metadata.components import ComponentError, apply, order_of
from emulators.salesforce.metadata.package import NAMESPACE, Component, children_of
from emulators.salesforce.org import Org
from emulators.salesforce.routes.body import json_object
from emulators.salesforce.routes.queries import query_more, run_query
from emulators.wire import Call, Reply, Route

_SAVED_ONE_BY_ONE = ("CustomField", "CustomObject")


def query(org: Org, call: Call, version: str) -> Reply:
    engine = org.tooling_engine()
    answer: dict[str, Any] = run_query(org, call, f"{version}/tooling", engine, include_deleted=False).body
    kind = next((record["attributes"]["type"] for record in answer.get("records", [])), None)
    return Reply({"size": len(answer.get("records", [])), **answer, "queryLocator": None, "entityTypeName": kind})


def resources(org: Org, call: Call, version: str) -> Reply:
    root = f"/services/data/v{version}/tooling"
    return Reply({name: f"{root}/{name}" for name in ("query", "sobjects")})


def describe_all(org: Org, call: Call, version: str) -> Reply:
    return Reply(describe_global(org.tooling_engine().schema, f"{version}/tooling"))


def describe_one(org: Org, call: Call, version: str, name: str) -> Reply:
    schema = org.tooling_engine().schema
    sobject = schema.find(name)
    if sobject is None:
        raise not_found()
    return Reply(describe_object(schema, sobject, f"{version}/tooling"))


def create(org: Org, call: Call, version: str, name: str) -> Reply:
    """A CustomField or CustomObject by {"FullName": ..., "Metadata": {...}}."""
    kind = next((known for known in _SAVED_ONE_BY_ONE if known.lower() == name.lower()), None)
    if kind is None:
        raise ApiError("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"{name} cannot be created in this emulator")
    body = json_object(call)
    full_name, metadata = str(body.get("FullName") or ""), body.get("Metadata")
    if not full_name or not isinstance(metadata, dict):
        raise ApiError(
            "REQUIRED_FIELD_MISSING",
            "Required fields are missing: [FullName, Metadata]",
            fields=["FullName", "Metadata"],
        )
    root = ElementTree.Element(f"{NAMESPACE}{kind}")
    _fill(root, metadata)
    whole = Component(kind, full_name, "", root=root)
    draft = deploy.draft_of(org)
    if (kind, full_name) in draft.known:
        raise ApiError("DUPLICATE_DEVELOPER_NAME", f"There is already a {kind} named {full_name}.", fields=[])
    try:
        for part in sorted([whole, *(children_of(whole) if kind == "CustomObject" else ())], key=order_of):
            apply(draft, part)
    except ComponentError as error:
        raise ApiError("FIELD_INTEGRITY_EXCEPTION", str(error), fields=[]) from error
    org.change_schema(draft.schema)
    return Reply(
        {
            "id": org.new_id("00N" if kind == "CustomField" else "01I"),
            "success": True,
            "errors": [],
            "warnings": [],
            "infos": [],
        },
        status=201,
    )


def _fill(node: ElementTree.Element, values: dict[str, Any]) -> None:
    """JSON metadata as the XML that packages hold."""
    for key, value in values.items():
        for item in value if isinstance(value, list) else [value]:
            if item is None:
                continue
            child = ElementTree.SubElement(node, f"{NAMESPACE}{key}")
            if isinstance(item, dict):
                _fill(child, {("fullName" if name == "valueName" else name): content for name, content in item.items()})
            else:
                child.text = str(item).lower() if isinstance(item, bool) else str(item)


_V = "/services/data/v{version}/tooling"
ROUTES = (
    Route(("GET",), _V, resources),
    Route(("GET",), f"{_V}/query", query),
    Route(("GET",), f"{_V}/query/{{locator}}", query_more),
    Route(("GET",), f"{_V}/sobjects", describe_all),
    Route(("POST",), f"{_V}/sobjects/{{name}}", create),
    Route(("GET",), f"{_V}/sobjects/{{name}}/describe", describe_one),
)
