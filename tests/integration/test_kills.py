"""kill -9 at every moment of a run: run again, and nothing is lost, nothing doubled, the watermark right."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from salesforce_sync.records import RunIdentity
from salesforce_sync.state import links, runs, watermarks
from salesforce_sync.state.engine import open_state
from support.flows import ACTIVITIES, Intent
from support.kills import run_until_killed
from support.world import World, activity

MOST_MOMENTS, EVERY = 250, 3  # the soak tries every transaction and call within one process
RECORDS = [
    activity(1),
    activity(
        2,
        domain="nobody.com",
        products=[{"id": "101", "name": "Demo Firewall"}, {"id": "102", "name": "Rival Firewall"}],
    ),
    activity(3, pages_visited="many"),
    activity(4, day=date(2026, 1, 1)),
]


def _outcome(world: World, state_url: str) -> dict[str, Any]:
    """Everything that must be the same however often a run was killed."""
    activities = world.query(
        "SELECT PeerSpot_External_Id__c, Account__c, Error__c, Processed__c FROM PeerSpot_Activity__c"
    )
    ties = world.query("SELECT PeerSpot_External_Id__c FROM PeerSpot_Activity_Product__c")
    org = world.client().org_id
    with open_state(state_url).connect() as connection:
        return {
            "activities": sorted(tuple(row.values()) for row in activities),
            "ties": sorted(row["PeerSpot_External_Id__c"] for row in ties),
            "products": sorted(row["Name"] for row in world.query("SELECT Name FROM PeerSpot_Vendor_Product__c")),
            "links": sorted(
                name
                for name, link in links.find(connection, org, ACTIVITIES, [f"act-{n}" for n in range(1, 5)]).items()
                if not link.gone
            ),
            "watermark": watermarks.get(connection, org, ACTIVITIES),
        }


@pytest.mark.requirement("X-05")
def test_a_run_killed_at_any_moment_and_run_again_ends_as_if_it_had_not_been(world: World, tmp_path: Path) -> None:
    outcomes = []
    for moment in range(1, MOST_MOMENTS, EVERY):
        world.reset()
        (account,) = world.insert("Account", {"Name": "Acme", "Website": "acme.com"})
        folder = tmp_path / str(moment)
        folder.mkdir()
        state_url = f"sqlite:///{folder / 'state.db'}"
        killed = run_until_killed(world, state_url, folder, RECORDS, moment=moment)
        again = Intent(world, state_url, folder, attempt=2, patient=True)
        again.run(*RECORDS)
        again.clean()
        outcomes.append(_outcome(world, state_url))
        (late,) = world.insert("Account", {"Name": "Late", "Website": "nobody.com"})
        again.process()
        found_later = world.query("SELECT Account__c FROM PeerSpot_Activity__c WHERE PeerSpot_External_Id__c = 'act-2'")
        assert found_later == [{"Account__c": late}], f"killed at moment {moment}"
        assert outcomes[-1] == {
            "activities": [
                ("act-1", account, None, True),
                ("act-2", None, "PS Activities Error: Domain not Found", True),
            ],
            "ties": ["act-1:101", "act-2:101", "act-2:102"],
            "products": ["Demo Firewall", "Rival Firewall"],
            "links": ["act-1", "act-2"],
            "watermark": "2026-11-10",
        }, f"killed at moment {moment}"
        if not killed:
            break
    assert not killed
    assert len(outcomes) > 15


def test_a_run_that_was_killed_is_marked_as_interrupted(sqlite_url: str) -> None:
    run = RunIdentity("peerspot_intent", "run-1", "load")
    with open_state(sqlite_url).begin() as connection:
        runs.begin(connection, run, ACTIVITIES)
        runs.begin(connection, run, ACTIVITIES)
        assert [step["status"] for step in runs.of_dag_run(connection, "peerspot_intent", "run-1")] == [
            "interrupted",
            "running",
        ]
