"""People decide about company leads in a CSV file.

    python -m salesforce_sync.decisions write FILE      the open questions, a row for each candidate
    python -m salesforce_sync.decisions read FILE       the answers
    python -m salesforce_sync.decisions whatif 0.9      what another threshold would have done

In FILE, `answer` is associate (in the row of the Account that it is), create, or ignore (in any row of the company).
Reads the state database that SALESFORCE_SYNC_STATE_URL names.
"""

from __future__ import annotations

import csv
import getpass
import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from salesforce_sync.errors import InvalidParameter, SyncError
from salesforce_sync.ids import whole_id
from salesforce_sync.matching.rules import ACTIONS, ASSOCIATE, RULES, Candidate, propose, trusted_rules
from salesforce_sync.privacy import plain_text, spreadsheet_text
from salesforce_sync.state import account_names, company_leads, orgs
from salesforce_sync.state.company_leads import ASSOCIATED, CHECKED, CREATED, Stored
from salesforce_sync.state.engine import open_state, reading

COLUMNS = (
    "lead", "company", "city", "country", "domain", "permalink", "last_visit", "candidate", "kind", "name", "score", "evidence",
    "address", "phone", "owner", "answer", "reason", "seen",
)  # fmt: skip
NEEDED = ("lead", "candidate", "answer")  # columns without which a file is refused
MONTH = timedelta(days=30)


class Answer(NamedTuple):
    """What a line of the file answers. `account` is None unless it associates; `seen` is what was known of the lead."""

    line: int
    action: str
    account: str | None
    reason: str
    seen: str


def write(state: Engine, org: str, path: Path) -> int:
    """Writes the open questions; gives how many companies they are about. The file is for its owner alone."""
    with reading(state) as connection:
        leads = [lead for lead in company_leads.of_state(connection, org, CHECKED) if lead.action is None]
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "w", newline="", encoding="utf-8", opener=_for_the_owner) as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(COLUMNS)
        for lead in leads:
            writer.writerows(_rows(lead))
    unfinished.replace(path)
    return len(leads)


def _rows(lead: Stored) -> Iterator[list[str]]:
    about = [
        lead.lead_id, lead.name, lead.city or "", lead.content.get("country") or "", lead.domain or "",
        lead.content.get("permalink") or "", lead.visited_on,
    ]  # fmt: skip
    for found in map(_candidate, lead.candidates) if lead.candidates else [[""] * 8]:
        yield [spreadsheet_text(str(text)) for text in (*about, *found, "", "", lead.seen)]


def _candidate(item: Candidate) -> list[str]:
    told = [item.id, item.kind, item.name, f"{item.score:.2f}", "; ".join(item.evidence)]
    return [*told, item.address or "", item.phone or "", item.owner or ""]


def read(state: Engine, org: str, path: Path, *, person: str) -> Counter[str]:
    """Decides what the file answers; gives how many decisions of each kind, with `refused` for leads about which somebody
    else has decided meanwhile, `before` for answers that are decided already, `changed` for leads of which something else
    is known than when the file was written, and `forgotten` for leads that are not kept any more. InvalidParameter names
    every wrong row, and then nothing is decided."""
    answers = _answers(path)
    counts: Counter[str] = Counter()
    with state.begin() as connection:
        known = company_leads.find(connection, org, list(answers))
        wanted = sorted({answer.account for answer in answers.values() if answer.account})
        accounts = account_names.find(connection, org, wanted)
        problems = [
            f"line {answer.line}: Salesforce has no Account {answer.account}"
            for answer in answers.values()
            if answer.account and answer.account not in accounts
        ]
        if problems:
            raise InvalidParameter("; ".join(problems[:10]), fix="Write the file once more: the Account is gone.")
        for lead_id, answer in sorted(answers.items()):  # in one order, so that no two readings wait for each other
            counts[_decided(connection, org, known.get(lead_id), answer, person=person)] += 1
    return counts


def _decided(connection: Connection, org: str, lead: Stored | None, answer: Answer, *, person: str) -> str:
    if lead is None:
        return "forgotten"
    if answer.seen and answer.seen != lead.seen:
        return "changed"
    return decide(connection, org, lead, answer.action, answer.account, person=person, reason=answer.reason)


def decide(
    connection: Connection, org: str, lead: Stored, action: str, account: str | None, *, person: str, reason: str = ""
) -> str:
    """Decides about one lead; gives the action, `before` when that is decided already, or `refused` when somebody has
    decided something else, or a Lead was created."""
    if (lead.action, lead.salesforce_id) == (action, account) or (lead.state == CREATED and lead.action == action):
        return "before"
    if lead.state == CREATED or (lead.action is not None and lead.person is not None and lead.person != person):
        return "refused"
    done = company_leads.decide(
        connection, org, lead, action=action, salesforce_id=account, person=person, reason=reason
    )  # fmt: skip
    return action if done else "refused"


