"""What every emulator takes orders for: the clock and the faults.

Both are plain objects shared by the routes of one server; the HTTP side of them is in each server's `/_emulator/` routes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta


class Clock:
    """The emulator's idea of now: real time, shifted or stopped by order."""

    def __init__(self) -> None:
        self._shift = timedelta(0)
        self._stopped_at: datetime | None = None

    def now(self) -> datetime:
        """The current time as an aware UTC datetime."""
        return self._stopped_at or datetime.now(UTC) + self._shift

    def stop_at(self, moment: datetime) -> None:
        self._stopped_at = moment.astimezone(UTC)

    def shift(self, seconds: float) -> None:
        if self._stopped_at:
            self._stopped_at += timedelta(seconds=seconds)
        else:
            self._shift += timedelta(seconds=seconds)

    def reset(self) -> None:
        self._shift, self._stopped_at = timedelta(0), None


@dataclass(frozen=True)
class Fault:
    """One misbehaviour, for the next `times` requests whose path contains `path` (and whose method is `method`, if given).

    kind: `status` (answer `status` with `body` or an error of `code`), `slow` (wait `seconds`, then answer normally),
    `reset` (close the connection without an answer), `truncate` (cut the answer's body in half),
    `after` (do the work, then answer `status`: the ambiguous case), or a kind that the one emulator knows.
    """

    kind: str
    path: str = ""
    method: str = ""
    times: int = 1
    skip: int = 0
    status: int = 503
    code: str = ""
    body: str = ""
    content_type: str = "application/json"
    seconds: float = 0.0
    share: float = 1.0
    object: str = ""
    message: str = ""


@dataclass
class Faults:
    """The faults ordered so far, used up as requests match them."""

    _faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, *kinds: str, path: str = "", method: str = "") -> Fault | None:
        """The first fault of these kinds that matches, with one of its times used up; None when there is none."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.kind not in kinds or fault.path not in path or fault.method not in ("", method):
                    continue
                if fault.skip > 0:
                    self._faults[index] = replace(fault, skip=fault.skip - 1)
                    return None
                if fault.times > 1:
                    self._faults[index] = replace(fault, times=fault.times - 1)
                else:
                    del self._faults[index]
                return fault
        return None
