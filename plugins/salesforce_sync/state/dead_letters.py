"""Dead letters: refused records with what they held and why, until they are delivered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, case, select, update

from salesforce_sync.records import Outcome, RecordResult
from salesforce_sync.state.engine import is_one_of, upsert
from salesforce_sync.state.schema import dead_letters


def record(connection: Connection, org: str, mapping: str, sync_run_id: int, results: Sequence[RecordResult]) -> None:
    """Keeps every refused record (a further attempt when it is there already) and resolves those that are delivered now.

    Of several results for one record the last one counts.
    """
    now = datetime.now(UTC)
    columns = dead_letters.c
    last = {item.record_id: item for item in results}
    refused = [item for item in last.values() if item.outcome is Outcome.REJECTED]
    delivered = [item.record_id for item in last.values() if item.outcome not in (Outcome.REJECTED, Outcome.SKIPPED)]
    waiting = (columns.org == org) & (columns.mapping == mapping) & columns.resolved_at.is_(None)
    connection.execute(
        update(dead_letters).where(waiting, is_one_of(connection, columns.record_id, delivered)).values(resolved_at=now)
    )
    rows = [
        {
            "org": org, "mapping": mapping, "record_id": item.record_id, "payload": item.payload or "{}", "code": item.code or "",
            "message": item.message or "", "attempts": 1, "sync_run_id": sync_run_id, "first_failed_at": now, "last_failed_at": now,
            "resolved_at": None,
        }
        for item in refused
    ]  # fmt: skip
    # Another attempt on top of those of a letter that is still open; a letter that was resolved begins anew.
    attempts = case((columns.resolved_at.is_(None), columns.attempts + 1), else_=1)
    first = case((columns.resolved_at.is_(None), columns.first_failed_at), else_=now)
    upsert(
        connection,
        dead_letters,
        rows,
        key=["org", "mapping", "record_id"],
        keep=["id"],
        changes={"attempts": attempts, "first_failed_at": first},
    )


def unresolved(connection: Connection, *, mapping: str | None = None) -> list[dict[str, Any]]:
    """The records still waiting, oldest first."""
    query = select(dead_letters).where(dead_letters.c.resolved_at.is_(None)).order_by(dead_letters.c.first_failed_at)
    if mapping is not None:
        query = query.where(dead_letters.c.mapping == mapping)
    return [dict(row) for row in connection.execute(query).mappings()]
