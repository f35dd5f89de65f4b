"""make explain: a record's history in plain words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from salesforce_sync.engine.context import Brakes
from salesforce_sync.engine.control import decide
from salesforce_sync.errors import ServiceUnavailable
from salesforce_sync.explain import explain
from salesforce_sync.state.engine import open_state, reading
from support.flows import Intent
from support.world import World, activity


def _lines(intent: Intent, record_id: str) -> list[str]:
    with reading(open_state(intent.state_url)) as connection:
        return explain(connection, record_id)


def test_a_record_is_explained_by_either_of_its_ids(world: World, pipeline_on_both: Intent) -> None:
    intent = pipeline_on_both
    intent.run(activity(1))
    intent.run_id = "run-2"
    intent.take([activity(1)])
    (row,) = world.query("SELECT Id FROM PeerSpot_Activity__c")
    lines = _lines(intent, "act-1")
    assert _lines(intent, row["Id"]) == lines
    assert [line.partition("  ")[2] for line in lines[:-1]] == [
        "peerspot/activities: act-1 was created, in peerspot_intent run-1",
        "peerspot/process: act-1 was updated (DOMAIN_NOT_FOUND: PS Activities Error: Domain not Found), in peerspot_intent run-1",
        "peerspot/activities: act-1 was looked at and had not changed, in peerspot_intent run-2",
    ]
    last = f"peerspot/activities: act-1 is {row['Id']} in Salesforce; delivered is the version of reading 1, which peerspot_intent run-1 read at "
    assert lines[-1].startswith(last)


def test_a_record_that_waits_says_who_read_it(pipeline_on_both: Intent) -> None:
    pipeline_on_both.extract([activity(1), activity(2)])
    (line,) = _lines(pipeline_on_both, "act-2")
    assert line.startswith("peerspot/activities: it was read at 2")
    assert line.endswith(" by peerspot_intent run-1 (reading 1), and waits for the next delivery")
    pipeline_on_both.load()
    assert not [line for line in _lines(pipeline_on_both, "act-2") if "waits" in line]


def test_a_record_whose_call_got_no_answer_is_said_to_rest(world: World, pipeline: Intent) -> None:
    pipeline.extract([activity(1)])
    world.salesforce_fault(kind="after", method="PATCH", path="/composite/sobjects", times=9)
    with pytest.raises(ServiceUnavailable):
        pipeline.load()
    waiting, planned = _lines(pipeline, "act-1")
    assert "waits for the next delivery" in waiting
    assert "it was sent, and nobody knows with what outcome" in planned


def test_a_refused_record_says_why_and_when_it_is_sent_again(world: World, pipeline: Intent) -> None:
    pipeline.take([activity(1, pages_visited="many")])
    first, letter = _lines(pipeline, "act-1")
    assert "was refused (UNMAPPABLE: pages_visited 'many' is not a valid double for Pages_Visited__c)" in first
    assert letter.startswith("peerspot/activities: a dead letter, 1 attempts: UNMAPPABLE")
    assert "it is read and sent again from " in letter


def test_a_record_whose_plan_waits_or_was_rejected_says_so(world: World, pipeline: Intent) -> None:
    pipeline.brakes = Brakes(approve=True)
    held = pipeline.take([activity(1)]).held
    assert held is not None
    assert [line for line in _lines(pipeline, "act-1") if line.endswith("has it: it waits for a person")]
    decide(pipeline.context("control"), held.id, allow=False, person="ann")
    pipeline.load()
    assert (
        f"peerspot/activities: held out since plan {held.id}, by ann: it is written when something else is to be written"
        in _lines(pipeline, "act-1")
    )


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_the_command_says_how_it_is_used(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "salesforce_sync.explain", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": "plugins"})
    assert (done.returncode, "usage: python -m salesforce_sync.explain ID" in done.stderr) == (1, True)


def test_what_nobody_knows_is_said_to_be_unknown(pipeline: Intent) -> None:
    assert _lines(pipeline, "nothing") == [
        "Nothing is known of nothing: it was never read, or its log is past its retention."
    ]
