"""What the headers of a REST call ask for."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from emulators.salesforce.dml import WriteOptions
from emulators.salesforce.errors import ApiError
from emulators.wire import Call, Reply


def header_options(call: Call, name: str) -> dict[str, str]:
    """A header of the form `key=value; key=value`, keys in lower case."""
    pairs = (part.strip().partition("=") for part in call.headers.get(name, "").replace(",", ";").split(";"))
    return {key.strip().lower(): value.strip() for key, _, value in pairs if key.strip()}


def session_token(call: Call) -> str | None:
    """The access token of the call; None for a call without one, and for a header of another kind."""
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() in ("bearer", "oauth") else None


def write_options(call: Call) -> WriteOptions:
    duplicates = header_options(call, "sforce-duplicate-rule-header")
    return WriteOptions(
        allow_duplicates=duplicates.get("allowsave", "").lower() == "true",
        duplicate_details=duplicates.get("includerecorddetails", "").lower() == "true",
        auto_assign=call.headers.get("sforce-auto-assign", "TRUE").strip().lower() != "false",
    )


def if_modified(call: Call, changed: str, reply: Reply) -> Reply:
    """The reply, or 304 or 412 when the call's conditions on the time of the last change say so. `changed` is a stored date-time."""
    moment = datetime.fromisoformat(changed)
    reply.headers["Last-Modified"] = format_datetime(moment, usegmt=True)
    since, unless = (_date(call.headers.get(name)) for name in ("if-modified-since", "if-unmodified-since"))
    if since is not None and moment <= since:
        return Reply(status=304)
    if unless is not None and moment > unless:
        raise ApiError(
            "PRECONDITION_FAILED", "The resource was modified after the date of If-Unmodified-Since", status=412
        )
    return reply


def _date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
