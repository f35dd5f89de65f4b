"""Input that nobody means: refused in the org's words, never a crash, and nothing half done. Most of these were found by a fuzzer."""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import quote

import pytest

from support.raw import Raw, eventually
from support.world import World

V = "/services/data/v66.0"


@pytest.mark.parametrize(
    "soql",
    [
        "SELECT Id FROM Account WHERE CreatedDate > LAST_N_DAYS:1.5",
        "SELECT Id FROM Account WHERE CreatedDate > LAST_N_DAYS:999999999",
        "SELECT Id FROM Account WHERE CreatedDate > LAST_N_YEARS:99999",
        "SELECT Id FROM Account WHERE CreatedDate > 2024-99-99T00:00:00Z",
        "SELECT Id FROM Account WHERE CreatedDate > 0001-01-01T00:00:00+23:00",
        "SELECT Id FROM Account WHERE CreatedDate LIKE TODAY",
        "SELECT Id FROM Account WHERE Id IN (TODAY)",
        "SELECT Id FROM Account WHERE Name INCLUDES ('a')",
        "SELECT Id FROM Account WHERE Id IN (SELECT MAX(AccountId) FROM Contact)",
        "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact GROUP BY AccountId)",
        "SELECT Id FROM Account WHERE Name IN (SELECT LastName FROM Contact)",
        "SELECT Id FROM Account WHERE MAX(Name) = 'a'",
        "SELECT SUM(COUNT(Id)) FROM Account",
        "SELECT SUM(Name) FROM Account",
        "SELECT Id FROM Account ORDER BY COUNT(Id)",
        "SELECT COUNT(Id) FROM Account GROUP BY COUNT(Id)",
        "SELECT Id FROM Account HAVING Name = 'a'",
        "SELECT COUNT() FROM Account GROUP BY Name",
        "SELECT Name, COUNT(Id) FROM Account GROUP BY Name ORDER BY Website",
        "SELECT Name foo FROM Account",
        "SELECT TYPEOF What WHEN Account THEN Name END, COUNT(Id) FROM Task",
        "SELECT COUNT(Id), (SELECT Id FROM Contacts) FROM Account",
        "SELECT (SELECT COUNT(Id) FROM Contacts) FROM Account",
        "SELECT COUNT(Id) FROM Account GROUP BY CUBE(Name, Type, Rating, Industry)",
        "SELECT Id FROM Account WHERE IsDeleted > true",
        "SELECT Id FROM Account WITH NONSENSE",
        "SELECT Id FROM Account USING SCOPE nonsense",
        "SELECT Id FROM Account WHERE Name = '\\ud800'",
        "SELECT Id FROM Account WHERE " + "NOT " * 300 + "Name = 'a'",
    ],
)
def test_statements_that_an_org_refuses(raw: Raw, soql: str) -> None:
    status, errors = raw.query(soql)
    assert (status, "errorCode" in errors[0]) == (400, True)


@pytest.mark.parametrize(
    ("soql", "values"),
    [
        ("SELECT Type, COUNT(Id) n FROM Account GROUP BY Type HAVING COUNT(Id) > 1", [2]),
        ("SELECT COUNT(Id) n FROM Account WHERE CALENDAR_YEAR(CreatedDate) > 2000", [3]),
        ("SELECT COUNT(Id) n FROM Account WHERE Id NOT IN (SELECT AccountId FROM Contact)", [2]),
        (
            "SELECT Type, COUNT(Id) n FROM Account WHERE Owner.Name != 'x' GROUP BY ROLLUP(Type) ORDER BY COUNT(Id) DESC",
            [3, 2, 1],
        ),
        ("SELECT MAX(AnnualRevenue) n FROM Account", [30.0]),
        ("SELECT COUNT(Id) n FROM Account WHERE " + " OR ".join(f"Name = 'A{number}'" for number in range(600)), [0]),
    ],
)
def test_statements_that_an_org_answers(raw: Raw, world: World, soql: str, values: list[float]) -> None:
    (first, *_) = world.insert(
        "Account", {"Name": "A", "Type": "Other", "AnnualRevenue": 30}, {"Name": "B", "Type": "Other"}, {"Name": "C"}
    )
    world.update("Account", {"Id": first, "Type": "Prospect"})
    world.update("Account", {"Id": world.query("SELECT Id FROM Account WHERE Name = 'C'")[0]["Id"], "Type": "Other"})
    world.insert("Contact", {"LastName": "With", "AccountId": first}, {"LastName": "Without"})
    body = raw(
        "POST", "/composite/batch", {"batchRequests": [{"method": "GET", "url": f"v66.0/query?q={quote(soql)}"}]}
    )[1]
    assert [row["n"] for row in body["results"][0]["result"]["records"]] == values


