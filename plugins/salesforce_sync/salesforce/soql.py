"""Pieces of SOQL statements."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

LIST_CHARACTERS = 8_000  # of an IN list in a query's URL, which Salesforce takes up to 16 kB of


def soql_text(value: object) -> str:
    """A text as a SOQL literal, quoted and escaped."""
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def soql_moment(moment: datetime) -> str:
    """An aware date-time as a SOQL literal, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fields_in(condition: str) -> list[str]:
    """The fields, and paths to fields of parents, that a condition may name; keywords of SOQL are among them."""
    without_texts = re.sub(r"'(?:\\.|[^'\\])*'", " ", condition)
    return re.findall(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", without_texts)


def in_lists(values: Sequence[str], characters: int = LIST_CHARACTERS) -> Iterator[str]:
    """The values as SOQL lists, each short enough for the URL of a query."""
    listed: list[str] = []
    length = 0
    for value in values:
        text = soql_text(value)
        size = len(quote(f"{text}, "))
        if listed and length + size > characters:
            yield ", ".join(listed)
            listed, length = [], 0
        listed.append(text)
        length += size
    if listed:
        yield ", ".join(listed)
