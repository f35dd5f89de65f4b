"""The table of the demo: what each DAG run did, by the package's own sync runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

DELIVERING = ("load", "push", "synchronize", "control")
HELD = "held"  # red, because a brake holds its plan until a person has looked at it
TEXT_COLUMNS = 3  # the first columns hold text, the others numbers
COLUMNS = ("read", "created", "updated", "unchanged", "skipped", "rejected", "waiting", "api_calls")


@dataclass(frozen=True)
class RunReport:
    """One DAG run. The record counts are those of the tasks that deliver, the API calls and seconds those of everything it did."""

    dag: str
    run: str
    state: str
    read: int
    created: int
    updated: int
    unchanged: int
    skipped: int
    rejected: int
    waiting: int
    api_calls: int
    seconds: float
    steps: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def report_run(state_file: Path, run: dict[str, Any]) -> RunReport:
    """The report of a finished run, given as Airflow's REST API shows it."""
    from salesforce_sync.state import plans, runs
    from salesforce_sync.state.engine import open_state, reading

    with reading(open_state(f"sqlite:///{state_file}")) as connection:
        steps = runs.of_dag_run(connection, run["dag_id"], run["dag_run_id"])
        made = plans.of_dag_run(connection, run["dag_id"], run["dag_run_id"])
    state = run["state"]
    if state == "failed" and any(plan.reasons for plan in made):
        state = HELD
    elif any(plan.status == plans.DRY_RUN for plan in made):
        state = f"{state}, dry"
    counted = {name: sum(step[name] for step in steps if step["task_id"].startswith(DELIVERING)) for name in COLUMNS}
    counted["api_calls"] = sum(step["api_calls"] for step in steps)
    took = datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["start_date"])
    shown = [
        {"step": step["step"], "status": step["status"], "message": step["message"]}
        | {name: step[name] for name in (*COLUMNS, "deleted")}
        for step in steps
    ]
    return RunReport(
        run["dag_id"], run["dag_run_id"], state, **counted, seconds=round(took.total_seconds(), 1), steps=shown
    )


def table(reports: list[RunReport]) -> str:
    """The reports as text, one line a run and below it one per step."""
    header = (
        "DAG / step",
        "run",
        "state",
        "read",
        "created",
        "updated",
        "unchanged",
        "skipped",
        "rejected",
        "waiting",
        "API calls",
        "seconds",
    )
    lines: list[tuple[str, ...]] = [header]
    for report in reports:
        counts = tuple(f"{getattr(report, name):,}" for name in COLUMNS)
        lines.append((report.dag, report.run.partition("+")[0], report.state, *counts, f"{report.seconds:.1f}"))
        lines += [
            (f"  {step['step']}", "", step["status"], *(f"{step[name]:,}" for name in COLUMNS), "")
            for step in report.steps
        ]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    shown = [_line(line, widths) for line in lines]
    return "\n".join([shown[0], "-" * max(map(len, shown)), *shown[1:]])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [
        cell.ljust(width) if index < TEXT_COLUMNS else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()
