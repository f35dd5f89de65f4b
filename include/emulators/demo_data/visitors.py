"""Companies that looked at the website, as WOW Analytics gives them: some are Accounts under another name, most are nobody's."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from random import Random
from typing import Any
from uuid import UUID

from emulators.demo_data.companies import companies

COUNT, DAYS = 3_000, 30
_TYPES = ("Lead",) * 9 + ("Customer", "Supplier", "Partner", "Self")
_FIRST = ("Anna", "Bram", "Clara", "Daan", "Eva", "Femke", "Gijs", "Hanna")
_LAST = ("Bakker", "de Boer", "Dijkstra", "Hendriks", "Jansen", "Mulder", "Smit", "Visser")
_WORDS = (
    "Alder",
    "Basalt",
    "Comet",
    "Delta",
    "Epsom",
    "Falcon",
    "Garnet",
    "Heron",
    "Ivory",
    "Jasper",
    "Krypton",
    "Larch",
    "Maple",
    "Nordic",
    "Orchid",
)
_TRADES = (
    "Foods",
    "Logistics",
    "Systems",
    "Energy",
    "Textiles",
    "Media",
    "Consulting",
    "Engineering",
    "Pharma",
    "Motors",
)
_FORMS = ("B.V.", "GmbH", "Ltd", "Inc", "SAS", "")


def leads(now: datetime, count: int = COUNT) -> list[dict[str, Any]]:
    """The company leads, each with its last visit within the last DAYS days."""
    return [_on(now, lead) for lead in _made(count)]


@cache
def _made(count: int) -> tuple[dict[str, Any], ...]:
    random = Random("visitors")
    known = companies()
    found: list[dict[str, Any]] = []
    for number in range(count):
        name, domain, city, country = _company(random, known, number)
        identity = str(UUID(int=random.getrandbits(128), version=4))
        contact = (
            {"firstName": random.choice(_FIRST), "lastName": random.choice(_LAST), "position": "Buyer"}
            if number % 3 == 0
            else None
        )
        found.append({
            "id": identity, "type": random.choice(_TYPES), "status": "Open", "companyName": name, "clientId": "1",
            "permaLink": f"https://app.wowanalytics.co.uk/Permalink/Company/{identity}", "emailAddress": None, "assignedTo": [],
            "totalScore": random.randrange(5, 400), "leadBand": random.choice(("Hot", "Warm", "Cold")), "days_ago": random.randrange(DAYS),
            "company": {
                "name": name, "domain": domain, "street": f"{number % 90 + 1} Main Street", "city": city, "county": None, "postCode": None,
                "country": country, "region": None, "employees": None, "industries": [], "phoneNumber": f"+44 20 {number:07}",
                "companyDescription": None, "revenue": None,
            },
            "contact": contact,
        })  # fmt: skip
    return tuple(found)


def _company(random: Random, known: Any, number: int) -> tuple[str, str | None, str, str]:
    if number % 8 == 0:  # one that the org may have as an Account
        company = known[random.randrange(len(known))]
        name = company.name
        if random.random() < 0.3:
            place = random.randrange(1, len(name) - 1)
            name = name[:place] + name[place + 1 :]
        domain = company.domain if random.random() < 0.5 else None
        return f"{name} {random.choice(_FORMS)}".strip(), domain, company.city, company.country
    name = f"{random.choice(_WORDS)}{random.choice(_WORDS).lower()} {random.choice(_TRADES)} {random.choice(_FORMS)}".strip()
    return f"{name}", f"{name.split()[0].lower()}-{number}.example" if number % 2 else None, "Leeds", "United Kingdom"


def _on(now: datetime, lead: dict[str, Any]) -> dict[str, Any]:
    visited = (now - timedelta(days=lead["days_ago"])).strftime("%Y-%m-%dT%H:%M:%S")
    return {name: value for name, value in lead.items() if name != "days_ago"} | {
        "lastVisit": visited,
        "firstVisit": visited,
    }
