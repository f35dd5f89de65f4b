"""The Salesforce client against the emulator: what it gives, what it costs, and what it does when Salesforce misbehaves."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from salesforce_sync.errors import (
    AuthenticationFailed,
    BudgetExhausted,
    InvalidCredentials,
    JobUnderWay,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
)
from salesforce_sync.records import Outcome, WriteResult
from salesforce_sync.salesforce import ingest, jobs, query
from salesforce_sync.salesforce.client import SalesforceClient
from salesforce_sync.salesforce.jobs import JobMemory
from salesforce_sync.salesforce.rows import ConvertedRule, Operation, WriteRequest
from salesforce_sync.salesforce.session import ApiUsage, Session
from salesforce_sync.salesforce.signin import ClientCredentials, JwtBearer, SignIn, UsernamePassword
from salesforce_sync.salesforce.soql import soql_text
from support.world import World

ACTIVITY = "PeerSpot_Activity__c"
KEY = "PeerSpot_External_Id__c"
UPSERT = WriteRequest(ACTIVITY, Operation.UPSERT, KEY, frozenset({"City__c"}))


def _rows(count: int, **columns: list[Any]) -> pa.Table:
    return pa.table(
        {KEY: [f"k{number}" for number in range(count)], "Date_Visited__c": [date(2026, 11, 10)] * count, **columns}
    )


def _write(
    client: SalesforceClient, request: WriteRequest, table: pa.Table, memory: JobMemory | None = None
) -> list[WriteResult]:
    return [result for _, results in client.write(request, [table], memory) for result in results]


def _read(client: SalesforceClient, soql: str, **options: Any) -> list[dict[str, Any]]:
    return [row for table in client.read(soql, **options) for row in table.to_pylist()]


# -- signing in -------------------------------------------------------------------------------------------------------------------


def _ways(world: World) -> dict[str, SignIn]:
    known, url = world.org.credentials, world.salesforce_url
    return {
        "client credentials": ClientCredentials(url, known.consumer_key, known.consumer_secret),
        "jwt": JwtBearer(
            url, known.consumer_key, known.username, world.org.private_key, "https://login.salesforce.com"
        ),
        "password": UsernamePassword(url, known.username, known.password, known.security_token),
    }


@pytest.mark.parametrize("way", ["client credentials", "jwt", "password"])
def test_each_way_to_sign_in_gives_a_session(world: World, way: str) -> None:
    client = SalesforceClient(Session(_ways(world)[way]))
    assert client.org_id == "00D5g0000000001EAA"
    assert client.count("Account") == 0


def test_half_an_answer_to_a_sign_in_and_too_many_sign_ins_pass(world: World) -> None:
    world.salesforce_fault(kind="truncate", path="/oauth2/token")
    assert world.client().count("Account") == 0
    world.salesforce_fault(kind="truncate", path="/oauth2/token", times=100)
    with pytest.raises(ServiceUnavailable, match="half an answer"):
        world.client().count("Account")
    world.org.faults.clear()
    world.org.sign_in_rules.logins_per_hour = 0
    with pytest.raises(RateLimited):
        world.client().count("Account")


def test_half_an_answer_is_asked_for_again(world: World) -> None:
    world.insert("Account", {"Name": "Acme"})
    client = world.client()
    client.count("Account")
    world.salesforce_fault(kind="truncate", path="/query")
    assert client.count("Account") == 1


def test_a_wrong_secret_is_an_authentication_error_that_shows_no_secret(world: World) -> None:
    sign_in = ClientCredentials(world.salesforce_url, world.org.credentials.consumer_key, "wrong-secret-value")
    with pytest.raises(AuthenticationFailed, match="invalid client credentials") as caught:
        SalesforceClient(Session(sign_in)).count("Account")
    assert "wrong-secret-value" not in str(caught.value)
    assert "salesforce_credentials" in caught.value.fix


def test_a_wrong_password_is_an_authentication_error(world: World) -> None:
    sign_in = UsernamePassword(world.salesforce_url, "nobody@example.invalid", "wrong-password", "T")
    with pytest.raises(AuthenticationFailed, match=r"nobody@example\.invalid"):
        SalesforceClient(Session(sign_in)).count("Account")


def test_a_private_key_that_is_none_is_a_configuration_error(world: World) -> None:
    sign_in = JwtBearer(world.salesforce_url, "key", "user@example.invalid", "not a key")
    with pytest.raises(InvalidCredentials, match="private_key is not a PEM private key"):
        SalesforceClient(Session(sign_in)).count("Account")


def test_a_server_that_is_not_there_is_a_transient_error() -> None:
    with pytest.raises(ServiceUnavailable, match="gave no answer"):
        SalesforceClient(Session(ClientCredentials("http://127.0.0.1:9", "key", "secret"), sleep=lambda _: None)).count(
            "Account"
        )


def test_credentials_do_not_show_their_secrets() -> None:
    assert "sesame" not in repr(ClientCredentials("https://x.my.salesforce.com", "key", "sesame"))
    assert "sesame" not in repr(JwtBearer("https://x.my.salesforce.com", "key", "user", "sesame"))
    assert "sesame" not in repr(UsernamePassword("https://login.salesforce.com", "user", "sesame", "sesame"))


# -- faults of a single request ---------------------------------------------------------------------------------------------------


def test_an_expired_session_is_renewed_once_and_the_request_repeated(world: World) -> None:
    client = world.client()
    client.count("Account")
    world.org.expire_sessions()
    assert client.count("Account") == 0
    assert world.org.usage.logins == 2


def test_a_session_that_is_refused_again_is_an_error(world: World) -> None:
    world.salesforce_fault(kind="status", status=401, code="INVALID_SESSION_ID", path="/query", times=2)
    with pytest.raises(AuthenticationFailed, match="INVALID_SESSION_ID"):
        world.client().count("Account")


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 500, "code": "UNKNOWN_EXCEPTION"},
        {
            "kind": "status",
            "status": 403,
            "code": "REQUEST_LIMIT_EXCEEDED",
            "message": "ConcurrentRequests Limit exceeded.",
        },
        {"kind": "reset"},
        {"kind": "status", "status": 502, "body": "<html><h1>Bad Gateway</h1></html>", "content_type": "text/html"},
    ],
)
def test_a_passing_fault_is_tried_again(world: World, fault: dict[str, Any]) -> None:
    world.salesforce_fault(path="/query", times=2, **fault)
    assert world.client().count("Account") == 0


def test_a_fault_that_stays_is_raised_after_five_tries(world: World) -> None:
    world.salesforce_fault(kind="status", status=503, path="/query", times=10)
    client = world.client()
    with pytest.raises(ServiceUnavailable, match="counting Account: Salesforce answered 503 SERVER_UNAVAILABLE"):
        client.count("Account")
    assert client.calls == 5


def test_a_used_up_daily_limit_is_not_tried_again(world: World) -> None:
    world.org.usage.limit = 0
    client = world.client()
    with pytest.raises(BudgetExhausted, match=r"TotalRequests Limit exceeded.*24 hours are used up"):
        client.count("Account")
    assert client.calls == 1


def test_an_html_error_page_is_an_error_and_is_quoted_briefly(world: World) -> None:
    world.salesforce_fault(
        kind="status", status=431, body="<h1>Bad Message 431</h1>" * 50, content_type="text/html", path="/query"
    )
    with pytest.raises(RequestRejected, match="Bad Message 431") as caught:
        world.client().count("Account")
    assert len(str(caught.value)) < 300


def test_the_usage_that_the_org_reports_is_kept(world: World) -> None:
    client = world.client()
    client.count("Account")
    assert client.session.usage == ApiUsage(1, 100_000)


# -- reading ----------------------------------------------------------------------------------------------------------------------


def test_values_come_typed_and_nulls_stay_null(world: World) -> None:
    world.org.clock.stop_at(datetime(2026, 11, 21, 12, 30, tzinfo=UTC))
    (parent,) = world.insert("Account", {"Name": "Parent"})
    world.insert(
        "Account", {"Name": 'Quo"ted, with\nnewline', "ParentId": parent, "AnnualRevenue": 1.5, "NumberOfEmployees": 7}
    )
    soql = "SELECT Name, Parent.Name, AnnualRevenue, NumberOfEmployees, IsDeleted, CreatedDate, LastActivityDate FROM Account ORDER BY Name"
    expected = [
        {
            "Name": "Parent", "Parent.Name": None, "AnnualRevenue": None, "NumberOfEmployees": None, "IsDeleted": False,
            "CreatedDate": datetime(2026, 11, 21, 12, 30, tzinfo=UTC), "LastActivityDate": None,
        },
        {
            "Name": 'Quo"ted, with\nnewline', "Parent.Name": "Parent", "AnnualRevenue": 2.0, "NumberOfEmployees": 7, "IsDeleted": False,
            "CreatedDate": datetime(2026, 11, 21, 12, 30, tzinfo=UTC), "LastActivityDate": None,
        },
    ]  # fmt: skip
    assert _read(world.client(), soql) == expected
    assert _read(world.client(), soql, expected_rows=20_000) == expected


def test_a_result_of_several_pages_is_complete(world: World) -> None:
    world.insert("Account", *({"Name": f"A{number}"} for number in range(4_500)))
    client = world.client()
    rows = _read(client, "SELECT Id, Name FROM Account")
    assert {row["Name"] for row in rows} == {f"A{number}" for number in range(4_500)}
    assert client.calls == 4  # describe and three pages


def test_a_large_result_goes_by_a_bulk_job(world: World) -> None:
    world.insert("Account", *({"Name": f"A{number}"} for number in range(10_001)))
    client = world.client()
    assert len({row["Name"] for row in _read(client, "SELECT Id, Name FROM Account")}) == 10_001
    assert world.org.usage.by_route["POST /jobs/query"] == 1
    assert world.org.jobs == {}


def test_an_empty_result_gives_no_rows_either_way(world: World) -> None:
    assert _read(world.client(), "SELECT Id FROM Account") == []
    assert _read(world.client(), "SELECT Id FROM Account", expected_rows=20_000) == []


def test_a_page_of_bulk_results_that_breaks_off_is_read_again(world: World) -> None:
    world.insert("Account", *({"Name": f"A{number}"} for number in range(500)))
    world.salesforce_fault(kind="truncate", path="/results")
    assert len(_read(world.client(), "SELECT Id, Name FROM Account", expected_rows=20_000)) == 500


def test_a_page_of_bulk_results_that_stays_short_is_an_error_not_a_short_success(world: World) -> None:
    world.insert("Account", *({"Name": f"A{number}"} for number in range(500)))
    world.salesforce_fault(kind="truncate", path="/results", times=10)
    with pytest.raises(ServiceUnavailable, match="a file of results could not be read in 3 tries"):
        _read(world.client(), "SELECT Id, Name FROM Account", expected_rows=20_000)


def test_a_result_that_is_shorter_than_announced_is_an_error(world: World) -> None:
    world.insert("Account", {"Name": "A"})
    world.salesforce_fault(
        kind="status", status=200, body='{"totalSize":2,"done":true,"records":[{"Id":"001"}]}', path="/query"
    )
    with pytest.raises(ServiceUnavailable, match="2 rows were announced, 1 came"):
        _read(world.client(), "SELECT Id FROM Account")


def test_deleted_records_come_when_they_are_asked_for(world: World) -> None:
    (account,) = world.insert("Account", {"Name": "Gone"})
    world.delete("Account", account)
    assert _read(world.client(), "SELECT Name, IsDeleted FROM Account") == []
    assert _read(world.client(), "SELECT Name, IsDeleted FROM Account", include_deleted=True) == [
        {"Name": "Gone", "IsDeleted": True}
    ]


def test_a_field_that_the_org_lacks_is_named(world: World) -> None:
    with pytest.raises(RequestRejected, match="Account has no field 'Nope__c'"):
        _read(world.client(), "SELECT Nope__c FROM Account")


def test_a_statement_that_is_no_plain_select_is_refused_before_it_is_sent(world: World) -> None:
    with pytest.raises(RequestRejected, match="Not a plain SELECT"):
        _read(world.client(), "SELECT COUNT(Id) FROM Account")
    assert world.org.usage.used == 0


def test_texts_are_quoted_for_soql(world: World) -> None:
    world.insert("Account", {"Name": "O'Brien \\ Söhne"})
    rows = _read(world.client(), "SELECT Name FROM Account WHERE Name = " + soql_text("O'Brien \\ Söhne"))
    assert rows == [{"Name": "O'Brien \\ Söhne"}]


# -- describe ---------------------------------------------------------------------------------------------------------------------


def test_objects_are_described_together_once(world: World) -> None:
    client = world.client()
    found = client.describe(["Account", ACTIVITY, "Nothing__c"])
    client.describe(["Account", "Nothing__c"])
    assert {name: info is not None for name, info in found.items()} == {
        "Account": True,
        ACTIVITY: True,
        "Nothing__c": False,
    }
    assert client.calls == 1


# -- writing ----------------------------------------------------------------------------------------------------------------------

SIZES = pytest.mark.parametrize("count", [3, 450, 2_500], ids=["one collection", "several collections", "a bulk job"])


@SIZES
def test_every_row_gets_its_result_in_input_order(world: World, count: int) -> None:
    world.insert(ACTIVITY, {KEY: "k1", "Date_Visited__c": "2026-01-01"})
    pages = [10**12 if number == 2 else number for number in range(count)]
    results = _write(world.client(), UPSERT, _rows(count, Pages_Visited__c=pages))
    assert [result.outcome for result in results[:3]] == [Outcome.CREATED, Outcome.UPDATED, Outcome.REJECTED]
    assert results[2].code == "NUMBER_OUTSIDE_VALID_RANGE"
    assert [result.outcome for result in results[3:]] == [Outcome.CREATED] * (count - 3)
    ids = {row[KEY]: row["Id"] for row in world.query(f"SELECT Id, {KEY} FROM {ACTIVITY}")}
    assert all(result.salesforce_id == ids[f"k{number}"] for number, result in enumerate(results) if number != 2)


@SIZES
def test_a_null_clears_a_field_only_where_that_is_asked_for(world: World, count: int) -> None:
    world.insert(ACTIVITY, {KEY: "k0", "Date_Visited__c": "2026-01-01", "City__c": "Utrecht", "State__c": "Utrecht"})
    table = _rows(count, City__c=pa.nulls(count, pa.string()), State__c=pa.nulls(count, pa.string()))
    _write(world.client(), UPSERT, table)
    assert world.query(f"SELECT City__c, State__c FROM {ACTIVITY} WHERE {KEY} = 'k0'") == [
        {"City__c": None, "State__c": "Utrecht"}
    ]


@SIZES
def test_texts_arrive_as_they_were(world: World, count: int) -> None:
    texts = ['a "quoted", text\nwith a newline', "#N/A", "ümläut € 漢字", "=1+1", "a\r\nb", *["x"] * count][:count]
    _write(world.client(), UPSERT, _rows(count, Products__c=texts))
    found = {row[KEY]: row["Products__c"] for row in world.query(f"SELECT {KEY}, Products__c FROM {ACTIVITY}")}
    assert [found[f"k{number}"] for number in range(count)] == texts


@SIZES
def test_updates_and_deletes_go_by_id(world: World, count: int) -> None:
    client = world.client()
    ids = [result.salesforce_id for result in _write(client, UPSERT, _rows(count))]
    changed = pa.table({"Id": ids, "Processed__c": [True] * count})
    assert {result.outcome for result in _write(client, WriteRequest(ACTIVITY, Operation.UPDATE), changed)} == {
        Outcome.UPDATED
    }
    assert len(world.query(f"SELECT Id FROM {ACTIVITY} WHERE Processed__c = true")) == count
    deleted = [result for _, results in client.delete(ACTIVITY, [pa.table({"Id": ids})]) for result in results]
    assert {result.outcome for result in deleted} == {Outcome.DELETED}
    assert world.count(ACTIVITY) == 0


def test_a_locked_row_is_tried_again(world: World) -> None:
    world.salesforce_fault(kind="row", path=ACTIVITY, code="UNABLE_TO_LOCK_ROW", share=0.3, times=2)
    results = _write(world.client(), UPSERT, _rows(100))
    assert {result.outcome for result in results} == {Outcome.CREATED}


def test_a_row_that_stays_locked_is_refused_with_its_code(world: World) -> None:
    world.salesforce_fault(kind="row", path=ACTIVITY, code="UNABLE_TO_LOCK_ROW", times=10)
    assert _write(world.client(), UPSERT, _rows(1)) == [
        WriteResult(Outcome.REJECTED, None, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
    ]


def test_an_answer_that_got_lost_after_the_write_doubles_nothing(world: World) -> None:
    world.salesforce_fault(kind="after", status=503, path="/composite/sobjects")
    assert {result.outcome for result in _write(world.client(), UPSERT, _rows(5))} == {Outcome.UPDATED}
    assert world.count(ACTIVITY) == 5


def test_a_session_that_expires_in_the_middle_of_a_bulk_job_is_renewed(world: World) -> None:
    world.salesforce_fault(kind="status", status=401, code="INVALID_SESSION_ID", path="/jobs/ingest/", method="PATCH")
    assert {result.outcome for result in _write(world.client(), UPSERT, _rows(2_500))} == {Outcome.CREATED}


def test_a_job_that_fails_as_a_whole_is_an_error_with_salesforces_words(world: World) -> None:
    world.salesforce_fault(kind="fail-job", path=ACTIVITY, code="InvalidBatch", message="Field name not found : Foo__c")
    with pytest.raises(
        RequestRejected, match=r"ended job 750\w+ as Failed: InvalidBatch : Field name not found : Foo__c"
    ):
        _write(world.client(), UPSERT, _rows(2_500))


def test_a_stuck_job_is_aborted_at_its_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "DEADLINE_SECONDS", 1.0)
    world.salesforce_fault(kind="stuck-job", path=ACTIVITY)
    with pytest.raises(ServiceUnavailable, match=r"was still InProgress after .* and has been aborted"):
        _write(world.client(), UPSERT, _rows(2_500))
    assert [job.state for job in world.org.jobs.values()] == ["Aborted"]


def test_a_refused_row_of_a_bulk_job_says_why(world: World) -> None:
    table = _rows(2_500, Error__c=["no such error" if number == 7 else None for number in range(2_500)])
    results = _write(world.client(), UPSERT, table)
    assert results[7] == WriteResult(
        Outcome.REJECTED,
        None,
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "Error: bad value for restricted picklist field: no such error (Error__c)",
    )


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_lost_answer_in_the_middle_of_a_bulk_job_is_looked_up_and_doubles_nothing(world: World, method: str) -> None:
    world.salesforce_fault(kind="after", status=503, path="/jobs/ingest/", method=method)
    results = _write(world.client(), UPSERT, _rows(2_500))
    assert {result.outcome for result in results} == {Outcome.CREATED}
    assert world.count(ACTIVITY) == 2_500


def test_a_file_of_results_that_breaks_off_is_read_again(world: World) -> None:
    world.salesforce_fault(kind="truncate", path="/successfulResults", times=2)
    results = _write(world.client(), UPSERT, _rows(2_500))
    assert {result.outcome for result in results} == {Outcome.CREATED}
    assert world.org.usage.by_route["POST /jobs/ingest"] == 1


def test_a_file_of_results_that_stays_short_is_an_error_not_a_guess(world: World) -> None:
    world.salesforce_fault(kind="truncate", path="/successfulResults", times=10)
    with pytest.raises(ServiceUnavailable, match="a file of results could not be read in 3 tries"):
        _write(world.client(), UPSERT, _rows(2_500))


def test_locked_rows_of_a_bulk_job_are_sent_again(world: World) -> None:
    world.salesforce_fault(kind="row", path=ACTIVITY, code="UNABLE_TO_LOCK_ROW", share=0.05)
    results = _write(world.client(), UPSERT, _rows(3_000))
    assert {result.outcome for result in results} == {Outcome.CREATED}


def test_a_bulk_error_without_a_code_keeps_its_text(world: World) -> None:
    assert ingest.split_error("something odd happened") == ("UNKNOWN", "something odd happened")
    assert ingest.split_error("STRING_TOO_LONG:City: too long: a:b:City__c --") == (
        "STRING_TOO_LONG",
        "City: too long: a:b (City__c)",
    )


def test_what_writes_cost(world: World) -> None:
    for count, calls in ((200, 1), (2_000, 10)):
        client = world.client()
        _write(client, UPSERT, _rows(count))
        assert client.calls == calls
    client = world.client()
    _write(client, UPSERT, _rows(20_000))
    polls = world.org.usage.by_route["GET /jobs/ingest/*"]
    assert client.calls - polls == 4  # create, upload, close, successful results


# -- insert, update only, duplicates, owners --------------------------------------------------------------------------------------

INSERT = WriteRequest(ACTIVITY, Operation.INSERT, KEY)


@SIZES
def test_an_insert_never_touches_a_record_that_is_there(world: World, count: int) -> None:
    world.insert(ACTIVITY, {KEY: "k1", "Date_Visited__c": "2026-01-01"})
    results = _write(world.client(), INSERT, _rows(count))
    assert [result.outcome for result in results] == [
        Outcome.CREATED,
        Outcome.REJECTED,
        *[Outcome.CREATED] * (count - 2),
    ]
    assert results[1].code == "DUPLICATE_VALUE"
    assert world.query(f"SELECT Date_Visited__c FROM {ACTIVITY} WHERE {KEY} = 'k1'") == [
        {"Date_Visited__c": "2026-01-01"}
    ]


def test_an_insert_whose_answer_got_lost_is_looked_up_and_doubles_nothing(world: World) -> None:
    world.salesforce_fault(kind="after", path="/composite/sobjects", method="POST", status=503)
    results = _write(world.client(), INSERT, _rows(3))
    ids = {row[KEY]: row["Id"] for row in world.query(f"SELECT Id, {KEY} FROM {ACTIVITY}")}
    assert [(result.outcome, result.salesforce_id) for result in results] == [
        (Outcome.CREATED, ids[f"k{number}"]) for number in range(3)
    ]
    assert world.count(ACTIVITY) == 3


@SIZES
def test_an_update_by_key_creates_nothing(world: World, count: int) -> None:
    world.insert(ACTIVITY, *({KEY: f"k{number}", "Date_Visited__c": "2026-01-01"} for number in range(count - 1)))
    results = _write(world.client(), WriteRequest(ACTIVITY, Operation.UPDATE, KEY), _rows(count))
    assert [result.outcome for result in results] == [*[Outcome.UPDATED] * (count - 1), Outcome.REJECTED]
    assert (results[-1].code, world.count(ACTIVITY)) == ("NOT_FOUND", count - 1)


def _leads(*emails: str) -> pa.Table:
    return pa.table({"LastName": ["Jansen"] * len(emails), "Company": ["Acme"] * len(emails), "Email": list(emails)})


def test_owners_are_assigned_only_when_that_is_asked_for(world: World) -> None:
    user = {"Username": "q@example.invalid", "LastName": "Queue", "Email": "q@example.invalid", "Alias": "queue"}
    (owner,) = world.insert("User", user)
    world.org.policies.add({"assignment": [{"object": "Lead", "owner": owner}]}, world.org.schema)
    _write(world.client(), WriteRequest("Lead", Operation.INSERT, "Email"), _leads("a@acme.example"))
    _write(world.client(), WriteRequest("Lead", Operation.INSERT, "Email", assign=True), _leads("b@acme.example"))
    owners = [row["OwnerId"] for row in world.query("SELECT OwnerId FROM Lead ORDER BY Email")]
    assert owners == [world.org.user_id, owner]


def test_duplicates_are_saved_only_when_that_is_asked_for(world: World) -> None:
    world.org.policies.add(
        {"duplicate": [{"object": "Lead", "name": "Same_Company", "match": ["Company"]}]}, world.org.schema
    )
    _write(world.client(), WriteRequest("Lead", Operation.INSERT, "Email"), _leads("a@acme.example"))
    (refused,) = _write(world.client(), WriteRequest("Lead", Operation.INSERT, "Email"), _leads("b@acme.example"))
    (saved,) = _write(
        world.client(), WriteRequest("Lead", Operation.INSERT, "Email", allow_duplicates=True), _leads("b@acme.example")
    )
    assert (refused.code, saved.outcome) == ("DUPLICATES_DETECTED", Outcome.CREATED)


def test_rows_of_one_parent_are_sent_together_and_results_keep_their_order(world: World) -> None:
    accounts = world.insert("Account", *({"Name": f"A{number}"} for number in range(3)))
    rows = _rows(600, Account__c=[accounts[number % 3] for number in range(600)])
    results = _write(world.client(), WriteRequest(ACTIVITY, Operation.UPSERT, KEY, parent="Account__c"), rows)
    ids = {row[KEY]: row["Id"] for row in world.query(f"SELECT Id, {KEY} FROM {ACTIVITY}")}
    assert [result.salesforce_id for result in results] == [ids[f"k{number}"] for number in range(600)]
    first = world.query(
        f"SELECT Account__c FROM {ACTIVITY} WHERE Id IN ({', '.join(repr(result.salesforce_id) for result in results[:6])})"
    )
    assert len({row["Account__c"] for row in first}) == 3


# -- converted Leads --------------------------------------------------------------------------------------------------------------


def test_a_change_of_a_converted_lead_goes_to_the_contact_that_it_became(world: World) -> None:
    from emulators.salesforce.conversion import Conversion, convert_lead

    converted, other = world.insert(
        "Lead", {"LastName": "Jansen", "Company": "Acme"}, {"LastName": "Pieters", "Company": "Beta"}
    )
    contact = convert_lead(world.org, Conversion(converted))["contactId"]
    rows = pa.table({"Id": [converted, other], "Phone": ["1", "2"], "Title": [None, "Boss"]})
    rule = ConvertedRule("Contact", {"Phone": "Phone", "Title": "Title"})
    request = WriteRequest("Lead", Operation.UPDATE, clears=frozenset({"Title"}), converted=rule)
    results = _write(world.client(), request, rows)
    assert [(result.outcome, result.salesforce_id, result.code) for result in results] == [
        (Outcome.UPDATED, contact, "CONVERTED_LEAD"), (Outcome.UPDATED, other, None),
    ]  # fmt: skip
    assert world.query("SELECT Phone, Title FROM Contact") == [{"Phone": "1", "Title": None}]
    (refused,) = _write(world.client(), WriteRequest("Lead", Operation.UPDATE), rows.slice(0, 1))
    assert refused.code == "CANNOT_UPDATE_CONVERTED_LEAD"


# -- calls that keep failing ------------------------------------------------------------------------------------------------------


def test_a_row_that_salesforce_stumbles_over_ends_up_alone_and_the_others_are_written(world: World) -> None:
    world.salesforce_fault(
        kind="status", status=500, code="UNKNOWN_EXCEPTION", path="/composite/sobjects", contains="Poison", times=1_000
    )
    rows = _rows(8, City__c=["Poison" if number == 5 else "Utrecht" for number in range(8)])
    results = _write(world.client(), UPSERT, rows)
    assert [result.outcome for result in results] == [
        Outcome.REJECTED if number == 5 else Outcome.CREATED for number in range(8)
    ]
    assert results[5].code == "UNKNOWN_EXCEPTION"


def test_a_fault_that_is_in_no_row_is_an_error_and_not_a_refusal_of_all(world: World) -> None:
    world.salesforce_fault(kind="status", status=500, code="UNKNOWN_EXCEPTION", path="/composite/sobjects", times=1_000)
    with pytest.raises(ServiceUnavailable, match="UNKNOWN_EXCEPTION"):
        _write(world.client(), UPSERT, _rows(4))


def test_the_number_of_rows_that_worked_is_remembered(world: World) -> None:
    world.salesforce_fault(
        kind="status", status=500, code="REQUEST_RUNNING_TOO_LONG", path="/composite/sobjects", contains='"k5"', times=5
    )
    client = world.client()
    assert {result.outcome for result in _write(client, UPSERT, _rows(8))} == {Outcome.CREATED}
    calls = client.calls
    _write(client, UPSERT, _rows(8))
    assert client.calls - calls == 2  # two calls of four rows


# -- jobs that outlive their task -------------------------------------------------------------------------------------------------


class Remembered(dict[str, str]):
    """A job memory that outlives the client."""

    def find(self, content: str) -> str | None:
        return self.get(content)

    def remember(self, content: str, job_id: str) -> None:
        self[content] = job_id


def test_a_job_that_a_killed_task_left_running_is_taken_up_and_not_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, rows = Remembered(), _rows(2_500)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    first = SalesforceClient(world.client().session, memory=memory)
    with monkeypatch.context() as patched:
        patched.setattr(ingest, "wait_for_job", killed)
        with pytest.raises(KeyboardInterrupt):
            _write(first, UPSERT, rows, memory)
    second = SalesforceClient(world.client().session, memory=memory)
    results = _write(second, UPSERT, rows, memory)
    assert {result.outcome for result in results} == {Outcome.CREATED}
    assert (len(world.org.jobs), world.count(ACTIVITY)) == (1, 2_500)


def _wait_for(client: SalesforceClient, path: str) -> str:
    """How the job ended."""
    deadline = time.monotonic() + 30
    while not (state := jobs.ended(client.session, path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return state


def test_a_job_that_takes_longer_than_the_patience_is_left_to_salesforce_and_taken_up_later(world: World) -> None:
    memory, rows = Remembered(), _rows(2_500)
    world.salesforce_fault(kind="slow-job", path=ACTIVITY, seconds=3)
    hurried = SalesforceClient(world.client().session, memory=memory, patience=0.1)
    with pytest.raises(JobUnderWay) as raised:
        _write(hurried, UPSERT, rows, memory)
    assert jobs.ended(hurried.session, raised.value.path) == ""
    assert _wait_for(hurried, raised.value.path) == "JobComplete"
    assert {result.outcome for result in _write(hurried, UPSERT, rows, memory)} == {Outcome.CREATED}
    assert (len(world.org.jobs), world.count(ACTIVITY)) == (1, 2_500)


def test_a_long_query_is_left_to_salesforce_and_taken_up_later(world: World) -> None:
    memory = Remembered()
    world.insert("Account", *({"Name": f"A{number}"} for number in range(300)))
    world.salesforce_fault(kind="slow-job", path="Account", seconds=2)
    hurried = SalesforceClient(world.client().session, memory=memory, patience=0.1)
    with pytest.raises(JobUnderWay) as raised:
        list(hurried.read("SELECT Name FROM Account", expected_rows=20_000))
    assert _wait_for(hurried, raised.value.path) == "JobComplete"
    assert sum(table.num_rows for table in hurried.read("SELECT Name FROM Account", expected_rows=20_000)) == 300
    assert world.org.usage.by_route["POST /jobs/query"] == 1


def test_changes_that_a_taken_up_query_read_are_dated_by_its_beginning(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "BULK_FROM_ROWS", 1)
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    world.org.clock.stop_at(noon)
    world.insert("Account", *({"Name": f"A{number}"} for number in range(3)))
    memory = Remembered()
    SalesforceClient(world.client().session, memory=memory).changes(
        "Account", ["Name"], since=None
    )  # killed before it read anything
    world.org.clock.stop_at(noon + timedelta(minutes=30))
    world.insert("Account", {"Name": "since then"})
    changes = SalesforceClient(world.client().session, memory=memory).changes("Account", ["Name"], since=None)
    assert sum(table.num_rows for table in changes.tables) >= 3  # the fourth, when the job began to read late
    assert changes.upper == noon - timedelta(seconds=3)
    assert world.org.usage.by_route["POST /jobs/query"] == 1


def test_a_query_of_yesterday_is_not_taken_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "BULK_FROM_ROWS", 1)
    memory = Remembered()
    world.insert("Account", {"Name": "A"}, {"Name": "B"})
    SalesforceClient(world.client().session, memory=memory).read("SELECT Name FROM Account")
    world.org.clock.shift(86_400)
    world.insert("Account", {"Name": "since then"})
    tables = SalesforceClient(world.client().session, memory=memory).read("SELECT Name FROM Account")
    assert sum(table.num_rows for table in tables) == 3


def test_a_job_that_is_past_its_deadline_is_aborted_by_whoever_takes_it_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, rows = Remembered(), _rows(2_500)
    world.salesforce_fault(kind="stuck-job", path=ACTIVITY)
    with pytest.raises(JobUnderWay) as raised:
        _write(SalesforceClient(world.client().session, memory=memory, patience=0.1), UPSERT, rows, memory)
    monkeypatch.setattr(jobs, "DEADLINE_SECONDS", 1.0)
    time.sleep(1.5)
    later = SalesforceClient(world.client().session, memory=memory, patience=0.1)
    assert jobs.ended(later.session, raised.value.path) == "InProgress"
    with pytest.raises(ServiceUnavailable, match="has been aborted"):
        _write(later, UPSERT, rows, memory)


def test_a_job_whose_rows_never_arrived_is_dropped_and_made_again(world: World) -> None:
    memory, rows = Remembered(), _rows(2_500)
    world.salesforce_fault(
        kind="status", path="/jobs/ingest/", method="PATCH", status=400, code="INVALIDJOBSTATE", times=1
    )
    with pytest.raises(RequestRejected):
        _write(SalesforceClient(world.client().session, memory=memory), UPSERT, rows, memory)
    assert {
        result.outcome
        for result in _write(SalesforceClient(world.client().session, memory=memory), UPSERT, rows, memory)
    } == {Outcome.CREATED}


# -- reading what changed ---------------------------------------------------------------------------------------------------------


def test_changes_are_read_with_a_look_back_and_the_next_watermark_lags(world: World) -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    for minutes, name in ((-10, "long ago"), (-4, "looked back at"), (0, "at the watermark"), (5, "since")):
        world.org.clock.stop_at(noon + timedelta(minutes=minutes))
        world.insert("Account", {"Name": name})
    world.org.clock.stop_at(noon + timedelta(minutes=10))
    client = world.client()
    world.insert("Account", {"Name": "this very second"})
    changes = client.changes("Account", ["Name"], since=noon)
    assert [row["Name"] for table in changes.tables for row in table.to_pylist()] == [
        "looked back at", "at the watermark", "since", "this very second",
    ]  # fmt: skip
    assert changes.upper == noon + timedelta(minutes=10) - timedelta(seconds=3)
    assert client.calls == 2  # describe, query


def test_nothing_is_missed_when_many_rows_have_one_stamp_or_become_visible_late(world: World) -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    world.org.clock.stop_at(noon)
    world.insert("Account", *({"Name": f"A{number}"} for number in range(3_000)))
    world.salesforce_fault(kind="late", path="Account", seconds=60)
    world.insert("Account", {"Name": "late"})
    seen: Counter[str] = Counter()
    watermark = None
    for minutes in (1 / 3, 2, 4):
        world.org.clock.stop_at(noon + timedelta(minutes=minutes))
        changes = world.client().changes("Account", ["Name"], since=watermark)
        seen.update(row["Name"] for table in changes.tables for row in table.to_pylist())
        watermark = changes.upper
    assert (len(seen), seen["late"]) == (3_001, 2)


def test_deleted_records_are_among_the_changes_when_they_are_asked_for(world: World) -> None:
    kept, gone = world.insert("Account", {"Name": "kept"}, {"Name": "gone"})
    world.delete("Account", gone)
    world.org.clock.shift(10)
    rows = [
        row
        for table in world.client().changes("Account", ["Name"], since=None, include_deleted=True).tables
        for row in table.to_pylist()
    ]
    assert {row["Id"]: row["IsDeleted"] for row in rows} == {kept: False, gone: True}


def test_pages_of_a_bulk_result_come_in_order_though_several_are_under_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "RESULT_ROWS", 300)
    world.insert("Account", *({"Name": f"A{number}"} for number in range(2_000)))
    world.salesforce_fault(kind="truncate", path="/results", skip=3)
    tables = list(world.client().read("SELECT Name FROM Account", expected_rows=20_000))
    assert [name for table in tables for name in table.column("Name").to_pylist()] == [
        f"A{number}" for number in range(2_000)
    ]
    assert [table.num_rows for table in tables] == [300] * 6 + [200]


# -- who is who -------------------------------------------------------------------------------------------------------------------

COMPANY, DOMAIN = "PeerSpot_Company__c", "Domain__c"  # a field that ignores case, as most external ids do


def _companies(keys: list[str], names: list[str] | None = None) -> pa.Table:
    return pa.table({DOMAIN: keys, "Name": names or keys})


@pytest.mark.parametrize("filling", [0, 2_500])
def test_two_rows_of_one_record_are_written_one_after_the_other(world: World, filling: int) -> None:
    keys = ["Beta.example", "a.example", *(f"d{number}.example" for number in range(filling)), "beta.example"]
    names = ["first", "a", *(["other"] * filling), "last"]
    request = WriteRequest(COMPANY, Operation.UPSERT, DOMAIN)
    results = _write(world.client(), request, _companies(keys, names))
    assert [result.outcome for result in (results[0], results[-1])] == [Outcome.CREATED, Outcome.UPDATED]
    assert world.query(f"SELECT Name FROM {COMPANY} WHERE Domain__c = 'BETA.example'") == [{"Name": "last"}]
    assert world.count(COMPANY) == len(keys) - 1


def test_an_update_by_a_key_that_ignores_case_finds_its_record(world: World) -> None:
    world.insert(COMPANY, {DOMAIN: "acme.example", "Name": "Acme"})
    request = WriteRequest(COMPANY, Operation.UPDATE, DOMAIN)
    (result,) = _write(world.client(), request, _companies(["ACME.example"], ["New"]))
    assert result.outcome is Outcome.UPDATED
    assert world.query(f"SELECT Name, Domain__c FROM {COMPANY}") == [{"Name": "New", "Domain__c": "acme.example"}]


def test_an_insert_whose_answer_got_lost_is_found_in_any_case(world: World) -> None:
    world.insert(COMPANY, {DOMAIN: "acme.example", "Name": "Acme"})
    world.salesforce_fault(kind="after", status=503, path="composite/sobjects", times=1)
    request = WriteRequest(COMPANY, Operation.INSERT, DOMAIN)
    results = _write(world.client(), request, _companies(["ACME.example", "b.example"]))
    assert [result.salesforce_id is not None for result in results] == [True, True]
    assert world.count(COMPANY) == 2


def test_long_keys_are_looked_up_in_lists_that_an_address_can_hold(world: World) -> None:
    keys = [f"{number:03d}" + "ж" * 60 for number in range(100)]
    world.insert(COMPANY, *({DOMAIN: key, "Name": "old"} for key in keys))
    request = WriteRequest(COMPANY, Operation.UPDATE, DOMAIN)
    results = _write(world.client(), request, _companies(keys, ["new"] * 100))
    assert {result.outcome for result in results} == {Outcome.UPDATED}


@pytest.mark.parametrize(
    ("cell", "code", "message"),
    [
        ("DUPLICATE_VALUE:duplicate value found: <unknown>:--", "DUPLICATE_VALUE", "duplicate value found: <unknown>"),
        ("INVALID_FIELD:the type xsd:date:A__c,B__c --", "INVALID_FIELD", "the type xsd:date (A__c, B__c)"),
        ("UNABLE_TO_LOCK_ROW:no: tail", "UNABLE_TO_LOCK_ROW", "no: tail"),
    ],
)
def test_a_bulk_error_is_taken_apart(cell: str, code: str, message: str) -> None:
    assert ingest.split_error(cell) == (code, message)


@pytest.mark.parametrize("count", [2, 2_500])
def test_a_checkbox_that_is_cleared_is_not_checked(world: World, count: int) -> None:
    request = WriteRequest(ACTIVITY, Operation.UPSERT, KEY, frozenset({"Processed__c"}))
    table = _rows(count, Processed__c=[True, *[None] * (count - 1)])
    results = _write(world.client(), request, table)
    assert {result.outcome for result in results} == {Outcome.CREATED}
    found = _read(world.client(), f"SELECT Processed__c FROM {ACTIVITY} WHERE {KEY} IN ('k0', 'k1')")
    assert sorted(row["Processed__c"] for row in found) == [False, True]


def test_what_may_be_of_several_objects_is_read_by_its_name(world: World) -> None:
    (queue,) = world.insert("Group", {"Name": "New leads", "Type": "Queue"})
    world.insert("Lead", {"LastName": "A", "Company": "A", "OwnerId": queue}, {"LastName": "B", "Company": "B"})
    found = _read(world.client(), "SELECT LastName, Owner.Name, Owner.Email, Owner.IsActive FROM Lead")
    assert {row["LastName"]: row["Owner.Name"] for row in found} == {"A": "New leads", "B": "Integration User"}
    assert {row["Owner.IsActive"] for row in found if row["LastName"] == "B"} == {True}


# -- one way where the other does not go --------------------------------------------------------------------------------------------


def test_a_query_that_takes_too_long_becomes_a_bulk_job(world: World) -> None:
    world.insert("Account", {"Name": "Acme"})
    fault = {
        "kind": "status",
        "status": 400,
        "code": "QUERY_TIMEOUT",
        "message": "Your query request was running for too long.",
    }
    world.salesforce_fault(**fault, path="/query", method="GET", times=5)
    assert _read(world.client(), "SELECT Name FROM Account") == [{"Name": "Acme"}]
    assert world.org.usage.by_route["POST /jobs/query"] == 1


def test_a_large_result_comes_in_pages_when_the_org_takes_no_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "BULK_FROM_ROWS", 100)
    world.insert("Account", *({"Name": f"A{number}"} for number in range(250)))
    fault = {
        "kind": "status",
        "status": 400,
        "code": "LIMIT_EXCEEDED",
        "message": "Max bulk v2 query jobs (10000) per 24 hrs has been reached",
    }
    world.salesforce_fault(**fault, path="/jobs/query", method="POST")
    assert len(_read(world.client(), "SELECT Name FROM Account")) == 250


def test_a_statement_that_is_wrong_is_not_tried_the_other_way(world: World) -> None:
    with pytest.raises(RequestRejected, match="MALFORMED_QUERY"):
        _read(world.client(), "SELECT Name FROM Account WHERE Name = ")
    assert world.org.usage.by_route["POST /jobs/query"] == 0


def test_children_of_a_changed_parent_are_read_in_the_same_call_however_many(world: World) -> None:
    one, two = world.insert("Account", {"Name": "One"}, {"Name": "Two"})
    world.insert("Contact", *({"LastName": f"C{number}", "AccountId": one} for number in range(2_100)))
    world.insert("Contact", {"LastName": "Other", "AccountId": two})
    client, since = world.client(), datetime.now(UTC) + timedelta(minutes=30)
    client.describe(["Contact", "Account"])
    world.org.clock.shift(3_600)
    world.update("Account", {"Id": one, "Name": "New"})
    before = client.calls
    changes = client.changes("Contact", ["LastName", "Account.Name"], since=since, include_deleted=True)
    rows = [row for table in changes.tables for row in table.to_pylist()]
    assert ({row["Account.Name"] for row in rows}, len(rows), len({row["Id"] for row in rows})) == (
        {"New"},
        2_100,
        2_100,
    )
    assert client.calls - before == 2  # the second page is a call of its own


def test_a_parent_of_the_same_object_is_looked_at_without_a_semi_join(world: World) -> None:
    (boss,) = world.insert("Contact", {"LastName": "Boss", "Email": "boss@acme.example"})
    world.insert("Contact", {"LastName": "Report", "ReportsToId": boss})
    client, since = world.client(), datetime.now(UTC) + timedelta(minutes=30)
    world.org.clock.shift(3_600)
    world.update("Contact", {"Id": boss, "Email": "new@acme.example"})
    changes = client.changes("Contact", ["LastName", "ReportsTo.Email"], since=since)
    rows = [row for table in changes.tables for row in table.to_pylist()]
    assert {row["LastName"]: row["ReportsTo.Email"] for row in rows} == {"Boss": None, "Report": "new@acme.example"}


def test_two_spellings_that_a_field_tells_apart_are_two_records(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an external id that minds case has it: the org finds the one that is there, and not the other."""
    request = WriteRequest("Account", Operation.UPDATE, "Key__c")
    client = world.client()
    page = {"records": [{"Key__c": "ABC", "Id": "001x"}]}
    monkeypatch.setattr(client.session, "ask", lambda *_, **__: page)
    look_up = client._writer._collections.look_up
    assert look_up(request, ["ABC", "abc"]) == ["001x", None]
    assert look_up(request, ["abc"]) == ["001x"]


