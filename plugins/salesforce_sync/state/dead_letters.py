"""Dead letters: refused records with what they held and why, until they are delivered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from salesforce_sync.records import Outcome, RecordResult
from salesforce_sync.state.engine import chunks
from salesforce_sync.state.schema import dead_letters


def record(connection: Connection, org: str, mapping: str, sync_run_id: int, results: Sequence[RecordResult]) -> None:
    """Keeps every refused record (a further attempt when it is there already) and resolves those that are delivered now."""
    now = datetime.now(UTC)
    columns = dead_letters.c
    mine = (columns.org == org) & (columns.mapping == mapping)
    for part in chunks(results):
        known = {
            row.record_id: row.attempts if row.resolved_at is None else 0
            for row in connection.execute(
                select(columns.record_id, columns.attempts, columns.resolved_at).where(mine, columns.record_id.in_([item.record_id for item in part]))
            )
        }
        delivered = [item.record_id for item in part if item.outcome is not Outcome.REJECTED and known.get(item.record_id)]
        if delivered:
            connection.execute(update(dead_letters).where(mine, columns.record_id.in_(delivered)).values(resolved_at=now))
        for item in part:
            if item.outcome is not Outcome.REJECTED:
                continue
            values = {
                "payload": item.payload or "{}", "code": item.code or "", "message": item.message or "", "sync_run_id": sync_run_id,
                "attempts": known.get(item.record_id, 0) + 1, "last_failed_at": now, "resolved_at": None,
            }  # fmt: skip
            if item.record_id in known:
                connection.execute(update(dead_letters).where(mine, columns.record_id == item.record_id).values(**values))
            else:
                identity = {"org": org, "mapping": mapping, "record_id": item.record_id, "first_failed_at": now}
                connection.execute(insert(dead_letters).values(**identity, **values))


def unresolved(connection: Connection, *, mapping: str | None = None) -> list[dict[str, Any]]:
    """The records still waiting, oldest first."""
    query = select(dead_letters).where(dead_letters.c.resolved_at.is_(None)).order_by(dead_letters.c.first_failed_at)
    if mapping is not None:
        query = query.where(dead_letters.c.mapping == mapping)
    return [dict(row) for row in connection.execute(query).mappings()]
