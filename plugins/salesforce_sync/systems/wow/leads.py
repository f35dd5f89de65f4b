"""Company leads: read by the days of their visits, matched with what Salesforce has, decided about, and created."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Protocol

from salesforce_sync.engine.accounts import refresh_accounts
from salesforce_sync.engine.context import Context, sync_run
from salesforce_sync.engine.lease import hold
from salesforce_sync.engine.plan import loggable_id
from salesforce_sync.engine.read import reading
from salesforce_sync.engine.to_salesforce import deliver_made
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.paths import as_text, value_at
from salesforce_sync.matching.companies import Companies, find_matches
from salesforce_sync.matching.domains import registrable_domain
from salesforce_sync.matching.rules import (
    CREATE,
    DOMAIN,
    NAME,
    NOTHING_BELOW,
    SIMILAR,
    THERE,
    Candidate,
    propose,
    trusted_rules,
)
from salesforce_sync.records import Counts
from salesforce_sync.salesforce.query import PAGES_PER_CALL
from salesforce_sync.salesforce.soql import in_lists
from salesforce_sync.state import account_domains, account_names, company_leads, coverage, links
from salesforce_sync.state.account_names import AccountName
from salesforce_sync.state.company_leads import CHECKED, NOT_CHECKED, CompanyLead, Stored
from salesforce_sync.state.engine import chunks
from salesforce_sync.state.engine import reading as looking
from salesforce_sync.windows import DateWindow

log = logging.getLogger(__name__)

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
STREAM = "wow/company_leads"
MAPPING = "wow/leads"
SHOWN = 5  # candidates of a lead that people are shown
THERE_SCORE = 0.9  # of a Lead or Contact that is there: enough that nothing is decided without a person


class LeadSource(Protocol):
    """WOW's hook, as far as reading needs it."""

    def read(self, kind: str, *, window: DateWindow) -> Iterator[list[dict[str, Any]]]: ...


# -- reading -----------------------------------------------------------------------------------------------------------


def read_leads(context: Context, source: LeadSource, kinds: Sequence[str], *, today: date, oldest: date) -> int:
    """Keeps the leads that visited since yesterday, and on days that nobody read; gives how many. What was read and what
    counts as read are one transaction."""
    with reading(context, STREAM, name=f"{STREAM}/extract") as work:
        yesterday = today - timedelta(days=1)
        with work.lease.transaction() as connection:
            coverage.begin(connection, context.org, STREAM, yesterday)
        with looking(context.state) as connection:
            missing = coverage.missing(connection, context.org, STREAM, first=oldest, last=yesterday)
        days = sorted({yesterday, today, *missing})
        found: dict[str, CompanyLead] = {}
        for window in _windows(days):
            for kind in kinds:
                for page in source.read(kind, window=window):
                    read = (lead_of(record, day=window.last) for record in page)
                    found |= {lead.lead_id: lead for lead in read if lead is not None}
        with work.lease.transaction() as connection:
            for part in chunks(list(found.values())):
                company_leads.save(connection, context.org, part)
            coverage.cover(connection, context.org, STREAM, [day for day in days if day < today], reading=work.number)
            work.run.counts += Counts(read=len(found))
            work.lease.release(connection)
    return len(found)


def _windows(days: Sequence[date]) -> Iterator[DateWindow]:
    """The days as spans without gaps."""
    first = last = days[0]
    for day in days[1:]:
        if day != last + timedelta(days=1):
            yield DateWindow(first, last)
            first = day
        last = day
    yield DateWindow(first, last)


def lead_of(record: Mapping[str, Any], *, day: date) -> CompanyLead | None:
    """A lead as WOW gives it, when it was asked for the days up to `day`; None for one without an id or a company's name."""
    lead_id, name = (
        as_text(record.get("id")),
        as_text(value_at(record, "company.name")) or as_text(record.get("companyName")),
    )
    if lead_id is None or name is None:
        return None
    lead_id = loggable_id(lead_id, lead_id)
    given = {path: as_text(value_at(record, path)) for path in CONTENT.values()}
    content = {"permalink": lead_id} | {name: given[path] for name, path in CONTENT.items() if given[path]}
    domain = registrable_domain(given["company.domain"]) if given["company.domain"] else None
    visited = (as_text(record.get("lastVisit")) or "")[:10]
    visited = visited if _DAY.fullmatch(visited) else day.isoformat()
    return CompanyLead(lead_id, name, domain, given["company.city"], content | {"company": name}, visited)


