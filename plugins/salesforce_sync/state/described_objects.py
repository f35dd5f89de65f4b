"""What the org said of its objects, as JSON, for as long as it is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from salesforce_sync.state.engine import is_one_of, upsert
from salesforce_sync.state.schema import described_objects

BELIEVED = timedelta(hours=1)


def find(connection: Connection, viewer: str, names: Sequence[str]) -> dict[str, str]:
    """The descriptions that are recent enough, by object name."""
    columns = described_objects.c
    query = select(columns.object, columns.description).where(
        columns.viewer == viewer,
        is_one_of(connection, columns.object, names),
        columns.described_at > datetime.now(UTC) - BELIEVED,
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def save(connection: Connection, viewer: str, descriptions: Mapping[str, str]) -> None:
    now = datetime.now(UTC)
    rows = [
        {"viewer": viewer, "object": name, "description": text, "described_at": now}
        for name, text in sorted(descriptions.items())
    ]
    upsert(connection, described_objects, rows)
