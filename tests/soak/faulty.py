"""Tasks that fail at moments: killed, without an answer, paused while another runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from salesforce_sync.errors import CallsMayLand, LeaseHeld, ServiceUnavailable, SyncError

KINDS = ("kill", "done, then kill", "down", "done, then down", "late", "late", "pause", "pause")
REST = 600.0


class Killed(BaseException):
    """What a task that is killed ends with: nothing of it runs after that."""


@dataclass
class _Task:
    """A task at work: its faults by moment, and whether it was killed."""

    faults: dict[int, str]
    moment: int = 0
    dead: bool = False


@dataclass
class Faulty:
    """The state, and the tasks at work, the innermost last: a task that pauses has another one within it."""

    state: Engine
    folder: Path
    rests: bool = True
    tasks: list[_Task] = field(default_factory=list)
    late: list[Callable[[], Any]] = field(default_factory=list)  # calls on their way, whose sender gave up on them
    faults: int = 0

    def listen(self) -> None:
        """Every transaction of the state is a moment, too."""
        event.listen(self.state, "begin", lambda _: self._in_database())
        event.listen(self.state, "commit", lambda _: self._in_database(may_die=True))

    def run_another(self) -> None:
        """What happens while a task pauses."""
        raise NotImplementedError

    def _in_database(self, *, may_die: bool = False) -> None:
        task = self.tasks[-1] if self.tasks else None
        if task is None:
            return
        if task.dead:
            raise Killed
        if may_die:
            task.moment += 1
            if task.faults.get(task.moment) in ("kill", "done, then kill"):
                self._die(task)

    def _die(self, task: _Task) -> None:
        self.faults += 1
        task.dead = True
        raise Killed

    def around(self, arrive: Callable[[], Any]) -> Any:
        """A call of the task at work to one of the sides."""
        task = self.tasks[-1] if self.tasks else None
        if task is None:
            return arrive()
        if task.dead:
            raise Killed
        task.moment += 1
        fault = task.faults.get(task.moment)
        self.faults += fault is not None
        if fault == "pause":
            self.run_another()
        elif fault == "kill":
            self.faults -= 1
            self._die(task)
        elif fault == "late":
            self.late.append(arrive)
            raise ServiceUnavailable("no answer")
        elif fault == "down":
            raise ServiceUnavailable("down")
        answer = arrive()
        if fault == "done, then kill":
            self.faults -= 1
            self._die(task)
        if fault == "done, then down":
            raise ServiceUnavailable("down")
        return answer

    def task(self, call: Callable[[dict[str, Any]], Any], faults: dict[int, str]) -> None:
        """Tries of one task, with what it waits for in between; a try that is killed is the last one."""
        extra: dict[str, Any] = {}
        for _ in range(6):
            self.tasks.append(_Task(faults))
            try:
                call(extra)
                return
            except LeaseHeld as held:
                extra["overdue"] = held.held  # nothing was heard of its holder for long, dead or paused
            except CallsMayLand as resting:
                if len(self.tasks) > 1:
                    return  # the calls of a task that pauses land before a rest is over: see docs/known-limits.md
                self.land()
                extra["rested"] = dict.fromkeys(resting.notes, resting.seconds)
            except SyncError:
                faults = {}
            except Killed:
                return
            finally:
                self.tasks.pop()

    def land(self) -> None:
        """Calls that were on their way arrive, as long as anything rests."""
        for arrive in self.late:
            arrive()
        self.late.clear()
