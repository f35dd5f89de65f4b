"""What SPOTIO sends by itself: events of the last moments, signed, to the addresses that were named. Each may come
twice."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from typing import Any

from emulators.vendors.spotio.state import Refused

SECRET = "fake-webhook-secret"
SCOPES = (
    "activity.created", "activity.updated", "activity.deleted", "activity.done", "appointment.created",
    "appointment.updated", "appointment.deleted", "lead.added", "lead.updated", "lead.deleted",
)  # fmt: skip


class Webhooks:
    """`waiting` are the deliveries that were not made yet: address, headers and body. A test or the demo makes them."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.waiting: list[tuple[str, dict[str, str], bytes]] = []
        self._numbers = itertools.count(1)

    def scopes(self) -> list[str]:
        return list(SCOPES)

    def all(self) -> dict[str, Any]:
        return {"secret": SECRET, "endpoints": list(self.endpoints.values())}

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        number = str(next(self._numbers))
        self.endpoints[number] = {"id": number, "active": True} | _endpoint(given)
        return self.endpoints[number]

    def change(self, webhook_id: str, given: dict[str, Any]) -> dict[str, Any]:
        if webhook_id not in self.endpoints:
            raise Refused(404, _="There is no such webhook")
        self.endpoints[webhook_id] |= {"active": bool(given.get("active"))} | _endpoint(given)
        return self.endpoints[webhook_id]

    def delete(self, webhook_id: str) -> None:
        self.endpoints.pop(webhook_id, None)

    def tell(self, event: str, data: dict[str, Any], date: str) -> None:
        """Signs the event for each address that wants it."""
        body = json.dumps({"payload": [{"data": data, "type": event, "date": date}]}).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        for endpoint in self.endpoints.values():
            if endpoint["active"] and event in endpoint["scopes"]:
                own = {item["name"]: item["value"] for item in endpoint["customHeaders"]}
                headers = {"content-type": "application/json", "x-signature": signature} | own
                self.waiting += [(endpoint["callback"], headers, body)] * 2


def _endpoint(given: dict[str, Any]) -> dict[str, Any]:
    unknown = [scope for scope in given.get("scopes") or [] if scope not in SCOPES]
    if not given.get("callback") or unknown:
        raise Refused(400, _="A webhook has a callback, and scopes that are known")
    return {
        "callback": given["callback"], "scopes": list(given.get("scopes") or []),
        "customHeaders": list(given.get("customHeaders") or []),
    }  # fmt: skip
