"""Dead letters: refused records with what they held and why. Each is due again after a while, until it is delivered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, delete, func, select, update

from salesforce_sync.records import SUPERSEDED, Outcome, RecordResult
from salesforce_sync.state.engine import is_one_of, upsert
from salesforce_sync.state.schema import dead_letters

FIRST_WAIT, LONGEST_WAIT = timedelta(hours=1), timedelta(days=1)


class Due(NamedTuple):
    """A letter whose record is to be read and sent again; `origin` says where, None: by its id."""

    record_id: str
    origin: str | None


def record(
    connection: Connection,
    org: str,
    mapping: str,
    sync_run_id: int,
    results: Sequence[RecordResult],
    *,
    now: datetime | None = None,
) -> None:
    """Keeps every refused record (a further attempt when it is there already) and resolves those that are delivered.

    Of several results for one record the last one counts. A letter with a later version than a result stays as it is.
    """
    now = now or datetime.now(UTC)
    columns = dead_letters.c
    if not any(item.outcome is Outcome.REJECTED for item in results) and not _any_open(connection, org, mapping):
        return
    last = {item.record_id: item for item in results}
    refused = [item for item in last.values() if item.outcome is Outcome.REJECTED]
    closing = [
        item.record_id
        for item in last.values()
        if item.outcome not in (Outcome.REJECTED, Outcome.WAITING) and item.code != SUPERSEDED
    ]
    _close(connection, org, mapping, closing, now)
    attempts = _attempts(connection, org, mapping, [item.record_id for item in refused])
    rows = [
        {
            "org": org, "mapping": mapping, "record_id": item.record_id, "payload": item.payload or "{}",
            "code": item.code or "", "message": item.message or "", "attempts": attempts.get(item.record_id, 0) + 1,
            "sync_run_id": sync_run_id, "version": item.version or "", "reading": item.reading, "origin": item.origin,
            "due_at": now + waiting_time(attempts.get(item.record_id, 0) + 1), "first_failed_at": now,
            "last_failed_at": now, "resolved_at": None, "resolved_by": None, "resolution": None,
        }
        for item in refused
    ]  # fmt: skip
    first = case((columns.resolved_at.is_(None), columns.first_failed_at), else_=now)
    key = ["org", "mapping", "record_id"]
    upsert(connection, dead_letters, rows, key=key, keep=["id"], changes={"first_failed_at": first})


def waiting_time(attempts: int) -> timedelta:
    """How long a letter waits after so many attempts: an hour, then twice as long each time, at most a day."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempts - 1)) if attempts < 20 else LONGEST_WAIT


def payloads(connection: Connection, org: str, mapping: str) -> list[str]:
    """The content of the mapping's refused records that nobody has resolved: JSON, `{}` where none was kept."""
    columns = dead_letters.c
    query = select(columns.payload).where(columns.org == org, columns.mapping == mapping, columns.resolved_at.is_(None))
    return list(connection.execute(query).scalars())


def due(connection: Connection, org: str, mapping: str, now: datetime) -> list[Due]:
    """The letters whose records are to be read again."""
    columns = dead_letters.c
    query = select(columns.record_id, columns.origin).where(
        columns.org == org, columns.mapping == mapping, columns.resolved_at.is_(None), columns.due_at <= now
    )
    return [Due(*row) for row in connection.execute(query)]


class Letters(NamedTuple):
    """Which letters: those of a mapping, with a code, of these records; what is empty does not matter."""

    mapping: str = ""
    code: str = ""
    record_ids: Sequence[str] = ()


def replay(connection: Connection, org: str, letters: Letters) -> dict[str, int]:
    """These letters are due now; gives how many, by mapping."""
    return _change(connection, org, letters, due_at=datetime.now(UTC))


def resolve(connection: Connection, org: str, letters: Letters, *, person: str, reason: str) -> dict[str, int]:
    """These letters are closed by a person, for a reason; gives how many, by mapping."""
    values = {"resolved_at": datetime.now(UTC), "due_at": None, "resolved_by": person, "resolution": reason}
    return _change(connection, org, letters, **values)


def _change(connection: Connection, org: str, letters: Letters, **values: Any) -> dict[str, int]:
    columns = dead_letters.c
    these = (columns.org == org) & columns.resolved_at.is_(None)
    if letters.mapping:
        these &= columns.mapping == letters.mapping
    if letters.code:
        these &= columns.code == letters.code
    if letters.record_ids:
        these &= is_one_of(connection, columns.record_id, list(letters.record_ids))
    found = connection.execute(select(columns.mapping, func.count()).where(these).group_by(columns.mapping))
    counts = {row[0]: int(row[1]) for row in found}
    connection.execute(update(dead_letters).where(these).values(**values))
    return counts


def make_due(
    connection: Connection, org: str, mapping: str, origins: Mapping[str, str | None], *, code: str, message: str
) -> None:
    """Letters for these records (record -> where it is read again), due now."""
    now = datetime.now(UTC)
    rows = [
        {
            "org": org, "mapping": mapping, "record_id": record_id, "payload": "{}", "code": code, "message": message, "attempts": 0,
            "sync_run_id": None, "version": "", "reading": 0, "origin": origin, "due_at": now, "first_failed_at": now, "last_failed_at": now,
            "resolved_at": None, "resolved_by": None, "resolution": None,
        }
        for record_id, origin in origins.items()
    ]  # fmt: skip
    upsert(connection, dead_letters, rows, key=["org", "mapping", "record_id"], keep=["id"])


def close(connection: Connection, org: str, mapping: str, record_ids: Sequence[str]) -> None:
    """Closes the letters of these records: they were delivered, or are not to be delivered any more."""
    if record_ids and _any_open(connection, org, mapping):
        _close(connection, org, mapping, record_ids, datetime.now(UTC))


def _close(connection: Connection, org: str, mapping: str, record_ids: Sequence[str], now: datetime) -> None:
    columns = dead_letters.c
    ours = (columns.org == org) & (columns.mapping == mapping) & columns.resolved_at.is_(None)
    closed = update(dead_letters).where(ours, is_one_of(connection, columns.record_id, record_ids))
    connection.execute(closed.values(resolved_at=now, due_at=None))


def open_ids(connection: Connection, org: str, mapping: str) -> set[str]:
    """The records of the mapping that are refused, and not resolved."""
    columns = dead_letters.c
    query = select(columns.record_id).where(
        columns.org == org, columns.mapping == mapping, columns.resolved_at.is_(None)
    )
    return set(connection.execute(query).scalars())


def unresolved(connection: Connection, *, mapping: str | None = None) -> list[dict[str, Any]]:
    """The records still waiting, oldest first."""
    query = select(dead_letters).where(dead_letters.c.resolved_at.is_(None)).order_by(dead_letters.c.first_failed_at)
    if mapping is not None:
        query = query.where(dead_letters.c.mapping == mapping)
    return [dict(row) for row in connection.execute(query).mappings()]


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many letters are open, by mapping and code."""
    columns = dead_letters.c
    query = select(columns.mapping, columns.code, func.count()).where(columns.resolved_at.is_(None))
    rows = connection.execute(query.group_by(columns.mapping, columns.code).order_by(columns.mapping, columns.code))
    return {(row[0], row[1]): int(row[2]) for row in rows}


def of_record(connection: Connection, record_id: str) -> list[dict[str, Any]]:
    """The letters of a record, resolved ones included."""
    query = select(dead_letters).where(dead_letters.c.record_id == record_id)
    return [dict(row) for row in connection.execute(query).mappings()]


def purge(connection: Connection, *, before: datetime) -> None:
    """Deletes the letters that were resolved, or first written, before this moment: they hold personal data."""
    columns = dead_letters.c
    connection.execute(delete(dead_letters).where((columns.resolved_at < before) | (columns.first_failed_at < before)))


def _any_open(connection: Connection, org: str, mapping: str) -> bool:
    columns = dead_letters.c
    query = select(columns.id).where(columns.org == org, columns.mapping == mapping, columns.resolved_at.is_(None))
    return connection.execute(query.limit(1)).scalar() is not None


def _attempts(connection: Connection, org: str, mapping: str, record_ids: Iterable[str]) -> dict[str, int]:
    """How often the records of these letters, which are still open, were refused."""
    columns = dead_letters.c
    query = select(columns.record_id, columns.attempts).where(
        columns.org == org,
        columns.mapping == mapping,
        columns.resolved_at.is_(None),
        is_one_of(connection, columns.record_id, list(record_ids)),
    )
    return {row[0]: row[1] for row in connection.execute(query)}
