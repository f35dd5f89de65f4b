"""Bulk API 2.0 by the emulator: ingest and query."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

import pytest

from support.raw import Raw
from support.world import World


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
def test_delimiters_line_endings_and_a_byte_order_mark_are_read(
    raw: Raw, description: dict[str, str], content: bytes
) -> None:
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
    other = raw("GET", f"{raw.url}/services/data/v60.0{path}/results")
    assert other[0] == 409
    assert raw("POST", "/jobs/query", {"operation": "query", "query": "SELECT COUNT(Id) FROM Account"})[0] == 400
