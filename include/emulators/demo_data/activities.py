"""PeerSpot intent activities, made for any day from that day's date alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from random import Random
from typing import Any

from emulators.demo_data.companies import Company, companies

PER_DAY = 180  # 5,400 in 30 days
PRODUCTS = tuple(
    {"id": str(100 + number), "name": name}
    for number, name in enumerate((
        "Demo Firewall", "Demo Gateway", "Rival Firewall", "Rival Gateway", "Other Firewall", "Cloud Guard", "Packet Shield", "Zero Door",
        "Edge Wall", "Net Lantern", "Port Keeper", "Traffic Lens",
    ))
)  # fmt: skip
_CATEGORIES = ("Firewalls", "Secure Web Gateways", "Zero Trust")
_MAIL_DOMAINS = ("gmail.com", "outlook.com", "web.de")


def on_day(day: date, count: int = PER_DAY) -> Iterator[dict[str, Any]]:
    """The day's activities, `count` of them, always the same for the same day and count."""
    random = Random(f"activities {day}")
    known = companies()
    for number in range(count):
        company = (
            known[min(int(random.expovariate(1 / 90)), len(known) - 1)]
            if random.random() < 0.5
            else random.choice(known)
        )
        pages = min(40, int(random.expovariate(1 / 3)) + 1)
        record: dict[str, Any] = {
            "id": f"act-{day:%Y%m%d}-{number:05d}",
            "date_visited": day.isoformat(),
            "company_name": company.name,
            "domain": _as_seen(random, company),
            "country": company.country,
            "state": company.state,
            "city": company.city,
            "partial_ip": f"{random.randint(11, 190)}.{random.randint(0, 255)}.{random.randint(0, 255)}.x",
            "activity": f"Visited {pages} Page{'s' if pages > 1 else ''}",
            "pages_visited": pages,
            "products": random.sample(PRODUCTS, random.choice((0, 1, 1, 1, 1, 1, 1, 1, 2))),
            "category": random.choice(_CATEGORIES),
        }
        if number == 7:  # what the vendor promises not to send, and what a careful receiver must drop all the same
            record |= {
                "partial_ip": f"192.0.2.{random.randint(1, 254)}", "email": "visitor@example.invalid", "first_name": "Fake", "last_name": "Visitor",
                "phone": "+1 555 0100", "activity": f"visitor@example.invalid visited {pages} pages from 198.51.100.23",
            }  # fmt: skip
        if number == 11 and day.day == 15:
            record["pages_visited"] = "many"  # the malformed record of the month
        yield record


def _as_seen(random: Random, company: Company) -> str:
    """The company's domain as a visit shows it."""
    kind = random.random()
    if kind < 0.02:
        return random.choice(_MAIL_DOMAINS)
    if kind < 0.20:
        return f"www.{company.domain}"
    if kind < 0.30:
        return f"vpn.{company.domain}"
    if kind < 0.40:
        return company.domain.upper()
    return company.domain
