"""python -m demo up | down."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from demo import processes, services
from demo.airflow_api import AirflowApi
from demo.report import RunReport, report_run, table
from salesforce_sync.engine.compare import FILE as COMPARISON
from salesforce_sync.engine.compare import read_lines
from salesforce_sync.engine.summary import FILE, Summary

PEERSPOT, POLL, MOMENTS, CAMPAIGN, CONTROL, COMPARE, RECORDS, TASKS, METRICS, DATA, VISITORS = (
    "peerspot_intent",
    "deployteq_contact_poll",
    "deployteq_contact_moments",
    "deployteq_campaign_sync",
    "sync_control",
    "sync_compare",
    "spotio_record_sync",
    "spotio_activity_tasks",
    "preact_metric_push",
    "preact_account_pull",
    "wow_company_leads",
)
FOUND, VISITED = 12, 8  # leads in the field
SHOWN_LINES = 12  # of a plan's summary
GROUPS = {"contacts": {"queue": 7, "continue": 8, "success": 9, "error": 10, "limit": 11}}
DAYS = 30
SCHEDULED_SECONDS = 30


def up(root: Path) -> None:
    started = time.monotonic()
    root.mkdir(parents=True, exist_ok=True)
    services.keep_private(root)
    _say("Starting the emulators of Salesforce and the vendors")
    emulators = services.start_emulators(root)
    _say("Starting Airflow (about half a minute the first time)")
    url = services.start_airflow(root)
    api = AirflowApi(url)
    _say(f"Airflow runs at {url}")
    _set_variables(api, emulators, root)
    for dag in (RECORDS, TASKS):  # what is made after their first runs goes over: they run beside the others
        _begun(api, dag)
    finished = [*_run_peerspot(api, root), *_run_deployteq(api, emulators), *_run_spotio(api, emulators)]
    finished += [_run(api, DATA), _run(api, METRICS)]  # customers reach Preact, and come back with their scores
    finished += [_run(api, VISITORS)]
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
    print("Companies that visited, for you to decide about: `make decisions` writes decisions.csv")
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


def _run_peerspot(api: AirflowApi, root: Path) -> list[dict[str, object]]:
    """The scheduler's own daily run, when it is due; a dry run over a month, to see the plan; and then that run."""
    finished = _switch_on(api, PEERSPOT)
    last = datetime.now(UTC).date() - timedelta(days=2)
    first = last - timedelta(days=DAYS - 1)
    _say(f"{PEERSPOT}: a dry run for {first} to {last}")
    days = {"start_date": first.isoformat(), "end_date": last.isoformat()}
    dry = api.watch(PEERSPOT, api.trigger(PEERSPOT, days | {"steps": ["extract"], "dry_run": True}))
    _show_plan(root, dry)
    _say(f"{PEERSPOT}: triggered for {first} to {last}")
    return [*finished, dry, api.watch(PEERSPOT, api.trigger(PEERSPOT, days))]


def _show_plan(root: Path, run: dict[str, Any]) -> None:
    """What the dry run's plan would do, in the words of its log."""
    from salesforce_sync.state import plans
    from salesforce_sync.state.engine import open_state, reading

    with reading(open_state(f"sqlite:///{root / 'airflow' / 'salesforce_sync.db'}")) as connection:
        (plan,) = plans.of_dag_run(connection, run["dag_id"], run["dag_run_id"])
    summary = Summary.read(json.loads((Path(plan.path) / FILE).read_text()))
    print("\n".join(f"    {line}" for line in list(summary.lines())[:SHOWN_LINES]))


def _run_deployteq(api: AirflowApi, emulators: services.Emulators) -> list[dict[str, object]]:
    """The scheduler's own poll, which waits for a person when it is the first; a newsletter to all customers, and its
    opens and clicks; a campaign that learned some phone numbers; and that campaign undone."""
    control, now = f"{emulators.vendors}/_emulator/deployteq", datetime.now(UTC)
    polls = _approved(api, _run(api, POLL))
    services.get_json(f"{control}/mailing", body={"name": f"Newsletter of {now:%d %B, %H:%M}"})
    moments = _run(api, MOMENTS)
    services.get_json(
        f"{control}/queue",
        body={"groups": [*GROUPS["contacts"].values()], "prefix": "003", "every": 10, "phone": f"030-{now:%H%M%S}"},
    )
    campaign = _run(api, CAMPAIGN)
    _say(f"{CONTROL}: undoes {campaign['dag_run_id']}")
    undo = {"action": "undo", "dag": CAMPAIGN, "run": campaign["dag_run_id"]}
    api.wait_for_dag(CONTROL)
    api.unpause(CONTROL)
    return [*polls, moments, campaign, api.watch(CONTROL, api.trigger(CONTROL, undo))]


