"""What Deployteq knows: customers, groups, mailings with their deliveries, and the sets that were asked for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from emulators.control import Clock

ZONE = ZoneInfo("Europe/Amsterdam")
ONLY_THE_SERVICE_SETS = (
    "id",
    "options",
    "accounts",
    "createdAt",
    "createdBy",
    "modifiedAt",
    "modifiedBy",
    "mailStatus",
)
# The defaults of a new customer. Opted in: whoever inserts without `optIn` opts somebody in.
NEW = {"optIn": "Y", "smsOptIn": "N", "status": "PROSPECT", "mailStatus": "ACTIVE"}


class State:
    """Customers are dicts of the API's elements, with `options` by name; an element that nobody set is missing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        self._ids = itertools.count(1)
        self.customers: dict[int, dict[str, Any]] = {}
        self.refused: set[str] = set()  # e-mail addresses that are not valid, by order
        self.groups: dict[int, list[int]] = {}
        self.mailings: dict[int, dict[str, Any]] = {}
        self.deliveries: dict[int, list[dict[str, Any]]] = {}  # by mailing
        self.resources: dict[int, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        self._by_value: dict[tuple[str, str], set[int]] = {}

    def dump(self) -> dict[str, Any]:
        """What is kept between two starts, as JSON takes it."""
        return {
            "next_id": next(self._ids), "groups": [*self.groups.items()], "customers": [*self.customers.values()],
            "mailings": [*self.mailings.values()], "deliveries": [*self.deliveries.values()],
        }  # fmt: skip

    def restore(self, kept: dict[str, Any]) -> None:
        """Becomes what was dumped."""
        self.reset()
        self._ids = itertools.count(kept["next_id"])
        for customer in kept["customers"]:
            self.customers[customer["id"]] = customer
            self._remember(customer)
        self.groups = dict(kept["groups"])
        for mailing, deliveries in zip(kept["mailings"], kept["deliveries"], strict=True):
            self.mailings[mailing["id"]] = mailing
            self.deliveries[mailing["id"]] = deliveries

    def now(self) -> str:
        return self._clock.now().astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S")

    # -- customers ----------------------------------------------------------------------------------------------------------------

    def find(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """The customers that have all these values, in any case of letters; an option field is named `options.<name>`."""
        found = [self._by_value.get((name, value.lower()), set()) for name, value in pairs]
        return [self.customers[number] for number in sorted(set.intersection(*found))] if found else []

    def add(self) -> dict[str, Any]:
        number = next(self._ids)
        self.customers[number] = NEW | {"id": number, "createdAt": self.now(), "options": {}}
        return self.customers[number]

    def change(self, known: dict[str, Any], customer: dict[str, Any]) -> dict[str, Any]:
        """The customer, with what is given: elements, and `options` as a list of names and values."""
        given = {option["name"]: option.get("value") or "" for option in customer.get("options") or []}
        self._forget(known)
        known |= {name: value for name, value in customer.items() if name not in ONLY_THE_SERVICE_SETS}
        known["options"] = known["options"] | given
        known["modifiedAt"] = self.now()
        self._remember(known)
        return known

    def remove(self, number: int | None) -> bool:
        known = self.customers.pop(number or 0, None)
        if known is not None:
            self._forget(known)
        return known is not None

    def _remember(self, customer: dict[str, Any]) -> None:
        for key in _values(customer):
            self._by_value.setdefault(key, set()).add(customer["id"])

    def _forget(self, customer: dict[str, Any]) -> None:
        for key in _values(customer):
            self._by_value.get(key, set()).discard(customer["id"])

    # -- e-mails ------------------------------------------------------------------------------------------------------------------

    def send(self, name: str, customers: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """A mailing to these customers, or to all that have an address; gives its deliveries."""
        number, now = next(self._ids), self.now()
        receivers = (
            [self.customers[item] for item in customers] if customers is not None else list(self.customers.values())
        )
        self.mailings[number] = {
            "id": number, "campaignId": 1, "campaignName": "Newsletter", "contentName": name, "status": "SENT", "type": "EMAIL",
            "description": name, "startedAt": now, "endedAt": now,
        }  # fmt: skip
        self.deliveries[number] = [
            {
                "id": f"{number}-{customer['id']}", "status": "DELIVERED", "customerId": customer["id"], "mailingId": number, "deliveryDate": now,
                "opens": [], "clicks": [],
            }
            for customer in receivers
            if customer.get("emailAddress")
        ]  # fmt: skip
        return self.deliveries[number]

    def behave(self, delivery: dict[str, Any], *kinds: str) -> None:
        """What becomes of a delivery, in order: `open`, `click`, `bounce`, `complaint`."""
        for kind in kinds:
            event = {"id": next(self._ids), "customerId": delivery["customerId"], "mailingId": delivery["mailingId"]}
            now = self.now()
            if kind == "open":
                delivery["opens"].append(event | {"openedAt": now})
                delivery |= {"firstOpenDate": delivery.get("firstOpenDate", now), "lastOpenDate": now}
            elif kind == "click":
                delivery["clicks"].append(event | {"clickedAt": now})
                delivery |= {"firstClickDate": delivery.get("firstClickDate", now), "lastClickDate": now}
            elif kind == "bounce":
                bounce = event | {"bouncedAt": now, "category": "HARD", "rule": "550 no such mailbox"}
                delivery |= {"status": "BOUNCED", "bounce": bounce}
            else:
                delivery["complaint"] = event | {"complaintAt": now, "feedbackloop": "test"}

    def send_newsletter(self, name: str) -> None:
        """A mailing to all, of which about half is opened, a tenth clicked, and a little bounces or is complained of."""
        for number, delivery in enumerate(self.send(name)):
            opened_or_clicked = ("open",) * (number % 2) + ("click",) * (number % 10 == 3)
            self.behave(delivery, *(("bounce",) if number % 33 == 5 else opened_or_clicked))
            if number % 200 == 7:
                self.behave(delivery, "complaint")

    # -- sets ---------------------------------------------------------------------------------------------------------------------

    def new_resource(self, kind: str, items: list[dict[str, Any]]) -> int:
        number = next(self._ids)
        self.resources[number] = ({"id": number, "type": kind, "status": "PROCESSING", "size": len(items)}, items)
        return number


def _values(customer: dict[str, Any]) -> list[tuple[str, str]]:
    """What a customer can be found by: each element and option with its value in lower case."""
    options = customer["options"].items()
    pairs = [
        *((name, value) for name, value in customer.items() if name != "options"),
        *((f"options.{name}", value) for name, value in options),
    ]
    return [(name, str(value).lower()) for name, value in pairs if value not in (None, "")]
