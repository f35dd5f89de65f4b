"""400 made-up companies; four in five are Accounts, whose websites are written in as many ways as people write them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

COUNT, CUSTOMERS = 400, 30
_FIRST = (
    "Amber", "Birch", "Cobalt", "Dune", "Ember", "Fjord", "Granite", "Harbor", "Indigo", "Juniper",
    "Kestrel", "Lumen", "Meadow", "Nimbus", "Onyx", "Pine", "Quartz", "Ridge", "Sable", "Tundra",
)  # fmt: skip
_SECOND = (
    "Analytics", "Bank", "Chemicals", "Dynamics", "Energy", "Foods", "Genomics", "Health", "Insurance", "Journals",
    "Kitchens", "Logistics", "Motors", "Networks", "Optics", "Pharma", "Quarries", "Robotics", "Systems", "Textiles",
)  # fmt: skip
_SUFFIXES = ("com", "com", "com", "io", "de", "co.uk", "com.au", "nl")
_PLACES = (
    ("United States", "California", "San Jose"), ("United States", "New York", "Albany"), ("Germany", "Bavaria", "Augsburg"),
    ("United Kingdom", "England", "Leeds"), ("Netherlands", "Utrecht", "Utrecht"), ("Australia", "Victoria", "Geelong"),
    ("Canada", "Ontario", "Ottawa"), ("France", "Normandy", "Rouen"),
)  # fmt: skip
_TYPES = ("Customer - Direct", "Prospect", "Prospect", "Prospect", None)


@dataclass(frozen=True)
class Company:
    name: str
    domain: str
    country: str
    state: str
    city: str
    is_account: bool
    type: str | None


@cache
def companies() -> tuple[Company, ...]:
    random = Random("companies")
    result = []
    for index in range(COUNT):
        first, second = _FIRST[index % len(_FIRST)], _SECOND[index // len(_FIRST)]
        domain = f"{first}-{second}-demo.{_SUFFIXES[index % len(_SUFFIXES)]}".lower()
        country, state, city = random.choice(_PLACES)
        result.append(Company(f"{first} {second}", domain, country, state, city, index % 5 != 4, random.choice(_TYPES)))
    return tuple(result)


def website(index: int, company: Company) -> str:
    """The company's website as somebody typed it into the Account."""
    forms = (
        "https://www.{}/", "{}", "http://{}", "WWW.{}", "https://{}/about?lang=en", "https://shop.{}", "//{}/", "https://{}:443/home",
    )  # fmt: skip
    form = forms[index % len(forms)]
    return form.format(company.domain.upper() if index % 11 == 0 else company.domain)


def _license(index: int) -> dict[str, Any]:
    """What the first CUSTOMERS companies bought; nothing for the others."""
    if index >= CUSTOMERS:
        return {}
    random = Random(f"license {index}")
    months, mrr = random.choice((1, 12, 36)), random.choice((99, 499, 999))
    return {
        "Customer_Since__c": f"202{random.randrange(0, 6)}-{random.randrange(1, 13):02}-01", "License_Count__c": random.randrange(1, 50),
        "License_Duration__c": months, "License_MRR__c": mrr, "License_Value__c": mrr * months,
        "License_Status__c": random.choice(("Active", "Active", "Cancelled")), "License_Type__c": "Annual" if months > 1 else "Monthly",
        "CSM_Score__c": random.randrange(1, 11),
    }  # fmt: skip


def accounts() -> list[dict[str, Any]]:
    """The Accounts to seed: one per known company, a second Account on one domain, and two that must never match by domain."""
    rows: list[dict[str, Any]] = [
        {
            "Name": company.name, "Website": website(index, company), "Type": company.type,
            "BillingCity": company.city, "BillingState": company.state, "BillingCountry": company.country, **_license(index),
        }
        for index, company in enumerate(companies())
        if company.is_account
    ]  # fmt: skip
    twin = companies()[0]
    rows.append({"Name": f"{twin.name} Holding", "Website": f"https://{twin.domain}"})
    rows.append({"Name": "Corner Shop on a Mail Domain", "Website": "https://gmail.com"})
    rows.append({"Name": "No Website Known", "Website": None})
    return rows
