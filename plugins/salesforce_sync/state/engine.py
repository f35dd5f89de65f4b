"""The state database: opened by URL, brought to the current schema when it is not, and one way to write a transaction."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Engine,
    String,
    Table,
    any_,
    bindparam,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from salesforce_sync.errors import InvalidSetting, ServiceUnavailable
from salesforce_sync.home import airflow_home

URL_VARIABLE = "SALESFORCE_SYNC_STATE_URL"  # environment variable: an SQLAlchemy URL
HEAD = "0011"  # the newest migration; a test keeps it in step with migrations/versions
BUSY_SECONDS = 60
ROWS_PER_STATEMENT = 1_000
# A statement that is used often would be planned once, without its values: then PostgreSQL does not know how long an array is.
_CONNECT: dict[str, dict[str, Any]] = {
    name: {"options": "-c plan_cache_mode=force_custom_plan"} for name in ("postgresql", "postgresql+psycopg")
}
_MIGRATION_LOCK = 7_220_031  # any number: PostgreSQL's advisory lock that keeps two workers from migrating at once


def state_url() -> str:
    """The URL from the environment, or an SQLite file in AIRFLOW_HOME."""
    return os.environ.get(URL_VARIABLE) or f"sqlite:///{airflow_home() / 'salesforce_sync.db'}"


def open_state(url: str | None = None) -> Engine:
    """The engine of the state database, its schema current. InvalidSetting for a URL that cannot be right."""
    return _open(url or state_url())


@cache
def _open(url: str) -> Engine:
    engine = new_engine(url)
    _migrate_if_behind(engine)
    return engine


def new_engine(url: str) -> Engine:
    """An engine for the URL, whatever schema is there. InvalidSetting for a URL that cannot be right."""
    try:
        parsed = make_url(url)
        engine = create_engine(
            parsed, pool_pre_ping=True, hide_parameters=True, connect_args=_CONNECT.get(parsed.drivername, {})
        )
    except (ArgumentError, NoSuchModuleError) as error:
        raise InvalidSetting(
            f"{URL_VARIABLE} is not a database URL that this installation can open: {error}.",
            fix="Use sqlite:////absolute/path.db or postgresql+psycopg://user:password@host/database.",
        ) from error
    if engine.dialect.name == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).touch(mode=0o600)  # what it holds is for the worker's own account to read
        _prepare_sqlite(engine)
    return engine


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, so that a writer takes the lock at once
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        _use_wal(connection)
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _use_wal(connection: Any) -> None:
    """Lets readers and the writer work side by side. The switch, once in a file's life, needs the file alone, and SQLite's own patience
    does not cover it: several tasks that open a new database at once would fail."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not any(word in str(error) for word in ("locked", "busy")) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def reading(engine: Engine) -> Connection:
    """A connection for looking only, which no writer holds up: `with reading(engine) as connection`."""
    return engine.execution_options(read_only=True).connect()


def _migrate_if_behind(engine: Engine) -> None:
    try:
        found = _version(engine)
        if found == HEAD:
            return
        if found is not None and found > HEAD:
            raise InvalidSetting(
                f"The state database is newer ({found}) than this version of the package ({HEAD}).",
                fix="Install the newer version again, or restore the database's backup from before its upgrade.",
            )
        migrate(engine)
    except DBAPIError as error:
        shown = engine.url.render_as_string(hide_password=True)
        raise ServiceUnavailable(
            f"The state database {shown} cannot be opened: {error.orig}.",
            fix=f"Check {URL_VARIABLE}, that the server runs, and the folder's permissions.",
        ) from error


def _version(engine: Engine) -> str | None:
    with reading(engine) as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return None
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if found is None else str(found)


def migrate(engine: Engine) -> None:
    """Runs the migrations that the database has not seen; safe when several workers start at once."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str] = (),
    keep: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
    update_existing: bool = True,
) -> None:
    """Inserts the rows, or updates those whose `key` (the primary key, unless given) exists.

    Columns in `keep` are not updated; `changes` gives expressions for columns that are not simply replaced.
    """
    if not rows:
        return
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    columns = list(key) or [column.name for column in table.primary_key]
    if not update_existing:
        connection.execute(statement.on_conflict_do_nothing(index_elements=columns), list(rows))
        return
    kept = {*columns, *keep}
    changed = {name: statement.excluded[name] for name in rows[0] if name not in kept} | dict(changes or {})
    connection.execute(statement.on_conflict_do_update(index_elements=columns, set_=changed), list(rows))


def is_one_of(connection: Connection, column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """`column IN values`, for any number of values.

    They travel as one parameter. Measured on PostgreSQL 18 with 100,000 links that have no statistics yet: 0.4 s for all of them as an
    array, 180 s as lists of 1,000 parameters.
    """
    if connection.dialect.name == "postgresql":
        return column == any_(bindparam(None, list(values), type_=ARRAY(String)))
    listed = func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(select(listed.c.value))


def chunks(items: Sequence[Any], size: int = ROWS_PER_STATEMENT) -> Iterator[Sequence[Any]]:
    """The items in parts small enough for one statement."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
