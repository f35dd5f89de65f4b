"""The operations of Deployteq's SOAP API, as far as the sync uses them, with what they answer.

Known from the vendor's WSDL: operations, parameters and types; resources that are made first and read when READY; pages of 1 to 50. Not
published, and assumed here: a bulk call in which one customer is not valid is refused as a whole, with a fault that names it; dates are
`YYYY-MM-DD HH:MM:SS` in Dutch time; offsets begin at 0; the states of a delivery.
"""

# Parameters have the vendor's names.
# ruff: noqa: N803

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emulators.vendors.deployteq.faults import (
    BAD_ARGUMENT,
    IS_MEMBER,
    NO_GROUP,
    NO_MAILING,
    NO_MEMBER,
    NO_RESOURCE,
    NO_UNIQUE_VALUE,
    NOT_READY,
    NOT_VALID,
    no_customer,
    problem,
)
from emulators.vendors.deployteq.state import State
from emulators.vendors.deployteq.types import TYPES
from emulators.vendors.wsdl import Operation, SoapFault

MAX_PER_PAGE = 50
NEVER_SAID = {"birthday": "0000-00-00", "poBox": "0", "gender": "UNKNOWN", "maritalStatus": "UNKNOWN"}
EMPTY = {name: NEVER_SAID.get(name, "") for name, kind in TYPES["Customer"].items() if kind == "string"}