@pytest.mark.parametrize(
    ("record", "status"),
    [
        (b'{"Name": "\\ud800"}', 400), (b'{"\\ud800": 1}', 400), (b"[" * 50_000, 400), (b'{"Name": "A", "NumberOfEmployees": 1e999}', 400),
        (b'{"Name": "A", "NumberOfEmployees": NaN}', 400), (b'{"Name": "A", "NumberOfEmployees": "1_000"}', 400),
        (b'{"Name": ["A"]}', 400), (b'{"Name": {"a": 1}}', 400), (b'{"Name": "A", "Parent": null}', 201),
        (b'{"Name": "A", "BillingAddress": "x"}', 400),
    ],
)  # fmt: skip
def test_odd_records(raw: Raw, record: bytes, status: int) -> None:
    assert raw("POST", "/sobjects/Account", record)[0] == status


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/composite", {"compositeRequest": [{"method": "GET", "url": "x", "referenceId": []}]}),
        ("POST", "/composite", {"compositeRequest": 5}),
        ("POST", "/composite/graph", {"graphs": [5]}),
        ("POST", "/composite/graph", {"graphs": [{"compositeRequest": 5}]}),
        ("POST", "/composite/batch", {"batchRequests": [5]}),
        ("POST", "/composite/tree/Account", {"records": [{"attributes": {"referenceId": [5]}}]}),
        ("POST", "/composite/sobjects", {"records": [{"attributes": 5}]}),
        ("POST", "/composite/sobjects/Account", {"ids": 5, "fields": "Id"}),
        ("GET", "/composite/sobjects/Account", None),
        ("POST", "/parameterizedSearch", {"q": "acme", "sobjects": 5}),
        ("POST", "/parameterizedSearch", {"q": "acme", "sobjects": [{"name": "Account", "limit": "x"}]}),
        ("GET", "/search?q=FIND%20%7Bacme%7D%20LIMIT%20" + "9" * 500, None),
        ("GET", "/search?q=FIND%20%7Ba1%7D" + "%20" * 2_000 + "x", None),
        ("POST", "/jobs/query", {"operation": "query", "query": 5}),
        ("PATCH", "/metadata/deployRequest/0Af", {"deployResult": "x"}),
        ("GET", "/sobjects/Account/0015g0000000001AAA?fields=Name%20foo", None),
        ("DELETE", "/sobjects/Account/nonsense", None),
        ("GET", "/query/0r8x-99999999999999999999", None),
    ],
)  # fmt: skip
def test_odd_requests(raw: Raw, method: str, path: str, body: Any) -> None:
    started = time.monotonic()
    assert 400 <= raw(method, path, body)[0] < 500
    assert time.monotonic() - started < 5  # seconds; an odd request must not hold the others up


@pytest.mark.parametrize("version", ["nan", "v60.0", "60", "60.5", "6_0.0"])
def test_odd_versions_are_unknown_resources(raw: Raw, version: str) -> None:
    assert raw("GET", f"{raw.url}/services/data/v{version}/limits")[0] == 404


def test_a_part_of_a_wrong_version_is_refused(raw: Raw) -> None:
    body = raw(
        "POST",
        "/composite/batch",
        {"batchRequests": [{"method": "GET", "url": f"v{version}/limits"} for version in ("99.0", "20.0")]},
    )[1]
    assert [result["statusCode"] for result in body["results"]] == [404, 410]


def test_a_part_that_cannot_even_be_tried_undoes_the_others(raw: Raw, world: World) -> None:
    parts = [
        {"method": "POST", "url": f"{V}/sobjects/Account", "referenceId": "a", "body": {"Name": "Gone"}},
        {
            "method": "POST",
            "url": f"{V}/composite/sobjects",
            "referenceId": "b",
            "body": {"records": [{"attributes": {"type": "Nope"}}]},
        },
    ]
    raw("POST", "/composite", {"allOrNone": True, "compositeRequest": parts})
    assert world.count("Account") == 0


