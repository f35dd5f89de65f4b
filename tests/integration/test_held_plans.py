"""Plans that wait for a person: what the brakes hold, what passes all the same, and what a decision lets through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from salesforce_sync.engine import brakes as braking
from salesforce_sync.engine.context import NO_BRAKES, Brakes
from salesforce_sync.engine.control import decide, let_in
from salesforce_sync.errors import HeldBack, InvalidParameter, StagedDataMissing
from salesforce_sync.records import HELD_OUT, Counts
from salesforce_sync.state import inbox, plans, runs
from salesforce_sync.state.engine import open_state, reading
from salesforce_sync.state.plans import Plan
from support.flows import ACTIVITIES, Intent, Poll
from support.world import World, activity

CONTACTS, LEADS = "deployteq/contacts", "deployteq/leads"
STRICT = Brakes(first_contact=100, empty_percent=10, delete_percent=10, unknown_paths=True)


@pytest.fixture
def poll(poll: Poll) -> Poll:
    poll.brakes = STRICT
    return poll


def _contact(number: int, **changes: Any) -> dict[str, Any]:
    return {"LastName": f"Contact {number}", "Email": f"contact{number}@acme.example"} | changes


def _held(state: Any) -> list[Plan]:
    with reading(state) as connection:
        return plans.with_status(connection, plans.HELD)


def _status(state: Any, plan: Plan) -> str:
    with reading(state) as connection:
        found = plans.get(connection, plan.id)
    assert found is not None
    return found.status


# -- first contact -----------------------------------------------------------------------------------------------------


@pytest.mark.airflow
def test_the_first_poll_of_many_waits_for_a_person_and_then_sends_all(world: World, poll: Poll) -> None:
    world.insert("Contact", *(_contact(number) for number in range(101)))
    poll.extract()
    calls = world.deployteq.calls.total()
    with pytest.raises(HeldBack, match=r"101 records would go to deployteq for the first time") as raised:
        poll.push()
    assert "action `allow` or `reject`, plan" in str(raised.value)
    assert world.customers == []
    (plan,) = _held(poll.state)
    assert json.loads((Path(plan.path) / "summary.json").read_text())["counts"] == {"create": 101}
    # Later runs are green, leave the question as it is, read on, and ask the vendor nothing.
    world.insert("Contact", _contact(200))
    calls = world.deployteq.calls.total()
    assert poll()[CONTACTS].created == 0
    assert (_held(poll.state), world.deployteq.calls.total() - calls) == ([plan], 0)
    decide(poll.context("control", client=False), plan.id, allow=True, person="ann")
    assert poll()[CONTACTS].created == 102
    assert (len(world.customers), _status(poll.state, plan), _held(poll.state)) == (102, plans.DONE, [])


@pytest.mark.airflow
def test_a_few_that_were_delivered_before_do_not_open_the_way_for_thousands(world: World, poll: Poll) -> None:
    world.insert("Contact", _contact(1), _contact(2))
    poll()
    world.insert("Contact", *(_contact(number) for number in range(10, 130)))
    with pytest.raises(HeldBack, match="where 2 were delivered before"):
        poll()
    assert len(world.customers) == 2


@pytest.mark.airflow
def test_a_decision_is_for_its_numbers(world: World, poll: Poll) -> None:
    world.insert("Contact", *(_contact(number) for number in range(110)))
    with pytest.raises(HeldBack):
        poll()
    (plan,) = _held(poll.state)
    decide(poll.context("control", client=False), plan.id, allow=True, person="ann")
    world.insert("Contact", *(_contact(number) for number in range(200, 340)))
    with pytest.raises(HeldBack, match="250 records"):
        poll()
    assert (world.customers, _status(poll.state, plan), len(_held(poll.state))) == ([], plans.REPLACED, 1)


@pytest.mark.airflow
def test_a_rejected_plan_is_left_out_until_a_record_changes_or_is_let_in(world: World, poll: Poll) -> None:
    ids = world.insert("Contact", *(_contact(number) for number in range(101)))
    with pytest.raises(HeldBack):
        poll()
    (plan,) = _held(poll.state)
    control = poll.context("control", client=False)
    decide(control, plan.id, allow=False, person="ann", reason="not these")
    assert poll.push()[CONTACTS] == Counts(read=101, skipped=101)
    assert poll.history(ids[0])[0] == ("skipped", HELD_OUT)
    assert (world.customers, _held(poll.state)) == ([], [])
    world.org.clock.shift(600)
    world.update("Contact", {"Id": ids[0], "FirstName": "Ann"})
    let_in(control, CONTACTS, [ids[1]], person="ann")
    assert sum(count.created for count in poll().values()) == 2
    assert {customer["externalId"] for customer in world.customers} == {ids[0], ids[1]}


@pytest.mark.airflow
def test_no_brake_holds_a_withdrawal_of_consent(world: World, poll: Poll) -> None:
    (known,) = world.insert("Contact", _contact(1, Deployteq_Opt_In__c=True))
    poll()
    assert world.customers[0]["optIn"] == "Y"
    world.org.clock.shift(600)
    world.update("Contact", {"Id": known, "Deployteq_Opt_In__c": False, "FirstName": "Ann"})
    world.insert("Contact", *(_contact(number) for number in range(10, 130)))
    with pytest.raises(HeldBack):
        poll()
    assert [(item["optIn"], item["firstname"]) for item in world.customers] == [("N", "")]
    calls = world.deployteq.calls.total()
    poll()
    assert world.deployteq.calls.total() == calls  # it is not withdrawn once more with every run


@pytest.mark.airflow
def test_many_deletions_at_the_vendor_wait_and_everything_else_goes_on(world: World, poll: Poll) -> None:
    poll.delete = True
    ids = world.insert("Contact", *(_contact(number, Deployteq_Opt_In__c=True) for number in range(60)))
    poll()
    world.org.clock.shift(600)
    world.delete("Contact", *ids[:30])
    world.update("Contact", {"Id": ids[40], "FirstName": "Ann"})
    with pytest.raises(HeldBack, match="30 of 60 records would be deleted"):
        poll()
    assert len(world.customers) == 60
    assert [item["firstname"] for item in world.customers if item["externalId"] == ids[40]] == ["Ann"]
    (plan,) = _held(poll.state)
    decide(poll.context("control", client=False), plan.id, allow=False, person="ann")
    poll()
    # Rejected is the deletion, not what the end of a record means besides: consent is withdrawn.
    assert [item["optIn"] for item in world.customers] == ["N"] * 30 + ["Y"] * 30
    assert _held(poll.state) == []


@pytest.mark.airflow
def test_consent_of_records_that_are_gone_is_withdrawn_while_their_deletion_waits(world: World, poll: Poll) -> None:
    _thirty_of_sixty(world, poll)
    assert [item["optIn"] for item in world.customers] == ["N"] * 30 + ["Y"] * 30
    calls = world.deployteq.calls.total()
    poll()
    assert world.deployteq.calls.total() == calls  # and not with every run


@pytest.mark.airflow
def test_while_deletions_wait_a_known_customer_keeps_its_no_and_nobody_is_made_twice(world: World, poll: Poll) -> None:
    ids = _thirty_of_sixty(world, poll)
    for number in (98, 99):
        world.add_customer({"emailAddress": f"new{number}@acme.example", "optIn": "N"})
    world.org.clock.shift(600)
    world.insert("Contact", _contact(99, Email="new99@acme.example", Deployteq_Opt_In__c=True))
    world.update("Contact", {"Id": ids[50], "Email": "new98@acme.example"})
    poll()
    (plan,) = _held(poll.state)
    found = {item["emailAddress"]: item["optIn"] for item in world.customers if item["emailAddress"].startswith("new")}
    assert (
        found["new99@acme.example"],
        len([item for item in world.customers if "new98" in item["emailAddress"]]),
    ) == ("N", 1)
    decide(poll.context("control", client=False), plan.id, allow=True, person="ann")
    poll()
    # What the record that moved was before is deleted with the others: a move and its deletion are one.
    assert [item for item in world.customers if item["emailAddress"] == "contact50@acme.example"] == []
    assert len(world.customers) == 31


def _thirty_of_sixty(world: World, poll: Poll) -> list[str]:
    """Half of the customers would be deleted, which waits; gives the ids of all."""
    poll.delete = True
    ids = world.insert("Contact", *(_contact(number, Deployteq_Opt_In__c=True) for number in range(60)))
    poll()
    world.org.clock.shift(600)
    world.delete("Contact", *ids[:30])
    with pytest.raises(HeldBack, match="30 of 60 records would be deleted"):
        poll()
    return ids


@pytest.mark.airflow
def test_a_no_goes_before_the_move_that_waits_and_also_when_the_rest_was_rejected(world: World, poll: Poll) -> None:
    first, second = world.insert("Contact", *(_contact(number, Deployteq_Opt_In__c=True) for number in (1, 2)))
    poll()
    world.org.clock.shift(600)
    poll.brakes = Brakes(approve=True)
    world.update(
        "Contact",
        {"Id": first, "Email": "other@acme.example", "Deployteq_Opt_In__c": False},
        {"Id": second, "FirstName": "Ann"},
    )
    poll()
    assert [(item["emailAddress"], item["optIn"]) for item in world.customers] == [
        ("contact1@acme.example", "N"), ("contact2@acme.example", "Y"),
    ]  # fmt: skip
    (plan,) = _held(poll.state)
    decide(poll.context("control", client=False), plan.id, allow=False, person="ann")
    world.org.clock.shift(600)
    poll.brakes = STRICT
    poll()
    assert [(item["emailAddress"], item["firstname"]) for item in world.customers] == [
        ("contact1@acme.example", ""), ("contact2@acme.example", ""),
    ]  # fmt: skip


# -- what would be emptied ---------------------------------------------------------------------------------------------


def _strict(pipeline: Intent) -> Intent:
    pipeline.brakes = STRICT
    return pipeline


def _misspelt(pipeline: Intent) -> Any:
    country = pipeline.mapping.fields["Country__c"].model_copy(update={"vendor": "contry"})
    return pipeline.mapping.model_copy(update={"fields": pipeline.mapping.fields | {"Country__c": country}})


def _extract(pipeline: Intent, mapping: Any, records: list[dict[str, Any]]) -> None:
    from datetime import date

    from salesforce_sync.engine.read_days import Span, read_days
    from salesforce_sync.windows import DateWindow
    from support.flows import RecordsSource

    day = date(2026, 11, 10)
    read_days(
        pipeline.context("extract"),
        RecordsSource(records),
        ACTIVITIES,
        mapping,
        Span(DateWindow(day, day)),
        today=pipeline.today,
    )


def test_a_path_that_no_record_has_waits_and_a_corrected_mapping_needs_no_decision(
    world: World, pipeline_on_both: Intent
) -> None:
    pipeline = _strict(pipeline_on_both)
    records = [activity(number) for number in range(60)]
    pipeline.take(records)
    wrong = _misspelt(pipeline)
    pipeline.run_id = "run-2"
    _extract(pipeline, wrong, records)
    with pytest.raises(
        HeldBack, match=r"reads 'contry', which is in none of 60 records, and never was: is it misspelt\?"
    ):
        pipeline.load(wrong)
    rows = world.query("SELECT Country__c FROM PeerSpot_Activity__c WHERE Country__c = null")
    assert rows == []
    (plan,) = _held(open_state(pipeline.state_url))
    pipeline.run_id = "run-3"
    pipeline.extract(records)
    with pytest.raises(StagedDataMissing, match="it lacks a field that the mapping reads now"):
        pipeline.load()
    assert pipeline.take(records).total == Counts(read=60, unchanged=60)
    assert _status(open_state(pipeline.state_url), plan) == plans.REPLACED


def test_a_path_that_people_let_pass_is_not_asked_of_again(world: World, pipeline: Intent) -> None:
    _strict(pipeline)
    wrong = _misspelt(pipeline)
    _extract(pipeline, wrong, [activity(number) for number in range(60)])
    with pytest.raises(HeldBack):
        pipeline.load(wrong)
    (plan,) = _held(open_state(pipeline.state_url))
    decide(pipeline.context("control"), plan.id, allow=True, person="ann")
    assert pipeline.load(wrong).total.created == 60
    _extract(pipeline, wrong, [activity(number, city="Gouda") for number in range(60)])
    assert pipeline.load(wrong).total.updated == 60


def test_a_value_that_vanishes_from_many_records_waits(world: World, pipeline: Intent) -> None:
    _strict(pipeline)
    pipeline.take([activity(number) for number in range(100)])
    pipeline.extract([activity(number, country=None if number < 30 else "Netherlands") for number in range(100)])
    with pytest.raises(
        HeldBack, match=r"30 records would lose their Country__c: country is empty in 30 % of 100 records"
    ):
        pipeline.load()
    assert world.query("SELECT Id FROM PeerSpot_Activity__c WHERE Country__c = null") == []
    (plan,) = _held(open_state(pipeline.state_url))
    decide(pipeline.context("control"), plan.id, allow=True, person="ann")
    assert pipeline.load().total.updated == 30


@pytest.mark.parametrize("lost", [braking.FLOOR, 9])
def test_few_emptied_values_and_a_usual_share_of_them_pass(world: World, pipeline: Intent, lost: int) -> None:
    _strict(pipeline)
    pipeline.take([activity(number) for number in range(100)])
    pipeline.extract([activity(number, country=None if number < lost else "Netherlands") for number in range(100)])
    assert pipeline.load().total.updated == lost


def test_a_field_whose_path_was_changed_and_a_list_that_is_empty_are_emptied_too(
    world: World, pipeline: Intent
) -> None:
    _strict(pipeline)
    pipeline.take([activity(number) for number in range(60)])
    renamed = pipeline.mapping.fields["Country__c"].model_copy(update={"vendor": "land"})
    mapping = pipeline.mapping.model_copy(update={"fields": pipeline.mapping.fields | {"Country__c": renamed}})
    _extract(
        pipeline, mapping, [activity(number) | ({"land": "Belgium"} if number == 1 else {}) for number in range(60)]
    )
    with pytest.raises(
        HeldBack,
        match="59 records would lose their Country__c: land is empty in 98 % of 60 records read, and was not read",
    ):
        pipeline.load(mapping)
    state = open_state(pipeline.state_url)
    decide(pipeline.context("control"), _held(state)[0].id, allow=False, person="ann")
    pipeline.load(mapping)
    pipeline.extract([activity(number, products=[]) for number in range(60)])
    with pytest.raises(HeldBack, match="60 records would lose their Products__c"):
        pipeline.load()


# -- approval ----------------------------------------------------------------------------------------------------------


def _approving(pipeline: Intent) -> Intent:
    pipeline.brakes = Brakes(approve=True)
    return pipeline


def test_with_approval_every_plan_waits_and_exactly_its_rows_are_written(
    world: World, pipeline_on_both: Intent
) -> None:
    pipeline = _approving(pipeline_on_both)
    pipeline.extra["questions"] = questions = []
    loaded = pipeline.take([activity(1), activity(2)])
    assert loaded.held is not None
    assert (loaded.total, questions, world.count("PeerSpot_Activity__c")) == (Counts(), [loaded.held], 0)
    decide(pipeline.context("control"), loaded.held.id, allow=True, person="ann")
    pipeline.run_id = "run-2"
    later = pipeline.take([activity(2), activity(3)])  # one more waits for the next question
    assert later.total.created == 2
    assert later.held is not None
    assert later.held.counts["create"] == 1
    assert world.count("PeerSpot_Activity__c") == 2
    with reading(open_state(pipeline.state_url)) as connection:
        decided = plans.get(connection, loaded.held.id)
    assert decided is not None
    assert (decided.status, decided.decided_by) == (plans.DONE, "ann")


def test_an_approved_plan_leaves_exactly_what_changed_meanwhile(world: World, pipeline: Intent) -> None:
    pipeline.take([activity(number) for number in range(6)])
    _approving(pipeline)
    pipeline.run_id = "run-2"
    loaded = pipeline.take([activity(number, city="Gouda") for number in range(6)])
    assert loaded.held is not None
    ids = {
        row["PeerSpot_External_Id__c"]: row["Id"]
        for row in world.query("SELECT Id, PeerSpot_External_Id__c FROM PeerSpot_Activity__c")
    }
    world.update(
        "PeerSpot_Activity__c", {"Id": ids["act-1"], "City__c": "Delft"}, {"Id": ids["act-2"], "Country__c": "Belgium"}
    )
    decide(pipeline.context("control"), loaded.held.id, allow=True, person="ann")
    pipeline.run_id = "run-3"
    pipeline.extract([activity(3, city="Leiden")])  # a newer version of one that was approved
    later = pipeline.load()
    rows = world.query(
        "SELECT PeerSpot_External_Id__c, City__c FROM PeerSpot_Activity__c ORDER BY PeerSpot_External_Id__c"
    )
    assert [row["City__c"] for row in rows] == ["Gouda", "Delft", "Utrecht", "Utrecht", "Gouda", "Gouda"]
    assert later.held is not None
    assert later.held.counts["update"] == 3


def test_the_derived_steps_wait_too(world: World, pipeline: Intent) -> None:
    world.insert("Account", {"Name": "Acme", "Website": "acme.com"})
    pipeline.run(activity(1))
    pipeline.take([activity(1, city="Gouda")])
    _approving(pipeline)
    pipeline.extra["questions"] = questions = []
    pipeline.process()
    state = open_state(pipeline.state_url)
    (plan,) = _held(state)
    pipeline.process()
    assert questions == [plan]  # people are told of it by mail, and not again the same day
    assert (plan.target, plan.counts) == ("peerspot/process", {"update": 1})
    assert world.query("SELECT Processed__c FROM PeerSpot_Activity__c") == [{"Processed__c": False}]
    decide(pipeline.context("control"), plan.id, allow=True, person="ann")
    pipeline.process()
    assert world.query("SELECT Processed__c FROM PeerSpot_Activity__c") == [{"Processed__c": True}]
    assert _status(state, plan) == plans.DONE


def test_an_activity_is_not_processed_while_a_tie_of_it_waits(world: World, pipeline: Intent) -> None:
    firewall, router = {"id": "101", "name": "Firewall"}, {"id": "102", "name": "Router"}
    world.insert("Account", {"Name": "Acme", "Website": "acme.com"})
    pipeline.run(activity(2, products=[firewall, router]))
    pipeline.take([activity(1, products=[firewall])])
    _approving(pipeline)
    pipeline.process()
    state = open_state(pipeline.state_url)
    decide(pipeline.context("control"), _held(state)[0].id, allow=True, person="ann")
    pipeline.brakes = NO_BRAKES
    pipeline.take([activity(1, products=[firewall, router])])
    _approving(pipeline)
    pipeline.process()
    processed = world.query("SELECT Processed__c FROM PeerSpot_Activity__c WHERE PeerSpot_External_Id__c = 'act-1'")
    assert (processed, len(_held(state))) == ([{"Processed__c": False}], 1)


# -- deletions ---------------------------------------------------------------------------------------------------------


def test_a_clean_up_of_too_much_waits_and_is_let_pass(world: World, pipeline: Intent) -> None:
    _strict(pipeline)
    pipeline.take([activity(number) for number in range(60)])
    with pytest.raises(HeldBack, match=r"60 of 60 records would be deleted, 100 %, of PeerSpot_Activity__c before"):
        pipeline.clean(days=1)
    assert world.count("PeerSpot_Activity__c") == 60
    state = open_state(pipeline.state_url)
    (plan,) = _held(state)
    assert pipeline.clean(days=1) == Counts()  # the question is known: later runs are green
    decide(pipeline.context("control"), plan.id, allow=True, person="ann")
    assert pipeline.clean(days=1).deleted == 60
    assert (_held(state), _status(state, plan)) == ([], plans.DONE)


# -- deciding ----------------------------------------------------------------------------------------------------------


def test_only_a_plan_that_is_held_can_be_decided(world: World, pipeline: Intent) -> None:
    _approving(pipeline)
    loaded = pipeline.take([activity(1)])
    assert loaded.held is not None
    control = pipeline.context("control")
    decide(control, loaded.held.id, allow=True, person="ann")
    with pytest.raises(
        InvalidParameter,
        match=f"Plan {loaded.held.id} of {ACTIVITIES} does not wait for a decision: it is allowed, by ann",
    ):
        decide(control, loaded.held.id, allow=False, person="bob")
    with pytest.raises(InvalidParameter, match="There is no plan 999"):
        decide(control, 999, allow=True, person="ann")


def test_a_held_run_says_so_and_its_records_balance(world: World, pipeline: Intent) -> None:
    _approving(pipeline)
    pipeline.take([activity(1), activity(2)])
    state = open_state(pipeline.state_url)
    with reading(state) as connection:
        (step,) = [row for row in runs.of_dag_run(connection, "peerspot_intent", "run-1") if row["task_id"] == "load"]
        waiting = inbox.waiting(connection, world.client().org_id, [ACTIVITIES])
    assert step["status"] == runs.HELD
    assert "waits for a person: 2 changes of peerspot/activities wait" in step["message"]
    assert [int(batch.open_rows.sum()) for batch in waiting] == [2]
