"""Which org the package last signed in to: a task that reads from a vendor holds no Salesforce credentials."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, select

from salesforce_sync.state.engine import upsert
from salesforce_sync.state.schema import known_orgs


def remember(connection: Connection, org: str) -> None:
    upsert(connection, known_orgs, [{"org": org, "signed_in_at": datetime.now(UTC)}])


def latest(connection: Connection) -> str | None:
    """The org's id; None while nothing has signed in."""
    query = select(known_orgs.c.org).order_by(known_orgs.c.signed_in_at.desc(), known_orgs.c.org).limit(1)
    return connection.execute(query).scalar()
