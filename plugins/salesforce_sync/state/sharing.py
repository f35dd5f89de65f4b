"""What the tasks of all DAGs share of one org, in the state database: its session, its API budget, its descriptions, the jobs they began."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
from sqlalchemy import Connection, Engine

from salesforce_sync.errors import BudgetExhausted, RateLimited
from salesforce_sync.records import RunIdentity
from salesforce_sync.salesforce.metadata import ObjectInfo
from salesforce_sync.salesforce.session import ApiUsage
from salesforce_sync.salesforce.signin import OpenSession
from salesforce_sync.state import api_budget, bulk_jobs, described_objects, sessions
from salesforce_sync.state.api_budget import BudgetRule, UsageReport
from salesforce_sync.state.engine import reading

CALLS_AT_ONCE = 10  # taken from the ledger together


class SharedSession:
    """One session for all who have the same credentials. It is sealed by a key that is made from their secret, so that the state database
    alone gives nobody access."""

    def __init__(self, state: Engine, secret: str) -> None:
        self._state = state
        self._name = hashlib.sha256(f"name of the session of {secret}".encode()).hexdigest()
        self._key = base64.urlsafe_b64encode(hashlib.sha256(f"key of the session of {secret}".encode()).digest())

    def open(self, sign_in: Callable[[], OpenSession]) -> OpenSession:
        with reading(self._state) as connection:
            known = self._unsealed(sessions.find(connection, self._name))
        if known is not None:
            return known
        with self._state.begin() as connection:  # whoever comes second waits here, and finds the first one's session
            known = self._unsealed(sessions.find_locked(connection, self._name))
            if known is None:
                known = sign_in()
                if not api_budget.count_login(connection, known.org_id, datetime.now(UTC)):
                    raise RateLimited("Salesforce sign-in")
                sessions.save(connection, self._name, self._sealed(known))
        return known

    def void(self, stale: OpenSession) -> None:
        with self._state.begin() as connection:
            current = self._unsealed(sessions.find_locked(connection, self._name))
            if current == stale:
                sessions.save(connection, self._name, None)

    def _sealed(self, session: OpenSession) -> str:
        from cryptography.fernet import Fernet

        text = json.dumps([session.token, session.instance_url, session.org_id])
        return Fernet(self._key).encrypt(text.encode()).decode()

    def _unsealed(self, sealed: str | None) -> OpenSession | None:
        from cryptography.fernet import Fernet

        return None if sealed is None else OpenSession(*json.loads(Fernet(self._key).decrypt(sealed.encode())))


class SharedDescriptions:
    """What the org says of its objects, as the user of these credentials sees them."""

    def __init__(self, state: Engine, secret: str) -> None:
        self._state = state
        self._viewer = hashlib.sha256(f"what is described for {secret}".encode()).hexdigest()

    def find(self, names: Sequence[str]) -> dict[str, ObjectInfo]:
        with reading(self._state) as connection:
            texts = described_objects.find(connection, self._viewer, names)
        return {name: msgspec.json.decode(text, type=ObjectInfo) for name, text in texts.items()}

    def save(self, found: Mapping[str, ObjectInfo]) -> None:
        with self._state.begin() as connection:
            described_objects.save(
                connection, self._viewer, {name: msgspec.json.encode(info).decode() for name, info in found.items()}
            )


class SharedBudget:
    """The org's API calls as all tasks together may spend them. Safe between threads."""

    def __init__(self, state: Engine, rule: BudgetRule, *, holder: str = "") -> None:
        """`holder` is who takes the calls: what it leaves behind when it dies is freed by its next try."""
        self._state, self._rule = state, rule
        self._holder = holder or uuid4().hex
        self._lock = threading.Lock()
        self._org = ""
        self._taken = self._left = 0
        self._report: UsageReport | None = None

    def spend(self, org_id: str) -> None:
        with self._lock:
            self._org = org_id
            if self._left == 0:
                self._take()
            self._left -= 1

    def _take(self) -> None:
        now = datetime.now(UTC)
        with self._state.begin() as connection:
            self._settle(connection, now)
            self._taken = self._left = api_budget.take(
                connection, self._org, CALLS_AT_ONCE, self._rule, now, holder=self._holder
            )
        if self._left == 0:
            raise BudgetExhausted(f"The API budget of org {self._org} is spent: {self._said()}.")

    def _settle(self, connection: Connection, now: datetime) -> None:
        api_budget.settle(
            connection, self._org, made=self._taken - self._left, unused=self._left, report=self._report, now=now,
            holder=self._holder,
        )  # fmt: skip
        self._taken = self._left = 0

    def _said(self) -> str:
        reserve = f"{self._rule.reserve_percent} % of the allocation is kept for people"
        hourly = (
            f", and the sync may make {self._rule.calls_per_hour} calls an hour" if self._rule.calls_per_hour else ""
        )
        used = f"{self._report.used} of {self._report.allowed} calls are used, " if self._report else ""
        return used + reserve + hourly

    def report(self, usage: ApiUsage) -> None:
        self._report = UsageReport(usage.used, usage.allowed, datetime.now(UTC))

    def close(self) -> None:
        """Gives back what was taken and not used, and passes the org's last report on."""
        with self._lock:
            if not self._org:
                return
            with self._state.begin() as connection:
                self._settle(connection, datetime.now(UTC))


class TaskJobs:
    """The Bulk jobs that the tries of one task began.

    A job is taken up once, and only one that an earlier try left behind: rows that this try sends a second time are meant to be sent."""

    def __init__(self, state: Engine, run: RunIdentity) -> None:
        self._state = state
        self._task = hashlib.sha256("\n".join((run.dag_id, run.run_id, run.task_id)).encode()).hexdigest()
        self._own: set[str] = set()

    def find(self, content: str) -> str | None:
        if content in self._own:
            return None
        self._own.add(content)
        with reading(self._state) as connection:
            return bulk_jobs.find(connection, self._task, content)

    def remember(self, content: str, job_id: str) -> None:
        self._own.add(content)
        with self._state.begin() as connection:
            bulk_jobs.remember(connection, self._task, content, job_id)

    def forget(self) -> None:
        """What the jobs did is committed: a task that somebody clears after that sends its rows anew."""
        with self._state.begin() as connection:
            bulk_jobs.forget(connection, self._task)
