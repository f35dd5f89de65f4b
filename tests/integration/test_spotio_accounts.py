"""Accounts with their Contacts kept equal with SPOTIO's accounts, and the Opportunities that are created with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulators.vendors.spotio.workflow import ACCOUNT
from salesforce_sync.engine.context import Timing
from salesforce_sync.engine.two_way.end import TwoWay
from salesforce_sync.engine.two_way.undoing import undo_both_ways
from salesforce_sync.engine.undo import CHANGED, Selection
from salesforce_sync.errors import CallsMayLand, ServiceUnavailable, TooManyRejects, TransientError
from salesforce_sync.mapping.loader import SHIPPED, load_mapping, read_mapping
from salesforce_sync.mapping.model import AlsoCreate, MappingFile
from support.flows import BothWays, FieldActivities
from support.world import World

pytestmark = pytest.mark.airflow
FLOW = "spotio/accounts"
FIELDS = {
    "Company": 2001,
    "First_Name": 2002,
    "Last_Name": 2003,
    "Phone": 2004,
    "Email": 2005,
    "Industry": 2006,
    "Amount": 2009,
}
OPPORTUNITY = AlsoCreate.model_validate({
    "object": "Opportunity",
    "external_id": "SPOTIO_Id__c",
    "references": {"AccountId": "parent"},
    "fields": {
        "Name": "fields.Company",
        "StageName": {"vendor": "stage", "values": {"Prospect": "Prospecting", "Customer": "Closed Won"}},
        "CloseDate": {"vendor": "createdAt", "transforms": [{"plus_days": 30}]},
        "Amount": "fields.Amount",
    },
})  # fmt: skip


@pytest.fixture
def accounts(both_ways: BothWays) -> BothWays:
    return replace(both_ways, flow=FLOW, mapping=load_mapping(FLOW))


def with_opportunity(mapping: MappingFile) -> MappingFile:
    side = mapping.salesforce.model_copy(update={"also_create": OPPORTUNITY})
    return mapping.model_copy(update={"salesforce": side})


def spotio_account(world: World, *, stage: int = 11, pin: dict[str, str] | None = None, **values: str) -> str:
    return str(
        world.spotio.state.create(
            _body({"Company": "Bolt", "Last_Name": "Vos"} | values) | {"stageId": stage, "pin": pin}
        )["id"]
    )


def _body(values: dict[str, str]) -> dict[str, Any]:
    return {
        "typeId": ACCOUNT,
        "fields": [{"fieldId": str(FIELDS[name]), "value": value} for name, value in values.items()],
    }


def refuse(world: World, object_name: str, condition: str) -> None:
    """The org refuses such records."""
    rule = {"object": object_name, "name": "Bad", "condition": condition, "message": "Not that one."}
    world.org.policies.add({"validation": [rule]}, world.org.schema)


def edit(world: World, spotio_id: str, **values: str) -> None:
    world.spotio.state.change(spotio_id, {"fields": _body(values)["fields"]}, by=12)


def at_spotio(world: World, spotio_id: str) -> dict[str, str]:
    known = world.spotio.state.objects[spotio_id]["fields"]
    return {name: known[number] for name, number in FIELDS.items() if known.get(number)}


def contact(world: World, account: str | None = "Acme", **values: Any) -> str:
    """A Contact in Salesforce, with an Account of this name."""
    parent = {"AccountId": world.insert("Account", {"Name": account})[0]} if account else {}
    (made,) = world.insert("Contact", {"LastName": "Smit"} | parent | values)
    return made


def in_salesforce(world: World) -> list[dict[str, Any]]:
    return world.query("SELECT LastName, Phone, Account.Name, Account.BillingCity FROM Contact ORDER BY Id")


def counts_of(world: World) -> tuple[int, ...]:
    return tuple(len(world.query(f"SELECT Id FROM {name}")) for name in ("Account", "Contact", "Opportunity"))


@pytest.mark.requirement("SP-03", "SP-12", "SP-A5")
def test_an_account_of_spotio_becomes_an_account_with_its_contact(accounts: BothWays, world: World) -> None:
    spotio_id = spotio_account(world, Phone="+31 30 1234567", pin={"city": "Utrecht", "address": "Utrecht"})
    counts = accounts()
    assert (counts.created, counts.rejected) == (1, 0)  # one row, one outcome
    (row,) = world.query(
        "SELECT LastName, Phone, SPOTIO_Id__c, Account.Name, Account.BillingCity, Account.SPOTIO_Id__c FROM Contact"
    )
    assert row == {
        "LastName": "Vos", "Phone": "+31 30 1234567", "SPOTIO_Id__c": spotio_id,
        "Account": {"Name": "Bolt", "BillingCity": "Utrecht", "SPOTIO_Id__c": spotio_id},
    }  # fmt: skip
    assert counts_of(world) == (1, 1, 0)
    stamps = world.query("SELECT SystemModstamp, Account.SystemModstamp FROM Contact")
    again = accounts(full=True)
    assert (again.created, again.updated) == (0, 0)
    assert world.query("SELECT SystemModstamp, Account.SystemModstamp FROM Contact") == stamps


@pytest.mark.requirement("SP-12", "SP-21")
def test_an_opportunity_is_created_with_them_once(accounts: BothWays, world: World) -> None:
    flow = replace(accounts, mapping=with_opportunity(accounts.mapping))
    spotio_id = spotio_account(world, stage=13, Amount="1200")
    flow()
    (row,) = world.query("SELECT Name, StageName, Amount, SPOTIO_Id__c, Account.Name FROM Opportunity")
    assert row == {
        "Name": "Bolt", "StageName": "Closed Won", "Amount": 1200.0, "SPOTIO_Id__c": spotio_id, "Account": {"Name": "Bolt"},
    }  # fmt: skip
    edit(world, spotio_id, Amount="900", Company="Bolt B.V.")
    assert flow().updated == 1
    (row,) = world.query("SELECT Name, Amount, Account.Name FROM Opportunity")
    assert row == {"Name": "Bolt", "Amount": 1200.0, "Account": {"Name": "Bolt B.V."}}  # people's own by now


@pytest.mark.requirement("SP-12", "SP-18")
def test_they_are_created_together_or_not_at_all(accounts: BothWays, world: World) -> None:
    flow = replace(accounts, mapping=with_opportunity(accounts.mapping))
    good = spotio_account(world, Company="Good")
    refuse(world, "Opportunity", "Name = 'Bad'")
    bad = spotio_account(world, Company="Bad")
    counts = flow()
    assert (counts.created, counts.rejected) == (1, 1)
    assert [row["SPOTIO_Id__c"] for row in world.query("SELECT SPOTIO_Id__c FROM Account")] == [good]
    assert counts_of(world) == (1, 1, 1)
    assert flow.history(bad) == [("rejected", "FIELD_CUSTOM_VALIDATION_EXCEPTION")]
    edit(world, bad, Company="Better")
    assert flow().created == 1
    assert counts_of(world) == (2, 2, 2)


@pytest.mark.requirement("SP-18")
def test_what_the_org_requires_of_any_of_them_is_checked_before(accounts: BothWays, world: World) -> None:
    nameless = spotio_account(world, Last_Name="")
    assert accounts().rejected == 1
    assert accounts.history(nameless) == [("rejected", "REQUIRED_IN_SALESFORCE")]
    assert counts_of(world) == (0, 0, 0)


@pytest.mark.requirement("SP-03", "SP-06")
def test_a_contact_goes_to_spotio_with_its_account(accounts: BothWays, world: World) -> None:
    contact_id = contact(world, Phone="+31 30 1234567")
    assert accounts().created == 1
    (known,) = world.spotio.state.objects.values()
    assert known["externalDataObjectId"] == contact_id
    assert at_spotio(world, known["id"]) == {"Company": "Acme", "Last_Name": "Smit", "Phone": "+31 30 1234567"}


@pytest.mark.requirement("SP-06", "SP-28", "SP-A4")
def test_changes_of_account_and_contact_go_both_ways(accounts: BothWays, world: World) -> None:
    contact(world)
    accounts()
    (known,) = world.spotio.state.objects.values()
    (account,) = world.query("SELECT Id FROM Account")
    world.update("Account", {"Id": account["Id"], "Name": "Acme N.V."})  # no stamp of the Contact moves
    assert accounts().updated == 1
    assert at_spotio(world, known["id"])["Company"] == "Acme N.V."
    edit(world, known["id"], Company="Acme Groep", Phone="+31 30 7654321")
    assert accounts().updated == 1
    (row,) = in_salesforce(world)
    assert (row["Account"]["Name"], row["Phone"]) == ("Acme Groep", "+31 30 7654321")
    again = accounts(full=True)
    assert (again.created, again.updated, again.rejected) == (0, 0, 0)


@pytest.mark.requirement("SP-A4")
def test_the_later_change_wins_whichever_of_the_two_records_has_it(accounts: BothWays, world: World) -> None:
    contact(world)
    accounts()
    (known,) = world.spotio.state.objects.values()
    edit(world, known["id"], Company="Theirs")
    world.org.clock.shift(60)
    (account,) = world.query("SELECT Id FROM Account")
    world.update("Account", {"Id": account["Id"], "Name": "Ours"})
    accounts()
    assert (at_spotio(world, known["id"])["Company"], in_salesforce(world)[0]["Account"]["Name"]) == ("Ours", "Ours")


def test_a_change_that_fails_for_one_of_them_changes_neither(accounts: BothWays, world: World) -> None:
    contact(world)
    accounts()
    (known,) = world.spotio.state.objects.values()
    refuse(world, "Contact", "FirstName = 'Bad'")
    edit(world, known["id"], Company="Other", First_Name="Bad")
    assert accounts().rejected == 1
    assert in_salesforce(world)[0]["Account"]["Name"] == "Acme"
    edit(world, known["id"], First_Name="Kim")
    assert accounts().updated == 1
    assert in_salesforce(world)[0]["Account"]["Name"] == "Other"


@pytest.mark.requirement("SP-A5")
def test_an_account_with_several_contacts_is_one_record_at_spotio(accounts: BothWays, world: World) -> None:
    first = contact(world)
    (account,) = world.query("SELECT Id FROM Account")
    second = contact(world, account=None, AccountId=account["Id"], LastName="Second")
    counts = accounts()
    assert (counts.created, counts.skipped) == (1, 1)
    third = contact(world, account=None, AccountId=account["Id"], LastName="Third")
    counts = accounts()
    assert (counts.created, counts.skipped) == (0, 2)  # the second one, too: the look-back reads it again
    (known,) = world.spotio.state.objects.values()
    assert known["externalDataObjectId"] == first
    assert [accounts.history(item)[0] for item in (second, third)] == [("skipped", "PARENT_HAS_COUNTERPART")] * 2


@pytest.mark.parametrize("at_vendor", [True, False])
def test_an_account_whose_first_contact_has_no_answer_yet_is_not_doubled(
    accounts: BothWays, world: World, *, at_vendor: bool
) -> None:
    if at_vendor:
        contact(world)
        world.vendor_fault(kind="after", path="/api/DataObjects", method="POST", status=503, times=1)
    else:
        spotio_account(world)
        world.salesforce_fault(kind="after", path="/composite/graph", method="POST", status=503, times=9)
    resting = replace(accounts, timing=Timing(rest_seconds=600))
    with pytest.raises(TransientError):
        resting()
    world.org.faults.clear()
    world.vendors.faults.clear()
    world.later(60)
    (account,) = world.query("SELECT Id FROM Account")
    contact(world, account=None, AccountId=account["Id"], LastName="Second")
    resting.runs += 1
    with pytest.raises(CallsMayLand):
        resting()
    accounts.runs = resting.runs
    accounts()
    accounts(full=True)
    assert (len(world.spotio.state.objects), counts_of(world)[:2]) == (1, (1, 2))


def test_another_contact_does_not_take_the_place_of_a_deleted_one(accounts: BothWays, world: World) -> None:
    first = contact(world)
    (account,) = world.query("SELECT Id FROM Account")
    contact(world, account=None, AccountId=account["Id"], LastName="Second")
    accounts()
    world.later(60)
    world.delete("Contact", first)
    accounts()
    accounts(full=True)
    assert len(world.spotio.state.objects) == 1


def test_an_undo_passes_over_what_went_to_an_account_that_the_contact_has_no_more(
    accounts: BothWays, world: World
) -> None:
    contact_id = contact(world)
    accounts()
    (known,) = world.spotio.state.objects.values()
    edit(world, known["id"], Industry="Energy")
    accounts()
    (other,) = world.insert("Account", {"Name": "Acme", "Industry": "Energy"})
    world.update("Contact", {"Id": contact_id, "AccountId": other})
    context = accounts.context("undo")
    end = TwoWay(context, accounts.flow, accounts.mapping, accounts.hook(), accounts.rules)
    done = undo_both_ways(end, "spotio", Selection(run_id=f"run-{accounts.runs}"), person="Rosa")
    assert done.left == {contact_id: CHANGED}
    assert world.query(f"SELECT Industry FROM Account WHERE Id = '{other}'") == [{"Industry": "Energy"}]


def test_a_contact_without_an_account_stays_where_it_is(accounts: BothWays, world: World) -> None:
    alone = contact(world, account=None)
    assert accounts().skipped == 1
    assert accounts.history(alone) == [("skipped", "NO_PARENT")]
    assert not world.spotio.state.objects


def test_a_contact_that_lost_its_account_is_refused_what_would_go_to_it(accounts: BothWays, world: World) -> None:
    contact_id = contact(world)
    accounts()
    (known,) = world.spotio.state.objects.values()
    world.update("Contact", {"Id": contact_id, "AccountId": None})
    accounts()
    edit(world, known["id"], Company="Other")
    counts = accounts()
    assert (counts.updated, counts.rejected) == (0, 1)
    assert accounts.history(contact_id)[0] == ("rejected", "NO_PARENT") or accounts.history(known["id"])[0] == (
        "rejected",
        "NO_PARENT",
    )


def test_a_text_that_salesforce_would_take_for_a_reference_is_refused(accounts: BothWays, world: World) -> None:
    spotio_id = spotio_account(world, Company="@{parent.id}")
    assert accounts().rejected == 1
    assert accounts.history(spotio_id) == [("rejected", "REFERENCE_IN_TEXT")]


def test_more_than_a_call_takes_go_in_several(accounts: BothWays, world: World) -> None:
    refuse(world, "Contact", "FirstName = 'Bad'")
    for number in range(200):  # forty fail: of a call, Salesforce comes to none behind the fifteenth
        spotio_account(world, Company=f"C{number}", First_Name="Kim" if number % 5 else "Bad")
    with pytest.raises(TooManyRejects, match="40 of 200"):
        accounts()
    assert counts_of(world)[:2] == (160, 160)


@pytest.mark.parametrize("operation", ["create", "update"])
def test_what_was_written_without_an_answer_is_there_once(accounts: BothWays, world: World, operation: str) -> None:
    spotio_id = spotio_account(world)
    if operation == "update":
        accounts()
        edit(world, spotio_id, Company="Bolt B.V.")
    world.salesforce_fault(kind="after", path="/composite/graph", method="POST", status=503, times=9)
    accounts.runs += 1
    accounts.read_theirs()
    with pytest.raises(ServiceUnavailable):
        accounts.deliver()
    world.org.faults.clear()
    accounts()
    assert counts_of(world) == (1, 1, 0)
    assert in_salesforce(world)[0]["Account"]["Name"] == ("Bolt" if operation == "create" else "Bolt B.V.")
    again = accounts(full=True)
    assert (again.created, again.updated, again.rejected) == (0, 0, 0)


@pytest.mark.requirement("SP-05")
def test_an_activity_becomes_a_task_of_the_contact(accounts: BothWays, world: World) -> None:
    spotio_id = spotio_account(world)
    activities = FieldActivities(accounts)
    accounts()
    activities()
    world.vendors.clock.shift(60)
    world.spotio.state.add_activity(spotio_id, title="Visit")
    activities()
    (task,) = world.query("SELECT Subject, WhoId FROM Task")
    (contact_row,) = world.query("SELECT Id FROM Contact")
    assert task == {"Subject": "Visit", "WhoId": contact_row["Id"]}


def test_the_opportunity_that_the_file_shows_is_a_mapping(tmp_path: Path) -> None:
    text = (SHIPPED / f"{FLOW}.yaml").read_text()
    lines = [line.replace("  # ", "  ", 1) if line.startswith("  # ") else line for line in text.splitlines()]
    path = tmp_path / "accounts.yaml"
    path.write_text("\n".join(lines))
    also = read_mapping(path).salesforce.also_create
    assert also is not None
    assert also.object == "Opportunity"
