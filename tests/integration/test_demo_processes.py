"""Finding the demo's processes while they come and go."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo import processes


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[psutil.Process]:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = processes.start(command, environment=dict(os.environ), log=tmp_path / "log", root=tmp_path)
    yield process
    processes.stop_all(tmp_path)


def test_a_process_that_ends_between_two_questions_is_none_of_ours(
    sleeper: psutil.Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sleeper.pid in [process.pid for process in processes.ours(tmp_path)]

    def gone(process: psutil.Process) -> str:
        raise psutil.NoSuchProcess(process.pid)

    monkeypatch.setattr(psutil.Process, "status", gone)
    assert processes.ours(tmp_path) == []


def test_what_a_leader_leaves_behind_is_still_ours(tmp_path: Path) -> None:
    start_another = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    )
    leader = processes.start(
        [sys.executable, "-c", start_another], environment=dict(os.environ), log=tmp_path / "log", root=tmp_path
    )
    leader.wait(timeout=30)
    left = int((tmp_path / "log").read_text())
    try:
        assert [process.pid for process in processes.ours(tmp_path)] == [left]
    finally:
        processes.stop_all(tmp_path)
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE
