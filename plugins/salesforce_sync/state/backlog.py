"""Staged batches that wait for API budget, the oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, select

from salesforce_sync.records import BatchRef
from salesforce_sync.state.schema import backlog


def waiting(connection: Connection, org: str, mapping: str) -> list[BatchRef]:
    """The batches that earlier runs of this mapping could not load, in their order."""
    query = select(backlog).where(backlog.c.org == org, backlog.c.mapping == mapping).order_by(backlog.c.id)
    return [BatchRef(row["path"], row["count"], row["high_cursor"]) for row in connection.execute(query).mappings()]


def paths(connection: Connection) -> list[str]:
    """Where the batches lie that wait, of all orgs and mappings."""
    return list(connection.execute(select(backlog.c.path)).scalars())


def replace(connection: Connection, org: str, mapping: str, batches: Sequence[BatchRef]) -> None:
    """From now on these are the batches that wait."""
    connection.execute(delete(backlog).where(backlog.c.org == org, backlog.c.mapping == mapping))
    now = datetime.now(UTC)
    rows = [
        {
            "org": org,
            "mapping": mapping,
            "path": batch.path,
            "count": batch.count,
            "high_cursor": batch.high_cursor,
            "waiting_since": now,
        }
        for batch in batches
    ]
    if rows:
        connection.execute(insert(backlog), rows)
