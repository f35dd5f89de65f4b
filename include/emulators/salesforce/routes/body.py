"""JSON request bodies, refused in the org's words."""

from __future__ import annotations

import json
import re
from typing import Any

from emulators.salesforce.errors import ApiError
from emulators.wire import Call

_SURROGATE = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")
_COUNT = re.compile("[0-9]{1,9}")


def json_object(call: Call) -> dict[str, Any]:
    """The body as a JSON object; JSON_PARSER_ERROR when it is not one."""
    value = json_value(call)
    if not isinstance(value, dict):
        raise ApiError("JSON_PARSER_ERROR", "Unexpected character, expected an object '{' at [line:1, column:1]")
    return value


def json_value(call: Call) -> Any:
    try:
        value = json.loads(call.body, parse_constant=_no_constant)
        if _SURROGATE.search(call.body):
            json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be stored
    except (ValueError, RecursionError) as error:
        line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
        raise ApiError("JSON_PARSER_ERROR", f"Unexpected character at [line:{line}, column:{column}]") from error
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def objects(value: Any, what: str) -> list[dict[str, Any]]:
    """The value as a list of objects; `what` names it in the error."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ApiError("INVALID_INPUT", f"{what} must be a list of objects")
    return value


def texts(value: Any, what: str) -> list[str]:
    """The value as a list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ApiError("INVALID_INPUT", f"{what} must be a list of texts")
    return value


def count(value: Any, what: str, *, default: int, most: int) -> int:
    """The value as a whole number from 1 to `most`, also when it is given as text; `default` when there is none."""
    if value is None:
        return default
    text = str(value)
    if not _COUNT.fullmatch(text) or not 1 <= int(text) <= most:
        raise ApiError("INVALID_INPUT", f"{what} must be a whole number from 1 to {most}, not {text[:20]}")
    return int(text)


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
            parts[name[1].decode("utf-8", errors="replace")] = content.removesuffix(b"\n").removesuffix(b"\r")
    return parts
