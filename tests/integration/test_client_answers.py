"""The client before answers that public reports of other clients tell of: what passes, what stays, and where a token never goes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from salesforce_sync.errors import (
    AuthenticationFailed,
    InvalidSetting,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    SyncError,
    TransientError,
)
from salesforce_sync.records import Outcome, WriteResult
from salesforce_sync.salesforce.client import SalesforceClient
from salesforce_sync.salesforce.collections import CollectionWriter
from salesforce_sync.salesforce.http import _pool
from salesforce_sync.salesforce.rows import Operation, WriteRequest
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.signin import ClientCredentials, UsernamePassword
from salesforce_sync.salesforce.wire_errors import is_passing_row
from salesforce_sync.salesforce.write import _is_passing
from support.answers import Answers
from support.world import World

ORG = "00D5g0000000001EAA"
JSON = {"content-type": "application/json"}


def _json(value: Any, status: int = 200, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, JSON | headers, json.dumps(value).encode()


@contextmanager
def _client(*given: tuple[int, dict[str, str], bytes], **token: Any) -> Iterator[tuple[SalesforceClient, Answers]]:
    """A client whose sign-in works, before a server that then gives these answers."""
    answers = Answers([])
    with answers.served():
        opened = {"access_token": "fake", "instance_url": answers.url, "id": f"{answers.url}/id/{ORG}/005x"} | token
        answers.given = [_json(opened), *given]
        sign_in = ClientCredentials(answers.url, "key", "a-fake-consumer-secret")
        yield SalesforceClient(Session(sign_in, sleep=lambda _: None)), answers


def _asked(*given: tuple[int, dict[str, str], bytes], **token: Any) -> tuple[Any, Answers]:
    """What asking for the limits gives, or the error."""
    with _client(*given, **token) as (client, answers):
        try:
            return client.session.request("GET", client.session.path("limits"), what="asking").value, answers
        except SyncError as error:
            return error, answers


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"content-type": "text/html"}, b"<html>Down for maintenance</html>"),
        (200, JSON, b""),
        (200, JSON, b'{"half": '),
        (406, {}, b"<html>"),
        (429, {}, b"<html>"),
        (503, {}, b"upstream connect error"),
    ],
    ids=["HTML", "nothing", "half", "406", "429", "503"],
)
def test_an_answer_that_is_none_is_asked_for_again_and_then_an_error_that_passes(answer: Any) -> None:
    assert _asked(answer, _json({"fine": 1}))[0] == {"fine": 1}
    error, answers = _asked(answer)
    assert isinstance(error, TransientError)
    assert len(answers.asked) > 3


def test_json_is_taken_whatever_its_content_type() -> None:
    assert _asked((200, {"content-type": "text/plain"}, b'{"a": 1}'))[0] == {"a": 1}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_names_the_new_address(status: int) -> None:
    error, answers = _asked((status, {"location": "https://new.my.salesforce.com/x?sid=secret"}, b""))
    assert isinstance(error, RequestRejected)
    assert "names https://new.my.salesforce.com/x." in str(error)
    assert len(answers.asked) == 2


@pytest.mark.parametrize("instance", ["http://elsewhere.example", "ftp://x", "elsewhere"])
def test_the_token_goes_to_https_only(instance: str) -> None:
    error, answers = _asked(_json({}), instance_url=instance)
    assert "the token goes to https only" in str(error)
    assert len(answers.asked) == 1


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ({"done": False, "totalSize": 2, "records": []}, "names no next one"),
        ({"error": "x"}, "is no page of records"),
        ([], "is no page of records"),
    ],
)
def test_a_page_that_is_neither_the_last_nor_names_the_next_is_no_short_success(page: Any, said: str) -> None:
    with _client(_json(page)) as (client, _), pytest.raises(ServiceUnavailable, match=said):
        client._reader._page("/services/data/v66.0/query?q=x", type("S", (), {"object": "Account"})())


def test_a_next_page_at_another_host_is_refused() -> None:
    with _client(_json({})) as (client, _), pytest.raises(RequestRejected, match="an address of its own"):
        client.session.request("GET", "@elsewhere.example/x", what="paging")


@pytest.mark.parametrize(
    ("header", "usage"),
    [
        ("api-usage=18/5000", (18, 5000)),
        ("api-usage=4980/5000; per-app-api-usage=17/250(appName=x)", (4980, 5000)),
        ("per-app-api-usage=17/250(appName=x)", None),
    ],
)
def test_the_orgs_own_usage_is_read_beside_an_apps(header: str, usage: tuple[int, int] | None) -> None:
    with _client(_json({}, **{"sforce-limit-info": header})) as (client, _):
        client.session.request("GET", client.session.path("limits"), what="asking")
        found = client.session.usage
    assert (found and (found.used, found.allowed)) == usage


def test_what_a_server_echoes_is_shown_without_secrets() -> None:
    told = base64.b64encode(b"key:a-fake-consumer-secret").decode()
    echo = [{"errorCode": "X", "message": f"you sent Bearer fake-access-token, a-fake-consumer-secret, {told}"}]
    error, _ = _asked(_json(echo, 400), access_token="fake-access-token")
    assert "you sent Bearer ***, ***" in str(error)
    assert told not in str(error)


def test_a_token_is_told_before_it_is_used() -> None:
    told: list[str] = []
    answers = Answers([])
    with answers.served():
        answers.given = [_json({"access_token": "fake-1", "instance_url": answers.url, "id": f"x/id/{ORG}/005x"})]
        session = Session(ClientCredentials(answers.url, "key", "a-fake-consumer-secret"), on_token=told.append)
        _ = session.opened
    assert told == ["fake-1"]


# -- signing in -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (_json({"error": "invalid_client_id", "error_description": "x"}, 400), AuthenticationFailed),
        (_json({"error": "invalid_grant", "error_description": "expired"}, 400), AuthenticationFailed),
        (_json({"error": "unknown_error", "error_description": "retry your request"}, 400), ServiceUnavailable),
        (_json({"error": "invalid_grant", "error_description": "login rate exceeded"}, 400), RateLimited),
        ((429, {}, b"<html>"), ServiceUnavailable),
        ((503, {}, b""), ServiceUnavailable),
        ((404, {}, b"<html>no such page</html>"), RequestRejected),
        ((302, {"location": "https://acme.my.salesforce.com/"}, b""), RequestRejected),
    ],
)
def test_credentials_are_wrong_only_when_the_org_says_so(answer: Any, error: type[Exception]) -> None:
    answers = Answers([answer])
    with answers.served(), pytest.raises(error) as caught:
        _ = Session(ClientCredentials(answers.url, "key", "secret"), sleep=lambda _: None).opened
    if error is RequestRejected:
        assert "login_url" in caught.value.fix  # type: ignore[attr-defined]


@pytest.mark.parametrize("body", [b"upstream connect error", b"", b"<html>{content}</html>"])
def test_a_user_name_is_refused_only_when_the_org_says_so(body: bytes) -> None:
    answers = Answers([(503, {}, body)])
    with answers.served(), pytest.raises(ServiceUnavailable):
        _ = Session(UsernamePassword(answers.url, "u", "p", "t"), sleep=lambda _: None).opened


# -- rows -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message", "passing"),
    [
        ("UNABLE_TO_LOCK_ROW", "", True),
        (
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "T: execution of BeforeInsert; first error: UNABLE_TO_LOCK_ROW, unable",
            True,
        ),
        (
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "T: execution of BeforeInsert caused by: System.NullPointerException",
            False,
        ),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "no", False),
    ],
)
def test_a_lock_within_the_orgs_own_code_passes_like_any_other(code: str, message: str, passing: bool) -> None:
    assert is_passing_row(code, message) is passing


@pytest.mark.parametrize(
    ("message", "passing"),
    [
        ("duplicate value found: Key__c duplicates value on record with id: 003", True),
        ("duplicate value found: <unknown> duplicates value on record with id: <unknown>", True),
        ("duplicate value found: Other__c duplicates value on record with id: 003", False),
    ],
)
def test_an_upsert_that_came_second_is_sent_again_also_when_nothing_is_named(message: str, passing: bool) -> None:
    request = WriteRequest("Contact", Operation.UPSERT, "Key__c")
    assert _is_passing(request, WriteResult(Outcome.REJECTED, None, "DUPLICATE_VALUE", message)) is passing


class _OrgWithATrigger:
    """Refuses every row of a call with more than `most` rows, as a trigger that runs out of CPU time does."""

    def __init__(self, most: int) -> None:
        self.most, self.sizes = most, list[int]()

    def path(self, resource: str) -> str:
        return f"/{resource}"

    def request(self, *_: Any, json_body: Any, **__: Any) -> Any:
        rows = json_body["records"]
        self.sizes.append(len(rows))
        limit = {
            "statusCode": "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "message": "T: System.LimitException: Apex CPU time limit exceeded",
        }
        refused, taken = {"success": False, "errors": [limit]}, {"success": True, "id": "003x", "created": True}
        return type("Reply", (), {"value": [refused if len(rows) > self.most else taken for _ in rows]})


@pytest.mark.parametrize(("most", "created"), [(50, 200), (1, 200), (0, 0)])
def test_a_limit_of_the_orgs_own_code_makes_the_calls_smaller(most: int, created: int) -> None:
    org = _OrgWithATrigger(most)
    writer = CollectionWriter(org)  # type: ignore[arg-type]
    rows = pa.table({"Key__c": [str(number) for number in range(200)]})
    request = WriteRequest("Contact", Operation.UPSERT, "Key__c")
    results = writer.write(request, rows).results
    assert [result.outcome for result in results if result].count(Outcome.CREATED) == created
    assert len(results) == 200
    if most == 50:
        assert len(org.sizes) == 7  # 200, twice 100, four times 50
        writer.write(request, rows)
        assert org.sizes[7:] == [50] * 4  # what was learnt is remembered


# -- Bulk, as its documents promise it ----------------------------------------------------------------------------------------------

ACCOUNT = {
    "name": "Account", "label": "Account", "createable": True, "updateable": True,
    "fields": [{
        "name": "Name", "type": "string", "label": "Name", "length": 255, "createable": True, "updateable": True, "nillable": True,
        "defaultedOnCreate": False, "externalId": False, "unique": False, "restrictedPicklist": False, "picklistValues": [],
        "referenceTo": [], "relationshipName": None, "calculated": False,
    }],
}  # fmt: skip
DESCRIBED = _json({"compositeResponse": [{"httpStatusCode": 200, "body": ACCOUNT}]})
JOB = {"id": "750", "state": "JobComplete", "createdDate": "2026-11-27T12:00:00.000+0000"}


def _set(names: list[str], **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A set of results of a query job."""
    return 200, {"content-type": "text/csv"} | headers, "".join(f'"{line}"\n' for line in ["Name", *names]).encode()


