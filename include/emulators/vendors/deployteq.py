"""Deployteq's SOAP API ("Clang"), as far as the sync uses it: customers, and what became of the e-mails that they were sent.

Known from the vendor's WSDL, version 1.24: operations, parameters and types; resources that are made first and read when READY; pages of
1 to 50, else fault 105. Not published, and assumed here: a bulk call in which one customer is not valid is refused as a whole, with a fault
that names it; a wrong token is fault 101; dates are `YYYY-MM-DD HH:MM:SS` in Dutch time; offsets begin at 0; the states of a delivery.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from emulators.control import Clock
from emulators.vendors.vendor import Vendor
from emulators.vendors.wsdl import Operation, SoapFault, SoapService
from emulators.wire import Call, Reply, Route

TOKEN = "fake-deployteq-token"
PATH = "/deployteq/app/api/soap/public/index.php"
NAMESPACE = "https://secure.myclang.com/app/api/soap/public/index.php"
MAX_PER_PAGE = 50
OPTION_FIELDS = ("salesforceId", "salesforceObject", "Industry", "LeadSource")
STATUSES = frozenset({"SUSPECT", "PROSPECT", "CUSTOMER"})

_TEXTS = (
    "smsOptIn", "optIn", "title", "lastname", "firstname", "middlename", "prefix", "suffix", "initials", "gender", "maritalStatus", "birthday",
    "birthplace", "address", "address2", "address3", "addressNumber", "addressNumberSuffix", "zipCode", "poBox", "city", "state", "country",
    "companyName", "department", "jobTitle", "emailAddress", "homePhone", "mobilePhone", "workPhone", "faxNumber", "website", "externalId",
    "status", "createdAt", "modifiedAt",
)  # fmt: skip
TYPES = {
    "CustomerOption": {"identifier": "string", "customerId": "long", "name": "string", "value": "string"},
    "Customer": {"id": "long", **dict.fromkeys(_TEXTS, "string"), "options": "ArrayOfCustomerOption"},
    "Mailing": {
        "id": "long", "campaignId": "long", "campaignName": "string", "contentName": "string", "status": "string", "type": "string",
        "description": "string", "startedAt": "string", "endedAt": "string", "customers": "long", "received": "long", "bounces": "long",
        "opens": "long", "clicks": "long", "uniqueOpens": "long", "uniqueClicks": "long", "complaints": "long",
    },
    "Open": {"id": "long", "customerId": "long", "mailingId": "long", "openedAt": "string"},
    "Click": {"id": "long", "customerId": "long", "mailingId": "long", "clickedAt": "string"},
    "Bounce": {"id": "long", "customerId": "long", "mailingId": "long", "bouncedAt": "string", "rule": "string", "category": "string"},
    "Complaint": {"id": "long", "customerId": "long", "mailingId": "long", "complaintAt": "string", "feedbackloop": "string"},
    "Delivery": {
        "id": "string", "status": "string", "customer": "Customer", "mailingId": "long", "deliveryDate": "string", "firstOpenDate": "string",
        "lastOpenDate": "string", "firstClickDate": "string", "lastClickDate": "string", "opens": "ArrayOfOpen", "clicks": "ArrayOfClick",
        "bounce": "Bounce", "complaint": "Complaint",
    },
    "Group": {"id": "long", "parentId": "long", "name": "string", "description": "string"},
    "GroupMembership": {"groupId": "long", "customerId": "long", "isMember": "boolean"},
    "Resource": {"id": "long", "type": "string", "status": "string", "size": "long"},
}  # fmt: skip
ZONE = ZoneInfo("Europe/Amsterdam")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


class Deployteq(Vendor):
    """The vendor's state. `calls` counts the calls of each method here that answers an operation."""

    system = "deployteq"

    def __init__(self, clock: Clock, *, demo: bool) -> None:
        super().__init__(clock, demo=demo)
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.reset()
        self._service = SoapService("clangAPI", NAMESPACE, TYPES, {
            "customer_insertBulkUnique": self._operation("ArrayOfCustomer", self.insert_bulk_unique, customers="ArrayOfCustomer",
                                                         uniqueCustomerFields="ArrayOfString", uniqueOptionFields="ArrayOfString"),
            "customer_getById": self._operation("Customer", self.get_by_id, customerId="long"),
            "customer_getByEmailAddress": self._operation("ArrayOfCustomer", self.get_by_email_address, emailAddress="string"),
            "customer_getByExternalId": self._operation("ArrayOfCustomer", self.get_by_external_id, externalId="string"),
            "customer_update": self._operation("Customer", self.update, customer="Customer"),
            "customer_delete": self._operation("boolean", self.delete, customer="Customer"),
            "mailing_getByDate": self._operation("long", self.mailings_by_date, fromDate="string", toDate="string"),
            "mailing_getDeliverySet": self._operation("long", self.deliveries_of, mailing="Mailing"),
            "mailingSet_getMailings": self._operation("ArrayOfMailing", self.page_of_mailings, resourceId="long", offset="long", size="long"),
            "deliverySet_getDeliveries": self._operation("ArrayOfDelivery", self.page_of_deliveries, resourceId="long", offset="long", size="long"),
            "group_getMembers": self._operation("long", self.members_of, groupId="long", recursive="boolean"),
            "group_addMembersInBulk": self._operation("boolean", self.add_members, group="Group", customers="ArrayOfCustomer"),
            "group_hasMember": self._operation(
                "GroupMembership", self.has_member, groupId="long", customerId="long", includeSubGroups="boolean"
            ),
            "group_removeMember": self._operation("boolean", self.remove_member, group="Group", customer="Customer"),
            "customerSet_getCustomers": self._operation("ArrayOfCustomer", self.page_of_customers, resourceId="long", offset="long", size="long"),
            "resource_getById": self._operation("Resource", self.resource, resourceId="long"),
            "resource_free": self._operation("boolean", self.free, resourceId="long"),
            "customer_getAll": self._operation("long", self.all_customers),
            "customer_getTotalNumberOfCustomers": self._operation("long", self.number_of_customers),
        })  # fmt: skip

    def reset(self) -> None:
        self.calls.clear()
        self.customers: dict[int, dict[str, Any]] = {}
        self._ids = itertools.count(1)
        self._refused: set[str] = set()
        self.groups: dict[int, list[int]] = {}
        self.mailings: dict[int, dict[str, Any]] = {}
        self.deliveries: dict[int, list[dict[str, Any]]] = {}  # by mailing
        self._resources: dict[int, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        self._by_value: dict[tuple[str, str], set[int]] = {}

    def credentials(self, root: str) -> dict[str, Any]:
        return {"wsdl_url": f"{root}{PATH}?wsdl", "token": TOKEN}

    def dump(self) -> dict[str, Any]:
        """What is kept between two starts, as JSON takes it."""
        with self._lock:
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
            for key in _values(customer):
                self._by_value.setdefault(key, set()).add(customer["id"])
        self.groups = dict(kept["groups"])
        for mailing, deliveries in zip(kept["mailings"], kept["deliveries"], strict=True):
            self.mailings[mailing["id"]] = mailing
            self.deliveries[mailing["id"]] = deliveries

    def refuse(self, email_address: str) -> None:
        """Control: a customer with this address is not valid."""
        self._refused.add(email_address)

    def _operation(self, result: str, answer: Any, **parameters: str) -> Operation:
        name = answer.__name__

        def checked(*, uuid: str, **arguments: Any) -> Any:
            self.calls[name] += 1
            if uuid != TOKEN:
                raise SoapFault("101", "Invalid token")
            with self._lock:
                return answer(**arguments)

        return Operation({"uuid": "string", **parameters}, result, checked)

    # -- customers ----------------------------------------------------------------------------------------------------------------

    def insert_bulk_unique(
        self, customers: list[dict[str, Any]], uniqueCustomerFields: list[str], uniqueOptionFields: list[str]  # noqa: N803 - the vendor's names
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Every customer updated where one with the same unique values exists, inserted where not; all of them or none."""
        for number, customer in enumerate(customers):
            problem = "it is refused by order" if customer.get("emailAddress") in self._refused else _problem(customer)
            if problem:
                raise SoapFault("110", f"customer {number}: {problem}")
        return [
            self._insert_unique(customer, uniqueCustomerFields or [], uniqueOptionFields or [])
            for customer in customers
        ]

    def _insert_unique(self, customer: dict[str, Any], fields: list[str], options: list[str]) -> dict[str, Any]:
        given = {option["name"]: option.get("value") or "" for option in customer.get("options") or []}
        keys = [
            *((name, customer.get(name) or "") for name in fields),
            *((f"options.{name}", given.get(name, "")) for name in options),
        ]
        if any(not value for _, value in keys):
            raise SoapFault(
                "111", f"a unique field has no value: {', '.join(name for name, value in keys if not value)}"
            )
        found = (
            set.intersection(*(self._by_value.get((name, value.lower()), set()) for name, value in keys))
            if keys
            else set()
        )
        now = self._now()
        if found:
            known = self.customers[min(found)]
        else:
            known = {"id": next(self._ids), "createdAt": now, "options": {}}
            self.customers[known["id"]] = known
        return self._change(known, customer)

    def _change(self, known: dict[str, Any], customer: dict[str, Any]) -> dict[str, Any]:
        given = {option["name"]: option.get("value") or "" for option in customer.get("options") or []}
        self._forget(known)
        known |= {
            name: value for name, value in customer.items() if name not in ("id", "options", "createdAt", "modifiedAt")
        }
        known["options"] = known["options"] | given
        known["modifiedAt"] = self._now()
        for key in _values(known):
            self._by_value.setdefault(key, set()).add(known["id"])
        return _shown(known)

    def _forget(self, customer: dict[str, Any]) -> None:
        for key in _values(customer):
            self._by_value.get(key, set()).discard(customer["id"])

    def get_by_id(self, customerId: int) -> dict[str, Any]:  # noqa: N803 - the vendor's names
        if customerId not in self.customers:
            raise SoapFault("112", f"There is no customer {customerId}")
        return _shown(self.customers[customerId])

    def get_by_email_address(self, emailAddress: str) -> list[dict[str, Any]]:  # noqa: N803 - the vendor's names
        return self._with("emailAddress", emailAddress)

    def get_by_external_id(self, externalId: str) -> list[dict[str, Any]]:  # noqa: N803 - the vendor's names
        return self._with("externalId", externalId)

    def _with(self, name: str, value: str) -> list[dict[str, Any]]:
        return [_shown(self.customers[number]) for number in sorted(self._by_value.get((name, value.lower()), set()))]

    def update(self, customer: dict[str, Any]) -> dict[str, Any]:
        """The customer with this id changed, whatever makes it unique."""
        known = self.customers.get(customer.get("id") or 0)
        problem = f"There is no customer {customer.get('id')}" if known is None else _problem(customer)
        if known is None or problem:
            raise SoapFault("112" if known is None else "110", problem)
        return self._change(known, customer)

    def number_of_customers(self) -> int:
        return len(self.customers)

    def all_customers(self) -> int:
        return self._new_resource("CUSTOMER_SET", [_shown(customer) for customer in self.customers.values()])

    def delete(self, customer: dict[str, Any]) -> bool:
        known = self.customers.pop(customer.get("id") or 0, None)
        if known is None:
            raise SoapFault("112", f"There is no customer {customer.get('id')}")
        self._forget(known)
        return True

    # -- groups -------------------------------------------------------------------------------------------------------------------

    def members_of(self, groupId: int, recursive: bool) -> int:  # noqa: N803 - the vendor's names; no group here has groups
        found = [_shown(self.customers[number]) for number in self._group(groupId) if number in self.customers]
        return self._new_resource("CUSTOMER_SET", found)

    def _group(self, number: int | None) -> list[int]:
        if number not in self.groups:
            raise SoapFault("115", f"There is no group {number}")
        return self.groups[number]

    def add_members(self, group: dict[str, Any], customers: list[dict[str, Any]]) -> bool:
        members = self._group(group.get("id"))
        unknown = [customer.get("id") for customer in customers if customer.get("id") not in self.customers]
        if unknown:
            raise SoapFault("112", f"There is no customer {unknown[0]}")
        members += [customer["id"] for customer in customers if customer["id"] not in members]
        return True

    def has_member(self, groupId: int, customerId: int, includeSubGroups: bool) -> dict[str, Any]:  # noqa: N803 - as above
        return {"groupId": groupId, "customerId": customerId, "isMember": customerId in self._group(groupId)}

    def remove_member(self, group: dict[str, Any], customer: dict[str, Any]) -> bool:
        members = self._group(group.get("id"))
        if customer.get("id") not in members:
            raise SoapFault("116", f"Customer {customer.get('id')} is not a member")
        members.remove(customer["id"])
        return True

    def page_of_customers(self, resourceId: int, offset: int, size: int) -> list[dict[str, Any]]:  # noqa: N803 - the vendor's names
        return self._page("CUSTOMER_SET", resourceId, offset, size)

    # -- e-mails ------------------------------------------------------------------------------------------------------------------

    def _now(self) -> str:
        return self.clock.now().astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S")

    def send(self, name: str, customers: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Control: a mailing to these customers, or to all that have an address; gives its deliveries."""
        number, now = next(self._ids), self._now()
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
        """Control: what becomes of a delivery, in order: `open`, `click`, `bounce`, `complaint`."""
        for kind in kinds:
            event = {"id": next(self._ids), "customerId": delivery["customerId"], "mailingId": delivery["mailingId"]}
            now = self._now()
            if kind == "open":
                delivery["opens"].append(event | {"openedAt": now})
                delivery |= {"firstOpenDate": delivery.get("firstOpenDate", now), "lastOpenDate": now}
            elif kind == "click":
                delivery["clicks"].append(event | {"clickedAt": now})
                delivery |= {"firstClickDate": delivery.get("firstClickDate", now), "lastClickDate": now}
            elif kind == "bounce":
                delivery |= {
                    "status": "BOUNCED",
                    "bounce": event | {"bouncedAt": now, "category": "HARD", "rule": "550 no such mailbox"},
                }
            else:
                delivery["complaint"] = event | {"complaintAt": now, "feedbackloop": "test"}

    def send_newsletter(self, name: str) -> None:
        """Control: a mailing to all, of which about half is opened, a tenth clicked, and a little bounces or is complained of."""
        for number, delivery in enumerate(self.send(name)):
            self.behave(
                delivery,
                *(("bounce",) if number % 33 == 5 else ("open",) * (number % 2) + ("click",) * (number % 10 == 3)),
            )
            if number % 200 == 7:
                self.behave(delivery, "complaint")

    def mailings_by_date(self, fromDate: str, toDate: str) -> int:  # noqa: N803 - the vendor's names
        found = [self._mailing(item) for item in self.mailings.values() if fromDate <= str(item["startedAt"]) <= toDate]
        return self._new_resource("MAILING_SET", found)

    def _mailing(self, mailing: dict[str, Any]) -> dict[str, Any]:
        """With its counters."""
        deliveries = self.deliveries[mailing["id"]]
        return mailing | {
            "customers": len(deliveries), "received": sum(item["status"] == "DELIVERED" for item in deliveries),
            "bounces": sum("bounce" in item for item in deliveries), "complaints": sum("complaint" in item for item in deliveries),
            "opens": sum(len(item["opens"]) for item in deliveries), "clicks": sum(len(item["clicks"]) for item in deliveries),
            "uniqueOpens": sum(bool(item["opens"]) for item in deliveries), "uniqueClicks": sum(bool(item["clicks"]) for item in deliveries),
        }  # fmt: skip

    def deliveries_of(self, mailing: dict[str, Any]) -> int:
        if mailing.get("id") not in self.mailings:
            raise SoapFault("112", f"There is no mailing {mailing.get('id')}")
        found = [item | {"customer": self._receiver(item)} for item in self.deliveries[mailing["id"]]]
        return self._new_resource("DELIVERY_SET", found)

    def _receiver(self, delivery: dict[str, Any]) -> dict[str, Any] | None:
        known = self.customers.get(delivery["customerId"])
        return None if known is None else _shown(known)

    def _new_resource(self, kind: str, items: list[dict[str, Any]]) -> int:
        number = next(self._ids)
        self._resources[number] = ({"id": number, "type": kind, "status": "PROCESSING", "size": len(items)}, items)
        return number

    def resource(self, resourceId: int) -> dict[str, Any]:  # noqa: N803 - the vendor's names
        """The resource; it is READY when it is asked for the second time."""
        known = self._known(resourceId)[0]
        shown = dict(known)
        known["status"] = "READY"
        return shown

    def _known(self, number: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        if number not in self._resources:
            raise SoapFault("113", f"There is no resource {number}")
        return self._resources[number]

    def page_of_mailings(self, resourceId: int, offset: int, size: int) -> list[dict[str, Any]]:  # noqa: N803 - the vendor's names
        return self._page("MAILING_SET", resourceId, offset, size)

    def page_of_deliveries(self, resourceId: int, offset: int, size: int) -> list[dict[str, Any]]:  # noqa: N803 - the vendor's names
        return self._page("DELIVERY_SET", resourceId, offset, size)

    def _page(self, kind: str, number: int, offset: int, size: int) -> list[dict[str, Any]]:
        known, items = self._known(number)
        if not 1 <= size <= MAX_PER_PAGE:
            raise SoapFault("105", f"size must be from 1 to {MAX_PER_PAGE}")
        if known["status"] != "READY" or known["type"] != kind:
            raise SoapFault("114", f"resource {number} is {known['type']} and {known['status']}")
        return items[offset : offset + size]

    def free(self, resourceId: int) -> bool:  # noqa: N803 - the vendor's names
        self._known(resourceId)
        del self._resources[resourceId]
        return True

    # -- routes -------------------------------------------------------------------------------------------------------------------

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(("GET",), PATH, self._describe),
            Route(("POST",), PATH, lambda call: self._service.call(call.body)),
        )

    def _describe(self, call: Call) -> Reply:
        if "wsdl" not in call.query:
            return Reply({"error": "add ?wsdl"}, status=400)
        return self._service.wsdl(call.base_url + PATH)

    def control_routes(self) -> tuple[Route, ...]:
        def refuse(call: Call) -> Reply:
            self.refuse(json.loads(call.body)["email_address"])
            return Reply({})

        def send(call: Call) -> Reply:
            self.send_newsletter(json.loads(call.body)["name"])
            return Reply({})

        def queue(call: Call) -> Reply:
            """Makes the groups, and puts every `every`-th customer with a Salesforce id into the first, its phone number changed."""
            order = json.loads(call.body)
            for number in order["groups"]:
                self.groups.setdefault(number, [])
            known = [
                item for item in self.customers.values() if str(item.get("externalId", "")).startswith(order["prefix"])
            ]
            for customer in known[:: order["every"]]:
                self._change(customer, {"workPhone": order["phone"]})
                self.add_members({"id": order["groups"][0]}, [customer])
            return Reply({"queued": len(self.groups[order["groups"][0]])})

        return (
            Route(("POST",), "/_emulator/deployteq/queue", queue),
            Route(
                ("GET",),
                "/_emulator/deployteq/groups",
                lambda _: Reply({str(number): len(found) for number, found in self.groups.items()}),
            ),
            Route(("POST",), "/_emulator/deployteq/refuse", refuse),
            Route(("POST",), "/_emulator/deployteq/mailing", send),
            Route(("GET",), "/_emulator/deployteq/calls", lambda _: Reply(dict(self.calls))),
            Route(
                ("GET",),
                "/_emulator/deployteq/customers",
                lambda _: Reply(json.loads(json.dumps(list(self.customers.values())))),
            ),
        )


def _problem(customer: dict[str, Any]) -> str:
    """Why a customer is refused; empty when it is not."""
    email, status, options = customer.get("emailAddress"), customer.get("status"), customer.get("options") or []
    unknown = [option.get("name") for option in options if option.get("name") not in OPTION_FIELDS]
    if email and not _EMAIL.fullmatch(email):
        return "emailAddress is not valid"
    if status and status not in STATUSES:
        return f"status must be one of {', '.join(sorted(STATUSES))}"
    if customer.get("optIn") not in (None, "", "Y", "N"):
        return "optIn must be Y or N"
    return f"there is no customer option field {unknown[0]}" if unknown else ""


def _values(customer: dict[str, Any]) -> list[tuple[str, str]]:
    """What a customer can be found by: each field and option with its value in lower case."""
    options = customer["options"].items()
    pairs = [
        *((name, value) for name, value in customer.items() if name != "options"),
        *((f"options.{name}", value) for name, value in options),
    ]
    return [(name, str(value).lower()) for name, value in pairs if value not in (None, "")]


def _shown(customer: dict[str, Any]) -> dict[str, Any]:
    options = [
        {"customerId": customer["id"], "name": name, "value": value} for name, value in customer["options"].items()
    ]
    return customer | {"options": options}


EMULATOR = Deployteq
