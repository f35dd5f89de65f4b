"""Signals: what recent intent means for the people who work in Salesforce. Each is switched on by name in `peerspot_signals`.

churn               a Task for the owner of a customer's Account whose people look at a competitor; one per Account and month
open_opportunities  last visit and number of visits on the open Opportunities of Accounts that are looking
win_back            a Task for the owner of a lost Opportunity whose Account is looking again; one per Opportunity and month
nurture             dormant Leads of companies that are looking become members of the Campaign in `peerspot_nurture_campaign`
prospects           a CSV of the companies that are looking and are no customers, in `peerspot_prospects_path`
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from salesforce_sync.engine.context import Context, first_refusals, refuse_too_many
from salesforce_sync.engine.derive import Derived, derived
from salesforce_sync.engine.to_salesforce import deliver_made
from salesforce_sync.errors import HeldBack, TooManyRejects
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.privacy import spreadsheet_text
from salesforce_sync.records import Counts, RecordResult, WriteResult
from salesforce_sync.salesforce.rows import Operation, WriteRequest
from salesforce_sync.salesforce.soql import in_lists
from salesforce_sync.systems.peerspot.process import has_own_product

log = logging.getLogger(__name__)

STEP = "peerspot/signals"
TASKS, MEMBERS = "peerspot/signal_tasks", "peerspot/campaign_members"
OBJECTS = ("PeerSpot_Activity__c", "PeerSpot_Activity_Product__c", "PeerSpot_Vendor_Product__c", "Account")
RECENT = timedelta(days=14)  # the span of PeerSpot's own reports on companies that are looking
LOST_WITHIN = timedelta(days=365)
DORMANT = timedelta(days=90)
CUSTOMER = "customer"  # every Account.Type that begins like this: Customer - Direct, Customer - Channel
PROSPECT_COLUMNS = ("company", "domain", "country", "visits", "products", "last_visit", "account")


@dataclass(frozen=True)
class SignalRules:
    """What to do. `campaign_id` is the nurture campaign, `prospects_path` the file to write; both only with their signal."""

    enabled: frozenset[str]
    today: date
    campaign_id: str = ""
    prospects_path: Path | None = None


@dataclass(frozen=True)
class SignalMappings:
    """The two mappings that the step loads by."""

    tasks: MappingFile
    members: MappingFile


@dataclass
class Company:
    """Who was looking lately: an Account, or a domain without one."""

    name: str
    domain: str
    country: str
    account_id: str | None
    is_customer: bool
    owner_id: str | None
    activities: set[str] = field(default_factory=set)
    products: set[str] = field(default_factory=set)
    competitors: set[str] = field(default_factory=set)
    last_visit: date = date.min


def signals(context: Context, mappings: SignalMappings, rules: SignalRules) -> Counts:
    """Acts on the activities of the last fortnight; gives what became of the records that it wrote."""
    with derived(context, STEP, ["Opportunity", "Task", "CampaignMember"]) as flow:
        work = _Signals(context, flow, mappings, rules)
        work.run_all()
    refuse_too_many(flow.run.counts, STEP, first_refusals(work.results))
    return flow.run.counts


@dataclass
class _Signals:
    context: Context
    flow: Derived
    mappings: SignalMappings
    rules: SignalRules
    results: list[RecordResult] = field(default_factory=list)
    refused: TooManyRejects | HeldBack | None = None  # what the step ends with, once all signals had their turn

    def run_all(self) -> None:
        enabled, today = self.rules.enabled, self.rules.today
        self.context.salesforce.describe(OBJECTS)  # together, which costs one call
        companies = list(self._companies().values())
        accounts = {company.account_id: company for company in companies if company.account_id}
        tasks: list[dict[str, Any]] = []
        if "churn" in enabled and self._has_own_product():
            tasks += [
                _churn_task(company, today)
                for company in accounts.values()
                if company.is_customer and company.competitors
            ]
        if enabled & {"open_opportunities", "win_back"}:
            opportunities = self._opportunities(accounts)
            if "open_opportunities" in enabled:
                self._update_opportunities(opportunities, accounts)
            if "win_back" in enabled:
                tasks += [
                    _win_back_task(row, accounts[row["AccountId"]], today) for row in opportunities if row["IsClosed"]
                ]
        if self._create(TASKS, self.mappings.tasks, tasks):
            self._note_tasks_without_owner(tasks)
        if "nurture" in enabled:
            self._create(MEMBERS, self.mappings.members, self._members(companies))
        is_real = self.context.dry is None
        if "prospects" in enabled and self.rules.prospects_path is not None and is_real:
            write_prospects(self.rules.prospects_path, companies)
        if self.refused is not None:
            raise self.refused

    def _note_tasks_without_owner(self, tasks: Sequence[Mapping[str, Any]]) -> None:
        ownerless = sum(task["owner"] is None for task in tasks)
        if ownerless:
            told = (
                f"{ownerless} Tasks are the integration user's: whoever owns their Accounts or Opportunities has left."
            )
            self.flow.run.notes.append(told)
            log.warning(told)

    def _companies(self) -> dict[str, Company]:
        """The companies of the last fortnight's activities, by Account or, without one, by domain."""
        found: dict[str, Company] = {}
        by_activity: dict[str, Company] = {}
        since = (self.rules.today - RECENT).isoformat()
        fields = "Id, Company_Name__c, Account_Domain__c, Country__c, Date_Visited__c, Account__c"
        account = "Account__r.Name, Account__r.Type, Account__r.OwnerId, Account__r.Owner.IsActive"
        for table in self.context.salesforce.read(
            f"SELECT {fields}, {account} FROM PeerSpot_Activity__c WHERE Date_Visited__c >= {since}"
        ):
            for row in table.to_pylist():
                key = row["Account__c"] or row["Account_Domain__c"]
                if key is None:
                    continue
                company = found.setdefault(key, _company(row))
                company.activities.add(row["Id"])
                company.last_visit = max(company.last_visit, row["Date_Visited__c"])
                by_activity[row["Id"]] = company
        ties = "SELECT Activity__c, Vendor_Product__r.Name, Vendor_Product__r.My_Company_Product__c FROM PeerSpot_Activity_Product__c"
        for table in self.context.salesforce.read(f"{ties} WHERE Activity__r.Date_Visited__c >= {since}"):
            for row in table.to_pylist():
                product, seen = row["Vendor_Product__r.Name"], by_activity.get(row["Activity__c"])
                if seen is not None and product:
                    seen.products.add(product)
                    if not row["Vendor_Product__r.My_Company_Product__c"]:
                        seen.competitors.add(product)
        return found

    def _has_own_product(self) -> bool:
        """Whether any Vendor Product is marked as ours; while none is, every product would look like a competitor's."""
        found = has_own_product(self.context)
        if not found:
            self.flow.run.notes.append("No churn Tasks: no Vendor Product is marked as My Company Product.")
            log.warning(self.flow.run.notes[-1])
        return found

    # -- Opportunities ------------------------------------------------------------------------------------------------------------

    def _opportunities(self, accounts: Mapping[str, Company]) -> list[dict[str, Any]]:
        """The Opportunities of these Accounts that are open, or were lost within a year."""
        lost_since = (self.rules.today - LOST_WITHIN).isoformat()
        fields = (
            "Id, Name, AccountId, OwnerId, Owner.IsActive, IsClosed, PeerSpot_Last_Visit__c, PeerSpot_Visits_14d__c"
        )
        condition = f"(IsClosed = false OR (IsWon = false AND CloseDate >= {lost_since}))"
        return [
            row
            for listed in in_lists(sorted(accounts))
            for table in self.context.salesforce.read(
                f"SELECT {fields} FROM Opportunity WHERE AccountId IN ({listed}) AND {condition}"
            )
            for row in table.to_pylist()
        ]

    def _update_opportunities(self, opportunities: Iterable[dict[str, Any]], accounts: Mapping[str, Company]) -> None:
        changes: list[tuple[str, date, float]] = []
        for row in opportunities:
            company = accounts[row["AccountId"]]
            wanted = (company.last_visit, float(len(company.activities)))
            if not row["IsClosed"] and (row["PeerSpot_Last_Visit__c"], row["PeerSpot_Visits_14d__c"]) != wanted:
                changes.append((row["Id"], *wanted))
        if not changes:
            return
        ids, visits, counts = zip(*changes, strict=True)
        table = pa.table(
            {
                "Id": list(ids),
                "PeerSpot_Last_Visit__c": pa.array(visits, pa.date32()),
                "PeerSpot_Visits_14d__c": list(counts),
            }
        )

        def make(row: dict[str, Any], result: WriteResult) -> RecordResult:
            return RecordResult(row["Id"], result.outcome, row["Id"], result.code, result.message)

        self.results += self.flow.write(WriteRequest("Opportunity", Operation.UPDATE), table, make)

    # -- Tasks and Campaign Members -----------------------------------------------------------------------------------------------

    def _create(self, name: str, mapping: MappingFile, records: list[dict[str, Any]]) -> int:
        """Creates what was not created before: these mappings are create-only. Gives how many."""
        if not records:
            return 0
        try:
            return deliver_made(self.context, self.flow.lease, name, mapping, records).total.created
        except (TooManyRejects, HeldBack) as error:  # the other signals have nothing to do with it
            self.refused = error
            return 0

    def _members(self, companies: Iterable[Company]) -> list[dict[str, Any]]:
        """Members to be: unconverted Leads of these companies that nobody has been in touch with lately."""
        quiet_since = (self.rules.today - DORMANT).isoformat()
        campaign = self.rules.campaign_id
        condition = f"IsConverted = false AND (LastActivityDate = null OR LastActivityDate < {quiet_since})"
        leads = [
            row["Id"]
            for listed in in_lists(sorted({company.name for company in companies if company.name}))
            for table in self.context.salesforce.read(
                f"SELECT Id FROM Lead WHERE Company IN ({listed}) AND {condition}"
            )
            for row in table.to_pylist()
        ]
        already = {
            row["LeadId"]
            for listed in in_lists(leads)
            for table in self.context.salesforce.read(
                f"SELECT LeadId FROM CampaignMember WHERE CampaignId = '{campaign}' AND LeadId IN ({listed})"
            )
            for row in table.to_pylist()
        }
        return [
            {"id": f"{campaign}:{lead}", "campaign": campaign, "lead": lead} for lead in leads if lead not in already
        ]


