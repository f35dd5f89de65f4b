"""Running whole DAGs in this process, by Airflow's own dag.test()."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


def dag_bag() -> Any:
    """Every DAG of dags/, read anew: dag.test() changes the params of the DAG that it runs."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(REPOSITORY / "dags"), bundle_path=REPOSITORY / "dags", bundle_name="dags")


@dataclass
class Finished:
    """A finished run: its state and its tasks' states and results."""

    state: str
    tasks: dict[str, str]
    results: dict[str, Any]
    run_id: str = ""


class DagRunner:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self.folder = folder

    def set_variable(self, name: str, value: str | None) -> None:
        key = f"AIRFLOW_VAR_{name.upper()}"
        if value is None:
            self._monkeypatch.delenv(key, raising=False)
        else:
            self._monkeypatch.setenv(key, value)

    def run(self, dag_id: str, **conf: Any) -> Finished:
        """Runs the DAG with these parameters, without retries, and gives what became of it."""
        dag = dag_bag().get_dag(dag_id)
        for task in dag.tasks:
            task.retries = 0
        # A logical date of its own for each run; the window comes from the parameters.
        run = dag.test(logical_date=_unused_moment(), run_conf=conf)
        instances = {ti.task_id: ti for ti in run.get_task_instances()}
        states = {name: str(ti.state) for name, ti in instances.items()}
        results = {name: ti.xcom_pull(task_ids=name) for name, ti in instances.items() if ti.state == "success"}
        return Finished(str(run.state), states, results, run.run_id)


_moments = iter(datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=count) for count in range(10_000))


def _unused_moment() -> datetime:
    return next(_moments)