def _answers(path: Path) -> dict[str, Answer]:
    """The answers by lead."""
    found: dict[str, Answer] = {}
    problems: list[str] = []
    for line, row in enumerate(_table(path), start=2):
        action = row["answer"].lower()
        if not action:
            continue
        lead, candidate = row["lead"], whole_id(row["candidate"])
        account = candidate if action == ASSOCIATE else None
        if action not in ACTIONS:
            problems.append(f"line {line}: answer is {action!r}, and not {', '.join(ACTIONS)}")
        elif action == ASSOCIATE and not (account and account.startswith("001")):
            problems.append(f"line {line}: associate stands in the row of an Account")
        elif lead in found and (found[lead].action, found[lead].account) != (action, account):
            problems.append(f"line {line}: line {found[lead].line} answers something else for the same company")
        found.setdefault(lead, Answer(line, action, account, row["reason"], row["seen"]))
    if problems:
        raise InvalidParameter("; ".join(problems[:10]), fix="Correct these lines; nothing was decided.")
    return found


def _table(path: Path) -> Iterator[dict[str, str]]:
    """The rows of the file as a spreadsheet saved it: with commas, semicolons or tabs. InvalidParameter for another file."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidParameter(f"{path.name} is not text in UTF-8.", fix="Save it as 'CSV UTF-8'.") from None
    first = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    header = [name.strip().lower() for name in next(rows, [])]
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise InvalidParameter(
            f"{path.name} has no column {', '.join(missing)}.",
            fix="Answer in the file that `write` makes, and keep its first line.",
        )
    for row in rows:
        yield dict.fromkeys(COLUMNS, "") | {
            name: plain_text(cell.strip()) for name, cell in zip(header, row, strict=False)
        }


def what_if(state: Engine, org: str, threshold: float, rules: Sequence[str] = RULES) -> list[str]:
    """What another threshold, or other rules, would do to the leads of the last month, by the evidence that was kept; and
    how often that is against what people decided."""
    since = (datetime.now(UTC) - MONTH).date().isoformat()
    with reading(state) as connection:
        leads = [
            lead
            for lead in company_leads.of_state(connection, org, CHECKED, CREATED, ASSOCIATED)
            if lead.visited_on >= since
        ]
        trusted = trusted_rules(company_leads.tally(connection, org), 0.95)
    tally: Counter[str] = Counter()
    for lead in leads:
        proposal = propose(lead.candidates, threshold=threshold, trusted=rules)
        if proposal.candidate is None:
            continue
        tally["associated"] += 1
        if lead.action is None:
            tally["unmatched"] += 1
        elif lead.person is not None:
            agrees = lead.action == ASSOCIATE and lead.salesforce_id == proposal.candidate.id
            tally["agrees" if agrees else "disagrees"] += 1
    return [
        f"With a threshold of {threshold:.2f} and the rules {', '.join(rules)}, of {len(leads):,} company leads of the last month:",
        f"  {tally['associated']:,} would be associated, {tally['unmatched']:,} of them wait for a person now",
        f"  people decided the same {tally['agrees']:,} times, and something else {tally['disagrees']:,} times",
        f"Rules that have proved themselves by now: {', '.join(sorted(trusted)) or 'none'}",
    ]


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _command(arguments: Sequence[str], state: Engine, org: str) -> Iterable[str]:
    if len(arguments) == 2 and arguments[0] == "whatif":
        return what_if(state, org, float(arguments[1]))
    if len(arguments) == 2 and arguments[0] == "write":
        return [f"{write(state, org, Path(arguments[1])):,} companies to decide about in {arguments[1]}"]
    if len(arguments) == 2 and arguments[0] == "read":
        person = os.environ.get("SALESFORCE_SYNC_PERSON") or getpass.getuser()
        counts: Mapping[str, int] = read(state, org, Path(arguments[1]), person=person)
        return [f"{count:,} {what}" for what, count in sorted(counts.items())] or ["Nothing is answered."]
    raise InvalidParameter("There is nothing to do.", fix=str(__doc__))


def main(arguments: Sequence[str], tell: Callable[[str], object] = print) -> None:
    state = open_state()
    with reading(state) as connection:
        org = orgs.latest(connection)
    if org is None:
        sys.exit("No task has signed in to Salesforce yet, so there is nothing to decide.")
    try:
        for line in _command(arguments, state, org):
            tell(line)
    except (SyncError, OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
