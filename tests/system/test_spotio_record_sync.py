"""The sync of records with SPOTIO as a whole, in Airflow, against the emulators."""

from __future__ import annotations

import pytest

from emulators.vendors.spotio.workflow import ACCOUNT, LEAD
from salesforce_sync.state import plans
from salesforce_sync.state.engine import open_state, reading
from support.dags import DagRunner, dag_bag
from support.mail import MailSink
from support.world import World

pytestmark = [pytest.mark.airflow, pytest.mark.system]
DAG = "spotio_record_sync"
NOTHING = dict.fromkeys(("read", "created", "updated", "deleted", "unchanged", "skipped", "rejected", "waiting"), 0)
OURS, THEIRS = "spotio/leads/to_vendor", "spotio/leads/to_salesforce"


def _in_the_field(world: World, company: str) -> str:
    """A lead that somebody makes in SPOTIO."""
    values = {1001: company, 1003: "Vos"}
    fields = [{"fieldId": str(number), "value": value} for number, value in values.items()]
    return str(world.spotio.state.create({"typeId": LEAD, "fields": fields})["id"])


@pytest.mark.requirement("SP-02", "SP-11")
def test_it_runs_every_ten_minutes_one_run_at_a_time(airflow: None) -> None:
    dag = dag_bag().get_dag(DAG)
    assert (dag.timetable.expression, dag.max_active_runs, dag.catchup) == ("*/10 * * * *", 1, False)


@pytest.mark.requirement("SP-02", "SP-03", "SP-07", "SP-15")
def test_records_that_are_made_after_the_switch_on_go_both_ways(dags: DagRunner, world: World) -> None:
    world.insert("Lead", {"LastName": "Older", "Company": "Older"})
    world.later(30)
    first = dags.run(DAG)
    assert first.state == "success"
    assert first.results["check_spotio"] == "You are successfully connected to SPOTIO: it has Account, Lead"
    assert first.results["synchronize"] == {OURS: NOTHING | {"read": 1, "skipped": 1}, THEIRS: NOTHING}
    world.later(60)
    world.insert("Lead", {"LastName": "Smit", "Company": "Acme"})
    spotio_id = _in_the_field(world, "Bolt")
    second = dags.run(DAG)
    assert second.results["synchronize"][OURS]["created"] == 1
    assert second.results["synchronize"][THEIRS] == NOTHING | {"read": 1, "created": 1}
    assert world.query(f"SELECT Company FROM Lead WHERE SPOTIO_Id__c = '{spotio_id}'") == [{"Company": "Bolt"}]


@pytest.mark.requirement("SP-03", "SP-12")
def test_the_target_can_be_accounts_with_their_contacts(dags: DagRunner, world: World) -> None:
    dags.set_variable("spotio_target", "account")
    dags.set_variable("spotio_initial_import", "all")
    values = {2001: "Bolt", 2003: "Vos"}
    fields = [{"fieldId": str(number), "value": value} for number, value in values.items()]
    world.spotio.state.create({"typeId": ACCOUNT, "fields": fields})
    done = dags.run(DAG)
    assert done.results["synchronize"]["spotio/accounts/to_salesforce"]["created"] == 1
    assert world.query("SELECT LastName, Account.Name FROM Contact") == [
        {"LastName": "Vos", "Account": {"Name": "Bolt"}}
    ]


def test_in_the_shadow_nothing_is_written(dags: DagRunner, world: World) -> None:
    dags.set_variable("spotio_initial_import", "all")
    dags.set_variable("spotio_shadow", "on")
    world.insert("Lead", {"LastName": "Smit", "Company": "Acme"})
    _in_the_field(world, "Bolt")
    done = dags.run(DAG)
    assert done.state == "success"
    assert done.results["synchronize"] == {
        f"spotio/leads~shadow/{direction}": NOTHING | {"read": 1, "skipped": 1}
        for direction in ("to_vendor", "to_salesforce")
    }
    assert (world.count("Lead"), len(world.spotio.state.objects)) == (1, 1)
    dags.set_variable("spotio_shadow", "off")
    assert [counts["created"] for counts in dags.run(DAG).results["synchronize"].values()] == [1, 1]


