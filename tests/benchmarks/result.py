"""One measured figure, against a peer or a goal where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """`goal` is text such as "<= 500"; `ratio` is value / peer_value. What has no peer or goal has None."""

    name: str
    unit: str
    value: float
    goal: str | None = None
    peer: str | None = None
    peer_value: float | None = None

    @property
    def ratio(self) -> float | None:
        return round(self.value / self.peer_value, 3) if self.peer_value else None

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        sign, _, limit = self.goal.partition(" ")
        return self.value <= float(limit) if sign == "<=" else self.value >= float(limit)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio, "met": self.met}


def measured(module: str, *arguments: object, home: str) -> dict[str, float]:
    """What a process of its own measured: the JSON in the last line of what it prints. Its errors are shown."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"AIRFLOW_HOME": home})
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def table(results: list[Result]) -> str:
    lines = [("measure", "value", "unit", "goal", "met")]
    lines += [
        (item.name, f"{item.value:,.2f}", item.unit, item.goal or "", {True: "yes", False: "NO", None: ""}[item.met])
        for item in results
    ]
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
