"""Bulk API 1.0 by the emulator: jobs in JSON and XML, batches in the job's content type, queries with and without chunks."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from support.raw import Raw, eventually
from support.world import World

NAMESPACE = "{http://www.force.com/2009/06/asyncapi/dataload}"
JSON = {"content-type": "application/json"}
XML = {"content-type": "application/xml"}


class Bulk1:
    def __init__(self, raw: Raw) -> None:
        self._raw, self._url = raw, f"{raw.url}/services/async/59.0/job"
        self._session = {"X-SFDC-Session": raw.headers["authorization"].removeprefix("Bearer ")}

    def __call__(self, method: str, path: str = "", body: Any = None, **headers: str) -> tuple[int, Any]:
        return self._raw(method, self._url + path, body, **(self._session | headers))

    def job(self, content_type: str, operation: str, **more: str) -> str:
        status, job = self(
            "POST", "", {"operation": operation, "object": "Account", "contentType": content_type, **more}, **JSON
        )
        assert (status, job["state"]) == (201, "Open")
        return str(job["id"])

    def finished(self, job: str, batch: str) -> str:
        """The batch's state once it has one that stays."""

        def state() -> str | None:
            reply = self("GET", f"/{job}/batch/{batch}")[1]
            found = (
                reply["state"]
                if isinstance(reply, dict)
                else ElementTree.fromstring(reply).findtext(f"{NAMESPACE}state")
            )
            return found if found not in ("Queued", "InProgress") else None

        return str(eventually(state))


@pytest.fixture
def bulk(raw: Raw) -> Bulk1:
    return Bulk1(raw)


def test_a_json_job_takes_json_and_answers_json(bulk: Bulk1) -> None:
    job = bulk.job("JSON", "insert")
    status, batch = bulk("POST", f"/{job}/batch", [{"Name": "Acme"}, {"Website": "x.com"}], **JSON)
    assert (status, batch["state"], batch["jobId"]) == (201, "Queued", job)
    assert bulk.finished(job, batch["id"]) == "Completed"
    good, bad = bulk("GET", f"/{job}/batch/{batch['id']}/result")[1]
    assert (good["success"], good["created"], good["errors"]) == (True, True, [])
    assert (bad["success"], bad["id"], bad["errors"][0]["statusCode"]) == (False, None, "REQUIRED_FIELD_MISSING")
    closed = bulk("POST", f"/{job}", {"state": "Closed"}, **JSON)[1]
    assert (closed["state"], closed["numberRecordsProcessed"], closed["numberRecordsFailed"]) == ("Closed", 2, 1)
    refused = bulk("POST", f"/{job}/batch", [{"Name": "Late"}], **JSON)
    assert refused == (
        400,
        {
            "exceptionCode": "InvalidJobState",
            "exceptionMessage": "Unable to add batch to job when job's state is: Closed",
        },
    )


def test_a_csv_job_answers_batches_in_xml_even_when_json_is_asked_for(bulk: Bulk1, world: World) -> None:
    job = bulk.job("CSV", "upsert", externalIdFieldName="Id")
    (known,) = world.insert("Account", {"Name": "Old", "Phone": "1"})
    status, batch = bulk(
        "POST", f"/{job}/batch", f'Id,Name,Phone\n{known},New,#N/A\n,"Other, Inc",2\n'.encode(), **JSON
    )
    root = ElementTree.fromstring(batch)
    assert (status, root.tag) == (201, f"{NAMESPACE}batchInfo")
    batch_id = root.findtext(f"{NAMESPACE}id") or ""
    assert bulk.finished(job, batch_id) == "Completed"
    text = bulk("GET", f"/{job}/batch/{batch_id}/result")[1]
    assert text.splitlines()[:2] == ['"Id","Success","Created","Error"', f'"{known}","true","false",""']
    assert world.query("SELECT Name, Phone FROM Account ORDER BY Name") == [
        {"Name": "New", "Phone": None},
        {"Name": "Other, Inc", "Phone": "2"},
    ]


def test_an_xml_job_takes_xml_with_parents_by_external_id(bulk: Bulk1, world: World) -> None:
    description = (
        '<jobInfo xmlns="http://www.force.com/2009/06/asyncapi/dataload"><operation>insert</operation>'
        "<object>Account</object><contentType>XML</contentType></jobInfo>"
    )
    status, reply = bulk("POST", "", description.encode(), **XML)
    job = ElementTree.fromstring(reply).findtext(f"{NAMESPACE}id") or ""
    rows = (
        '<sObjects xmlns="http://www.force.com/2009/06/asyncapi/dataload" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        '<sObject><Name>Acme &amp; Sons</Name><Phone xsi:nil="true"/></sObject><sObject><Phone>1</Phone></sObject></sObjects>'
    )
    batch = (
        ElementTree.fromstring(bulk("POST", f"/{job}/batch", rows.encode(), **XML)[1]).findtext(f"{NAMESPACE}id") or ""
    )
    assert (status, bulk.finished(job, batch)) == (201, "Completed")
    results = ElementTree.fromstring(bulk("GET", f"/{job}/batch/{batch}/result")[1])
    assert [node.findtext(f"{NAMESPACE}success") for node in results] == ["true", "false"]
    assert results[1].findtext(f"{NAMESPACE}errors/{NAMESPACE}statusCode") == "REQUIRED_FIELD_MISSING"
    assert world.query("SELECT Name FROM Account") == [{"Name": "Acme & Sons"}]


