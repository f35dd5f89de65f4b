"""Contact moments: every e-mail on the right Lead or Contact, once, and brought up to date when something happens to it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from salesforce_sync.errors import InvalidCredentials, ServiceUnavailable
from salesforce_sync.records import Counts, Outcome, RecordResult
from salesforce_sync.state import links, sync_log
from salesforce_sync.state.api_budget import BudgetRule
from salesforce_sync.state.engine import open_state
from salesforce_sync.state.schema import api_budget, sync_runs
from support.airflow import variables
from support.flows import Moments, Poll
from support.world import World

pytestmark = pytest.mark.airflow
NAME, LEADS, CONTACTS = "deployteq/moments", "deployteq/lead_moments", "deployteq/contact_moments"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def moments(world: World, state_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Moments:
    from salesforce_sync.systems import vendor
    from salesforce_sync.systems.deployteq import hook as deployteq

    monkeypatch.setattr(vendor.time, "sleep", lambda _: None)
    monkeypatch.setattr(deployteq, "pause", lambda _: None)
    monkeypatch.setattr(deployteq.DeployteqHook, "requests_per_second", 10_000.0)
    variables(monkeypatch, deployteq_credentials=json.dumps(world.deployteq_credentials))
    world.org.clock.stop_at(NOON)
    world.vendors.clock.stop_at(NOON)
    return Moments(world, open_state(state_url), tmp_path / "staging", deployteq.DeployteqHook())


def _customers(moments: Moments, *external_ids: str | None) -> list[int]:
    people = [
        {"emailAddress": f"p{number}@acme.example", "externalId": external_id}
        for number, external_id in enumerate(external_ids)
    ]
    return [customer["id"] for customer in moments.vendor.answers.insert_bulk_unique(people, ["emailAddress"], [])]


def _lead(world: World, number: int = 1) -> str:
    (lead,) = world.insert("Lead", {"LastName": f"L{number}", "Company": "Acme"})
    return lead


@pytest.mark.requirement("DQ-03", "DQ-07", "DQ-08")
def test_every_e_mail_is_on_its_lead_or_contact_with_what_became_of_it(world: World, moments: Moments) -> None:
    lead = _lead(world)
    (contact,) = world.insert("Contact", {"LastName": "C"})
    _customers(moments, lead, contact)
    first, second = moments.vendor.send("November")
    world.vendors.clock.stop_at(NOON + timedelta(minutes=5))
    moments.vendor.behave(first, "open", "open", "click")
    moments.vendor.behave(second, "bounce")
    assert moments() == {LEADS: Counts(read=1, created=1), CONTACTS: Counts(read=1, created=1)}
    fields = "Mailing__c, Campaign__c, Status__c, Sent_At__c, Opened__c, Open_Count__c, First_Opened_At__c, Clicked__c, Click_Count__c, Bounced__c"
    assert world.query(f"SELECT Lead__c, {fields} FROM ClangLeadContactMoment__c") == [
        {
            "Lead__c": lead, "Mailing__c": "November", "Campaign__c": "Newsletter", "Status__c": "Clicked",
            "Sent_At__c": "2026-11-21T12:00:00.000+0000", "Opened__c": True, "Open_Count__c": 2.0,
            "First_Opened_At__c": "2026-11-21T12:05:00.000+0000", "Clicked__c": True, "Click_Count__c": 1.0, "Bounced__c": False,
        }
    ]  # fmt: skip
    assert world.query(
        "SELECT Contact__c, Status__c, Bounced__c, Bounce_Category__c, Bounce_Reason__c FROM ClangContactContactMoment__c"
    ) == [
        {
            "Contact__c": contact,
            "Status__c": "Bounced",
            "Bounced__c": True,
            "Bounce_Category__c": "HARD",
            "Bounce_Reason__c": "550 no such mailbox",
        }
    ]


@pytest.mark.requirement("DQ-07")
def test_a_later_open_or_complaint_updates_the_moment(world: World, moments: Moments) -> None:
    _customers(moments, _lead(world))
    (delivery,) = moments.vendor.send("November")
    moments()
    moments.vendor.behave(delivery, "open")
    assert moments()[LEADS] == Counts(read=1, updated=1)
    moments.vendor.behave(delivery, "complaint")
    moments()
    assert world.query("SELECT Status__c, Open_Count__c, Complained__c FROM ClangLeadContactMoment__c") == [
        {"Status__c": "Complained", "Open_Count__c": 1.0, "Complained__c": True}
    ]


def test_a_mailing_to_which_nothing_happened_is_not_read_again(world: World, moments: Moments) -> None:
    _customers(moments, _lead(world))
    moments.vendor.send("November")
    moments()
    moments.vendor.calls.clear()
    assert moments() == {LEADS: Counts(), CONTACTS: Counts()}
    assert moments.vendor.calls["deliveries_of"] == 0


@pytest.mark.requirement("DQ-07")
def test_the_online_version_is_made_by_the_template(
    world: World, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = "https://mail.example/{mailing_id}/{delivery_id}"
    variables(
        monkeypatch, deployteq_credentials=json.dumps(world.deployteq_credentials | {"online_version_url": template})
    )
    _customers(moments, _lead(world))
    (delivery,) = moments.vendor.send("November")
    moments()
    url = f"https://mail.example/{delivery['mailingId']}/{delivery['id']}"
    assert world.query("SELECT Online_Version_Url__c FROM ClangLeadContactMoment__c") == [
        {"Online_Version_Url__c": url}
    ]


@pytest.mark.parametrize("changes", [{"online_version_url": "https://x/{secret}"}, {"timezone": "Mars/North"}])
def test_a_setting_of_the_credentials_that_cannot_be_right_is_named(
    world: World, moments: Moments, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]
) -> None:
    variables(monkeypatch, deployteq_credentials=json.dumps(world.deployteq_credentials | changes))
    with pytest.raises(InvalidCredentials, match=next(iter(changes))):
        moments.hook.test()


def test_a_customer_without_a_salesforce_id_is_found_by_what_was_pushed_or_logged(
    world: World, moments: Moments
) -> None:
    lead = _lead(world)
    known, _ = _customers(moments, None, None)
    linked = RecordResult(lead, Outcome.CREATED, lead, fingerprint="x", vendor_id=str(known))
    with moments.state.begin() as connection:
        links.save(connection, moments.org, "deployteq/leads", [linked])
    _, stranger = moments.vendor.send("November")
    assert moments()[LEADS] == Counts(read=1, created=1)
    with moments.state.connect() as connection:
        assert [(row["outcome"], row["code"]) for row in sync_log.of_record(connection, stranger["id"])] == [
            ("waiting", "NOT_LINKED")
        ]


def test_large_mailings_are_read_in_pages_of_fifty(world: World, moments: Moments) -> None:
    leads = world.insert("Lead", *({"LastName": f"L{number}", "Company": "Acme"} for number in range(120)))
    _customers(moments, *leads)
    moments.vendor.send("November")
    assert moments()[LEADS] == Counts(read=120, created=120)
    assert moments.vendor.calls["page_of_deliveries"] == 3
    assert moments.vendor.calls["free"] == 2


def test_a_page_that_is_cut_short_is_an_error_and_not_a_short_success(
    world: World, moments: Moments, monkeypatch: pytest.MonkeyPatch
) -> None:
    _customers(moments, _lead(world))
    moments.vendor.send("November")
    monkeypatch.setattr(moments.vendor.answers, "_page", lambda *_: [])
    with pytest.raises(ServiceUnavailable, match="has 1 items, 0 came"):
        moments()


def test_a_run_that_dies_before_it_is_noted_is_made_up_for(world: World, moments: Moments) -> None:
    _customers(moments, _lead(world))
    moments.vendor.send("November")
    moments.extract()  # and nothing after it
    assert moments()[LEADS] == Counts(read=1, created=1)
    moments.extract()
    moments.load(LEADS)
    assert world.count("ClangLeadContactMoment__c") == 1


@pytest.mark.requirement("DQ-09", "DQ-A2")
@pytest.mark.parametrize(("per_hour", "left_today"), [(6, 100_000), (0, 6)])
def test_when_the_budget_ends_the_backlog_waits_and_drains_in_order(
    world: World, moments: Moments, per_hour: int, left_today: int
) -> None:
    leads = world.insert("Lead", *({"LastName": f"L{number}", "Company": "Acme"} for number in range(1_500)))
    _customers(moments, *leads)
    for number in range(3):
        world.vendors.clock.stop_at(NOON + timedelta(minutes=number))
        moments.vendor.send(f"Mailing {number}")
        world.org.usage.limit = world.org.usage.used + left_today
        moments.rule = BudgetRule(0, per_hour)
        used = world.org.usage.used
        moments()
        assert world.org.usage.used - used <= 6
        _next_hour(moments)
    waited = 0
    while world.count("ClangLeadContactMoment__c") < 4_500:
        world.org.usage.limit = world.org.usage.used + left_today
        used = world.org.usage.used
        moments()
        assert world.org.usage.used - used <= 6
        sent = world.query(
            "SELECT Mailing__c, COUNT(Id) n FROM ClangLeadContactMoment__c GROUP BY Mailing__c ORDER BY Mailing__c"
        )
        assert all(row["n"] == 1_500 for row in sent[:-1])  # a later mailing begins when the one before is through
        _next_hour(moments)
        waited += 1
        assert waited < 20
    with moments.state.connect() as connection:
        assert connection.execute(select(func.count()).where(sync_runs.c.status == "limited")).scalar_one() > 0


def _next_hour(moments: Moments) -> None:
    """What the ledger counted in this hour is past, and what the org counted is asked again."""
    with moments.state.begin() as connection:
        connection.execute(api_budget.update().values(hour_calls=0, allowed=None, used=0, reported_at=None))


def test_moments_of_a_lead_that_was_merged_are_its_masters(world: World, moments: Moments) -> None:
    from emulators.salesforce.merging import merge

    first, second, last = _lead(world, 1), _lead(world, 2), _lead(world, 3)
    _customers(moments, first, second, last)
    poll = Poll(world, moments.state, moments.folder, moments.hook)
    poll()
    world.org.clock.shift(600)
    merge(world.org, second, [first])
    poll()
    world.org.clock.shift(600)
    merge(world.org, last, [second])
    poll()
    moments.vendor.send("November")
    assert moments()[LEADS] == Counts(read=3, created=3)
    assert {row["Lead__c"] for row in world.query("SELECT Lead__c FROM ClangLeadContactMoment__c")} == {last}