def _bulk(*given: tuple[int, dict[str, str], bytes]) -> Any:
    """The names that a query job gives, or what it says."""
    with _client(DESCRIBED, *given) as (client, _):
        try:
            rows = client.read("SELECT Name FROM Account", expected_rows=1_000_000)
            return [name for table in rows for name in table.column("Name").to_pylist()]
        except SyncError as error:
            return error


def test_the_sets_of_a_job_are_read_to_the_last_one_whatever_their_size() -> None:
    found = _bulk(
        _json(JOB), _json(JOB | {"numberRecordsProcessed": 3}),
        _set(["a", "b"], **{"Sforce-Locator": "MTA2", "Sforce-NumberOfRecords": "2"}),
        _set(["c"], **{"Sforce-Locator": "null", "Sforce-NumberOfRecords": "1"}),
        (204, {}, b""),
    )  # fmt: skip
    assert found == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([_json({"state": "UploadComplete"})], "the answer has no id"),
        ([_json([])], "the answer has no id"),
        ([_json(JOB), _json({"id": "750", "state": "JobComplete"})], "the answer has no createdDate"),
        ([_json(JOB), _json(JOB)], "the job does not say how many rows it read"),
        (
            [_json(JOB), _json(JOB | {"numberRecordsProcessed": 1}), _set(["a"])],
            "does not say how many rows it has, and which one is next",
        ),
        (
            [
                _json(JOB), _json(JOB | {"numberRecordsProcessed": 9}),
                _set(["a"], **{"Sforce-Locator": "MTA2", "Sforce-NumberOfRecords": "1"}),
            ],
            "names one that came before as the next one",
        ),
    ],
    ids=["no id", "a list", "no date", "no count", "no headers", "in a ring"],
)  # fmt: skip
def test_what_a_job_does_not_say_is_no_short_success(given: list[Any], said: str) -> None:
    error = _bulk(*given)
    assert isinstance(error, TransientError)
    assert said in str(error)