def test_retrieving_a_collection_gives_compound_fields_and_takes_short_ids(raw: Raw, world: World) -> None:
    kept, gone = world.insert("Account", {"Name": "Kept", "BillingCity": "Utrecht"}, {"Name": "Gone"})
    world.delete("Account", gone)
    records = raw(
        "POST", "/composite/sobjects/Account", {"ids": [kept[:15], gone], "fields": ["Name", "BillingAddress"]}
    )[1]
    assert (records[0]["Name"], records[0]["BillingAddress"]["city"], records[1]) == ("Kept", "Utrecht", None)


def test_a_value_in_the_address_is_decoded_once(raw: Raw, world: World) -> None:
    raw("PATCH", "/sobjects/PeerSpot_Vendor_Product__c/PeerSpot_Product_Id__c/a%2541", {"Name": "One"})
    assert world.query("SELECT PeerSpot_Product_Id__c FROM PeerSpot_Vendor_Product__c") == [
        {"PeerSpot_Product_Id__c": "a%41"}
    ]


def test_objects_that_an_org_keeps_to_itself(raw: Raw, world: World) -> None:
    assert raw("POST", "/sobjects/Organization", {"Name": "Mine"})[1][0]["errorCode"] == "INVALID_TYPE_FOR_OPERATION"
    assert raw("DELETE", f"/sobjects/User/{world.org.user_id}")[1][0]["errorCode"] == "INVALID_TYPE_FOR_OPERATION"


def test_a_person_is_a_member_of_a_campaign_once(raw: Raw, world: World) -> None:
    (campaign,) = world.insert("Campaign", {"Name": "Nurture"})
    (lead,) = world.insert("Lead", {"LastName": "Jansen", "Company": "Acme"})
    member = {"CampaignId": campaign, "LeadId": lead}
    assert raw("POST", "/sobjects/CampaignMember", member)[0] == 201
    assert raw("POST", "/sobjects/CampaignMember", member)[1][0]["errorCode"] == "DUPLICATE_VALUE"


# -- jobs -------------------------------------------------------------------------------------------------------------------------


def _ingest(raw: Raw, content: bytes, **more: str) -> str:
    job = raw("POST", "/jobs/ingest", {"object": "Account", "operation": "insert", **more})[1]["id"]
    raw("PUT", f"/jobs/ingest/{job}/batches", content)
    raw("PATCH", f"/jobs/ingest/{job}", {"state": "UploadComplete"})
    return str(job)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ClientInputError : The file has no header"),
        (b"Name,Name\na,b\n", "InvalidBatch : Duplicate field in the header"),
        (
            b"Name,Phone\na\n",
            "InvalidBatch : The 'insert' batch must contain the same number of fields in each row as in its header",
        ),
    ],
)
def test_files_that_no_job_takes(raw: Raw, content: bytes, message: str) -> None:
    job = _ingest(raw, content)
    assert eventually(lambda: raw("GET", f"/jobs/ingest/{job}")[1].get("errorMessage")) == message


def test_a_bad_cell_refuses_its_row_and_not_the_job(raw: Raw) -> None:
    job = _ingest(raw, b"Name,NumberOfEmployees,ParentId\nA,inf,\nB,5,\nC,,nonsense\n")
    eventually(lambda: raw("GET", f"/jobs/ingest/{job}")[1]["state"] == "JobComplete")
    done = raw("GET", f"/jobs/ingest/{job}")[1]
    assert (done["numberRecordsProcessed"], done["numberRecordsFailed"]) == (3, 2)


def test_a_query_job_keeps_to_its_delimiter_and_line_ending(raw: Raw, world: World) -> None:
    world.insert("Account", {"Name": "A|B"})
    job = raw(
        "POST",
        "/jobs/query",
        {
            "operation": "query",
            "query": "SELECT Id, Name FROM Account",
            "columnDelimiter": "PIPE",
            "lineEnding": "CRLF",
        },
    )[1]
    eventually(lambda: raw("GET", f"/jobs/query/{job['id']}")[1]["state"] == "JobComplete")
    text = raw("GET", f"/jobs/query/{job['id']}/results")[1]
    assert text.startswith('"Id"|"Name"\r\n')
    assert text.endswith('|"A|B"\r\n')
    for bad in ("maxRecords=0", "maxRecords=-1", "maxRecords=abc", "locator=-5", "locator=0x5"):
        assert raw("GET", f"/jobs/query/{job['id']}/results?{bad}")[0] == 400


