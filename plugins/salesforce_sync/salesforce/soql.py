"""Pieces of SOQL statements."""

from __future__ import annotations

from datetime import UTC, datetime


def soql_text(value: object) -> str:
    """A text as a SOQL literal, quoted and escaped."""
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def soql_moment(moment: datetime) -> str:
    """An aware date-time as a SOQL literal, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
