"""How records could be lost, doubled or set back: each case is a test, named after it.

Orders of events that need no fault: two runs at once, a spent budget, a cleared task, a missed day, an edit in between.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from salesforce_sync.engine.context import Timing
from salesforce_sync.engine.deliver import Delivered
from salesforce_sync.engine.lease import hold
from salesforce_sync.engine.maintain import keep_house
from salesforce_sync.engine.to_salesforce import deliver_to_salesforce
from salesforce_sync.errors import CallsMayLand, LeaseHeld, LeaseLost, RowLocked, ServiceUnavailable, StagedDataMissing
from salesforce_sync.records import Counts
from salesforce_sync.state import claims, dead_letters, inbox, leases, links, runs, sync_log, waits
from salesforce_sync.state.api_budget import BudgetRule
from salesforce_sync.state.engine import open_state, reading
from salesforce_sync.state.schema import api_budget, sync_runs
from salesforce_sync.state.schema import dead_letters as letters_table
from salesforce_sync.state.sharing import SharedBudget
from support.airflow import variables
from support.flows import ACTIVITIES, Campaign, Intent, Moments, Poll
from support.world import World, activity

pytestmark = pytest.mark.airflow
LEADS, CONTACTS = "deployteq/leads", "deployteq/contacts"
GROUPS = {"queue": 7, "continue": 8, "success": 9, "error": 10, "limit": 11}


@pytest.fixture
def hook(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    from salesforce_sync.systems import vendor
    from salesforce_sync.systems.deployteq import hook as deployteq

    monkeypatch.setattr(vendor.time, "sleep", lambda _: None)
    monkeypatch.setattr(deployteq, "pause", lambda _: None)
    variables(monkeypatch, deployteq_credentials=json.dumps(world.deployteq_credentials))
    return deployteq.DeployteqHook()


@pytest.fixture
def poll(world: World, state_url: str, tmp_path: Path, hook: Any) -> Poll:
    return Poll(world, open_state(state_url), tmp_path / "staging", hook)


@pytest.fixture
def campaign(world: World, state_url: str, tmp_path: Path, hook: Any) -> Campaign:
    world.deployteq.state.groups = {number: [] for number in GROUPS.values()}
    return Campaign(world, open_state(state_url), tmp_path / "staging", hook, GROUPS)


@pytest.fixture
def moments(world: World, state_url: str, tmp_path: Path, hook: Any) -> Moments:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    world.org.clock.stop_at(noon)
    world.vendors.clock.stop_at(noon)
    return Moments(world, open_state(state_url), tmp_path / "staging", hook)


def _limited_load(intent: Intent, per_hour: int) -> Delivered:
    budget = SharedBudget(open_state(intent.state_url), BudgetRule(0, per_hour))
    context = intent.context("load")
    context.salesforce.session._budget = budget
    try:
        return deliver_to_salesforce(context, ACTIVITIES, intent.mapping)
    finally:
        budget.close()


def _next_hour(state_url: str) -> None:
    with open_state(state_url).begin() as connection:
        connection.execute(update(api_budget).values(hour_calls=0))


def _values(world: World) -> dict[str, Any]:
    rows = world.query("SELECT PeerSpot_External_Id__c, City__c FROM PeerSpot_Activity__c")
    return {row["PeerSpot_External_Id__c"]: row["City__c"] for row in rows}


# -- A. lost ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_is_limited", [True, False])
def test_backlog_race(
    world: World, pipeline_on_both: Intent, monkeypatch: pytest.MonkeyPatch, first_is_limited: bool
) -> None:
    """Two runs, and the API budget ends in both of them, or in the second one: nothing of either is forgotten."""
    monkeypatch.setattr("salesforce_sync.staging.BATCH_ROWS", 50)
    monkeypatch.setattr("salesforce_sync.salesforce.rows.JOB_ROWS", 100)
    intent = pipeline_on_both
    intent.extract([activity(number) for number in range(300)])
    _limited_load(intent, 3 if first_is_limited else 100)
    intent.run_id = "run-2"
    intent.extract([activity(number) for number in range(300, 600)])
    _limited_load(intent, 1)
    _next_hour(intent.state_url)
    intent.run_id = "run-3"
    intent.extract([])
    _limited_load(intent, 1_000)
    assert world.count("PeerSpot_Activity__c") == 600


def test_spent_budget_at_the_beginning(world: World, pipeline_on_both: Intent) -> None:
    """A run that begins with a spent budget reads its day all the same, and a later run delivers it."""
    intent = pipeline_on_both
    intent.extract([activity(1)], last=date(2026, 11, 11))
    assert _limited_load(intent, 1).limited
    _next_hour(intent.state_url)
    intent.run_id = "run-2"
    assert _limited_load(intent, 100).total == Counts(read=1, created=1)


def test_days_of_downtime(world: World, pipeline_on_both: Intent) -> None:
    """Days that no run was about are read by the next scheduled run, and listed while they are missing."""
    intent = pipeline_on_both
    read: list[str] = []

    class Source:
        def read(self, stream: str, *, window: Any) -> Any:
            read.append(str(window))
            yield [activity(window.first.day, day=window.first)]

    intent.extract(Source(), last=date(2026, 11, 10), scheduled=True)
    found = intent.extract(Source(), last=date(2026, 11, 15))  # somebody's own run begins nothing and ends nothing
    assert found.missing == [date(2026, 11, day) for day in (11, 12, 13, 14)]
    intent.extract(Source(), last=date(2026, 11, 17), scheduled=True)
    assert read == ["2026-11-10", "2026-11-15", *(f"2026-11-{day}" for day in (11, 12, 13, 14, 16, 17))]
    intent.load()
    assert world.count("PeerSpot_Activity__c") == 8


def test_the_first_scheduled_day_is_missing_when_its_reading_fails(world: World, pipeline: Intent) -> None:
    class Down:
        def read(self, stream: str, *, window: Any) -> Any:
            raise ServiceUnavailable("down")

    with pytest.raises(ServiceUnavailable):
        pipeline.extract(Down(), last=date(2026, 11, 10), scheduled=True)
    assert date(2026, 11, 10) in pipeline.extract([], last=date(2026, 11, 11), scheduled=True).days


def test_a_day_that_is_not_over_is_not_covered(world: World, pipeline: Intent) -> None:
    pipeline.extract([activity(1)], last=date(2026, 11, 20), scheduled=True)
    pipeline.extract([activity(2)], last=pipeline.today)  # a run with dates of today
    pipeline.today += timedelta(days=2)
    found = pipeline.extract([activity(2)], last=date(2026, 11, 22), scheduled=True)
    assert date(2026, 11, 21) in found.days


def _queued(world: World, **customer: Any) -> int:
    (found,) = world.deployteq.answers.insert_bulk_unique(
        [{"emailAddress": f"{customer['externalId']}@acme.example"} | customer], ["externalId"], []
    )
    members = world.deployteq.state.groups[GROUPS["queue"]]
    if found["id"] not in members:
        members.append(found["id"])
    return int(found["id"])


def test_queue_changed_meanwhile(world: World, campaign: Campaign) -> None:
    """What a campaign changes while its customer is being synchronized arrives with the next run."""
    (contact,) = world.insert("Contact", {"LastName": "C"})
    _queued(world, externalId=contact, workPhone="030-1")
    campaign.extract()
    _queued(world, externalId=contact, workPhone="030-2")
    campaign.load()
    campaign.report()
    campaign()
    assert world.query("SELECT Phone FROM Contact") == [{"Phone": "030-2"}]
    assert [claim.status for claim in _claims(campaign)] == [claims.TOLD, claims.TOLD]


def _claims(campaign: Campaign) -> list[claims.Claim]:
    statuses = [claims.LISTED, claims.REMOVED, claims.READ, claims.DELIVERED, claims.TOLD]
    with reading(campaign.state) as connection:
        return claims.of_stream(connection, campaign.world.client().org_id, campaign.name, statuses)


def test_queue_late_removal(world: World, campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal whose answer got lost lands after the customer was queued once more: its claim is read again."""
    (contact,) = world.insert("Contact", {"LastName": "C"})
    customer = _queued(world, externalId=contact, workPhone="030-1")
    campaign.timing = Timing(rest_seconds=600)
    with monkeypatch.context() as patched:
        patched.setattr(campaign.hook, "remove_members", _unavailable)
        with pytest.raises(ServiceUnavailable):
            campaign.extract()
    monkeypatch.setattr("support.flows.patiently", lambda _, call: call())
    with pytest.raises(CallsMayLand):
        campaign.extract()  # removes the customer itself, and goes on
    campaign.load()
    assert world.query("SELECT Phone FROM Contact") == [{"Phone": "030-1"}]
    _queued(world, externalId=contact, workPhone="030-2")
    world.deployteq.state.groups[GROUPS["queue"]].remove(customer)  # the late removal lands
    campaign.extra["rested"] = {(0, 0, 1, 0): 600.0}
    campaign.extract()
    campaign.load()
    assert world.query("SELECT Phone FROM Contact") == [{"Phone": "030-2"}]


