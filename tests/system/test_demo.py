"""`make demo` and `make stop`: the package under Airflow's real scheduler. Backfills by the API that the UI's form uses."""

from __future__ import annotations

import contextlib
import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from demo import processes, services
from demo.airflow_api import AirflowApi
from demo.services import get_json
from salesforce_sync.records import RunIdentity
from salesforce_sync.state import inbox, plans
from salesforce_sync.state.engine import open_state, reading
from salesforce_sync.state.schema import sync_runs
from support.dags import REPOSITORY
from support.databases import open_folder

pytestmark = [pytest.mark.airflow, pytest.mark.system]
DAG = "peerspot_intent"
PER_DAY = 180
UP_SECONDS, BACKFILL_SECONDS = 900, 180


def _demo(command: str, root: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(root),
        "PYTHONPATH": f"{REPOSITORY / 'include'}:{REPOSITORY / 'plugins'}",
    }
    arguments = [sys.executable, "-m", "demo", command, "--root", str(root)]
    return subprocess.run(
        arguments, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=UP_SECONDS, check=False
    )


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """The folder of a demo that is up."""
    with open_folder("demo-") as folder:
        done = _demo("up", folder)
        try:
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "output.txt").write_text(done.stdout)
            yield folder
        finally:
            _demo("down", folder)


def _summary(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / "summary.json").read_text()))


def _of(root: Path, dag: str) -> list[dict[str, Any]]:
    return [run for run in _summary(root)["runs"] if run["dag"] == dag]


@pytest.mark.requirement("X-02", "PS-20", "PS-22")
def test_the_scheduler_runs_the_day_that_is_due_and_a_triggered_month_lands(root: Path) -> None:
    scheduled, dry, month, *_ = _summary(root)["runs"]
    assert (dry["state"], dry["created"], dry["unchanged"]) == ("success, dry", month["created"], PER_DAY)
    assert (scheduled["state"], scheduled["read"], scheduled["created"]) == ("success", PER_DAY, PER_DAY)
    assert scheduled["run"].startswith("scheduled__")
    assert (month["state"], month["read"]) == ("success", 30 * PER_DAY)
    assert month["created"] + month["unchanged"] + month["rejected"] == month["read"]
    assert (month["unchanged"], month["rejected"]) == (PER_DAY, 1)


def test_the_table_shows_the_runs_and_how_to_sign_in(root: Path) -> None:
    output = (root / "output.txt").read_text()
    for part in ("DAG / step", "API calls", "peerspot_intent", "login: admin", _summary(root)["airflow"]["url"]):
        assert part in output


@pytest.mark.requirement("X-02", "DQ-01", "DQ-16")
def test_the_scheduler_polls_leads_and_contacts_into_deployteq(root: Path) -> None:
    held, poll = _of(root, "deployteq_contact_poll")
    assert (held["state"], held["created"]) == ("held", 0)
    assert held["run"].startswith("scheduled__")
    assert (poll["state"], poll["rejected"]) == ("success", 0)
    assert poll["created"] > 1_000
    assert poll["read"] == poll["created"] + poll["skipped"] + poll["waiting"]


def test_a_person_answers_the_question_in_required_actions_and_the_poll_goes_on(root: Path) -> None:
    with reading(open_state(f"sqlite:///{root / 'airflow' / 'salesforce_sync.db'}")) as connection:
        asked = [plan for plan in plans.with_status(connection, plans.DONE) if plan.reasons]
    assert [(plan.target, plan.decided_by, plan.reason) for plan in asked] == [
        ("deployteq/contacts+deployteq/leads", "admin", "Required Actions")
    ]
    assert "Required Actions: Plan" in (root / "output.txt").read_text()


def test_the_campaign_is_undone(root: Path) -> None:
    (campaign,) = _of(root, "deployteq_campaign_sync")
    undone = _of(root, "sync_control")[-1]
    assert (undone["state"], undone["updated"]) == ("success", campaign["updated"])