def test_query_results_follow_the_content_type_and_json_has_times_as_milliseconds(bulk: Bulk1, world: World) -> None:
    world.insert("Account", {"Name": "Acme", "AnnualRevenue": 5})
    for kind in ("JSON", "CSV", "XML"):
        job = bulk.job(kind, "query")
        reply = bulk(
            "POST",
            f"/{job}/batch",
            b"SELECT Name, CreatedDate, AnnualRevenue, Owner.Name FROM Account",
            **{"content-type": "text/csv"},
        )[1]
        batch = reply["id"] if isinstance(reply, dict) else ElementTree.fromstring(reply).findtext(f"{NAMESPACE}id")
        assert bulk.finished(job, batch) == "Completed"
        listed = bulk("GET", f"/{job}/batch/{batch}/result")[1]
        result = (
            listed[0] if isinstance(listed, list) else ElementTree.fromstring(listed).findtext(f"{NAMESPACE}result")
        )
        body = bulk("GET", f"/{job}/batch/{batch}/result/{result}")[1]
        if kind == "JSON":
            assert (body[0]["Name"], type(body[0]["CreatedDate"]), body[0]["Owner"]["Name"]) == (
                "Acme",
                int,
                "Integration User",
            )
        elif kind == "CSV":
            header, row, _ = body.split("\n")
            assert header == '"Name","CreatedDate","AnnualRevenue","Owner.Name"'
            assert re.fullmatch(r'"Acme","[-0-9T:]+\.000Z","5\.0","Integration User"', row)
        else:
            assert "<Name>Acme</Name>" in body


def test_pk_chunking_gives_a_batch_for_each_chunk(bulk: Bulk1, world: World) -> None:
    world.insert("Account", *({"Name": f"A{number}"} for number in range(25)))
    description = {"operation": "query", "object": "Account", "contentType": "CSV"}
    job = bulk("POST", "", description, **JSON, **{"Sforce-Enable-PKChunking": "chunkSize=10"})[1]["id"]
    first = (
        ElementTree.fromstring(bulk("POST", f"/{job}/batch", b"SELECT Name FROM Account")[1]).findtext(f"{NAMESPACE}id")
        or ""
    )
    assert bulk.finished(job, first) == "NotProcessed"
    batches = ElementTree.fromstring(bulk("GET", f"/{job}/batch")[1])
    assert [node.findtext(f"{NAMESPACE}numberRecordsProcessed") for node in batches] == ["0", "10", "10", "5"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"X-SFDC-Session": "nothing"}, "InvalidSessionId"), ({"X-SFDC-Session": ""}, "InvalidSessionId")],
)
def test_a_void_session_is_400_in_this_apis_own_words(raw: Raw, headers: dict[str, str], code: str) -> None:
    path = f"{raw.url}/services/async/59.0/job/750"
    assert raw("GET", path, **headers, **JSON) == (
        400,
        {"exceptionCode": code, "exceptionMessage": "Invalid session id"},
    )
    text = raw("GET", path, **headers)[1]
    assert ElementTree.fromstring(text).findtext(f"{NAMESPACE}exceptionCode") == code


def test_a_retired_version_is_400(raw: Raw, bulk: Bulk1) -> None:
    status, body = raw("GET", f"{raw.url}/services/async/29.0/job/750", **JSON)
    assert (status, body["exceptionCode"]) == (400, "InvalidVersion")


@pytest.mark.parametrize(
    ("operation", "content", "message"),
    [
        ("insert", b"Nope\nx\n", "InvalidBatch : Field name not found : Nope"),
        (
            "insert",
            b"Name,Phone\nx\n",
            "InvalidBatch : Failed to parse CSV: a row has another number of fields than the header",
        ),
        (
            "query",
            b"SELECT COUNT(Id) FROM Account",
            "FeatureNotEnabled : Aggregate Relationships not supported in Bulk Query with CSV content type",
        ),
        (
            "query",
            b"SELECT Id FROM Lead",
            "InvalidBatch : Failed to process query: INVALID_TYPE_FOR_OPERATION: The root entity of the requested query (Lead) does not match the "
            "entity of the requested Bulk API Job (Account).",
        ),
        (
            "query",
            b"SELECT BillingAddress FROM Account",
            "InvalidBatch : Failed to process query: FUNCTIONALITY_NOT_ENABLED: Selecting compound data not supported in Bulk Query",
        ),
    ],
)
def test_a_batch_that_cannot_be_read_fails(bulk: Bulk1, operation: str, content: bytes, message: str) -> None:
    job = bulk.job("CSV", operation)
    batch = ElementTree.fromstring(bulk("POST", f"/{job}/batch", content)[1]).findtext(f"{NAMESPACE}id") or ""
    assert bulk.finished(job, batch) == "Failed"
    assert (
        ElementTree.fromstring(bulk("GET", f"/{job}/batch/{batch}")[1]).findtext(f"{NAMESPACE}stateMessage") == message
    )
    assert bulk("GET", f"/{job}", **JSON)[1]["numberBatchesFailed"] == 1
