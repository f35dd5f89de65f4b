"""Leads kept equal with SPOTIO: 20,000 on each side, one in a hundred edited on each; the first import of 200,000."""

from __future__ import annotations

from benchmarks.deployteq import emulators_with
from benchmarks.result import Result, measured

FEW, MANY = 20_000, 200_000
FIELDS = ["Company", "FirstName", "LastName", "Title", "Phone"]


def run() -> list[Result]:
    few, many = _measure(FEW), _measure(MANY)
    memory = few["first_megabytes"]
    return [
        Result(f"both ways: {FEW:,} on each side, 1 % edited on each", "s", few["edits"], "<= 15"),
        Result("... Salesforce calls", "calls", few["calls"], "<= 25"),
        Result("... SPOTIO calls", "calls", few["vendor_calls"]),
        Result("... records written", "records", few["updated"], f"<= {FEW // 100 * 2}"),
        Result("... a run in which nothing changed", "s", few["nothing"]),
        Result(f"both ways: first import of {MANY:,}", "s", many["first"]),
        Result("... peak memory", "MB", many["first_megabytes"], f"<= {memory * 1.5:.0f}", f"{FEW:,}", memory),
    ]


def _measure(leads: int) -> dict[str, float]:
    with emulators_with("Lead", leads, FIELDS) as (folder, line, _):
        figures = measured("spotio_task", folder, line, home=folder)
    print(f"    {leads:,} Leads: {figures}", flush=True)
    return figures