@pytest.mark.requirement("PR-05", "PR-09", "PR-10")
def test_customers_reach_preact_and_come_back_with_their_scores(root: Path) -> None:
    (data,), (metrics,) = _of(root, "preact_account_pull"), _of(root, "preact_metric_push")
    assert (data["state"], metrics["state"], data["rejected"], metrics["rejected"]) == ("success", "success", 0, 0)
    assert data["created"] == metrics["updated"] == metrics["read"] > 50


@pytest.mark.requirement("WW-01")
def test_companies_that_visited_wait_for_a_decision(root: Path) -> None:
    (run,) = _of(root, "wow_company_leads")
    (step,) = [step for step in run["steps"] if step["step"] == "wow/company_leads/match"]
    assert (run["state"], run["rejected"]) == ("success", 0)
    assert step["read"] > 50
    assert "checked_no_action" in step["message"]


@pytest.mark.requirement("DQ-03", "DQ-07")
def test_a_newsletter_and_what_became_of_it_are_on_every_lead_and_contact(root: Path) -> None:
    (moments,), poll = _of(root, "deployteq_contact_moments"), _of(root, "deployteq_contact_poll")[-1]
    assert (moments["dag"], moments["state"], moments["rejected"]) == ("deployteq_contact_moments", "success", 0)
    assert moments["created"] == poll["created"]
    assert moments["api_calls"] < 15


@pytest.mark.requirement("DQ-02", "DQ-19")
def test_what_a_campaign_learned_is_on_the_contacts_and_the_queue_is_empty(root: Path) -> None:
    (campaign,) = _of(root, "deployteq_campaign_sync")
    assert (campaign["dag"], campaign["state"], campaign["rejected"]) == ("deployteq_campaign_sync", "success", 0)
    assert campaign["read"] == campaign["updated"] > 50
    emulator = json.loads((root / "emulators.json").read_text())["vendors"]
    assert get_json(f"{emulator}/_emulator/deployteq/groups") == {
        "7": 0,
        "8": campaign["read"],
        "9": campaign["read"],
        "10": 0,
        "11": 0,
    }


def test_the_table_counts_the_api_calls_that_the_server_counted(root: Path) -> None:
    """Of all runs: the scheduler may have polled once more since."""
    counted, server = -1, 0
    deadline = time.monotonic() + 30
    while counted != server and time.monotonic() < deadline:
        with reading(open_state(f"sqlite:///{root / 'airflow' / 'salesforce_sync.db'}")) as connection:
            counted = connection.execute(select(func.sum(sync_runs.c.api_calls))).scalar_one()
        server = get_json(f"{_summary(root)['salesforce']}/_emulator/usage")["api_calls"]
    assert counted == server >= sum(run["api_calls"] for run in _summary(root)["runs"])


def test_the_prospect_list_is_written(root: Path) -> None:
    with (root / "prospects.csv").open(newline="") as file:
        header, *prospects = csv.reader(file)
    assert header == ["company", "domain", "country", "visits", "products", "last_visit", "account"]
    assert len(prospects) > 200


def test_the_processor_matched_about_four_in_five(root: Path) -> None:
    url = _summary(root)["salesforce"]
    messages = [
        step["message"] for run in _summary(root)["runs"] for step in run["steps"] if step["step"] == "peerspot/process"
    ]
    unmatched = sum(int(message.split(" without")[0].split()[-1]) for message in messages)
    assert 0.15 < unmatched / (30 * PER_DAY) < 0.25
    assert get_json(f"{url}/services/data")[-1]["version"] == "68.0"


def _backfill(root: Path, dag: str, first: str, last: str, *, runs: int) -> list[dict[str, Any]]:
    """The finished runs of a backfill, as somebody begins it in the UI."""
    api = AirflowApi(_summary(root)["airflow"]["url"])
    body = {
        "dag_id": dag, "from_date": first, "to_date": last, "run_backwards": False, "max_active_runs": 3, "dag_run_conf": {},
        "reprocess_behavior": "completed",
    }  # fmt: skip
    api.call("backfills", body=body)
    deadline = time.monotonic() + BACKFILL_SECONDS
    while True:
        found = [run for run in api.runs(dag) if run["run_type"] == "backfill"]
        if len(found) >= runs and all(run["state"] in ("success", "failed") for run in found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(1)


@pytest.mark.requirement("X-02", "DQ-16")
def test_a_backfill_of_polls_doubles_nothing(root: Path) -> None:
    emulator = f"{json.loads((root / 'emulators.json').read_text())['vendors']}/_emulator/deployteq/customers"
    before = len(get_json(emulator))
    tick = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=datetime.now(UTC).minute % 10 + 60)
    found = _backfill(
        root, "deployteq_contact_poll", tick.isoformat(), (tick + timedelta(minutes=20)).isoformat(), runs=3
    )
    assert {run["state"] for run in found} == {"success"}
    assert len(get_json(emulator)) == before