def test_a_target_that_there_is_not_is_named(dags: DagRunner, mail: MailSink) -> None:
    dags.set_variable("spotio_target", "opportunity")
    assert dags.run(DAG).state == "failed"
    assert any("it must be lead or account" in text for text in mail.texts)


def test_a_dry_run_shows_both_directions_and_writes_nothing(dags: DagRunner, world: World) -> None:
    dags.set_variable("spotio_initial_import", "all")
    world.insert("Lead", {"LastName": "Smit", "Company": "Acme"})
    _in_the_field(world, "Bolt")
    found = dags.run(DAG, dry_run=True)
    assert found.state == "success"
    assert {name: counts["created"] for name, counts in found.results["synchronize"].items()} == {OURS: 1, THEIRS: 1}
    changing = [name for name in world.spotio.calls if not name.startswith("GET") and "apitoken" not in name]
    assert (changing, world.count("Lead"), len(world.spotio.state.objects)) == ([], 1, 1)


@pytest.mark.requirement("SP-20")
def test_a_first_sync_of_many_waits_for_a_person_who_gets_a_mail(dags: DagRunner, world: World, mail: MailSink) -> None:
    dags.set_variable("spotio_initial_import", "all")
    dags.set_variable("brake_first_contact_records", "25")
    world.insert("Lead", *({"LastName": f"L{number}", "Company": "Acme"} for number in range(40)))
    assert dags.run(DAG).state == "failed"
    assert world.spotio.state.objects == {}
    assert any("waits for a person" in text for text in mail.texts)


def test_the_calls_of_a_run_in_which_nothing_changed(dags: DagRunner, world: World) -> None:
    dags.run(DAG)
    world.later(600)
    calls = world.org.usage.used
    world.spotio.calls.clear()
    assert dags.run(DAG).state == "success"
    assert world.org.usage.used - calls <= 2
    assert sum(count for name, count in world.spotio.calls.items() if not name.startswith("GET")) == 3  # signing in


def test_a_run_is_undone_on_both_sides(dags: DagRunner, world: World) -> None:
    dags.set_variable("spotio_initial_import", "all")
    (lead_id,) = world.insert("Lead", {"LastName": "Smit", "Company": "Acme", "Title": "Buyer"})
    dags.run(DAG)
    world.later(600)
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    (known,) = world.spotio.state.objects.values()
    fields = [{"fieldId": "1001", "value": "Acme N.V."}]
    world.spotio.state.change(known["id"], {"fields": fields}, by=12)
    done = dags.run(DAG)
    asked = {"action": "undo", "dag": DAG, "run": done.run_id}
    dry = dags.run("sync_control", dry_run=True, **asked)
    assert dry.state == "success"
    assert world.query("SELECT Company FROM Lead") == [{"Company": "Acme N.V."}]
    undone = dags.run("sync_control", **asked)
    assert undone.results["control"]["spotio/leads"] == {"restored": 2, "deleted": 0, "left_alone": 0}
    (known,) = world.spotio.state.objects.values()
    assert (known["fields"][1012], world.query("SELECT Company FROM Lead")) == ("Buyer", [{"Company": "Acme"}])
    world.later(600)
    again = dags.run(DAG).results["synchronize"]
    assert [counts["updated"] for counts in again.values()] == [0, 0]


def test_a_plan_that_was_rejected_is_not_written_when_the_other_side_changes(dags: DagRunner, world: World) -> None:
    dags.set_variable("spotio_initial_import", "all")
    (lead_id,) = world.insert("Lead", {"LastName": "Smit", "Company": "Acme"})
    dags.run(DAG)
    dags.set_variable("approve_dags", DAG)
    world.later(600)
    world.update("Lead", {"Id": lead_id, "Title": "Rejected"})
    dags.run(DAG)
    with reading(open_state()) as connection:
        (plan,) = plans.with_status(connection, plans.HELD)
    dags.run("sync_control", action="reject", plan=plan.id)
    dags.set_variable("approve_dags", "")
    world.later(600)
    (known,) = world.spotio.state.objects.values()
    world.spotio.state.change(known["id"], {"stageId": 2})
    dags.run(DAG)
    (known,) = world.spotio.state.objects.values()
    assert 1012 not in known["fields"]
    assert world.query(f"SELECT Status FROM Lead WHERE Id = '{lead_id}'") == [{"Status": "Working - Contacted"}]