# What is kept of a lead: our name -> the path at the vendor.
CONTENT = {
    "permalink": "permaLink", "type": "type", "email": "emailAddress", "website": "company.domain", "street": "company.street",
    "city": "company.city", "county": "company.county", "postal_code": "company.postCode", "country": "company.country",
    "phone": "company.phoneNumber", "industry": "company.industry", "first_name": "contact.firstName", "last_name": "contact.lastName",
    "position": "contact.position", "first_visit": "firstVisit", "last_visit": "lastVisit", "band": "leadBand", "score": "totalScore",
}  # fmt: skip


# -- matching ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MatchRules:
    """`automatic`: whether what is clear is decided without a person; `threshold` and `precision` say what is clear."""

    automatic: bool = False
    threshold: float = 0.92
    precision: float = 0.95


def match_leads(context: Context, rules: MatchRules) -> dict[str, int]:
    """Finds candidates for all leads that were not checked, and decides what the rules may; gives how many leads are in
    which state. Costs two calls, and one when there is nothing to check."""
    with hold(context, [STREAM]), sync_run(context, f"{STREAM}/match") as run:
        refresh_accounts(context)
        with context.state.begin() as connection:
            reopened = company_leads.reopen(connection, context.org)
        if reopened:
            run.notes.append(f"{reopened:,} companies are to be looked at again: their Account is gone.")
        with looking(context.state) as connection:
            leads = company_leads.of_state(connection, context.org, NOT_CHECKED)
        found = _candidates(context, leads) if leads else {}
        with context.state.begin() as connection:
            company_leads.check(connection, context.org, found)
        if rules.automatic:
            _decide(context, rules)
        with looking(context.state) as connection:
            counts = company_leads.counts(connection, context.org)
        run.counts += Counts(read=len(leads), unchanged=len(leads))
        run.notes.append("Company leads: " + ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())))
    return counts


def _candidates(context: Context, leads: Sequence[Stored]) -> dict[str, list[Candidate]]:
    with looking(context.state) as connection:
        accounts = account_names.to_match(connection, context.org)
        domains = sorted({lead.domain for lead in leads if lead.domain})
        by_domain = account_domains.candidates(connection, context.org, domains)
    ids = accounts.column("account_id").combine_chunks()
    known = Companies.of(accounts.column("name").combine_chunks(), accounts.column("city").combine_chunks())
    wanted = Companies.of([lead.name for lead in leads], [lead.city for lead in leads])
    matches = find_matches(known, wanted)
    found: dict[str, list[Candidate]] = {}
    for number, (lead, similar) in enumerate(zip(leads, matches, strict=True)):
        rows: dict[str, Candidate] = {}
        for account in by_domain.get(lead.domain or "", []):
            rows[account.account_id] = Candidate(
                account.account_id, "Account", "", 1.0, DOMAIN, (f"same domain {lead.domain}",)
            )
        for match in similar:
            account_id = ids[match.place].as_py()
            if account_id in rows:
                rows[account_id] = rows[account_id]._replace(evidence=rows[account_id].evidence + match.evidence)
            elif match.score >= NOTHING_BELOW:
                is_same = known.names.key(match.place) == wanted.names.key(number)
                evidence = ("same name", *match.evidence) if is_same else match.evidence
                rows[account_id] = Candidate(
                    account_id, "Account", "", match.score, NAME if is_same else SIMILAR, evidence
                )
        found[lead.lead_id] = sorted(rows.values(), key=lambda item: (-item.score, item.id))[:SHOWN]
    return _shown(context, leads, found)


def _shown(context: Context, leads: Sequence[Stored], found: dict[str, list[Candidate]]) -> dict[str, list[Candidate]]:
    """The candidates with what people are shown of them, and beside them Leads and Contacts that are there already."""
    ids = sorted({item.id for candidates in found.values() for item in candidates})
    with looking(context.state) as connection:
        accounts = account_names.find(connection, context.org, ids)
    owners, there = _look_up(context, leads, {account.owner_id for account in accounts.values() if account.owner_id})
    for lead in leads:
        shown = [_with_account(item, accounts.get(item.id), owners) for item in found[lead.lead_id]]
        found[lead.lead_id] = [*shown, *there.get(lead.lead_id, [])]
    return found


def _with_account(item: Candidate, account: AccountName | None, owners: Mapping[str, str]) -> Candidate:
    if account is None:
        return item
    owner = owners.get(account.owner_id or "")
    return item._replace(name=account.name, address=account.address, phone=account.phone, owner=owner)


