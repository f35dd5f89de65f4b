"""Which Bulk job carries which rows, for as long as Salesforce keeps it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, select

from salesforce_sync.state.engine import upsert
from salesforce_sync.state.schema import bulk_jobs

KEPT = timedelta(days=7)  # Salesforce keeps jobs and their results as long


def find(connection: Connection, task: str, content: str) -> str | None:
    """The id of the job that this task began with this content."""
    query = select(bulk_jobs.c.job_id).where(
        bulk_jobs.c.task == task, bulk_jobs.c.content == content, bulk_jobs.c.began_at > _oldest()
    )
    return connection.execute(query).scalar()


def remember(connection: Connection, task: str, content: str, job_id: str) -> None:
    """Notes the job, and forgets those that Salesforce has forgotten."""
    connection.execute(delete(bulk_jobs).where(bulk_jobs.c.began_at <= _oldest()))
    upsert(connection, bulk_jobs, [{"task": task, "content": content, "job_id": job_id, "began_at": datetime.now(UTC)}])


def forget(connection: Connection, task: str) -> None:
    """No job of this task is to be taken up any more."""
    connection.execute(delete(bulk_jobs).where(bulk_jobs.c.task == task))


def _oldest() -> datetime:
    return datetime.now(UTC) - KEPT