@pytest.mark.requirement("X-02", "PS-23")
def test_a_backfill_runs_exactly_the_chosen_days(root: Path) -> None:
    today = datetime.now(UTC).date()
    first, last = today - timedelta(days=12), today - timedelta(days=10)
    found = _backfill(root, DAG, f"{first}T00:00:00Z", f"{last}T00:00:00Z", runs=3)
    assert {run["state"] for run in found} == {"success"}
    assert sorted(run["logical_date"][:10] for run in found) == [
        str(first + timedelta(days=offset)) for offset in range(3)
    ]
    with reading(open_state(f"sqlite:///{root / 'airflow' / 'salesforce_sync.db'}")) as connection:
        for run in found:
            # Whichever of the runs delivered them: each day's records have their outcome.
            own = inbox.of_run(connection, RunIdentity(DAG, run["dag_run_id"], "load"), ["peerspot/activities"])
            assert [(batch.ref.count, sum(batch.counts.values())) for batch, _ in own] == [(PER_DAY, PER_DAY)]
            assert all(batch.counts["unchanged"] + batch.counts["rejected"] == PER_DAY for batch, _ in own)


@pytest.mark.requirement("PS-32")
def test_the_ui_masks_the_credentials(root: Path) -> None:
    api = AirflowApi(_summary(root)["airflow"]["url"])
    for name in ("salesforce_credentials", "peerspot_credentials"):
        assert "fake" not in json.dumps(api.call(f"variables/{name}")).lower()


def test_every_server_listens_on_loopback_only(root: Path) -> None:
    import psutil

    sockets = []
    for process in processes.ours(root):
        with contextlib.suppress(psutil.NoSuchProcess):  # a task of the scheduler's own runs, that has ended meanwhile
            sockets += process.net_connections()
    listening = {connection.laddr for connection in sockets if connection.status == psutil.CONN_LISTEN}
    assert len(listening) >= 3
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_a_second_demo_changes_nothing_and_stop_leaves_no_process(root: Path) -> None:
    before = root.stat().st_mode
    done = _demo("up", root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert root.stat().st_mode == before  # else the database that runs could not reach its files any more
    dry, month, poll, moments, campaign, undone, records, tasks, data, metrics, visitors = _summary(root)["runs"]
    assert (data["created"], data["updated"], metrics["updated"], metrics["rejected"]) == (0, 0, 0, 0)
    assert (visitors["state"], visitors["created"]) == ("success", 0)
    assert (records["created"], records["updated"], tasks["created"]) == (12, 0, 8)
    assert (dry["state"], dry["created"], dry["unchanged"]) == ("success, dry", 0, 30 * PER_DAY - 1)
    assert undone["updated"] == campaign["updated"]
    assert (campaign["state"], campaign["updated"], campaign["rejected"]) == ("success", campaign["read"], 0)
    assert (poll["state"], poll["created"], poll["rejected"]) == ("success", 0, 0)
    assert (moments["state"], moments["rejected"]) == ("success", 0)
    assert moments["created"] > 1_000  # another newsletter
    assert (month["read"], month["created"], month["updated"], month["rejected"]) == (30 * PER_DAY, 0, 0, 1)
    assert month["unchanged"] == 30 * PER_DAY - 1
    assert _demo("down", root).returncode == 0
    assert processes.ours(root) == []
    assert services.database_process(root) is None
    kept = json.loads((root / "emulators" / "vendors.json").read_text())
    assert kept["deployteq"]["customers"]  # what a demo after this one goes on with
