"""What Deployteq refuses, with the codes of its faults.

Known from tests against the live service: 101 and 202 (token), 105 (arguments), 107 (member already), 213 (no such customer). The other
numbers stand for faults whose codes are not published.
"""

from __future__ import annotations

import re
from typing import Any

from emulators.vendors.deployteq.types import LONGEST
from emulators.vendors.wsdl import SoapFault

UNKNOWN_TOKEN, MALFORMED_TOKEN, BAD_ARGUMENT, IS_MEMBER, NO_CUSTOMER = "101", "202", "105", "107", "213"
NOT_VALID, NO_UNIQUE_VALUE, NO_MAILING, NO_RESOURCE, NOT_READY, NO_GROUP, NO_MEMBER = (
    "110",
    "111",
    "112",
    "113",
    "114",
    "115",
    "116",
)

STATUSES = frozenset({"SUSPECT", "PROSPECT", "CUSTOMER", "BLACKLIST"})
OPTION_FIELDS = ("salesforceId", "salesforceObject", "Industry", "LeadSource")
_TOKEN = re.compile(r"[0-9A-Za-z-]{16,64}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


def check_token(given: str | None, *, known: str) -> None:
    if given != known:
        malformed = not _TOKEN.fullmatch(given or "")
        raise SoapFault(MALFORMED_TOKEN if malformed else UNKNOWN_TOKEN, "Invalid token")


def problem(customer: dict[str, Any]) -> str:
    """Why a customer is refused; empty when it is not. Whether the service refuses or cuts a long value is not known: here it refuses."""
    email, status, options = customer.get("emailAddress"), customer.get("status"), customer.get("options") or []
    unknown = [option.get("name") for option in options if option.get("name") not in OPTION_FIELDS]
    long = [name for name, most in LONGEST.items() if len(customer.get(name) or "") > most]
    if email and not _EMAIL.fullmatch(email):
        return "emailAddress is not valid"
    if status and status not in STATUSES:
        return f"status must be one of {', '.join(sorted(STATUSES))}"
    if customer.get("optIn") not in (None, "", "Y", "N"):
        return "optIn must be Y or N"
    if long:
        return f"{long[0]} is longer than {LONGEST[long[0]]} characters"
    return f"there is no customer option field {unknown[0]}" if unknown else ""


def no_customer(number: int | None) -> SoapFault:
    return SoapFault(NO_CUSTOMER, f"There is no customer {number}")
