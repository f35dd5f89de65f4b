"""The Salesforce emulator by itself, over raw HTTP, so that it is known when it, and not the client, is what a benchmark measures."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3

from benchmarks.result import Result

FIELDS = (
    "FirstName", "LastName", "Salutation", "MailingStreet", "MailingCity", "MailingState", "MailingPostalCode", "MailingCountry", "Phone", "Fax",
    "MobilePhone", "HomePhone", "Email", "Title", "Department", "LeadSource", "Birthdate", "Description", "HasOptedOutOfEmail", "DoNotCall",
)  # fmt: skip
SEEDED, READ, UPSERTED = 1_000_000, 200_000, 100_000
KEYED, KEY = "PeerSpot_Activity__c", "PeerSpot_External_Id__c"


def run() -> list[Result]:
    with _emulator() as org:
        return [org.seed(), org.pull(), org.push("inserted"), org.push("updated")]


@contextmanager
def _emulator() -> Iterator[_Org]:
    process = subprocess.Popen(
        [sys.executable, "-m", "emulators", "--seed", "empty"], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert process.stdout is not None
        yield _Org(json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait()


class _Org:
    def __init__(self, known: dict[str, Any]) -> None:
        self._url = known["salesforce"]
        self._http = urllib3.PoolManager(
            headers={"authorization": f"Bearer {known['credentials']['access_token']}"}, timeout=600
        )

    def seed(self) -> Result:
        started = time.perf_counter()
        self._call("POST", "/_emulator/generate", {"object": "Contact", "count": SEEDED, "fields": FIELDS})
        return Result(
            f"emulator: {SEEDED:,} Contacts of {len(FIELDS)} fields seeded",
            "s",
            time.perf_counter() - started,
            goal="<= 90",
        )

    def pull(self) -> Result:
        """A query job from its creation to the last byte of its results."""
        started = time.perf_counter()
        soql = f"SELECT {', '.join(FIELDS)} FROM Contact LIMIT {READ}"
        job = self._data("POST", "/jobs/query", {"operation": "query", "query": soql})["id"]
        self._wait(f"/jobs/query/{job}")
        locator, count = "", 0
        while locator != "null":
            suffix = f"?locator={locator}" if locator else ""
            reply = self._http.request("GET", f"{self._url}/services/data/v66.0/jobs/query/{job}/results{suffix}")
            count += int(reply.headers["sforce-numberofrecords"])
            locator = reply.headers["sforce-locator"]
        assert count == READ
        return Result(
            f"emulator: {READ:,} Contacts out by Bulk 2.0 query", "s", time.perf_counter() - started, goal="<= 3"
        )

    def push(self, what: str) -> Result:
        """An upsert job from its creation to its end; the second time all records are there."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = (
            "Company_Name__c",
            "City__c",
            "State__c",
            "Country__c",
            "Category__c",
            "Activity__c",
            "Domain__c",
            "Pages_Visited__c",
        )
        writer.writerow([KEY, "Date_Visited__c", *names])
        writer.writerows(
            [f"key-{number}", "2026-11-10", *[f"{what} {number}"] * (len(names) - 1), number]
            for number in range(UPSERTED)
        )
        content = text.getvalue().encode()
        started = time.perf_counter()
        job = self._data("POST", "/jobs/ingest", {"object": KEYED, "operation": "upsert", "externalIdFieldName": KEY})[
            "id"
        ]
        self._http.request(
            "PUT",
            f"{self._url}/services/data/v66.0/jobs/ingest/{job}/batches",
            body=content,
            headers=self._http.headers,
        )
        self._data("PATCH", f"/jobs/ingest/{job}", {"state": "UploadComplete"})
        assert self._wait(f"/jobs/ingest/{job}")["numberRecordsFailed"] == 0
        return Result(
            f"emulator: {UPSERTED:,} rows {what} by Bulk 2.0 upsert", "s", time.perf_counter() - started, goal="<= 10"
        )

    def _wait(self, path: str) -> dict[str, Any]:
        while True:
            job = self._data("GET", path)
            if job["state"] in ("JobComplete", "Failed"):
                assert job["state"] == "JobComplete", job
                return job
            time.sleep(0.05)

    def _data(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return self._call(method, f"/services/data/v66.0{path}", body)

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        reply = self._http.request(
            method, self._url + path, body=None if body is None else json.dumps(body), headers=self._http.headers
        )
        assert reply.status < 300, reply.data
        return dict(reply.json())
