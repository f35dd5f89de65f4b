"""The Salesforce Synchronize object as a whole: what a campaign queued arrives, and each customer's fate is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from salesforce_sync.errors import InvalidMapping
from salesforce_sync.mapping.loader import read_mapping
from salesforce_sync.state.engine import open_state
from salesforce_sync.state.schema import api_budget
from support.dags import DagRunner
from support.world import World

pytestmark = [pytest.mark.airflow, pytest.mark.system]
DAG = "deployteq_campaign_sync"
GROUPS = {"queue": 7, "continue": 8, "success": 9, "error": 10, "limit": 11}


@pytest.fixture
def campaign(dags: DagRunner, world: World, monkeypatch: pytest.MonkeyPatch) -> DagRunner:
    """A campaign with one Synchronize object, for Contacts."""
    from salesforce_sync.systems.deployteq import hook as deployteq

    monkeypatch.setattr(deployteq, "pause", lambda _: None)
    monkeypatch.setattr(deployteq.DeployteqHook, "requests_per_second", 10_000.0)
    dags.set_variable("deployteq_synchronize", json.dumps({"contacts": GROUPS}))
    dags.set_variable("brake_first_contact_records", "1000")
    world.deployteq.state.groups = {number: [] for number in GROUPS.values()}
    return dags


def _contacts(world: World, count: int) -> list[str]:
    return world.insert("Contact", *({"LastName": f"C{number}", "Phone": "old"} for number in range(count)))


def _queue(world: World, *customers: dict[str, Any]) -> list[int]:
    vendor = world.deployteq
    people = [
        {"emailAddress": f"p{number}@acme.example", "companyName": str(number)} | customer
        for number, customer in enumerate(customers)
    ]
    ids = [customer["id"] for customer in vendor.answers.insert_bulk_unique(people, ["companyName"], [])]
    vendor.state.groups[GROUPS["queue"]] += ids
    return ids


def _told(world: World) -> dict[str, list[int]]:
    return {output: world.deployteq.state.groups[number] for output, number in GROUPS.items()}


@pytest.mark.requirement("DQ-02", "DQ-19", "DQ-21", "DQ-22", "DQ-A6")
def test_every_customer_is_sent_or_refused_and_told_of(campaign: DagRunner, world: World) -> None:
    one, two = _contacts(world, 2)
    world.delete("Contact", two)
    good, gone, stranger = _queue(
        world, {"externalId": one, "workPhone": "030-1", "optIn": "Y"}, {"externalId": two, "workPhone": "030-2"}, {}
    )
    finished = campaign.run(DAG)
    assert finished.state == "success"
    assert finished.results["report_contacts"] == {"continue": 3, "success": 1, "error": 2, "limit": 0}
    assert {task for task, state in finished.tasks.items() if state == "skipped"} == {
        "extract_leads",
        "load_leads",
        "report_leads",
    }
    assert world.query("SELECT Phone, Deployteq_Opt_In__c FROM Contact") == [
        {"Phone": "030-1", "Deployteq_Opt_In__c": True}
    ]
    told = _told(world)
    assert (told["queue"], told["success"], told["error"], told["limit"]) == ([], [good], [gone, stranger], [])
    assert sorted(told["continue"]) == sorted([good, gone, stranger])


@pytest.mark.requirement("DQ-20")
def test_of_customers_with_one_address_the_last_is_sent(campaign: DagRunner, world: World) -> None:
    one, two = _contacts(world, 2)
    first, last = _queue(
        world, {"externalId": one, "workPhone": "first", "emailAddress": "Same@acme.example"},
        {"externalId": two, "workPhone": "last", "emailAddress": "same@acme.example"},
    )  # fmt: skip
    assert campaign.run(DAG).results["report_contacts"] == {"continue": 2, "success": 1, "error": 0, "limit": 0}
    assert [row["Phone"] for row in world.query("SELECT Phone FROM Contact ORDER BY LastName")] == ["old", "last"]
    assert (_told(world)["queue"], _told(world)["success"], sorted(_told(world)["continue"])) == (
        [],
        [last],
        [first, last],
    )


@pytest.mark.requirement("DQ-20")
def test_an_object_without_the_salesforce_id_is_refused(tmp_path: Any) -> None:
    from salesforce_sync.mapping.loader import SHIPPED

    text = (SHIPPED / "deployteq" / "synchronize_contacts.yaml").read_text()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("external_id: Id", "external_id: Email"))
    with pytest.raises(InvalidMapping, match="the Salesforce ID has to be among the fields"):
        read_mapping(wrong)


@pytest.mark.requirement("DQ-09", "DQ-21")
def test_what_the_api_budget_keeps_back_is_on_limit_once_and_waits_until_it_is_sent(
    campaign: DagRunner, world: World
) -> None:
    campaign.run(DAG)
    contacts = _contacts(world, 450)
    ids = _queue(world, *({"externalId": contact, "workPhone": "new"} for contact in contacts))
    with open_state().connect() as connection:
        spent = connection.execute(select(api_budget.c.hour_calls)).scalar_one()
    campaign.set_variable("salesforce_calls_per_hour", str(spent + 1))
    used = world.org.usage.used
    told = campaign.run(DAG).results["report_contacts"]
    assert world.org.usage.used - used <= 1
    assert (told["continue"], told["success"] + told["limit"], told["error"]) == (450, 450, 0)
    assert told["limit"] > 0
    assert (len(_told(world)["queue"]), len(_told(world)["limit"])) == (0, told["limit"])
    campaign.set_variable("salesforce_calls_per_hour", None)
    assert campaign.run(DAG).results["report_contacts"]["success"] == told["limit"]
    assert (sorted(_told(world)["success"]), _told(world)["queue"]) == (sorted(ids), [])
    assert {row["Phone"] for row in world.query("SELECT Phone FROM Contact")} == {"new"}


def test_a_fault_of_salesforce_tells_nobody_anything_and_the_next_run_delivers(
    campaign: DagRunner, world: World
) -> None:
    (contact,) = _contacts(world, 1)
    (customer,) = _queue(world, {"externalId": contact, "workPhone": "new"})
    world.salesforce_fault(kind="status", status=400, code="MALFORMED", path="/composite/sobjects", times=10)
    finished = campaign.run(DAG)
    assert (finished.state, finished.tasks["load_contacts"]) == ("failed", "failed")
    assert _told(world) == {"queue": [], "continue": [], "success": [], "error": [], "limit": []}
    world.org.faults.clear()
    assert campaign.run(DAG).results["report_contacts"]["success"] == 1
    assert _told(world)["success"] == [customer]


@pytest.mark.requirement("DQ-21")
def test_each_output_is_an_asset_that_other_dags_can_wait_for(campaign: DagRunner, world: World) -> None:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.sdk import Asset
    from airflow.utils.session import create_session

    (contact,) = _contacts(world, 1)
    _queue(world, {"externalId": contact, "workPhone": "new"}, {})
    began = datetime.now(UTC)
    campaign.run(DAG)
    with create_session() as session:
        assert {
            name for (name,) in session.execute(select(AssetModel.name).where(AssetModel.uri.contains("/contacts/")))
        } >= {
            Asset("x-deployteq://synchronize/contacts/success").name  # as another DAG names it
        }
        query = (
            select(AssetModel.uri, AssetEvent.extra)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetEvent.timestamp >= began)
        )
        events = {
            uri.rpartition("/")[2]: extra["count"] for uri, extra in session.execute(query) if "/contacts/" in uri
        }
    assert events == {"continue": 2, "success": 1, "error": 1}


def test_an_id_of_15_characters_is_the_contact_of_18(campaign: DagRunner, world: World) -> None:
    one, two = _contacts(world, 2)
    _queue(world, {"externalId": one[:15], "workPhone": "030-1"}, {"externalId": two.upper(), "workPhone": "030-2"})
    finished = campaign.run(DAG)
    assert finished.results["report_contacts"] == {"continue": 2, "success": 2, "error": 0, "limit": 0}
    assert {row["Phone"] for row in world.query("SELECT Phone FROM Contact")} == {"030-1", "030-2"}
