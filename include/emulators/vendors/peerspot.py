"""PeerSpot's intent API. The vendor publishes no reference: this is the contract that the hook ships as its default.

GET /peerspot/api/v1/intent/activities?start_date=&end_date=&page=&per_page= with the headers X-User-Email and X-User-Token answers
{"activities": [...], "next_page": n or null}. Nothing but GET is allowed.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from datetime import date, timedelta
from typing import Any

from emulators.control import Clock
from emulators.demo_data import activities
from emulators.vendors.vendor import Vendor
from emulators.wire import Call, Reply, Route

EMAIL = "analyst@example.invalid"
TOKEN = "fake-peerspot-token"
HISTORY_DAYS = 35
MAX_PER_PAGE = 1_000


class PeerSpot(Vendor):
    """The vendor's state: how much it has seen per day, and the records that a test has put in."""

    system = "peerspot"

    def __init__(self, clock: Clock, *, demo: bool) -> None:
        super().__init__(clock, demo=demo)
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.per_day = activities.PER_DAY if self.demo else 0
        self.added: list[dict[str, Any]] = []
        self.calls.clear()
        self._cached: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def credentials(self, root: str) -> dict[str, Any]:
        return {"base_url": f"{root}/peerspot", "email": EMAIL, "token": TOKEN}

    def order(self, body: dict[str, Any]) -> None:
        """Control: `per_day` sets the volume, `add` puts records in."""
        self.per_day = int(body.get("per_day", self.per_day))
        self.added += body.get("add", [])
        self._cached.clear()

    def between(self, start: date, end: date) -> list[dict[str, Any]]:
        key = (start.isoformat(), end.isoformat())
        with self._lock:
            if key not in self._cached:
                self._cached = {key: self._between(start, end)}
            return self._cached[key]

    def _between(self, start: date, end: date) -> list[dict[str, Any]]:
        today = self.clock.now().date()
        first = max(start, today - timedelta(days=HISTORY_DAYS))
        days = (min(end, today) - first).days + 1
        made = [
            record
            for offset in range(days)
            for record in activities.on_day(first + timedelta(days=offset), self.per_day)
        ]
        return made + [
            record
            for record in self.added
            if start.isoformat() <= str(record.get("date_visited", ""))[:10] <= end.isoformat()
        ]

    # -- routes -------------------------------------------------------------------------------------------------------------------

    def list_activities(self, call: Call) -> Reply:
        if call.headers.get("x-user-email") != EMAIL or call.headers.get("x-user-token") != TOKEN:
            return Reply({"error": "Invalid email or token"}, status=401)
        try:
            start, end = date.fromisoformat(call.query["start_date"]), date.fromisoformat(call.query["end_date"])
            page, per_page = int(call.query.get("page", "1")), int(call.query.get("per_page", "500"))
        except (KeyError, ValueError) as error:
            return Reply(
                {"error": f"start_date and end_date must be dates (YYYY-MM-DD), page and per_page numbers: {error}"},
                status=422,
            )
        if page < 1 or not 1 <= per_page <= MAX_PER_PAGE:
            return Reply({"error": f"page starts at 1 and per_page is at most {MAX_PER_PAGE}"}, status=422)
        records = self.between(start, end)
        items = records[(page - 1) * per_page : page * per_page]
        return Reply({"activities": items, "next_page": page + 1 if page * per_page < len(records) else None})

    def refuse(self, call: Call) -> Reply:
        return Reply({"error": f"{call.method} is not allowed: this API only gives"}, status=405)

    def routes(self) -> tuple[Route, ...]:
        path = "/peerspot/api/v1/intent/activities"
        return (
            Route(("GET",), path, self._counted(self.list_activities)),
            Route(("POST", "PUT", "PATCH", "DELETE"), path, self._counted(self.refuse)),
        )

    def _counted(self, handler: Any) -> Any:
        def counted(call: Call) -> Reply:
            self.calls[call.method] += 1
            reply: Reply = handler(call)
            return reply

        return counted

    def control_routes(self) -> tuple[Route, ...]:
        def order(call: Call) -> Reply:
            self.order(json.loads(call.body))
            return Reply({})

        return (
            Route(("POST",), "/_emulator/peerspot", order),
            Route(("GET",), "/_emulator/peerspot/calls", lambda _: Reply(dict(self.calls))),
        )


EMULATOR = PeerSpot
