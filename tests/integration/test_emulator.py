"""The Salesforce emulator by raw HTTP: it answers as an org does, also to what no client of ours sends."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3

from emulators.salesforce.ids import checksum, make_id
from support.world import World

HTTP = urllib3.PoolManager()


class Raw:
    """Requests with a valid token; gives (status, parsed body or text)."""

    def __init__(self, world: World) -> None:
        self._url = world.salesforce_url
        self.headers = {"authorization": f"Bearer {world.org.sign_in()}"}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        reply = self.reply(method, path, body, **headers)
        text = reply.data.decode()
        return reply.status, json.loads(text) if "json" in reply.headers.get("content-type", "") and text else text

    def reply(self, method: str, path: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        url = path if path.startswith("http") else f"{self._url}/services/data/v66.0{path}"
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        return HTTP.request(method, url, body=data, headers=self.headers | headers)

    def query(self, soql: str) -> tuple[int, Any]:
        return self("GET", "/query?" + urlencode({"q": soql}))


@pytest.fixture
def raw(world: World) -> Raw:
    return Raw(world)


# -- transport, versions, sessions ------------------------------------------------------------------------------------------------


def test_a_request_without_a_valid_token_is_401(world: World) -> None:
    reply = HTTP.request("GET", f"{world.salesforce_url}/services/data/v66.0/limits", headers={"authorization": "Bearer nothing"})
    assert (reply.status, reply.json()) == (401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])


@pytest.mark.parametrize(("version", "status"), [("30.0", 410), ("31.0", 200), ("68.0", 200), ("69.0", 404)])
def test_versions_are_served_from_31_to_68(raw: Raw, world: World, version: str, status: int) -> None:
    assert raw("GET", f"{world.salesforce_url}/services/data/v{version}/limits")[0] == status


@pytest.mark.parametrize("path", ["/limits/", "//limits", "/limits"])
def test_doubled_and_trailing_slashes_do_not_matter(raw: Raw, path: str) -> None:
    assert raw("GET", path)[0] == 200


def test_what_is_not_built_is_not_found_and_a_wrong_method_is_named(raw: Raw) -> None:
    assert raw("GET", "/nonsense") == (404, [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}])
    assert raw("PUT", "/limits")[1][0]["errorCode"] == "METHOD_NOT_ALLOWED"


def test_every_call_is_counted_and_reported(raw: Raw, world: World) -> None:
    assert raw.reply("GET", "/limits").headers["sforce-limit-info"] == "api-usage=1/100000"
    assert world.org.usage.used == 1


def test_a_body_that_is_not_json_is_refused(raw: Raw) -> None:
    assert raw("POST", "/sobjects/Account", b"{nonsense")[1][0]["errorCode"] == "JSON_PARSER_ERROR"


def test_parts_of_a_composite_count_once_and_parts_of_a_batch_each(raw: Raw, world: World) -> None:
    parts = [{"method": "GET", "url": "/services/data/v66.0/limits", "referenceId": f"r{number}"} for number in range(3)]
    raw("POST", "/composite", {"compositeRequest": parts})
    assert world.org.usage.used == 1
    raw("POST", "/composite/batch", {"batchRequests": [{"method": "GET", "url": "v66.0/limits"}] * 3})
    assert world.org.usage.used == 4


# -- records ----------------------------------------------------------------------------------------------------------------------


def test_a_record_is_created_read_changed_and_deleted(raw: Raw) -> None:
    status, created = raw("POST", "/sobjects/Account/", {"Name": "Acme"})
    assert (status, created["success"], created["errors"]) == (201, True, [])
    path = f"/sobjects/Account/{created['id']}"
    assert raw("PATCH", path, {"Name": "Acme BV"})[0] == 204
    assert raw("GET", f"{path}?fields=Name")[1]["Name"] == "Acme BV"
    assert raw("DELETE", path)[0] == 204
    assert raw("GET", path)[0] == 404
    assert raw("DELETE", path)[1][0] == {"message": "entity is deleted", "errorCode": "ENTITY_IS_DELETED", "fields": []}


ACTIVITY = "/sobjects/PeerSpot_Activity__c/PeerSpot_External_Id__c"


def test_an_upsert_says_whether_it_created(raw: Raw, world: World) -> None:
    body = {"Date_Visited__c": "2026-11-10"}
    status, created = raw("PATCH", f"{ACTIVITY}/a%2Fb", body)
    assert (status, created["created"]) == (201, True)
    assert raw("PATCH", f"{ACTIVITY}/a%2Fb", body)[1]["created"] is False
    old = f"{world.salesforce_url}/services/data/v45.0{ACTIVITY}/a%2Fb"
    assert raw("PATCH", old, body)[0] == 204
    assert raw("GET", f"{ACTIVITY}/a%2Fb")[1]["Id"] == created["id"]
    assert raw("PATCH", f"{ACTIVITY}/new?updateOnly=true", body)[0] == 404
    assert raw("PATCH", "/sobjects/Account/Phone/1", {})[1][0]["errorCode"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("record", "code", "message"),
    [
        ({}, "REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName, Company]"),
        ({"LastName": "x" * 81, "Company": "c"}, "STRING_TOO_LONG", f"Last Name: data value too large: {'x' * 81} (max length=80)"),
        ({"LastName": "x", "Company": "c", "Email": "nobody"}, "INVALID_EMAIL_ADDRESS", "Email: invalid email address: nobody"),
        ({"LastName": "x", "Company": "c", "Nope": 1}, "INVALID_FIELD", "No such column 'Nope' on sobject of type Lead"),
        ({"LastName": "x", "Company": "c", "OwnerId": "nonsense"}, "MALFORMED_ID", "Owner ID: id value of incorrect type: nonsense"),
        ({"LastName": "x", "Company": "c", "OwnerId": make_id("005", 99)}, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"),
        ({"LastName": 5, "Company": "c"}, "JSON_PARSER_ERROR", "Cannot deserialize instance of string from VALUE_NUMBER_INT value 5"),
    ],
)
def test_a_record_that_breaks_a_rule_is_refused_in_the_orgs_words(raw: Raw, record: dict[str, Any], code: str, message: str) -> None:
    status, errors = raw("POST", "/sobjects/Lead", record)
    assert (status, errors[0]["errorCode"]) == (400, code)
    assert errors[0]["message"].startswith(message)


def test_read_only_fields_are_refused(raw: Raw) -> None:
    errors = raw("POST", "/sobjects/Lead", {"LastName": "x", "Company": "c", "IsConverted": True})[1]
    assert errors[0]["errorCode"] == "INVALID_FIELD_FOR_INSERT_UPDATE"


def test_a_unique_value_is_given_once(raw: Raw) -> None:
    body = {"PeerSpot_Product_Id__c": "1", "Name": "One"}
    first = raw("POST", "/sobjects/PeerSpot_Vendor_Product__c", body)[1]["id"]
    errors = raw("POST", "/sobjects/PeerSpot_Vendor_Product__c", body)[1]
    assert errors[0]["message"] == f"duplicate value found: PeerSpot_Product_Id__c duplicates value on record with id: {first}"


def test_ids_carry_the_checksum_of_their_letter_case() -> None:
    assert checksum("0015g00000abcDE") == "AAY"
    assert make_id("001", 1) == "0015g0000000001AAA"


def test_a_collection_keeps_its_order_and_rolls_back_on_demand(raw: Raw, world: World) -> None:
    records = [{"attributes": {"type": "Account"}, "Name": "A"}, {"attributes": {"type": "Account"}}]
    results = raw("POST", "/composite/sobjects", {"records": records})[1]
    assert [result["success"] for result in results] == [True, False]
    assert results[1]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    strict = raw("POST", "/composite/sobjects", {"allOrNone": True, "records": records})[1]
    assert [result["errors"][0]["statusCode"] for result in strict] == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]
    assert world.count("Account") == 1
    assert raw("POST", "/composite/sobjects", {"records": records * 101})[1][0]["errorCode"] == "EXCEEDED_ID_LIMIT"


# -- SOQL -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def accounts(world: World) -> list[str]:
    return world.insert(
        "Account",
        {"Name": "Alpha", "Type": "Prospect", "AnnualRevenue": 10, "Website": "alpha.com"},
        {"Name": "beta", "Type": "Prospect", "AnnualRevenue": 30},
        {"Name": "O'Hara 100%", "Type": "Other"},
    )


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("Name = 'ALPHA'", ["Alpha"]),
        ("Name LIKE 'a%' OR Name LIKE '%et_'", ["Alpha", "beta"]),
        ("Name = 'O\\'Hara 100%'", ["O'Hara 100%"]),
        ("Name LIKE '%100\\%'", ["O'Hara 100%"]),
        ("Name IN ('alpha', 'Beta')", ["Alpha", "beta"]),
        ("Name NOT IN ('alpha')", ["beta", "O'Hara 100%"]),
        ("Website = null", ["beta", "O'Hara 100%"]),
        ("AnnualRevenue > 10", ["beta"]),
        ("AnnualRevenue != 10", ["beta", "O'Hara 100%"]),
        ("(NOT Type = 'Prospect') AND IsDeleted = false", ["O'Hara 100%"]),
        ("CreatedDate = TODAY AND CreatedDate >= LAST_N_DAYS:2", ["Alpha", "beta", "O'Hara 100%"]),
        ("CreatedDate < YESTERDAY", []),
        ("Owner.Name = 'integration user' AND Type = 'Other'", ["O'Hara 100%"]),
    ],
)
def test_conditions(raw: Raw, accounts: list[str], condition: str, names: list[str]) -> None:
    status, body = raw.query(f"SELECT Name FROM Account WHERE {condition} ORDER BY Name")
    assert (status, [record["Name"] for record in body["records"]]) == (200, names)


def test_aggregates_children_and_parents(raw: Raw, accounts: list[str], world: World) -> None:
    world.insert("Contact", {"LastName": "Contact", "AccountId": accounts[0]})
    assert raw.query("SELECT COUNT() FROM Account")[1] == {"totalSize": 3, "done": True, "records": []}
    groups = raw.query("SELECT Type, COUNT(Id) n, MAX(AnnualRevenue) FROM Account GROUP BY Type ORDER BY Type")[1]["records"]
    assert [(group["Type"], group["n"], group["expr0"]) for group in groups] == [("Other", 1, None), ("Prospect", 2, 30.0)]
    parents = raw.query("SELECT Name, (SELECT LastName FROM Contacts), Owner.Name, Parent.Name FROM Account WHERE Name = 'Alpha'")[1]["records"]
    assert parents[0]["Contacts"]["records"][0]["LastName"] == "Contact"
    assert (parents[0]["Owner"]["Name"], parents[0]["Parent"]) == ("Integration User", None)


@pytest.mark.parametrize(
    ("soql", "code", "message"),
    [
        ("SELEKT Id FROM Account", "MALFORMED_QUERY", "unexpected token: SELEKT"),
        ("SELECT Id FROM", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id FROM Nothing__c", "INVALID_TYPE", "sObject type 'Nothing__c' is not supported."),
        ("SELECT aId FROM Account", "INVALID_FIELD", "\nSELECT aId FROM Account\n       ^\nERROR at Row:1:Column:8\nNo such column 'aId' on entity"),
        ("SELECT Id FROM Account WHERE Nope.Name = 'x'", "INVALID_FIELD", "\nSELECT Id FROM Account WHERE Nope.Name"),
        ("SELECT Id FROM Account WHERE AnnualRevenue = 'x'", "INVALID_FIELD", "value of filter criterion for field 'AnnualRevenue'"),
        ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"),
        ("SELECT Id FROM Account WHERE Name = 'a' AND Name = 'b' OR Name = 'c'", "MALFORMED_QUERY", "\nSELECT Id FROM Account WHERE"),
    ],
)
def test_a_bad_statement_is_refused_in_the_orgs_words(raw: Raw, soql: str, code: str, message: str) -> None:
    status, errors = raw.query(soql)
    assert (status, errors[0]["errorCode"]) == (400, code)
    assert errors[0]["message"].startswith(message)


def test_a_long_result_comes_in_pages_of_the_size_that_was_asked_for(raw: Raw, world: World) -> None:
    world.insert("Account", *({"Name": f"A{number}"} for number in range(450)))
    path = "/query?" + urlencode({"q": "SELECT Name FROM Account"})
    page = raw("GET", path, **{"Sforce-Query-Options": "batchSize=200"})[1]
    names = [record["Name"] for record in page["records"]]
    while not page["done"]:
        page = raw("GET", page["nextRecordsUrl"].removeprefix("/services/data/v66.0"))[1]
        names += [record["Name"] for record in page["records"]]
    assert names == [f"A{number}" for number in range(450)]
    assert raw("GET", "/query/0r8nonsense-2000")[1][0]["errorCode"] == "INVALID_QUERY_LOCATOR"


def test_statements_made_at_random_never_break_the_server(raw: Raw, accounts: list[str]) -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as some

    words = some.sampled_from([
        "SELECT", "FROM", "WHERE", "Id", "Name", "Account", "AND", "OR", "NOT", "(", ")", ",", "=", "!=", "<", "LIKE", "IN", "'a'", "'x\\'y'", "5",
        "-1.5", "null", "true", "TODAY", "LAST_N_DAYS:3", "2026-01-01", "2026-01-01T00:00:00Z", "GROUP", "BY", "ORDER", "LIMIT", "OFFSET",
        "COUNT()", "COUNT(Id)", "Owner.Name", "Contacts", "ASC", "NULLS", "LAST", "HAVING", ".", ";", "%", "é",
    ])  # fmt: skip

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(some.lists(words, max_size=14))
    def never_500(tokens: list[str]) -> None:
        assert raw.query(" ".join(["SELECT Id FROM Account", *tokens]))[0] in (200, 400)
        assert raw.query(" ".join(tokens))[0] in (200, 400)

    never_500()


# -- Bulk 2.0 ---------------------------------------------------------------------------------------------------------------------


def _ingest(raw: Raw, description: dict[str, str], content: bytes) -> tuple[dict[str, Any], str]:
    job = raw("POST", "/jobs/ingest", {"object": "Account", "operation": "insert"} | description)[1]
    path = f"/jobs/ingest/{job['id']}"
    assert raw("PUT", f"{path}/batches", content, **{"content-type": "text/csv"})[0] == 201
    assert raw("PATCH", path, {"state": "UploadComplete"})[1]["state"] == "UploadComplete"
    for _ in range(200):
        job = raw("GET", path)[1]
        if job["state"] in ("JobComplete", "Failed"):
            break
        time.sleep(0.02)
    return job, path


def test_an_ingest_job_tells_the_good_rows_from_the_bad(raw: Raw) -> None:
    job, path = _ingest(raw, {}, b'Name,Website\n"Acme, ""Inc""",acme.com\n,nobody.com\n')
    assert (job["state"], job["numberRecordsProcessed"], job["numberRecordsFailed"]) == ("JobComplete", 2, 1)
    good = list(csv.DictReader(io.StringIO(raw("GET", f"{path}/successfulResults")[1])))
    assert [(row["sf__Created"], row["Name"]) for row in good] == [("true", 'Acme, "Inc"')]
    bad = list(csv.DictReader(io.StringIO(raw("GET", f"{path}/failedResults/")[1])))
    assert bad[0]["sf__Error"] == "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --"


