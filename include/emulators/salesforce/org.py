"""The state of one emulated org, shared by all routes: schema, records, sessions, usage, jobs."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from emulators.control import Clock, Faults
from emulators.salesforce.dml import Dml
from emulators.salesforce.errors import ApiError, invalid_session, invalid_type
from emulators.salesforce.schema import SFDX_PROJECT, SObject, load_schema
from emulators.salesforce.soql.compiler import Compiler
from emulators.salesforce.store import Store, quoted

ORG_ID = "00D5g0000000001EAA"
DAILY_REQUESTS = 100_000
SESSION_HOURS = 2
MIN_VERSION, MAX_VERSION = 31, 68


@dataclass(frozen=True)
class Credentials:
    """What signs in to this org. All of it is made up, and says so."""

    username: str = "integration@example.invalid"
    password: str = "fake-password"
    security_token: str = "FAKETOKEN"
    consumer_key: str = "3MVG9.FAKE.CONSUMER.KEY"
    consumer_secret: str = "FAKE-CONSUMER-SECRET"
    refresh_token: str = "5Aep861.FAKE.REFRESH.TOKEN"


@dataclass
class Usage:
    """API calls as the org counts them, and what they were for."""

    limit: int = DAILY_REQUESTS
    used: int = 0
    logins: int = 0
    by_route: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, label: str) -> None:
        with self._lock:
            if self.used >= self.limit:
                raise ApiError("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", status=403)
            self.used += 1
            self.by_route[label] += 1

    def count_login(self) -> None:
        with self._lock:
            self.logins += 1

    @property
    def header(self) -> str:
        return f"api-usage={self.used}/{self.limit}"


@dataclass
class Session:
    user_id: str
    expires: datetime


class Org:
    def __init__(self, data: Path, *, sfdx_project: Path | None = SFDX_PROJECT) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.data = data
        self.clock, self.faults, self.usage = Clock(), Faults(), Usage()
        self.credentials = Credentials()
        self.schema = load_schema(sfdx_project)
        self.store = Store(data / "salesforce.sqlite", self.schema)
        self.dml = Dml(self.store, self.schema, self.clock, self.faults, lambda: self.user_id)
        self.compiler = Compiler(self.schema, self.clock.now)
        self.sessions: dict[str, Session] = {}
        self.cursors: dict[str, Any] = {}
        self.jobs: dict[str, Any] = {}
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if self.store.count(self.schema.objects["Organization"]) == 0:
            self.make_org_records()

    # -- the org's own records ----------------------------------------------------------------------------------------------------

    def make_org_records(self) -> None:
        """The organisation and its integration user, which every org has."""
        now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
        stamps = {"IsDeleted": 0, "CreatedDate": now, "LastModifiedDate": now, "SystemModstamp": now}
        self._insert_raw(
            "Organization",
            {"Id": ORG_ID, "Name": "Emulated Org", "OrganizationType": "Enterprise Edition", "InstanceName": "EMU1", "IsSandbox": 1, **stamps},
        )
        user = self.schema.objects["User"]
        (_, user_id) = self.store.next_ids(user, 1)[0]
        self._insert_raw("User", {
            "Id": user_id, "Username": self.credentials.username, "FirstName": "Integration", "LastName": "User", "Name": "Integration User",
            "Email": self.credentials.username, "Alias": "integr", "IsActive": 1, **stamps,
        })  # fmt: skip

    def _insert_raw(self, name: str, values: dict[str, Any]) -> None:
        with self.store.writing() as connection:
            marks = ",".join("?" * len(values))
            connection.execute(f"INSERT INTO {quoted(name)} ({', '.join(map(quoted, values))}) VALUES ({marks})", list(values.values()))

    @property
    def user_id(self) -> str:
        return str(self.store.reader.execute('SELECT Id FROM "User" ORDER BY _n LIMIT 1').fetchone()[0])

    @property
    def private_key(self) -> str:
        """The key whose public half the connected app holds, as PEM: for signing JWT assertions. New at every start."""
        return self._key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        return self._key.public_key()

    # -- sessions -----------------------------------------------------------------------------------------------------------------

    def sign_in(self) -> str:
        """A new access token."""
        self.usage.count_login()
        token = f"{ORG_ID[:15]}!AQ.FAKE.{secrets.token_urlsafe(32)}"
        self.sessions[token] = Session(self.user_id, self.clock.now() + timedelta(hours=SESSION_HOURS))
        return token

    def authenticate(self, token: str | None) -> Session:
        session = self.sessions.get(token or "")
        if session is None or session.expires <= self.clock.now():
            raise invalid_session()
        return session

    def expire_sessions(self) -> None:
        self.sessions.clear()

    # -- look-ups -----------------------------------------------------------------------------------------------------------------

    def object(self, name: str) -> SObject:
        found = self.schema.find(name)
        if found is None:
            raise ApiError("NOT_FOUND", "The requested resource does not exist", status=404)
        return found

    def object_for_write(self, name: str) -> SObject:
        found = self.schema.find(name)
        if found is None:
            raise invalid_type(name)
        return found

    def reset(self, seed: Callable[[Org], None] | None = None) -> None:
        """As new: no records but the seed's, no faults, no usage, real time. Sessions stay valid."""
        self.faults.clear()
        self.clock.reset()
        self.jobs.clear()
        self.cursors.clear()
        self.store.clear()
        self.make_org_records()
        if seed:
            seed(self)
        self.usage.used, self.usage.logins, self.usage.limit = 0, 0, DAILY_REQUESTS
        self.usage.by_route.clear()
