"""Which version of a vendor's collection (a mailing, say) was registered: one that has not changed need not be read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, select

from salesforce_sync.state.engine import upsert
from salesforce_sync.state.schema import seen_versions


def seen(connection: Connection, org: str, stream: str) -> dict[str, str]:
    """The delivered version of each item."""
    columns = seen_versions.c
    query = select(columns.item, columns.version).where(columns.org == org, columns.stream == stream)
    return {row[0]: row[1] for row in connection.execute(query)}


def remember(connection: Connection, org: str, stream: str, versions: Mapping[str, str]) -> None:
    now = datetime.now(UTC)
    rows = [
        {"org": org, "stream": stream, "item": item, "version": version, "seen_at": now}
        for item, version in sorted(versions.items())
    ]
    upsert(connection, seen_versions, rows)


def forget(connection: Connection, org: str, stream: str, item: str) -> None:
    """The item has to be read again, whatever its version."""
    columns = seen_versions.c
    connection.execute(delete(seen_versions).where(columns.org == org, columns.stream == stream, columns.item == item))
