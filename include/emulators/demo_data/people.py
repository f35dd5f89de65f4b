"""The people of the made-up companies: Contacts of those that are Accounts, Leads of the others, and a few Leads who are Contacts, too."""

from __future__ import annotations

from random import Random
from typing import Any

from emulators.demo_data.companies import Company, companies

CONTACTS_PER_ACCOUNT, LEADS_PER_COMPANY = 3, 4
_FIRST = (
    "Anna",
    "Bram",
    "Clara",
    "Daan",
    "Eva",
    "Femke",
    "Gijs",
    "Hanna",
    "Iris",
    "Joost",
    "Kees",
    "Lotte",
    "Mila",
    "Noor",
    "Otto",
    "Pien",
)
_LAST = (
    "Bakker",
    "de Boer",
    "Dijkstra",
    "van den Berg",
    "Hendriks",
    "Jansen",
    "Kok",
    "de Lange",
    "Mulder",
    "Peters",
    "Smit",
    "Visser",
)
_TITLES = (
    "Buyer",
    "CFO",
    "CIO",
    "Developer",
    "Head of IT",
    "Marketing Manager",
    "Operations Manager",
    "Security Officer",
)
_SOURCES = ("Web", "Phone Inquiry", "Partner Referral", "Other")


def contacts(account_ids: dict[str, str]) -> list[dict[str, Any]]:
    """Contacts to seed, on the Accounts with these ids by company name. Every tenth has no e-mail address."""
    random = Random("contacts")
    rows = []
    for company in companies():
        for number in range(CONTACTS_PER_ACCOUNT if company.name in account_ids else 0):
            person = _person(random, company, number)
            rows.append(
                person
                | {
                    "AccountId": account_ids[company.name],
                    "MailingCity": company.city,
                    "MailingCountry": company.country,
                }
            )
    return rows


def leads() -> list[dict[str, Any]]:
    """Leads to seed. The first of each company shares a Contact's address where the company has Contacts."""
    random = Random("leads")
    rows = []
    for index, company in enumerate(companies()):
        if company.is_account and index % 10:
            continue
        shared = {"Email": _address(company, 1)} if company.is_account else {}
        for number in range(LEADS_PER_COMPANY):
            person = _person(random, company, number + 100) | (shared if number == 0 else {})
            rows.append(person | {"Company": company.name, "City": company.city, "Country": company.country})
    return rows


def _person(random: Random, company: Company, number: int) -> dict[str, Any]:
    first, last = random.choice(_FIRST), random.choice(_LAST)
    return {
        "FirstName": first, "LastName": last, "Title": random.choice(_TITLES), "LeadSource": random.choice(_SOURCES),
        "Email": None if random.random() < 0.1 else _address(company, number), "Deployteq_Opt_In__c": random.random() < 0.6,
    }  # fmt: skip


def _address(company: Company, number: int) -> str:
    return f"person{number}@{company.domain}.example"
