"""Undo: what a run wrote is taken back where nothing happened to it since; everything else is left alone and listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salesforce_sync.engine import undo as undoing
from salesforce_sync.engine.context import NO_BRAKES, Brakes
from salesforce_sync.engine.control import decide, let_in
from salesforce_sync.engine.dry import rehearsal
from salesforce_sync.engine.undo import AtVendor, InSalesforce, Selection, Undone, undo
from salesforce_sync.errors import ServiceUnavailable
from salesforce_sync.records import Counts
from salesforce_sync.state import held_out, plans, sync_log
from salesforce_sync.state.engine import open_state, reading
from support.flows import ACTIVITIES, Intent, Poll
from support.world import World, activity


def _undo(pipeline: Intent, *, dry: bool = False, **selection: Any) -> Undone:
    context = pipeline.context("undo")
    wanted = Selection(**({"run_id": pipeline.run_id} | selection))
    if not dry:
        return undo(
            context,
            ACTIVITIES,
            pipeline.mapping,
            InSalesforce(context, ACTIVITIES, pipeline.mapping),
            wanted,
            person="ann",
        )
    with rehearsal(context) as copy:
        return undo(
            copy, ACTIVITIES, pipeline.mapping, InSalesforce(copy, ACTIVITIES, pipeline.mapping), wanted, person="ann"
        )


def _cities(world: World) -> dict[str, str]:
    rows = world.query("SELECT PeerSpot_External_Id__c, City__c FROM PeerSpot_Activity__c")
    return {row["PeerSpot_External_Id__c"]: row["City__c"] for row in rows}


def _two_runs(pipeline: Intent, count: int = 3) -> list[dict[str, Any]]:
    """Records that were delivered from Utrecht, and then from Gouda; gives them as they are now."""
    pipeline.take([activity(number) for number in range(count)])
    pipeline.run_id = "run-2"
    records = [activity(number, city="Gouda", pages_visited=9) for number in range(count)]
    pipeline.take(records)
    return records


def test_a_run_is_undone_and_the_next_one_does_not_write_it_again(world: World, pipeline_on_both: Intent) -> None:
    pipeline = pipeline_on_both
    records = _two_runs(pipeline)
    assert (done := _undo(pipeline)) == Undone(restored=3), done
    rows = world.query("SELECT City__c, Pages_Visited__c, Processed__c FROM PeerSpot_Activity__c")
    assert rows == [{"City__c": "Utrecht", "Pages_Visited__c": 3.0, "Processed__c": False}] * 3
    pipeline.run_id = "run-3"
    assert pipeline.take(records).total == Counts(read=3, unchanged=3)
    assert pipeline.take(records, resend=True).total == Counts(read=3, skipped=3)
    assert set(_cities(world).values()) == {"Utrecht"}


def test_what_changes_at_its_source_after_an_undo_is_delivered(world: World, pipeline: Intent) -> None:
    records = _two_runs(pipeline)
    _undo(pipeline)
    pipeline.run_id = "run-3"
    assert pipeline.take([activity(0, city="Delft"), *records[1:]]).total == Counts(read=3, updated=1, unchanged=2)
    with reading(open_state(pipeline.state_url)) as connection:
        assert sorted(held_out.find(connection, world.client().org_id, ACTIVITIES, ["act-0", "act-1"])) == ["act-1"]


def test_a_second_undo_changes_nothing(world: World, pipeline: Intent) -> None:
    _two_runs(pipeline)
    _undo(pipeline)
    rows = world.query("SELECT Id, SystemModstamp FROM PeerSpot_Activity__c")
    assert _undo(pipeline) == Undone(left=dict.fromkeys(("act-0", "act-1", "act-2"), undoing.UNDONE_BEFORE))
    assert world.query("SELECT Id, SystemModstamp FROM PeerSpot_Activity__c") == rows


def test_what_somebody_changed_since_is_left_alone_and_listed(world: World, pipeline: Intent) -> None:
    _two_runs(pipeline)
    (row,) = world.query("SELECT Id FROM PeerSpot_Activity__c WHERE PeerSpot_External_Id__c = 'act-1'")
    world.update("PeerSpot_Activity__c", {"Id": row["Id"], "City__c": "Delft"})
    assert _undo(pipeline) == Undone(restored=2, left={"act-1": undoing.CHANGED})
    assert _cities(world) == {"act-0": "Utrecht", "act-1": "Delft", "act-2": "Utrecht"}
    with reading(open_state(pipeline.state_url)) as connection:
        assert sync_log.of_record(connection, "act-1")[0]["message"] == undoing.CHANGED


def test_a_field_alone_is_undone(world: World, pipeline: Intent) -> None:
    _two_runs(pipeline, 1)
    assert _undo(pipeline, fields=frozenset({"City__c"})) == Undone(restored=1)
    assert world.query("SELECT City__c, Pages_Visited__c FROM PeerSpot_Activity__c") == [
        {"City__c": "Utrecht", "Pages_Visited__c": 9.0}
    ]


def test_a_record_alone_is_undone_by_either_of_its_ids(world: World, pipeline: Intent) -> None:
    _two_runs(pipeline)
    (row,) = world.query("SELECT Id FROM PeerSpot_Activity__c WHERE PeerSpot_External_Id__c = 'act-1'")
    assert _undo(pipeline, run_id="", record_ids=frozenset({row["Id"]})) == Undone(restored=1)
    assert _undo(pipeline, run_id="", record_ids=frozenset({"act-2"})) == Undone(restored=1)
    assert _cities(world) == {"act-0": "Gouda", "act-1": "Utrecht", "act-2": "Utrecht"}


def test_a_run_that_was_followed_by_another_one_is_not_undone(world: World, pipeline: Intent) -> None:
    _two_runs(pipeline, 1)
    pipeline.run_id = "run-3"
    pipeline.take([activity(0, city="Delft")])
    assert _undo(pipeline, run_id="run-2") == Undone(left={"act-0": undoing.NEWER})
    assert _cities(world) == {"act-0": "Delft"}


def test_created_records_are_deleted_only_when_asked_and_only_untouched(world: World, pipeline: Intent) -> None:
    records = [activity(number) for number in range(3)]
    pipeline.take(records)
    assert _undo(pipeline) == Undone(left=dict.fromkeys(("act-0", "act-1", "act-2"), undoing.CREATED))
    (row,) = world.query("SELECT Id FROM PeerSpot_Activity__c WHERE PeerSpot_External_Id__c = 'act-1'")
    world.update("PeerSpot_Activity__c", {"Id": row["Id"], "City__c": "Delft"})
    assert _undo(pipeline, delete_created=True) == Undone(deleted=2, left={"act-1": undoing.CHANGED})
    assert _cities(world) == {"act-1": "Delft"}
    pipeline.run_id = "run-2"
    assert pipeline.take(records).total == Counts(read=3, unchanged=1, skipped=2)  # held out


def test_a_dry_undo_shows_its_plan_and_writes_nothing(world: World, pipeline: Intent) -> None:
    _two_runs(pipeline)
    assert _undo(pipeline, dry=True) == Undone()
    assert set(_cities(world).values()) == {"Gouda"}
    with reading(open_state(pipeline.state_url)) as connection:
        (plan,) = plans.with_status(connection, plans.DRY_RUN)
        assert held_out.find(connection, plan.org, ACTIVITIES, ["act-0"]) == {}
    assert (plan.target, plan.counts) == (f"undo/{ACTIVITIES}", {"update": 3})
    assert _undo(pipeline) == Undone(restored=3)


def test_a_record_that_is_let_in_is_read_and_written_again(world: World, pipeline: Intent) -> None:
    records = _two_runs(pipeline, 2)
    _undo(pipeline)
    assert let_in(pipeline.context("control"), ACTIVITIES, ["act-0", "unknown"], person="ann") == ["act-0"]
    pipeline.run_id = "run-3"
    assert pipeline.take(records, scheduled=True).total.updated == 1
    assert _cities(world) == {"act-0": "Gouda", "act-1": "Utrecht"}


def test_values_before_are_kept_where_the_mapping_says_so(world: World, pipeline: Intent) -> None:
    """So also the first update of a record that somebody else made is undone."""
    keeping = pipeline.mapping.model_copy(update={"keep_before": True})
    pipeline.take([activity(0)])
    (row,) = world.query("SELECT Id FROM PeerSpot_Activity__c")
    world.update("PeerSpot_Activity__c", {"Id": row["Id"], "City__c": "Delft"})
    pipeline.run_id = "run-2"
    pipeline.extract([activity(0, city="Gouda")])
    calls = world.org.usage.used
    pipeline.load(keeping)
    assert world.org.usage.used - calls == 3  # describe, the values before, the update
    assert _undo(pipeline) == Undone(restored=1)
    assert _cities(world) == {"act-0": "Delft"}


def test_an_undo_whose_answer_is_lost_is_no_reason_to_write_the_record_again(world: World, pipeline: Intent) -> None:
    records = _two_runs(pipeline, 1)
    world.salesforce_fault(kind="after", method="PATCH", path="composite/sobjects", times=10)
    with pytest.raises(ServiceUnavailable):
        _undo(pipeline)
    assert _cities(world) == {"act-0": "Utrecht"}
    world.org.faults.clear()
    pipeline.run_id = "run-3"
    assert pipeline.take(records, resend=True).total == Counts(read=1, skipped=1)
    assert _cities(world) == {"act-0": "Utrecht"}


# -- what is there before, and what a run wrote ------------------------------------------------------------------------


def test_what_an_undo_restored_is_what_was_there_before_the_next_run(world: World, pipeline: Intent) -> None:
    _two_runs(pipeline, 1)
    _undo(pipeline)
    pipeline.run_id = "run-3"
    pipeline.take([activity(0, city="Delft")])
    assert _undo(pipeline) == Undone(restored=1)
    assert _cities(world) == {"act-0": "Utrecht"}


def test_a_plan_that_was_only_a_question_is_nothing_that_was_there(world: World, pipeline: Intent) -> None:
    _two_runs(pipeline, 1)
    pipeline.brakes = Brakes(approve=True)
    pipeline.take([activity(0, city="Delft")])  # of the same run, and held
    pipeline.brakes, pipeline.run_id = NO_BRAKES, "run-3"
    pipeline.take([activity(0, city="Leiden")])
    assert _undo(pipeline) == Undone(restored=1)
    assert _cities(world) == {"act-0": "Gouda"}


def test_a_record_that_a_run_created_and_then_updated_was_created(world: World, pipeline: Intent) -> None:
    pipeline.take([activity(0)])
    pipeline.take([activity(0, city="Gouda")])
    assert _undo(pipeline, delete_created=True) == Undone(deleted=1)
    assert _cities(world) == {}


def test_a_field_that_the_plan_before_left_alone_has_its_value_from_an_earlier_one(
    world: World, pipeline: Intent
) -> None:
    country = pipeline.mapping.fields["Country__c"].model_copy(update={"when_empty": "keep"})
    keeping = pipeline.mapping.model_copy(update={"fields": pipeline.mapping.fields | {"Country__c": country}})
    for number, changes in enumerate(
        ({"country": "Belgium"}, {"country": None, "city": "Gouda"}, {"country": "France"})
    ):
        pipeline.run_id = f"run-{number}"
        pipeline.extract([activity(0, **changes)])
        pipeline.load(keeping)
    assert _undo(pipeline, fields=frozenset({"Country__c"})) == Undone(restored=1)
    assert world.query("SELECT Country__c FROM PeerSpot_Activity__c") == [{"Country__c": "Belgium"}]


def test_an_undo_that_never_arrived_is_done_by_the_next_one(world: World, pipeline: Intent) -> None:
    _two_runs(pipeline, 1)
    world.salesforce_fault(kind="status", status=503, method="PATCH", path="composite/sobjects", times=50)
    with pytest.raises(ServiceUnavailable):
        _undo(pipeline)
    world.org.faults.clear()
    assert _undo(pipeline) == Undone(restored=1)
    assert _cities(world) == {"act-0": "Utrecht"}


def test_an_undo_of_one_field_is_followed_by_one_of_the_others(world: World, pipeline: Intent) -> None:
    _two_runs(pipeline, 1)
    _undo(pipeline, fields=frozenset({"City__c"}))
    assert _undo(pipeline) == Undone(restored=1)
    assert world.query("SELECT City__c, Pages_Visited__c FROM PeerSpot_Activity__c") == [
        {"City__c": "Utrecht", "Pages_Visited__c": 3.0}
    ]


def test_an_undo_lets_nothing_in_that_was_rejected(world: World, pipeline: Intent) -> None:
    _two_runs(pipeline, 1)
    pipeline.brakes, pipeline.run_id = Brakes(approve=True), "run-3"
    held = pipeline.take([activity(0, city="Delft")]).held
    assert held is not None
    decide(pipeline.context("control"), held.id, allow=False, person="ann")
    pipeline.brakes = NO_BRAKES
    pipeline.load()
    _undo(pipeline, run_id="run-2")
    pipeline.run_id = "run-4"
    assert pipeline.take([activity(0, city="Delft")], resend=True).total == Counts(read=1, skipped=1)
    assert _cities(world) == {"act-0": "Utrecht"}


# -- at a vendor -------------------------------------------------------------------------------------------------------

CONTACTS = "deployteq/contacts"


@pytest.fixture
def poll(world: World, sqlite_url: str, tmp_path: Path, deployteq_hook: Any) -> Poll:
    return Poll(world, open_state(sqlite_url), tmp_path / "staging", deployteq_hook)


def _undo_at_vendor(poll: Poll, **selection: Any) -> Undone:
    context, mapping = poll.context("undo", client=False), poll.mappings[CONTACTS]
    wanted = Selection(**({"run_id": f"run-{poll.runs}"} | selection))
    return undo(context, CONTACTS, mapping, AtVendor("deployteq", mapping, poll.hook), wanted, person="ann")


def _contact(number: int, **changes: Any) -> dict[str, Any]:
    return {"LastName": f"Contact {number}", "Email": f"contact{number}@acme.example"} | changes


@pytest.mark.airflow
def test_customers_are_restored_but_for_their_consent(world: World, poll: Poll) -> None:
    first, second = world.insert(
        "Contact", *(_contact(number, FirstName="Ann", Deployteq_Opt_In__c=True) for number in (1, 2))
    )
    poll()
    world.org.clock.shift(600)
    world.update(
        "Contact", *({"Id": record, "FirstName": "Bea", "Deployteq_Opt_In__c": False} for record in (first, second))
    )
    poll()
    next(customer for customer in world.deployteq.state.customers.values() if customer["externalId"] == second)[
        "firstname"
    ] = "Cor"
    assert _undo_at_vendor(poll) == Undone(restored=1, left={second: undoing.CHANGED})
    assert [(item["firstname"], item["optIn"]) for item in world.customers] == [("Ann", "N"), ("Cor", "N")]
    before = world.customers
    poll(full=True)
    poll(full=True, resend=True)
    assert world.customers[0] == before[0]  # the other one was left alone, and is sent again


@pytest.mark.airflow
def test_only_a_customer_that_the_run_itself_made_and_nobody_shares_or_changed_is_deleted(
    world: World, poll: Poll
) -> None:
    world.add_customer({"emailAddress": "contact1@acme.example", "lastname": "Stranger", "optIn": "N"})
    ids = world.insert("Contact", *(_contact(number, Deployteq_Opt_In__c=True) for number in (1, 2, 3, 4)))
    world.insert("Contact", _contact(4, LastName="The same address"))
    poll()
    for customer in world.deployteq.state.customers.values():
        if customer["externalId"] == ids[2]:
            customer["optIn"] = "N"  # this person said no since
    done = _undo_at_vendor(poll, delete_created=True)
    assert done.deleted == 1
    assert ids[1] not in {customer["externalId"] for customer in world.customers}
    assert done.left[ids[2]] == undoing.CHANGED
    assert len(world.customers) == 3
    # Who comes with that address later is new, and its yes counts.
    world.org.clock.shift(600)
    world.insert("Contact", _contact(9, Email="contact2@acme.example", Deployteq_Opt_In__c=True))
    poll()
    assert [item["optIn"] for item in world.customers if item["emailAddress"] == "contact2@acme.example"] == ["Y"]
