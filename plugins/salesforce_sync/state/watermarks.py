"""Watermarks: up to where a stream was read. They move back only when what was read is lost."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, delete, select, update

from salesforce_sync.state.engine import upsert
from salesforce_sync.state.schema import watermarks


def get(connection: Connection, org: str, stream: str) -> str | None:
    """The stored ISO text, None for a stream that never ran."""
    query = select(watermarks.c.value).where(watermarks.c.org == org, watermarks.c.stream == stream)
    return connection.execute(query).scalar()


def advance(connection: Connection, org: str, stream: str, value: str) -> str:
    """Moves the watermark forward to `value`, or leaves it where it is further on already; gives where it stands now."""
    current = get(connection, org, stream)
    highest = value if current is None else max(current, value)
    if highest != current:
        upsert(
            connection, watermarks, [{"org": org, "stream": stream, "value": highest, "updated_at": datetime.now(UTC)}]
        )
    return highest


def take_back(connection: Connection, org: str, stream: str, value: str) -> None:
    """Moves the watermark back to `value`, if it is further on; "" removes it, so that everything is read again."""
    columns = watermarks.c
    ours = (columns.org == org) & (columns.stream == stream)
    if value == "":
        connection.execute(delete(watermarks).where(ours))
    else:
        connection.execute(update(watermarks).where(ours, columns.value > value).values(value=value))
