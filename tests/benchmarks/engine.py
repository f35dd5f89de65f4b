"""The delivery engine: first loads of 20 fields on SQLite and PostgreSQL, of 100,000 and of ten times as many; staging."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from benchmarks.client import ROUNDS, replay_server
from benchmarks.result import Result, measured
from support.databases import new_database, postgres_server

ROWS, MANY = 100_000, 1_000_000


def run() -> list[Result]:
    sqlite, postgresql, staging = [], [], []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, replay_server(1) as url:
        with postgres_server(Path(folder)) as server:
            for number in range(ROUNDS + 1):
                sqlite.append(_measure("load", ROWS, url, "sqlite:///{folder}/state.db"))
                postgresql.append(_measure("load", ROWS, url, new_database(server)))
                staging.append(_measure("stage", ROWS))
                if not number:  # the first round makes the server's bodies
                    sqlite, postgresql, staging = [], [], []
        many = _measure("load", MANY, url, "sqlite:///{folder}/state.db")
    cpu, memory, again = (median(item[name] for item in sqlite) for name in ("cpu", "megabytes", "again_cpu"))
    wall, wall_again = (median(item[name] for item in postgresql) for name in ("seconds", "again"))
    row = median(item["seconds"] for item in staging) / ROWS * 1e6
    return [
        Result("engine: first load of 100,000 x 20 on SQLite, CPU", "s", cpu, "<= 4.5"),
        Result("engine: first load of 100,000 x 20 on PostgreSQL, wall", "s", wall, "<= 8"),
        Result("engine: nothing changed of 100,000 on SQLite, CPU", "s", again, "<= 1.3"),
        Result("engine: nothing changed of 100,000 on PostgreSQL, wall", "s", wall_again, "<= 1.8"),
        Result("engine: an unchanged row, CPU", "us", again / ROWS * 1e6, "<= 12"),
        Result("engine: staging of what Salesforce gives", "us a row", row, "<= 5"),
        Result("engine: 1,000,000, CPU", "s", many["cpu"], f"<= {cpu * 11:.1f}", "ten times 100,000", cpu * 10),
        Result("engine: 1,000,000, peak memory", "MB", many["megabytes"], f"<= {memory * 1.25:.0f}", "100,000", memory),
    ]


def _measure(what: str, rows: int, *places: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        arguments = [what, str(rows), folder, *(place.format(folder=folder) for place in places)]
        return measured("engine_task", *arguments, home=folder)
