"""The intent DAG as a whole, in Airflow, against the emulators."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select

from salesforce_sync import triggers
from salesforce_sync.operators import base
from salesforce_sync.salesforce import write
from salesforce_sync.state import plans
from salesforce_sync.state.engine import open_state, reading
from salesforce_sync.state.schema import sync_runs
from support.dags import DagRunner, dag_bag
from support.mail import MailSink
from support.world import World, activity

pytestmark = [pytest.mark.airflow, pytest.mark.system]
DAG = "peerspot_intent"
PERIOD = {"start_date": "2026-11-01", "end_date": "2026-11-30"}


@pytest.mark.requirement("X-01", "X-02", "PS-18", "PS-23", "PS-26")
def test_a_run_over_a_period_lands_in_salesforce(dags: DagRunner, world: World, mail: MailSink) -> None:
    (account,) = world.insert("Account", {"Name": "Acme", "Website": "acme.com"})
    world.add_activities(activity(1), activity(2, day=date(2026, 11, 20)), activity(3, day=date(2026, 12, 1)))
    finished = dags.run(DAG, **PERIOD)
    assert finished.state == "success"
    assert {task for task, state in finished.tasks.items() if state != "success"} == {"signals"}  # switched off
    assert finished.results["load"] == {
        "read": 2, "created": 2, "updated": 0, "deleted": 0, "unchanged": 0, "skipped": 0, "rejected": 0,
        "waiting": 0,
    }  # fmt: skip
    rows = world.query(
        "SELECT PeerSpot_External_Id__c, Account__c, Processed__c FROM PeerSpot_Activity__c ORDER BY PeerSpot_External_Id__c"
    )
    assert rows == [
        {"PeerSpot_External_Id__c": "act-1", "Account__c": account, "Processed__c": True},
        {"PeerSpot_External_Id__c": "act-2", "Account__c": account, "Processed__c": True},
    ]
    assert mail.messages == []


def test_a_long_bulk_job_waits_in_the_triggerer_and_nothing_is_sent_twice(
    dags: DagRunner, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "BULK_FROM_ROWS", 0)
    monkeypatch.setattr(base, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(triggers, "POLL_SECONDS", 0.5)
    world.salesforce_fault(kind="slow-job", path="PeerSpot_Activity__c", seconds=2, times=1)
    world.add_activities(activity(1), activity(2))
    finished = dags.run(DAG, **PERIOD, steps=["extract"])
    assert (finished.state, finished.results["load"]["created"]) == ("success", 2)
    assert [job.state for job in world.org.jobs.values()] == ["JobComplete"]
    with open_state().connect() as connection:
        statuses = [
            row["status"]
            for row in connection.execute(select(sync_runs).order_by(sync_runs.c.id)).mappings()
            if row["task_id"] == "load"
        ]
    assert statuses == ["waiting", "success"]


@pytest.mark.requirement("PS-24")
def test_a_manual_run_without_dates_takes_the_day_before_yesterday(dags: DagRunner, world: World) -> None:
    today = datetime.now(UTC).date()
    world.add_activities(*(activity(number, day=today - timedelta(days=number)) for number in range(4)))
    # What the trigger form sends when nobody touches it: the present moment as logical date.
    run = dag_bag().get_dag(DAG).test(logical_date=datetime.now(UTC))
    assert str(run.state) == "success"
    assert world.query("SELECT PeerSpot_External_Id__c FROM PeerSpot_Activity__c") == [
        {"PeerSpot_External_Id__c": "act-2"}
    ]


@pytest.mark.requirement("PS-25", "PS-18")
def test_the_processor_can_be_run_alone_even_when_peerspot_is_down(dags: DagRunner, world: World) -> None:
    world.add_activities(activity(1))
    dags.run(DAG, **PERIOD, steps=["extract"])
    assert world.query("SELECT Processed__c FROM PeerSpot_Activity__c") == [{"Processed__c": False}]
    world.vendor_fault(kind="status", status=503, times=1_000)
    finished = dags.run(DAG, steps=["process"])
    assert finished.state == "success"
    assert finished.tasks == {
        "check_salesforce": "success", "check_peerspot": "skipped", "extract": "skipped", "load": "skipped", "process": "success",
        "companies": "success", "signals": "skipped", "clean": "skipped", "clean_companies": "skipped", "done": "success",
    }  # fmt: skip
    assert world.query("SELECT Processed__c FROM PeerSpot_Activity__c") == [{"Processed__c": True}]


@pytest.mark.requirement("PS-27", "PS-28", "PS-19", "PS-A4")
def test_retention_is_a_variable_and_cleaning_happens_whatever_became_of_the_steps_before(
    dags: DagRunner, world: World
) -> None:
    today = datetime.now(UTC).date()
    for number, age in enumerate((30, 31, 200)):
        world.insert(
            "PeerSpot_Activity__c",
            {"PeerSpot_External_Id__c": f"old-{number}", "Date_Visited__c": str(today - timedelta(days=age))},
        )
    dags.set_variable("peerspot_retention_days", "30")
    world.vendor_fault(kind="status", status=401, path="/activities", times=1_000)
    finished = dags.run(DAG, **PERIOD)
    assert (finished.state, finished.tasks["check_peerspot"], finished.tasks["clean"]) == (
        "failed",
        "failed",
        "success",
    )
    assert world.query("SELECT PeerSpot_External_Id__c FROM PeerSpot_Activity__c") == [
        {"PeerSpot_External_Id__c": "old-0"}
    ]


@pytest.mark.requirement("PS-19")
def test_a_bad_retention_deletes_nothing_and_says_why(dags: DagRunner, world: World, mail: MailSink) -> None:
    world.insert("PeerSpot_Activity__c", {"PeerSpot_External_Id__c": "old", "Date_Visited__c": "2020-01-01"})
    dags.set_variable("peerspot_retention_days", "1000")
    finished = dags.run(DAG, steps=["clean"])
    assert (finished.state, finished.tasks["clean"]) == ("failed", "failed")
    assert world.count("PeerSpot_Activity__c") == 1
    assert (
        "The Variable peerspot_retention_days is &#x27;1000&#x27;; it must be a whole number from 1 to 999."
        in mail.texts[0]
    )


def test_a_retention_of_a_day_instead_of_half_a_year_deletes_nothing_until_somebody_says_so(
    dags: DagRunner, world: World, mail: MailSink
) -> None:
    today = datetime.now(UTC).date()
    ages = [*range(2, 52), 0]  # fifty that would go, and one that would stay
    world.insert(
        "PeerSpot_Activity__c",
        *({"PeerSpot_External_Id__c": f"a{age}", "Date_Visited__c": str(today - timedelta(days=age))} for age in ages),
    )
    dags.set_variable("peerspot_retention_days", "1")
    finished = dags.run(DAG, steps=["clean"])
    assert (finished.state, finished.tasks["clean"], world.count("PeerSpot_Activity__c")) == ("failed", "failed", 51)
    for said in (
        "50 of 51 records would be deleted, 98 %",
        "peerspot_retention_days is 1",
        "Nothing of it was written",
    ):
        assert said in mail.texts[0]
    with reading(open_state()) as connection:
        (plan,) = plans.with_status(connection, plans.HELD)
    assert (
        dags.run(DAG, steps=["clean"]).tasks["clean"] == "success"
    )  # nobody has decided: nothing is deleted, in green
    assert (world.count("PeerSpot_Activity__c"), len(mail.messages)) == (51, 1)
    dags.run("sync_control", action="allow", plan=plan.id)
    assert dags.run(DAG, steps=["clean"]).results["clean"]["deleted"] == 50
    assert world.count("PeerSpot_Activity__c") == 1


@pytest.mark.requirement("PS-15", "PS-17", "X-04")
def test_each_side_is_tested_before_anything_moves(dags: DagRunner, world: World) -> None:
    finished = dags.run(DAG, **PERIOD)
    assert finished.results["check_peerspot"] == "You are successfully connected to PeerSpot"
    assert (
        finished.results["check_salesforce"] == "You are successfully connected to Salesforce (org 00D5g0000000001EAA)"
    )


@pytest.mark.requirement("PS-03")
def test_no_task_holds_the_credentials_of_both_sides(
    dags: DagRunner, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salesforce_sync.hooks import credentials

    asked: dict[str, set[str]] = {}
    read = credentials._from_variable

    def spying(name: str) -> object:
        from airflow.sdk import get_current_context

        asked.setdefault(get_current_context()["ti"].task_id, set()).add(name)
        return read(name)

    monkeypatch.setattr(credentials, "_from_variable", spying)
    world.add_activities(activity(1))
    dags.run(DAG, **PERIOD)
    assert asked == {
        "check_salesforce": {"salesforce_credentials"},
        "check_peerspot": {"peerspot_credentials"},
        "extract": {"peerspot_credentials"},
        "load": {"salesforce_credentials"},
        "process": {"salesforce_credentials"},
        "companies": {"salesforce_credentials"},
        "clean": {"salesforce_credentials"},
        "clean_companies": {"salesforce_credentials"},
    }


@pytest.mark.requirement("PS-A7")
def test_a_run_over_days_that_retention_does_not_keep_warns(
    dags: DagRunner, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    dags.set_variable("peerspot_retention_days", "30")
    with caplog.at_level("WARNING"):
        dags.run(DAG, start_date="2026-01-01", end_date="2026-01-02", steps=["extract"])
        assert "will be deleted again by this run's clean-up: peerspot_retention_days keeps no more" in caplog.text
        caplog.clear()
        yesterday = str(datetime.now(UTC).date() - timedelta(days=1))
        dags.run(DAG, start_date=yesterday, end_date=yesterday, steps=["extract"])
        assert "will be deleted again" not in caplog.text


# -- bad input --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "task", "said"),
    [
        ("salesforce_credentials", None, "check_salesforce", "There are no credentials for salesforce"),
        ("salesforce_credentials", "{", "check_salesforce", "The Variable salesforce_credentials is not JSON"),
        ("peerspot_credentials", '{"email": "a@b.co"}', "check_peerspot", "token: missing"),
        ("peerspot_account_choice", "youngest", "check_salesforce", "it must be parentless_oldest or oldest"),
    ],
)
def test_a_bad_variable_stops_the_run_before_anything_moves(
    dags: DagRunner, world: World, mail: MailSink, variable: str, value: str | None, task: str, said: str
) -> None:
    world.add_activities(activity(1))
    dags.set_variable(variable, value)
    finished = dags.run(DAG, **PERIOD)
    assert (finished.state, finished.tasks[task], finished.tasks["load"]) == ("failed", "failed", "upstream_failed")
    assert world.count("PeerSpot_Activity__c") == 0
    assert any(said in text for text in mail.texts)


def test_an_org_without_the_objects_is_named_with_the_fix(dags: DagRunner, world: World, mail: MailSink) -> None:
    schema = world.org.schema
    hidden = schema._by_lower.pop("peerspot_vendor_product__c")
    try:
        finished = dags.run(DAG, **PERIOD)
    finally:
        schema._by_lower["peerspot_vendor_product__c"] = hidden
    assert finished.tasks["check_salesforce"] == "failed"
    assert "has no object PeerSpot_Vendor_Product__c" in mail.texts[0]
    assert "Deploy include/salesforce to the org" in mail.texts[0]


def test_dates_in_the_wrong_order_stop_the_run(dags: DagRunner, mail: MailSink) -> None:
    finished = dags.run(DAG, start_date="2026-11-12", end_date="2026-11-10", steps=["extract"])
    assert finished.tasks["check_salesforce"] == "failed"
    assert "Start Date 2026-11-12 is after End Date 2026-11-10" in mail.texts[0]


# -- alerts -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("X-02")
def test_a_failed_task_is_told_of_by_mail_with_dag_run_reason_fix_and_link(
    dags: DagRunner, world: World, mail: MailSink
) -> None:
    world.vendor_fault(kind="status", status=401, path="/activities", times=10)
    dags.run(DAG, **PERIOD, steps=["extract"])
    (message,) = mail.messages
    assert (message["to"], message["subject"]) == (
        "on-call@example.invalid",
        "Airflow: peerspot_intent.check_peerspot failed",
    )
    (text,) = mail.texts
    for part in (
        "<th align='left' valign='top'>DAG</th><td>peerspot_intent</td>",
        "<td>check_peerspot, try 1</td>",
        "peerspot refused the credentials (401).",
        "Check the Variable peerspot_credentials",
        "<a href='http://127.0.0.1:8080/dags/peerspot_intent/runs/",
    ):
        assert part in text


def test_more_refused_records_than_the_limit_are_told_of_by_mail(dags: DagRunner, world: World, mail: MailSink) -> None:
    world.add_activities(*(activity(number, pages_visited="many" if number < 30 else 1) for number in range(60)))
    finished = dags.run(DAG, **PERIOD, steps=["extract"])
    assert (finished.state, finished.tasks["load"]) == ("failed", "failed")
    assert "30 of 60 records were refused (the limit is 20), the others are saved" in mail.texts[0]
    assert world.count("PeerSpot_Activity__c") == 30


def test_without_addresses_nobody_is_told(dags: DagRunner, mail: MailSink) -> None:
    dags.set_variable("alert_emails", None)
    dags.run(DAG, start_date="2026-11-12", end_date="2026-11-10", steps=["extract"])
    assert mail.messages == []


def test_a_mail_server_that_is_down_hides_no_failure(
    dags: DagRunner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SMTP_DEFAULT",
        json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": 9, "extra": {"retry_limit": 1}}),
    )
    finished = dags.run(DAG, start_date="2026-11-12", end_date="2026-11-10", steps=["extract"])
    assert finished.tasks["check_salesforce"] == "failed"


@pytest.mark.parametrize(("reason", "mails"), [("timed_out", 1), ("task_failure", 0)])
def test_a_run_that_took_too_long_is_told_of_by_mail(dags: DagRunner, mail: MailSink, reason: str, mails: int) -> None:
    from types import SimpleNamespace

    from salesforce_sync.operators.alerts import alert_on_timeout

    run = SimpleNamespace(dag_id=DAG, run_id="scheduled__2026-11-12")
    alert_on_timeout({"reason": reason, "dag_run": run, "dag": dag_bag().get_dag(DAG)})
    assert len(mail.messages) == mails
    if mails:
        assert "took longer than 12:00:00" in mail.texts[0]


# -- secrets and personal data ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("PS-05", "PS-32")
def test_no_secret_and_no_personal_data_is_left_anywhere(
    dags: DagRunner, world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    personal = {
        "email": "jane.doe@example.com",
        "partial_ip": "192.0.2.17",
        "activity": "jane.doe@example.com from 198.51.100.23",
    }
    world.add_activities(activity(1, **personal), activity(2, pages_visited="many", **personal))
    dags.run(DAG, **PERIOD)
    written = b"".join(path.read_bytes() for path in dags.folder.rglob("*") if path.is_file())
    log = "".join(capfd.readouterr()).encode()
    in_salesforce = json.dumps(world.query("SELECT FIELDS(ALL) FROM PeerSpot_Activity__c LIMIT 200")).encode()
    known = world.org.credentials
    secrets = [world.peerspot_credentials["token"], known.consumer_secret, known.consumer_key, *world.org.sessions]
    for needle in ("jane.doe", "192.0.2.17", "198.51.100.23", *secrets):
        for name, text in (("files", written), ("log", log), ("Salesforce", in_salesforce)):
            assert needle.encode() not in text, f"{needle} is in {name}"


# -- signals ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("PS-08")
def test_signals_are_off_until_the_variable_names_them(dags: DagRunner, world: World) -> None:
    world.insert("Account", {"Name": "Acme", "Website": "acme.com", "Type": "Customer - Direct"})
    today = datetime.now(UTC).date()
    world.add_activities(activity(1, day=today - timedelta(days=3)))
    period = {"start_date": str(today - timedelta(days=5)), "end_date": str(today)}
    assert dags.run(DAG, **period).tasks["signals"] == "skipped"
    world.insert(
        "PeerSpot_Vendor_Product__c", {"Name": "Ours", "PeerSpot_Product_Id__c": "1", "My_Company_Product__c": True}
    )
    dags.set_variable("peerspot_signals", "churn")
    assert dags.run(DAG, steps=["signals"]).tasks["signals"] == "success"
    assert world.count("Task") == 1


def test_a_signal_without_its_setting_says_which_one(dags: DagRunner, mail: MailSink) -> None:
    dags.set_variable("peerspot_signals", "nurture")
    finished = dags.run(DAG, steps=["signals"])
    assert (finished.state, finished.tasks["signals"]) == ("failed", "failed")
    assert "The signal nurture needs the Variable peerspot_nurture_campaign" in mail.texts[0]
