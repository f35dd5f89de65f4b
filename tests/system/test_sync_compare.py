"""The DAG sync_compare, in Airflow: each difference between the two sides has its reason, and one without a reason is red."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from salesforce_sync.state import plans
from salesforce_sync.state.engine import open_state, reading
from salesforce_sync.state.schema import inbox, record_links, watermarks
from support.dags import DagRunner
from support.mail import MailSink
from support.world import World, activity

pytestmark = [pytest.mark.airflow, pytest.mark.system]
DAG, POLL, EQUAL, COMPARE = "peerspot_intent", "deployteq_contact_poll", "spotio_record_sync", "sync_compare"
ACTIVITIES, CONTACTS = "peerspot/activities", "deployteq/contacts"
DAY = datetime.now(UTC).date() - timedelta(days=4)


def _days() -> dict[str, str]:
    return {"start_date": DAY.isoformat(), "end_date": DAY.isoformat()}


def _compare(dags: DagRunner, mapping: str) -> tuple[str, Any]:
    finished = dags.run(COMPARE, mapping=mapping)
    task = "activities" if mapping == ACTIVITIES else "customers"
    return finished.state, finished.results.get(task)


def _state() -> list[Any]:
    with reading(open_state()) as connection:
        return [
            sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in (inbox, record_links, watermarks)
        ]


def test_activities_that_people_changed_or_deleted_are_told_and_nothing_is_written(
    dags: DagRunner, world: World
) -> None:
    world.add_activities(*(activity(number, day=DAY) for number in range(5)))
    dags.run(DAG, **_days())
    assert _compare(dags, ACTIVITIES) == ("success", {"same": 5})  # the Processor's marks are no difference
    ids = {
        row["PeerSpot_External_Id__c"]: row["Id"]
        for row in world.query("SELECT Id, PeerSpot_External_Id__c FROM PeerSpot_Activity__c")
    }
    world.update("PeerSpot_Activity__c", {"Id": ids["act-1"], "City__c": "Delft"})
    world.delete("PeerSpot_Activity__c", ids["act-2"])
    world.peerspot.added.clear()
    world.add_activities(
        *(activity(number, day=DAY) for number in range(3)), activity(3, day=DAY, city="Gouda"), activity(4, day=DAY, pages_visited="many"),
    )  # fmt: skip
    before = _state()
    assert _compare(dags, ACTIVITIES) == (
        "success",
        {
            "same": 1,
            "refused": 1,
            "edited on the other side": 1,
            "deleted on the other side": 1,
            "changed at its source since it was read": 1,
        },
    )
    assert _state() == before
    with reading(open_state()) as connection:
        plan = plans.with_status(connection, plans.DRY_RUN)[-1]
    assert {"summary.json", "comparison.json"} <= {path.name for path in Path(plan.path).iterdir()}  # they go with it
    assert world.query(f"SELECT City__c FROM PeerSpot_Activity__c WHERE Id = '{ids['act-1']}'") == [
        {"City__c": "Delft"}
    ]


def test_a_record_that_is_nowhere_without_a_reason_is_red(dags: DagRunner, world: World, mail: MailSink) -> None:
    world.add_activities(*(activity(number, day=DAY) for number in range(3)))
    dags.run(DAG, **_days())
    (row,) = world.query("SELECT Id FROM PeerSpot_Activity__c WHERE PeerSpot_External_Id__c = 'act-1'")
    world.delete("PeerSpot_Activity__c", row["Id"])
    with open_state().begin() as connection:
        connection.execute(delete(record_links).where(record_links.c.record_id == "act-1"))
    state, _ = _compare(dags, ACTIVITIES)
    assert state == "failed"
    assert "1 records differ, and nothing explains it: peerspot/activities act-1" in mail.texts[0]


def test_customers_that_were_changed_at_deployteq_are_told(dags: DagRunner, world: World) -> None:
    first, second, third = world.insert(
        "Contact",
        *(
            {"LastName": f"C{number}", "Email": f"c{number}@acme.example", "MailingCity": "Utrecht"}
            for number in range(3)
        ),
    )
    dags.run(POLL)
    assert _compare(dags, CONTACTS) == ("success", {"same": 3})
    by_contact = {customer["externalId"]: customer for customer in world.deployteq.state.customers.values()}
    by_contact[first]["city"] = "Delft"
    world.org.clock.shift(600)
    world.update("Contact", {"Id": second, "MailingCity": "Gouda"})
    assert _compare(dags, CONTACTS) == (
        "success",
        {"same": 1, "edited on the other side": 1, "changed at its source since it was read": 1},
    )
    assert third in by_contact


@pytest.mark.requirement("SP-19")
def test_records_that_are_kept_equal_are_compared_and_each_difference_has_its_reason(
    dags: DagRunner, world: World, mail: MailSink
) -> None:
    dags.set_variable("spotio_initial_import", "all")
    for name in ("Acme", "Bolt", "Core"):
        world.insert("Lead", {"LastName": "Smit", "Company": name})
    dags.run(EQUAL)
    assert dags.run(COMPARE, mapping="spotio/leads").results["records"] == {"same": 3}
    world.later(600)
    acme, bolt, core = (row["Id"] for row in world.query("SELECT Id FROM Lead ORDER BY Company"))
    world.update("Lead", {"Id": acme, "Title": "CFO"})
    before = _state()
    assert dags.run(COMPARE, mapping="spotio/leads").results["records"] == {
        "same": 2, "changed at its source since it was read": 1,
    }  # fmt: skip
    assert _state() == before
    dags.run(EQUAL)
    assert dags.run(COMPARE, mapping="spotio/leads").results["records"] == {"same": 3}
    theirs = {known["externalDataObjectId"]: known for known in world.spotio.state.objects.values()}
    theirs[bolt]["fields"][1001] = "Lost without a trace"  # no stamp moves
    finished = dags.run(COMPARE, mapping="spotio/leads")
    assert finished.state == "failed"
    assert any("1 records differ, and nothing explains it" in text for text in mail.texts)
    assert core in theirs


def test_a_system_that_is_not_set_up_is_passed_over(dags: DagRunner, world: World) -> None:
    dags.set_variable("deployteq_credentials", None)
    world.add_activities(activity(1, day=DAY))
    dags.run(DAG, **_days())
    finished = dags.run(COMPARE)
    assert finished.state == "success"
    assert "customers" not in finished.results
