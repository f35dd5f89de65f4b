"""Waiting for a Bulk API 2.0 job: adaptive polling with a deadline, after which the job is aborted and reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Protocol

from salesforce_sync.errors import JobUnderWay, RequestRejected, ServiceUnavailable
from salesforce_sync.salesforce.session import Session

FIRST_POLL_SECONDS, POLL_GROWTH, LONGEST_POLL_SECONDS = 0.05, 2.0, 10.0
ROWS_PER_SECOND = 100_000  # faster than any org writes: nobody asks before
DEADLINE_SECONDS = 3_600.0
RETRYABLE_JOB_ERRORS = ("InternalServerError", "UNABLE_TO_LOCK_ROW", "TooManyLockFailure", "SERVER_UNAVAILABLE")
UNFINISHED = frozenset({"Open", "UploadComplete", "InProgress"})
USEFUL = frozenset({"UploadComplete", "InProgress", "JobComplete"})  # states of a job that is worth taking up


class JobMemory(Protocol):
    """Remembers which job carries which content, so that a task that begins anew takes its jobs up."""

    def find(self, content: str) -> str | None:
        """The id of the job with this content, if an earlier try of this task began one."""

    def remember(self, content: str, job_id: str) -> None: ...


def left_behind(
    session: Session, memory: JobMemory | None, kind: str, content: str, *, what: str
) -> dict[str, Any] | None:
    """The description of the job (`kind` is ingest or query) that an earlier try of this task began with this content, if Salesforce has it."""
    job_id = memory.find(content) if memory is not None else None
    if job_id is None:
        return None
    try:
        path, purpose = session.path(f"jobs/{kind}/{job_id}"), f"{what}: taking up job {job_id}"
        return session.ask("GET", path, "id", "state", "createdDate", what=purpose)
    except RequestRejected:
        return None  # the job is gone: Salesforce keeps them for seven days


def abandon(session: Session, job_id: str) -> str | None:
    """The path of an ingest job that is still at work; None when it is over. One that was never closed is aborted.

    An aborted job cannot be closed any more: nothing of it lands afterwards.
    """
    path = session.path(f"jobs/ingest/{job_id}")
    try:
        state = str(session.ask("GET", path, "state", what=f"looking for job {job_id}")["state"])
    except RequestRejected:
        return None  # Salesforce keeps jobs for seven days
    if state == "Open":
        session.request("PATCH", path, what=f"aborting job {job_id}", json_body={"state": "Aborted"})
        return None
    return path if state in UNFINISHED else None


def poll_waits(rows: int = 0) -> Iterator[float]:
    """Seconds to wait before each poll of a job of so many rows: short at first, since most jobs are, then longer."""
    seconds = min(LONGEST_POLL_SECONDS, max(FIRST_POLL_SECONDS, rows / ROWS_PER_SECOND))
    while True:
        yield seconds
        seconds = min(LONGEST_POLL_SECONDS, seconds * POLL_GROWTH)


def wait_for_job(
    session: Session,
    path: str,
    *,
    what: str,
    patience: float | None = None,
    rows: int = 0,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The finished job's own description; `rows` is how many it has, as far as that is known.

    A job that failed or was aborted raises RequestRejected, one that is older than DEADLINE_SECONDS is aborted and raises
    ServiceUnavailable. One that is still at work after `patience` seconds raises JobUnderWay.
    """
    waited = 0.0
    for seconds in poll_waits(rows):
        sleep(seconds)
        waited += seconds
        job = session.ask("GET", path, "id", "state", "createdDate", what=f"{what}: polling")
        if job["state"] == "JobComplete":
            return job
        if job["state"] not in UNFINISHED:
            message = job.get("errorMessage") or "without saying why"
            if any(code in message for code in RETRYABLE_JOB_ERRORS):
                raise ServiceUnavailable(f"{what}: Salesforce ended job {job['id']} as {job['state']}: {message}.")
            raise RequestRejected(
                f"{what}: Salesforce ended job {job['id']} as {job['state']}: {message}.", code=job["state"]
            )
        age = max(waited, age_of(job, session))
        if age >= DEADLINE_SECONDS:
            session.request("PATCH", path, what=f"{what}: aborting", json_body={"state": "Aborted"})
            raise ServiceUnavailable(
                f"{what}: job {job['id']} was still {job['state']} after {age:.0f} s and has been aborted."
            )
        if patience is not None and waited >= patience:
            raise JobUnderWay(path)
    raise AssertionError("unreachable: poll_waits never ends")


def ended(session: Session, path: str) -> str:
    """The state of a job that is done or past its deadline; empty while it is at work. One call."""
    job = session.ask("GET", path, "state", "createdDate", what="waiting for a Bulk job")
    at_work = job["state"] in UNFINISHED and age_of(job, session) < DEADLINE_SECONDS
    return "" if at_work else str(job["state"])


def age_of(job: dict[str, Any], session: Session) -> float:
    """Seconds since the job was made, by Salesforce's clock: an earlier task may have waited for it."""
    return (session.now() - datetime.fromisoformat(job["createdDate"])).total_seconds()
