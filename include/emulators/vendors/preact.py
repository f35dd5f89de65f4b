"""Preact's API, version 2: what the vendor documented, and the list of a report as its own sample code reads it.

POST /preact/api/v2/{events, people, accounts, metrics, metrics/bulk} take JSON with Basic authentication and answer {"success": true}, or
{"success": false, "error": ...} with 400 for what they refuse. GET /preact/reports/api/v2/reports/{id}/list?limit=&offset= stands for the
other host and answers {"results": [...]}. That `offset` gives further pages, and which keys a result has, is assumed.
"""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections import Counter
from typing import Any

from emulators.control import Clock
from emulators.demo_data import customers
from emulators.vendors.vendor import Vendor
from emulators.wire import Call, Reply, Route

PROJECT, SECRET = "fakeproject1", "fake-preact-secret"
REPORTS = {
    "accounts": "53514b8f0000000000000001",
    "people": "53514b8f0000000000000002",
}  # stream -> the id of its report
MOST_ROWS = 5_000


class Preact(Vendor):
    """The vendor's state: accounts by external identifier, people by e-mail address, the events and metrics that came in, and the metrics
    that reports show beside."""

    system = "preact"

    def __init__(self, clock: Clock, *, demo: bool) -> None:
        super().__init__(clock, demo=demo)
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.accounts: dict[str, dict[str, Any]] = {}
        self.people: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.metrics: list[dict[str, Any]] = []
        self.reported: dict[str, list[dict[str, Any]]] = {stream: [] for stream in REPORTS}
        self.calls.clear()

    def dump(self) -> Any:
        return {"accounts": self.accounts, "people": self.people, "reported": self.reported}

    def restore(self, kept: Any) -> None:
        self.accounts, self.people, self.reported = kept["accounts"], kept["people"], kept["reported"]

    def credentials(self, root: str) -> dict[str, Any]:
        return {
            "project_code": PROJECT, "api_secret": SECRET, "base_url": f"{root}/preact/api/v2",
            "reports_url": f"{root}/preact/reports/api/v2", "accounts_report": REPORTS["accounts"], "people_report": REPORTS["people"],
        }  # fmt: skip

    def report(self, stream: str, *records: dict[str, Any]) -> None:
        """Metrics that Preact has computed: of an account or a person that it knows already, these count from now on."""
        key = "preact_account_id" if stream == "accounts" else "preact_person_id"
        given = {record[key]: record for record in records}
        with self._lock:
            kept = [item for item in self.reported[stream] if item[key] not in given]
            self.reported[stream] = [*kept, *given.values()]

    # -- writing -------------------------------------------------------------------------------------------------------

    def _account(self, body: dict[str, Any]) -> str:
        account = _object(body, "account")
        identity = account.get("external_identifier") or account.get("id")
        if not identity:
            return "account requires an id"
        known = self.accounts.setdefault(str(identity), {})
        _merge(known, {**account, "external_identifier": str(identity)})
        return ""

    def _person(self, body: dict[str, Any]) -> str:
        person = _object(body, "person")
        email = str(person.get("email") or "")
        if "@" not in email:
            return "person requires an email"
        _merge(self.people.setdefault(email.lower(), {}), person)
        return ""

    def _event(self, body: dict[str, Any]) -> str:
        event = _object(body, "event")
        if not event.get("name"):
            return "event requires a name"
        if event.get("klass") == "accountevent":
            if not event.get("account"):
                return "an account event requires an account"
        elif problem := self._person(body):
            return problem
        self.events.append(event)
        return ""

    def _metric(self, item: dict[str, Any]) -> str:
        if not item.get("account_id") or not item.get("name") or not isinstance(item.get("value"), (int, float)):
            return "a metric requires account_id, name and a numeric value"
        self.metrics.append(item)
        return ""

    def _metrics(self, body: dict[str, Any]) -> str:
        data = body.get("data")
        if not isinstance(data, list):
            return "data must be a list"
        return next((problem for item in data if (problem := self._metric(item))), "")

    # -- routes --------------------------------------------------------------------------------------------------------

    def routes(self) -> tuple[Route, ...]:
        takers = {
            "events": self._event, "people": self._person, "accounts": self._account, "metrics": self._metric,
            "metrics/bulk": self._metrics,
        }  # fmt: skip
        posts = [Route(("POST",), f"/preact/api/v2/{path}", self._taking(path, take)) for path, take in takers.items()]
        return (*posts, Route(("GET",), "/preact/reports/api/v2/reports/{report}/list", self._list))

    def _taking(self, path: str, take: Any) -> Any:
        def answer(call: Call) -> Reply:
            self.calls[path] += 1
            if not _is_signed_in(call):
                return _unauthorized()
            try:
                body = json.loads(call.body)
            except ValueError:
                return Reply({"success": False, "error": "the body is no JSON"}, status=400)
            with self._lock:
                problem = take(body) if isinstance(body, dict) else "the body is no object"
            return Reply({"success": False, "error": problem}, status=400) if problem else Reply({"success": True})

        return answer

    def _list(self, call: Call, report: str) -> Reply:
        self.calls["list"] += 1
        if not _is_signed_in(call):
            return _unauthorized()
        stream = next((stream for stream, known in REPORTS.items() if known == report), None)
        if stream is None:
            return Reply({"error": "report not found"}, status=404)
        limit, offset = int(call.query.get("limit", "100")), int(call.query.get("offset", "0"))
        rows = self._rows(stream)
        return Reply({"results": rows[offset : offset + min(limit, MOST_ROWS)]})

    def _rows(self, stream: str) -> list[dict[str, Any]]:
        """What the report shows: the metrics, and what was written of the same account or person."""
        written = self.accounts if stream == "accounts" else self.people
        key = "external_identifier" if stream == "accounts" else "email"
        with self._lock:
            reported = self.reported[stream]
            names = {str(item.get(key) or "").lower(): item for item in reported} if written else {}
            beside = {id(names[name.lower()]): item for name, item in written.items() if name.lower() in names}
            alone = [
                self._with_demo_metrics(stream, item) for name, item in written.items() if name.lower() not in names
            ]
            return [*({**beside[id(item)], **item} if id(item) in beside else item for item in reported), *alone]

    def _with_demo_metrics(self, stream: str, item: dict[str, Any]) -> dict[str, Any]:
        if not self.demo:
            return item
        if stream == "accounts":
            return item | customers.account_metrics(item["external_identifier"], self.clock.now())
        return item | customers.person_metrics(str(item.get("uid") or ""), self.clock.now())

    def control_routes(self) -> tuple[Route, ...]:
        def order(call: Call) -> Reply:
            for stream, records in json.loads(call.body).items():
                self.report(stream, *records)
            return Reply({stream: len(records) for stream, records in self.reported.items()})

        return (Route(("POST",), "/_emulator/preact", order),)


def _is_signed_in(call: Call) -> bool:
    wanted = b64encode(f"{PROJECT}:{SECRET}".encode()).decode()
    return call.headers.get("authorization") == f"Basic {wanted}"


def _unauthorized() -> Reply:
    return Reply({"success": False, "error": "invalid project code or secret"}, status=401)


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def _merge(known: dict[str, Any], given: dict[str, Any]) -> None:
    """What is given counts, and what is not stays; properties are merged one by one."""
    properties = {**known.get("properties", {}), **(given.get("properties") or {})}
    known |= given
    if properties:
        known["properties"] = properties


EMULATOR = Preact