def _unavailable(*_: Any, **__: Any) -> None:
    raise ServiceUnavailable("no answer")


def test_queue_old_fate(world: World, campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cleared run whose load fails tells nobody an earlier outcome; the new value arrives later."""
    (contact,) = world.insert("Contact", {"LastName": "C"})
    _queued(world, externalId=contact, workPhone="030-1")
    assert len(campaign()["success"]) == 1
    _queued(world, externalId=contact, workPhone="030-2")
    campaign.extract()
    world.salesforce_fault(kind="status", status=400, code="MALFORMED", path="/composite/sobjects", times=1)
    with pytest.raises(Exception, match="MALFORMED"):
        campaign.load()
    assert campaign.report() == {"continue": [], "success": [], "error": [], "limit": []}
    assert len(campaign()["success"]) == 1
    assert world.query("SELECT Phone FROM Contact") == [{"Phone": "030-2"}]


def test_queue_died_between(world: World, campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that is killed after the customers left the queue is made up for by the next one."""
    contacts = world.insert("Contact", {"LastName": "A"}, {"LastName": "B"})
    for contact in contacts:
        _queued(world, externalId=contact, workPhone="030-1")
    with monkeypatch.context() as patched:
        patched.setattr(campaign.hook, "get", _killed)
        with pytest.raises(KeyboardInterrupt):
            campaign.extract()
    assert world.deployteq.state.groups[GROUPS["queue"]] == []
    assert len(campaign()["success"]) == 2
    assert {row["Phone"] for row in world.query("SELECT Phone FROM Contact")} == {"030-1"}


def _killed(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_queue_old_duplicate(world: World, campaign: Campaign) -> None:
    """Of two customers with one address the last one goes, and the other is told nothing but to continue."""
    one, two = world.insert("Contact", {"LastName": "A"}, {"LastName": "B"})
    first = _queued(world, externalId=one, workPhone="first", emailAddress="same@acme.example")
    last = _queued(world, externalId=two, workPhone="last", emailAddress="same@acme.example")
    told = campaign()
    assert (told["success"], told["error"], told["continue"]) == ([str(last)], [], [str(first), str(last)])


def test_fate_of_a_lock_and_a_budget(world: World, campaign: Campaign) -> None:
    """A record that is locked first, and kept back by the budget then, is on limit and arrives later."""
    (contact,) = world.insert("Contact", {"LastName": "C"})
    _queued(world, externalId=contact, workPhone="new")
    campaign.extract()
    world.salesforce_fault(kind="row", path="Contact", code="UNABLE_TO_LOCK_ROW", times=3)
    with pytest.raises(RowLocked):
        campaign.load()
    campaign.rule = BudgetRule(0, 1)
    campaign.load()
    assert [len(told) for told in campaign.report().values()] == [1, 0, 0, 1]
    campaign.rule = BudgetRule(0, 0)
    assert len(campaign()["success"]) == 1
    assert world.query("SELECT Phone FROM Contact") == [{"Phone": "new"}]


@pytest.mark.parametrize("what", ["deleted", "moved", "emptied"])
def test_lead_left_to_deleted_contact(world: World, poll: Poll, what: str) -> None:
    """A Lead that was left to a Contact reaches the vendor once the Contact lets go of the address."""
    (contact,) = world.insert("Contact", {"LastName": "C", "Email": "same@acme.example"})
    (lead,) = world.insert("Lead", {"LastName": "L", "Company": "Acme", "Email": "same@acme.example"})
    poll()
    world.org.clock.shift(3_600)
    if what == "deleted":
        world.delete("Contact", contact)
    else:
        address = "other@acme.example" if what == "moved" else None
        world.update("Contact", {"Id": contact, "Email": address})
    poll()
    world.org.clock.shift(600)
    poll()
    assert [c["lastname"] for c in world.customers if c["emailAddress"] == "same@acme.example"] == ["L"]
    with reading(poll.state) as connection:
        assert waits.of_record(connection, lead) == []


def test_rejected_then_never_again(world: World, pipeline_on_both: Intent) -> None:
    """A refused record is read and sent again when it is due."""
    intent = pipeline_on_both
    world.salesforce_fault(kind="row", path="PeerSpot_Activity__c", code="FIELD_CUSTOM_VALIDATION_EXCEPTION", times=1)
    intent.extract([activity(1)], last=date(2026, 11, 10), scheduled=True)
    assert intent.load().total == Counts(read=1, rejected=1)
    with open_state(intent.state_url).begin() as connection:
        connection.execute(update(letters_table).values(due_at=datetime.now(UTC) - timedelta(minutes=1)))
    found = intent.extract([activity(1)], last=date(2026, 11, 11), scheduled=True)
    assert date(2026, 11, 10) in found.days
    intent.load()
    assert world.count("PeerSpot_Activity__c") == 1
    with reading(open_state(intent.state_url)) as connection:
        assert dead_letters.unresolved(connection) == []


def test_rejected_by_the_vendor_then_never_again(world: World, poll: Poll) -> None:
    (lead,) = world.insert("Lead", {"LastName": "L", "Company": "Acme", "Email": "l@acme.example"})
    world.deployteq.refuse("l@acme.example")
    assert poll()[LEADS] == Counts(read=1, rejected=1)
    world.deployteq.state.refused.clear()
    world.org.clock.shift(3_600)
    with poll.state.begin() as connection:
        connection.execute(update(letters_table).values(due_at=datetime.now(UTC) - timedelta(minutes=1)))
    assert poll()[LEADS] == Counts(read=1, created=1)
    assert len(world.customers) == 1
    assert poll.history(lead)[0] == ("created", None)


def test_moments_never_linked(world: World, moments: Moments) -> None:
    """A moment of a customer that nobody knew arrives once the customer is linked, also when nothing happens to it."""
    vendor = moments.vendor
    (customer,) = vendor.answers.insert_bulk_unique([{"emailAddress": "p@acme.example"}], ["emailAddress"], [])
    vendor.send("November")
    moments()
    (lead,) = world.insert("Lead", {"LastName": "L", "Company": "Acme"})
    from salesforce_sync.records import Outcome, RecordResult

    linked = RecordResult(lead, Outcome.CREATED, lead, fingerprint="x", vendor_id=str(customer["id"]))
    with moments.state.begin() as connection:
        links.save(connection, moments.org, LEADS, [linked])
    assert moments()["deployteq/lead_moments"] == Counts(read=1, created=1)
    vendor.calls.clear()
    moments()
    assert vendor.calls["deliveries_of"] == 0


def test_late_malformed(world: World, pipeline_on_both: Intent) -> None:
    """An activity whose later version cannot be mapped has a dead letter, and its log ends with the refusal."""
    intent = pipeline_on_both
    intent.extract([activity(1)])
    intent.extract([activity(1, pages_visited="many")])
    assert intent.load().total == Counts(read=2, skipped=1, rejected=1)
    with reading(open_state(intent.state_url)) as connection:
        assert [letter["record_id"] for letter in dead_letters.unresolved(connection)] == ["act-1"]
        assert sync_log.of_record(connection, "act-1")[0]["outcome"] == "rejected"


def test_run_id_collision(world: World, pipeline: Intent) -> None:
    for number, run_id in enumerate(("fix:1", "fix+1", "..")):
        pipeline.run_id = run_id
        pipeline.extract([activity(number)])
    pipeline.load()
    assert world.count("PeerSpot_Activity__c") == 3
    assert {path.suffix for path in pipeline.folder.iterdir() if path.is_file()} <= {".db", ".db-wal", ".db-shm"}


# -- B. wrong values, doubled customers, consent ----------------------------------------------------------------------


def test_process_race(world: World, pipeline_on_both: Intent) -> None:
    """While the Processor is at work, nobody loads an activity; a change by hand is left to its next run."""
    intent = pipeline_on_both
    world.insert("Account", {"Name": "Acme", "Website": "acme.com"}, {"Name": "Other", "Website": "other.com"})
    intent.take([activity(1)])
    intent.extract([activity(1, domain="other.com")])
    process, load = intent.context("process"), intent.context("load")
    with hold(process, ["PeerSpot_Activity__c", "PeerSpot_Activity_Product__c"]), pytest.raises(LeaseHeld):
        deliver_to_salesforce(load, ACTIVITIES, intent.mapping)
    intent.load()
    intent.process()
    assert world.query("SELECT Account__r.Name FROM PeerSpot_Activity__c") == [{"Account__r": {"Name": "Other"}}]


def test_process_leaves_what_moved_meanwhile(world: World, pipeline: Intent, monkeypatch: pytest.MonkeyPatch) -> None:
    from salesforce_sync.systems.peerspot import process as step

    pipeline.take([activity(1)])
    (row,) = world.query("SELECT Id FROM PeerSpot_Activity__c")
    match = step._Process._unmoved

    def edited(self: Any, *arguments: Any) -> Any:
        world.org.clock.shift(5)
        world.update("PeerSpot_Activity__c", {"Id": row["Id"], "City__c": "by hand"})
        return match(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(step._Process, "_unmoved", edited)
        assert pipeline.process() == Counts()
    assert pipeline.process() == Counts(read=1, updated=1)


def test_stale_tie(world: World, pipeline: Intent) -> None:
    """A tie to a product that an activity no longer names goes, also when its Account was deleted meanwhile."""
    (account,) = world.insert("Account", {"Name": "Acme", "Website": "acme.com"})
    pipeline.run(activity(products=[{"id": "101", "name": "A"}, {"id": "102", "name": "B"}]))
    world.delete("Account", account)
    pipeline.run(activity(products=[{"id": "102", "name": "B"}]))
    keys = [
        row["PeerSpot_External_Id__c"]
        for row in world.query("SELECT PeerSpot_External_Id__c FROM PeerSpot_Activity_Product__c")
    ]
    assert keys == ["act-1:102"]
    with reading(open_state(pipeline.state_url)) as connection:
        assert sync_log.of_record(connection, "act-1:101")[0]["code"] == "PRODUCT_NO_LONGER_NAMED"


def test_interleaved_commits(world: World, pipeline_on_both: Intent) -> None:
    """Two runs about one day: the later reading wins, whichever is delivered first, and a repeated run mends nothing."""
    intent = pipeline_on_both
    intent.extract([activity(1, city="old")])
    intent.run_id = "run-2"
    intent.extract([activity(1, city="new")])
    intent.load()
    intent.run_id = "run-1"
    assert intent.load().total == Counts()
    assert _values(world) == {"act-1": "new"}


def test_cleared_old_load(world: World, pipeline_on_both: Intent) -> None:
    """An older run's load that somebody clears sets nothing back."""
    intent = pipeline_on_both
    intent.take([activity(1, city="old")])
    intent.run_id = "run-2"
    intent.take([activity(1, city="new")])
    intent.run_id = "run-1"
    assert intent.load().total == Counts()
    assert _values(world) == {"act-1": "new"}


def test_a_lease_that_is_lost_commits_nothing(world: World, pipeline_on_both: Intent) -> None:
    """A holder that another task took over from cannot commit what it sent."""
    context = pipeline_on_both.context("load")
    with hold(context, ["PeerSpot_Activity__c"]) as lease:
        with reading(context.state) as connection:
            held = leases.look(connection, f"{context.org}/PeerSpot_Activity__c")
        assert held is not None
        other = dataclasses.replace(pipeline_on_both.context("load"), overdue=held)
        with hold(other, ["PeerSpot_Activity__c"]), pytest.raises(LeaseLost), lease.transaction():
            pass


def test_a_call_that_outlives_its_sender(world: World, pipeline_on_both: Intent) -> None:
    """A chunk without an answer rests; other records go on; then it is repeated, and only then its newer version goes."""
    intent = pipeline_on_both
    intent.timing = Timing(rest_seconds=600)
    intent.extract([activity(1, city="first")])
    world.salesforce_fault(kind="status", status=503, path="/composite/sobjects", times=5)
    with pytest.raises(ServiceUnavailable):
        intent.load()
    world.org.faults.clear()
    intent.extract([activity(1, city="second"), activity(2)])
    with pytest.raises(CallsMayLand) as waiting:
        intent.load()
    assert _values(world) == {"act-2": "Utrecht"}
    intent.extra["rested"] = dict.fromkeys(waiting.value.notes, waiting.value.seconds)
    intent.load()
    assert _values(world) == {"act-1": "second", "act-2": "Utrecht"}


def _contact(world: World, address: str | None, **more: Any) -> str:
    fields = {"LastName": "C", "Email": address, "Deployteq_Opt_In__c": True} | more
    (contact,) = world.insert("Contact", fields)
    return contact


def _consents(world: World) -> dict[str, str]:
    return {customer["emailAddress"]: customer["optIn"] for customer in world.customers}


def test_consent_with_address_removed(world: World, poll: Poll) -> None:
    contact = _contact(world, "a@acme.example")
    poll()
    world.update("Contact", {"Id": contact, "Email": None, "Deployteq_Opt_In__c": False})
    poll()
    assert _consents(world) == {"a@acme.example": "N"}


def test_consent_when_left_to_other(world: World, poll: Poll) -> None:
    """A Lead whose address becomes a Contact's withdraws at the customer that it was."""
    (lead,) = world.insert(
        "Lead", {"LastName": "L", "Company": "Acme", "Email": "a@acme.example", "Deployteq_Opt_In__c": True}
    )
    _contact(world, "b@acme.example", Deployteq_Opt_In__c=False)
    poll()
    world.update("Lead", {"Id": lead, "Email": "b@acme.example", "Deployteq_Opt_In__c": False})
    poll()
    assert _consents(world) == {"a@acme.example": "N", "b@acme.example": "N"}


def test_hard_deleted(world: World, poll: Poll) -> None:
    """What left the recycle bin between two polls is found by a whole reading, and its consent is withdrawn."""
    contact = _contact(world, "a@acme.example")
    poll()
    world.org.dml.delete(world.org.schema.objects["Contact"], [contact], hard=True)
    poll(full=True)
    assert _consents(world) == {"a@acme.example": "N"}
    assert poll.history(contact)[0] == ("skipped", "DELETED_IN_SALESFORCE")


def test_consent_flip(world: World, poll: Poll) -> None:
    """Two records with one address: an unrelated edit of the one does not bring back what the other took back."""
    one, two = _contact(world, "a@acme.example"), _contact(world, "a@acme.example")
    poll()
    world.update("Contact", {"Id": one, "Deployteq_Opt_In__c": False})
    poll()
    world.org.clock.shift(3_600)
    world.update("Contact", {"Id": two, "FirstName": "Ann"})
    poll()
    assert _consents(world) == {"a@acme.example": "N"}


def test_consent_that_is_given_later_is_passed_on(world: World, poll: Poll) -> None:
    contact = _contact(world, "a@acme.example", Deployteq_Opt_In__c=False)
    poll()
    assert _consents(world) == {"a@acme.example": "N"}
    world.update("Contact", {"Id": contact, "Deployteq_Opt_In__c": True})
    poll()
    assert _consents(world) == {"a@acme.example": "Y"}


def test_a_customer_that_said_no_keeps_its_no_at_first_contact(world: World, poll: Poll) -> None:
    world.deployteq.answers.insert_bulk_unique(
        [{"emailAddress": "a@acme.example", "optIn": "N", "lastname": "Known"}], ["emailAddress"], []
    )
    _contact(world, "a@acme.example")
    poll()
    assert [(customer["lastname"], customer["optIn"]) for customer in world.customers] == [("C", "N")]


def test_an_unrelated_edit_raises_no_consent(world: World, poll: Poll) -> None:
    contact = _contact(world, "a@acme.example")
    poll()
    for customer in world.deployteq.state.customers.values():
        customer["optIn"] = "N"  # the person said no at the vendor
    world.update("Contact", {"Id": contact, "FirstName": "Ann"})
    poll()
    assert _consents(world) == {"a@acme.example": "N"}


def test_a_raise_whose_answer_is_lost_is_not_repeated(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact = _contact(world, "a@acme.example", Deployteq_Opt_In__c=False)
    poll()
    world.update("Contact", {"Id": contact, "Deployteq_Opt_In__c": True})
    send = poll.hook.update

    def lost(*arguments: Any, **options: Any) -> None:
        send(*arguments, **options)
        for customer in world.deployteq.state.customers.values():
            customer["optIn"] = "N"  # and then the person says no
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(poll.hook, "update", lost)
        with pytest.raises(KeyboardInterrupt):
            poll()
    poll()
    assert _consents(world) == {"a@acme.example": "N"}
    assert ("updated", "CONSENT_UNCLEAR") in poll.history(contact)


def test_converted_then_moved(world: World, poll: Poll) -> None:
    """A converted Lead's Contact that changes its address stays the customer that the Lead was."""
    from emulators.salesforce.conversion import Conversion, convert_lead

    (lead,) = world.insert(
        "Lead", {"LastName": "L", "Company": "Acme", "Email": "l@acme.example", "Deployteq_Opt_In__c": True}
    )
    poll()
    convert_lead(world.org, Conversion(lead))
    (contact,) = world.query("SELECT Id FROM Contact")
    poll()
    world.update("Contact", {"Id": contact["Id"], "Email": "new@acme.example", "Deployteq_Opt_In__c": False})
    poll()
    assert _consents(world) == {"new@acme.example": "N"}


def test_killed_push_then_moved(world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push is killed before its commit, and the address changes before the next poll: one customer all the same."""
    contact = _contact(world, "a@acme.example")
    send = poll.hook.save

    def sent_and_killed(*arguments: Any, **options: Any) -> None:
        send(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(poll.hook, "save", sent_and_killed)
        with pytest.raises(KeyboardInterrupt):
            poll()
    world.update("Contact", {"Id": contact, "Email": "b@acme.example"})
    poll()
    assert [customer["emailAddress"] for customer in world.customers] == ["b@acme.example"]


def test_email_chain(world: World, poll: Poll) -> None:
    """A takes B's address and B a new one, in one poll: two customers, each with its own history."""
    one, two = _contact(world, "x@acme.example", FirstName="A"), _contact(world, "y@acme.example", FirstName="B")
    poll()
    world.update("Contact", {"Id": two, "Email": "z@acme.example"})
    world.update("Contact", {"Id": one, "Email": "y@acme.example"})
    poll()
    assert {(customer["firstname"], customer["emailAddress"]) for customer in world.customers} == {
        ("A", "y@acme.example"), ("B", "z@acme.example"),
    }  # fmt: skip


def test_two_who_shared_a_customer_and_both_leave(world: World, poll: Poll) -> None:
    """Found by soak, schedule 26: one of them takes the customer along, and the other becomes a new one."""
    one, two = _contact(world, "x@acme.example", FirstName="A"), _contact(world, "x@acme.example", FirstName="B")
    poll()
    world.update("Contact", {"Id": one, "Email": "y@acme.example"}, {"Id": two, "Email": "z@acme.example"})
    poll()
    found = {(customer["firstname"], customer["emailAddress"]) for customer in world.customers}
    assert found == {("A", "y@acme.example"), ("B", "z@acme.example")}


def test_a_record_that_is_left_and_taken_over_in_one_poll_is_not_deleted(world: World, poll: Poll) -> None:
    poll.delete = True
    mover, other = _contact(world, "x@acme.example"), _contact(world, "y@acme.example")
    poll()
    world.update("Contact", {"Id": mover, "Email": "y@acme.example"})
    heir = _contact(world, "x@acme.example")
    poll()
    assert {customer["emailAddress"]: customer["externalId"] for customer in world.customers}["x@acme.example"] == heir
    assert other != heir


def test_of_two_who_share_a_customer_one_is_deleted_and_the_other_moves(world: World, poll: Poll) -> None:
    poll.delete = True
    gone, mover = _contact(world, "x@acme.example"), _contact(world, "x@acme.example", FirstName="B")
    poll()
    world.delete("Contact", gone)
    world.update("Contact", {"Id": mover, "Email": "y@acme.example"})
    poll()
    world.org.clock.shift(3_600)
    poll()
    assert [(c["firstname"], c["emailAddress"]) for c in world.customers] == [("B", "y@acme.example")]


def test_who_stays_at_a_shared_customer_is_delivered_again(world: World, poll: Poll) -> None:
    stays, leaves = _contact(world, "x@acme.example"), _contact(world, "x@acme.example")
    poll()
    world.org.clock.shift(3_600)
    world.update("Contact", {"Id": leaves, "Email": "y@acme.example"})
    poll()
    world.org.clock.shift(3_600)
    poll()
    assert {c["emailAddress"]: c["externalId"] for c in world.customers} == {
        "x@acme.example": stays, "y@acme.example": leaves,
    }  # fmt: skip
    assert all(customer["optIn"] in ("Y", "N") for customer in world.customers)


def test_addresses_that_many_records_pass_on_in_a_row(world: World, poll: Poll) -> None:
    """An import that was off by one row: everybody gets the address of the next one."""
    count = 400
    people = [_contact(world, f"p{number}@acme.example", FirstName=str(number)) for number in range(count)]
    poll()
    moved = [{"Id": person, "Email": f"p{number + 1}@acme.example"} for number, person in enumerate(people)]
    world.update("Contact", *moved)
    poll()
    found = {(customer["firstname"], customer["emailAddress"]) for customer in world.customers}
    assert found == {(str(number), f"p{number + 1}@acme.example") for number in range(count)}


def test_a_newer_version_does_not_end_the_rest_of_a_call(world: World, pipeline_on_both: Intent) -> None:
    """While a call may still land, every version of its record rests, also one that comes meanwhile."""
    intent = pipeline_on_both
    intent.timing = Timing(rest_seconds=600)
    intent.extract([activity(1, city="first")])
    world.salesforce_fault(kind="status", status=503, path="/composite/sobjects", times=5)
    with pytest.raises(ServiceUnavailable):
        intent.load()
    world.org.faults.clear()
    intent.extract([activity(1, city="second")])
    for _ in range(2):
        with pytest.raises(CallsMayLand) as waiting:
            intent.load()
        assert _values(world) == {}
    intent.extra["rested"] = {(*note[:3], note[3] + 1): 600.0 for note in waiting.value.notes}  # of another sending
    with pytest.raises(CallsMayLand):
        intent.load()
    intent.extra["rested"] = dict.fromkeys(waiting.value.notes, 600.0)
    intent.load()
    assert _values(world) == {"act-1": "second"}


def test_a_task_waits_first_and_fails_for_refusals_afterwards(world: World, pipeline: Intent) -> None:
    pipeline.timing = Timing(rest_seconds=600)
    pipeline.extract([activity(1)])
    world.salesforce_fault(kind="status", status=503, path="/composite/sobjects", times=5)
    with pytest.raises(ServiceUnavailable):
        pipeline.load()
    world.org.faults.clear()
    pipeline.extract([activity(100 + number, pages_visited="many") for number in range(30)])
    with pytest.raises(CallsMayLand) as waiting:
        pipeline.load()
    assert "30 of 30 records were refused" in waiting.value.after


def test_nobody_becomes_the_customer_of_a_record_that_rests(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll.timing = Timing(rest_seconds=600)
    mover = _contact(world, "x@acme.example", FirstName="A")
    poll()
    world.update("Contact", {"Id": mover, "Email": "y@acme.example"})
    send = poll.hook.update

    def sent_and_killed(*arguments: Any, **options: Any) -> None:
        send(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(poll.hook, "update", sent_and_killed)
        with pytest.raises(KeyboardInterrupt):
            poll()
    _contact(world, "x@acme.example", FirstName="B")
    with pytest.raises(CallsMayLand) as waiting:
        poll()
    poll.extra["rested"] = dict.fromkeys(waiting.value.notes, waiting.value.seconds)
    poll.push()
    found = {(customer["firstname"], customer["emailAddress"]) for customer in world.customers}
    assert found == {("A", "y@acme.example"), ("B", "x@acme.example")}


def test_a_derived_call_that_may_land_holds_the_loads_of_its_object_up(world: World, pipeline: Intent) -> None:
    pipeline.take([activity(1)])
    pipeline.timing = Timing(rest_seconds=600)
    world.salesforce_fault(kind="status", status=503, path="PeerSpot_Activity_Product__c", times=50)
    with pytest.raises(ServiceUnavailable):
        pipeline.process()
    world.org.faults.clear()
    pipeline.extract([activity(1, domain="other.com")])
    with pytest.raises(CallsMayLand):
        pipeline.process()


def test_a_yes_that_is_older_than_another_records_no_does_not_win(world: World, poll: Poll) -> None:
    withdraws = _contact(world, "a@acme.example")
    raises = _contact(world, "a@acme.example", Deployteq_Opt_In__c=False)
    poll()
    world.update("Contact", {"Id": raises, "Deployteq_Opt_In__c": True})
    world.org.clock.shift(60)
    world.update("Contact", {"Id": withdraws, "Deployteq_Opt_In__c": False})
    poll()
    assert _consents(world) == {"a@acme.example": "N"}


def test_a_withdrawal_arrives_also_when_the_rest_of_its_record_is_refused(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salesforce_sync.records import VendorResult

    contact = _contact(world, "a@acme.example")
    poll()
    send = poll.hook.update

    def update_(stream: str, vendor_id: str, record: dict[str, Any]) -> VendorResult:
        if record.get("emailAddress") == "b@acme.example":
            return VendorResult(None, "110", "not valid")
        answer: VendorResult = send(stream, vendor_id, record)
        return answer

    monkeypatch.setattr(poll.hook, "update", update_)
    world.update("Contact", {"Id": contact, "Email": "b@acme.example", "Deployteq_Opt_In__c": False})
    poll()
    assert _consents(world) == {"a@acme.example": "N"}


def test_a_lead_that_becomes_a_contact_with_a_customer_of_its_own_withdraws(world: World, poll: Poll) -> None:
    from emulators.salesforce.conversion import Conversion, convert_lead

    (account,) = world.insert("Account", {"Name": "Acme"})
    contact = _contact(world, "c@acme.example", AccountId=account)
    (lead,) = world.insert(
        "Lead", {"LastName": "L", "Company": "Acme", "Email": "l@acme.example", "Deployteq_Opt_In__c": True}
    )
    poll()
    convert_lead(world.org, Conversion(lead, account_id=account, contact_id=contact))
    poll()
    assert _consents(world) == {"c@acme.example": "Y", "l@acme.example": "N"}


def test_a_yes_that_was_never_sent_is_not_taken_for_lost(
    world: World, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [_contact(world, f"{number}@acme.example", Deployteq_Opt_In__c=False) for number in range(3)]
    poll()
    world.update("Contact", *({"Id": person, "Deployteq_Opt_In__c": True} for person in people))
    with monkeypatch.context() as patched:
        patched.setattr(poll.hook, "update", _unavailable)
        with pytest.raises(ServiceUnavailable):
            poll()
    poll()
    assert list(_consents(world).values()).count("Y") == 2  # of the first one, nobody can tell


def test_a_refused_record_that_the_condition_leaves_out_by_now_is_not_delivered(world: World, poll: Poll) -> None:
    mapping = poll.mappings[CONTACTS]
    side = mapping.salesforce.model_copy(update={"where": "Title = 'sync'"})
    poll.mappings[CONTACTS] = mapping.model_copy(update={"salesforce": side})
    contact = _contact(world, "a@acme.example", Title="sync")
    world.deployteq.refuse("a@acme.example")
    poll()
    world.deployteq.state.refused.clear()
    world.update("Contact", {"Id": contact, "Title": "private"})
    with poll.state.begin() as connection:
        connection.execute(update(letters_table).values(due_at=datetime.now(UTC) - timedelta(minutes=1)))
    poll()
    assert world.customers == []
    with reading(poll.state) as connection:
        assert dead_letters.unresolved(connection) == []


def test_swapped_addresses(world: World, poll: Poll) -> None:
    one, two = _contact(world, "x@acme.example", FirstName="A"), _contact(world, "y@acme.example", FirstName="B")
    poll()
    world.update("Contact", {"Id": one, "Email": "y@acme.example"}, {"Id": two, "Email": "x@acme.example"})
    poll()
    found = [(customer["firstname"], customer["emailAddress"]) for customer in world.customers]
    assert found == [("A", "y@acme.example"), ("B", "x@acme.example")]


def test_merge_takes_address(world: World, poll: Poll) -> None:
    """B takes the address of A, which was merged into it: B becomes A's customer, with its history."""
    poll.delete = True
    gone, stays = _contact(world, "a@acme.example"), _contact(world, "b@acme.example")
    poll()
    (first, second) = world.deployteq.state.customers
    world.delete("Contact", gone)
    world.update("Contact", {"Id": stays, "Email": "a@acme.example"})
    poll()
    assert [*world.deployteq.state.customers] == [first]
    assert world.customers[0]["externalId"] == stays
    assert second != first


def test_deleted_then_old_push_cleared(world: World, poll: Poll) -> None:
    """A record that was deleted on both sides does not come back by an older reading."""
    poll.delete = True
    contact = _contact(world, "a@acme.example")
    poll()
    world.delete("Contact", contact)
    poll()
    assert world.customers == []
    poll.push()
    with reading(poll.state) as connection:
        link = links.find(connection, world.client().org_id, CONTACTS, [contact])[contact]
    assert (link.gone, link.is_newer_than("2000-01-01 00:00:00+00:00", 1)) == (True, True)


@pytest.mark.parametrize("hours", [-1, 1])
def test_clock_off_while_accounts_are_read(
    world: World, pipeline: Intent, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """A worker's clock that is off, or set back, loses no Account and no match."""
    from salesforce_sync.engine import mirror

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=hours)

    (first,) = world.insert("Account", {"Name": "Acme", "Website": "acme.com"})
    pipeline.run(activity(1))
    monkeypatch.setattr(mirror, "datetime", Clock)
    monkeypatch.setattr(mirror, "FULL_EVERY", timedelta(0))
    (second,) = world.insert("Account", {"Name": "Late", "Website": "late.com"})
    pipeline.run(activity(2, domain="late.com"), activity(3))
    rows = world.query("SELECT Account__c FROM PeerSpot_Activity__c ORDER BY PeerSpot_External_Id__c")
    assert [row["Account__c"] for row in rows] == [first, second, first]


# -- C. stuck ---------------------------------------------------------------------------------------------------------


def test_handmade_activity(world: World, pipeline: Intent) -> None:
    """An activity that somebody made by hand, without an external id, is processed as any other."""
    (made,) = world.insert(
        "PeerSpot_Activity__c", {"Date_Visited__c": "2026-11-10", "Products__c": "101 | Demo Firewall"}
    )
    assert pipeline.process() == Counts(read=1, updated=1)
    ties = world.query("SELECT Activity__c, PeerSpot_External_Id__c FROM PeerSpot_Activity_Product__c")
    assert ties == [{"Activity__c": made, "PeerSpot_External_Id__c": f"{made}:101"}]
    with reading(open_state(pipeline.state_url)) as connection:
        assert sync_log.of_record(connection, made)[0]["outcome"] == "updated"


@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_backlog_file_gone(world: World, pipeline_on_both: Intent, how: str) -> None:
    """A staged file that is gone or broken is lost in red, blocks nothing, and its day is read again."""
    intent = pipeline_on_both
    intent.extract([activity(1)], last=date(2026, 11, 10), scheduled=True)
    with reading(open_state(intent.state_url)) as connection:
        (path,) = map(Path, inbox.paths_in_use(connection))
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-10] if how == "cut" else content[:100] + b"x" + content[101:])
    intent.extract([activity(2)], last=date(2026, 11, 11), scheduled=True)
    with pytest.raises(StagedDataMissing):
        intent.load()
    assert set(_values(world)) == {"act-2"}
    found = intent.extract([activity(1)], last=date(2026, 11, 12), scheduled=True)
    assert date(2026, 11, 10) in found.days
    intent.load()
    assert set(_values(world)) == {"act-1", "act-2"}


def test_a_lost_batch_of_a_poll_is_read_again(world: World, poll: Poll) -> None:
    _contact(world, "a@acme.example")
    poll.extract()
    with reading(poll.state) as connection:
        for path in inbox.paths_in_use(connection):
            Path(path).unlink()
    with pytest.raises(StagedDataMissing):
        poll.push()
    world.org.clock.shift(3_600)
    assert poll()[CONTACTS] == Counts(read=1, created=1)


@pytest.mark.parametrize("status", [408, 429])
def test_two_clients_one_moment(world: World, pipeline: Intent, status: int) -> None:
    """An answer that asks to wait is tried again."""
    world.salesforce_fault(kind="status", status=status, times=1)
    assert pipeline.take([activity(1)]).total == Counts(read=1, created=1)


@pytest.mark.parametrize("odd", [-1, "-1", "0000-00-00", 2**70, [1], {"a": 1}, True])
def test_one_odd_value_stops_no_other_record(world: World, pipeline: Intent, odd: Any) -> None:
    pipeline.extract([activity(1, date_visited=odd), activity(2)])
    assert pipeline.load().total == Counts(read=2, created=1, rejected=1)


def test_counts_add_up(world: World, pipeline_on_both: Intent) -> None:
    """A record that is refused in one batch and delivered in a later one has one outcome for each of its rows."""
    intent = pipeline_on_both
    intent.extract([activity(1, pages_visited="many"), activity(2)])
    intent.extract([activity(1), activity(2), activity(3)])
    counts = intent.load().total
    assert counts == Counts(read=5, created=3, skipped=2)
    with reading(open_state(intent.state_url)) as connection:
        assert inbox.unbalanced(connection, world.client().org_id) == []


def test_an_error_of_any_kind_ends_the_sync_run(
    world: World, pipeline: Intent, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salesforce_sync.engine import deliver

    def full(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    pipeline.extract([activity(1)])
    monkeypatch.setattr(deliver.plans, "make", full)
    with pytest.raises(OSError, match="disk full"):
        pipeline.load()
    with reading(open_state(pipeline.state_url)) as connection:
        assert set(connection.execute(select(sync_runs.c.status)).scalars()) == {runs.SUCCESS, runs.FAILED}


def test_a_killed_holders_sync_run_is_ended_by_who_takes_over(world: World, pipeline: Intent) -> None:
    dead = pipeline.context("load")
    with dead.state.begin() as connection:
        from salesforce_sync.engine.lease import holder_text

        leases.take(connection, [f"{dead.org}/PeerSpot_Activity__c"], holder_text(dead.run))
        runs.begin(connection, dead.run, ACTIVITIES, org=dead.org)
    pipeline.run_id, pipeline.patient = "run-2", True
    pipeline.take([activity(1)])
    with reading(dead.state) as connection:
        (step,) = runs.of_dag_run(connection, "peerspot_intent", "run-1")
    assert step["status"] == runs.INTERRUPTED


def test_letter_of_gone_record(world: World, poll: Poll) -> None:
    """Every DAG keeps the retention of log and letters, also one that runs without the others."""
    _contact(world, "a@acme.example")
    world.deployteq.refuse("a@acme.example")
    poll()
    later = datetime.now(UTC) + timedelta(days=31)
    from salesforce_sync.engine.maintain import Retention

    context = poll.context("push", client=False)
    assert keep_house(context, Retention(log_days=1, letter_days=30), now=later)
    with reading(poll.state) as connection:
        assert dead_letters.unresolved(connection) == []
        assert connection.execute(select(sync_runs.c.id)).first() is not None


def test_calls_taken_in_advance_outlive_the_hour(world: World, state_url: str) -> None:
    """What running tasks hold counts in the next hour too; what a dead one held is freed by name."""
    from salesforce_sync.state import api_budget as ledger
    from salesforce_sync.state.api_budget import UsageReport

    org, rule = "00D5g0000000001EAA", BudgetRule(0, 0)
    noon = datetime(2026, 11, 21, 12, 59, tzinfo=UTC)
    with open_state(state_url).begin() as connection:
        ledger.settle(connection, org, made=0, unused=0, report=UsageReport(0, 20, noon), now=noon, holder="a")
        assert ledger.take(connection, org, 15, rule, noon, holder="a") == 15
        later = noon + timedelta(minutes=2)
        assert ledger.take(connection, org, 15, rule, later, holder="b") == 5
        ledger.free(connection, "a")
        assert ledger.take(connection, org, 15, rule, later, holder="b") == 15


def test_an_org_without_calls_left_is_a_spent_budget(world: World, pipeline: Intent) -> None:
    pipeline.extract([activity(1)])
    said = {"code": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}
    world.salesforce_fault(kind="status", status=403, path="/composite/sobjects", times=1, **said)
    assert pipeline.load().limited
    assert pipeline.load().total == Counts(read=1, created=1)
