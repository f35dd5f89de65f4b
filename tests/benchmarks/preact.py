"""Metrics of 1,000,000 accounts of which 2 % changed, out of a Parquet file: seconds, Salesforce calls, peak memory, against 100,000."""

from __future__ import annotations

from benchmarks.deployteq import emulators_with
from benchmarks.result import Result, measured

FEW, MANY = 100_000, 1_000_000


def run() -> list[Result]:
    few, many = _measure(FEW), _measure(MANY)
    return [
        Result(f"metrics: {MANY:,} accounts, 2 % changed, read", "s", many["extract"]),
        Result("... delivered", "s", many["load"]),
        Result("... CPU of both", "s", many["cpu"], None, f"ten times {FEW:,}", few["cpu"] * 10),
        Result("... records written", "records", many["updated"], f"<= {MANY // 50}"),
        Result("... Salesforce calls, with the values before", "calls", many["calls"], "<= 20"),
        Result("... Salesforce calls, without", "calls", many["plain_calls"], "<= 10"),
        Result("... found by another field: Salesforce calls, without", "calls", many["found_calls"], "<= 10"),
        Result("... peak memory", "MB", many["megabytes"], f"<= {few['megabytes'] * 1.5:.0f}", f"{FEW:,}", few["megabytes"]),
        Result(f"metrics: first push of {MANY:,}", "s", many["first"]),
        Result("... peak memory", "MB", many["first_megabytes"]),
    ]  # fmt: skip


def _measure(accounts: int) -> dict[str, float]:
    with emulators_with("Account", accounts, ["Name", "AccountNumber"]) as (folder, line, _):
        figures = {name: measured("preact_task", name, folder, line, home=folder) for name in ("first", "changed")}
        found = measured("preact_task", "found", folder, line, home=folder)
    print(f"    {accounts:,} accounts: {figures} {found}", flush=True)
    return figures["changed"] | figures["first"] | found