def _owner(row: Mapping[str, Any], owner: str, is_active: str) -> str | None:
    """The owner of the Task; None where the record's owner has left: Salesforce gives such a user nothing new, and the Task becomes the
    integration user's."""
    return row[owner] if row[is_active] else None


def _company(row: Mapping[str, Any]) -> Company:
    kind = str(row["Account__r.Type"] or "").lower()
    name = row["Account__r.Name"] or row["Company_Name__c"] or ""
    return Company(
        name,
        row["Account_Domain__c"] or "",
        row["Country__c"] or "",
        row["Account__c"],
        kind.startswith(CUSTOMER),
        _owner(row, "Account__r.OwnerId", "Account__r.Owner.IsActive"),
    )


def _churn_task(company: Company, today: date) -> dict[str, Any]:
    products = ", ".join(sorted(company.competitors))
    return {
        "id": f"churn:{company.account_id}:{today:%Y-%m}",
        "subject": "PeerSpot: this customer is looking at the competition",
        "description": f"{company.name} looked at {products}; last on {company.last_visit}.",
        "related_to": company.account_id, "owner": company.owner_id, "due": today.isoformat(), "priority": "High",
    }  # fmt: skip


def _win_back_task(opportunity: Mapping[str, Any], company: Company, today: date) -> dict[str, Any]:
    return {
        "id": f"win-back:{opportunity['Id']}:{today:%Y-%m}",
        "subject": "PeerSpot: this lost opportunity is looking again",
        "description": f"{company.name} looked at {', '.join(sorted(company.products)) or 'PeerSpot'}; last on {company.last_visit}.",
        "related_to": opportunity["Id"], "owner": _owner(opportunity, "OwnerId", "Owner.IsActive"), "due": today.isoformat(), "priority": "Normal",
    }  # fmt: skip


def write_prospects(path: Path, companies: Iterable[Company]) -> None:
    """Writes the companies that are no customers as CSV, those with the most visits first; the file is replaced whole."""
    prospects = sorted(
        (company for company in companies if not company.is_customer),
        key=lambda company: (-len(company.activities), company.name),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "w", newline="", encoding="utf-8", opener=_for_the_owner) as file:
        writer = csv.writer(
            file, quoting=csv.QUOTE_ALL
        )  # else a semicolon in a name begins a new cell in some countries
        writer.writerow(PROSPECT_COLUMNS)
        for company in prospects:
            products = "; ".join(sorted(company.products))
            writer.writerow([
                *map(spreadsheet_text, (company.name, company.domain, company.country)), len(company.activities),
                spreadsheet_text(products), company.last_visit, company.account_id or "",
            ])  # fmt: skip
    unfinished.replace(path)
    log.info("%s: %d prospects in %s", STEP, len(prospects), path)


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
