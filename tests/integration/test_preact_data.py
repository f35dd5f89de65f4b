"""Account data out of Salesforce becomes Preact's accounts and people; and Preact's API as its hook meets it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from emulators.salesforce.schema import Schema
from emulators.vendors.preact import PROJECT, REPORTS, SECRET
from salesforce_sync.engine.from_salesforce import Span
from salesforce_sync.engine.undo import AtVendor, Selection, undo
from salesforce_sync.errors import (
    AuthenticationFailed,
    InvalidCredentials,
    InvalidMapping,
    RequestRejected,
    ServiceUnavailable,
)
from salesforce_sync.state import dead_letters, watermarks
from salesforce_sync.state.engine import open_state
from support.airflow import variables
from support.flows import Poll, load_mapping
from support.world import World

ACCOUNTS, PEOPLE = "preact/account_data", "preact/person_data"
CUSTOMER = {
    "Customer_Since__c": "2024-02-01", "CSM_Score__c": 7.5, "Invoices_Open__c": 1, "Invoices_Overdue__c": 0, "Invoices_Paid__c": 12,
    "Churn_Date__c": "2026-12-31", "License_Count__c": 25, "License_Duration__c": 12, "License_MRR__c": 499.5,
    "License_Renewal_Date__c": "2027-02-01", "License_Status__c": "Active", "License_Type__c": "Annual", "License_Value__c": 5994,
    "Trial_End_Date__c": "2024-01-31", "Trial_Start_Date__c": "2024-01-01",
}  # fmt: skip


@pytest.fixture
def pull(world: World, state_url: str, tmp_path: Path, preact_hook: Any) -> Poll:
    """The pull of account data, once on SQLite and once on PostgreSQL."""
    mappings = {ACCOUNTS: load_mapping(ACCOUNTS)}
    return Poll(world, open_state(state_url), tmp_path / "staging", preact_hook(), mappings, "preact")


@pytest.fixture
def people(pull: Poll) -> Poll:
    """The same for people."""
    pull.mappings = {PEOPLE: load_mapping(PEOPLE)}
    return pull


def _customer(world: World, **fields: Any) -> str:
    return world.insert("Account", {"Name": "Acme"} | CUSTOMER | fields)[0]


def _user_name(world: World) -> str:
    """The org's one user."""
    ((name,),) = (user.values() for user in world.query("SELECT Name FROM User"))
    return str(name)


@pytest.mark.requirement("PR-05", "PR-A1", "PR-A5")
def test_the_seventeen_fields_of_an_account_reach_preact(world: World, pull: Poll) -> None:
    (manager, *_), name = (user["Id"] for user in world.query("SELECT Id FROM User")), _user_name(world)
    account = _customer(world, Account_Manager__c=manager)
    world.insert("Account", {"Name": "No customer"})
    assert pull()[ACCOUNTS].created == 1
    assert world.preact.accounts == {
        account: {
            "external_identifier": account, "name": "Acme", "account_manager_name": name, "account_owner_name": name,
            "customer_since": "2024-02-01", "license_count": 25, "license_duration": 12, "license_mrr": 499.5,
            "license_renewal": "2027-02-01", "license_status": "Active", "license_type": "Annual", "license_value": 5994,
            "trial_end": "2024-01-31", "trial_start": "2024-01-01",
            "properties": {
                "csm_score": 7.5, "invoices_open": 1, "invoices_overdue": 0, "invoices_paid": 12, "churn_date": "2026-12-31",
            },
        },
    }  # fmt: skip


@pytest.mark.requirement("PR-06")
def test_the_job_title_of_a_contact_reaches_preact_and_follows_its_changes(world: World, people: Poll) -> None:
    account = _customer(world)
    contact, *_ = world.insert(
        "Contact", {"LastName": "Vos", "FirstName": "Ina", "Email": "Vos@example.invalid", "Title": "CIO", "AccountId": account},
        {"LastName": "Elsewhere", "Email": "no@example.invalid"},
    )  # fmt: skip
    assert people()[PEOPLE].created == 1
    assert world.preact.people["vos@example.invalid"] == {
        "email": "Vos@example.invalid", "uid": contact, "name": "Ina Vos", "properties": {"job_title": "CIO"},
    }  # fmt: skip
    world.update("Contact", {"Id": contact, "Title": "CEO"})
    world.later(600)
    assert people()[PEOPLE].updated == 1
    assert world.preact.people["vos@example.invalid"]["properties"] == {"job_title": "CEO"}


