"""Undo of what the sync of records with SPOTIO wrote, on either side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from emulators.vendors.spotio.workflow import LEAD
from salesforce_sync.engine.two_way.end import TwoWay
from salesforce_sync.engine.two_way.sides import Rules
from salesforce_sync.engine.two_way.undoing import undo_both_ways
from salesforce_sync.engine.undo import CHANGED, CREATED, UNDONE_BEFORE, Selection, Undone
from salesforce_sync.errors import SyncError
from support.flows import BothWays
from support.world import World

pytestmark = pytest.mark.airflow
COMPANY, LAST_NAME, PHONE, TITLE = 1001, 1003, 1004, 1012


def undo(flow: BothWays, **selection: Any) -> Undone:
    context = flow.context("undo")
    end = TwoWay(context, flow.flow, flow.mapping, flow.hook(), flow.rules)
    return undo_both_ways(end, "spotio", Selection(**selection), person="Rosa")


def spotio_lead(world: World) -> None:
    """A lead that somebody makes in SPOTIO."""
    fields = [{"fieldId": str(COMPANY), "value": "Acme"}, {"fieldId": str(LAST_NAME), "value": "Smit"}]
    world.spotio.state.create({"typeId": LEAD, "fields": fields})


def edit(world: World, spotio_id: str, **values: str) -> None:
    numbers = {"Company": COMPANY, "Title": TITLE, "Phone": PHONE}
    fields = [{"fieldId": str(numbers[name]), "value": value} for name, value in values.items()]
    world.spotio.state.change(spotio_id, {"fields": fields}, by=12)


def at_spotio(world: World) -> dict[int, Any]:
    (known,) = world.spotio.state.objects.values()
    fields: dict[int, Any] = known["fields"]
    return fields


def in_salesforce(world: World) -> dict[str, Any]:
    (row,) = world.query("SELECT Company, Title, Phone, NumberOfEmployees, Status FROM Lead")
    return row


@pytest.fixture
def linked(both_ways: BothWays, world: World) -> tuple[str, str]:
    (lead_id,) = world.insert("Lead", {"Company": "Acme", "LastName": "Smit", "Title": "Buyer", "NumberOfEmployees": 7})
    both_ways()
    (known,) = world.spotio.state.objects.values()
    return lead_id, known["id"]


def test_both_sides_of_a_run_are_set_back_and_stay_so(
    both_ways: BothWays, linked: tuple[str, str], world: World
) -> None:
    lead_id, spotio_id = linked
    world.update("Lead", {"Id": lead_id, "Title": "CFO", "NumberOfEmployees": 9})
    edit(world, spotio_id, Company="Acme N.V.")
    assert both_ways().updated == 2
    done = undo(both_ways, run_id=f"run-{both_ways.runs}")
    assert (done.restored, done.left) == (2, {})
    assert (at_spotio(world)[TITLE], in_salesforce(world)["Company"]) == ("Buyer", "Acme")
    assert (in_salesforce(world)["Title"], at_spotio(world)[COMPANY]) == ("CFO", "Acme N.V.")
    for full in (False, True):
        counts = both_ways(full=full)
        assert (counts.updated, counts.created, counts.rejected) == (0, 0, 0)
    assert at_spotio(world)[TITLE] == "Buyer"
    assert both_ways.history(lead_id)[0][0] in ("unchanged", "updated")


def test_the_next_change_of_either_side_goes_over(both_ways: BothWays, linked: tuple[str, str], world: World) -> None:
    lead_id, spotio_id = linked
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    both_ways()
    undo(both_ways, run_id=f"run-{both_ways.runs}")
    both_ways()
    world.update("Lead", {"Id": lead_id, "Title": "CEO"})
    assert both_ways().updated == 1
    assert at_spotio(world)[TITLE] == "CEO"
    undo(both_ways, run_id=f"run-{both_ways.runs}")
    both_ways()
    edit(world, spotio_id, Title="Chair")
    both_ways()
    assert (in_salesforce(world)["Title"], at_spotio(world)[TITLE]) == ("Chair", "Chair")


def test_what_somebody_changed_since_is_left_alone(both_ways: BothWays, linked: tuple[str, str], world: World) -> None:
    lead_id, spotio_id = linked
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    both_ways()
    edit(world, spotio_id, Title="Chief")
    done = undo(both_ways, run_id=f"run-{both_ways.runs}")
    assert (done.restored, done.left) == (0, {spotio_id: CHANGED})
    assert at_spotio(world)[TITLE] == "Chief"


def test_an_undo_can_be_of_a_field_and_is_done_once(both_ways: BothWays, linked: tuple[str, str], world: World) -> None:
    lead_id, spotio_id = linked
    world.update("Lead", {"Id": lead_id, "Title": "CFO", "Phone": "+31 30 1234567"})
    both_ways()
    chosen = {"record_ids": frozenset({lead_id}), "fields": frozenset({"Title"})}
    assert undo(both_ways, **chosen).restored == 1
    assert (at_spotio(world)[TITLE], at_spotio(world)[PHONE]) == ("Buyer", "+31 30 1234567")
    again = undo(both_ways, **chosen)
    assert (again.restored, again.left) == (0, {spotio_id: UNDONE_BEFORE})


def test_the_value_before_is_in_the_type_of_its_field(
    both_ways: BothWays, linked: tuple[str, str], world: World
) -> None:
    _, spotio_id = linked
    world.spotio.state.change(spotio_id, {"fields": [{"fieldId": "1007", "value": "12"}], "stageId": 2}, by=12)
    both_ways()
    assert in_salesforce(world)["NumberOfEmployees"] == 12
    assert undo(both_ways, run_id=f"run-{both_ways.runs}").restored == 1
    assert (in_salesforce(world)["NumberOfEmployees"], in_salesforce(world)["Status"]) == (7, "Open - Not Contacted")


@pytest.mark.parametrize("at_vendor", [True, False])
def test_a_created_record_is_deleted_when_asked_and_not_created_again(
    both_ways: BothWays, world: World, *, at_vendor: bool
) -> None:
    if at_vendor:
        world.insert("Lead", {"Company": "Acme", "LastName": "Smit"})
    else:
        spotio_lead(world)
    both_ways()
    run = f"run-{both_ways.runs}"
    assert set(undo(both_ways, run_id=run).left.values()) == {CREATED}
    done = undo(both_ways, run_id=run, delete_created=True)
    assert (done.deleted, done.left) == (1, {})
    there = (world.count("Lead"), len(world.spotio.state.objects))
    assert there == ((1, 0) if at_vendor else (0, 1))
    world.later(60)
    for name in world.query("SELECT Id FROM Lead"):
        world.update("Lead", {"Id": name["Id"], "Title": "CFO"})
    for spotio_id in [*world.spotio.state.objects]:
        edit(world, spotio_id, Title="CFO")
    counts = both_ways()
    assert (counts.created, counts.skipped) == (0, 2)  # the edit, and the deletion as it is read
    assert (world.count("Lead"), len(world.spotio.state.objects)) == there


@pytest.mark.parametrize("field", ["Title", "Phone"])  # Phone was empty when the record was made
def test_a_created_record_that_people_edited_is_left_alone(
    both_ways: BothWays, linked: tuple[str, str], world: World, field: str
) -> None:
    _, spotio_id = linked
    edit(world, spotio_id, **{field: "030 7654321"})
    done = undo(both_ways, run_id=f"run-{both_ways.runs}", delete_created=True)
    assert (done.deleted, done.left) == (0, {spotio_id: CHANGED})


def test_a_record_that_somebody_else_changed_in_salesforce_is_left_alone(
    both_ways: BothWays, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spotio_lead(world)
    both_ways()
    (row,) = world.query("SELECT Id FROM Lead")
    with monkeypatch.context() as patched:
        patched.setattr(world.org.dml, "user_id", lambda: "0055g0000000099AAA")
        world.update("Lead", {"Id": row["Id"], "Rating": "Hot"})  # no mapping has it
    done = undo(both_ways, run_id=f"run-{both_ways.runs}", delete_created=True)
    assert (done.deleted, done.left) == (0, {row["Id"]: CHANGED})


@pytest.mark.parametrize("at_vendor", [True, False])
def test_a_deletion_without_an_answer_is_not_followed(both_ways: BothWays, world: World, *, at_vendor: bool) -> None:
    """Else an undo of the copy would delete the record that it was made from."""
    flow = replace(both_ways, rules=Rules(first="all", follow_deletes=True))
    if at_vendor:
        world.insert("Lead", {"Company": "Acme", "LastName": "Smit"})
    else:
        spotio_lead(world)
    flow()
    fault = {"kind": "after", "method": "DELETE", "status": 503, "times": 9}
    if at_vendor:
        world.vendor_fault(path="/api/DataObjects", **fault)
    else:
        world.salesforce_fault(path="/composite/sobjects", **fault)
    with pytest.raises(SyncError):
        undo(flow, run_id=f"run-{flow.runs}", delete_created=True)
    world.vendors.faults.clear()
    world.org.faults.clear()
    world.later(60)
    flow()
    flow(full=True)
    assert (world.count("Lead"), len(world.spotio.state.objects)) == ((1, 0) if at_vendor else (0, 1))


def test_an_edit_that_comes_after_the_run_still_goes_over(
    both_ways: BothWays, linked: tuple[str, str], world: World
) -> None:
    lead_id, _ = linked
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    both_ways()
    world.later(60)
    world.update("Lead", {"Id": lead_id, "Title": "CEO"})
    assert undo(both_ways, run_id=f"run-{both_ways.runs}").restored == 1
    both_ways()
    both_ways(full=True)
    assert (in_salesforce(world)["Title"], at_spotio(world)[TITLE]) == ("CEO", "CEO")


def test_a_refused_undo_leaves_everything_as_it_was(both_ways: BothWays, linked: tuple[str, str], world: World) -> None:
    _, spotio_id = linked
    edit(world, spotio_id, Title="CFO")
    both_ways()
    rule = {"object": "Lead", "name": "Bad", "condition": "Title = 'Buyer'", "message": "no"}
    world.org.policies.add({"validation": [rule]}, world.org.schema)
    world.later(60)
    edit(world, spotio_id, Title="CEO")
    assert undo(both_ways, run_id=f"run-{both_ways.runs}").refused == 1
    both_ways()
    both_ways()
    assert (in_salesforce(world)["Title"], at_spotio(world)[TITLE]) == ("CEO", "CEO")


@pytest.mark.parametrize("direction", ["to_vendor", "to_salesforce"])
def test_a_field_of_one_direction_is_set_back(both_ways: BothWays, world: World, direction: str) -> None:
    fields = dict(both_ways.mapping.fields)
    fields["Title"] = fields["Title"].model_copy(update={"direction": direction})
    flow = replace(both_ways, mapping=both_ways.mapping.model_copy(update={"fields": fields}))
    (lead_id,) = world.insert("Lead", {"Company": "Acme", "LastName": "Smit"})
    flow()
    (known,) = world.spotio.state.objects.values()
    if direction == "to_vendor":
        world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    else:
        edit(world, known["id"], Title="CFO")
    flow()
    done = undo(flow, run_id=f"run-{flow.runs}")
    assert (done.restored, done.left) == (1, {})
    assert TITLE not in at_spotio(world) if direction == "to_vendor" else in_salesforce(world)["Title"] is None


def test_what_people_write_into_an_emptied_field_is_left_alone(both_ways: BothWays, world: World) -> None:
    fields = dict(both_ways.mapping.fields)
    fields["Title"] = fields["Title"].model_copy(update={"direction": "to_vendor"})
    flow = replace(both_ways, mapping=both_ways.mapping.model_copy(update={"fields": fields}))
    (lead_id,) = world.insert("Lead", {"Company": "Acme", "LastName": "Smit", "Title": "Buyer"})
    flow()
    world.update("Lead", {"Id": lead_id, "Title": None})
    flow()
    (known,) = world.spotio.state.objects.values()
    edit(world, known["id"], Title="Own")
    assert undo(flow, run_id=f"run-{flow.runs}").left == {known["id"]: CHANGED}
    assert at_spotio(world)[TITLE] == "Own"


def test_a_field_can_be_undone_before_the_rest_of_its_run(
    both_ways: BothWays, linked: tuple[str, str], world: World
) -> None:
    lead_id, _ = linked
    world.update("Lead", {"Id": lead_id, "Title": "CFO", "Phone": "+31 30 1234567"})
    both_ways()
    run = f"run-{both_ways.runs}"
    assert undo(both_ways, run_id=run, fields=frozenset({"Title"})).restored == 1
    done = undo(both_ways, run_id=run)
    assert (done.restored, done.left) == (1, {})
    assert (at_spotio(world)[TITLE], PHONE in at_spotio(world)) == ("Buyer", False)


def test_an_owner_that_only_one_side_knows_is_not_emptied(both_ways: BothWays, world: World) -> None:
    (profile,) = world.query("SELECT Id FROM Profile LIMIT 1")
    sam, tess, other = (
        world.insert("User", {
            "Username": f"{name}@example.invalid", "LastName": "J", "Email": f"{name}@example.invalid", "Alias": name, "IsActive": True,
            "ProfileId": profile["Id"], "TimeZoneSidKey": "GMT", "LocaleSidKey": "en_US", "LanguageLocaleKey": "en_US",
            "EmailEncodingKey": "UTF-8",
        })[0]
        for name in ("sam", "tess", "other")
    )  # fmt: skip
    (lead_id,) = world.insert("Lead", {"Company": "Acme", "LastName": "Smit", "Title": "Buyer", "OwnerId": sam})
    both_ways()
    (known,) = world.spotio.state.objects.values()
    world.later(60)
    world.update("Lead", {"Id": lead_id, "OwnerId": other})  # SPOTIO has no such user
    both_ways()
    world.later(60)
    world.spotio.state.change(known["id"], {"ownerId": 13}, by=12)
    edit(world, known["id"], Title="CFO")
    both_ways()
    assert world.query("SELECT OwnerId, Title FROM Lead") == [{"OwnerId": tess, "Title": "CFO"}]
    assert undo(both_ways, run_id=f"run-{both_ways.runs}").restored == 1
    assert world.query("SELECT OwnerId, Title FROM Lead") == [{"OwnerId": tess, "Title": "Buyer"}]
