"""The Salesforce emulator as one ASGI application: authentication, counting, versions, errors, and the control API."""

from __future__ import annotations

import json
import re
import sqlite3
import traceback
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from emulators.control import Fault
from emulators.salesforce import signin
from emulators.salesforce.conversion import Conversion, convert_lead
from emulators.salesforce.errors import ApiError, invalid_auth_header, method_not_allowed, not_found
from emulators.salesforce.generate import generate_records
from emulators.salesforce.merging import merge, undelete
from emulators.salesforce.org import MAX_VERSION, MIN_VERSION, Org, SignInRules
from emulators.salesforce.routes import (
    bulk,
    bulk1,
    collections,
    composite,
    metadata,
    queries,
    records,
    rest,
    search,
    tooling,
)
from emulators.salesforce.routes.options import session_token
from emulators.salesforce.soap import metadata as soap_metadata
from emulators.salesforce.soap import partner
from emulators.wire import Application, Call, Reply, Route, Router

Seeds = dict[str, Callable[[Org], None] | None]

_TOO_MUCH = ("parser stack overflow", "too large", "too many", "too complex", "LIKE or GLOB pattern")
MAX_ADDRESS = 16_384  # bytes
DATA_ROUTES = tuple(
    route
    for module in (rest, queries, search, tooling, metadata, composite, collections, bulk, records)
    for route in module.ROUTES
)
_DATA = Router(DATA_ROUTES)


def create_app(org: Org, seeds: Seeds) -> Application:
    """The application of one org; `seeds` are the data sets that the control API's reset may ask for."""
    control = Router(_control_routes(org, seeds))

    def answer(call: Call) -> Reply:
        if call.path.startswith("/_emulator"):
            return _control(control, call)
        return _salesforce(org, call)

    return Application(answer, org.faults, _fault_reply)


