"""Company leads: read by the days of their visits, matched with what Salesforce has, decided about, and created."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Protocol

from salesforce_sync.engine.accounts import refresh_accounts
from salesforce_sync.engine.context import Context, sync_run
from salesforce_sync.engine.lease import hold
from salesforce_sync.engine.read import reading
from salesforce_sync.engine.to_salesforce import deliver_made
from salesforce_sync.ids import whole_id
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
from salesforce_sync.salesforce.soql import in_lists
from salesforce_sync.state import account_domains, account_names, company_leads, coverage, links
from salesforce_sync.state.account_names import AccountName
from salesforce_sync.state.company_leads import CHECKED, CREATED, NOT_CHECKED, CompanyLead, Stored
from salesforce_sync.state.engine import chunks
from salesforce_sync.state.engine import reading as looking
from salesforce_sync.windows import DateWindow

log = logging.getLogger(__name__)

STREAM = "wow/company_leads"
MAPPING = "wow/leads"
SHOWN = 5  # candidates of a lead that people are shown
LOOKED_UP = 100  # companies that one call looks for among Leads and Contacts


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
                    found |= {lead.lead_id: lead for lead in map(lead_of, page) if lead is not None}
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


def lead_of(record: Mapping[str, Any]) -> CompanyLead | None:
    """A lead as WOW gives it; None for one without an id or a company's name."""
    lead_id, name = (
        as_text(record.get("id")),
        as_text(value_at(record, "company.name")) or as_text(record.get("companyName")),
    )
    if lead_id is None or name is None:
        return None
    given = {path: as_text(value_at(record, path)) for path in CONTENT.values()}
    content = {name: given[path] for name, path in CONTENT.items() if given[path]}
    domain = registrable_domain(given["company.domain"]) if given["company.domain"] else None
    visited = (as_text(record.get("lastVisit")) or "")[:10]
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
    """Names of owners by id; and by lead, Leads with its company's name and people with its e-mail address."""
    owners: dict[str, str] = {}
    there: dict[str, list[Candidate]] = {}
    waiting = sorted(owner_ids)
    context.salesforce.describe(["Lead", "Contact", "User"])  # in one call, if they are new
    for part in chunks(list(leads), LOOKED_UP):
        names = sorted({lead.name for lead in part})
        emails = sorted({str(lead.content["email"]) for lead in part if lead.content.get("email")})
        asked = [
            f"SELECT Id, Company, Name, Email, IsConverted FROM Lead WHERE IsConverted = false AND (Company IN ({_listed(names)})"
            f"{f' OR Email IN ({_listed(emails)})' if emails else ''})"
        ]
        if emails:
            asked.append(f"SELECT Id, Name, Email, AccountId FROM Contact WHERE Email IN ({_listed(emails)})")
        if waiting:
            asked.append(f"SELECT Id, Name FROM User WHERE Id IN ({_listed(waiting[:LOOKED_UP])})")
            waiting = waiting[LOOKED_UP:]
        rows = [row for table in context.salesforce.read_together(asked) for row in table.to_pylist()]
        owners |= {row["Id"]: row["Name"] for row in rows if row["Id"].startswith("005")}
        for lead in part:
            there[lead.lead_id] = list(_already_there(lead, rows))
    return owners, there


def _listed(values: Sequence[str]) -> str:
    (text,) = in_lists(values, characters=1_000_000) if values else ("''",)
    return text


def _already_there(lead: Stored, rows: Sequence[Mapping[str, Any]]) -> Iterator[Candidate]:
    email = str(lead.content.get("email") or "").lower()
    for row in rows:
        same_company = str(row.get("Company") or "").lower() == lead.name.lower()
        same_email = email and str(row.get("Email") or "").lower() == email
        if "Company" in row and (same_company or same_email):
            why = "a Lead of this company is there" if same_company else "a Lead with this e-mail address is there"
            yield Candidate(row["Id"], "Lead", str(row["Name"] or ""), 0.9, THERE, (why,))
        elif "AccountId" in row and same_email:
            yield Candidate(
                row["Id"],
                "Contact",
                str(row["Name"] or ""),
                0.9,
                THERE,
                ("a Contact with this e-mail address is there",),
            )


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
        wanted = [lead for lead in decided if lead.action == CREATE and lead.content.get("permalink")]
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


# -- people ------------------------------------------------------------------------------------------------------------


def is_open(lead: Stored) -> bool:
    """Whether nothing was decided about the lead."""
    return lead.action is None and lead.state != CREATED


def account_id_of(text: str) -> str | None:
    """The 18-character id of an Account; None for what is none."""
    found = whole_id(text.strip())
    return found if found and found.startswith("001") else None


def purge_leads(context: Context, *, before: date) -> int:
    """Forgets leads whose last visit was before this day."""
    with context.state.begin() as connection:
        return company_leads.purge(connection, context.org, before=before)


def open_leads(leads: Iterable[Stored]) -> list[Stored]:
    """Those about which people are to decide."""
    return [lead for lead in leads if is_open(lead)]
