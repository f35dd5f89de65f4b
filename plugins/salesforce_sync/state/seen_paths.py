"""The paths of a mapping that some record had: a path that no record has ever had is likely misspelt."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from salesforce_sync.state.engine import upsert
from salesforce_sync.state.schema import seen_paths


def add(connection: Connection, org: str, mapping: str, paths: Iterable[str]) -> None:
    """Notes that these paths were seen."""
    new = sorted(set(paths) - seen(connection, org, mapping))
    now = datetime.now(UTC)
    rows = [{"org": org, "mapping": mapping, "path": path, "seen_at": now} for path in new]
    upsert(connection, seen_paths, rows, update_existing=False)


def seen(connection: Connection, org: str, mapping: str) -> set[str]:
    """The paths that were seen."""
    query = select(seen_paths.c.path).where(seen_paths.c.org == org, seen_paths.c.mapping == mapping)
    return set(connection.execute(query).scalars())
