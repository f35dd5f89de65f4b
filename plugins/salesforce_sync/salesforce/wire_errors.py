"""Salesforce's error answers, translated once into the package's errors: what passes by itself, and what stays until somebody acts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from salesforce_sync.errors import (
    AuthenticationFailed,
    BudgetExhausted,
    RequestRejected,
    RowLocked,
    ServiceUnavailable,
    SyncError,
)

RETRYABLE_CODES = frozenset({
    "UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "API_TEMPORARILY_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG", "QUERY_TIMEOUT",
    "UNKNOWN_EXCEPTION", "INTERNAL_SERVER_ERROR",
})  # fmt: skip
PASSING_STATUSES = frozenset(
    {406, 408, 425, 429}
)  # beside 5xx: a gateway's own word, asked too late, too early, too often
# What the org's own code ran into: the outer code is that of the trigger or flow, and the message names the inner one.
_NESTED = re.compile(r"\b(UNABLE_TO_LOCK_ROW|QUERY_TIMEOUT|SERVER_UNAVAILABLE)\b")
_APEX_LIMIT = "System.LimitException"
SESSION_CODES = frozenset({"INVALID_SESSION_ID", "InvalidSessionId"})
_PERMISSION_CODES = frozenset(
    {"API_DISABLED_FOR_ORG", "INSUFFICIENT_ACCESS", "INSUFFICIENT_ACCESS_OR_READONLY", "FUNCTIONALITY_NOT_ENABLED"}
)
_SHOWN_BODY_CHARACTERS = 200


@dataclass(frozen=True)
class WireError:
    """The first error of an answer; `code` is empty when the body was not Salesforce's JSON (a proxy's HTML, say)."""

    status: int
    code: str
    message: str

    @property
    def is_session(self) -> bool:
        return self.code in SESSION_CODES or (self.status == 401 and not self.code)

    @property
    def is_transient(self) -> bool:
        if self.code == "REQUEST_LIMIT_EXCEEDED":
            return "concurrent" in self.message.lower()
        is_passing = self.status in PASSING_STATUSES or (self.status >= 500 and self.status != 501)
        return self.code in RETRYABLE_CODES or is_passing


def is_passing_row(code: str | None, message: str | None) -> bool:
    """Whether a row that was refused with this code may be taken when it is sent again as it is."""
    return code in RETRYABLE_CODES or bool(_NESTED.search(message or ""))


def asks_too_much(message: str | None) -> bool:
    """Whether the org's own code came to a limit over the call: it may bear the same rows in smaller ones."""
    return _APEX_LIMIT in (message or "")


def moved(status: int, location: str, what: str) -> RequestRejected:
    """The error for a redirect, which is never followed with a token: it names the new address, without what follows its path."""
    to = urlsplit(location)
    place = f"{to.scheme}://{to.netloc}{to.path}" if to.netloc else location.partition("?")[0]
    return RequestRejected(
        f"{what}: Salesforce has moved: it answers {status} and names {place}.",
        code=str(status),
        fix="If that is the org's address now, set it as login_url in salesforce_credentials (its My Domain, ending in .my.salesforce.com).",
    )


def read_error(status: int, body: bytes) -> WireError:
    """The error in a body: REST's array, a composite's, or OAuth's object; other text is quoted, shortened."""
    try:
        value: Any = json.loads(body)
    except ValueError:
        text = " ".join(body.decode("utf-8", errors="replace").split())
        return WireError(status, "", text[:_SHOWN_BODY_CHARACTERS] or "an empty answer")
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict):
        return WireError(status, "", str(first)[:_SHOWN_BODY_CHARACTERS])
    code = first.get("errorCode") or first.get("exceptionCode") or first.get("error") or ""
    message = first.get("message") or first.get("exceptionMessage") or first.get("error_description") or ""
    return WireError(status, str(code), str(message))


def as_exception(error: WireError, what: str) -> SyncError:
    """The exception for an error that was not, or no longer, to be retried. `what` says what was being done."""
    said = f"{what}: Salesforce answered {error.status} {error.code}: {error.message}".strip()
    if error.is_session:
        return AuthenticationFailed(
            f"{said}.", fix="The session was refused even after a new sign-in: check the integration user."
        )
    if error.code == "UNABLE_TO_LOCK_ROW":
        return RowLocked(said)
    if error.code == "REQUEST_LIMIT_EXCEEDED" and not error.is_transient:
        return BudgetExhausted(
            f"{said}.",
            fix="The org's API calls for 24 hours are used up: wait, or buy more (Setup > Company Information).",
        )
    if error.is_transient:
        return ServiceUnavailable(said, code=error.code, answered=True)
    if error.code in _PERMISSION_CODES:
        return RequestRejected(
            said,
            code=error.code,
            fix="Give the integration user API access and the permission set of include/salesforce.",
        )
    return RequestRejected(said, code=error.code)
