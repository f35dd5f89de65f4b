"""The demo's Salesforce org: the Accounts of the made-up companies, their Contacts, and Leads."""

from __future__ import annotations

from typing import Any

from emulators.demo_data.companies import accounts
from emulators.demo_data.people import contacts, leads
from emulators.salesforce.org import Org


def seed_demo(org: Org) -> None:
    rows = accounts()
    ids = dict(zip((str(row["Name"]) for row in rows), _insert(org, "Account", rows), strict=True))
    _insert(org, "Contact", contacts(ids))
    _insert(org, "Lead", leads())


def _insert(org: Org, object_name: str, rows: list[Any]) -> list[str]:
    results = org.dml.insert(org.schema.objects[object_name], rows)
    problems = [str(result.error) for result in results if result.error]
    if problems:
        raise ValueError(f"the demo's {object_name}s do not fit the org: {problems[0]}")
    return [str(result.id) for result in results]
