"""The Salesforce emulator as one ASGI application: authentication, counting, versions, errors, and the control API."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from emulators.control import Fault
from emulators.salesforce import signin
from emulators.salesforce.errors import ApiError, method_not_allowed, not_found
from emulators.salesforce.org import MAX_VERSION, MIN_VERSION, ORG_ID, Org
from emulators.salesforce.routes import bulk, collections, rest
from emulators.wire import Application, Call, Reply, Route, Router

Seeds = dict[str, Callable[[Org], None] | None]

DATA_ROUTES = (*rest.ROUTES, *collections.ROUTES, *bulk.ROUTES)
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
        reply = _sign_in(org, call)
        if reply is None:
            if call.path != "/services/data":
                org.authenticate(_token(call))
                _check_version(call.path)
                org.usage.count(f"{call.method} {_label(call.path)}")
            reply = dispatch(org, call)
    except ApiError as error:
        reply = Reply([error.as_rest()], status=error.status)
    reply.headers.setdefault("Sforce-Limit-Info", org.usage.header)
    reply.headers.setdefault("Date", org.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT"))
    return reply


def _sign_in(org: Org, call: Call) -> Reply | None:
    parts = call.path.strip("/").split("/")
    if call.path == "/services/oauth2/token" and call.method == "POST":
        return signin.token(org, call)
    if parts[:2] == ["services", "Soap"] and len(parts) >= 4 and parts[2] in ("u", "c") and call.method == "POST":
        return signin.soap_login(org, call, parts[2], parts[3])
    if parts[:1] == ["id"] and len(parts) == 3:
        org.authenticate(_token(call) or call.query.get("oauth_token"))
        return Reply({"id": call.base_url + call.path, "user_id": org.user_id, "organization_id": ORG_ID, "username": org.credentials.username})
    return None


def dispatch(org: Org, call: Call) -> Reply:
    """Runs the route of a call that is already let in; composite requests come here again with their parts."""
    found = _DATA.find(call.method, call.raw_path)
    try:
        if found is None:
            raise not_found()
        if not callable(found[0]):
            raise method_not_allowed(call.method, ", ".join(str(item) for item in found))
        handler, parameters = found
        assert isinstance(parameters, dict)
        return handler(org, call, **parameters)
    except ApiError as error:
        return Reply([error.as_rest()], status=error.status)


def _token(call: Call) -> str | None:
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() in ("bearer", "oauth") else None


def _check_version(path: str) -> None:
    parts = path.split("/")
    version = parts[3].lstrip("v") if len(parts) > 3 else ""
    try:
        number = float(version)
    except ValueError:
        raise not_found() from None
    if number < MIN_VERSION:
        raise ApiError("UNSUPPORTED_API_VERSION", f"API version {version} is retired: use {MIN_VERSION}.0 or later", status=410)
    if number > MAX_VERSION:
        raise not_found()


def _label(path: str) -> str:
    """A path without version, ids and values, for counting: `/sobjects/Account/describe`."""
    parts = path.split("/")[4:]
    return "/" + "/".join("*" if len(part) >= 15 and not part.endswith(("__c", "records", "Results")) else part for part in parts)


def _fault_reply(fault: Fault) -> Reply:
    if fault.body:
        return Reply(fault.body, status=fault.status, content_type=fault.content_type)
    code = fault.code or {401: "INVALID_SESSION_ID", 403: "REQUEST_LIMIT_EXCEEDED", 500: "UNKNOWN_EXCEPTION", 503: "SERVER_UNAVAILABLE"}.get(
        fault.status, "UNKNOWN_EXCEPTION"
    )
    return Reply([{"message": fault.message or f"ordered fault {code}", "errorCode": code}], status=fault.status)


# -- the control API --------------------------------------------------------------------------------------------------------------


def _control(router: Router, call: Call) -> Reply:
    found = router.find(call.method, call.path)
    if found is None or not callable(found[0]):
        return Reply({"error": f"no such order: {call.method} {call.path}"}, status=404)
    handler, parameters = found
    try:
        return handler(call, **parameters)
    except (ValueError, TypeError, KeyError) as error:
        return Reply({"error": str(error)}, status=400)


def _control_routes(org: Org, seeds: Seeds) -> tuple[Route, ...]:
    def body(call: Call) -> dict[str, Any]:
        return dict(json.loads(call.body or b"{}"))

    def reset(call: Call) -> Reply:
        name = str(body(call).get("seed", "empty"))
        if name not in seeds:
            raise ValueError(f"no seed {name!r}: there are {', '.join(seeds)}")
        org.reset(seeds[name])
        return Reply({"seed": name})

    def seed(call: Call) -> Reply:
        """Inserts records as given, by object, through the org's rules; the answer holds their ids."""
        ids: dict[str, list[str | None]] = {}
        for name, rows in body(call).items():
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
        return Reply({"api_calls": org.usage.used, "limit": org.usage.limit, "logins": org.usage.logins, "by_route": dict(org.usage.by_route)})

    def set_usage(call: Call) -> Reply:
        order = body(call)
        org.usage.limit = int(order.get("limit", org.usage.limit))
        org.usage.used = int(order.get("api_calls", org.usage.used))
        return usage(call)

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
    )
