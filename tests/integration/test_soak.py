"""Fifty runs under faults at random: afterwards Salesforce holds what the vendor has, each record once, and each one's fate is in the log."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from salesforce_sync.errors import SyncError
from salesforce_sync.state.engine import open_state, reading
from salesforce_sync.state.schema import dead_letters, sync_log
from support.flows import ACTIVITIES, Intent
from support.world import World, activity

RUNS, RECORDS = 50, 400
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 500, "code": "UNKNOWN_EXCEPTION"},
    {"kind": "status", "status": 401, "code": "INVALID_SESSION_ID"},
    {
        "kind": "status",
        "status": 403,
        "code": "REQUEST_LIMIT_EXCEEDED",
        "message": "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
    },
    {"kind": "reset"},
    {"kind": "truncate"},
    {"kind": "after", "status": 503, "path": "/composite/sobjects"},
    {"kind": "after", "status": 503, "path": "/jobs/ingest"},
    {"kind": "row", "path": "PeerSpot_Activity__c", "share": 0.2, "code": "UNABLE_TO_LOCK_ROW"},
    {"kind": "fail-job", "path": "PeerSpot_Activity__c", "code": "InternalServerError"},
)


@pytest.mark.parametrize("bulk_from", [50, 2_000], ids=["by jobs", "by collections"])
def test_fifty_runs_under_faults_end_with_both_sides_equal(
    world: World, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bulk_from: int
) -> None:
    monkeypatch.setattr("salesforce_sync.salesforce.write.BULK_FROM_ROWS", bulk_from)
    monkeypatch.setattr("salesforce_sync.staging.BATCH_ROWS", 100)
    chance = random.Random(20261121)
    pipeline = Intent(world, sqlite_url, tmp_path)
    source: dict[int, dict[str, Any]] = {}
    for run in range(RUNS):
        pipeline.run_id = f"run-{run}"
        changed = chance.sample(range(RECORDS), 120)
        source |= {
            number: activity(
                number, pages_visited=chance.randrange(1, 1_000), city=chance.choice(["Utrecht", "Delft", None])
            )
            for number in changed
        }
        pipeline.extract([source[number] for number in changed])
        for _ in range(chance.randrange(0, 4)):
            world.salesforce_fault(**chance.choice(FAULTS), times=chance.randrange(1, 4), skip=chance.randrange(0, 4))
        for attempt in range(6):
            try:
                pipeline.load()
                break
            except SyncError:  # what Airflow's retries do
                assert attempt < 5
        world.org.faults.clear()
    rows = world.query("SELECT PeerSpot_External_Id__c, Pages_Visited__c, City__c FROM PeerSpot_Activity__c")
    target = {row["PeerSpot_External_Id__c"]: (row["Pages_Visited__c"], row["City__c"]) for row in rows}
    assert len(rows) == len(target)
    assert target == {record["id"]: (record["pages_visited"], record["city"]) for record in source.values()}
    with reading(open_state(sqlite_url)) as connection:
        logged = connection.execute(select(func.count(sync_log.c.record_id.distinct()))).scalar_one()
        open_letters = connection.execute(
            select(func.count()).where(dead_letters.c.mapping == ACTIVITIES, dead_letters.c.resolved_at.is_(None))
        ).scalar_one()
    assert (logged, open_letters) == (len(source), 0)
