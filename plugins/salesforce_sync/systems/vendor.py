"""What every vendor's hook has in common: Airflow's HttpHook with time-outs, bounded retries, pacing, and errors translated once."""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, ClassVar, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk import Connection

from salesforce_sync.errors import (
    AuthenticationFailed,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SyncError,
    TransientError,
)
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.privacy import hide, mask_text

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

TIMEOUT_SECONDS = (10, 60)  # to connect, to read
TRIES = 4
PASSING = frozenset({408, 425})  # besides 429 and 5xx: the same request may be taken later
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0
SHOWN_CHARACTERS = 120


class VendorHook(HttpHook):  # type: ignore[misc]
    """A subclass names its `system` and speaks the vendor's language; `get_json`, `send_json` and `tried` are all that it needs of HTTP."""

    system: ClassVar[str]
    requests_per_second: ClassVar[float] = 10.0
    # What a vendor that receives records may say of new ones: see engine.to_vendor.VendorTarget.
    only_new: ClassVar[frozenset[str]] = frozenset()
    defaults: ClassVar[Mapping[str, str]] = {}

    def __init__(self) -> None:
        super().__init__(method="GET", http_conn_id=self.system)
        self._last_request = 0.0
        self.said_date = ""  # the Date of the vendor's last answer: its clock

    def test(self) -> str:
        """A sentence that says that the vendor can be used; raises when it cannot."""
        raise NotImplementedError

    def problems(self, mapping: MappingFile) -> list[str]:  # noqa: ARG002 - this one knows none
        """A sentence for each thing in a mapping to the vendor that cannot work; a hook that knows any overrides this."""
        return []

    @property
    def root_url(self) -> str:
        """The vendor's address, without a slash at its end."""
        raise NotImplementedError

    @property
    def removed(self) -> Counter[str]:
        """How often personal data that the vendor should not send was taken out, by kind; a hook that takes out any overrides this."""
        return Counter()

    def get_connection(self, conn_id: str) -> Connection:
        """What HttpHook builds its session from: our credentials, not a Connection of Airflow's."""
        return Connection(conn_id=conn_id, conn_type="http", host=self.root_url)

    @cached_property
    def session(self) -> requests.Session:
        session: requests.Session = self.get_conn()
        session.auth = _no_auth  # and not None, or requests would look into .netrc
        return session

    def get_json(self, path: str, *, params: Mapping[str, Any] | None = None, headers: Mapping[str, str]) -> Any:
        """The parsed answer. Transient failures are tried again, TRIES times in all; then they are raised, as is any other error."""
        return self.tried(lambda: self._once("GET", path, params, headers))

    def send_json(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str],
    ) -> Any:
        """The parsed answer to a call that changes something, None for an answer without content.

        PUT and DELETE are tried again like a reading: made twice, they change nothing more (RFC 9110, 9.2.2). POST and PATCH are tried
        again only when the vendor refused them as one too many (429): after an answer that is lost nobody knows what they did, so
        ServiceUnavailable is raised, and the engine looks before it sends the record again.
        """
        again = TransientError if method in ("PUT", "DELETE") else RateLimited
        return self.tried(lambda: self._once(method, path, params, headers, body), again=again, changes=True)

    def tried(
        self, call: Callable[[], Answer], *, again: type[TransientError] = TransientError, changes: bool = False
    ) -> Answer:
        """What the call gives; it is paced, and tried again after failures of the kind `again`, TRIES times in all.

        A call that `changes` something may have done it although no answer came. Then no later refusal says what became of it: the error
        stays ServiceUnavailable, so that the engine looks before it sends the record again.
        """
        lost: ServiceUnavailable | None = None
        for attempt in range(1, TRIES + 1):
            self._pace()
            try:
                return call()
            except SyncError as error:
                if isinstance(error, ServiceUnavailable):
                    lost = error
                elif lost is not None and changes:
                    raise ServiceUnavailable(f"{lost.args[0]} Tried again: {error.args[0]}") from error
                if not isinstance(error, again) or attempt == TRIES:
                    raise
                self._wait(attempt, error)
        raise AssertionError("unreachable: the last try raises")

    def _once(
        self, method: str, path: str, params: Mapping[str, Any] | None, headers: Mapping[str, str], body: Any = None
    ) -> Any:
        reply = self.call(method, path, params=params, headers=headers, json=body)
        if reply.status_code == 204 or (method != "GET" and not reply.content):
            return None
        return self.parsed(reply)

    def parsed(self, reply: requests.Response) -> Any:
        """The JSON of an answer. ServiceUnavailable for anything else: it may be half of an answer."""
        try:
            return json.loads(reply.content.decode("utf-8-sig"))
        except ValueError:
            kind = reply.headers.get("content-type", "no content type")
            said = "HTML" if "html" in kind else "text that is not complete JSON"
            raise ServiceUnavailable(
                f"{self.system} answered with {said} ({kind}) where JSON belongs.",
                fix=f"If it stays so: check base_url and path in {self.system}_credentials, and whether a proxy or a maintenance page answers.",
            ) from None

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str],
        json: Any = None,
        data: bytes | None = None,
    ) -> requests.Response:
        """One call, with `json` or `data` as its body; its answer, if that is a success, else the error that it stands for."""
        try:
            reply = self.session.request(
                method,
                self.root_url + path,
                params=dict(params or {}),
                headers=dict(headers),
                json=json,
                data=data,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise ServiceUnavailable(f"{self.system} gave no answer ({type(error).__name__}).") from None
        self.said_date = reply.headers.get("date", self.said_date)
        if not 200 <= reply.status_code < 300:
            raise self._error(reply)
        return reply

    def _error(self, reply: requests.Response) -> SyncError:
        if reply.is_redirect:
            return self.moved(reply)
        return self._status_error(reply.status_code, reply.text, retry_after=_seconds(reply.headers.get("retry-after")))

    def _status_error(self, status: int, text: str, *, retry_after: float | None = None) -> SyncError:
        """An answer that is no success, by its HTTP status."""
        if status in (401, 403):
            return self.refused_credentials(str(status))
        if status == 429 or (status == 503 and retry_after is not None):
            return RateLimited(self.system, retry_after=retry_after)
        if status in PASSING:
            return ServiceUnavailable(f"{self.system} answered {status}.")
        if status >= 500:
            return ServiceUnavailable(f"{self.system} answered {status}.")
        return RequestRejected(f"{self.system} refused the request ({status}): {self._shown(text)}", code=str(status))

    def moved(self, reply: requests.Response) -> SyncError:
        """A redirect, which is never followed: our credentials go to the configured address only."""
        to = urlsplit(urljoin(reply.url, reply.headers["location"]))
        return RequestRejected(
            f"{self.system} has moved: it answers {reply.status_code} and names {to.scheme}://{to.netloc}{to.path}.",
            code=str(reply.status_code),
            fix=f"If that is the vendor's new address, set it in {self.system}_credentials.",
        )

    def refused_credentials(self, said: str) -> AuthenticationFailed:
        return AuthenticationFailed(
            f"{self.system} refused the credentials ({said}).",
            fix=f"Check the Variable {self.system}_credentials; the vendor gives out a new token.",
        )

    def _shown(self, text: str) -> str:
        """The beginning of an answer, fit to be logged: without personal data and without our own credentials, should they be echoed."""
        return mask_text(hide(" ".join(text.split()), self._all_secrets()))[:SHOWN_CHARACTERS]

    def _all_secrets(self) -> list[str]:
        """The secrets, and pairs of them as Basic authentication joins them."""
        known = self.secrets
        return [*known, *(f"{first}:{second}" for first in known for second in known if first != second)]

    @property
    def secrets(self) -> list[str]:
        """The values that must not be seen."""
        raise NotImplementedError

    def _pace(self) -> None:
        due = self._last_request + 1 / self.requests_per_second
        pause = due - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        self._last_request = time.monotonic()

    def _wait(self, attempt: int, error: TransientError) -> None:
        asked = error.retry_after if isinstance(error, RateLimited) else None
        if asked is not None and asked > LONGEST_WAIT_SECONDS:
            raise error  # the task's next try comes later than a wait here should last
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
        seconds = random.uniform(longest / 2, longest) if asked is None else asked
        log.warning("%s Try %d of %d in %.1f s.", error, attempt + 1, TRIES, seconds)
        time.sleep(seconds)


def _no_auth(request: Any) -> Any:
    return request


def _seconds(header: str | None) -> float | None:
    """A Retry-After header in seconds from now: a number, or a date (RFC 9110, 10.2.3); None for anything else."""
    if not header:
        return None
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", header.strip()):
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
