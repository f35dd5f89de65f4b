"""What holds for every DAG of the package."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from support.dags import REPOSITORY, dag_bag

pytestmark = [pytest.mark.airflow, pytest.mark.system]
DAG_FILES = sorted((REPOSITORY / "dags").glob("*.py"))
HEAVY = ("pandas", "pyarrow", "requests", "simple_salesforce", "tldextract", "alembic")


@pytest.fixture(scope="module")
def bag(airflow: None) -> Any:
    return dag_bag()


def test_every_dag_file_gives_the_dag_of_its_name(bag: Any) -> None:
    assert bag.import_errors == {}
    assert sorted(bag.dags) == [path.stem for path in DAG_FILES]


def problems_of(dag: Any) -> list[str]:
    """What a DAG lacks of what every DAG must have."""
    from salesforce_sync.operators.alerts import alert_on_failure, alert_on_timeout
    from salesforce_sync.operators.retry import RETRY_POLICY

    found = [
        f"{task.task_id}: no alert" for task in dag.tasks if alert_on_failure not in _as_list(task.on_failure_callback)
    ]
    found += [f"{task.task_id}: not the retry policy" for task in dag.tasks if task.retry_policy != RETRY_POLICY]
    found += [f"{task.task_id}: no time limit" for task in dag.tasks if task.execution_timeout is None]
    found += [
        f"{task.task_id}: pool {task.pool}, which nobody creates" for task in dag.tasks if task.pool != "default_pool"
    ]
    found += [f"{task.task_id}: depends_on_past" for task in dag.tasks if task.depends_on_past]
    if alert_on_timeout not in _as_list(dag.on_failure_callback) or dag.dagrun_timeout is None:
        found.append("no alert for a run that takes too long")
    if dag.catchup or not dag.tags or not dag.doc_md:
        found.append("catchup is on, or tags or documentation are missing")
    return found


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


@pytest.mark.requirement("X-02")
@pytest.mark.parametrize("dag_id", [path.stem for path in DAG_FILES])
def test_every_dag_alerts_retries_by_kind_and_is_limited_in_time(bag: Any, dag_id: str) -> None:
    assert problems_of(bag.get_dag(dag_id)) == []


@pytest.mark.requirement("PS-18", "PS-A3")
def test_the_processor_comes_after_the_extractor_and_the_cleaner_last(bag: Any) -> None:
    dag = bag.get_dag("peerspot_intent")
    order = ["extract", "load", "process", "signals", "clean", "done"]
    for before, after in itertools.pairwise(order):
        assert after in dag.get_task(before).downstream_task_ids
    names = {task.task_id: task.task_display_name for task in dag.tasks}
    assert (names["extract"], names["process"]) == ("PeerSpot Activity Extractor", "PeerSpot Activity Processor")


def test_the_policy_finds_a_dag_that_breaks_it(airflow: None) -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG

    with DAG("bad", catchup=True) as dag:
        EmptyOperator(task_id="task", pool="private", depends_on_past=True)
    assert problems_of(dag) == [
        "task: no alert",
        "task: not the retry policy",
        "task: no time limit",
        "task: pool private, which nobody creates",
        "task: depends_on_past",
        "no alert for a run that takes too long",
        "catchup is on, or tags or documentation are missing",
    ]


def test_errors_are_retried_by_their_kind() -> None:
    from airflow.sdk import RetryAction

    from salesforce_sync import errors
    from salesforce_sync.operators.retry import RETRY_POLICY

    def action(error: Exception) -> Any:
        return RETRY_POLICY.evaluate(error, 1, 3).action

    assert action(errors.InvalidMapping("x")) is RetryAction.FAIL
    assert action(errors.AuthenticationFailed("x")) is RetryAction.FAIL
    assert action(errors.TooManyRejects("x")) is RetryAction.FAIL
    assert action(errors.ServiceUnavailable("x")) is RetryAction.RETRY
    assert action(errors.RateLimited("x")) is RetryAction.RETRY
    assert action(ValueError("x")) is RetryAction.DEFAULT


def test_dag_files_import_nothing_heavy_and_parse_in_under_a_second_of_cpu() -> None:
    script = textwrap.dedent(
        f"""
        import sys, time, runpy
        import airflow.sdk, airflow.timetables.base, pendulum
        sys.path.insert(0, {str(REPOSITORY / "plugins")!r})
        before = set(sys.modules)
        start = time.process_time()
        for path in {[str(path) for path in DAG_FILES]!r}:
            runpy.run_path(path)
        print(time.process_time() - start)
        print([name for name in {HEAVY!r} if name in sys.modules and name not in before])
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path("/"))
    seconds, heavy = done.stdout.strip().splitlines()[-2:]
    assert heavy == "[]"
    assert float(seconds) < 1.0


def test_airflow_loads_the_plugin_file_and_nothing_below_the_package(airflow: None) -> None:
    from airflow import plugins_manager

    plugins, import_errors = plugins_manager._get_plugins()
    assert import_errors == {}
    assert [plugin.name for plugin in plugins if plugin.name == "salesforce_sync"] == ["salesforce_sync"]
    from salesforce_sync.systems.peerspot.timetable import IntentTimetable

    assert [cls is IntentTimetable for plugin in plugins for cls in plugin.timetables] == [True]
