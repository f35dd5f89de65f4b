"""WOW Analytics' leads API, and CommuniGator's, which is the same with another way to sign in.

GET /wow/... takes the headers of the original (`_apiKey`, or `_username` and `_password`, with `api-version: 2`), or a bearer token that
POST /wow/connect/token gave by OAuth's password grant. Nothing else than GET is allowed elsewhere. A page has all keys of the original.
"""

from __future__ import annotations

import itertools
import json
import math
from base64 import b64encode
from collections import Counter
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qs

from emulators.control import Clock
from emulators.demo_data import visitors
from emulators.vendors.vendor import Vendor
from emulators.wire import Call, Reply, Route

API_KEY, USERNAME, PASSWORD = "fake-wow-key", "analyst@example.invalid", "fake-wow-password"
OAUTH_CLIENT, OAUTH_SECRET = "fake-client", "fake-client-secret"
CLIENT = "1"
TYPES = ("Contact", "Customer", "Lead", "Partner", "Qualified", "Self", "Supplier")
MOST_MINUTES, MOST_TAKEN = 60, 500
TOKEN_SECONDS = 3_600


class Wow(Vendor):
    """The vendor's state: its leads as they are answered, and the tokens that it gave out."""

    system = "wow"

    def __init__(self, clock: Clock, *, demo: bool) -> None:
        super().__init__(clock, demo=demo)
        self.calls: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        self.added: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, Any] = {}
        self.calls.clear()
        self._numbers = itertools.count(1)

    def dump(self) -> Any:
        return {"added": self.added}

    def restore(self, kept: Any) -> None:
        self.added = kept["added"]

    def credentials(self, root: str) -> dict[str, Any]:
        return {"base_url": f"{root}/wow", "api_key": API_KEY}

    def oauth_credentials(self, root: str) -> dict[str, Any]:
        """What the Variable holds for the second generation."""
        return {
            "base_url": f"{root}/wow", "token_url": f"{root}/wow/connect/token", "oauth_client": OAUTH_CLIENT,
            "oauth_secret": OAUTH_SECRET, "username": USERNAME, "password": PASSWORD,
        }  # fmt: skip

    def visit(self, *leads: dict[str, Any]) -> None:
        """Companies that visit now: each is a lead as the API gives it, of which all but `id` may be left out."""
        now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S")
        for lead in leads:
            identity = str(lead["id"])
            known = self.added.get(identity, {"type": "Lead", "status": "Open", "clientId": CLIENT, "firstVisit": now})
            link = f"https://app.wowanalytics.co.uk/Permalink/Company/{identity}"
            self.added[identity] = {"permaLink": link, "lastVisit": now} | known | {"lastVisit": now} | lead

    def leads(self) -> list[dict[str, Any]]:
        made = visitors.leads(self.clock.now()) if self.demo else []
        return [*made, *self.added.values()]

    # -- signing in ----------------------------------------------------------------------------------------------------

    def token(self, call: Call) -> Reply:
        form = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        wanted = b64encode(f"{OAUTH_CLIENT}:{OAUTH_SECRET}".encode()).decode()
        if call.headers.get("authorization") != f"Basic {wanted}":
            return Reply({"error": "invalid_client"}, status=400)
        if form.get("grant_type") != "password" or "GatorLeadsApi" not in form.get("scope", ""):
            return Reply({"error": "invalid_request"}, status=400)
        if (form.get("username"), form.get("password")) != (USERNAME, PASSWORD):
            return Reply({"error": "invalid_grant"}, status=400)
        token = f"fake-token-{next(self._numbers)}"
        self.tokens[token] = self.clock.now() + timedelta(seconds=TOKEN_SECONDS)
        return Reply({"access_token": token, "expires_in": TOKEN_SECONDS, "token_type": "Bearer"})

    def _is_signed_in(self, call: Call) -> bool:
        headers = call.headers
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if bearer in self.tokens:
            return bool(self.clock.now() < self.tokens[bearer])
        if headers.get("api-version") != "2":
            return False
        return headers.get("_apikey") == API_KEY or (headers.get("_username"), headers.get("_password")) == (
            USERNAME,
            PASSWORD,
        )

    # -- reading -------------------------------------------------------------------------------------------------------

    def page(self, call: Call, client: str, kind: str, start: str, end: str, number: str, take: str) -> Reply:
        if client != CLIENT or kind not in TYPES:
            return _missing()
        try:
            first, last, page, size = date.fromisoformat(start), date.fromisoformat(end), int(number), int(take)
        except ValueError:
            return _missing()
        if page < 1 or not 1 <= size <= MOST_TAKEN:
            return Reply({"message": "page begins at 1, and take is at most 500"}, status=400)
        found = [
            lead for lead in self.leads() if lead["type"] == kind and first.isoformat() <= lead["lastVisit"][:10] <= last.isoformat()
        ]  # fmt: skip
        return Reply(_paged(found, page, size))

    def latest(self, call: Call, client: str, minutes: str, count: str) -> Reply:
        if client != CLIENT or not minutes.isdigit() or int(minutes) > MOST_MINUTES:
            return _missing()
        since = (self.clock.now() - timedelta(minutes=int(minutes))).strftime("%Y-%m-%dT%H:%M:%S")
        return Reply([lead for lead in self.leads() if lead["lastVisit"] >= since][: int(count)])

    def lead(self, call: Call, client: str, lead: str) -> Reply:
        found = next((item for item in self.leads() if client == CLIENT and item["id"] == lead), None)
        return Reply(found) if found else _missing()

    def routes(self) -> tuple[Route, ...]:
        reads = {
            "/clients": lambda _: Reply([{"id": CLIENT, "name": "Demo client"}]),
            "/client/{client}/leads/types": lambda _, client: Reply(list(TYPES)) if client == CLIENT else _missing(),
            "/client/{client}/leads/{kind}/{start}/{end}/{number}/{take}": self.page,
            "/client/{client}/latestleads/{minutes}/{count}": self.latest,
            "/client/{client}/lead/{lead}": self.lead,
        }
        refuse = ("POST", "PUT", "PATCH", "DELETE")
        return (
            Route(("POST",), "/wow/connect/token", self.token),
            *(Route(("GET",), f"/wow{path}", self._guarded(handler)) for path, handler in reads.items()),
            *(
                Route(refuse, f"/wow{path}", lambda *_, **__: Reply({"message": "not allowed"}, status=405))
                for path in reads
            ),
        )

    def _guarded(self, handler: Any) -> Any:
        def guarded(call: Call, **path: str) -> Reply:
            self.calls[call.path] += 1
            if not self._is_signed_in(call):
                return Reply({"message": "Authorization has been denied for this request."}, status=401)
            reply: Reply = handler(call, **path)
            return reply

        return guarded

    def control_routes(self) -> tuple[Route, ...]:
        def visit(call: Call) -> Reply:
            self.visit(*json.loads(call.body)["visit"])
            return Reply({"leads": len(self.leads())})

        return (Route(("POST",), "/_emulator/wow", visit),)


def _paged(found: list[dict[str, Any]], page: int, size: int) -> dict[str, Any]:
    start, count = (page - 1) * size, math.ceil(len(found) / size)
    data = found[start : start + size]
    return {
        "data": data, "pageCount": count, "totalItemCount": len(found), "pageIndex": page - 1, "pageNumber": page, "pageSize": size,
        "hasPreviousPage": page > 1, "hasNextPage": page < count, "isFirstPage": page == 1, "isLastPage": page >= count,
        "firstItemOnPage": start + 1 if data else 0, "lastItemOnPage": start + len(data),
    }  # fmt: skip


def _missing() -> Reply:
    return Reply({"message": "No HTTP resource was found that matches the request URI."}, status=404)


EMULATOR = Wow
