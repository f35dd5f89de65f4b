"""The client against the peers that a user would pick, through the replay server: seconds, calls, peak memory.

Each contender works in a process of its own, all of them in turn in every round; figures are medians, ranges stand beside them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.result import Result, measured

PULLED, PUSHED, MANY = 200_000, 100_000, 2_000_000
ROUNDS = 5
PULLS = ("floor", "ours", "simple_bulk2", "hook", "ours_by_rest", "simple_by_rest")
PUSHES = ("push_ours", "push_simple_bulk2", "push_operator")


@dataclass
class Runs:
    """What one contender needed in each round."""

    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    calls: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def memory(self) -> float:
        return statistics.median(self.megabytes)

    @property
    def range(self) -> str:
        return f"{min(self.seconds):.2f} to {max(self.seconds):.2f} s"


def run() -> list[Result]:
    found = {name: Runs() for name in (*PULLS, *PUSHES)}
    with replay_server(PULLED) as url:
        for name in (*PULLS, *PUSHES):
            _measure(name, url, Runs())  # the server makes its bodies when they are first asked for
        for number in range(ROUNDS):
            for name, runs in found.items():
                _measure(name, url, runs)
            print(
                f"    round {number + 1} of {ROUNDS}: "
                + ", ".join(f"{name} {runs.seconds[-1]:.2f}" for name, runs in found.items()),
                flush=True,
            )
    for name, runs in found.items():
        print(f"    {name:<18} {runs.median:6.2f} s  ({runs.range}), {runs.memory:5.0f} MB, {runs.calls} calls")
    with replay_server(MANY) as url:
        _measure("ours", url, Runs(), rows=MANY)
        many = Runs()
        _measure("ours", url, many, rows=MANY)
    return _results(found, many)


def _results(found: dict[str, Runs], many: Runs) -> list[Result]:
    ours, push = found["ours"], found["push_ours"]

    def against(name: str, mine: Runs, peer: str, most: float) -> Result:
        return Result(name, "s", mine.median, f"<= {found[peer].median * most:.4f}", peer, found[peer].median)

    return [
        Result(
            "pull: calls per 10,000 rows, plus one poll", "calls", (ours.calls - 2) / (PULLED / 10_000), "<= 0.3"
        ),  # one describes, one polls
        Result("push: calls per 10,000 rows, plus one poll", "calls", (push.calls - 1) / (PUSHED / 10_000), "<= 0.6"),
        against(f"pull: {PULLED:,} rows to Parquet", ours, "hook", 1 / 8),
        Result(
            "pull: peak memory", "MB", ours.memory, f"<= {found['hook'].memory / 3:.1f}", "hook", found["hook"].memory
        ),
        against("pull by REST", found["ours_by_rest"], "simple_by_rest", 1 / 2),
        against("pull", ours, "simple_bulk2", 1),
        against("pull", ours, "floor", 5),
        against(f"push: {PUSHED:,} rows", push, "push_simple_bulk2", 1 / 2),
        against("push", push, "push_operator", 1),
        Result(
            f"pull: peak memory of {MANY:,} rows",
            "MB",
            many.memory,
            f"<= {ours.memory * 1.2:.1f}",
            f"{PULLED:,} rows",
            ours.memory,
        ),
    ]


def _measure(name: str, url: str, runs: Runs, rows: int | None = None) -> None:
    count = rows or (PUSHED if name in PUSHES else PULLED)
    _calls(url)
    with tempfile.TemporaryDirectory() as folder:
        figures = measured("contender", name, url, count, folder, home=folder)
    runs.seconds.append(figures["seconds"])
    runs.megabytes.append(figures["megabytes"])
    runs.calls = _calls(url)


def _calls(url: str) -> int:
    """How many calls the server answered since it was last asked."""
    with urllib.request.urlopen(f"{url}/_calls") as reply:
        return int(json.load(reply)["calls"])


@contextmanager
def replay_server(rows: int) -> Iterator[str]:
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.replay", str(rows)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        known: dict[str, Any] = json.loads(server.stdout.readline())
        yield known["url"]
    finally:
        server.terminate()
        server.wait()
