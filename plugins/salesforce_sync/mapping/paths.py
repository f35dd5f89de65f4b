"""Values by dotted path, and the values' texts: what both ends of a mapping have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

_SEPARATORS = re.compile("[\x0b\x0c\x1c-\x1f]")
_FORBIDDEN = re.compile("[\x00-\x08\x0e-\x1b\ufffe\uffff]")  # XML 1.0, production 2


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None where the path leads nowhere. Empty text counts as no value, as in Salesforce."""
    return values_at([record], path)[0]


def values_at(records: Sequence[Any], path: str) -> list[Any]:
    """For each record what `value_at` gives."""
    return [None if is_blank(value) else value for value in raw_values_at(records, path)]


def raw_values_at(records: Sequence[Any], path: str) -> list[Any]:
    """The values at a dotted path, blank texts as they are. The path is taken apart once, and a name looked up for all records at a time."""
    nodes: Sequence[Any] = records
    for name in path.split("."):
        try:
            nodes = [node[name] for node in nodes]  # mostly everything is there: a third of the time
        except (KeyError, TypeError):
            nodes = [node.get(name) if isinstance(node, dict) else None for node in nodes]
    return list(nodes)


def is_blank(value: Any) -> bool:
    """Whether the value is text without anything to see: no value, in Salesforce."""
    return isinstance(value, str) and (not value or value.isspace())


def nested(values: Mapping[str, Any], *, nulls: Sequence[str] = ()) -> dict[str, Any]:
    """Values by dotted path as a record; None is left out, but at the paths in `nulls`."""
    record: dict[str, Any] = {}
    for path, value in values.items():
        if value is None and path not in nulls:
            continue
        *parents, name = path.split(".")
        node = record
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return record


def as_text(value: Any) -> str | None:
    """The value as Salesforce would hold it in a text field: trimmed; numbers and booleans are written out, dates and times as ISO 8601,
    times in UTC.

    None for what is no text: lists and objects.
    """
    if isinstance(value, str):
        return (value if value.isascii() and value.isprintable() else clean_text(value)).strip() or None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)) and value == value:
        return str(int(value)) if float(value).is_integer() else repr(value)
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value
        return f"{moment:%Y-%m-%dT%H:%M:%S}Z"
    return value.isoformat() if isinstance(value, date) else None


def clean(value: Any) -> Any:
    """The record, or a part of it, with every text clean."""
    if isinstance(value, dict):
        return {name: clean(item) for name, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return clean_text(value) if isinstance(value, str) else value


def clean_text(text: str) -> str:
    """The text without what JSON allows and others do not take: NUL (PostgreSQL), lone surrogates (UTF-8), and the control characters that
    XML 1.0 forbids. Those that separate words, such as a vertical tab out of a spreadsheet, become a blank."""
    return _FORBIDDEN.sub("", _SEPARATORS.sub(" ", text)).encode("utf-8", "replace").decode("utf-8")
