"""The state of one emulated org, shared by all routes: schema, records, sessions, usage, jobs."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from emulators.control import Clock, Faults
from emulators.salesforce.dml import Dml
from emulators.salesforce.errors import ApiError, invalid_session, invalid_type
from emulators.salesforce.ids import make_id
from emulators.salesforce.policies import Policies
from emulators.salesforce.schema import SFDX_PROJECT, Schema, SObject, load_schema
from emulators.salesforce.soql.compiler import Compiler
from emulators.salesforce.store import Store, quoted
from emulators.salesforce.tooling import Tooling

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
    concurrent_limit: int | None = None  # an org allows 25 long requests at a time; None: not watched
    used: int = 0
    logins: int = 0
    by_route: Counter[str] = field(default_factory=Counter)
    _open: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def request(self) -> Iterator[None]:
        """The time that a request is being answered; refused when too many are."""
        with self._lock:
            if self.concurrent_limit is not None and self._open >= self.concurrent_limit:
                raise ApiError(
                    "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.", status=403
                )
            self._open += 1
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1

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
    """A valid access token; `grant` is the refresh token that it came of."""

    user_id: str
    expires: datetime
    grant: str | None = None


@dataclass
class SignInRules:
    """What the org asks of sign-ins beyond good credentials; both are off unless ordered."""

    rotate_refresh_tokens: bool = False
    logins_per_hour: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.rotate_refresh_tokens, bool) or not isinstance(self.logins_per_hour, (int, type(None))):
            raise TypeError("rotate_refresh_tokens must be true or false, logins_per_hour a number or null")


class Org:
    def __init__(self, data: Path, *, sfdx_project: Path | None = SFDX_PROJECT) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.data = data
        self.clock, self.faults, self.usage = Clock(), Faults(), Usage()
        self.credentials = Credentials()
        self._shipped_schema = load_schema(sfdx_project)
        self.schema = Schema(dict(self._shipped_schema.objects))
        self.store = Store(data / "salesforce.sqlite", self.schema)
        self.policies = Policies()
        self.dml = Dml(self.store, self.schema, self.clock, self.faults, self.policies, lambda: self.user_id)
        self.compiler = Compiler(self.schema, self.clock.now, self.store)
        self.schema_changed_at = self.clock.now()
        self.tooling = Tooling(data, self.clock)
        self.sign_in_rules = SignInRules()
        self.login_times: list[datetime] = []
        self._started, self._ids_given = datetime.now(UTC), 0
        self.sessions: dict[str, Session] = {}
        self.refresh_tokens: dict[str, str] = {self.credentials.refresh_token: "connected app"}  # token -> its grant
        self.used_refresh_tokens: dict[str, str] = {}
        self.cursors: dict[str, Any] = {}
        self.jobs: dict[str, Any] = {}
        self.bulk1_jobs: dict[str, Any] = {}
        self.deployments: dict[str, Any] = {}
        self.retrievals: dict[str, Any] = {}
        self.components: dict[
            tuple[str, str], tuple[str, str]
        ] = {}  # (type, full name) -> XML element and what is in it, as deployed
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
            {
                "Id": ORG_ID,
                "Name": "Emulated Org",
                "OrganizationType": "Enterprise Edition",
                "InstanceName": "EMU1",
                "IsSandbox": 1,
                **stamps,
            },
        )
        (_, profile_id) = self.store.next_ids(self.schema.objects["Profile"], 1)[0]
        self._insert_raw(
            "Profile", {"Id": profile_id, "Name": "System Administrator", "UserType": "Standard", **stamps}
        )
        user = self.schema.objects["User"]
        (_, user_id) = self.store.next_ids(user, 1)[0]
        self._insert_raw("User", {
            "Id": user_id, "Username": self.credentials.username, "FirstName": "Integration", "LastName": "User", "Name": "Integration User",
            "Email": self.credentials.username, "Alias": "integr", "IsActive": 1, "ProfileId": profile_id, "UserType": "Standard",
            "CreatedById": user_id, "LastModifiedById": user_id, "TimeZoneSidKey": "GMT", "LocaleSidKey": "en_US",
            "LanguageLocaleKey": "en_US", "EmailEncodingKey": "UTF-8", **stamps,
        })  # fmt: skip

    def _insert_raw(self, name: str, values: dict[str, Any]) -> None:
        with self.store.writing() as connection:
            marks = ",".join("?" * len(values))
            connection.execute(
                f"INSERT INTO {quoted(name)} ({', '.join(map(quoted, values))}) VALUES ({marks})", list(values.values())
            )

    @property
    def user_id(self) -> str:
        return str(self.store.reader.execute('SELECT Id FROM "User" ORDER BY _n LIMIT 1').fetchone()[0])

    def user(self) -> dict[str, Any]:
        """The integration user's record, by stored values."""
        return self.dml.stored_row(self.schema.objects["User"], self.user_id)

    def set_password(self, user_id: str, password: str) -> None:
        """Only the integration user signs in here; the passwords of others are taken and never asked for."""
        if user_id == self.user_id:
            self.credentials = replace(self.credentials, password=password)

    @property
    def identity_path(self) -> str:
        return f"/id/{ORG_ID}/{self.user_id}"

    @property
    def private_key(self) -> str:
        """The key whose public half the connected app holds, as PEM: for signing JWT assertions. New at every start."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        return self._key.public_key()

    # -- sessions -----------------------------------------------------------------------------------------------------------------

    def sign_in(self, grant: str | None = None) -> str:
        """A new access token; LOGIN_RATE_EXCEEDED when that is watched and there were too many within the hour."""
        now = self.clock.now()
        self.login_times = [moment for moment in self.login_times if moment > now - timedelta(hours=1)]
        most = self.sign_in_rules.logins_per_hour
        if most is not None and len(self.login_times) >= most:
            raise ApiError("LOGIN_RATE_EXCEEDED", "login rate exceeded", status=403)
        self.login_times.append(now)
        self.usage.count_login()
        token = f"{ORG_ID[:15]}!AQ.FAKE.{secrets.token_urlsafe(32)}"
        self.sessions[token] = Session(self.user_id, now + timedelta(hours=SESSION_HOURS), grant)
        return token

    def use_refresh_token(self, token: str) -> tuple[str, str | None]:
        """(the grant, a new refresh token if they rotate); ApiError when the token is void. Using a rotated one again ends its grant."""
        if token in self.used_refresh_tokens:
            self.end_grant(self.used_refresh_tokens[token])
        grant = self.refresh_tokens.get(token)
        if grant is None:
            raise ApiError("invalid_grant", "expired access/refresh token")
        if not self.sign_in_rules.rotate_refresh_tokens:
            return grant, None
        del self.refresh_tokens[token]
        self.used_refresh_tokens[token] = grant
        fresh = f"5Aep861.FAKE.{secrets.token_urlsafe(24)}"
        self.refresh_tokens[fresh] = grant
        return grant, fresh

    def end_grant(self, grant: str) -> None:
        """Voids every token of the grant."""
        self.refresh_tokens = {token: other for token, other in self.refresh_tokens.items() if other != grant}
        self.sessions = {token: session for token, session in self.sessions.items() if session.grant != grant}

    def revoke(self, token: str) -> bool:
        """Voids an access token, or a refresh token with all that came of it; False when it is neither."""
        if token in self.refresh_tokens:
            self.end_grant(self.refresh_tokens[token])
            return True
        return self.sessions.pop(token, None) is not None

    def authenticate(self, token: str | None) -> Session:
        session = self.sessions.get(token or "")
        if session is None or session.expires <= self.clock.now():
            raise invalid_session()
        return session

    def expire_sessions(self) -> None:
        self.sessions.clear()

    # -- the schema ---------------------------------------------------------------------------------------------------------------

    def change_schema(self, schema: Schema) -> None:
        """Becomes an org with these objects and fields; what was in those that go is gone."""
        with self.store.writing():
            self.store.forget(self.schema, schema)
            self.schema.adopt(schema)
            self.store.ensure_tables()
        self.dml.forget_checks()
        self.schema_changed_at = self.clock.now()

    def result_file(self, name: str) -> Path:
        """Where a job keeps its result until the org is reset."""
        folder = self.data / "results"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.csv"

    def new_id(self, prefix: str) -> str:
        """An id for what is no record: a job, a batch, a deployment. Never the same twice, also over restarts."""
        self._ids_given += 1
        return make_id(prefix, int(self._started.timestamp()) * 1_000 + self._ids_given)

    def tooling_engine(self) -> Tooling:
        """The Tooling API's objects, as the schema is now."""
        self.tooling.refresh(self.schema, self.schema_changed_at, self.user_id)
        return self.tooling

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

    def reset(self, seed: Callable[[Org], None] | None = None, *, bare: bool = False) -> None:
        """As new: no records but the seed's, nothing deployed, no faults, no usage, real time. Sessions stay valid.

        A `bare` org has the standard objects only; else it has the SFDX project's too.
        """
        self.credentials = Credentials()
        self.faults.clear()
        self.clock.reset()
        self.policies.clear()
        self.sign_in_rules, self.login_times, self.usage.concurrent_limit = SignInRules(), [], None
        self.refresh_tokens, self.used_refresh_tokens = {self.credentials.refresh_token: "connected app"}, {}
        for kept in (self.jobs, self.bulk1_jobs, self.cursors, self.deployments, self.retrievals, self.components):
            kept.clear()
        for folder in ("deployed", "results"):
            shutil.rmtree(self.data / folder, ignore_errors=True)
        self.change_schema(load_schema(None) if bare else self._shipped_schema)
        self.store.clear()
        self.make_org_records()
        if seed:
            seed(self)
        self.usage.used, self.usage.logins, self.usage.limit = 0, 0, DAILY_REQUESTS
        self.usage.by_route.clear()
