"""The DAG sync_control, in Airflow: what people decide about plans, undo, and refused records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from salesforce_sync.state import held_out, plans
from salesforce_sync.state.engine import open_state, reading
from salesforce_sync.state.plans import Plan
from salesforce_sync.state.schema import dead_letters, metadata
from support.dags import DagRunner, Finished
from support.mail import MailSink
from support.world import World, activity

pytestmark = [pytest.mark.airflow, pytest.mark.system]
DAG, POLL = "peerspot_intent", "deployteq_contact_poll"
PERIOD = {"start_date": "2026-11-01", "end_date": "2026-11-30"}


def _control(dags: DagRunner, action: str, **params: Any) -> Finished:
    return dags.run("sync_control", action=action, **params)


def _held() -> list[Plan]:
    with reading(open_state()) as connection:
        return plans.with_status(connection, plans.HELD)


def test_the_first_poll_is_red_until_a_person_lets_its_plan_pass(dags: DagRunner, world: World, mail: MailSink) -> None:
    world.insert("Contact", *({"LastName": f"C{number}", "Email": f"c{number}@acme.example"} for number in range(120)))
    finished = dags.run(POLL)
    assert (finished.state, finished.tasks["push"], world.customers) == ("failed", "failed", [])
    assert "120 records would go to deployteq for the first time" in mail.texts[0]
    assert "sync_control" in mail.texts[0]
    again = dags.run(POLL)
    assert (again.state, world.customers, len(mail.messages)) == ("success", [], 1)
    (plan,) = _held()
    decided = _control(dags, "allow", plan=plan.id)
    assert (decided.results["control"]["status"], decided.results["control"]["dags"]) == ("allowed", [POLL])
    assert dags.run(POLL).state == "success"
    assert len(world.customers) == 120
    with reading(open_state()) as connection:
        found = plans.get(connection, plan.id)
    assert found is not None
    assert (found.status, found.decided_by) == (plans.DONE, "dag_test")


def test_a_misspelt_path_empties_nothing(
    dags: DagRunner, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.add_activities(*(activity(number) for number in range(60)))
    assert dags.run(DAG, **PERIOD).state == "success"
    shipped = Path("include/mappings/peerspot/activities.yaml").read_text()
    (tmp_path / "mappings" / "peerspot").mkdir(parents=True)
    (tmp_path / "mappings" / "peerspot" / "activities.yaml").write_text(
        shipped.replace("vendor: country", "vendor: contry")
    )
    monkeypatch.setenv("SALESFORCE_SYNC_MAPPINGS", str(tmp_path / "mappings"))
    finished = dags.run(DAG, **PERIOD)
    assert (finished.state, finished.tasks["load"]) == ("failed", "failed")
    assert world.query("SELECT Id FROM PeerSpot_Activity__c WHERE Country__c = null") == []
    assert "'contry'" in _held()[0].reasons[0].text


def test_a_dag_whose_plans_are_approved_writes_what_was_approved(dags: DagRunner, world: World, mail: MailSink) -> None:
    dags.set_variable("approve_dags", DAG)
    world.add_activities(activity(1), activity(2))
    finished = dags.run(DAG, **PERIOD, steps=["extract"])
    assert (finished.state, world.count("PeerSpot_Activity__c")) == ("success", 0)
    assert "waits for you" in str(mail.messages[0]["Subject"])
    (plan,) = _held()
    _control(dags, "allow", plan=plan.id)
    assert dags.run(DAG, **PERIOD, steps=["extract"]).state == "success"
    assert world.count("PeerSpot_Activity__c") == 2


def test_a_run_is_undone_and_a_dry_undo_before_it_changes_nothing(dags: DagRunner, world: World) -> None:
    world.add_activities(activity(1), activity(2))
    dags.run(DAG, **PERIOD, steps=["extract"])
    world.peerspot.added.clear()
    world.add_activities(activity(1, city="Gouda"), activity(2, city="Gouda"))
    second = dags.run(DAG, **PERIOD, steps=["extract"])
    assert second.results["load"]["updated"] == 2
    dry = _control(dags, "undo", run=second.run_id, dry_run=True)
    assert dry.results["control"]["peerspot/activities"] == {"restored": 0, "deleted": 0, "left_alone": 0}
    assert {row["City__c"] for row in world.query("SELECT City__c FROM PeerSpot_Activity__c")} == {"Gouda"}
    done = _control(dags, "undo", run=second.run_id)
    assert done.results["control"]["peerspot/activities"] == {"restored": 2, "deleted": 0, "left_alone": 0}
    assert {row["City__c"] for row in world.query("SELECT City__c FROM PeerSpot_Activity__c")} == {"Utrecht"}
    assert dags.run(DAG, **PERIOD, steps=["extract"]).results["load"]["updated"] == 0


def test_refused_records_are_tried_again_at_once_or_resolved_with_a_reason(dags: DagRunner, world: World) -> None:
    world.add_activities(activity(1), activity(2, pages_visited="many"), activity(3, pages_visited="many"))
    dags.run(DAG, **PERIOD, steps=["extract"])
    done = _control(dags, "replay", code="UNMAPPABLE")
    assert done.results["control"] == {"due": {"peerspot/activities": 2}, "dags": [DAG]}
    assert _control(dags, "resolve", records=["act-2"]).state == "failed"  # without a reason
    resolved = _control(dags, "resolve", records=["act-2"], reason="they never count pages")
    assert resolved.results["control"]["resolved"] == {"peerspot/activities": 1}
    with reading(open_state()) as connection:
        letters = {row["record_id"]: row for row in connection.execute(select(dead_letters)).mappings()}
    assert (letters["act-2"]["resolution"], letters["act-2"]["resolved_by"]) == ("they never count pages", "dag_test")
    assert letters["act-3"]["resolved_at"] is None


def test_what_was_rejected_is_let_in_again(dags: DagRunner, world: World) -> None:
    dags.set_variable("approve_dags", DAG)
    world.add_activities(activity(1))
    dags.run(DAG, **PERIOD, steps=["extract"])
    _control(dags, "reject", plan=_held()[0].id, reason="not now")
    assert dags.run(DAG, **PERIOD, steps=["extract"]).results["load"]["skipped"] == 1
    done = _control(dags, "let in", mapping="peerspot/activities", records=["act-1"])
    assert done.results["control"] == {"let_in": 1, "dags": [DAG]}
    with reading(open_state()) as connection:
        assert held_out.of_record(connection, "act-1") == []


@pytest.mark.parametrize("dag", [DAG, POLL, "deployteq_contact_moments", "deployteq_campaign_sync"])
def test_a_dry_run_of_every_dag_writes_nothing(dags: DagRunner, world: World, dag: str) -> None:
    world.add_activities(*(activity(number) for number in range(3)))
    world.insert("Contact", *({"LastName": f"C{number}", "Email": f"c{number}@acme.example"} for number in range(2)))
    dags.set_variable("deployteq_synchronize", json.dumps({"contacts": {"queue": 7, "success": 9}}))
    dags.set_variable("peerspot_signals", "prospects")
    prospects = dags.folder / "prospects.csv"
    dags.set_variable("peerspot_prospects_path", str(prospects))
    world.deployteq.state.groups |= {7: [100001], 9: []}
    before = {table.name: _rows(table) for table in metadata.sorted_tables if table.name in STILL}
    writes = _writes(world)
    period = PERIOD if dag == DAG else {}
    finished = dags.run(dag, **period, dry_run=True)
    assert finished.state == "success"
    assert {table.name: _rows(table) for table in metadata.sorted_tables if table.name in STILL} == before
    assert _writes(world) == writes
    assert (world.customers, prospects.exists()) == ([], False)
    assert world.deployteq.state.groups[7] == [100001]
    with reading(open_state()) as connection:
        found = plans.with_status(connection, plans.DRY_RUN)
    if dag in (DAG, POLL):
        assert found[0].counts["create"] == (3 if dag == DAG else 2)


STILL = {
    "inbox", "watermarks", "coverage", "claims", "waits", "dead_letters", "record_links", "sync_log", "sync_log_lists",
    "sync_log_sets", "seen_versions", "account_domains", "account_names", "company_leads",
    "lead_decisions", "record_keys", "open_domains", "leases", "notes", "held_out", "seen_paths",
}  # fmt: skip


def _rows(table: Any) -> list[Any]:
    with reading(open_state()) as connection:
        return sorted(map(tuple, connection.execute(select(table))), key=repr)


def _writes(world: World) -> tuple[int, int]:
    routes = world.org.usage.by_route
    salesforce = sum(
        count for route, count in routes.items() if route.split()[0] in ("PATCH", "DELETE") or "ingest" in route
    )
    changing = ("insert", "update", "delete", "add", "remove")
    calls = world.deployteq.calls.items()
    return salesforce, sum(count for name, count in calls if any(word in name.lower() for word in changing))
