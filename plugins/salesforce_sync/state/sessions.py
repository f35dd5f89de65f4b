"""The open session of each set of credentials, encrypted by its owner; this module never sees a token."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, select, update

from salesforce_sync.state.engine import upsert
from salesforce_sync.state.schema import salesforce_sessions as sessions


def find_locked(connection: Connection, credentials: str) -> str | None:
    """The sealed session, its row locked until the transaction ends, so that others who look for it wait."""
    first = {"credentials": credentials, "sealed": None, "opened_at": datetime.now(UTC)}
    upsert(connection, sessions, [first], update_existing=False)
    return connection.execute(
        select(sessions.c.sealed).where(sessions.c.credentials == credentials).with_for_update()
    ).scalar()


def find(connection: Connection, credentials: str) -> str | None:
    return connection.execute(select(sessions.c.sealed).where(sessions.c.credentials == credentials)).scalar()


def save(connection: Connection, credentials: str, sealed: str | None) -> None:
    """None voids the session."""
    values = {"sealed": sealed, "opened_at": datetime.now(UTC)}
    connection.execute(update(sessions).where(sessions.c.credentials == credentials).values(**values))
