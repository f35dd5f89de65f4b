"""What every emulator takes orders for: the clock and the faults.

Both are plain objects shared by the routes of one server; the HTTP side of them is in each server's `/_emulator/` routes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta

FIRST_YEAR, LAST_YEAR = 1900, 2200
LONGEST_FAULT = 86_400  # seconds


class Clock:
    """The emulator's idea of now: real time, shifted or stopped by order."""

    def __init__(self) -> None:
        self._shift = timedelta(0)
        self._stopped_at: datetime | None = None

    def now(self) -> datetime:
        """The current time as an aware UTC datetime."""
        return self._stopped_at or datetime.now(UTC) + self._shift

    def stop_at(self, moment: datetime) -> None:
        """ValueError when the moment leaves no room for spans before and after it."""
        stopped = moment.astimezone(UTC)
        if not FIRST_YEAR <= stopped.year <= LAST_YEAR:
            raise ValueError(f"the clock goes from {FIRST_YEAR} to {LAST_YEAR}")
        self._stopped_at = stopped

    def shift(self, seconds: float) -> None:
        target = self.now() + timedelta(seconds=seconds)
        if not FIRST_YEAR <= target.year <= LAST_YEAR:
            raise ValueError(f"the clock goes from {FIRST_YEAR} to {LAST_YEAR}")
        if self._stopped_at:
            self._stopped_at = target
        else:
            self._shift += timedelta(seconds=seconds)

    def reset(self) -> None:
        self._shift, self._stopped_at = timedelta(0), None


@dataclass(frozen=True)
class Fault:
    """One misbehaviour, for the next `times` requests whose path contains `path` (and whose method is `method`, and whose body contains
    `contains`, if given).

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
    contains: str = ""
    message: str = ""

    def __post_init__(self) -> None:
        """TypeError or ValueError for an order that could not be carried out."""
        for item in fields(self):
            value = getattr(self, item.name)
            wanted: tuple[type, ...] = {"str": (str,), "int": (int,), "float": (int, float)}[str(item.type)]
            if not isinstance(value, wanted) or isinstance(value, bool):
                raise TypeError(f"{item.name} of a fault must be of type {item.type}, not {value!r}")
        if (
            not 200 <= self.status <= 599
            or self.seconds < 0
            or self.seconds > LONGEST_FAULT
            or self.times < 1
            or self.skip < 0
        ):
            raise ValueError(
                "a fault needs a status from 200 to 599, seconds from 0 to a day, times from 1 and skip from 0"
            )
        self.content_type.encode("latin-1")


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

    def take(self, *kinds: str, path: str = "", method: str = "", body: bytes = b"") -> Fault | None:
        """The first fault of these kinds that matches, with one of its times used up; None when there is none."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.kind not in kinds or fault.path not in path or fault.method not in ("", method):
                    continue
                if fault.contains and fault.contains.encode() not in body:
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
