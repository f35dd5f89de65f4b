"""SPOTIO's activities as a whole, in Airflow, against the emulators."""

from __future__ import annotations

import pytest

from emulators.vendors.spotio.workflow import LEAD
from support.dags import DagRunner
from support.world import World

pytestmark = [pytest.mark.airflow, pytest.mark.system]
RECORDS, TASKS = "spotio_record_sync", "spotio_activity_tasks"


@pytest.mark.requirement("SP-05", "SP-23", "SP-26")
def test_visits_become_tasks_once_and_only_those_of_after_the_switch_on(dags: DagRunner, world: World) -> None:
    fields = [{"fieldId": "1001", "value": "Bolt"}, {"fieldId": "1003", "value": "Vos"}]
    made = world.spotio.state.create({"typeId": LEAD, "fields": fields})
    world.spotio.state.add_activity(made["id"], title="Before")
    world.vendors.clock.shift(60)
    dags.set_variable("spotio_initial_import", "all")
    dags.run(RECORDS)
    assert dags.run(TASKS).results["extract"] == 0
    world.vendors.clock.shift(60)
    world.spotio.state.add_activity(made["id"], title="After")
    assert dags.run(TASKS, dry_run=True).results["load"]["created"] == 1
    assert dags.run(TASKS).results["load"]["created"] == 1
    assert dags.run(TASKS).results["load"]["created"] == 0
    assert [task["Subject"] for task in world.query("SELECT Subject FROM Task")] == ["After"]
