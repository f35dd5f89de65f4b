"""What people do in SPOTIO becomes Tasks, against both stand-ins."""

from __future__ import annotations

from typing import Any

import pytest

from emulators.vendors.spotio.workflow import LEAD
from support.flows import FieldActivities
from support.world import World

pytestmark = pytest.mark.airflow
TASKS = "SELECT Subject, ActivityDate, Description, Status, WhoId FROM Task ORDER BY SPOTIO_Activity_Id__c"


@pytest.fixture
def spotio_id(activities: FieldActivities, world: World) -> str:
    """A record of SPOTIO that has a Lead; the sync of activities is switched on, and a minute has passed."""
    values = {1001: "Bolt", 1003: "Vos"}
    fields = [{"fieldId": str(number), "value": value} for number, value in values.items()]
    made = world.spotio.state.create({"typeId": LEAD, "fields": fields})
    activities.records()
    activities()
    _minutes(world, 10)
    return str(made["id"])


def _minutes(world: World, count: int) -> None:
    world.org.clock.shift(60 * count)
    world.vendors.clock.shift(60 * count)


def _lead(world: World) -> str:
    return str(world.query("SELECT Id FROM Lead")[0]["Id"])


def _visit(world: World, spotio_id: str, **more: Any) -> dict[str, Any]:
    given = {"title": "Visit", "notes": "They want to buy", "date": "2026-11-20T10:00:00+00:00"} | more
    return world.spotio.state.add_activity(spotio_id, **given)


@pytest.mark.requirement("SP-05", "SP-24", "SP-25")
def test_a_visit_becomes_a_task_on_its_lead(activities: FieldActivities, world: World, spotio_id: str) -> None:
    _visit(world, spotio_id)
    assert activities().created == 1
    assert world.query(TASKS) == [
        {"Subject": "Visit", "ActivityDate": "2026-11-20", "Description": "They want to buy", "Status": "Completed", "WhoId": _lead(world)},
    ]  # fmt: skip


def test_the_systems_own_events_become_none(activities: FieldActivities, world: World, spotio_id: str) -> None:
    world.spotio.state.change(spotio_id, {"stageId": 2})
    assert activities().read == 0


@pytest.mark.requirement("SP-23")
def test_what_was_done_before_the_switch_on_becomes_none(activities: FieldActivities, world: World) -> None:
    made = world.spotio.state.create(
        {"typeId": LEAD, "fields": [{"fieldId": "1001", "value": "Bolt"}, {"fieldId": "1003", "value": "Vos"}]}
    )
    older = _visit(world, made["id"])
    _minutes(world, 1)
    activities.records()
    activities()
    _minutes(world, 10)
    world.spotio.state.change_activity(older["id"], notes="Edited after the switch-on")
    counts = activities()
    assert (counts.created, world.count("Task")) == (0, 0)


def test_what_is_dated_back_or_edited_later_is_found(activities: FieldActivities, world: World, spotio_id: str) -> None:
    visit = _visit(world, spotio_id, date="2025-11-01T10:00:00+00:00")
    assert activities().created == 1
    _minutes(world, 30)
    world.spotio.state.change_activity(visit["id"], notes="They bought")
    assert activities().updated == 1
    assert [task["Description"] for task in world.query(TASKS)] == ["They bought"]


@pytest.mark.requirement("SP-25", "SP-A7")
def test_what_is_planned_is_open_until_it_is_done(activities: FieldActivities, world: World, spotio_id: str) -> None:
    planned = world.spotio.state.plan_activity(spotio_id, date="2027-01-04T10:00:00+00:00", title="Call back", series=5)
    assert activities().created == 1
    assert [task["Status"] for task in world.query(TASKS)] == ["Not Started"]
    _minutes(world, 10)
    world.spotio.state.finish(planned["id"])
    assert activities().updated == 1
    assert [task["Status"] for task in world.query(TASKS)] == ["Completed"]


@pytest.mark.requirement("SP-26")
def test_a_task_that_people_edited_is_left_alone_by_an_activity_that_did_not_change(
    activities: FieldActivities, world: World, spotio_id: str
) -> None:
    visit = _visit(world, spotio_id)
    activities()
    (task,) = world.query("SELECT Id FROM Task")
    world.update("Task", {"Id": task["Id"], "Subject": "Edited here"})
    world.spotio.state.change_activity(visit["id"])  # only its stamp moves
    assert (activities().updated, world.query(TASKS)[0]["Subject"]) == (0, "Edited here")


def test_an_activity_waits_until_its_record_has_a_lead(
    activities: FieldActivities, world: World, spotio_id: str
) -> None:
    stranger = world.spotio.state.create(
        {"typeId": LEAD, "fields": [{"fieldId": "1001", "value": "Late"}, {"fieldId": "1003", "value": "Kok"}]}
    )
    visit = _visit(world, stranger["id"])
    assert activities().created == 0
    assert activities.records.history(str(visit["id"]))[0] == ("waiting", "NOT_LINKED")
    _minutes(world, 60)
    activities.records()
    assert activities().created == 1


def test_the_day_is_that_of_the_company(
    activities: FieldActivities, world: World, spotio_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from support.airflow import variables

    credentials = world.spotio_credentials | {"timezone": "America/New_York"}
    variables(monkeypatch, spotio_credentials=json.dumps(credentials))
    _visit(world, spotio_id, date="2026-11-20T02:00:00+00:00")
    activities()
    assert [task["ActivityDate"] for task in world.query(TASKS)] == ["2026-11-19"]
