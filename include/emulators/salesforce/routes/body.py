"""JSON request bodies, refused in the org's words."""

from __future__ import annotations

import json
import re
from typing import Any

from emulators.salesforce.errors import ApiError
from emulators.wire import Call


def json_object(call: Call) -> dict[str, Any]:
    """The body as a JSON object; JSON_PARSER_ERROR when it is not one."""
    value = json_value(call)
    if not isinstance(value, dict):
        raise ApiError("JSON_PARSER_ERROR", "Unexpected character, expected an object '{' at [line:1, column:1]")
    return value


def json_value(call: Call) -> Any:
    try:
        return json.loads(call.body)
    except ValueError as error:
        line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
        raise ApiError("JSON_PARSER_ERROR", f"Unexpected character at [line:{line}, column:{column}]") from error


def flag(value: str | None) -> bool:
    return (value or "").lower() == "true"


def multipart(call: Call) -> dict[str, bytes] | None:
    """The parts of a multipart message by name; None when it is not one."""
    boundary = re.search(r'boundary="?([^";]+)', call.headers.get("content-type", ""))
    if boundary is None:
        return None
    parts: dict[str, bytes] = {}
    for chunk in call.body.split(b"--" + boundary[1].encode()):
        head, found, content = chunk.partition(b"\r\n\r\n")
        if not found:
            head, _, content = chunk.partition(b"\n\n")
        name = re.search(rb'name="?([^";\r\n]+)', head)
        if name:
            parts[name[1].decode()] = content.removesuffix(b"\n").removesuffix(b"\r")
    return parts
