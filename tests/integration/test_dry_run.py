"""Dry runs: the plan is made and kept, and nothing else remains; the servers count not one write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from emulators.salesforce.app import Org
from salesforce_sync.engine.context import Context
from salesforce_sync.engine.dry import pretended, rehearsal
from salesforce_sync.engine.from_salesforce import read_changes
from salesforce_sync.engine.read_days import Span, read_days
from salesforce_sync.engine.to_salesforce import deliver_to_salesforce
from salesforce_sync.engine.to_vendor import deliver_to_vendor
from salesforce_sync.state import plans, runs
from salesforce_sync.state.engine import open_state, reading
from salesforce_sync.state.schema import metadata
from salesforce_sync.systems.peerspot.process import PRODUCTS, process
from salesforce_sync.windows import DateWindow
from support.flows import ACTIVITIES, Intent, Poll, RecordsSource, load_mapping
from support.world import World, activity

# What remains: its plans, that it ran, and what it shares with every run: its sign-in, what the org said, and the calls
# that it made.
SHARED = {
    "plans",
    "sync_runs",
    "api_budget",
    "api_calls_taken",
    "described_objects",
    "salesforce_sessions",
    "known_orgs",
}


def _everything(state: Any) -> dict[str, list[tuple[Any, ...]]]:
    with reading(state) as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
            if table.name not in SHARED
        }


def _writes(org: Org) -> int:
    """How many calls could have changed a record."""
    return sum(
        count
        for route, count in org.usage.by_route.items()
        if route.split()[0] in ("PATCH", "DELETE") or "ingest" in route
    )


def _changing(world: World) -> dict[str, int]:
    return {
        name: count
        for name, count in world.deployteq.calls.items()
        if "insert" in name.lower() or "update" in name.lower()
    }


def _summary(state: Any, target: str) -> dict[str, Any]:
    with reading(state) as connection:
        plan = plans.with_status(connection, plans.DRY_RUN, target=target)[-1]
    return dict(json.loads((Path(plan.path) / "summary.json").read_text()))


def _rehearse(pipeline: Intent, records: list[dict[str, Any]]) -> None:
    """Extract, load and process of one dry DAG run: each in a task, and so in a copy, of its own."""
    day = DateWindow(pipeline.today.replace(day=10), pipeline.today.replace(day=10))
    with rehearsal(pipeline.context("extract")) as work:
        read_days(
            work, RecordsSource(records), ACTIVITIES, pipeline.mapping, Span(day, scheduled=True), today=pipeline.today
        )
    with rehearsal(pipeline.context("load")) as work:
        deliver_to_salesforce(work, ACTIVITIES, pipeline.mapping)
    with rehearsal(pipeline.context("process")) as work:
        process(work, load_mapping(PRODUCTS), account_choice="parentless_oldest")


def test_a_dry_run_of_the_intent_dag_leaves_its_plans_and_nothing_else(world: World, pipeline_on_both: Intent) -> None:
    pipeline = pipeline_on_both
    world.insert("Account", {"Name": "Acme", "Website": "acme.com"})
    pipeline.run(activity(1), activity(2), activity(3))
    pipeline.take([activity(3, city="Delft")])  # so that the Processor would have something to do
    state = open_state(pipeline.state_url)
    before, rows, writes = (
        _everything(state),
        world.query("SELECT FIELDS(ALL) FROM PeerSpot_Activity__c LIMIT 200"),
        _writes(world.org),
    )
    pipeline.run_id = "dry"
    _rehearse(
        pipeline, [activity(1), activity(2, city="Gouda", country=None), activity(4), activity(5, date_visited=None)]
    )
    assert _everything(state) == before
    assert world.query("SELECT FIELDS(ALL) FROM PeerSpot_Activity__c LIMIT 200") == rows
    assert _writes(world.org) == writes
    summary = _summary(state, ACTIVITIES)
    assert summary["counts"] == {"create": 1, "update": 1, "unchanged": 1, "refuse": 1}
    assert summary["codes"] == {"refuse": {"UNMAPPABLE": 1}}
    assert summary["fields"]["City__c"] == {"changed": 2, "emptied": 0}
    assert summary["fields"]["Country__c"] == {"changed": 2, "emptied": 1}
    (update,) = [change for change in summary["changes"] if change["action"] == "update"]
    assert update == {
        "record": "act-2", "action": "update",
        "fields": {"Country__c": ["Netherlands", None], "City__c": ["Utrecht", "Gouda"], "Processed__c": ["true", "false"]},
    }  # fmt: skip
    assert _summary(state, "peerspot/process")["counts"] == {"update": 1}
    with reading(state) as connection:
        steps = runs.of_dag_run(connection, "peerspot_intent", "dry")
    assert {row["status"] for row in steps} == {runs.DRY_RUN}
    assert sum(row["api_calls"] for row in steps) > 0


def test_the_real_run_after_a_dry_one_does_what_it_said(world: World, pipeline: Intent) -> None:
    records = [activity(number) for number in range(4)]
    pipeline.run_id = "dry"
    _rehearse(pipeline, records)
    assert _summary(open_state(pipeline.state_url), ACTIVITIES)["counts"] == {"create": 4}
    pipeline.run_id = "real"
    assert pipeline.take(records).total.created == 4


def test_a_dry_run_knows_what_salesforce_has_already(world: World, pipeline: Intent) -> None:
    """With a new state database, say: what is there is updated, or need not be changed at all."""
    world.insert(
        "PeerSpot_Activity__c",
        {"PeerSpot_External_Id__c": "act-1", "Date_Visited__c": "2026-11-10", "City__c": "Delft"},
    )
    _rehearse(pipeline, [activity(1), activity(2)])
    summary = _summary(open_state(pipeline.state_url), ACTIVITIES)
    assert summary["counts"] == {"create": 1, "update": 1}
    assert summary["changes"][0]["fields"]["City__c"] == ["Delft", "Utrecht"]


def test_a_dry_run_repeats_no_call_that_may_still_land(world: World, pipeline: Intent) -> None:
    world.salesforce_fault(kind="after", method="PATCH", path="composite/sobjects", times=10)
    with pytest.raises(Exception, match="answer"):
        pipeline.take([activity(1)])
    world.org.faults.clear()
    writes = _writes(world.org)
    pipeline.run_id = "dry"
    with rehearsal(pipeline.context("load")) as work:
        deliver_to_salesforce(work, ACTIVITIES, pipeline.mapping)
    assert _writes(world.org) == writes
    assert _summary(open_state(pipeline.state_url), ACTIVITIES)["resting"] == 1


@pytest.mark.airflow
def test_a_dry_poll_shows_what_it_would_send_without_personal_data(world: World, poll: Poll) -> None:
    first, _ = world.insert(
        "Contact",
        {"LastName": "Ann", "Email": "ann@acme.example", "MailingCity": "Utrecht"},
        {"LastName": "Bea", "Email": "bea@acme.example"},
    )
    poll()
    world.org.clock.shift(600)
    world.update("Contact", {"Id": first, "MailingCity": "Gouda", "LastName": "Anna"})
    world.insert("Lead", {"LastName": "Cor", "Company": "Acme", "Email": "cor@acme.example"})
    before, customers = _everything(poll.state), world.customers
    saved = _changing(world)
    poll.runs += 1
    with rehearsal(poll.context("extract", client=True)) as work:
        for name, mapping in poll.mappings.items():
            read_changes(work, name, mapping)
    hook = pretended(poll.hook)
    with rehearsal(poll.context("push", client=False)) as work:
        found = deliver_to_vendor(work, "deployteq", poll.mappings, hook)
    assert (_everything(poll.state), world.customers) == (before, customers)
    assert _changing(world) == saved
    assert found.summary is not None
    assert {action: found.summary.counts[action] for action in ("create", "update", "unchanged")} == {
        "create": 1,
        "update": 1,
        "unchanged": 1,
    }
    text = "\n".join(found.summary.lines())
    assert "city: 'Utrecht' -> 'Gouda'" in text
    assert "lastname: '[personal, 3 characters]' -> '[personal, 4 characters]'" in text
    assert "Anna" not in json.dumps(found.summary.as_dict())
    assert "@acme.example" not in json.dumps(found.summary.as_dict())


def test_a_client_of_a_dry_run_writes_nothing_whoever_asks(world: World, pipeline: Intent) -> None:
    import pyarrow as pa

    client = world.client()
    client.read_only = True
    with pytest.raises(AssertionError, match="a dry run writes"):
        client.delete("Account", [pa.table({"Id": ["001000000000001AAA"]})])


def test_two_dry_runs_of_one_day_do_not_meet(pipeline: Intent, world: World) -> None:
    for run in ("dry-1", "dry-2"):
        pipeline.run_id = run
        _rehearse(pipeline, [activity(1)])
    contexts: list[Context] = []
    with rehearsal(pipeline.context("extract")) as work:
        contexts.append(work)
    assert _summary(open_state(pipeline.state_url), ACTIVITIES)["counts"] == {"create": 1}
    assert "dry-2" in str(contexts[0].staging.root)
