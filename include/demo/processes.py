"""Starting processes that outlive this one, and ending exactly those again.

Whatever is started here leads a session of its own, noted in a file, and carries MARK in its environment. What it starts in turn is found
by that session, by the mark, or as a child; some programs overwrite their environment with their title, others open new sessions.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

MARK = "SALESFORCE_SYNC_DEMO"
CLOCK_SECONDS = 1.0  # how far two readings of a process's start may lie apart
PATIENCE_SECONDS = {signal.SIGINT: 20, signal.SIGTERM: 10, signal.SIGKILL: 10}


def start(command: list[str], *, environment: dict[str, str], log: Path, root: Path) -> psutil.Process:
    """Starts the command in a session of its own, its output in `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment | {MARK: str(root)},
            start_new_session=True,
        )
    process = psutil.Process(started.pid)
    _sessions_file(root).write_text(json.dumps(_sessions(root) | {str(process.pid): process.create_time()}))
    return process


def run(command: list[str], *, environment: dict[str, str], log: Path, root: Path) -> int:
    """Runs the command to its end, its output in `log`; gives its exit status."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        marked = environment | {MARK: str(root)}
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=marked, check=False
        ).returncode


def _sessions_file(root: Path) -> Path:
    return root / "sessions.json"


def _sessions(root: Path) -> dict[str, float]:
    """Process id of each session's leader -> when it was started."""
    path = _sessions_file(root)
    return dict(json.loads(path.read_text())) if path.exists() else {}


def ours(root: Path) -> list[psutil.Process]:
    """Every process that was started for the demo in this folder, and what it started."""
    sessions = _sessions(root)
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _is_ours(process, sessions, root):
                found |= {item.pid: item for item in (process, *process.children(recursive=True))}
        except (psutil.Error, OSError):
            continue  # it ended meanwhile, or belongs to somebody else
    return [process for process in found.values() if _is_alive(process)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def _is_ours(process: psutil.Process, sessions: dict[str, float], root: Path) -> bool:
    leader = os.getsid(process.pid)
    started = sessions.get(str(leader))
    if started is not None and process.create_time() >= started - CLOCK_SECONDS:
        # A number may have been given to another process since: then its leader is not the one that was noted.
        try:
            return bool(abs(psutil.Process(leader).create_time() - started) <= CLOCK_SECONDS)
        except psutil.NoSuchProcess:
            return True  # the leader ended, what it started is still there
    return bool(process.environ().get(MARK) == str(root))


def stop_all(root: Path) -> int:
    """Ends them all: SIGINT first, then harder. Gives how many there were."""
    first = ours(root)
    leaders = [process for process in first if str(process.pid) in _sessions(root)]
    for number, patience in PATIENCE_SECONDS.items():
        for process in leaders if number == signal.SIGINT else ours(root):
            try:
                process.send_signal(number)
            except psutil.Error:
                continue
        deadline = time.monotonic() + patience
        while ours(root) and time.monotonic() < deadline:
            time.sleep(0.2)
        if not ours(root):
            _sessions_file(root).unlink(missing_ok=True)
            break
    return len(first)
