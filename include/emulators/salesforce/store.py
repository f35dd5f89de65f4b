"""The org's records in SQLite: a table per object, a column per field.

Values as stored: booleans 0/1, numbers as numbers, dates `YYYY-MM-DD`, date-times `YYYY-MM-DDTHH:MM:SS.000Z` (so that text order is
time order), ids with 18 characters. Text compares without case, as in an org, unless its field is case-sensitive.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from emulators.salesforce.ids import make_id
from emulators.salesforce.schema import NUMBER_TYPES, Field, Schema, SObject

VARIABLES_PER_STATEMENT = 900  # SQLite's own limit is higher; short lists keep its query plans on the index


def timestamp(moment: datetime) -> str:
    """A date-time as it is stored; an org keeps whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Undo:
    wanted: bool = False


class Store:
    """The tables of one org. Writers share one connection and a lock; every reading thread has a connection of its own."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path, self.schema = path, schema
        self.lock = threading.RLock()
        self._local = threading.local()
        self._writing_thread: int | None = None
        self._depth = 0  # of undoable parts within each other
        self._writer = self._connect()
        self.has_late_rows = False  # whether some rows are not to be seen by queries yet
        self.ensure_tables()

    def ensure_tables(self) -> None:
        """Makes the tables and columns that the schema has and the file does not."""
        with self.lock:
            for sobject in self.schema.objects.values():
                self._ensure_table(sobject)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, check_same_thread=False, timeout=60, isolation_level=None, cached_statements=512
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-16384")
        connection.create_collation("FOLDED", _compare_folded)
        connection.create_function("like", 2, _is_like, deterministic=True)
        connection.create_function("like", 3, _is_like, deterministic=True)
        return connection

    @property
    def reader(self) -> sqlite3.Connection:
        """A connection to read by; within a transaction of this thread the writing one, which sees what it has written."""
        if self._writing_thread == threading.get_ident():
            return self._writer
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; rolled back when the block raises. May be nested: the outer one decides."""
        with self.lock:
            if self._writer.in_transaction:
                yield self._writer
                return
            self._writer.execute("BEGIN IMMEDIATE")
            self._writing_thread = threading.get_ident()
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            else:
                self._writer.execute("COMMIT")
            finally:
                self._writing_thread = None

    def forget(self, before: Schema, after: Schema) -> None:
        """Empties the tables and columns of objects and fields that `after` has no more."""
        with self.writing() as connection:
            for old in before.objects.values():
                new = after.find(old.name)
                if new is None:
                    connection.execute(f"DELETE FROM {quoted(old.name)}")
                    continue
                for item in old.fields.values():
                    if item.name not in new.fields and not item.is_compound:
                        connection.execute(f"UPDATE {quoted(old.name)} SET {quoted(item.name)} = NULL")

    @contextmanager
    def undoable(self) -> Iterator[Undo]:
        """A part of a transaction that is undone at its end when `Undo.wanted` was set, or when the block raises. May be nested."""
        undo = Undo()
        with self.writing() as connection:
            self._depth += 1
            name = f"part_{self._depth}"
            connection.execute(f"SAVEPOINT {name}")
            try:
                yield undo
            except BaseException:
                undo.wanted = True
                raise
            finally:
                if undo.wanted:
                    connection.execute(f"ROLLBACK TO {name}")
                connection.execute(f"RELEASE {name}")
                self._depth -= 1

    def _ensure_table(self, sobject: SObject) -> None:
        table = quoted(sobject.name)
        existing = {row[1].lower() for row in self._writer.execute(f"PRAGMA table_info({table})")}
        columns = {item.name: _column_type(item) for item in sobject.fields.values() if not item.is_compound}
        if not existing:
            body = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
            self._writer.execute(
                f"CREATE TABLE {table} (_n INTEGER PRIMARY KEY AUTOINCREMENT, _visible_from TEXT, _purge_after TEXT, _hard_deleted INTEGER, {body})"
            )
        else:
            columns |= {"_visible_from": "TEXT", "_purge_after": "TEXT", "_hard_deleted": "INTEGER"}
            for name in [name for name in columns if name.lower() not in existing]:
                self._writer.execute(f"ALTER TABLE {table} ADD COLUMN {quoted(name)} {columns[name]}")
        self._index(sobject, "Id", unique=True)
        self._index(sobject, "SystemModstamp")
        self._index(sobject, "_purge_after", where="_purge_after IS NOT NULL")
        for item in sobject.fields.values():
            if item.custom and (item.external_id or item.unique or item.type == "reference"):
                self._index(sobject, item.name)

    def _index(self, sobject: SObject, column: str, *, unique: bool = False, where: str = "") -> None:
        kind = "UNIQUE INDEX" if unique else "INDEX"
        name = quoted(f"{sobject.name}.{column}")
        condition = f" WHERE {where}" if where else ""
        self._writer.execute(
            f"CREATE {kind} IF NOT EXISTS {name} ON {quoted(sobject.name)} ({quoted(column)}){condition}"
        )

    def purge(self, sobject: SObject, now: str) -> None:
        """Drops the deleted records whose time in the recycle bin, or after a hard delete, is over."""
        with self.writing() as connection:
            connection.execute(f"DELETE FROM {quoted(sobject.name)} WHERE _purge_after <= ?", (now,))

    def last_number(self, sobject: SObject) -> int:
        """The highest record number ever used, so that a deleted record's id is never given again."""
        row = self._writer.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (sobject.name,)).fetchone()
        return int(row[0]) if row else 0

    def next_ids(self, sobject: SObject, count: int) -> list[tuple[int, str]]:
        start = self.last_number(sobject) + 1
        return [(number, make_id(sobject.prefix, number)) for number in range(start, start + count)]

    def lookup(
        self, sobject: SObject, column: str, values: Iterable[Any], extra: Sequence[str] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """(column value, Id, *extra) of the live records whose column holds one of the values."""
        distinct = list(dict.fromkeys(values))
        wanted = ", ".join(quoted(name) for name in (column, "Id", *extra))
        for start in range(0, len(distinct), VARIABLES_PER_STATEMENT):
            part = distinct[start : start + VARIABLES_PER_STATEMENT]
            marks = ",".join("?" * len(part))
            sql = f"SELECT {wanted} FROM {quoted(sobject.name)} WHERE {quoted(column)} IN ({marks}) AND IsDeleted = 0"
            yield from self._writer.execute(sql, part)

    def clear(self) -> None:
        """Every record of every object is gone, as if the org were new."""
        with self.writing() as connection:
            tables = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
            for (name,) in tables:
                connection.execute(f"DELETE FROM {quoted(name)}")
            connection.execute("DELETE FROM sqlite_sequence")
            self.has_late_rows = False

    def count(self, sobject: SObject) -> int:
        return int(
            self.reader.execute(f"SELECT COUNT(*) FROM {quoted(sobject.name)} WHERE IsDeleted = 0").fetchone()[0]
        )


def _compare_folded(left: str, right: str) -> int:
    """Text order without case, of all alphabets: É and é are equal."""
    first, second = left.casefold(), right.casefold()
    return (first > second) - (first < second)


@lru_cache(maxsize=256)
def _like_pattern(pattern: str) -> re.Pattern[str]:
    """A LIKE pattern with % and _, in which a backslash takes the next sign literally."""
    body, escaped = [], False
    for char in pattern.casefold():
        if escaped or char not in "%_\\":
            body.append(re.escape(char))
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            body.append(".*" if char == "%" else ".")
    return re.compile("".join(body), re.DOTALL)


def _is_like(pattern: str | None, value: str | None, _: str = "") -> bool | None:
    """SQLite's LIKE, without case in all alphabets."""
    if pattern is None or value is None:
        return None
    return _like_pattern(pattern).fullmatch(str(value).casefold()) is not None


def _column_type(item: Field) -> str:
    if item.type in ("boolean", "int"):
        return "INTEGER"
    if item.type in NUMBER_TYPES:
        return "REAL"
    if item.is_text and not item.case_sensitive:
        return "TEXT COLLATE FOLDED"
    return "TEXT"
