"""python -m demo up | down."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo import processes, services
from demo.airflow_api import AirflowApi
from demo.report import RunReport, report_run, table

PEERSPOT, POLL, MOMENTS, CAMPAIGN = (
    "peerspot_intent",
    "deployteq_contact_poll",
    "deployteq_contact_moments",
    "deployteq_campaign_sync",
)
GROUPS = {"contacts": {"queue": 7, "continue": 8, "success": 9, "error": 10, "limit": 11}}
DAYS = 30
SCHEDULED_SECONDS = 30


def up(root: Path) -> None:
    started = time.monotonic()
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o700)  # Airflow's keys and the demo's data are in it
    _say("Starting the emulators of Salesforce and the vendors")
    emulators = services.start_emulators(root)
    _say("Starting Airflow (about half a minute the first time)")
    url = services.start_airflow(root)
    api = AirflowApi(url)
    _say(f"Airflow runs at {url}")
    _set_variables(api, emulators, root)
    finished = [*_run_peerspot(api), *_run_deployteq(api, emulators)]
    reports = [report_run(root / "airflow" / "salesforce_sync.db", run) for run in finished]
    summary = {
        "airflow": {"url": url, "login": services.LOGIN, "password": services.PASSWORD},
        "salesforce": emulators.salesforce,
        "seconds": round(time.monotonic() - started, 1),
        "runs": [report.as_dict() for report in reports],
    }
    (root / "summary.json").write_text(json.dumps(summary, indent=2))
    print(f"\n{table(reports)}\n")
    print(f"Airflow: {url}   login: {services.LOGIN}   password: {services.PASSWORD}")
    print(f"The companies that are looking and are no customers: {root.name}/prospects.csv")
    print(
        f"Took {summary['seconds']:.0f} s. The same figures are in {root.name}/summary.json. `make stop` ends everything."
    )
    _exit_unless_all_succeeded(reports)


def _set_variables(api: AirflowApi, emulators: services.Emulators, root: Path) -> None:
    known = emulators.credentials
    salesforce = {
        "login_url": emulators.salesforce,
        "consumer_key": known["consumer_key"],
        "consumer_secret": known["consumer_secret"],
    }
    api.set_variable("salesforce_credentials", json.dumps(salesforce), "How to sign in to Salesforce")
    for system, credentials in emulators.vendor_credentials.items():
        api.set_variable(f"{system}_credentials", json.dumps(credentials), f"How to sign in to {system}")
    api.set_variable("deployteq_synchronize", json.dumps(GROUPS), "The groups by which campaigns send to Salesforce")
    api.set_variable("peerspot_retention_days", "180", "Older PeerSpot activities are deleted from Salesforce")
    api.set_variable("peerspot_signals", "prospects", "What recent intent does besides being recorded")
    api.set_variable(
        "peerspot_prospects_path", str(root / "prospects.csv"), "The companies that are looking and are no customers"
    )


def _run_peerspot(api: AirflowApi) -> list[dict[str, object]]:
    """The scheduler's own daily run, when it is due, and then a run over a month, as a user would trigger it."""
    finished = _switch_on(api, PEERSPOT)
    last = datetime.now(UTC).date() - timedelta(days=2)
    first = last - timedelta(days=DAYS - 1)
    _say(f"{PEERSPOT}: triggered for {first} to {last}")
    days = {"start_date": first.isoformat(), "end_date": last.isoformat()}
    return [*finished, api.watch(PEERSPOT, api.trigger(PEERSPOT, days))]


def _run_deployteq(api: AirflowApi, emulators: services.Emulators) -> list[dict[str, object]]:
    """The scheduler's own poll, then a newsletter to all customers and what became of it, then a campaign that learned some phone numbers."""
    control, now = f"{emulators.vendors}/_emulator/deployteq", datetime.now(UTC)
    poll = _run(api, POLL)
    services.get_json(f"{control}/mailing", body={"name": f"Newsletter of {now:%d %B, %H:%M}"})
    moments = _run(api, MOMENTS)
    services.get_json(
        f"{control}/queue",
        body={"groups": [*GROUPS["contacts"].values()], "prefix": "003", "every": 5, "phone": f"030-{now:%H%M%S}"},
    )
    return [poll, moments, _run(api, CAMPAIGN)]


def _run(api: AirflowApi, dag: str) -> dict[str, object]:
    """The run that the scheduler begins at once, or, when it has the DAG already, one that is triggered."""
    finished = _switch_on(api, dag)
    if finished:
        return finished[0]
    _say(f"{dag}: triggered")
    return api.watch(dag, api.trigger(dag, {}))


def _switch_on(api: AirflowApi, dag: str) -> list[dict[str, object]]:
    """Lets the scheduler have the DAG; gives the finished run that it begins at once, unless it has the DAG already."""
    api.wait_for_dag(dag)
    if not api.is_paused(dag):
        return []
    api.unpause(dag)
    _say(f"{dag}: the scheduler starts the run that is due")
    deadline = time.monotonic() + SCHEDULED_SECONDS
    while time.monotonic() < deadline:
        for run in api.runs(dag):
            if run["run_type"] == "scheduled":
                return [api.watch(dag, str(run["dag_run_id"]))]
        time.sleep(0.5)
    return []


def _exit_unless_all_succeeded(reports: list[RunReport]) -> None:
    failed = [f"{report.dag} {report.run}" for report in reports if report.state != "success"]
    if failed:
        sys.exit(f"Not every run succeeded: {', '.join(failed)}. The UI shows the log of the failed task.")


def down(root: Path) -> None:
    count = processes.stop_all(root) + services.stop_database(root)
    left = [*processes.ours(root), *filter(None, [services.database_process(root)])]
    for name in ("airflow.json", "emulators.json"):
        (root / name).unlink(missing_ok=True)
    if left:
        sys.exit(f"{len(left)} processes did not end: {', '.join(str(process.pid) for process in left)}")
    print(f"{count} processes ended." if count else "Nothing was running.")


def _say(text: str) -> None:
    print(f"==> {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo")
    parser.add_argument("command", choices=["up", "down"])
    parser.add_argument(
        "--root", type=Path, default=services.REPOSITORY / ".demo", help="folder for everything that the demo keeps"
    )
    options = parser.parse_args()
    try:
        (up if options.command == "up" else down)(options.root.resolve())
    except services.DemoFailed as error:
        sys.exit(f"The demo failed: {error}")


if __name__ == "__main__":
    main()