def test_a_job_that_is_under_way_when_the_org_is_reset_writes_nothing(raw: Raw, world: World) -> None:
    world.salesforce_fault(kind="slow-job", path="Account", seconds=0.3)
    _ingest(raw, b"Name\nGhost\n")
    time.sleep(0.1)
    world.reset()
    time.sleep(0.5)
    assert world.count("Account") == 0


def test_jobs_may_be_made_and_listed_at_the_same_time(raw: Raw) -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: [
                raw("POST", "/jobs/ingest", {"object": "Account", "operation": "insert"}) for _ in range(20)
            ]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        statuses.append(raw("GET", "/jobs/ingest")[0])
    assert set(statuses) <= {200}


# -- what a second look found -----------------------------------------------------------------------------------------------------


def test_parents_are_named_by_email_and_by_kind_where_there_are_several(raw: Raw, world: World) -> None:
    (boss,) = world.insert("Contact", {"LastName": "Boss", "Email": "boss@acme.example"})
    (lead,) = world.insert("Lead", {"LastName": "Lead", "Company": "Acme"})
    job = _ingest(raw, b"LastName,ReportsTo.Email\nJansen,boss@acme.example\n", object="Contact")
    assert eventually(lambda: raw("GET", f"/jobs/ingest/{job}")[1].get("numberRecordsProcessed")) == 1
    assert world.query("SELECT ReportsToId FROM Contact WHERE LastName = 'Jansen'") == [{"ReportsToId": boss}]
    job = _ingest(raw, f"Subject,Lead:Who.Id\nCall,{lead}\n".encode(), object="Task")
    assert eventually(lambda: raw("GET", f"/jobs/ingest/{job}")[1].get("numberRecordsProcessed")) == 1
    assert world.query("SELECT WhoId FROM Task") == [{"WhoId": lead}]


def test_a_checkbox_is_never_null_and_a_missing_parents_checkbox_is_false(raw: Raw, world: World) -> None:
    (account,) = world.insert("Account", {"Name": "Acme"})
    world.insert("Contact", {"LastName": "A", "DoNotCall": True, "AccountId": account}, {"LastName": "B"})
    counts = {}
    for condition in ("DoNotCall = null", "DoNotCall != null", "Account.IsDeleted = false", "(NOT Email LIKE 'x%')"):
        counts[condition] = raw.query(f"SELECT COUNT() FROM Contact WHERE {condition}")[1]["totalSize"]
    assert list(counts.values()) == [1, 1, 2, 2]


def test_letter_case_does_not_matter_in_any_alphabet(raw: Raw, world: World) -> None:
    world.insert("Account", {"Name": "Café É"})
    for condition in ("Name = 'CAFÉ é'", "Name LIKE 'café%'", "Name IN ('cAFÉ É')"):
        assert raw.query(f"SELECT COUNT() FROM Account WHERE {condition}")[1]["totalSize"] == 1


@pytest.mark.parametrize(
    "condition",
    [
        "Id IN (SELECT AccountId FROM Contact) OR Name = 'x'",
        "Id IN (SELECT ParentId FROM Account)",
        "Id IN (SELECT AccountId FROM Contact WHERE ReportsToId IN (SELECT WhoId FROM Task))",
    ],
)
def test_semi_joins_that_an_org_refuses(raw: Raw, condition: str) -> None:
    assert raw.query(f"SELECT Id FROM Account WHERE {condition}")[1][0]["errorCode"] == "MALFORMED_QUERY"


def test_jobs_are_listed_by_type(raw: Raw) -> None:
    raw("POST", "/jobs/ingest", {"object": "Account", "operation": "insert"})
    assert len(raw("GET", "/jobs/ingest?jobType=V2Ingest")[1]["records"]) == 1
    assert raw("GET", "/jobs/ingest?jobType=Classic")[1]["records"] == []
    assert raw("GET", "/jobs/ingest?jobType=nope")[0] == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:8080"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_a_web_page_gets_nothing_from_the_emulators(
    raw: Raw, world: World, headers: dict[str, str], status: int
) -> None:
    assert raw.reply("GET", "/limits", **headers).status == status
    assert raw.reply("POST", f"{world.vendors_url}/_emulator/reset", {}, **headers).status == status
