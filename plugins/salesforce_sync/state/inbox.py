"""The inbox: staged batches that were registered, until every row of theirs has its outcome."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select, update

from salesforce_sync.records import BatchRef, RunIdentity
from salesforce_sync.state.schema import inbox

WAITING, DONE, LOST = "waiting", "done", "lost"


@dataclass(frozen=True)
class Batch:
    """A registered batch. `paths` are those that were staged, None where that is not known. `read_from` is the watermark
    that the reading began at, "" for a whole reading, None where the stream has none."""

    id: int
    mapping: str
    stream: str
    reading: int
    ref: BatchRef
    origin: str | None
    paths: frozenset[str] | None
    resend: bool
    read_from: str | None = None
    settled: bytes | None = None
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def open_rows(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """A mask of the rows that have no outcome yet."""
        if self.settled is None:
            return np.ones(self.ref.count, dtype=bool)
        bits = np.unpackbits(np.frombuffer(zlib.decompress(self.settled), dtype=np.uint8), count=self.ref.count)
        still_open: np.ndarray[Any, np.dtype[np.bool_]] = bits == 0
        return still_open


def register(
    connection: Connection,
    run: RunIdentity,
    *,
    org: str,
    mapping: str,
    stream: str,
    reading: int,
    refs: Sequence[BatchRef],
    paths: Sequence[str],
    read_from: str | None = None,
    resend: bool = False,
) -> None:
    """Registers the batches, in their order. A batch without rows is registered as done."""
    now = datetime.now(UTC)
    rows = [
        {
            "org": org, "mapping": mapping, "stream": stream, "reading": reading, "path": ref.path, "digest": ref.digest,
            "count": ref.count, "origin": ref.origin, "paths": json.dumps(list(paths)), "read_from": read_from, "resend": resend,
            "status": WAITING if ref.count else DONE, "dag_id": run.dag_id, "run_id": run.run_id, "registered_at": now,
            "ended_at": None if ref.count else now, "filled": None if ref.filled is None else json.dumps(dict(ref.filled)),
        }
        for ref in refs
    ]  # fmt: skip
    if rows:
        connection.execute(insert(inbox), rows)


def waiting(connection: Connection, org: str, mappings: Iterable[str]) -> list[Batch]:
    """The batches of these mappings that wait, in the order of their registration."""
    columns = inbox.c
    query = select(inbox).where(columns.org == org, columns.mapping.in_(list(mappings)), columns.status == WAITING)
    return [_batch(row) for row in connection.execute(query.order_by(columns.id)).mappings()]


class Registered(NamedTuple):
    """Who registered a batch, and when: `run` is the DAG with its run."""

    run: str
    at: datetime


def all_waiting(connection: Connection) -> list[tuple[Batch, Registered]]:
    """The batches that wait, of all orgs and mappings."""
    query = select(inbox).where(inbox.c.status == WAITING).order_by(inbox.c.id)
    return [(_batch(row), _registered(row)) for row in connection.execute(query).mappings()]


def registered(connection: Connection, org: str, mapping: str, reading: int) -> Registered | None:
    """Who registered the batches of a reading; None when that is past its retention."""
    columns = inbox.c
    query = select(inbox).where(columns.org == org, columns.mapping == mapping, columns.reading == reading)
    row = connection.execute(query.order_by(columns.id).limit(1)).mappings().one_or_none()
    return None if row is None else _registered(row)


def _registered(row: Any) -> Registered:
    return Registered(f"{row['dag_id']} {row['run_id']}", row["registered_at"])


def of_run(connection: Connection, run: RunIdentity, mappings: Iterable[str]) -> list[tuple[Batch, str]]:
    """The batches that a DAG run registered for these mappings, each with its status."""
    columns = inbox.c
    query = select(inbox).where(
        columns.dag_id == run.dag_id, columns.run_id == run.run_id, columns.mapping.in_(list(mappings))
    )
    return [(_batch(row), str(row["status"])) for row in connection.execute(query.order_by(columns.id)).mappings()]


def settle(connection: Connection, outcomes: Mapping[int, tuple[Sequence[int], Counter[str]]]) -> None:
    """Notes that these rows of these batches have their outcome: batch id -> (rows, rows by outcome).

    A batch all of whose rows have one is done.
    """
    columns = inbox.c
    for batch_id, (rows, counts) in outcomes.items():
        row = connection.execute(select(inbox).where(columns.id == batch_id)).mappings().one()
        batch = _batch(row)
        open_rows = batch.open_rows
        open_rows[np.asarray(rows, dtype=np.int64)] = False
        values: dict[str, Any] = {
            "settled": zlib.compress(np.packbits(~open_rows).tobytes(), 1),
            "counts": json.dumps(batch.counts + counts),
        }
        if not open_rows.any():
            values |= {"status": DONE, "ended_at": datetime.now(UTC)}
        connection.execute(update(inbox).where(columns.id == batch_id).values(**values))


def filled_since(connection: Connection, org: str, mapping: str, since: datetime) -> tuple[Counter[str], Counter[str]]:
    """How many records of the mapping were read by each path, and delivered, since this moment; and how many of them
    had a value there."""
    columns = inbox.c
    query = select(columns.count, columns.paths, columns.filled).where(
        columns.org == org, columns.mapping == mapping, columns.status == DONE, columns.count > 0,
        columns.registered_at >= since, columns.filled.is_not(None), columns.paths.is_not(None),
    )  # fmt: skip
    rows, filled = Counter[str](), Counter[str]()
    for count, paths, found in connection.execute(query):
        rows.update(dict.fromkeys(json.loads(paths), count))
        filled.update(json.loads(found))
    return rows, filled


def last_id(connection: Connection) -> int:
    return int(connection.execute(select(func.max(inbox.c.id))).scalar() or 0)


def rows_after(connection: Connection, batch_id: int) -> list[dict[str, Any]]:
    """What was registered after this batch and waits, row by row, to be brought into another inbox."""
    query = select(inbox).where(inbox.c.id > batch_id, inbox.c.status == WAITING).order_by(inbox.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]


def bring_in(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Registers what `rows_after` gave of another inbox."""
    for row in rows:
        at = datetime.fromisoformat(str(row["registered_at"]))
        values = {name: value for name, value in row.items() if name != "id"} | {"registered_at": at}
        connection.execute(insert(inbox).values(**values))