class Answers:
    def __init__(self, state: State) -> None:
        self._state = state

    def operations(self, guarded: Callable[[Callable[..., Any]], Callable[..., Any]]) -> dict[str, Operation]:
        """By name. `guarded` puts the check of the token, which every operation takes first, around an answer."""

        def operation(result: str, answer: Callable[..., Any], **parameters: str) -> Operation:
            return Operation({"uuid": "string", **parameters}, result, guarded(answer))

        page = {"resourceId": "long", "offset": "long", "size": "long"}
        return {
            "customer_insertBulkUnique": operation(
                "ArrayOfCustomer", self.insert_bulk_unique,
                customers="ArrayOfCustomer", uniqueCustomerFields="ArrayOfString", uniqueOptionFields="ArrayOfString",
            ),
            "customer_getById": operation("Customer", self.get_by_id, customerId="long"),
            "customer_getByEmailAddress": operation("ArrayOfCustomer", self.get_by_email_address, emailAddress="string"),
            "customer_getByExternalId": operation("ArrayOfCustomer", self.get_by_external_id, externalId="string"),
            "customer_update": operation("Customer", self.update, customer="Customer"),
            "customer_delete": operation("boolean", self.delete, customer="Customer"),
            "customer_getAll": operation("long", self.all_customers),
            "customer_getTotalNumberOfCustomers": operation("long", self.number_of_customers),
            "customerSet_getCustomers": operation("ArrayOfCustomer", self.page_of_customers, **page),
            "group_getMembers": operation("long", self.members_of, groupId="long", recursive="boolean"),
            "group_addMembersInBulk": operation("boolean", self.add_members, group="Group", customers="ArrayOfCustomer"),
            "group_hasMember": operation(
                "GroupMembership", self.has_member, groupId="long", customerId="long", includeSubGroups="boolean"
            ),
            "group_removeMember": operation("boolean", self.remove_member, group="Group", customer="Customer"),
            "mailing_getByDate": operation("long", self.mailings_by_date, fromDate="string", toDate="string"),
            "mailing_getDeliverySet": operation("long", self.deliveries_of, mailing="Mailing"),
            "mailingSet_getMailings": operation("ArrayOfMailing", self.page_of_mailings, **page),
            "deliverySet_getDeliveries": operation("ArrayOfDelivery", self.page_of_deliveries, **page),
            "resource_getById": operation("Resource", self.resource, resourceId="long"),
            "resource_free": operation("boolean", self.free, resourceId="long"),
        }  # fmt: skip

    # -- customers ----------------------------------------------------------------------------------------------------------------

    def insert_bulk_unique(
        self, customers: list[dict[str, Any]], uniqueCustomerFields: list[str], uniqueOptionFields: list[str]
    ) -> list[dict[str, Any]]:
        """Every customer updated where one with the same unique values exists, inserted where not; all of them or none."""
        for number, customer in enumerate(customers):
            wrong = problem(customer)
            if customer.get("emailAddress") in self._state.refused:
                wrong = "it is refused by order"
            if wrong:
                raise SoapFault(NOT_VALID, f"customer {number}: {wrong}")
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
        missing = [name for name, value in keys if not value]
        if missing:
            raise SoapFault(NO_UNIQUE_VALUE, f"a unique field has no value: {', '.join(missing)}")
        found = self._state.find(keys)
        return _shown(self._state.change(found[0] if found else self._state.add(), customer))

    def get_by_id(self, customerId: int) -> dict[str, Any]:
        if customerId not in self._state.customers:
            raise no_customer(customerId)
        return _shown(self._state.customers[customerId])

    def get_by_email_address(self, emailAddress: str) -> list[dict[str, Any]]:
        return [_shown(customer) for customer in self._state.find([("emailAddress", emailAddress)])]

    def get_by_external_id(self, externalId: str) -> list[dict[str, Any]]:
        return [_shown(customer) for customer in self._state.find([("externalId", externalId)])]

    def update(self, customer: dict[str, Any]) -> dict[str, Any]:
        """The customer with this id changed, whatever makes it unique."""
        known = self._state.customers.get(customer.get("id") or 0)
        if known is None:
            raise no_customer(customer.get("id"))
        if wrong := problem(customer):
            raise SoapFault(NOT_VALID, wrong)
        return _shown(self._state.change(known, customer))

    def delete(self, customer: dict[str, Any]) -> bool:
        """Whether it was there; one that was not is no fault."""
        return self._state.remove(customer.get("id"))

    def number_of_customers(self) -> int:
        return len(self._state.customers)

    def all_customers(self) -> int:
        return self._state.new_resource("CUSTOMER_SET", [_shown(item) for item in self._state.customers.values()])

    def page_of_customers(self, resourceId: int, offset: int, size: int) -> list[dict[str, Any]]:
        return self._page("CUSTOMER_SET", resourceId, offset, size)

    # -- groups -------------------------------------------------------------------------------------------------------------------

    def members_of(self, groupId: int, recursive: bool) -> int:
        """No group here has groups below it."""
        customers = self._state.customers
        found = [_shown(customers[number]) for number in self._group(groupId) if number in customers]
        return self._state.new_resource("CUSTOMER_SET", found)

    def _group(self, number: int | None) -> list[int]:
        if number not in self._state.groups:
            raise SoapFault(NO_GROUP, f"There is no group {number}")
        return self._state.groups[number]

    def add_members(self, group: dict[str, Any], customers: list[dict[str, Any]]) -> bool:
        """All of them or none; whether the service refuses members is known of the call for one, and assumed of this one."""
        members = self._group(group.get("id"))
        numbers = [int(customer.get("id") or 0) for customer in customers]
        for number in numbers:
            if number not in self._state.customers:
                raise no_customer(number)
            if number in members:
                raise SoapFault(IS_MEMBER, "customer already member of group")
        members += dict.fromkeys(numbers)
        return True

    def has_member(self, groupId: int, customerId: int, includeSubGroups: bool) -> dict[str, Any]:
        return {"groupId": groupId, "customerId": customerId, "isMember": customerId in self._group(groupId)}

    def remove_member(self, group: dict[str, Any], customer: dict[str, Any]) -> bool:
        members = self._group(group.get("id"))
        if customer.get("id") not in members:
            raise SoapFault(NO_MEMBER, f"Customer {customer.get('id')} is not a member")
        members.remove(customer["id"])
        return True

    # -- e-mails ------------------------------------------------------------------------------------------------------------------

    def mailings_by_date(self, fromDate: str, toDate: str) -> int:
        mailings = self._state.mailings.values()
        found = [self._mailing(item) for item in mailings if fromDate <= str(item["startedAt"]) <= toDate]
        return self._state.new_resource("MAILING_SET", found)

    def _mailing(self, mailing: dict[str, Any]) -> dict[str, Any]:
        """With its counters."""
        deliveries = self._state.deliveries[mailing["id"]]
        return mailing | {
            "customers": len(deliveries), "received": sum(item["status"] == "DELIVERED" for item in deliveries),
            "bounces": sum("bounce" in item for item in deliveries), "complaints": sum("complaint" in item for item in deliveries),
            "opens": sum(len(item["opens"]) for item in deliveries), "clicks": sum(len(item["clicks"]) for item in deliveries),
            "uniqueOpens": sum(bool(item["opens"]) for item in deliveries), "uniqueClicks": sum(bool(item["clicks"]) for item in deliveries),
        }  # fmt: skip

    def deliveries_of(self, mailing: dict[str, Any]) -> int:
        number = int(mailing.get("id") or 0)
        if number not in self._state.mailings:
            raise SoapFault(NO_MAILING, f"There is no mailing {number}")
        found = [item | {"customer": self._receiver(item)} for item in self._state.deliveries[number]]
        return self._state.new_resource("DELIVERY_SET", found)

    def _receiver(self, delivery: dict[str, Any]) -> dict[str, Any] | None:
        known = self._state.customers.get(delivery["customerId"])
        return None if known is None else _shown(known)

    def page_of_mailings(self, resourceId: int, offset: int, size: int) -> list[dict[str, Any]]:
        return self._page("MAILING_SET", resourceId, offset, size)

    def page_of_deliveries(self, resourceId: int, offset: int, size: int) -> list[dict[str, Any]]:
        return self._page("DELIVERY_SET", resourceId, offset, size)

    # -- sets ---------------------------------------------------------------------------------------------------------------------

    def resource(self, resourceId: int) -> dict[str, Any]:
        """The resource; it is READY when it is asked for the second time."""
        known = self._known(resourceId)[0]
        shown = dict(known)
        if known["status"] == "PROCESSING":
            known["status"] = "READY"
        return shown

    def _known(self, number: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        if number not in self._state.resources:
            raise SoapFault(NO_RESOURCE, f"There is no resource {number}")
        return self._state.resources[number]

    def _page(self, kind: str, number: int, offset: int, size: int) -> list[dict[str, Any]]:
        known, items = self._known(number)
        if not 1 <= size <= MAX_PER_PAGE:
            raise SoapFault(BAD_ARGUMENT, f"size must be from 1 to {MAX_PER_PAGE}")
        if known["status"] != "READY" or known["type"] != kind:
            raise SoapFault(NOT_READY, f"resource {number} is {known['type']} and {known['status']}")
        return items[offset : offset + size]

    def free(self, resourceId: int) -> bool:
        """A set that was freed is CLOSED, and empty."""
        self._known(resourceId)[0]["status"] = "CLOSED"
        self._known(resourceId)[1].clear()
        return True


def _shown(customer: dict[str, Any]) -> dict[str, Any]:
    """As it is read: elements that nobody set have the service's words for nothing, passwords are not shown."""
    options = [
        {"customerId": customer["id"], "name": name, "value": value} for name, value in customer["options"].items()
    ]
    said = {name: value for name, value in customer.items() if value not in (None, "") and name != "password"}
    return EMPTY | said | {"options": options}
