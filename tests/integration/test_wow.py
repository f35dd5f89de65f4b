"""Company leads of WOW Analytics: read, matched with what Salesforce has, decided by people or by rules, created once."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from salesforce_sync import decisions
from salesforce_sync.engine.context import Context
from salesforce_sync.errors import AuthenticationFailed, InvalidCredentials, InvalidParameter, ServiceUnavailable
from salesforce_sync.matching.rules import ASSOCIATE, CREATE
from salesforce_sync.records import Counts, RunIdentity
from salesforce_sync.staging import Staging
from salesforce_sync.state import company_leads
from salesforce_sync.state.company_leads import ASSOCIATED, CHECKED, CREATED, MEANINGS, NOT_CHECKED, Stored
from salesforce_sync.state.engine import open_state
from salesforce_sync.state.schema import lead_decisions
from salesforce_sync.state.sharing import SharedDescriptions
from salesforce_sync.systems.wow.leads import MatchRules, create_leads, match_leads, purge_leads, read_leads
from support.airflow import variables
from support.flows import NO_REST, load_mapping
from support.world import World

TODAY = datetime.now(UTC).date()


@dataclass
class Companies:
    """The hourly run; every call is one."""

    world: World
    state: Engine
    folder: Path
    hook: Any
    rules: MatchRules = field(default_factory=MatchRules)
    runs: int = 0

    def context(self, task: str, *, client: bool) -> Context:
        run = RunIdentity("wow_company_leads", f"run-{self.runs}", task)
        found = self.world.client(SharedDescriptions(self.state, "secret"))
        org = "" if client else found.org_id
        return Context(self.state, run, Staging(self.folder), found if client else None, org, timing=NO_REST)

    @property
    def org(self) -> str:
        return self.world.client().org_id

    def extract(self, *, today: date | None = None) -> int:
        day = today or datetime.now(UTC).date()
        context = self.context("extract", client=False)
        return read_leads(context, self.hook, ["Lead"], today=day, oldest=day - timedelta(days=30))

    def match(self) -> dict[str, int]:
        return match_leads(self.context("match", client=True), self.rules)

    def create(self) -> Counts:
        return create_leads(self.context("load", client=True), load_mapping("wow/leads"), last_name="contact")

    def __call__(self) -> Counts:
        self.runs += 1
        self.extract()
        self.match()
        return self.create()

    def lead(self, lead_id: str = "w-1") -> Stored:
        with self.state.connect() as connection:
            return company_leads.find(connection, self.org, [lead_id])[lead_id]

    def decide(self, lead_id: str, action: str, account: str | None = None, person: str = "somebody") -> str:
        with self.state.begin() as connection:
            lead = company_leads.find(connection, self.org, [lead_id])[lead_id]
            return decisions.decide(connection, self.org, lead, action, account, person=person)


@pytest.fixture
def wow_hook(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    from salesforce_sync.systems import vendor
    from salesforce_sync.systems.wow.hook import WowHook

    monkeypatch.setattr(vendor.time, "sleep", lambda _: None)
    monkeypatch.setattr(vendor.VendorHook, "_pace", lambda _: None)
    variables(monkeypatch, wow_credentials=json.dumps(world.wow.credentials(world.vendors_url)))
    return WowHook


@pytest.fixture
def companies(world: World, state_url: str, tmp_path: Path, wow_hook: Any) -> Companies:
    """The hourly run, once on SQLite and once on PostgreSQL."""
    return Companies(world, open_state(state_url), tmp_path / "staging", wow_hook())


def _lead(number: int = 1, name: str = "Zorbin Logistics B.V.", **changes: Any) -> dict[str, Any]:
    company = {
        "name": name,
        "domain": None,
        "street": "Main Street 1",
        "city": "Utrecht",
        "country": "Netherlands",
        "phoneNumber": "030 1",
    }
    return {
        "id": f"w-{number}",
        "companyName": name,
        "company": company | changes.pop("company", {}),
        "contact": None,
    } | changes


# -- the way -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("WW-01", "WW-02", "WW-03", "WW-04", "WW-05", "WW-06", "WW-10", "WW-A1")
def test_a_company_without_an_account_is_decided_about_once_and_becomes_one_lead(
    world: World, companies: Companies
) -> None:
    world.wow.visit(_lead())
    companies.extract()
    assert (companies.lead().state, MEANINGS[NOT_CHECKED]) == (NOT_CHECKED, "has not been checked against Salesforce")
    assert companies().read == 0
    assert (companies.lead().state, companies.lead().candidates) == (CHECKED, [])
    assert companies.decide("w-1", CREATE) == CREATE
    assert companies().created == 1
    fields = "Company, LastName, LeadSource, WOW_Permalink__c, Description, City, Street"
    assert world.query(f"SELECT {fields} FROM Lead") == [{
        "Company": "Zorbin Logistics B.V.", "LastName": "Zorbin Logistics B.V.", "LeadSource": "Wow Analytics",
        "WOW_Permalink__c": "https://app.wowanalytics.co.uk/Permalink/Company/w-1",
        "Description": "https://app.wowanalytics.co.uk/Permalink/Company/w-1", "City": "Utrecht", "Street": "Main Street 1",
    }]  # fmt: skip
    found = companies.lead()
    assert (found.state, MEANINGS[CREATED]) == (CREATED, "has been assigned as a new LEAD in Salesforce")
    world.wow.visit(_lead())
    assert companies().created == 0
    assert world.count("Lead") == 1


@pytest.mark.requirement("WW-07", "WW-08", "WW-09")
def test_similar_accounts_come_with_evidence_and_are_associated_without_a_write(
    world: World, companies: Companies
) -> None:
    first, second, _ = world.insert(
        "Account",
        {"Name": "Zorbin Logistics", "BillingCity": "Utrecht", "BillingStreet": "Kade 1", "Phone": "+31 30 12345"},
        {"Name": "Zorbyn Logistics Group", "BillingCity": "Delft"},
        {"Name": "Something Else"},
    )  # fmt: skip
    world.wow.visit(_lead())
    companies()
    candidates = companies.lead().candidates
    assert [item.id for item in candidates] == [first, second]
    best = candidates[0]
    assert (best.kind, best.name, best.rule, best.address, best.phone, best.owner) == (
        "Account", "Zorbin Logistics", "name", "Kade 1, Utrecht", "+31 30 12345", "Integration User",
    )  # fmt: skip
    assert best.evidence == ("same name", "same rare word 'zorbin'", "same rare word 'logistics'", "same town")
    assert "'zorbin' and 'zorbyn': one letter differs" in candidates[1].evidence
    stamps = world.query("SELECT Id, SystemModstamp FROM Account")
    assert companies.decide("w-1", ASSOCIATE, first) == ASSOCIATE
    companies()
    assert (companies.lead().state, companies.lead().salesforce_id) == (ASSOCIATED, first)
    assert (world.query("SELECT Id, SystemModstamp FROM Account"), world.count("Lead")) == (stamps, 0)


def test_the_same_domain_is_the_same_company_whatever_its_name(world: World, companies: Companies) -> None:
    (account,) = world.insert("Account", {"Name": "Quite Another", "Website": "https://www.zorbin.example.nl/shop"})
    world.wow.visit(_lead(company={"domain": "zorbin.example.nl"}))
    companies()
    (best,) = companies.lead().candidates
    assert (best.id, best.rule, best.score, best.evidence) == (account, "domain", 1.0, ("same domain example.nl",))


@pytest.mark.requirement("WW-16")
def test_leads_and_contacts_that_are_there_are_shown_and_nothing_is_created_over_them(
    world: World, companies: Companies
) -> None:
    companies.rules = MatchRules(automatic=True)
    (lead,) = world.insert("Lead", {"LastName": "Vos", "Company": "zorbin logistics b.v."})
    (contact,) = world.insert("Contact", {"LastName": "Kok", "Email": "kok@bolt.example"})
    world.wow.visit(_lead(), _lead(2, "Bolt", emailAddress="KOK@bolt.example"))
    assert companies().created == 0
    assert [(item.id, item.kind) for item in companies.lead("w-1").candidates] == [(lead, "Lead")]
    assert [(item.id, item.kind) for item in companies.lead("w-2").candidates] == [(contact, "Contact")]
    assert world.count("Lead") == 1


@pytest.mark.requirement("WW-A3")
def test_the_contacts_name_is_the_leads(world: World, companies: Companies) -> None:
    world.wow.visit(_lead(contact={"firstName": "Ina", "lastName": "Vos", "position": "Buyer"}))
    companies()
    companies.decide("w-1", CREATE)
    companies()
    assert world.query("SELECT FirstName, LastName, Title FROM Lead") == [
        {"FirstName": "Ina", "LastName": "Vos", "Title": "Buyer"}
    ]


@pytest.mark.requirement("WW-A2")
def test_in_auto_mode_what_is_clear_is_done_and_the_rest_waits(world: World, companies: Companies) -> None:
    companies.rules = MatchRules(automatic=True, precision=0.0)
    (account, *_) = world.insert(
        "Account", *({"Name": name} for name in ("Zorbin Logistics", "Bolt Motors", "Bolt Motors Inc"))
    )
    world.wow.visit(_lead(), _lead(2, "Nobody Knows Us"), _lead(3, "Bolt Motors Ltd"))
    assert companies().created == 1
    states = {name: companies.lead(name).state for name in ("w-1", "w-2", "w-3")}
    assert states == {"w-1": ASSOCIATED, "w-2": CREATED, "w-3": CHECKED}
    assert companies.lead("w-1").salesforce_id == account
    assert companies.lead("w-1").person is None


def test_a_rule_associates_only_while_what_people_decided_proves_it(world: World, companies: Companies) -> None:
    companies.rules = MatchRules(automatic=True)
    world.insert("Account", {"Name": "Zorbin Logistics"})
    world.wow.visit(_lead())
    companies()
    assert companies.lead().action is None
    _people_agreed(companies, 73)
    world.wow.visit(_lead(2))
    companies()
    assert (companies.lead("w-2").state, companies.lead("w-2").person) == (ASSOCIATED, None)
    companies.decide("w-2", CREATE)  # a correction
    world.wow.visit(_lead(3))
    companies()
    assert companies.lead("w-3").action is None


def _people_agreed(companies: Companies, count: int) -> None:
    row = {
        "org": companies.org,
        "action": ASSOCIATE,
        "salesforce_id": "001",
        "person": "somebody",
        "rule": "name",
        "suggested_id": "001",
    }
    with companies.state.begin() as connection:
        now = datetime.now(UTC)
        connection.execute(
            insert(lead_decisions), [row | {"lead_id": f"old-{n}", "decided_at": now} for n in range(count)]
        )


# -- odd orders of events ----------------------------------------------------------------------------------------------


def test_a_lead_whose_answer_was_lost_is_not_created_twice(world: World, companies: Companies) -> None:
    world.wow.visit(_lead())
    companies()
    companies.decide("w-1", CREATE)
    world.salesforce_fault(kind="after", method="PATCH", path="Lead", times=1)
    companies()
    companies()
    assert (world.count("Lead"), companies.lead().state) == (1, CREATED)


def test_a_refused_lead_is_tried_again(world: World, companies: Companies) -> None:
    world.wow.visit(_lead())
    companies()
    companies.decide("w-1", CREATE)
    world.salesforce_fault(kind="row", path="Lead", code="FIELD_CUSTOM_VALIDATION_EXCEPTION", times=1)
    assert companies().rejected == 1
    assert companies().created == 1
    assert companies.lead().state == CREATED


def test_a_name_that_changes_is_checked_again_unless_it_was_decided(world: World, companies: Companies) -> None:
    (account,) = world.insert("Account", {"Name": "Bolt Motors"})
    world.wow.visit(_lead(), _lead(2))
    companies()
    companies.decide("w-2", CREATE)
    companies()
    world.wow.visit(_lead(1, "Bolt Motors"), _lead(2, "Bolt Motors"))
    companies()
    assert [item.id for item in companies.lead("w-1").candidates] == [account]
    assert (companies.lead("w-2").state, companies.lead("w-2").candidates) == (CREATED, [])


def test_two_people_who_decide_at_once_get_one_decision_and_one_refusal(world: World, companies: Companies) -> None:
    world.insert("Account", {"Name": "Zorbin Logistics"})
    world.wow.visit(_lead())
    companies()
    account = companies.lead().candidates[0].id
    with companies.state.connect() as connection:
        seen = company_leads.find(connection, companies.org, ["w-1"])["w-1"]

    def decide(person: str) -> bool:
        action = CREATE if person == "one" else ASSOCIATE
        with companies.state.begin() as connection:
            return company_leads.decide(
                connection, companies.org, seen, action=action, salesforce_id=account if action == ASSOCIATE else None, person=person
            )  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(decide, ["one", "two"]))
    assert sorted(done) == [False, True]
    assert (
        companies.decide("w-1", ASSOCIATE if companies.lead().action == CREATE else CREATE, account, "three")
        == "refused"
    )


def test_days_that_nobody_read_are_read(world: World, companies: Companies) -> None:
    early = TODAY - timedelta(days=5)
    companies.extract(today=early)
    world.wow.visit(_lead() | {"lastVisit": (early + timedelta(days=2)).isoformat()})
    assert companies.extract() == 1


def test_a_page_that_breaks_off_leaves_nothing_and_no_day_counts_as_read(world: World, companies: Companies) -> None:
    world.wow.visit(*(_lead(number) for number in range(450)))
    world.vendor_fault(kind="status", status=400, path="/leads/Lead/", skip=1, times=9)
    with pytest.raises(Exception, match="refused the request"):
        companies.extract()
    with companies.state.connect() as connection:
        assert company_leads.counts(connection, companies.org) == {}
    world.vendors.faults.clear()
    assert companies.extract() == 450


def test_old_leads_are_forgotten_with_their_decisions(world: World, companies: Companies) -> None:
    world.wow.visit(_lead())
    companies()
    companies.decide("w-1", CREATE)
    assert purge_leads(companies.context("extract", client=False), before=TODAY) == 0
    assert purge_leads(companies.context("extract", client=False), before=TODAY + timedelta(days=2)) == 1


def test_an_hourly_run_that_finds_fifty_companies_costs_three_calls(world: World, companies: Companies) -> None:
    world.insert("Account", *({"Name": f"Company {number} Logistics"} for number in range(200)))
    companies()
    world.wow.visit(*(_lead(number, f"Company {number} Logistics B.V.") for number in range(50)))
    used = world.org.usage.used
    companies()
    assert world.org.usage.used - used <= 3
    assert len(companies.lead("w-7").candidates) >= 1


def test_a_company_whose_account_is_gone_is_looked_at_again(world: World, companies: Companies) -> None:
    first, second = world.insert("Account", {"Name": "Zorbin Logistics"}, {"Name": "Zorbin Logistics"})
    world.wow.visit(_lead())
    companies()
    companies.decide("w-1", ASSOCIATE, first)
    companies()
    assert companies.lead().state == ASSOCIATED
    world.delete("Account", first)
    world.later(600)
    companies()
    assert (companies.lead().state, companies.lead().action) == (CHECKED, None)
    assert [item.id for item in companies.lead().candidates] == [second]


def test_a_lead_without_a_permalink_or_a_day_and_with_an_endless_id_is_kept_and_created(
    world: World, companies: Companies
) -> None:
    world.wow.visit({**_lead(), "id": "w" * 300})
    (lead,) = world.wow.added.values()
    lead |= {"permaLink": None}
    companies()
    with companies.state.connect() as connection:
        (found,) = company_leads.of_state(connection, companies.org, CHECKED)
    companies.decide(found.lead_id, CREATE)
    assert companies().created == 1
    assert companies().created == 0


def test_names_that_look_like_soql_and_very_many_of_them_are_only_names(world: World, companies: Companies) -> None:
    names = [
        "O'Neill's \\ % _ ' OR Name != '",
        "Bolt) LIMIT 1",
        *(f"{'Long name ' * 20}{number}" for number in range(80)),
    ]
    world.insert("Lead", {"LastName": "Vos", "Company": names[0]})
    world.wow.visit(
        *(_lead(number, name, emailAddress=f"o'neill+{number}@acme.example") for number, name in enumerate(names))
    )
    companies()
    assert [item.kind for item in companies.lead("w-0").candidates] == ["Lead"]
    assert companies.lead("w-5").state == CHECKED


# -- the file ----------------------------------------------------------------------------------------------------------


def _answer(path: Path, answers: dict[tuple[str, str], str]) -> None:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["answer"] = answers.get((row["lead"], row["candidate"]), "")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, decisions.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def test_people_decide_in_a_file_and_reading_it_twice_changes_nothing(
    world: World, companies: Companies, tmp_path: Path
) -> None:
    (account,) = world.insert("Account", {"Name": "Zorbin Logistics", "Phone": "=1+1"})
    world.wow.visit(_lead(), _lead(2, "=cmd|' /C calc'!A0"))
    companies()
    path = tmp_path / "decisions.csv"
    assert decisions.write(companies.state, companies.org, path) == 2
    assert "\"'=cmd" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    _answer(path, {("w-1", account): "Associate", ("w-2", ""): "create"})
    assert decisions.read(companies.state, companies.org, path, person="somebody") == {"associate": 1, "create": 1}
    assert decisions.read(companies.state, companies.org, path, person="somebody") == {"before": 2}
    assert companies().created == 1
    assert decisions.read(companies.state, companies.org, path, person="another") == {"before": 2}
    assert decisions.write(companies.state, companies.org, path) == 0


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({("w-1", "{account}"): "yes"}, "line 2: answer is 'yes'"),
        ({("w-2", ""): "associate"}, "line 3: associate stands in the row of an Account"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_decided(
    world: World, companies: Companies, tmp_path: Path, answers: Any, problem: str
) -> None:
    (account,) = world.insert("Account", {"Name": "Zorbin Logistics"})
    world.wow.visit(_lead(), _lead(2, "Nobody Knows Us"))
    companies()
    path = tmp_path / "decisions.csv"
    decisions.write(companies.state, companies.org, path)
    with open(path, newline="", encoding="utf-8") as file:
        order = [row["lead"] for row in csv.DictReader(file)]
    assert order == ["w-1", "w-2"]
    _answer(path, {(lead, candidate.format(account=account)): text for (lead, candidate), text in answers.items()})
    with pytest.raises(InvalidParameter, match=problem):
        decisions.read(companies.state, companies.org, path, person="somebody")
    assert companies.lead("w-1").action is None


def test_an_answer_about_what_is_another_thing_by_now_decides_nothing(
    world: World, companies: Companies, tmp_path: Path
) -> None:
    world.wow.visit(_lead())
    companies()
    path = tmp_path / "decisions.csv"
    decisions.write(companies.state, companies.org, path)
    _answer(path, {("w-1", ""): "create"})
    world.insert("Account", {"Name": "Bolt Motors"})
    world.wow.visit(_lead(1, "Bolt Motors"))
    companies()
    assert decisions.read(companies.state, companies.org, path, person="somebody") == {"changed": 1}
    assert companies.lead().action is None


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_file_that_a_spreadsheet_saved_in_its_own_way_is_read(
    world: World, companies: Companies, tmp_path: Path, separator: str
) -> None:
    (account,) = world.insert("Account", {"Name": "Zorbin Logistics"})
    world.wow.visit(_lead() | {"id": "-1"})
    companies()
    path = tmp_path / "decisions.csv"
    rows = [["Lead", "CANDIDATE", "Answer", "Reason"], ["'-1", account, "associate", "a, b; c"], ["gone", "", "ignore"]]
    path.write_text("\ufeff" + "\r\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows))
    done = decisions.read(companies.state, companies.org, path, person="somebody")
    assert done == {"associate": 1, "forgotten": 1}
    assert companies.lead("-1").salesforce_id == account


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"lead;candidate;reply\n", "has no column answer"),
        (b"", "has no column lead, candidate, answer"),
        ("lead,candidate,answer,reason\nw-1,,ignore,caf\u00e9\n".encode("latin-1"), "is not text in UTF-8"),
        (b"lead,candidate,answer,reason\nw-1,001000000000001AAA,associate,\n", "line 2: Salesforce has no Account 001"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_as_a_whole(
    companies: Companies, tmp_path: Path, content: bytes, problem: str
) -> None:
    companies()
    path = tmp_path / "decisions.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidParameter, match=problem):
        decisions.read(companies.state, companies.org, path, person="somebody")


def test_what_another_threshold_would_have_done(world: World, companies: Companies) -> None:
    (account,) = world.insert("Account", {"Name": "Zorbin Logistic"})
    world.wow.visit(_lead(), _lead(2))
    companies()
    companies.decide("w-2", CREATE)
    strict, loose = (decisions.what_if(companies.state, companies.org, threshold) for threshold in (0.99, 0.7))
    assert strict[1] == "  0 would be associated, 0 of them wait for a person now"
    assert loose[1:3] == [
        "  2 would be associated, 1 of them wait for a person now",
        "  people decided the same 0 times, and something else 1 times",
    ]
    assert account


# -- the API -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("WW-12", "WW-14")
@pytest.mark.parametrize("way", ["key", "password", "oauth"])
def test_both_generations_of_the_api_can_be_signed_in_to(
    world: World, wow_hook: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    from emulators.vendors.wow import PASSWORD, USERNAME

    known = world.wow.credentials(world.vendors_url)
    if way == "password":
        known = {"base_url": known["base_url"], "username": USERNAME, "password": PASSWORD}
    elif way == "oauth":
        known = world.wow.oauth_credentials(world.vendors_url)
    variables(monkeypatch, wow_credentials=json.dumps(known))
    assert wow_hook().test() == "You are successfully connected to WOW Analytics"
    wrong = known | {name: "fake-wrong" for name in ("api_key", "password") if name in known}
    variables(monkeypatch, wow_credentials=json.dumps(wrong))
    with pytest.raises(AuthenticationFailed, match="Check the Variable wow_credentials") as caught:
        wow_hook().test()
    assert "fake-wrong" not in str(caught.value)


def test_a_token_that_is_refused_before_its_end_is_replaced(
    world: World, wow_hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables(monkeypatch, wow_credentials=json.dumps(world.wow.oauth_credentials(world.vendors_url)))
    hook = wow_hook()
    assert hook.test() == hook.test()
    world.wow.tokens.clear()
    assert hook.test() == "You are successfully connected to WOW Analytics"
    assert len(world.wow.tokens) == 1


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ({"data": None, "hasNextPage": False, "totalItemCount": 0}, "no list of leads"),
        ({"data": ["x"], "hasNextPage": False, "totalItemCount": 1}, "no list of leads"),
        ({"data": [], "hasNextPage": False, "totalItemCount": None}, "no list of leads"),
        (
            {"data": [{"id": "w-1"}], "hasNextPage": True, "totalItemCount": 2},
            "page 2 of the leads is the one before it",
        ),
        ({"data": [{"id": "w-1"}], "hasNextPage": False, "totalItemCount": 2}, "2 leads were announced, 1 came"),
        ({"data": [], "hasNextPage": True, "totalItemCount": 2}, "is empty, and says that there are more"),
        ({"data": []}, "lacks"),
    ],
)
def test_a_page_that_is_none_ends_the_reading(
    world: World, wow_hook: Any, monkeypatch: pytest.MonkeyPatch, page: Any, problem: str
) -> None:
    from salesforce_sync.windows import DateWindow

    hook = wow_hook()
    assert hook.client
    monkeypatch.setattr(hook, "get_json", lambda path, headers: page)
    with pytest.raises(ServiceUnavailable, match=problem):
        list(hook.read("Lead", window=DateWindow(TODAY, TODAY)))


def test_a_client_that_is_not_there_and_a_type_that_is_none_are_named(
    world: World, wow_hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salesforce_sync.windows import DateWindow

    with pytest.raises(InvalidCredentials, match="no leads of the type 'Nothing'"):
        list(wow_hook().read("Nothing", window=DateWindow(TODAY, TODAY)))
    known = world.wow.credentials(world.vendors_url) | {"client_id": "7"}
    variables(monkeypatch, wow_credentials=json.dumps(known))
    with pytest.raises(InvalidCredentials, match="names the client 7"):
        wow_hook().test()
