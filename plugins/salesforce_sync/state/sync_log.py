"""The sync log: what became of every record in every run. The unchanged records of a run are one compressed set."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, insert, select

from salesforce_sync.records import Outcome, RecordResult
from salesforce_sync.state.bulk import insert_rows
from salesforce_sync.state.schema import sync_log, sync_log_sets, sync_runs

COLUMNS = ("sync_run_id", "record_id", "salesforce_id", "outcome", "code", "message")


def write(connection: Connection, sync_run_id: int, results: Iterable[RecordResult]) -> None:
    """One row per result."""
    rows = [
        (sync_run_id, item.record_id, item.salesforce_id, str(item.outcome), item.code, item.message)
        for item in results
    ]
    insert_rows(connection, sync_log, COLUMNS, rows)


def write_unchanged(connection: Connection, sync_run_id: int, record_ids: Sequence[str]) -> None:
    """Notes these records as unchanged, in a set: 8 bytes a record, by which one can be looked up but not listed."""
    if not record_ids:
        return
    hashes = np.sort(np.array([_hash(record_id) for record_id in record_ids], dtype=np.uint64))
    values = {
        "sync_run_id": sync_run_id, "outcome": str(Outcome.UNCHANGED), "count": len(record_ids),
        "ids": zlib.compress(hashes.tobytes(), 1),
    }  # fmt: skip
    connection.execute(insert(sync_log_sets).values(**values))


def of_record(connection: Connection, record_id: str) -> list[dict[str, Any]]:
    """What became of a record (by its vendor id or Salesforce id), newest first, with the run that it was in."""
    of_run = [sync_runs.c.step, sync_runs.c.dag_id, sync_runs.c.run_id, sync_runs.c.ended_at]
    query = (
        select(sync_log, *of_run)
        .join(sync_runs)
        .where((sync_log.c.record_id == record_id) | (sync_log.c.salesforce_id == record_id))
    )
    rows = [dict(row) for row in connection.execute(query).mappings()]
    rows += _unchanged(connection, record_id, of_run)
    return sorted(rows, key=lambda row: (row["sync_run_id"], row["id"] or 0), reverse=True)


def _unchanged(connection: Connection, record_id: str, of_run: list[Any]) -> list[dict[str, Any]]:
    wanted = _hash(record_id)
    found = []
    for row in connection.execute(select(sync_log_sets, *of_run).join(sync_runs)).mappings():
        hashes = np.frombuffer(zlib.decompress(row["ids"]), dtype=np.uint64)
        place = int(np.searchsorted(hashes, np.uint64(wanted)))
        if place < len(hashes) and int(hashes[place]) == wanted:
            shown = {name: row[name] for name in ("sync_run_id", "outcome", "step", "dag_id", "run_id", "ended_at")}
            empty = {"id": None, "salesforce_id": None, "code": None, "message": None}
            found.append(shown | empty | {"record_id": record_id})
    return found


def _hash(record_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(record_id.encode(), digest_size=8).digest(), "little")


def purge(connection: Connection, *, before: datetime) -> int:
    """Deletes the log of runs that started before this moment; the runs' counts stay. Gives how many rows went."""
    old = select(sync_runs.c.id).where(sync_runs.c.started_at < before)
    connection.execute(delete(sync_log_sets).where(sync_log_sets.c.sync_run_id.in_(old)))
    return connection.execute(delete(sync_log).where(sync_log.c.sync_run_id.in_(old))).rowcount