def _run_spotio(api: AirflowApi, emulators: services.Emulators) -> list[dict[str, object]]:
    """Some leads that somebody finds in the field, and their sync; visits to them, and the Tasks that they become."""
    control, now = f"{emulators.vendors}/_emulator/spotio", datetime.now(UTC)
    leads = [_found_in_the_field(f"{now:%H%M%S}-{number}") for number in range(FOUND)]
    made = services.get_json(control, body={"create": leads})["ids"]
    records = _triggered(api, RECORDS)
    visits = [{"id": name, "activity": {"title": "Visit", "notes": "Wants an offer"}} for name in made[:VISITED]]
    services.get_json(control, body={"visit": visits})
    return [records, _triggered(api, TASKS)]


def _found_in_the_field(name: str) -> dict[str, Any]:
    """A lead as SPOTIO's emulator takes it: company, last name and telephone number, in the second stage."""
    values = {1001: f"Prospect {name}", 1003: "Owner", 1004: f"+31 30 {name[:6]}"}
    fields = [{"fieldId": str(number), "value": value} for number, value in values.items()]
    return {"typeId": 101, "stageId": 2, "fields": fields, "pin": {"street": "Main Street", "city": "Utrecht"}}


def _triggered(api: AirflowApi, dag: str) -> dict[str, object]:
    _say(f"{dag}: triggered")
    return api.watch(dag, api.trigger(dag, {}))


def _approved(api: AirflowApi, poll: dict[str, Any]) -> list[dict[str, object]]:
    """The poll; when a brake holds its plan, also the question in Airflow's Required Actions, and the poll after the
    answer."""
    if poll["state"] == "success":
        return [poll]
    _say(f"{CONTROL}: more records than go unasked would be sent for the first time, so a person is asked")
    _begun(api, CONTROL)
    question, run = api.answer(CONTROL, "Approve")
    _say(f"Required Actions: {question}: approved")
    asked = api.watch(CONTROL, run)
    after = next(run for run in api.runs(POLL) if run["run_type"] not in ("scheduled", "backfill"))
    return [poll, asked, api.watch(POLL, str(after["dag_run_id"]))]


def _run(api: AirflowApi, dag: str) -> dict[str, object]:
    """The run that the scheduler begins at once, or, when it has the DAG already, one that is triggered."""
    finished = _switch_on(api, dag)
    if finished:
        return finished[0]
    return _triggered(api, dag)


def _switch_on(api: AirflowApi, dag: str) -> list[dict[str, object]]:
    """Lets the scheduler have the DAG; gives the finished run that it begins at once, unless it has the DAG already."""
    run = _begun(api, dag)
    return [api.watch(dag, run)] if run else []


def _begun(api: AirflowApi, dag: str) -> str:
    """Lets the scheduler have the DAG; gives the id of the run that it begins at once, "" when it has the DAG
    already."""
    api.wait_for_dag(dag)
    if not api.is_paused(dag):
        return ""
    api.unpause(dag)
    _say(f"{dag}: the scheduler starts the run that is due")
    deadline = time.monotonic() + SCHEDULED_SECONDS
    while time.monotonic() < deadline:
        for run in api.runs(dag):
            if run["run_type"] == "scheduled":
                return str(run["dag_run_id"])
        time.sleep(0.5)
    return ""


def _exit_unless_all_succeeded(reports: list[RunReport]) -> None:
    failed = [f"{report.dag} {report.run}" for report in reports if report.state == "failed"]
    if failed:
        sys.exit(f"Not every run succeeded: {', '.join(failed)}. The UI shows the log of the failed task.")


def compare(root: Path, mapping: str) -> None:
    """Runs the DAG sync_compare of the demo that is up, and prints what it found."""
    ready = root / "airflow.json"
    if not ready.exists():
        sys.exit("The demo is not up: `make demo` starts it.")
    api = AirflowApi(json.loads(ready.read_text())["url"])
    api.wait_for_dag(COMPARE)
    api.unpause(COMPARE)
    run = api.watch(COMPARE, api.trigger(COMPARE, {"mapping": mapping} if mapping else {}))
    found = sorted((root / "airflow" / "staging").rglob(COMPARISON), key=lambda path: path.stat().st_mtime)
    for path in found[-1 if mapping else -2 :]:
        print("\n".join(read_lines(json.loads(path.read_text()))))
    if run["state"] != "success":
        sys.exit(1)


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
    parser.add_argument("command", choices=["up", "down", "compare"])
    parser.add_argument("mapping", nargs="?", default="", help="for compare: the mapping")
    parser.add_argument(
        "--root", type=Path, default=services.REPOSITORY / ".demo", help="folder for everything that the demo keeps"
    )
    options = parser.parse_args()
    try:
        root = options.root.resolve()
        if options.command == "compare":
            compare(root, options.mapping)
        else:
            (up if options.command == "up" else down)(root)
    except services.DemoFailed as error:
        sys.exit(f"The demo failed: {error}")


if __name__ == "__main__":
    main()
