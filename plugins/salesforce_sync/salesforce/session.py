"""One signed-in session: requests with time-outs, retries, one refresh when it has expired, and the API usage that the org reports.

Safe to share between threads. Calls are counted as the org counts them: every request, also one that is tried again.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import msgspec
import urllib3

from salesforce_sync.errors import RequestRejected, ServiceUnavailable, SyncError
from salesforce_sync.privacy import hide
from salesforce_sync.salesforce.http import Http
from salesforce_sync.salesforce.signin import OpenSession, SignIn
from salesforce_sync.salesforce.wire_errors import as_exception, moved, read_error

log = logging.getLogger(__name__)

API_VERSION = "66.0"  # Spring '26
CONNECT_SECONDS = 10
READ_SECONDS = 120
TRIES = 5
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 20.0
_API_USAGE = re.compile(r"(?:^|[;,\s])api-usage=(\d+)/(\d+)")  # beside it may stand the quota of a connected app


@dataclass(frozen=True)
class ApiUsage:
    """Calls used and allowed in 24 hours, as the last answer's Sforce-Limit-Info reported them."""

    used: int
    allowed: int


@dataclass(frozen=True)
class Reply:
    """A successful answer, read in full; `value` is its JSON, None when it is something else."""

    status: int
    headers: Any
    body: bytes
    value: Any = None

    @classmethod
    def read(cls, raw: urllib3.BaseHTTPResponse) -> Reply:
        """DecodeError when the JSON breaks off, and when a page of HTML, or nothing, stands where it belongs."""
        if not raw.data and raw.status == 200:
            raise msgspec.DecodeError("an empty answer")
        return cls(raw.status, raw.headers, raw.data, msgspec.json.decode(raw.data) if raw.data else None)


class SessionStore(Protocol):
    """Keeps one open session for all tasks."""

    def open(self, sign_in: Callable[[], OpenSession]) -> OpenSession:
        """The stored session, or a new one, which is stored; only one caller signs in at a time."""

    def void(self, stale: OpenSession) -> None:
        """Forgets the session, unless another has taken its place."""


class Budget(Protocol):
    """What the sync may spend of the org's API calls."""

    def spend(self, org_id: str) -> None:
        """Takes one call; BudgetExhausted when there is none left."""

    def report(self, usage: ApiUsage) -> None:
        """Tells what the org itself counted."""


