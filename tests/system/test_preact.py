"""Both Preact DAGs as a whole, in Airflow, against the emulators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.dags import DagRunner
from support.mail import MailSink
from support.world import World

pytestmark = [pytest.mark.airflow, pytest.mark.system]
PUSH, PULL = "preact_metric_push", "preact_account_pull"


def _account(world: World, **fields: Any) -> str:
    return world.insert("Account", {"Name": "Acme", **fields})[0]


def _metrics(identity: str, **changes: Any) -> dict[str, Any]:
    return {"preact_account_id": "pa-1", "external_identifier": identity, "health_score": 82} | changes


@pytest.mark.requirement("PR-12", "PR-A3")
def test_metrics_are_planned_written_once_and_undone(dags: DagRunner, world: World) -> None:
    account = _account(world, Preact_Health_Score_Value__c=11)
    world.preact.report("accounts", _metrics(account))
    assert dags.run(PUSH, dry_run=True).results["load_accounts"]["updated"] == 1
    fields = "Preact_Health_Score_Label__c, Preact_Health_Score_Value__c"
    assert world.query(f"SELECT {fields} FROM Account")[0]["Preact_Health_Score_Value__c"] == 11
    done = dags.run(PUSH)
    assert (done.state, done.results["extract"]) == (
        "success",
        {"preact/account_metrics": 1, "preact/person_metrics": 0},
    )
    assert world.query(f"SELECT {fields} FROM Account") == [
        {"Preact_Health_Score_Label__c": "Good", "Preact_Health_Score_Value__c": 82}
    ]
    assert dags.run(PUSH).results["load_accounts"]["unchanged"] == 1
    undone = dags.run("sync_control", action="undo", dag=PUSH, run=done.run_id).results["control"]
    assert undone["preact/account_metrics"] == {"restored": 1, "deleted": 0, "left_alone": 0}
    assert world.query(f"SELECT {fields} FROM Account") == [
        {"Preact_Health_Score_Label__c": None, "Preact_Health_Score_Value__c": 11}
    ]
    assert dags.run(PUSH).results["load_accounts"]["updated"] == 0


@pytest.mark.requirement("PR-12")
def test_scores_out_of_a_file_need_no_preact(dags: DagRunner, world: World, tmp_path: Path) -> None:
    account = _account(world)
    file = tmp_path / "scores.csv"
    names = [
        "preact_account_id", "external_identifier", "active_users_month", "active_users_week", "activity_score", "health_score",
        "last_activity_at", "nps_updated_at", "nps_response_count", "nps_score",
    ]  # fmt: skip
    file.write_text(f"{','.join(names)}\npa-1,{account},4,2,60,40,2026-11-20,,,\n")
    dags.set_variable("preact_credentials", None)
    dags.set_variable("preact_source", "file")
    dags.set_variable("preact_accounts", str(file))
    dags.set_variable("preact_person_metrics", "")
    done = dags.run(PUSH)
    assert (done.state, done.tasks["load_people"]) == ("success", "skipped")
    found = world.query("SELECT Preact_Activity_Score_Label__c, Preact_Health_Score_Label__c FROM Account")
    assert found == [{"Preact_Activity_Score_Label__c": "High", "Preact_Health_Score_Label__c": "Poor"}]


@pytest.mark.requirement("PR-12")
def test_scores_out_of_a_query_with_a_connection_of_airflows(
    dags: DagRunner, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    account = _account(world)
    database = tmp_path / "warehouse.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE scores (id TEXT, crm TEXT, health REAL)")
        connection.execute("INSERT INTO scores VALUES ('pa-1', ?, 82)", [account])
    nothing = ", ".join(
        f"NULL AS {name}"
        for name in (
            "active_users_month", "active_users_week", "activity_score", "last_activity_at", "nps_updated_at", "nps_response_count",
            "nps_score",
        )
    )  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_PREACT_SQL", json.dumps({"conn_type": "sqlite", "schema": str(database)}))
    dags.set_variable("preact_source", "sql")
    dags.set_variable(
        "preact_accounts",
        f"SELECT id AS preact_account_id, crm AS external_identifier, health AS health_score, {nothing} FROM scores",
    )
    dags.set_variable("preact_person_metrics", "")
    assert dags.run(PUSH).state == "success"
    assert world.query("SELECT Preact_Health_Score_Value__c FROM Account") == [{"Preact_Health_Score_Value__c": 82}]


@pytest.mark.requirement("PR-05", "PR-06", "PR-08")
def test_account_data_reaches_preact_and_a_run_of_it_is_undone(dags: DagRunner, world: World) -> None:
    account = _account(world, Customer_Since__c="2024-02-01", License_Status__c="Active")
    world.insert("Contact", {"LastName": "Vos", "Email": "vos@example.invalid", "Title": "CIO", "AccountId": account})
    assert dags.run(PULL, dry_run=True).results["push_accounts"]["preact/account_data"]["created"] == 1
    assert world.preact.accounts == {}
    done = dags.run(PULL)
    assert done.results["push_accounts"]["preact/account_data"]["created"] == 1
    assert done.results["push_people"]["preact/person_data"]["created"] == 1
    world.update("Account", {"Id": account, "License_Status__c": "Cancelled"})
    world.later(600)
    done = dags.run(PULL)
    assert world.preact.accounts[account]["license_status"] == "Cancelled"
    dags.run("sync_control", action="undo", dag=PULL, run=done.run_id)
    assert world.preact.accounts[account]["license_status"] == "Active"


@pytest.mark.requirement("PR-01")
def test_an_org_without_api_access_is_named_first(dags: DagRunner, world: World) -> None:
    world.preact.report("accounts", _metrics(_account(world)))
    dags.run(PUSH, dry_run=True)  # the org is known from then on
    world.salesforce_fault(
        kind="status",
        status=403,
        path="/services/data",
        times=100,
        code="API_DISABLED_FOR_ORG",
        message="The REST API is not enabled.",
    )
    done = dags.run(PUSH)
    assert (done.state, done.tasks["check_salesforce"], done.tasks["load_accounts"]) == (
        "failed",
        "failed",
        "upstream_failed",
    )


@pytest.mark.requirement("PR-03")
def test_a_password_that_was_changed_is_explained_with_its_token(dags: DagRunner, world: World, mail: MailSink) -> None:
    known = world.org.credentials
    old = {
        "login_url": world.salesforce_url,
        "username": known.username,
        "password": known.password,
        "security_token": "FakeOld",
    }
    dags.set_variable("salesforce_credentials", json.dumps(old))
    assert dags.run(PUSH).tasks["check_salesforce"] == "failed"
    assert "a new password voids the token" in "\n".join(mail.texts)


def test_keys_that_were_reset_are_explained_before_anything_moves(
    dags: DagRunner, world: World, mail: MailSink
) -> None:
    world.preact.report("accounts", _metrics(_account(world)))
    dags.set_variable("preact_credentials", json.dumps(world.preact_credentials | {"api_secret": "fake-old-secret"}))
    done = dags.run(PUSH)
    assert (done.state, done.tasks["check_metrics"], done.tasks["extract"]) == ("failed", "failed", "upstream_failed")
    text = "\n".join(mail.texts)
    assert "preact refused the credentials (401)" in text
    assert "preact_credentials" in text
    assert "fake-old-secret" not in text


def test_a_refused_record_is_tried_again_when_a_person_says_so(dags: DagRunner, world: World) -> None:
    account = _account(world)
    world.preact.report("accounts", _metrics(account, health_score="n/a"))
    assert dags.run(PUSH).results["load_accounts"]["rejected"] == 1
    world.preact.report("accounts", _metrics(account))
    found = dags.run("sync_control", action="replay", mapping="preact/account_metrics")
    assert found.results["control"]["due"] == {"preact/account_metrics": 1}
    assert dags.run(PUSH).results["load_accounts"]["updated"] == 1


def test_a_comparison_tells_what_somebody_changed_in_salesforce(dags: DagRunner, world: World) -> None:
    account = _account(world, Customer_Since__c="2024-02-01")
    world.preact.report("accounts", _metrics(account))
    dags.run(PULL)
    dags.run(PUSH)
    assert dags.run("sync_compare", mapping="preact/account_metrics").results["account_metrics"]["same"] == 1
    assert dags.run("sync_compare", mapping="preact/account_data").results["account_data"]["same"] == 1
    world.update("Account", {"Id": account, "Preact_Health_Score_Value__c": 1})
    found = dags.run("sync_compare", mapping="preact/account_metrics").results["account_metrics"]
    assert found == {"same": 0, "edited on the other side": 1}
