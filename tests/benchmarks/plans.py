"""Plans, undo, and the look-up of a record's history, at full size against the emulator."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.result import Result
from salesforce_sync.engine.context import Brakes
from salesforce_sync.engine.control import decide
from salesforce_sync.engine.dry import rehearsal
from salesforce_sync.engine.to_salesforce import deliver_to_salesforce
from salesforce_sync.engine.undo import InSalesforce, Selection, Undone, undo
from salesforce_sync.records import RunIdentity
from salesforce_sync.state import runs, sync_log
from salesforce_sync.state.engine import open_state, reading
from support.databases import new_database, postgres_server
from support.flows import ACTIVITIES, Intent
from support.world import World, activity

RECORDS, EDITED = 10_000, 100
RUNS, LOGGED, LOOKS = 90, 100_000, 20


def run() -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, postgres_server(Path(folder)) as server:
        with World.start(Path(folder) / "emulators") as world:
            found = [*_undone(world, Path(folder)), *_approved(world, Path(folder))]
        return [
            *found,
            _looked_up("SQLite", f"sqlite:///{folder}/log.db"),
            _looked_up("PostgreSQL", new_database(server)),
        ]


def _pipeline(world: World, folder: Path, name: str) -> Intent:
    world.reset()
    return Intent(world, f"sqlite:///{folder}/{name}.db", folder / name)


def _undone(world: World, folder: Path) -> list[Result]:
    pipeline = _pipeline(world, folder, "undo")
    pipeline.take([activity(number) for number in range(RECORDS)])
    pipeline.run_id = "run-2"
    pipeline.take([activity(number, city="Gouda", pages_visited=9) for number in range(RECORDS)])
    rows = world.query(f"SELECT Id FROM PeerSpot_Activity__c LIMIT {EDITED}")
    world.update("PeerSpot_Activity__c", *(row | {"City__c": "Delft"} for row in rows))
    first, seconds, calls = _undo(world, pipeline)
    second, again, _ = _undo(world, pipeline)
    return [
        Result(
            f"undo of {RECORDS:,} updates, {EDITED} of them edited since: restored",
            "records",
            first.restored,
            f">= {RECORDS - EDITED}",
        ),
        Result("... left alone and listed", "records", len(first.left), f"<= {EDITED}"),
        Result("... seconds", "s", seconds),
        Result("... API calls", "calls", calls),
        Result("... a second undo restores", "records", second.restored, "<= 0"),
        Result("... in seconds", "s", again),
    ]


def _undo(world: World, pipeline: Intent) -> tuple[Undone, float, int]:
    context, calls, started = pipeline.context("undo"), world.org.usage.used, time.perf_counter()
    side = InSalesforce(context, ACTIVITIES, pipeline.mapping)
    done = undo(context, ACTIVITIES, pipeline.mapping, side, Selection(run_id="run-2"), person="bench")
    return done, time.perf_counter() - started, world.org.usage.used - calls


def _approved(world: World, folder: Path) -> list[Result]:
    """A dry run, and a plan of updates that is approved after some of its records were edited."""
    pipeline = _pipeline(world, folder, "approved")
    pipeline.take([activity(number) for number in range(RECORDS)])
    pipeline.run_id, changed = "run-2", [activity(number, city="Gouda") for number in range(RECORDS)]
    pipeline.extract(changed)
    started, calls = time.perf_counter(), world.org.usage.used
    with rehearsal(pipeline.context("load")) as work:
        deliver_to_salesforce(work, ACTIVITIES, pipeline.mapping)
    rehearsed, calls = time.perf_counter() - started, world.org.usage.used - calls
    approving = replace(pipeline, brakes=Brakes(approve=True))
    held = approving.load().held
    assert held is not None
    rows = world.query(f"SELECT Id FROM PeerSpot_Activity__c LIMIT {EDITED}")
    world.update("PeerSpot_Activity__c", *(row | {"City__c": "Delft"} for row in rows))
    decide(pipeline.context("control"), held.id, allow=True, person="bench")
    started = time.perf_counter()
    later = approving.load()
    left = later.held.counts["update"] if later.held else 0
    return [
        Result(f"dry run of {RECORDS:,} updates", "s", rehearsed),
        Result("... API calls", "calls", calls),
        Result(f"an approved plan of {RECORDS:,}, {EDITED} of them edited since: written", "records", later.total.updated, f">= {RECORDS - EDITED}"),
        Result("... refused because they changed", "records", left, f"<= {EDITED}"),
        Result("... seconds", "s", time.perf_counter() - started),
    ]  # fmt: skip


def _looked_up(name: str, url: str) -> Result:
    state = open_state(url)
    ids = [f"act-{number:09d}" for number in range(LOGGED)]
    for number in range(RUNS):
        with state.begin() as connection:
            run_id = runs.begin(connection, RunIdentity("bench", f"run-{number}", "load"), ACTIVITIES)
            sync_log.write_unchanged(connection, run_id, ids)
    taken = []
    with reading(state) as connection:
        for number in range(0, LOGGED, LOGGED // LOOKS):
            started = time.perf_counter()
            assert len(sync_log.of_record(connection, ids[number])) == RUNS
            taken.append(1_000 * (time.perf_counter() - started))
    return Result(f"{name}: a record's history over {RUNS} runs of {LOGGED:,}", "ms", statistics.median(taken), "<= 50")
