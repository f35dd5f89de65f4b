"""The Salesforce emulator by itself, so that it is known when it, and not the client, is what a benchmark measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

import pyarrow as pa

from benchmarks.result import Result
from salesforce_sync.salesforce.client import SalesforceClient
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.signin import ClientCredentials
from salesforce_sync.salesforce.write import Operation, WriteRequest

ROWS = 100_000


def run() -> list[Result]:
    emulators = subprocess.Popen([sys.executable, "-m", "emulators", "--seed", "empty"], stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert emulators.stdout is not None
        known: dict[str, Any] = json.loads(emulators.stdout.readline())
        credentials = known["credentials"]
        client = SalesforceClient(Session(ClientCredentials(known["salesforce"], credentials["consumer_key"], credentials["consumer_secret"])))
        return [_push(client), _pull(client)]
    finally:
        emulators.terminate()
        emulators.wait()


def _push(client: SalesforceClient) -> Result:
    columns = {f"{name}__c": [f"{name} {number % 97}" for number in range(ROWS)] for name in ("Company_Name", "City", "State", "Country", "Category")}
    keys = [f"key-{number}" for number in range(ROWS)]
    rows = pa.table({"PeerSpot_External_Id__c": keys, "Date_Visited__c": pa.array(["2026-11-10"] * ROWS), **columns})
    started = time.perf_counter()
    for _ in client.write(WriteRequest("PeerSpot_Activity__c", Operation.UPSERT, "PeerSpot_External_Id__c"), [rows]):
        pass
    return Result(f"client and emulator: {ROWS:,} rows upserted by Bulk 2.0", "s", time.perf_counter() - started)


def _pull(client: SalesforceClient) -> Result:
    soql = "SELECT Id, Company_Name__c, City__c, State__c, Country__c, Category__c, Date_Visited__c, SystemModstamp FROM PeerSpot_Activity__c"
    started = time.perf_counter()
    rows = sum(table.num_rows for table in client.read(soql, expected_rows=ROWS))
    assert rows == ROWS
    return Result(f"client and emulator: {ROWS:,} rows read by Bulk 2.0", "s", time.perf_counter() - started)
