"""Company leads: what they are, what was found of them, and what was decided. The last decision counts, and each is kept."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from salesforce_sync.matching.rules import ASSOCIATE, CREATE, Candidate
from salesforce_sync.state.bulk import upsert_rows
from salesforce_sync.state.engine import is_one_of
from salesforce_sync.state.schema import account_names, company_leads, lead_decisions

NOT_CHECKED, CHECKED, CREATED, ASSOCIATED = "not_checked", "checked_no_action", "lead_created", "associated"
# The vendor's own words for the states of its button, and one that it has not.
MEANINGS = {
    NOT_CHECKED: "has not been checked against Salesforce",
    CHECKED: "has not been actioned against CRM yet",
    CREATED: "has been assigned as a new LEAD in Salesforce",
    ASSOCIATED: "is associated with an Account in Salesforce",
}
COLUMNS = ("org", "lead_id", "name", "domain", "city", "content", "mark", "visited_on", "state")
_UNDECIDED: dict[str, Any] = {
    "state": NOT_CHECKED, "action": None, "salesforce_id": None, "person": None, "reason": None, "decided_at": None,
}  # fmt: skip


class CompanyLead(NamedTuple):
    """A company lead as it was read. `content` is what a created Lead is made of."""

    lead_id: str
    name: str
    domain: str | None
    city: str | None
    content: Mapping[str, Any]
    visited_on: str

    @property
    def mark(self) -> str:
        """Changes with whatever it is matched by."""
        text = json.dumps([self.name, self.domain, self.city])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Stored(NamedTuple):
    """A company lead as it is kept."""

    lead_id: str
    name: str
    domain: str | None
    city: str | None
    content: dict[str, Any]
    visited_on: str
    mark: str
    state: str
    candidates: list[Candidate]
    action: str | None
    salesforce_id: str | None
    person: str | None
    decided_at: datetime | None

    @property
    def seen(self) -> str:
        """Changes with whatever a person decides by: the company, and its candidates."""
        text = json.dumps([self.mark, sorted(item.id for item in self.candidates)])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def save(connection: Connection, org: str, leads: Iterable[CompanyLead]) -> None:
    """Keeps the leads as they are now. One of which nothing was decided, and that is matched by something else than before,
    is to be checked again; a decision stays."""
    rows = [
        (org, lead.lead_id, lead.name, lead.domain, lead.city, json.dumps(lead.content), lead.mark, lead.visited_on, NOT_CHECKED)
        for lead in leads
    ]  # fmt: skip
    again = "company_leads.action IS NULL AND company_leads.mark <> excluded.mark"
    changes = {
        "state": f"CASE WHEN {again} THEN excluded.state ELSE company_leads.state END",
        "visited_on": "CASE WHEN company_leads.visited_on > excluded.visited_on THEN company_leads.visited_on ELSE excluded.visited_on END",
    }
    upsert_rows(connection, company_leads, COLUMNS, rows, keep=["state", "visited_on"], changes=changes)


def of_state(connection: Connection, org: str, *states: str) -> list[Stored]:
    """The leads in these states, those with the newest visits first."""
    columns = company_leads.c
    query = select(company_leads).where(columns.org == org, columns.state.in_(states))
    return [
        _stored(row)
        for row in connection.execute(query.order_by(columns.visited_on.desc(), columns.lead_id)).mappings()
    ]


def find(connection: Connection, org: str, lead_ids: Sequence[str]) -> dict[str, Stored]:
    """These leads; what is not there is left out."""
    columns = company_leads.c
    query = select(company_leads).where(columns.org == org, is_one_of(connection, columns.lead_id, lead_ids))
    return {row["lead_id"]: _stored(row) for row in connection.execute(query).mappings()}


def _stored(row: Any) -> Stored:
    known = {name: row[name] for name in Stored._fields if name in row}
    candidates = [Candidate.read(item) for item in json.loads(row["evidence"])]
    return Stored(**known | {"content": json.loads(row["content"]), "candidates": candidates})


def check(connection: Connection, org: str, found: Mapping[str, Sequence[Candidate]]) -> None:
    """Keeps the candidates of these leads: they are checked, unless something was decided meanwhile."""
    columns, now = company_leads.c, datetime.now(UTC)
    for lead_id, candidates in found.items():
        these = (columns.org == org) & (columns.lead_id == lead_id) & columns.action.is_(None)
        evidence = json.dumps([item.as_dict() for item in candidates])
        connection.execute(update(company_leads).where(these).values(evidence=evidence, state=CHECKED, checked_at=now))


def decide(
    connection: Connection,
    org: str,
    lead: Stored,
    *,
    action: str,
    salesforce_id: str | None = None,
    person: str | None = None,
    reason: str = "",
    rule: str | None = None,
) -> bool:
    """Decides about the lead as it was seen; False when somebody has decided since, and nothing is changed.

    `person` is None for a rule. `salesforce_id` is the Account of an association.
    """
    if lead.state == CREATED:
        return False
    columns, now = company_leads.c, datetime.now(UTC)
    as_seen = columns.decided_at.is_(None) if lead.decided_at is None else columns.decided_at == lead.decided_at
    these = (columns.org == org) & (columns.lead_id == lead.lead_id) & as_seen & (columns.state == lead.state)
    values = {
        "action": action, "salesforce_id": salesforce_id, "person": person, "reason": reason, "decided_at": now,
        "state": ASSOCIATED if action == ASSOCIATE else CHECKED,
    }  # fmt: skip
    if connection.execute(update(company_leads).where(these).values(**values)).rowcount != 1:
        return False
    best = lead.candidates[0] if lead.candidates else None
    row = {
        "org": org, "lead_id": lead.lead_id, "action": action, "salesforce_id": salesforce_id, "person": person,
        "rule": rule or (best.rule if best else None), "suggested_id": best.id if best else None, "decided_at": now,
    }  # fmt: skip
    connection.execute(insert(lead_decisions), row)
    return True


def reopen(connection: Connection, org: str) -> int:
    """Leads whose Account is gone are to be checked again, and decided about again; gives how many."""
    columns = company_leads.c
    is_there = exists().where(account_names.c.org == org, account_names.c.account_id == columns.salesforce_id)
    these = (columns.org == org) & (columns.state == ASSOCIATED) & ~is_there
    return int(connection.execute(update(company_leads).where(these).values(**_UNDECIDED)).rowcount)


def stale(connection: Connection, org: str, *, before: datetime) -> list[Stored]:
    """The leads that wait for a decision, and that were checked before this moment: what Salesforce has may be another
    thing by now."""
    columns = company_leads.c
    query = select(company_leads).where(
        columns.org == org, columns.state == CHECKED, columns.action.is_(None), columns.checked_at < before
    )
    return [_stored(row) for row in connection.execute(query.order_by(columns.lead_id)).mappings()]


def assign(connection: Connection, org: str) -> list[Stored]:
    """The leads of which it was decided to create them, and that are no Leads yet. From now on, nobody decides anything else
    about them: they are on their way."""
    columns = company_leads.c
    ours = (columns.org == org) & (columns.action == CREATE)
    connection.execute(update(company_leads).where(ours, columns.state == CHECKED).values(state=CREATED))
    query = select(company_leads).where(ours, columns.state == CREATED, columns.salesforce_id.is_(None))
    return [_stored(row) for row in connection.execute(query.order_by(columns.lead_id)).mappings()]


def open_again(connection: Connection, org: str, lead_ids: Sequence[str]) -> int:
    """Nothing is decided about these leads any more, and they are checked again; gives of how many."""
    columns = company_leads.c
    these = (columns.org == org) & is_one_of(connection, columns.lead_id, lead_ids) & columns.action.is_not(None)
    return int(connection.execute(update(company_leads).where(these).values(**_UNDECIDED)).rowcount)


def created(connection: Connection, org: str, salesforce_ids: Mapping[str, str]) -> None:
    """These leads (lead -> Salesforce id) are Leads in Salesforce now."""
    columns = company_leads.c
    for lead_id, salesforce_id in salesforce_ids.items():
        these = (columns.org == org) & (columns.lead_id == lead_id) & (columns.action == CREATE)
        connection.execute(update(company_leads).where(these).values(state=CREATED, salesforce_id=salesforce_id))


def decided_before(connection: Connection, org: str, lead_ids: Sequence[str]) -> set[str]:
    """Those of the leads about which something was decided once, be the question open again or not."""
    columns = lead_decisions.c
    query = select(columns.lead_id).where(columns.org == org, is_one_of(connection, columns.lead_id, lead_ids))
    return set(connection.execute(query.distinct()).scalars())


def tally(connection: Connection, org: str) -> dict[str, tuple[int, int]]:
    """Rule -> how often people agreed with its candidate, of how many of their decisions. The last decision about a lead
    counts, so a correction of what a rule did counts against it."""
    columns = lead_decisions.c
    last = select(func.max(columns.id)).where(columns.org == org, columns.person.is_not(None)).group_by(columns.lead_id)
    query = select(columns.rule, columns.action, columns.salesforce_id, columns.suggested_id).where(
        columns.id.in_(last), columns.rule.is_not(None)
    )
    agreed: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for rule, action, salesforce_id, suggested in connection.execute(query):
        asked[rule] += 1
        agreed[rule] += action == ASSOCIATE and salesforce_id == suggested
    return {rule: (agreed[rule], count) for rule, count in asked.items()}


def counts(connection: Connection, org: str) -> dict[str, int]:
    """How many leads are in each state."""
    columns = company_leads.c
    query = select(columns.state, func.count()).where(columns.org == org).group_by(columns.state)
    return {state: int(count) for state, count in connection.execute(query)}


def purge(connection: Connection, org: str, *, before: date) -> int:
    """Forgets leads whose last visit was before this day, with their decisions; says how many."""
    columns = company_leads.c
    old = (columns.org == org) & (columns.visited_on < before.isoformat())
    ids = select(columns.lead_id).where(old)
    connection.execute(delete(lead_decisions).where(lead_decisions.c.org == org, lead_decisions.c.lead_id.in_(ids)))
    return int(connection.execute(delete(company_leads).where(old)).rowcount)