class Session:
    """Requests to one org. Nothing is sent before the first request, which signs in."""

    def __init__(
        self,
        sign_in: SignIn,
        *,
        api_version: str = API_VERSION,
        sleep: Callable[[float], None] = time.sleep,
        store: SessionStore | None = None,
        budget: Budget | None = None,
        on_token: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_token` is told each access token before it is used, so that it can be kept out of logs."""
        self._sign_in, self._store, self._budget, self._on_token = sign_in, store, budget, on_token
        self.api_version = api_version
        self._sleep = sleep
        self._http = Http()
        self._lock = threading.Lock()
        self._open: OpenSession | None = None
        self._org_id: str | None = None
        self.calls = 0
        self.usage: ApiUsage | None = None
        self.server_time: datetime | None = None  # by the Date of the last answer: what Salesforce stamps records by

    @property
    def opened(self) -> OpenSession:
        """The session's token and address; signs in when there is none yet."""
        with self._lock:
            if self._open is None:
                self._open = self._store.open(self._new_session) if self._store else self._new_session()
                self._on_token(self._open.token)
            return self._open

    def _new_session(self) -> OpenSession:
        for attempt in range(1, TRIES + 1):
            try:
                return self._sign_in.open_session(self._http)
            except SyncError as failure:
                failure.args = (hide(str(failure.args[0]), self._sign_in.secrets), *failure.args[1:])
                if attempt == TRIES or not isinstance(failure, ServiceUnavailable):
                    raise
                self._wait(attempt, failure)
        raise AssertionError("unreachable: the last try raises")

    def sleep(self, seconds: float) -> None:
        """Waits; tests hand in a wait that takes no time."""
        self._sleep(seconds)

    @property
    def org_id(self) -> str:
        """Signs in the first time only: it does not change, and is asked for within transactions."""
        if self._org_id is None:
            self._org_id = self.opened.org_id
        return self._org_id

    def now(self) -> datetime:
        """Salesforce's own time: what records are stamped by. Costs a call when nothing was asked of this session yet."""
        if self.server_time is None:
            self.request("GET", self.path("limits"), what="asking for the time")
        return self.server_time or datetime.now(UTC)

    def _renew(self, stale: OpenSession) -> None:
        with self._lock:
            if self._open is stale:
                self._open = None
                if self._store:
                    self._store.void(stale)

    def path(self, resource: str) -> str:
        """The path of a resource below this session's API version: `sobjects/Account/describe`."""
        return f"/services/data/v{self.api_version}/{resource.lstrip('/')}"

    def request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        json_body: Any = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        repeatable: bool = True,
    ) -> Reply:
        """Sends one request and gives its successful answer, read in full.

        `what` says what is being done, for errors. A request that is not `repeatable` is not sent again after an answer got lost, since
        nobody knows then whether it was done; the caller finds out. Raises a TransientError when the tries are used up, a PermanentError
        when Salesforce refuses.
        """
        reply: Reply = self._try(method, path, what, json_body, body, headers, repeatable, read=True)
        return reply

    def ask(self, method: str, path: str, *needs: str, what: str, json_body: Any = None) -> dict[str, Any]:
        """The object that the answer is, as `request` gives it. ServiceUnavailable when it is none, or lacks one of the keys that it needs."""
        value = self.request(method, path, what=what, json_body=json_body).value
        missing = [key for key in needs if not isinstance(value, dict) or value.get(key) is None]
        if not isinstance(value, dict) or missing:
            raise ServiceUnavailable(f"{what}: the answer has no {' and no '.join(missing) or 'content'}.")
        return value

    def stream(self, path: str, *, what: str) -> urllib3.BaseHTTPResponse:
        """GETs a body to be read piece by piece, decompressed; the caller closes it."""
        reply: urllib3.BaseHTTPResponse = self._try("GET", path, what, None, None, None, repeatable=True, read=False)
        return reply

    def _try(
        self, method: str, path: str, what: str, json_body: Any, body: Any, headers: dict[str, str] | None,
        repeatable: bool, *, read: bool,
    ) -> Any:  # fmt: skip
        refreshed, attempt = False, 0
        lost: SyncError | None = None  # an earlier try of a write that nobody knows the outcome of
        while True:
            attempt += 1
            try:
                opened = self.opened
                raw = self._send(opened, method, path, json_body, body, headers, read)
                if raw.status < 300:
                    return Reply.read(raw) if read else raw
                if raw.status < 400:
                    raise moved(raw.status, raw.headers.get("location", ""), what)
            except (urllib3.exceptions.HTTPError, msgspec.DecodeError) as error:
                failure: SyncError = ServiceUnavailable(
                    f"{what}: no whole answer from Salesforce ({type(error).__name__})."
                )
                if not repeatable or attempt == TRIES:
                    raise failure from error
                lost = failure if method != "GET" else None
                self._wait(attempt, failure)
                continue
            except SyncError as error:
                raise _after_lost(lost, error) from error
            said = read_error(raw.status, raw.data)
            said = replace(said, message=hide(said.message, (opened.token, *self._sign_in.secrets)))
            if said.is_session and not refreshed:
                refreshed, attempt = True, attempt - 1  # signing in again is not a failed try
                self._renew(opened)
                continue
            failure = as_exception(said, what)
            unknown = not repeatable and said.status >= 500  # it may have been done all the same
            if not said.is_transient or unknown or attempt == TRIES:
                raise _after_lost(lost, failure)
            lost = failure if method != "GET" and said.status >= 500 else lost
            self._wait(attempt, failure)

    def _send(
        self, opened: OpenSession, method: str, path: str, json_body: Any, body: Any, headers: dict[str, str] | None,
        read: bool,
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        all_headers = {
            "authorization": f"Bearer {opened.token}",
            "accept-encoding": "gzip",
            "accept": "application/json",
            **(headers or {}),
        }
        if json_body is not None:
            body = json.dumps(json_body, separators=(",", ":")).encode()
            all_headers["content-type"] = "application/json"
        if self._budget:
            self._budget.spend(opened.org_id)
        with self._lock:
            self.calls += 1
        if hasattr(body, "seek"):
            body.seek(0)
        if not path.startswith("/"):  # such as a next page that would make another host of the address
            raise RequestRejected(f"Salesforce named {path.partition('?')[0]!r} as an address of its own.")
        url = opened.instance_url + path
        reply = self._http.request(
            method, url, body=body, headers=all_headers, retries=False, redirect=False, preload_content=read,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        )  # fmt: skip
        self._note(reply.headers)
        return reply

    def _note(self, headers: Any) -> None:
        try:
            self.server_time = parsedate_to_datetime(headers["date"])
        except (KeyError, TypeError, ValueError):
            pass  # an answer without a date leaves the last one standing
        told = _API_USAGE.search(headers.get("sforce-limit-info", ""))
        if told is not None:
            self.usage = ApiUsage(int(told[1]), int(told[2]))
            if self._budget:
                self._budget.report(self.usage)

    def _wait(self, attempt: int, failure: SyncError) -> None:
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
        seconds = random.uniform(longest / 2, longest)
        log.warning("%s Try %d of %d in %.1f s.", failure, attempt + 1, TRIES, seconds)
        self._sleep(seconds)


def _after_lost(lost: SyncError | None, error: SyncError) -> SyncError:
    """The error; of a write of which an earlier try got no answer, one that says that nobody knows what became of it.

    The same failure all along says what it said the first time.
    """
    if lost is None or (isinstance(error, ServiceUnavailable) and error.code == getattr(lost, "code", "")):
        return error
    return ServiceUnavailable(f"{lost.args[0]} Tried again: {error.args[0]}")