def test_two_leads_that_became_one_contact_are_both_written_to_it(world: World) -> None:
    from emulators.salesforce.conversion import Conversion, convert_lead

    leads = world.insert("Lead", *({"LastName": name, "Company": "Acme"} for name in "AB"))
    first = convert_lead(world.org, Conversion(leads[0]))
    convert_lead(world.org, Conversion(leads[1], account_id=first["accountId"], contact_id=first["contactId"]))
    rule = ConvertedRule("Contact", {"Phone": "Phone"})
    request = WriteRequest("Lead", Operation.UPDATE, converted=rule)
    results = _write(world.client(), request, pa.table({"Id": leads, "Phone": ["1", "2"]}))
    assert [result.outcome for result in results] == [Outcome.UPDATED] * 2
    assert world.query("SELECT Phone FROM Contact") == [{"Phone": "2"}]


def test_two_spellings_of_one_id_are_written_one_after_the_other(world: World) -> None:
    (account,) = world.insert("Account", {"Name": "A"})
    table = pa.table({"Id": [account, account[:15]], "Phone": ["1", "2"]})
    results = _write(world.client(), WriteRequest("Account", Operation.UPDATE), table)
    assert [result.outcome for result in results] == [Outcome.UPDATED] * 2
    assert world.query("SELECT Phone FROM Account") == [{"Phone": "2"}]


@pytest.mark.parametrize("later", [{"status": 401}, {"status": 403, "code": "REQUEST_LIMIT_EXCEEDED"}, {"status": 400}])
def test_a_write_without_an_answer_stays_one_whatever_is_answered_later(world: World, later: dict[str, Any]) -> None:
    client = world.client()
    client.count("Account")
    world.salesforce_fault(kind="after", status=503, path="composite/sobjects")
    world.salesforce_fault(kind="status", path="composite/sobjects", times=9, skip=1, **later)
    answered = client.answer(UPSERT, _rows(1))
    assert isinstance(answered.error, ServiceUnavailable)
    assert answered.results == [None]