def lose(connection: Connection, batch_id: int) -> None:
    """The batch's file is gone or broken: what it held has to be read again."""
    connection.execute(update(inbox).where(inbox.c.id == batch_id).values(status=LOST, ended_at=datetime.now(UTC)))


def paths_in_use(connection: Connection) -> set[str]:
    """Where the batches lie that wait, of all orgs and mappings."""
    return set(connection.execute(select(inbox.c.path).where(inbox.c.status == WAITING)).scalars())


def purge(connection: Connection, *, before: datetime) -> None:
    """Forgets batches that ended before this moment."""
    connection.execute(delete(inbox).where(inbox.c.status != WAITING, inbox.c.ended_at < before))


def unbalanced(connection: Connection, org: str) -> list[int]:
    """The ended batches whose outcomes do not add up to their rows: there should be none."""
    query = select(inbox).where(inbox.c.org == org, inbox.c.status == DONE, inbox.c.count > 0)
    found = (_batch(row) for row in connection.execute(query).mappings())
    return [batch.id for batch in found if sum(batch.counts.values()) != batch.ref.count]


def _batch(row: Any) -> Batch:
    filled = None if row["filled"] is None else json.loads(row["filled"])
    ref = BatchRef(row["path"], row["count"], digest=row["digest"], origin=row["origin"], filled=filled)
    paths = None if row["paths"] is None else frozenset(json.loads(row["paths"]))
    return Batch(
        row["id"], row["mapping"], row["stream"], row["reading"], ref, row["origin"], paths, bool(row["resend"]),
        row["read_from"], row["settled"], Counter(json.loads(row["counts"] or "{}")),
    )  # fmt: skip
