"""The sync log: the outcome of every record in every run.

A record has a row. Many records with one outcome, of which nothing else is to be said, are one compressed list.
Unchanged records are one compressed set of hashes, in parts by their first byte when they are many.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, insert, select

from salesforce_sync.records import Outcome, RecordResult
from salesforce_sync.state.bulk import insert_rows
from salesforce_sync.state.schema import sync_log, sync_log_lists, sync_log_sets, sync_runs

BUCKETS, DIVIDED_FROM = 256, 10_000  # a large set is divided by the hashes' first byte: a look-up reads one part of it
LISTED_FROM = 1_000  # below, rows are cheap enough, and easier to look at
COLUMNS = ("sync_run_id", "record_id", "salesforce_id", "outcome", "code", "message")


def write(connection: Connection, sync_run_id: int, results: Sequence[RecordResult]) -> None:
    """Notes the outcome of each record: in a row, or in a list when LISTED_FROM and more have one outcome and nothing else to say."""
    plain = Counter(item.outcome for item in results if _is_plain(item))
    listed = {outcome for outcome, count in plain.items() if count >= LISTED_FROM}
    for outcome in sorted(listed):
        of_one_outcome = [item for item in results if item.outcome is outcome and _is_plain(item)]
        _write_list(connection, sync_run_id, outcome, of_one_outcome)
    rows = [
        (sync_run_id, item.record_id, item.salesforce_id, str(item.outcome), item.code, item.message)
        for item in results
        if item.outcome not in listed or not _is_plain(item)
    ]
    insert_rows(connection, sync_log, COLUMNS, rows)


def _is_plain(item: RecordResult) -> bool:
    """Whether nothing but its outcome is to be said of the record."""
    return item.code is None and item.message is None


def _write_list(connection: Connection, sync_run_id: int, outcome: Outcome, results: Sequence[RecordResult]) -> None:
    lines = "".join([f"{_one_line(item.record_id)}\t{item.salesforce_id or ''}\n" for item in results])
    values = {
        "sync_run_id": sync_run_id, "outcome": str(outcome), "count": len(results),
        "ids": zlib.compress(b"\n" + lines.encode(), 1),
    }  # fmt: skip
    connection.execute(insert(sync_log_lists).values(**values))


def _one_line(record_id: str) -> str:
    """The id without what would end its place in the list."""
    return record_id.replace("\t", " ").replace("\n", " ")


def write_unchanged(connection: Connection, sync_run_id: int, record_ids: Sequence[str]) -> None:
    """Notes these records as unchanged, in a set: 8 bytes a record, by which one can be looked up but not listed."""
    if not record_ids:
        return
    hashes = np.sort(_hashes(record_ids))
    parts: list[tuple[int | None, Any]] = [(None, hashes)]
    if len(hashes) >= DIVIDED_FROM:
        ends = np.searchsorted(hashes, np.arange(1, BUCKETS, dtype=np.uint64) << np.uint64(56))
        parts = [(bucket, part) for bucket, part in enumerate(np.split(hashes, ends)) if len(part)]
    values = [
        {
            "sync_run_id": sync_run_id, "outcome": str(Outcome.UNCHANGED), "count": len(part), "bucket": bucket,
            "ids": zlib.compress(part.tobytes(), 1),
        }
        for bucket, part in parts
    ]  # fmt: skip
    connection.execute(insert(sync_log_sets), values)


def of_record(connection: Connection, record_id: str) -> list[dict[str, Any]]:
    """What became of a record (by its vendor id or Salesforce id), newest first, with the run that it was in."""
    of_run = [sync_runs.c.step, sync_runs.c.dag_id, sync_runs.c.run_id, sync_runs.c.ended_at]
    query = (
        select(sync_log, *of_run)
        .join(sync_runs, sync_log.c.sync_run_id == sync_runs.c.id)
        .where((sync_log.c.record_id == record_id) | (sync_log.c.salesforce_id == record_id))
    )
    rows = [dict(row) for row in connection.execute(query).mappings()]
    rows += _listed(connection, record_id, of_run)
    rows += _unchanged(connection, record_id, of_run)
    return sorted(rows, key=lambda row: (row["sync_run_id"], row["id"] or 0), reverse=True)


def written_in(connection: Connection, sync_run_ids: Sequence[int]) -> dict[str, str]:
    """The records that these runs created or updated: record -> outcome."""
    found: dict[str, str] = {}
    wanted = (str(Outcome.CREATED), str(Outcome.UPDATED))
    lists = sync_log_lists.c
    query = select(lists.outcome, lists.ids).where(lists.sync_run_id.in_(sync_run_ids), lists.outcome.in_(wanted))
    for outcome, ids in connection.execute(query):
        for line in zlib.decompress(ids).decode().splitlines():
            if line:
                found[line.partition("\t")[0]] = outcome
    columns = sync_log.c
    rows = select(columns.record_id, columns.outcome).where(
        columns.sync_run_id.in_(sync_run_ids), columns.outcome.in_(wanted)
    )
    return found | {row[0]: row[1] for row in connection.execute(rows)}


def _unchanged(connection: Connection, record_id: str, of_run: list[Any]) -> list[dict[str, Any]]:
    wanted = _hash(record_id)
    found = []
    bucket = sync_log_sets.c.bucket
    query = select(sync_log_sets, *of_run).join(sync_runs).where(bucket.is_(None) | (bucket == wanted >> 56))
    for row in connection.execute(query).mappings():
        hashes = np.frombuffer(zlib.decompress(row["ids"]), dtype=np.uint64)
        place = int(np.searchsorted(hashes, np.uint64(wanted)))
        if place < len(hashes) and int(hashes[place]) == wanted:
            found.append(_plain_row(row, record_id, None))
    return found


def _listed(connection: Connection, record_id: str, of_run: list[Any]) -> Iterator[dict[str, Any]]:
    """What lists say of the record, by whichever of its ids."""
    wanted = _one_line(record_id).encode()
    for row in connection.execute(select(sync_log_lists, *of_run).join(sync_runs)).mappings():
        lines = zlib.decompress(row["ids"])
        place = max(lines.find(b"\n" + wanted + b"\t"), lines.find(b"\t" + wanted + b"\n"))
        if place >= 0:
            begin = lines.rfind(b"\n", 0, place + 1) + 1
            listed, salesforce_id = lines[begin : lines.index(b"\n", begin)].decode().split("\t")
            yield _plain_row(row, listed, salesforce_id or None)


def _plain_row(row: Any, record_id: str, salesforce_id: str | None) -> dict[str, Any]:
    shown = {name: row[name] for name in ("sync_run_id", "outcome", "step", "dag_id", "run_id", "ended_at")}
    return shown | {"id": None, "record_id": record_id, "salesforce_id": salesforce_id, "code": None, "message": None}


def _hash(record_id: str) -> int:
    return int(_hashes([record_id])[0])


def _hashes(record_ids: Sequence[str]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    hashed = hashlib.blake2b
    digests = [hashed(record_id.encode(), digest_size=8).digest() for record_id in record_ids]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def purge(connection: Connection, *, before: datetime) -> int:
    """Deletes the log of runs that started before this moment; the runs' counts stay. Gives how many rows went."""
    old = select(sync_runs.c.id).where(sync_runs.c.started_at < before)
    for table in (sync_log_sets, sync_log_lists):
        connection.execute(delete(table).where(table.c.sync_run_id.in_(old)))
    return connection.execute(delete(sync_log).where(sync_log.c.sync_run_id.in_(old))).rowcount
