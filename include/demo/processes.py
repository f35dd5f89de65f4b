"""Starting processes that outlive this one, and ending exactly those again.

Every process started here carries MARK in its environment, and so does everything that it starts: that is how `make stop` finds all of
them, and nothing else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

MARK = "SALESFORCE_SYNC_DEMO"
PATIENCE_SECONDS = {signal.SIGINT: 20, signal.SIGTERM: 10, signal.SIGKILL: 10}


def start(command: list[str], *, environment: dict[str, str], log: Path, root: Path) -> psutil.Process:
    """Starts the command in a session of its own, its output in `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment | {MARK: str(root)},
            start_new_session=True,
        )
    return psutil.Process(process.pid)


def run(command: list[str], *, environment: dict[str, str], log: Path, root: Path) -> int:
    """Runs the command to its end, its output in `log`; gives its exit status."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        marked = environment | {MARK: str(root)}
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=marked, check=False).returncode


def ours(root: Path) -> list[psutil.Process]:
    """Every process, of this user, that was started for the demo in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == str(root):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def stop_all(root: Path) -> int:
    """Ends them all: SIGINT first, then harder. Gives how many there were."""
    first = ours(root)
    leaders = [process for process in first if _parent_pid(process) not in {other.pid for other in first}]
    for number, patience in PATIENCE_SECONDS.items():
        targets = leaders if number == signal.SIGINT else ours(root)
        for process in targets:
            try:
                process.send_signal(number)
            except psutil.Error:
                continue
        deadline = time.monotonic() + patience
        while ours(root) and time.monotonic() < deadline:
            time.sleep(0.2)
        if not ours(root):
            break
    return len(first)


def _parent_pid(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.Error:
        return -1
