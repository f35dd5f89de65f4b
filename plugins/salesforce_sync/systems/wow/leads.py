"""Company leads: read by the days of their visits, matched with what Salesforce has, decided about, and created."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

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
from salesforce_sync.matching.names import names_of, without_form
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
from salesforce_sync.salesforce.soql import LIST_CHARACTERS, in_lists, soql_text
from salesforce_sync.state import account_domains, account_names, company_leads, coverage, held_out, links
from salesforce_sync.state.account_names import AccountName
from salesforce_sync.state.company_leads import CHECKED, CREATED, NOT_CHECKED, CompanyLead, Stored
from salesforce_sync.state.engine import chunks
from salesforce_sync.state.engine import reading as looking
from salesforce_sync.windows import DateWindow

log = logging.getLogger(__name__)

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
BELIEVED = timedelta(days=1)  # then the candidates of a lead that waits are looked for again
PERMALINK = "WOW_Permalink__c"
LIKE_LETTERS = 100  # of a company's name, by which Leads are looked for
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
            leads += company_leads.stale(connection, context.org, before=datetime.now(UTC) - BELIEVED)
        found = _candidates(context, leads) if leads else {}
        with context.state.begin() as connection:
            company_leads.check(connection, context.org, found)
        if rules.automatic and found:
            _decide(context, rules, list(found))
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
    known = _look_up(context, leads, {account.owner_id for account in accounts.values() if account.owner_id})
    for lead in leads:
        shown = [_with_account(item, accounts.get(item.id), known.owners) for item in found[lead.lead_id]]
        found[lead.lead_id] = [*shown, *known.there[lead.lead_id]]
    return found


def _with_account(item: Candidate, account: AccountName | None, owners: Mapping[str, str]) -> Candidate:
    if account is None:
        return item
    owner = owners.get(account.owner_id or "")
    return item._replace(name=account.name, address=account.address, phone=account.phone, owner=owner)


class Known(NamedTuple):
    """What Salesforce has: names of owners by id; and by lead, the Lead with its permalink, and all that is there of it: Leads
    with its permalink or its company's name, and Leads and Contacts with its e-mail address."""

    owners: dict[str, str]
    created: dict[str, str]
    there: dict[str, list[Candidate]]


def _look_up(context: Context, leads: Sequence[Stored], owner_ids: Collection[str] = ()) -> Known:
    emails = list(in_lists(sorted({str(lead.content["email"]) for lead in leads if lead.content.get("email")})))
    links_of = in_lists(sorted({str(lead.content["permalink"]) for lead in leads}))
    fields = f"Id, Company, Name, Email, {PERMALINK}"
    asked = [
        *(f"SELECT {fields} FROM Lead WHERE {PERMALINK} IN ({part})" for part in links_of),
        *(
            f"SELECT {fields} FROM Lead WHERE IsConverted = false AND ({part})"
            for part in _like([lead.name for lead in leads])
        ),
        *(f"SELECT {fields} FROM Lead WHERE IsConverted = false AND Email IN ({part})" for part in emails),
        *(f"SELECT Id, Name, Email, AccountId FROM Contact WHERE Email IN ({part})" for part in emails),
        *(f"SELECT Id, Name FROM User WHERE Id IN ({part})" for part in in_lists(sorted(owner_ids))),
    ]
    context.salesforce.describe(["Lead", "Contact", "User"])  # in one call, if they are new
    rows: dict[str, dict[str, Any]] = {}
    for together in chunks(asked, PAGES_PER_CALL):
        for table in context.salesforce.read_together(together):
            rows |= {row["Id"]: row for row in table.to_pylist()}
    owners = {record_id: row["Name"] for record_id, row in rows.items() if set(row) == {"Id", "Name"}}
    own_keys, by_company = _keys([lead.name for lead in leads]), _by(rows.values(), "Company", key=True)
    by_email, by_link = _by(rows.values(), "Email"), _by(rows.values(), PERMALINK)
    known = Known(owners, {}, {})
    for lead, key in zip(leads, own_keys, strict=True):
        email, link = str(lead.content.get("email") or "").lower(), str(lead.content["permalink"]).lower()
        found = {row["Id"]: "with this e-mail address" for row in by_email.get(email, []) if email}
        found |= {row["Id"]: "of this company" for row in by_company.get(key, [])}
        for row in by_link.get(link, []):
            known.created[lead.lead_id] = row["Id"]
            found[row["Id"]] = "with its permalink"
        known.there[lead.lead_id] = [_already_there(rows[record_id], why) for record_id, why in found.items()]
    return known


def _like(names: Sequence[str]) -> Iterator[str]:
    """Conditions for companies whose names begin like these, without their legal forms; each short enough for a query."""
    parts: list[str] = []
    for name in sorted({without_form(name)[:LIKE_LETTERS] for name in names}):
        text = soql_text(re.sub(r"([\\%_])", r"\\\1", name))
        part = f"Company LIKE {text[:-1]}%'"
        if parts and len(quote(" OR ".join([*parts, part]))) > LIST_CHARACTERS:
            yield " OR ".join(parts)
            parts = []
        parts.append(part)
    if parts:
        yield " OR ".join(parts)


def _keys(names: Sequence[str]) -> list[str]:
    found = names_of(names)
    return [found.key(place) for place in range(len(names))]


def _by(rows: Iterable[dict[str, Any]], name: str, *, key: bool = False) -> dict[str, list[dict[str, Any]]]:
    """The rows by what they have in a field, in lower case; with `key`, by what is equal for equal names of companies."""
    having = [row for row in rows if row.get(name)]
    texts = [str(row[name]) for row in having]
    found: dict[str, list[dict[str, Any]]] = {}
    for row, text in zip(having, _keys(texts) if key else map(str.lower, texts), strict=True):
        found.setdefault(text, []).append(row)
    return found


def _already_there(row: Mapping[str, Any], why: str) -> Candidate:
    kind = "Lead" if "Company" in row else "Contact"
    return Candidate(row["Id"], kind, str(row["Name"] or ""), THERE_SCORE, THERE, (f"a {kind} {why} is there",))


def _decide(context: Context, rules: MatchRules, lead_ids: Sequence[str]) -> None:
    """What the rules may decide about these leads, whose candidates were just found. Of several leads of one company one
    is created, and the others wait for a person; so does a lead about which something was decided before."""
    with context.state.begin() as connection:
        org = context.org
        trusted = trusted_rules(company_leads.tally(connection, org), rules.precision)
        decided = [lead for lead in company_leads.of_state(connection, org, CHECKED, CREATED) if lead.action == CREATE]
        taken = set().union(*_identities(decided))
        found = company_leads.find(connection, org, lead_ids)
        before = company_leads.decided_before(connection, org, lead_ids)
        waiting = [found[name] for name in sorted(set(found) - before) if found[name].action is None]
        for lead, keys in zip(waiting, _identities(waiting), strict=True):
            proposal = propose(lead.candidates, threshold=rules.threshold, trusted=trusted)
            if proposal.action is None or (proposal.action == CREATE and keys & taken):
                continue
            target = proposal.candidate.id if proposal.candidate else None
            why = "; ".join(proposal.candidate.evidence) if proposal.candidate else "nothing in Salesforce is like it"
            done = company_leads.decide(
                connection, org, lead, action=proposal.action, salesforce_id=target, reason=why, rule=proposal.rule
            )  # fmt: skip
            taken |= keys if done and proposal.action == CREATE else set()


def _identities(leads: Sequence[Stored]) -> Iterator[set[str]]:
    """Of each lead, by what it and another one are one company."""
    for lead, key in zip(leads, _keys([lead.name for lead in leads]), strict=True):
        known = {"name": key, "mail": str(lead.content.get("email") or "").lower(), "domain": lead.domain}
        yield {f"{kind} {text}" for kind, text in known.items() if text}


# -- creating ----------------------------------------------------------------------------------------------------------


def create_leads(context: Context, mapping: MappingFile, *, last_name: str) -> Counts:
    """Creates Leads of the companies of which that was decided; gives the counts. Nobody decides anything else about them
    from here on. A Lead is known by its company's permalink in a unique field, so that none is created twice; one that has
    it already is left as it is, and one that appeared since the decision opens the question again."""
    with hold(context, [STREAM, mapping.salesforce.object]) as lease:
        _take_back_rejected(context)
        with context.state.begin() as connection:
            assigned = company_leads.assign(connection, context.org)
        wanted = _still_wanted(context, assigned) if assigned else []
        records = [record_of(lead, last_name=last_name) for lead in wanted]
        try:
            delivered = deliver_made(context, lease, MAPPING, mapping, records) if records else None
        finally:
            names = {str(lead.content["permalink"]): lead.lead_id for lead in wanted}
            with context.state.begin() as connection:
                known = links.find(connection, context.org, MAPPING, list(names))
                made = {names[name]: link.salesforce_id for name, link in known.items() if not link.gone}
                company_leads.created(connection, context.org, made)
    return delivered.total if delivered else Counts()


def _still_wanted(context: Context, leads: Sequence[Stored]) -> list[Stored]:
    """The leads that Salesforce has nothing new of since they were decided about."""
    known = _look_up(context, leads)
    wanted, again = [], []
    for lead in leads:
        if lead.lead_id in known.created:
            continue
        if {item.id for item in known.there[lead.lead_id]} <= {item.id for item in lead.candidates}:
            wanted.append(lead)
        else:
            again.append(lead.lead_id)
    with context.state.begin() as connection:
        company_leads.created(connection, context.org, known.created)
        company_leads.open_again(connection, context.org, again)
    return wanted


def _take_back_rejected(context: Context) -> None:
    """Leads that a person rejected or undid: the question is open again."""
    with context.state.begin() as connection:
        if not held_out.any_of(connection, context.org, MAPPING):
            return
        assigned = company_leads.of_state(connection, context.org, CREATED)
        names = {str(lead.content["permalink"]): lead.lead_id for lead in assigned}
        let_in = {item.record_id for item in held_out.remove(connection, context.org, MAPPING, list(names))}
        company_leads.open_again(connection, context.org, [names[name] for name in let_in])


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