@pytest.mark.parametrize(
    ("description", "content"),
    [
        ({"columnDelimiter": "SEMICOLON"}, b"Name;Website\nAcme;acme.com\n"),
        ({"columnDelimiter": "TAB", "lineEnding": "CRLF"}, b"Name\tWebsite\r\nAcme\tacme.com\r\n"),
        ({"columnDelimiter": "CARET"}, b"\xef\xbb\xbfName^Website\nAcme^acme.com"),
    ],
)
def test_delimiters_line_endings_and_a_byte_order_mark_are_read(raw: Raw, description: dict[str, str], content: bytes) -> None:
    assert _ingest(raw, description, content)[0]["numberRecordsFailed"] == 0
    assert raw.query("SELECT Website FROM Account WHERE Name = 'Acme'")[1]["totalSize"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Name,Nope\na,b\n", "InvalidBatch : Field name not found : Nope"),
        (b"Name\r\na\r\n", "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF"),
        (b"Name\n\xff\xfe\n", "ClientInputError : The file is not valid UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_fails_the_job(raw: Raw, content: bytes, message: str) -> None:
    job, _ = _ingest(raw, {}, content)
    assert (job["state"], job["errorMessage"]) == ("Failed", message)


def test_a_query_job_gives_its_rows_by_locator_and_by_pages(raw: Raw, world: World) -> None:
    world.insert("Account", *({"Name": f"A{number}"} for number in range(25)))
    job = raw("POST", "/jobs/query", {"operation": "query", "query": "SELECT Name FROM Account"})[1]
    path = f"/jobs/query/{job['id']}"
    while raw("GET", path)[1]["state"] != "JobComplete":
        time.sleep(0.02)
    names, locator = [], ""
    while locator != "null":
        reply = raw.reply("GET", f"{path}/results?maxRecords=10" + (f"&locator={locator}" if locator else ""))
        names += [row["Name"] for row in csv.DictReader(io.StringIO(reply.data.decode()))]
        locator = reply.headers["sforce-locator"]
    assert names == [f"A{number}" for number in range(25)]
    assert len(raw("GET", f"{path}/resultPages")[1]["resultPages"]) == 1
    other = raw("GET", f"{raw._url}/services/data/v60.0{path}/results")
    assert other[0] == 409
    assert raw("POST", "/jobs/query", {"operation": "query", "query": "SELECT COUNT(Id) FROM Account"})[0] == 400
