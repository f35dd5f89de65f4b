"""JSON Patch (RFC 6902) on a data object, as a .NET service applies it: to a document of the properties that may be
written.

The vendor does not publish what it does with `replace /fields`. Here it takes the list as the whole of the custom
fields, which is the harder one of the two for a client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emulators.vendors.spotio.state import Object, Refused

WRITABLE = (
    "stageId",
    "ownerId",
    "pin",
    "source",
    "externalDataObjectId",
    "fields",
    "parentId",
    "collaboratorIds",
    "addressUnit",
)


def document_of(known: Object) -> dict[str, Any]:
    """What a patch is applied to."""
    fields = [
        {"fieldId": str(number), "values": value}
        if isinstance(value, list)
        else {"fieldId": str(number), "value": value}
        for number, value in known["fields"].items()
    ]
    return {name: known[name] for name in WRITABLE} | {"fields": fields}


def patched(document: dict[str, Any], operations: Any) -> dict[str, Any]:
    """The properties that the operations changed, with their new values. Refused for what cannot be done."""
    if not isinstance(operations, list):
        raise Refused(400, _="A JSON Patch is a list of operations")
    changed: dict[str, Any] = {}
    for operation in operations:
        name, *rest = _place(operation)
        if operation.get("op") == "test":
            if _value(changed.get(name, document[name]), rest) != operation.get("value"):
                raise Refused(400, _=f"The test of {operation['path']} failed")
            continue
        value = None if operation["op"] == "remove" else operation.get("value")
        changed[name] = _with(changed.get(name, document[name]), rest, value)
    return changed


def _place(operation: Any) -> list[str]:
    if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
        raise Refused(400, _="An operation has op and path")
    parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    if operation.get("op") not in ("add", "replace", "remove", "test"):
        raise Refused(400, _=f"op {operation.get('op')!r} is not known")
    if not parts or parts[0] not in WRITABLE:
        raise Refused(400, _=f"The target location specified by path segment '{''.join(parts[:1])}' was not found.")
    return parts


def _value(node: Any, rest: Sequence[str]) -> Any:
    for part in rest:
        node = node[int(part)] if isinstance(node, list) else (node or {}).get(part)
    return node


def _with(node: Any, rest: Sequence[str], value: Any) -> Any:
    """The node with the value in its place."""
    if not rest:
        return value
    part, *deeper = rest
    if isinstance(node, list):
        if part == "-":
            return [*node, value]
        if not part.isdigit() or int(part) >= len(node):
            raise Refused(
                400, _=f"The index value provided by path segment '{part}' is out of bounds of the array size."
            )
        return [_with(item, deeper, value) if place == int(part) else item for place, item in enumerate(node)]
    return (node or {}) | {part: _with((node or {}).get(part), deeper, value)}
