"""Companies: what the activities of the last 60 days say of each company, one PeerSpot_Company__c per registrable domain.

The reports stand on these records, because a report can neither count the rows of a group nor say that none of them is ours. What they
ask is kept as dates, which stay true as days pass: a company has had more than four activities in the last 60 days exactly while the date
of its fifth latest visit lies within them.
"""

from __future__ import annotations

import logging
from bisect import insort
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from salesforce_sync.engine.context import Context, require_objects
from salesforce_sync.engine.derive import derived
from salesforce_sync.engine.to_salesforce import deliver_made
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import Counts

log = logging.getLogger(__name__)

STEP, COMPANIES, OBJECT = "peerspot/company_activity", "peerspot/companies", "PeerSpot_Company__c"
SPAN = timedelta(days=60)  # the longest span that a report of the pack asks for: PS-56
MANY = 5  # visits; "> 4 activities"


@dataclass
class Seen:
    """One company's visits."""

    name: str | None = None
    country: str | None = None
    account: str | None = None
    latest: list[date] = field(default_factory=list)  # the dates of the MANY latest visits, the earliest first
    visits: int = 0
    pages: int = 0
    products: set[str] = field(default_factory=set)
    my_product_visit: date | None = None
    competitor_visit: date | None = None

    def add_visit(self, row: dict[str, Any]) -> None:
        day = row["Date_Visited__c"]
        is_latest = not self.latest or day >= self.latest[-1]
        self.name = _chosen(row["Company_Name__c"], self.name, is_latest)
        self.country = _chosen(row["Country__c"], self.country, is_latest)
        self.account = _chosen(row["Account__c"], self.account, is_latest)
        insort(self.latest, day)
        self.latest = self.latest[-MANY:]
        self.visits += 1
        self.pages += int(row["Pages_Visited__c"] or 0)

    def add_product(self, name: str, *, mine: bool, day: date) -> None:
        self.products.add(name)
        if mine:
            self.my_product_visit = max(day, self.my_product_visit or day)
        else:
            self.competitor_visit = max(day, self.competitor_visit or day)

    def record(self, domain: str, with_open_opportunity: set[str]) -> dict[str, Any]:
        return {
            "domain": domain, "name": self.name or domain, "country": self.country, "account": self.account,
            "products": ", ".join(sorted(self.products)), "visits": self.visits, "pages": self.pages,
            "last_visit": self.latest[-1].isoformat(), "fifth_latest_visit": _iso(self.latest[0] if len(self.latest) == MANY else None),
            "my_product_visit": _iso(self.my_product_visit), "competitor_visit": _iso(self.competitor_visit),
            "open_opportunity": self.account in with_open_opportunity,
        }  # fmt: skip


def _chosen(new: str | None, old: str | None, is_latest: bool) -> str | None:
    """What the latest visit that says anything says."""
    return new if new and (is_latest or not old) else old


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def companies(context: Context, mapping: MappingFile, *, today: date, resend: bool = False) -> Counts:
    """Brings PeerSpot_Company__c up to date with the activities of the 60 days before `today`; gives what became of the companies.

    An activity without a registrable domain, one from a public mail domain say, belongs to no company.
    """
    since = (today - SPAN).isoformat()
    with derived(context, STEP, [OBJECT]) as flow:
        require_objects(
            context,
            ["PeerSpot_Activity__c", "PeerSpot_Activity_Product__c", "PeerSpot_Vendor_Product__c", "Opportunity"],
        )
        seen = _visits(context, since)
        _add_products(context, since, seen)
        open_accounts = _with_open_opportunity(context, since)
        records = [company.record(domain, open_accounts) for domain, company in sorted(seen.items())]
        return deliver_made(context, flow.lease, COMPANIES, mapping, records, resend=resend).total


def _visits(context: Context, since: str) -> dict[str, Seen]:
    """The companies by domain, with their visits."""
    fields = "Account_Domain__c, Company_Name__c, Country__c, Account__c, Date_Visited__c, Pages_Visited__c"
    found: dict[str, Seen] = {}
    for table in context.salesforce.read(
        f"SELECT {fields} FROM PeerSpot_Activity__c WHERE Date_Visited__c >= {since} AND Account_Domain__c != null"
    ):
        for row in table.to_pylist():
            found.setdefault(row["Account_Domain__c"], Seen()).add_visit(row)
    return found


def _add_products(context: Context, since: str, seen: dict[str, Seen]) -> None:
    fields = "Activity__r.Account_Domain__c, Activity__r.Date_Visited__c, Vendor_Product__r.Name, Vendor_Product__r.My_Company_Product__c"
    condition = f"Activity__r.Date_Visited__c >= {since} AND Activity__r.Account_Domain__c != null AND Vendor_Product__c != null"
    for table in context.salesforce.read(f"SELECT {fields} FROM PeerSpot_Activity_Product__c WHERE {condition}"):
        for row in table.to_pylist():
            company = seen.get(row["Activity__r.Account_Domain__c"])
            if company is not None:  # else the activity came after the visits were read: the next run takes it
                mine = row["Vendor_Product__r.My_Company_Product__c"]
                company.add_product(row["Vendor_Product__r.Name"], mine=mine, day=row["Activity__r.Date_Visited__c"])


def _with_open_opportunity(context: Context, since: str) -> set[str]:
    """The Accounts of these activities that have an open Opportunity."""
    accounts = f"SELECT Account__c FROM PeerSpot_Activity__c WHERE Date_Visited__c >= {since}"
    soql = f"SELECT AccountId FROM Opportunity WHERE IsClosed = false AND AccountId IN ({accounts})"
    return {row["AccountId"] for table in context.salesforce.read(soql) for row in table.to_pylist()}