def _look_up(
    context: Context, leads: Sequence[Stored], owner_ids: set[str]
) -> tuple[dict[str, str], dict[str, list[Candidate]]]:
    """Names of owners by id; and by lead, Leads with its company's name, and Leads and Contacts with its e-mail address."""
    names = in_lists(sorted({lead.name for lead in leads}))
    emails = list(in_lists(sorted({str(lead.content["email"]) for lead in leads if lead.content.get("email")})))
    asked = [
        *(
            f"SELECT Id, Company, Name, Email FROM Lead WHERE IsConverted = false AND Company IN ({part})"
            for part in names
        ),
        *(
            f"SELECT Id, Company, Name, Email FROM Lead WHERE IsConverted = false AND Email IN ({part})"
            for part in emails
        ),
        *(f"SELECT Id, Name, Email, AccountId FROM Contact WHERE Email IN ({part})" for part in emails),
        *(f"SELECT Id, Name FROM User WHERE Id IN ({part})" for part in in_lists(sorted(owner_ids))),
    ]
    context.salesforce.describe(["Lead", "Contact", "User"])  # in one call, if they are new
    rows: dict[str, dict[str, Any]] = {}
    for together in chunks(asked, PAGES_PER_CALL):
        for table in context.salesforce.read_together(together):
            rows |= {row["Id"]: row for row in table.to_pylist()}
    owners = {record_id: row["Name"] for record_id, row in rows.items() if set(row) == {"Id", "Name"}}
    by_company, by_email = _by(rows.values(), "Company"), _by(rows.values(), "Email")
    there: dict[str, list[Candidate]] = {}
    for lead in leads:
        email = str(lead.content.get("email") or "").lower()
        found = {row["Id"]: "of this company" for row in by_company.get(lead.name.lower(), [])}
        found = {row["Id"]: "with this e-mail address" for row in by_email.get(email, []) if email} | found
        there[lead.lead_id] = [_already_there(rows[record_id], why) for record_id, why in found.items()]
    return owners, there


def _by(rows: Iterable[dict[str, Any]], name: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row.get(name):
            found.setdefault(str(row[name]).lower(), []).append(row)
    return found


def _already_there(row: Mapping[str, Any], why: str) -> Candidate:
    kind = "Lead" if "Company" in row else "Contact"
    return Candidate(row["Id"], kind, str(row["Name"] or ""), THERE_SCORE, THERE, (f"a {kind} {why} is there",))


def _decide(context: Context, rules: MatchRules) -> None:
    """What the rules may decide, of leads that wait for a person."""
    with context.state.begin() as connection:
        org = context.org
        trusted = trusted_rules(company_leads.tally(connection, org), rules.precision)
        for lead in company_leads.of_state(connection, org, CHECKED):
            if lead.action is not None:
                continue
            proposal = propose(lead.candidates, threshold=rules.threshold, trusted=trusted)
            if proposal.action is None:
                continue
            target = proposal.candidate.id if proposal.candidate else None
            why = "; ".join(proposal.candidate.evidence) if proposal.candidate else "nothing in Salesforce is like it"
            company_leads.decide(
                connection, org, lead, action=proposal.action, salesforce_id=target, reason=why, rule=proposal.rule
            )  # fmt: skip


# -- creating ----------------------------------------------------------------------------------------------------------


def create_leads(context: Context, mapping: MappingFile, *, last_name: str) -> Counts:
    """Creates Leads of the companies of which that was decided; gives the counts. A Lead is known by its company's permalink
    in a unique field, so that none is created twice."""
    with hold(context, [STREAM, mapping.salesforce.object]) as lease:
        with looking(context.state) as connection:
            decided = company_leads.of_state(connection, context.org, CHECKED)
        wanted = [lead for lead in decided if lead.action == CREATE]
        records = [record_of(lead, last_name=last_name) for lead in wanted]
        delivered = deliver_made(context, lease, MAPPING, mapping, records) if records else None
        names = {str(lead.content["permalink"]): lead.lead_id for lead in wanted}
        with context.state.begin() as connection:
            known = links.find(connection, context.org, MAPPING, list(names))
            made = {names[name]: link.salesforce_id for name, link in known.items() if not link.gone}
            company_leads.created(connection, context.org, made)
    return delivered.total if delivered else Counts()


def record_of(lead: Stored, *, last_name: str) -> dict[str, Any]:
    """What the mapping makes a Lead of."""
    content = dict(lead.content)
    if last_name == "company" or not content.get("last_name"):
        content |= {"last_name": lead.name, "first_name": None}
    return content


def purge_leads(context: Context, *, before: date) -> int:
    """Forgets leads whose last visit was before this day."""
    with context.state.begin() as connection:
        return company_leads.purge(connection, context.org, before=before)
