"""One contender at one piece of work, in a process of its own: python -m benchmarks.contender NAME URL ROWS FOLDER

Prints {"seconds", "megabytes"}: the work's own time, and the process's peak resident memory. What is imported counts for nobody: all have
Airflow in memory, as a task does.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import airflow.sdk  # noqa: F401 - see above
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import requests
import urllib3
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce

from benchmarks.replay import FIELDS
from salesforce_sync.salesforce import query
from salesforce_sync.salesforce.client import SalesforceClient
from salesforce_sync.salesforce.rows import Operation, WriteRequest
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.signin import ClientCredentials

SOQL = f"SELECT {', '.join(FIELDS)} FROM Contact"
KEY = "External__c"


class _Replay(HTTPAdapter):
    """simple-salesforce speaks https only; this sends it to the replay server."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = urlsplit(url)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        request.url = urlsplit(request.url or "")._replace(scheme="http", netloc=self._url.netloc).geturl()
        return super().send(request, *args, **kwargs)


def _session(url: str) -> requests.Session:
    session = requests.Session()
    session.mount("https://", _Replay(url))
    return session


def _simple(url: str) -> Salesforce:
    return Salesforce(
        session_id="00D5g0000000001EAA!x", instance="replay.my.salesforce.com", version="66.0", session=_session(url)
    )


def _ours(url: str) -> SalesforceClient:
    return SalesforceClient(Session(ClientCredentials(url, "key", "secret")))


def salesforce_hook(url: str) -> Any:
    """Airflow's own hook, sent to the replay server."""
    from airflow.providers.salesforce.hooks.salesforce import SalesforceHook

    os.environ["AIRFLOW_CONN_REPLAY"] = json.dumps(
        {
            "conn_type": "salesforce",
            "login": "u",
            "password": "p",
            "extra": {"security_token": "t", "domain": "test", "version": "66.0"},
        }
    )
    return SalesforceHook(salesforce_conn_id="replay", session=_session(url))


def _to_parquet(tables: Iterator[pa.Table], path: Path) -> None:
    writer = None
    for table in tables:
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer:
        writer.close()


def pull_ours(url: str, rows: int, path: Path) -> None:
    _to_parquet(_ours(url).read(SOQL, expected_rows=rows), path)


def pull_ours_by_rest(url: str, rows: int, path: Path) -> None:
    query.BULK_FROM_ROWS = rows + 1
    _to_parquet(_ours(url).read(SOQL), path)


def pull_simple_by_rest(url: str, rows: int, path: Path) -> None:
    def tables() -> Iterator[pa.Table]:
        records: list[dict[str, Any]] = []
        for record in _simple(url).query_all_iter(SOQL):
            record.pop("attributes")
            records.append(dict(record))
            if len(records) == 10_000:
                yield pa.Table.from_pylist(records)
                records = []
        if records:
            yield pa.Table.from_pylist(records)

    _to_parquet(tables(), path)


def pull_simple_bulk2(url: str, rows: int, path: Path) -> None:
    pages = _simple(url).bulk2.Contact.query(SOQL, max_records=50_000, wait=0)
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True, null_values=[""])
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    _to_parquet(
        (
            pyarrow.csv.read_csv(io.BytesIO(str(page).encode()), parse_options=parse, convert_options=options)
            for page in pages
        ),
        path,
    )


def pull_hook(url: str, rows: int, path: Path) -> None:
    hook = salesforce_hook(url)
    hook.object_to_df(hook.make_query(SOQL)["records"]).to_parquet(path)


def pull_floor(url: str, rows: int, path: Path) -> None:
    """The bytes alone: the same requests as ours, bodies decompressed and thrown away."""
    http = urllib3.PoolManager(headers={"authorization": "Bearer x", "accept-encoding": "gzip"})
    base = f"{url}/services/data/v66.0/jobs/query"
    job = http.request("POST", base, body=b"{}").json()["id"]
    http.request("GET", f"{base}/{job}")
    locator = ""
    while locator != "null":
        suffix = f"&locator={quote(locator)}" if locator else ""
        reply = http.request("GET", f"{base}/{job}/results?maxRecords={query.RESULT_ROWS}{suffix}")
        locator = reply.headers["sforce-locator"]


def _records(rows: int) -> list[dict[str, str]]:
    return [
        {KEY: f"key-{number}", "FirstName": f"First {number}", "LastName": f"Last {number}", "Email": f"p{number}@acme.example", "Title": "Boss",
         "MailingCity": "Utrecht", "MailingCountry": "Netherlands", "Phone": f"030-{number}", "Department": "Sales", "LeadSource": "Web"}
        for number in range(rows)
    ]  # fmt: skip


def push_ours(url: str, rows: int, path: Path, records: list[dict[str, str]]) -> None:
    table = pa.Table.from_pylist(records)
    results = [
        result
        for _, part in _ours(url).write(WriteRequest("Contact", Operation.UPSERT, KEY), [table])
        for result in part
    ]
    assert len(results) == rows


def push_simple_bulk2(url: str, rows: int, path: Path, records: list[dict[str, str]]) -> None:
    bulk = _simple(url).bulk2.Contact
    jobs = bulk.upsert(records=records, external_id_field=KEY, wait=0)
    found = [
        pyarrow.csv.read_csv(io.BytesIO(bulk.get_successful_records(job["job_id"]).encode())).num_rows for job in jobs
    ]
    assert sum(found) == rows


def push_operator(url: str, rows: int, path: Path, records: list[dict[str, str]]) -> None:
    from airflow.providers.salesforce.operators import bulk

    hook = salesforce_hook(url)
    bulk.SalesforceHook = lambda **_: hook
    operator = bulk.SalesforceBulkOperator(
        task_id="push", operation="upsert", object_name="Contact", payload=records, external_id_field=KEY, batch_size=10_000,
        salesforce_conn_id="replay",
    )  # fmt: skip
    assert len(operator.execute({})) == rows


PULLS: dict[str, Callable[..., None]] = {
    "ours": pull_ours, "ours_by_rest": pull_ours_by_rest, "simple_by_rest": pull_simple_by_rest, "simple_bulk2": pull_simple_bulk2,
    "hook": pull_hook, "floor": pull_floor,
}  # fmt: skip
PUSHES: dict[str, Callable[..., None]] = {
    "push_ours": push_ours,
    "push_simple_bulk2": push_simple_bulk2,
    "push_operator": push_operator,
}


def main(name: str, url: str, rows: int, folder: Path) -> None:
    arguments: list[Any] = [url, rows, folder / f"{name}.parquet"]
    if name in PUSHES:
        arguments.append(_records(rows))
    started = time.perf_counter()
    (PULLS | PUSHES)[name](*arguments)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
