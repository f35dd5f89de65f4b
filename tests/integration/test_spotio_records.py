"""Leads kept equal between Salesforce and SPOTIO, both ways, against both stand-ins."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from emulators.salesforce.merging import merge, undelete
from emulators.vendors.spotio.workflow import LEAD, Stage
from salesforce_sync.engine.context import Timing
from salesforce_sync.engine.two_way.sides import Rules
from salesforce_sync.errors import CallsMayLand, ServiceUnavailable, TransientError
from salesforce_sync.mapping.model import Creation, CreationRules
from support.flows import BothWays
from support.world import World

pytestmark = pytest.mark.airflow
FIELDS = {
    "Company": 1001,
    "First Name": 1002,
    "Last Name": 1003,
    "Phone": 1004,
    "Email": 1005,
    "Employees": 1007,
    "Notes": 1010,
    "Title": 1012,
}


def lead(world: World, **values: Any) -> str:
    """A Lead in Salesforce."""
    (made,) = world.insert("Lead", {"Company": "Acme", "LastName": "Smit"} | values)
    return made


def spotio_lead(
    world: World, *, stage: int = 1, pin: dict[str, str] | None = None, external: str | None = None, **values: str
) -> str:
    """A lead in SPOTIO; `First_Name` is the field First Name."""
    return str(
        world.spotio.state.create(
            _body(values | {} if "Company" in values else {"Company": "Bolt", "Last_Name": "Vos"} | values)
            | {"stageId": stage, "pin": pin, "externalDataObjectId": external}
        )["id"]
    )


def _body(values: dict[str, str]) -> dict[str, Any]:
    fields = [{"fieldId": str(FIELDS[name.replace("_", " ")]), "value": value} for name, value in values.items()]
    return {"typeId": LEAD, "fields": fields}


def edit(world: World, spotio_id: str, **values: str) -> None:
    """Somebody edits fields in SPOTIO."""
    world.spotio.state.change(spotio_id, {"fields": _body(values)["fields"]}, by=12)


def at_spotio(world: World, spotio_id: str) -> dict[str, Any]:
    known = world.spotio.state.objects[spotio_id]
    names = {number: name for name, number in FIELDS.items()}
    return {names[number]: value for number, value in known["fields"].items() if number in names} | {
        "stage": known["stageId"]
    }


def in_salesforce(world: World, lead_id: str) -> dict[str, Any]:
    (row,) = world.query(f"SELECT Company, LastName, Title, Phone, Email, Status FROM Lead WHERE Id = '{lead_id}'")
    return row


def writes(world: World) -> int:
    """The calls so far that changed something at SPOTIO."""
    return sum(
        count for name, count in world.spotio.calls.items() if not name.startswith("GET") and "apitoken" not in name
    )


def only_object(world: World) -> dict[str, Any]:
    (known,) = world.spotio.state.objects.values()
    return known


@pytest.mark.requirement("SP-04", "SP-13", "SP-17")
def test_a_lead_of_spotio_becomes_a_lead_in_salesforce(both_ways: BothWays, world: World) -> None:
    spotio_id = spotio_lead(
        world, Company="Bolt", First_Name="Rosa", Last_Name="Vos", Phone="+31 30 1234567", Employees="12", stage=2
    )
    assert both_ways().created == 1
    (row,) = world.query("SELECT Id, Company, FirstName, Phone, NumberOfEmployees, Status, SPOTIO_Id__c FROM Lead")
    row.pop("Id")
    assert row == {
        "Company": "Bolt", "FirstName": "Rosa", "Phone": "+31 30 1234567", "NumberOfEmployees": 12,
        "Status": "Working - Contacted", "SPOTIO_Id__c": spotio_id,
    }  # fmt: skip


@pytest.mark.requirement("SP-06", "SP-08")
def test_a_lead_of_salesforce_becomes_one_at_spotio(both_ways: BothWays, world: World) -> None:
    lead_id = lead(world, FirstName="Jo", Email="jo@acme.example", NumberOfEmployees=7, City="Utrecht")
    assert both_ways().created == 1
    known = only_object(world)
    assert known["externalDataObjectId"] == lead_id
    assert at_spotio(world, known["id"]) == {
        "Company": "Acme", "First Name": "Jo", "Last Name": "Smit", "Email": "jo@acme.example", "Employees": "7", "stage": 1,
    }  # fmt: skip
    assert known["pin"]["city"] == "Utrecht"


@pytest.mark.requirement("SP-A6")
def test_a_further_run_writes_nothing(both_ways: BothWays, world: World) -> None:
    lead(world, Phone="555-123-4567", Email="Jo@Acme.Example", Country="Netherlands")
    spotio_lead(world, Company="Bolt", Last_Name="Vos", Phone="555-765-4321")
    both_ways()
    both_ways()
    before, stamps = writes(world), world.query("SELECT Id, SystemModstamp FROM Lead ORDER BY Id")
    for full in (False, True, False):
        counts = both_ways(full=full)
        assert (counts.created, counts.updated, counts.rejected) == (0, 0, 0)
    assert writes(world) == before
    assert world.query("SELECT Id, SystemModstamp FROM Lead ORDER BY Id") == stamps


@pytest.mark.requirement("SP-06", "SP-22", "SP-28")
def test_changes_of_different_fields_go_both_ways(both_ways: BothWays, world: World) -> None:
    lead_id = lead(world, Title="Buyer")
    both_ways()
    spotio_id = only_object(world)["id"]
    world.update("Lead", {"Id": lead_id, "Title": "CFO", "Status": "Working - Contacted"})
    edit(world, spotio_id, Phone="+31 30 7654321")
    counts = both_ways()
    assert (counts.updated, counts.rejected) == (2, 0)
    assert (at_spotio(world, spotio_id)["Title"], at_spotio(world, spotio_id)["stage"]) == ("CFO", 2)
    assert (in_salesforce(world, lead_id)["Phone"], in_salesforce(world, lead_id)["Title"]) == ("+31 30 7654321", "CFO")


@pytest.mark.requirement("SP-19", "SP-A2", "SP-A3", "SP-A4")
@pytest.mark.parametrize(
    ("policy", "winner"), [("salesforce_wins", "Ours"), ("vendor_wins", "Theirs"), ("newest", "Theirs")]
)
def test_a_field_that_changed_on_both_sides_follows_the_policy_and_is_logged(
    both_ways: BothWays, world: World, policy: str, winner: str
) -> None:
    both_ways.rules = Rules(conflict=policy, first="all")
    lead_id = lead(world)
    both_ways()
    spotio_id = only_object(world)["id"]
    world.update("Lead", {"Id": lead_id, "Title": "Ours"})
    world.vendors.clock.shift(60)
    edit(world, spotio_id, Title="Theirs")
    both_ways()
    assert (in_salesforce(world, lead_id)["Title"], at_spotio(world, spotio_id)["Title"]) == (winner, winner)
    loser = {"Ours": spotio_id, "Theirs": lead_id}[winner]
    assert (both_ways.history(loser)[0][1], both_ways.history(lead_id)[0][1]) == ("CONFLICT", "CONFLICT")


def test_a_value_that_is_emptied_on_one_side_is_emptied_on_the_other(both_ways: BothWays, world: World) -> None:
    lead_id = lead(world, Title="Buyer", Phone="030 1")
    both_ways()
    spotio_id = only_object(world)["id"]
    world.update("Lead", {"Id": lead_id, "Title": None})
    edit(world, spotio_id, Phone="")
    both_ways()
    assert "Title" not in at_spotio(world, spotio_id)
    assert in_salesforce(world, lead_id)["Phone"] is None


def test_a_name_that_salesforce_has_no_room_for_stays_whole_at_spotio(both_ways: BothWays, world: World) -> None:
    spotio_id = spotio_lead(world, Company="Bolt", Last_Name="x" * 100)
    for _ in range(4):
        both_ways()
    (row,) = world.query("SELECT Id, LastName FROM Lead")
    assert (len(row["LastName"]), len(at_spotio(world, spotio_id)["Last Name"])) == (80, 100)
    world.update("Lead", {"Id": row["Id"], "Title": "CFO"})
    both_ways()
    assert (len(at_spotio(world, spotio_id)["Last Name"]), at_spotio(world, spotio_id)["Title"]) == (100, "CFO")


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [("Phone", "555-123-4567", "(555) 123-4567"), ("Email", "Jo@Acme.Example", "jo@acme.example")],
)
def test_what_spotio_keeps_in_another_form_is_no_change(
    both_ways: BothWays, world: World, field: str, value: str, kept: str
) -> None:
    lead_id = lead(world, **{field: value})
    for _ in range(3):
        both_ways()
    spotio_id = only_object(world)["id"]
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    for _ in range(3):
        both_ways()
    assert (in_salesforce(world, lead_id)[field], at_spotio(world, spotio_id)[field]) == (value, kept)


@pytest.mark.requirement("SP-15", "SP-16")
def test_records_of_before_the_switch_on_are_not_created_on_the_other_side(both_ways: BothWays, world: World) -> None:
    both_ways.rules = Rules(first="none")
    lead_id = lead(world, Company="Older")
    spotio_lead(world, Company="Older, too", Last_Name="Vos")
    world.org.clock.shift(10)
    world.vendors.clock.shift(10)
    counts = both_ways()
    assert (counts.created, counts.skipped) == (0, 2)
    assert both_ways.history(lead_id)[0] == ("skipped", "BEFORE_SWITCH_ON")
    world.org.clock.shift(10)
    lead(world, Company="Newer")
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    assert both_ways().created == 1


@pytest.mark.requirement("SP-10", "SP-14")
def test_selective_sync_gates_the_creation_of_records_and_nothing_else(both_ways: BothWays, world: World) -> None:
    rules = CreationRules(to_salesforce=Creation(when={"stage": ("Won",)}))
    both_ways.mapping = both_ways.mapping.model_copy(update={"create": rules})
    both_ways.rules = Rules(first="selective")
    spotio_id = spotio_lead(world)
    assert both_ways().skipped == 1
    assert both_ways.history(spotio_id)[0] == ("skipped", "NOT_SELECTED")
    world.spotio.state.change(spotio_id, {"stageId": 4})
    assert both_ways().created == 1
    world.spotio.state.change(spotio_id, {"stageId": 2})
    assert both_ways().updated == 1
    assert [row["Status"] for row in world.query("SELECT Status FROM Lead")] == ["Working - Contacted"]


def test_records_that_know_each_other_are_paired_and_a_value_beats_none(both_ways: BothWays, world: World) -> None:
    lead_id = lead(world, Title="CFO")
    spotio_id = spotio_lead(world, Company="Acme", Last_Name="Smit", Phone="+31 30 1234567", external=lead_id)
    counts = both_ways()
    assert (counts.created, counts.updated) == (0, 2)
    assert (at_spotio(world, spotio_id)["Title"], in_salesforce(world, lead_id)["Phone"]) == ("CFO", "+31 30 1234567")


def test_of_two_records_that_name_one_counterpart_none_is_paired(both_ways: BothWays, world: World) -> None:
    lead_id = lead(world)
    doubles = [spotio_lead(world, external=lead_id) for _ in range(2)]
    counts = both_ways()
    assert (counts.created, counts.rejected) == (0, 3)
    assert {both_ways.history(name)[0] for name in (lead_id, *doubles)} == {("rejected", "MATCHES_SEVERAL")}


@pytest.mark.requirement("SP-18")
def test_what_the_org_requires_is_checked_before_anything_is_sent(both_ways: BothWays, world: World) -> None:
    spotio_id = spotio_lead(world, Company="Bolt")
    assert both_ways().rejected == 1
    assert both_ways.history(spotio_id)[0] == ("rejected", "REQUIRED_IN_SALESFORCE")
    edit(world, spotio_id, Last_Name="Vos")
    assert both_ways().created == 1


@pytest.mark.requirement("SP-A8")
def test_a_pair_of_which_one_is_deleted_ends_and_is_not_created_again(both_ways: BothWays, world: World) -> None:
    lead_id = lead(world)
    both_ways()
    spotio_id = only_object(world)["id"]
    world.delete("Lead", lead_id)
    both_ways()
    edit(world, spotio_id, Title="CFO")
    assert both_ways().created == 0
    assert both_ways.history(spotio_id)[0] == ("skipped", "DELETED_IN_SALESFORCE")
    assert world.count("Lead") == 0


def test_a_deletion_is_followed_when_it_is_set(both_ways: BothWays, world: World) -> None:
    both_ways.rules = replace(both_ways.rules, follow_deletes=True)
    first, second = lead(world), lead(world, Company="Other")
    both_ways()
    by_partner = {item["externalDataObjectId"]: item["id"] for item in world.spotio.state.objects.values()}
    world.delete("Lead", first)
    world.spotio.state.delete(by_partner[second])
    assert both_ways().deleted == 2
    assert (world.spotio.state.objects, world.count("Lead")) == ({}, 0)


def test_an_owner_goes_along_when_both_sides_know_the_person(both_ways: BothWays, world: World) -> None:
    users = [str(row["Id"]) for row in world.query("SELECT Id FROM User WHERE IsActive = true")]
    known = world.spotio.state.workflow.users
    known[12] = replace(known[12], external_id=users[0])
    lead_id = lead(world)
    both_ways()
    assert world.query(f"SELECT OwnerId FROM Lead WHERE Id = '{lead_id}'")[0]["OwnerId"] == users[0]
    assert only_object(world)["ownerId"] == 12


def test_many_changes_go_by_one_job(both_ways: BothWays, world: World) -> None:
    ids = [lead(world, Company=f"Company {number}") for number in range(12)]
    both_ways()
    assert world.spotio.calls["POST /api/jobs/dataObjects/bulk"] == 1
    world.update("Lead", *({"Id": name, "Title": "CFO"} for name in ids))
    assert both_ways().updated == 12
    assert world.spotio.calls["POST /api/jobs/dataObjects/bulk"] == 2
    assert {at_spotio(world, name)["Title"] for name in world.spotio.state.objects} == {"CFO"}


def test_a_create_whose_answer_was_lost_is_found_and_not_repeated(both_ways: BothWays, world: World) -> None:
    lead(world)
    world.vendor_fault(kind="after", path="/api/DataObjects", method="POST", status=502)
    both_ways.runs += 1
    both_ways.read_ours()
    both_ways.read_theirs()
    with pytest.raises(Exception, match="502"):
        both_ways.deliver()
    both_ways.deliver()
    assert len(world.spotio.state.objects) == 1
    assert both_ways().created == 0


def test_an_edit_between_the_plan_and_the_write_is_not_lost(
    both_ways: BothWays, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_id = lead(world, Title="Buyer")
    both_ways()
    spotio_id = only_object(world)["id"]
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    from salesforce_sync.engine.two_way import end

    plan = end.TwoWay.plan

    def and_then(*arguments: Any, **options: Any) -> None:
        plan(*arguments, **options)
        world.vendors.clock.shift(5)
        edit(world, spotio_id, Title="Director")

    monkeypatch.setattr(end.TwoWay, "plan", and_then)
    both_ways()
    monkeypatch.undo()
    assert at_spotio(world, spotio_id)["Title"] == "Director"


def test_a_token_that_expires_is_renewed(both_ways: BothWays, world: World) -> None:
    hook = both_ways.hook()
    both_ways.hook = lambda: hook
    both_ways()
    world.vendors.clock.shift(timedelta(days=31).total_seconds())
    lead(world)
    assert both_ways().created == 1


@pytest.mark.requirement("SP-A8")
def test_a_record_that_goes_between_the_last_look_and_its_write_is_refused_and_its_pair_ends(
    both_ways: BothWays, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salesforce_sync.engine.two_way.sending import Sender

    lead_id = lead(world)
    both_ways()
    spotio_id = only_object(world)["id"]
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    real = Sender._untouched

    def and_then(self: Any, **options: Any) -> Any:
        found = real(self, **options)
        world.spotio.state.delete(spotio_id)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Sender, "_untouched", and_then)
        assert both_ways().rejected == 1
    assert both_ways.history(lead_id)[0] == ("rejected", "MISSING_AT_VENDOR")
    both_ways()
    assert both_ways.history(lead_id)[0][1] == "DELETED_AT_VENDOR"
    assert both_ways().rejected == 0


@pytest.mark.requirement("SP-01", "SP-07")
def test_the_connection_test_names_the_types_of_objects(spotio_hook: Any) -> None:
    assert spotio_hook().test() == "You are successfully connected to SPOTIO: it has Account, Lead"


@pytest.mark.requirement("SP-08", "SP-16", "SP-27", "SP-A2")
@pytest.mark.parametrize(("first", "created"), [("none", 0), ("all", 2), ("selective", 1)])
def test_what_a_first_import_brings_over(both_ways: BothWays, world: World, first: str, created: int) -> None:
    rules = CreationRules(to_salesforce=Creation(when={"stage": ("Won",)}))
    both_ways.mapping = both_ways.mapping.model_copy(update={"create": rules})
    both_ways.rules = Rules(first=first)
    spotio_lead(world, stage=4)
    spotio_lead(world, stage=1)
    world.vendors.clock.shift(60)
    both_ways()
    assert world.count("Lead") == created


@pytest.mark.requirement("SP-09")
def test_a_lead_without_an_address_is_made_and_counted(both_ways: BothWays, world: World) -> None:
    with_one = spotio_lead(world, Company="With", Last_Name="Vos", pin={"city": "Utrecht"})
    without = spotio_lead(world, Company="Without", Last_Name="Vos")
    assert both_ways().created == 2
    assert (both_ways.history(with_one)[0], both_ways.history(without)[0]) == (
        ("created", None),
        ("created", "NO_ADDRESS"),
    )


@pytest.mark.requirement("SP-13", "SP-17", "SP-A1")
def test_a_field_goes_only_in_its_direction(both_ways: BothWays, world: World) -> None:
    fields = dict(both_ways.mapping.fields)
    fields["Title"] = fields["Title"].model_copy(update={"direction": "to_salesforce"})
    fields["Description"] = fields["Description"].model_copy(update={"direction": "to_vendor"})
    both_ways.mapping = both_ways.mapping.model_copy(update={"fields": fields})
    lead_id = lead(world, Title="Ours", Description="Ours")
    both_ways()
    spotio_id = only_object(world)["id"]
    assert at_spotio(world, spotio_id).get("Title") is None
    edit(world, spotio_id, Title="Theirs", Notes="Theirs")
    both_ways()
    assert (in_salesforce(world, lead_id)["Title"], at_spotio(world, spotio_id)["Notes"]) == ("Theirs", "Theirs")
    world.update("Lead", {"Id": lead_id, "Title": "Ours again", "Description": "Ours again"})
    both_ways()
    assert (at_spotio(world, spotio_id)["Title"], at_spotio(world, spotio_id)["Notes"]) == ("Theirs", "Ours again")


@pytest.mark.requirement("SP-19")
def test_the_log_says_what_changed_from_what_to_what(both_ways: BothWays, world: World) -> None:
    from salesforce_sync.state import sync_log

    lead_id = lead(world, Title="Buyer")
    both_ways()
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    both_ways()
    with both_ways.state.connect() as connection:
        assert sync_log.of_record(connection, lead_id)[0]["message"] == "Title at the vendor: 'Buyer' -> 'CFO'"


def test_a_merged_lead_hands_its_counterpart_to_the_lead_that_it_became(both_ways: BothWays, world: World) -> None:
    loser = lead(world, Title="CFO")
    both_ways()
    spotio_id = only_object(world)["id"]
    both_ways.rules = Rules(first="none")
    master = lead(world, Company="Acme Inc.", LastName="Smit")
    merge(world.org, master, [loser])
    for _ in range(2):
        both_ways()
    edit(world, spotio_id, Phone="+31 30 1111111")
    both_ways()
    assert in_salesforce(world, master)["Phone"] == "+31 30 1111111"


@pytest.mark.parametrize(
    ("fault", "times"), [({"status": 429}, 1), ({"status": 503}, 1), ({"status": 401}, 1), ({"kind": "reset"}, 1)]
)
def test_a_call_that_fails_once_is_tried_again(
    both_ways: BothWays, world: World, fault: dict[str, Any], times: int
) -> None:
    spotio_lead(world)
    world.vendor_fault(**({"kind": "status", "path": "/api/Exports", "times": times} | fault))
    assert both_ways().created == 1


def test_a_secret_that_is_wrong_names_the_variable_and_is_not_shown(
    world: World, spotio_hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from salesforce_sync.errors import AuthenticationFailed
    from support.airflow import variables

    variables(monkeypatch, spotio_credentials=json.dumps(world.spotio_credentials | {"secret": "wrong-secret"}))
    with pytest.raises(AuthenticationFailed, match="Check the Variable spotio_credentials") as raised:
        spotio_hook().test()
    assert "wrong-secret" not in str(raised.value)


def test_the_calls_of_a_run_are_counted_once(both_ways: BothWays, world: World) -> None:
    from sqlalchemy import func, select

    from salesforce_sync.state.schema import sync_runs

    lead(world)
    spotio_lead(world)
    before = world.org.usage.used
    both_ways()
    with both_ways.state.connect() as connection:
        counted = connection.execute(select(func.sum(sync_runs.c.api_calls))).scalar_one()
    assert counted == world.org.usage.used - before


@pytest.mark.parametrize("lost", ["POST /start", "GET /progress", "GET /results/succeeded", "PUT /data"])
def test_a_job_whose_answer_was_lost_is_taken_up_and_not_made_twice(
    both_ways: BothWays, world: World, lost: str
) -> None:
    for number in range(8):
        lead(world, Company=f"Company {number}")
    world.spotio.jobs.looks = 3
    method, _, path = lost.partition(" ")
    world.vendor_fault(kind="after", path=path, method=method, times=6, status=502)
    both_ways.runs += 1
    both_ways.read_ours()
    with pytest.raises(ServiceUnavailable):
        both_ways.deliver()
    world.vendors.faults.clear()
    both_ways.deliver()
    both_ways()
    assert len(world.spotio.state.objects) == 8
    assert len({item["externalDataObjectId"] for item in world.spotio.state.objects.values()}) == 8


def test_rows_of_a_job_that_fail_are_refused_by_themselves(both_ways: BothWays, world: World) -> None:
    ids = [lead(world, Company=f"Company {number}") for number in range(8)]
    world.spotio.state.refused.add("Company 3")
    counts = both_ways()
    assert (counts.created, counts.rejected) == (7, 1)
    assert both_ways.history(ids[3])[0] == ("rejected", "REFUSED")


def test_a_lead_that_is_brought_back_is_kept_equal_again(both_ways: BothWays, world: World) -> None:
    lead_id = lead(world)
    both_ways()
    spotio_id = only_object(world)["id"]
    world.delete("Lead", lead_id)
    both_ways()
    undelete(world.org, [lead_id])
    edit(world, spotio_id, Title="CFO")
    both_ways()
    both_ways()
    assert in_salesforce(world, lead_id)["Title"] == "CFO"


def test_a_counterpart_that_is_refused_is_not_made_a_second_time(both_ways: BothWays, world: World) -> None:
    """It has a stage that the mapping does not know, until somebody moves it to another."""
    kind = world.spotio.state.workflow.types[LEAD]
    world.spotio.state.workflow.types[LEAD] = replace(kind, stages=(*kind.stages, Stage(99, "Parked")))
    lead_id = lead(world, Company="Bolt")
    spotio_id = spotio_lead(world, external=lead_id, stage=99)
    for _ in range(2):
        both_ways()
    assert len(world.spotio.state.objects) == 1
    world.spotio.state.change(spotio_id, {"stageId": 2})
    both_ways()
    both_ways()
    assert (len(world.spotio.state.objects), in_salesforce(world, lead_id)["Status"]) == (1, "Working - Contacted")


def test_a_part_of_an_address_changes_alone(both_ways: BothWays, world: World) -> None:
    lead_id = lead(world, Street="Main 1", City="Utrecht", PostalCode="1234", Country="Netherlands")
    both_ways()
    world.update("Lead", {"Id": lead_id, "Street": None})
    both_ways()
    pin = only_object(world)["pin"]
    assert (pin["street"], pin["city"], pin["address"]) == (None, "Utrecht", "1234 Utrecht, Netherlands")
    both_ways()
    (row,) = world.query(f"SELECT Street, City, PostalCode, Country FROM Lead WHERE Id = '{lead_id}'")
    assert list(row.values()) == [None, "Utrecht", "1234", "Netherlands"]


def test_a_lead_that_was_made_without_an_answer_keeps_what_people_edit(both_ways: BothWays, world: World) -> None:
    spotio_id = spotio_lead(world, Company="Bolt", Last_Name="Vos", Title="Theirs")
    world.salesforce_fault(kind="after", path="/composite/sobjects/Lead", method="PATCH", status=503, times=9)
    both_ways.runs += 1
    both_ways.read_theirs()
    with pytest.raises(ServiceUnavailable):
        both_ways.deliver()
    world.org.faults.clear()
    (row,) = world.query("SELECT Id FROM Lead")
    world.org.clock.shift(5)
    world.update("Lead", {"Id": row["Id"], "Title": "Ours"})
    both_ways.deliver()
    for _ in range(2):
        both_ways()
    assert (in_salesforce(world, row["Id"])["Title"], at_spotio(world, spotio_id)["Title"]) == ("Ours", "Ours")


@pytest.mark.parametrize("at_vendor", [True, False])
def test_a_record_that_was_made_without_an_answer_is_no_pair_before_its_call_is_settled(
    both_ways: BothWays, world: World, *, at_vendor: bool
) -> None:
    """Else it would be a pair that never agreed, and an edit on one side a conflict."""
    if at_vendor:
        lead_id = lead(world, Title="First")
        world.vendor_fault(kind="after", path="/api/DataObjects", method="POST", status=503, times=1)
    else:
        spotio_id = spotio_lead(world, Company="Bolt", Last_Name="Vos", Title="First")
        world.salesforce_fault(kind="after", path="/composite/sobjects/Lead", method="PATCH", status=503, times=9)
    resting = replace(both_ways, timing=Timing(rest_seconds=600))
    with pytest.raises(TransientError):
        resting()
    world.org.faults.clear()
    world.vendors.faults.clear()
    world.later(60)
    if at_vendor:
        spotio_id = only_object(world)["id"]
        world.update("Lead", {"Id": lead_id, "Title": "Second"})
    else:
        (row,) = world.query("SELECT Id FROM Lead")
        lead_id = row["Id"]
        edit(world, spotio_id, Title="Second")
    resting.runs += 1
    with pytest.raises(CallsMayLand):
        resting()
    both_ways.runs = resting.runs
    both_ways()
    both_ways()
    assert (in_salesforce(world, lead_id)["Title"], at_spotio(world, spotio_id)["Title"]) == ("Second", "Second")
    assert "CONFLICT" not in [code for name in (lead_id, spotio_id) for _, code in both_ways.history(name)]
    assert (world.count("Lead"), len(world.spotio.state.objects)) == (1, 1)


@pytest.mark.parametrize("how", ["merged", "deleted"])
def test_a_lead_that_was_made_without_an_answer_and_is_gone_by_then_is_not_made_again(
    both_ways: BothWays, world: World, how: str
) -> None:
    spotio_id = spotio_lead(world, Company="Bolt", Last_Name="Vos")
    world.salesforce_fault(kind="after", path="/composite/sobjects/Lead", method="PATCH", status=503, times=9)
    with pytest.raises(ServiceUnavailable):
        both_ways()
    world.org.faults.clear()
    world.org.clock.shift(60)
    (row,) = world.query("SELECT Id FROM Lead")
    if how == "merged":
        master = lead(world, Company="Bolt")
        merge(world.org, master, [row["Id"]])
    else:
        world.delete("Lead", row["Id"])
    both_ways()
    both_ways()
    both_ways(full=True)
    assert world.count("Lead") == (1 if how == "merged" else 0)
    assert len(world.spotio.state.objects) == 1
    if how == "merged":
        edit(world, spotio_id, Title="Theirs")
        both_ways()
        assert in_salesforce(world, master)["Title"] == "Theirs"


def test_a_field_that_is_mapped_to_another_one_empties_nothing(both_ways: BothWays, world: World) -> None:
    lead_id = lead(world, Title="CFO")
    both_ways()
    fields = dict(both_ways.mapping.fields)
    del fields["Description"]
    fields["Title"] = fields["Title"].model_copy(update={"vendor": "fields.Notes"})
    both_ways.mapping = both_ways.mapping.model_copy(update={"fields": fields})
    both_ways(full=True)
    assert (in_salesforce(world, lead_id)["Title"], at_spotio(world, only_object(world)["id"])["Notes"]) == (
        "CFO",
        "CFO",
    )


@pytest.mark.requirement("SP-19")
def test_a_conflict_is_explained_by_either_id(both_ways: BothWays, world: World) -> None:
    from salesforce_sync.explain import explain

    lead_id = lead(world)
    both_ways()
    spotio_id = only_object(world)["id"]
    world.update("Lead", {"Id": lead_id, "Title": "Ours"})
    world.vendors.clock.shift(60)
    edit(world, spotio_id, Title="Theirs")
    both_ways()
    for name in (lead_id, spotio_id):
        with both_ways.state.connect() as connection:
            said = "\n".join(explain(connection, name))
        assert "Title: changed on both sides; the vendor's 'Theirs' stays, and 'Ours' goes" in said
        assert f"{lead_id} in Salesforce and {spotio_id} at the vendor are kept equal" in said


def test_an_owner_that_salesforce_does_not_know_keeps_the_lead(both_ways: BothWays, world: World) -> None:
    """The org gives the new Lead to the integration user, which both sides know; that is nobody's edit."""
    spotio_id = spotio_lead(world)
    world.spotio.state.change(spotio_id, {"ownerId": 12})
    for _ in range(3):
        both_ways()
    assert world.spotio.state.objects[spotio_id]["ownerId"] == 12
    assert writes(world) == 0
