"""The demo's Salesforce org: the Accounts of the made-up companies."""

from __future__ import annotations

from emulators.demo_data.companies import accounts
from emulators.salesforce.org import Org


def seed_demo(org: Org) -> None:
    results = org.dml.insert(org.schema.objects["Account"], accounts())
    problems = [str(result.error) for result in results if result.error]
    if problems:
        raise ValueError(f"the demo's Accounts do not fit the org: {problems[0]}")
