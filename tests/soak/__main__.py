"""python -m soak: schedules at random, SCHEDULES of them from SEED on, with the guard BREAK broken if it is named.

Prints what was found, each failing schedule cut down to what it takes, and one line of JSON at the end:
{"schedules", "faults", "records", "lost", "doubled", "stale", "unbalanced", "seconds"}. One schedule in ten runs on
PostgreSQL, the others on SQLite; one in fifty in processes of its own, which are killed. Ends with 1 when something was
wrong. FLOW=equal has schedules of records that are kept equal both ways.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine

from salesforce_sync.state import engine as state_engine
from soak import equal, schedule
from soak.breaks import BREAKS, broken
from soak.processes import run_killed
from soak.schedule import Event, Verdict
from support.world import World

EVERY_POSTGRESQL, EVERY_KILLED = 10, 50
# Where there is one, a folder in memory: no schedule cuts the power, so a disk that is waited for proves nothing.
MEMORY = Path("/dev/shm")
SHOWN = 3
WRONG = ("lost", "doubled", "stale", "unbalanced")


class Flow(Protocol):
    """What makes schedules and runs them: the modules schedule and equal."""

    def make(self, seed: int) -> list[Event]: ...
    def run(self, events: list[Event], state: Engine, folder: Path, *, rests: bool = True) -> Verdict: ...


FLOWS: dict[str, Flow] = {"": schedule, "equal": equal}


class Databases:
    """A new, empty state database for each schedule."""

    def __init__(self, folder: Path, server: str | None) -> None:
        self._folder, self._server = folder, server
        self._template = folder / "template.db"
        state_engine.open_state(f"sqlite:///{self._template}").dispose()
        self._numbers = iter(range(10**9))

    @contextmanager
    def new(self, *, postgresql: bool = False) -> Iterator[tuple[Engine, Path]]:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        if postgresql and self._server is not None:
            from support.databases import new_database

            url = new_database(self._server)
        else:
            shutil.copy(self._template, folder / "state.db")
            url = f"sqlite:///{folder / 'state.db'}"
        state = state_engine.open_state(url)
        try:
            yield state, folder
        finally:
            state.dispose()
            state_engine._open.cache_clear()
            shutil.rmtree(folder)


def soak(
    schedules: int,
    seed: int,
    guard: str,
    databases: Databases,
    *,
    postgresql: bool = False,
    world: World | None = None,
    flow: Flow = schedule,
) -> dict[str, float]:
    """Runs the schedules and gives the sums; prints the first few that failed."""
    sums: Counter[str] = Counter()
    started, shown = time.perf_counter(), 0
    for number in range(seed, seed + schedules):
        if world is not None and number % EVERY_KILLED == 0:
            with databases.new() as (_, folder):
                _add(sums, verdict := run_killed(number, world, folder))
            if verdict.bad:
                print(f"schedule {number}, of processes that were killed: {verdict.bad}")
            continue
        events = flow.make(number)
        on_postgresql = postgresql and number % EVERY_POSTGRESQL == 0
        verdict = judge(events, guard, databases, postgresql=on_postgresql, flow=flow)
        _add(sums, verdict)
        if verdict.bad and shown < SHOWN:
            shown += 1
            print(f"schedule {number}: {verdict.bad}")
            for event in _shrunk(events, guard, databases, flow):
                print(f"    {event!r}")
    return dict(sums) | {"seconds": round(time.perf_counter() - started, 1)}


def _add(sums: Counter[str], verdict: Verdict) -> None:
    sums.update(schedules=1, faults=verdict.faults, records=verdict.records)
    sums.update({kind: len(getattr(verdict, kind)) for kind in WRONG})


def judge(
    events: list[Event], guard: str, databases: Databases, *, postgresql: bool = False, flow: Flow = schedule
) -> Verdict:
    """The verdict on one schedule, in a database of its own."""
    with databases.new(postgresql=postgresql) as (state, folder), broken(guard):
        return flow.run(events, state, folder, rests=guard != "rest")


def _shrunk(events: list[Event], guard: str, databases: Databases, flow: Flow) -> list[Event]:
    """The schedule without the events that it does not take to fail."""
    kept = list(events)
    for place in range(len(events) - 1, -1, -1):
        fewer = kept[:place] + kept[place + 1 :]
        if judge(fewer, guard, databases, flow=flow).bad:
            kept = fewer
    return kept


def main() -> None:
    schedules, seed = int(os.environ.get("SCHEDULES", "200")), int(os.environ.get("SEED", "7"))
    guard, flow = os.environ.get("BREAK", ""), FLOWS.get(os.environ.get("FLOW", ""))
    if flow is None:
        sys.exit(f"There is no flow {os.environ['FLOW']!r}: there is {', '.join(filter(None, FLOWS))}, or none named.")
    if guard and guard not in {*BREAKS, "rest"}:
        sys.exit(f"There is no guard {guard!r}: there are {', '.join([*BREAKS, 'rest'])}.")
    logging.disable(logging.CRITICAL)
    with (
        tempfile.TemporaryDirectory(prefix="soak-", dir=MEMORY if MEMORY.is_dir() else None) as folder,
        ExitStack() as stack,
    ):
        server = world = None
        if not guard:
            from support.databases import postgres_server

            server = stack.enter_context(postgres_server(Path(folder)))
            if flow is schedule:
                world = stack.enter_context(World.start(Path(folder) / "emulators"))
        databases = Databases(Path(folder), server)
        sums = soak(schedules, seed, guard, databases, postgresql=server is not None, world=world, flow=flow)
    wrong = sum(int(sums.get(kind, 0)) for kind in WRONG)
    names = ("schedules", "faults", "records", *WRONG, "seconds")
    print(json.dumps({name: sums.get(name, 0) for name in names}))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