@pytest.mark.requirement("PR-07", "PR-08")
def test_a_formula_and_a_parents_name_are_compared_by_value_since_no_stamp_moves(world: World, pull: Poll) -> None:
    objects = world.org.schema.objects
    computed = replace(
        objects["Account"].fields["License_MRR__c"],
        calculated=True,
        formula="License_Value__c / 12",
        updateable=False,
        createable=False,
    )
    account_object = replace(objects["Account"], fields={**objects["Account"].fields, "License_MRR__c": computed})
    world.org.change_schema(Schema({**objects, "Account": account_object}))
    fields = {name: value for name, value in CUSTOMER.items() if name != "License_MRR__c"}
    (account,) = world.insert("Account", {"Name": "Acme", **fields})
    assert pull()[ACCOUNTS].created == 1
    for _ in range(2):  # then the look-back does not reach it any more
        world.later(3_600)
        pull()
    with world.org.store.writing() as connection:
        connection.execute('UPDATE "Account" SET License_MRR__c = 750')  # as a formula changes: nothing is stamped
    assert pull(span=Span(timedelta(minutes=5), 7))[ACCOUNTS].updated == 0
    with pull.state.begin() as connection:
        yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        watermarks.take_back(connection, world.client().org_id, f"{ACCOUNTS}/whole", yesterday)
    assert pull(span=Span(timedelta(minutes=5), 7))[ACCOUNTS].updated == 1
    assert world.preact.accounts[account]["license_mrr"] == 750
    assert pull(span=Span(timedelta(minutes=5), 7))[ACCOUNTS].updated == 0


def test_an_account_without_an_answer_is_sent_again_and_is_one_there(world: World, pull: Poll) -> None:
    account = _customer(world)
    world.vendor_fault(kind="after", path="/preact/api/v2/accounts", method="POST")
    with pytest.raises(ServiceUnavailable):
        pull()
    assert pull.push()[ACCOUNTS].created == 1
    assert [*world.preact.accounts] == [account]


def test_what_preact_refuses_is_refused_by_itself(world: World, people: Poll) -> None:
    account = _customer(world)
    world.insert("Contact", {"LastName": "Vos", "Email": "vos@example.invalid", "AccountId": account})
    world.vendor_fault(
        kind="status", status=422, path="/preact/api/v2/people", method="POST", message="person is strange"
    )
    assert people()[PEOPLE].rejected == 1
    with people.state.connect() as connection:
        ((_, code),) = dead_letters.counts(connection)
    assert code == "422"
    assert people.hook.save("people", [{"email": "no address"}], unique=["email"])[0] == (
        None, "400", "preact refused the request (400): person requires an email",
    )  # fmt: skip


def test_a_success_that_is_none_is_a_refusal(world: World, people: Poll) -> None:
    world.vendor_fault(
        kind="status", status=200, path="/preact/api/v2/people", method="POST", body=json.dumps({"success": False, "error": "person is strange"}),
    )  # fmt: skip
    (result,) = people.hook.save("people", [{"email": "vos@example.invalid"}], unique=["email"])
    assert (result.vendor_id, result.code, result.message) == (
        None, "REFUSED_BY_PREACT", "preact refused the request: person is strange",
    )  # fmt: skip


def test_a_run_to_preact_is_undone_where_preact_still_says_what_it_was_sent(world: World, pull: Poll) -> None:
    first, second = _customer(world), _customer(world, Name="Bolt")
    pull()
    world.update("Account", *({"Id": account, "License_Status__c": "Cancelled"} for account in (first, second)))
    world.later(600)
    pull()
    world.preact.accounts[second]["license_status"] = "Paused"  # by somebody at Preact
    side = AtVendor("preact", pull.mappings[ACCOUNTS], pull.hook)
    context = pull.context("control", client=True)
    run = Selection("deployteq_contact_poll", f"run-{pull.runs}")
    done = undo(context, ACCOUNTS, pull.mappings[ACCOUNTS], side, run, person="somebody")
    assert (done.restored, done.left) == (1, {second: "somebody changed it since"})
    assert [world.preact.accounts[account]["license_status"] for account in (first, second)] == ["Active", "Paused"]
    world.later(600)
    assert pull(full=True)[ACCOUNTS].updated == 0


def test_an_undo_of_a_person_finds_the_address_in_the_report(world: World, people: Poll) -> None:
    account = _customer(world)
    (contact,) = world.insert(
        "Contact", {"LastName": "Vos", "Email": "vos@example.invalid", "Title": "CIO", "AccountId": account}
    )
    people()
    world.update("Contact", {"Id": contact, "Title": "CEO"})
    world.later(600)
    people()
    side = AtVendor("preact", people.mappings[PEOPLE], people.hook)
    context = people.context("control", client=True)
    run = Selection("deployteq_contact_poll", f"run-{people.runs}")
    assert undo(context, PEOPLE, people.mappings[PEOPLE], side, run, person="somebody").restored == 1
    assert world.preact.people["vos@example.invalid"]["properties"] == {"job_title": "CIO"}


def test_what_was_created_at_preact_cannot_be_deleted_by_an_undo(world: World, pull: Poll) -> None:
    _customer(world)
    pull()
    side = AtVendor("preact", pull.mappings[ACCOUNTS], pull.hook)
    run = Selection("deployteq_contact_poll", "run-1", delete_created=True)
    done = undo(pull.context("control", client=True), ACCOUNTS, pull.mappings[ACCOUNTS], side, run, person="somebody")
    assert (done.deleted, done.refused) == (0, 1)


