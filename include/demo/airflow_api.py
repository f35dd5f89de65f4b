"""The few calls of Airflow's REST API that the demo makes."""

from __future__ import annotations

import time
import urllib.error
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from demo.services import LOGIN, PASSWORD, DemoFailed, get_json

PARSE_SECONDS, RUN_SECONDS, ASK_SECONDS, READ_TRIES = 90, 600, 120, 5
# How long a person reads a question at least. Airflow begins a task again whose answer comes before the scheduler knows
# that it waits.
READING_SECONDS = 3
FINISHED = ("success", "failed")


class AirflowApi:
    def __init__(self, url: str) -> None:
        self.url = url
        self._token = get_json(f"{url}/auth/token", body={"username": LOGIN, "password": PASSWORD})["access_token"]

    def call(self, path: str, *, body: Any = None, method: str | None = None) -> Any:
        """The answer. A read that Airflow has no answer to is made again: on SQLite it answers 500 while the file is locked."""
        for _ in range(READ_TRIES if body is None else 1):
            try:
                return get_json(f"{self.url}/api/v2/{path}", token=self._token, body=body, method=method, timeout=30)
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    raise
                failed = error
            time.sleep(1)
        raise failed

    def set_variable(self, name: str, value: str, description: str) -> None:
        body = {"key": name, "value": value, "description": description}
        try:
            self.call(f"variables/{name}", body=body, method="PATCH")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            self.call("variables", body=body)

    def wait_for_dag(self, dag_id: str) -> None:
        """Until the DAG file has been parsed."""
        deadline = time.monotonic() + PARSE_SECONDS
        while time.monotonic() < deadline:
            try:
                self.call(f"dags/{dag_id}")
                return
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
            time.sleep(0.5)
        errors = self.call("importErrors")["import_errors"]
        raise DemoFailed(f"the DAG {dag_id} did not appear in {PARSE_SECONDS} s; import errors: {errors}")

    def unpause(self, dag_id: str) -> None:
        self.call(f"dags/{dag_id}", body={"is_paused": False}, method="PATCH")

    def is_paused(self, dag_id: str) -> bool:
        return bool(self.call(f"dags/{dag_id}")["is_paused"])

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """A run with these parameters; gives its id."""
        run_id = f"demo__{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
        self.call(f"dags/{dag_id}/dagRuns", body={"dag_run_id": run_id, "logical_date": None, "conf": conf})
        return run_id

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        return list(self.call(f"dags/{dag_id}/dagRuns?order_by=-run_after&limit=20")["dag_runs"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return dict(self.call(f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"))

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        found = self.call(f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] or "waiting" for task in found}

    def answer(self, dag_id: str, option: str) -> tuple[str, str]:
        """Waits for a question of the DAG in Required Actions, and answers it; gives the question, and the run that
        asked."""
        deadline = time.monotonic() + ASK_SECONDS
        while time.monotonic() < deadline:
            for found in self.call(f"dags/{dag_id}/dagRuns/~/hitlDetails?state=awaiting_input")["hitl_details"]:
                time.sleep(READING_SECONDS)
                task = found["task_instance"]
                run = f"dags/{dag_id}/dagRuns/{quote(task['dag_run_id'], safe='')}"
                place = f"{run}/taskInstances/{task['task_id']}/{task['map_index']}/hitlDetails"
                self.call(place, body={"chosen_options": [option], "params_input": {}}, method="PATCH")
                return str(found["subject"]), str(task["dag_run_id"])
            time.sleep(0.5)
        raise DemoFailed(f"{dag_id} asked nothing in {ASK_SECONDS} s: look at it in the UI")

    def watch(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Waits for the end of the run and prints every change of a task's state; gives the finished run."""
        seen: dict[str, str] = {}
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            run = self.run(dag_id, run_id)
            for task, state in self.task_states(dag_id, run_id).items():
                if state not in ("waiting", "scheduled") and seen.get(task) != state:
                    seen[task] = state
                    print(f"    {task:<16} {state}", flush=True)
            if run["state"] in FINISHED:
                return run
            time.sleep(0.5)
        raise DemoFailed(f"the run {run_id} of {dag_id} did not end in {RUN_SECONDS} s: look at it in the UI")
