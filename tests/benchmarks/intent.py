"""100,000 intent activities in one backfill, from extract to clean-up: seconds, API calls, peak memory.

Each task is a process of its own, as in Airflow, and imports Airflow as a task does; the emulators are another. The first run creates
everything, the second finds it unchanged.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.result import Result

RECORDS = 100_000
ROUNDS = 3
TASKS = ("extract", "load", "process", "companies", "clean")
DAYS = 30
_SCRIPT = Path(__file__).with_name("intent_task.py")


@dataclass(frozen=True)
class Measured:
    """One task: wall-clock seconds inside it, and its peak resident memory in MB."""

    seconds: float
    megabytes: float


def run() -> list[Result]:
    rounds = [_round() for _ in range(ROUNDS)]
    first, second = [item[0] for item in rounds], [item[1] for item in rounds]
    calls = [item[2] for item in rounds]
    total = statistics.median(sum(task.seconds for task in tasks.values()) for tasks in first)
    results = [
        Result(
            "intent: API calls per 1,000 activities, all steps",
            "calls",
            statistics.median(calls) / RECORDS * 1_000,
            goal="<= 1.0",
        ),
        Result("intent: activities per second, all steps", "rows/s", RECORDS / total),
    ]
    for name in TASKS:
        results.append(Result(f"intent: {name}", "s", statistics.median(tasks[name].seconds for tasks in first)))
        results.append(
            Result(f"intent: {name}, peak memory", "MB", max(tasks[name].megabytes for tasks in first), goal="<= 500")
        )
    again = statistics.median(sum(task.seconds for task in tasks.values()) for tasks in second)
    results.append(
        Result("intent: the same again, nothing changed", "s", again, peer="the first run", peer_value=total)
    )
    return results


def _round() -> tuple[dict[str, Measured], dict[str, Measured], int]:
    """(tasks of the first run, tasks of the second, API calls of the first) on new emulators."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = os.environ | {"AIRFLOW_HOME": folder}
        command = [sys.executable, "-m", "emulators", "--seed", "demo"]
        emulators = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert emulators.stdout is not None
            known: dict[str, Any] = json.loads(emulators.stdout.readline())
            _post(f"{known['vendors']}/_emulator/peerspot", {"per_day": RECORDS // DAYS + 1})
            first = {task: _task(task, "first", known, folder, environment) for task in TASKS}
            with urllib.request.urlopen(f"{known['salesforce']}/_emulator/usage") as reply:
                calls = json.load(reply)["api_calls"]
            second = {task: _task(task, "second", known, folder, environment) for task in TASKS}
        finally:
            emulators.terminate()
            emulators.wait()
    return first, second, calls


def _task(name: str, run_id: str, known: dict[str, Any], folder: str, environment: dict[str, str]) -> Measured:
    started = time.perf_counter()
    command = [sys.executable, str(_SCRIPT), name, run_id, folder, json.dumps(known)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    whole = time.perf_counter() - started
    print(
        f"    {run_id:<7} {name:<8} {measured['seconds']:6.1f} s  {measured['megabytes']:4.0f} MB   (process {whole:.1f} s)",
        flush=True,
    )
    return Measured(**measured)


def _post(url: str, body: dict[str, Any]) -> None:
    urllib.request.urlopen(urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")).close()