def test_a_mapping_without_what_preact_knows_a_record_by_is_refused_before_anything_is_sent(
    world: World, pull: Poll
) -> None:
    mapping = pull.mappings[ACCOUNTS]
    fields = {name: item for name, item in mapping.fields.items() if name != "Id"}
    fields["Name"] = fields["Name"].model_copy(update={"unique": True})
    pull.mappings = {ACCOUNTS: mapping.model_copy(update={"fields": fields})}
    _customer(world)
    with pytest.raises(InvalidMapping, match="a record of accounts needs external_identifier"):
        pull()


# -- the API -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("PR-02")
def test_a_good_connection_says_so_and_writes_nothing(world: World, preact_hook: Any) -> None:
    assert preact_hook().test() == "You are successfully connected to Preact"
    assert (world.preact.metrics, world.preact.events, world.preact.calls["list"]) == ([], [], 2)


@pytest.mark.requirement("PR-02")
def test_wrong_keys_are_named_and_not_shown(world: World, preact_hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    variables(
        monkeypatch, preact_credentials=json.dumps(world.preact_credentials | {"api_secret": "fake-other-secret"})
    )
    with pytest.raises(AuthenticationFailed, match="Check the Variable preact_credentials") as caught:
        preact_hook().test()
    assert "fake-other-secret" not in str(caught.value)


def test_a_report_that_is_not_there_or_not_named_is_an_error_that_says_where_to_find_it(
    world: World, preact_hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for report, message in (("53514b", "Preact has no report 53514b"), ("", "names no accounts_report")):
        variables(monkeypatch, preact_credentials=json.dumps(world.preact_credentials | {"accounts_report": report}))
        with pytest.raises(InvalidCredentials, match=message):
            list(preact_hook().whole("accounts", ["preact_account_id"]))


def test_a_report_is_read_to_its_end_in_batches(world: World, preact_hook: Any) -> None:
    world.preact.report(
        "accounts", *({"preact_account_id": f"pa-{n}", "external_identifier": f"C-{n}"} for n in range(30_000))
    )
    sizes = [len(columns) for columns in preact_hook().whole("accounts", ["preact_account_id"])]
    assert (sizes, world.preact.calls["list"]) == ([25_000, 5_000], 7)


def test_a_page_that_is_shorter_than_asked_for_ends_nothing(
    world: World, preact_hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulators.vendors.preact.MOST_ROWS", 1_000)
    world.preact.report("accounts", *({"preact_account_id": f"pa-{n}"} for n in range(2_500)))
    assert sum(len(columns) for columns in preact_hook().whole("accounts", ["preact_account_id"])) == 2_500


def test_a_report_that_knows_no_offset_is_one_page_or_an_error(
    world: World, preact_hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.preact.report("accounts", *({"preact_account_id": f"pa-{n}"} for n in range(20)))
    page = preact_hook()._page
    hook = preact_hook()
    monkeypatch.setattr(hook, "_page", lambda stream, *, limit, offset: page(stream, limit=limit, offset=0))
    assert sum(len(columns) for columns in hook.whole("accounts", ["preact_account_id"])) == 20
    monkeypatch.setattr("salesforce_sync.systems.preact.hook.PAGE_ROWS", 20)
    with pytest.raises(ServiceUnavailable, match="one page again and again"):
        list(hook.whole("accounts", ["preact_account_id"]))


def test_an_answer_without_results_is_no_empty_report(world: World, preact_hook: Any) -> None:
    world.vendor_fault(
        kind="status",
        status=200,
        path=f"/preact/reports/api/v2/reports/{REPORTS['accounts']}/list",
        body='{"ok": true}',
    )
    with pytest.raises(ServiceUnavailable, match="without a list of `results`"):
        list(preact_hook().whole("accounts", ["preact_account_id"]))


def test_the_emulator_takes_what_is_documented_and_refuses_the_rest(world: World, preact_hook: Any) -> None:
    hook = preact_hook()
    hook._sent("/events", {"person": {"email": "vos@example.invalid"}, "event": {"name": "logged-in"}})
    hook._sent("/events", {"event": {"name": "___update", "klass": "accountevent", "account": {"id": "1"}}})
    hook._sent("/metrics", {"account_id": "1", "name": "seats", "value": 3})
    hook._sent("/metrics/bulk", {"data": [{"account_id": "1", "name": "seats", "value": 4, "ts": 1764322000}]})
    assert (len(world.preact.events), len(world.preact.metrics)) == (2, 2)
    for path, body, why in (
        ("/events", {"event": {"name": "logged-in"}}, "person requires an email"),
        ("/events", {"person": {"email": "vos@example.invalid"}, "event": {}}, "event requires a name"),
        ("/accounts", {"account": {"name": "Acme"}}, "account requires an id"),
        ("/metrics", {"account_id": "1", "name": "seats", "value": "many"}, "a numeric value"),
        ("/metrics/bulk", {"data": {}}, "data must be a list"),
    ):
        with pytest.raises(RequestRejected, match=why):
            hook._sent(path, body)
    assert (PROJECT, SECRET) == ("fakeproject1", "fake-preact-secret")
