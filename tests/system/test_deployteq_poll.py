"""The contact poll as a whole, in Airflow, against the emulators."""

from __future__ import annotations

import json

import pytest

from support.dags import DagRunner, dag_bag
from support.mail import MailSink
from support.world import World

pytestmark = [pytest.mark.airflow, pytest.mark.system]
DAG = "deployteq_contact_poll"
NOTHING = dict.fromkeys(("read", "created", "updated", "deleted", "unchanged", "skipped", "rejected", "waiting"), 0)


def _seed(world: World) -> None:
    world.insert(
        "Lead",
        *({"LastName": f"L{number}", "Company": "Acme", "Email": f"l{number}@acme.example"} for number in range(50)),
    )


@pytest.mark.requirement("DQ-16")
def test_it_runs_every_ten_minutes_one_run_at_a_time(airflow: None) -> None:
    dag = dag_bag().get_dag(DAG)
    assert (dag.timetable.expression, dag.max_active_runs, dag.catchup) == ("*/10 * * * *", 1, False)


@pytest.mark.requirement("DQ-01", "DQ-05", "DQ-18")
def test_a_poll_sends_what_changed_and_the_next_one_finds_nothing(dags: DagRunner, world: World) -> None:
    _seed(world)
    finished = dags.run(DAG)
    assert finished.state == "success"
    assert finished.results["check_deployteq"] == "You are successfully connected to Deployteq"
    assert finished.results["push"] == {
        "deployteq/contacts": NOTHING,
        "deployteq/leads": NOTHING | {"read": 50, "created": 50},
    }
    assert len(world.customers) == 50
    world.org.clock.shift(3_600)
    calls = world.org.usage.used
    assert dags.run(DAG).results["push"]["deployteq/leads"] == NOTHING | {"read": 50, "unchanged": 50}
    assert world.org.usage.used - calls == 2
    assert dags.run(DAG, full_sync=True, resend=True).results["push"]["deployteq/leads"] == NOTHING | {
        "read": 50,
        "updated": 50,
    }


def test_a_poll_that_finds_fifty_new_records_takes_three_calls_of_salesforce_and_writes_by_one_of_deployteq(
    dags: DagRunner, world: World
) -> None:
    dags.run(DAG)
    _seed(world)
    world.org.clock.shift(600)
    calls = world.org.usage.used
    world.deployteq.calls.clear()
    assert dags.run(DAG).results["push"]["deployteq/leads"]["created"] == 50
    assert world.org.usage.used - calls <= 3
    # The connection test counts the customers, and so does the look for who is there already.
    assert world.deployteq.calls == {"number_of_customers": 2, "insert_bulk_unique": 1}


@pytest.mark.requirement("DQ-06")
def test_a_wrong_token_stops_the_poll_before_anything_moves(dags: DagRunner, world: World, mail: MailSink) -> None:
    _seed(world)
    dags.set_variable("deployteq_credentials", json.dumps(world.deployteq_credentials | {"token": "wrong"}))
    finished = dags.run(DAG)
    assert (finished.state, finished.tasks["check_deployteq"], finished.tasks["push"]) == (
        "failed",
        "failed",
        "upstream_failed",
    )
    assert "Check the Variable deployteq_credentials" in mail.texts[0]