@pytest.mark.parametrize(
    "answer", [[{"success": True, "errors": []}], [{"success": False, "errors": []}], [[]], {}, [None]]
)
def test_a_result_that_tells_nothing_is_no_success(answer: Any) -> None:
    with _client(_json(answer)) as (client, _):
        request = WriteRequest("Account", Operation.UPSERT, "Key__c")
        error = client.answer(request, pa.table({"Key__c": ["1"]})).error
        assert isinstance(error, ServiceUnavailable)


# -- proxies and certificates -----------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


def test_salesforce_is_reached_through_the_proxy_of_the_environment(
    world: World, environment: pytest.MonkeyPatch
) -> None:
    proxy = Answers([(503, {}, b"")])
    with proxy.served():
        environment.setenv("HTTP_PROXY", proxy.url.replace("://", "://user:fake@"))
        with pytest.raises(ServiceUnavailable):
            world.client().count("Account")
        assert proxy.asked
        assert proxy.asked[0][0]["proxy-authorization"] == "Basic dXNlcjpmYWtl"
        assert proxy.asked[0][0]["host"] == world.salesforce_url.removeprefix("http://")
        before = len(proxy.asked)
        environment.setenv("NO_PROXY", "127.0.0.1")
        assert world.client().count("Account") == 0
        assert len(proxy.asked) == before


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("HTTP_PROXY", "socks5://127.0.0.1:1", "names socks5:// as proxy"),
        (
            "REQUESTS_CA_BUNDLE",
            "/nowhere.pem",
            "The CA bundle /nowhere.pem, which REQUESTS_CA_BUNDLE names, is not there",
        ),
    ],
)
def test_what_the_environment_names_wrongly_is_named(
    world: World, environment: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(InvalidSetting, match=problem):
        world.client().count("Account")


def test_certificates_are_checked_against_the_bundle_of_the_environment(environment: pytest.MonkeyPatch) -> None:
    import certifi

    environment.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    assert _pool(None).connection_pool_kw["ca_certs"] == certifi.where()
    environment.setenv("REQUESTS_CA_BUNDLE", str(Path(certifi.where()).parent))
    assert _pool(None).connection_pool_kw["ca_cert_dir"] == str(Path(certifi.where()).parent)


def test_columns_of_a_result_count_by_their_names() -> None:
    names = ["Name", "Label"]
    described = ACCOUNT | {"fields": [ACCOUNT["fields"][0] | {"name": name} for name in names]}
    body = b'"LABEL","name"\n"l","n"\n'
    headers = {"content-type": "text/csv", "Sforce-Locator": "null", "Sforce-NumberOfRecords": "1"}
    given = (_json({"compositeResponse": [{"httpStatusCode": 200, "body": described}]}), _json(JOB))
    with _client(*given, _json(JOB | {"numberRecordsProcessed": 1}), (200, headers, body), (204, {}, b"")) as (
        client,
        _,
    ):
        (table,) = client.read("SELECT Name, Label FROM Account", expected_rows=1_000_000)
    assert table.to_pylist() == [{"Name": "n", "Label": "l"}]