def _salesforce(org: Org, call: Call) -> Reply:
    try:
        with org.usage.request():
            _check_size(call)
            reply = _outside_rest(org, call)
            if reply is None:
                if call.path != "/services/data":
                    _check_auth_header(call)
                    org.authenticate(session_token(call))
                    org.usage.count(f"{call.method} {_label(call.path)}")
                reply = dispatch(org, call)
    except ApiError as error:
        reply = Reply(error.body if isinstance(error, HtmlError) else [error.as_rest()], status=error.status)
        if isinstance(error, HtmlError):
            reply.content_type = "text/html;charset=iso-8859-1"
    except Exception:  # noqa: BLE001 - an emulator's own defect is answered as an org answers its own
        traceback.print_exc()
        reply = Reply(
            [
                {
                    "message": "An unexpected error occurred. Please include this ErrorId if you contact support",
                    "errorCode": "UNKNOWN_EXCEPTION",
                }
            ],
            status=500,
        )
    if reply.status == 401:
        reply.headers.setdefault("WWW-Authenticate", "Token")
    elif call.path.startswith("/services/data/"):
        reply.headers.setdefault("Sforce-Limit-Info", org.usage.header)
    reply.headers.setdefault("Date", org.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT"))
    return reply


def _check_size(call: Call) -> None:
    """An org takes 16,384 bytes of address, and as many of address and headers; beyond it answers in HTML."""
    address = len(call.target)
    if address > MAX_ADDRESS:
        raise HtmlError(414, "URI Too Long")
    if address + sum(len(name) + len(value) + 4 for name, value in call.headers.items()) > MAX_ADDRESS:
        raise HtmlError(431, "Request Header Fields Too Large")


def _outside_rest(org: Org, call: Call) -> Reply | None:
    """The answer to a call that is not for the REST API: sign-in, identity, SOAP, Bulk API 1.0."""
    parts = call.path.strip("/").split("/")
    if parts[:2] == ["services", "oauth2"] and len(parts) == 3:
        return _oauth(org, call, parts[2])
    if parts[:1] == ["id"] and len(parts) == 3:
        org.authenticate(session_token(call) or call.query.get("oauth_token"))
        return signin.identity(org, call)
    if parts[:2] == ["services", "Soap"] and len(parts) >= 4 and call.method == "POST":
        if parts[2] == "m":
            return soap_metadata.answer(org, call, parts[3])
        if parts[2] in ("u", "c"):
            return partner.answer(org, call, parts[2], parts[3])
    if parts[:2] == ["services", "async"]:
        return bulk1.answer(org, call)
    return None


def _oauth(org: Org, call: Call, name: str) -> Reply | None:
    if name == "token" and call.method == "POST":
        return signin.token(org, call)
    if name == "revoke":
        return signin.revoke(org, call)
    if name == "introspect" and call.method == "POST":
        return signin.introspect(org, call)
    if name == "userinfo":
        token = session_token(call) or call.query.get("access_token")
        try:
            org.authenticate(token)
        except ApiError:
            return Reply(
                "Bad_OAuth_Token" if token else "Missing_OAuth_Token",
                status=403,
                content_type="text/html;charset=UTF-8",
            )
        return signin.userinfo(org, call)
    return None


def dispatch(org: Org, call: Call) -> Reply:
    """Runs the route of a call that is already let in; composite requests come here again with their parts."""
    found = _DATA.find(call.method, call.raw_path)
    try:
        if call.path != "/services/data":
            _check_version(call.path)
        if found is None:
            raise not_found()
        if not callable(found[0]):
            raise method_not_allowed(call.method, ", ".join(str(item) for item in found))
        handler, parameters = found
        assert isinstance(parameters, dict)
        return handler(org, call, **parameters)
    except ApiError as error:
        return Reply([error.as_rest()], status=error.status)
    except sqlite3.OperationalError as error:
        if not any(text in str(error) for text in _TOO_MUCH):
            raise
        too_much = ApiError(
            "QUERY_TOO_COMPLICATED",
            "Query is either selecting too many fields or the filter conditions are too complicated.",
        )
        return Reply([too_much.as_rest()], status=too_much.status)


class HtmlError(ApiError):
    """An error of the web server before the API: its body is HTML."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(str(status), reason, status=status)
        self.body = f"<h1>Bad Message {status}</h1><pre>reason: {reason}</pre>"


def _check_auth_header(call: Call) -> None:
    given = call.headers.get("authorization", "")
    if given and session_token(call) is None:
        raise invalid_auth_header()


def _check_version(path: str) -> None:
    parts = path.split("/")
    match = re.fullmatch(r"v([0-9]{2})\.0", parts[3], re.IGNORECASE) if len(parts) > 3 else None
    if match is None or int(match[1]) > MAX_VERSION:
        raise not_found()
    if int(match[1]) < MIN_VERSION:
        raise ApiError(
            "UNSUPPORTED_API_VERSION", f"API version {match[1]}.0 is retired: use {MIN_VERSION}.0 or later", status=410
        )


def _label(path: str) -> str:
    """A path without version, ids and values, for counting: `/sobjects/Account/describe`."""
    parts = path.split("/")[4:]
    shown = ["*" if len(part) >= 15 and not part.endswith(("__c", "records", "Results")) else part for part in parts]
    if parts[:1] == ["sobjects"] and len(parts) > 3 and parts[2] != "describe":
        shown[3:] = ["*"]  # the value of an external id
    return "/" + "/".join(shown)


def _fault_reply(fault: Fault) -> Reply:
    if fault.body:
        return Reply(fault.body, status=fault.status, content_type=fault.content_type)
    code = fault.code or {
        401: "INVALID_SESSION_ID",
        403: "REQUEST_LIMIT_EXCEEDED",
        500: "UNKNOWN_EXCEPTION",
        503: "SERVER_UNAVAILABLE",
    }.get(fault.status, "UNKNOWN_EXCEPTION")
    return Reply([{"message": fault.message or f"ordered fault {code}", "errorCode": code}], status=fault.status)


# -- the control API --------------------------------------------------------------------------------------------------------------


def _control(router: Router, call: Call) -> Reply:
    found = router.find(call.method, call.path)
    if found is None or not callable(found[0]):
        return Reply({"error": f"no such order: {call.method} {call.path}"}, status=404)
    handler, parameters = found
    try:
        return handler(call, **parameters)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, ApiError) as error:
        return Reply({"error": str(error)}, status=400)


def _control_routes(org: Org, seeds: Seeds) -> tuple[Route, ...]:
    def body(call: Call) -> dict[str, Any]:
        return dict(json.loads(call.body or b"{}"))

    def reset(call: Call) -> Reply:
        order = body(call)
        name = str(order.get("seed", "empty"))
        if name not in seeds:
            raise ValueError(f"no seed {name!r}: there are {', '.join(seeds)}")
        org.reset(seeds[name], bare=bool(order.get("bare")))
        return Reply({"seed": name})

    def seed(call: Call) -> Reply:
        """Inserts records as given, by object, through the org's rules; the answer holds their ids. `rules` are the org's own rules."""
        ids: dict[str, list[str | None]] = {}
        order = body(call)
        org.policies.add(order.pop("rules", {}), org.schema)
        for name, rows in order.items():
            results = org.dml.insert(org.object_for_write(name), rows)
            problems = [f"{name}[{index}]: {result.error}" for index, result in enumerate(results) if result.error]
            if problems:
                raise ValueError("; ".join(problems))
            ids[name] = [result.id for result in results]
        return Reply(ids)

    def fault(call: Call) -> Reply:
        org.faults.add(Fault(**body(call)))
        return Reply({"ordered": asdict(Fault(**body(call)))})

    def clear_faults(call: Call) -> Reply:
        org.faults.clear()
        return Reply({})

    def clock(call: Call) -> Reply:
        order = body(call)
        if "at" in order:
            org.clock.stop_at(datetime.fromisoformat(order["at"]))
        elif "shift_seconds" in order:
            org.clock.shift(float(order["shift_seconds"]))
        else:
            org.clock.reset()
        return Reply({"now": org.clock.now().isoformat()})

    def usage(call: Call) -> Reply:
        return Reply(
            {
                "api_calls": org.usage.used,
                "limit": org.usage.limit,
                "logins": org.usage.logins,
                "by_route": dict(org.usage.by_route),
            }
        )

    def set_usage(call: Call) -> Reply:
        order = body(call)
        org.usage.limit = int(order.get("limit", org.usage.limit))
        org.usage.used = int(order.get("api_calls", org.usage.used))
        if "concurrent_limit" in order:
            limit = order["concurrent_limit"]
            org.usage.concurrent_limit = None if limit is None else int(limit)
        return usage(call)

    def sign_in_rules(call: Call) -> Reply:
        org.sign_in_rules = SignInRules(**body(call))
        return Reply(asdict(org.sign_in_rules))

    def generate(call: Call) -> Reply:
        """Makes many records at once, with a value in every field that can be written."""
        order = body(call)
        return Reply({"created": generate_records(org, str(order["object"]), int(order["count"]), order.get("fields"))})

    def convert(call: Call) -> Reply:
        return Reply(convert_lead(org, Conversion(**body(call))))

    def merge_records(call: Call) -> Reply:
        return Reply(merge(org, **body(call)))

    def undelete_records(call: Call) -> Reply:
        return Reply(undelete(org, body(call)["ids"]))

    def expire(call: Call) -> Reply:
        org.expire_sessions()
        return Reply({})

    return (
        Route(("POST",), "/_emulator/reset", reset),
        Route(("POST",), "/_emulator/seed", seed),
        Route(("POST",), "/_emulator/faults", fault),
        Route(("DELETE",), "/_emulator/faults", clear_faults),
        Route(("POST",), "/_emulator/clock", clock),
        Route(("GET",), "/_emulator/usage", usage),
        Route(("POST",), "/_emulator/usage", set_usage),
        Route(("POST",), "/_emulator/sessions/expire", expire),
        Route(("POST",), "/_emulator/sign-in", sign_in_rules),
        Route(("POST",), "/_emulator/generate", generate),
        Route(("POST",), "/_emulator/leads/convert", convert),
        Route(("POST",), "/_emulator/records/merge", merge_records),
        Route(("POST",), "/_emulator/records/undelete", undelete_records),
    )
