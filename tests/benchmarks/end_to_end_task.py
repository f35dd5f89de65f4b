"""The whole way of 100,000 records in a process of its own: python -m benchmarks.end_to_end_task WHO CHANGED URL FOLDER

Extract, map, compare with what was last sent, load, remember. WHO is `ours`, or `peer`: the same work as a data engineer writes it with
pandas, a database, and the provider's hook and bulk operator; it keeps no log.
Every CHANGED-th record differs from the first run (0: this is the first run).
Prints {"seconds", "push_seconds", "megabytes", "sent"}; the push is all but the extract.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow.sdk  # noqa: F401 - a task has it in memory, so the measurement has it too

RECORDS, PAGE = 100_000, 1_000
FIELDS = {
    "FirstName": "name.first", "LastName": "name.last", "Email": "email", "Title": "job.title", "Department": "job.department", "Phone": "phone",
    "MailingCity": "address.city", "MailingCountry": "address.country", "LeadSource": "source",
}  # fmt: skip
KEY = "External__c"


def pages(changed: int) -> Iterator[list[dict[str, Any]]]:
    """What the vendor's API gives."""
    for start in range(0, RECORDS, PAGE):
        yield [
            _record(number, "Gouda" if changed and number % changed == 0 else "Utrecht")
            for number in range(start, start + PAGE)
        ]


def _record(number: int, city: str) -> dict[str, Any]:
    return {
        "id": number, "name": {"first": f"First {number}", "last": f"Last {number}"}, "email": f"p{number}@acme.example",
        "job": {"title": "Boss", "department": "Sales"}, "phone": f"030-{number}", "address": {"city": city, "country": "Netherlands"},
        "source": "Web", "updated": "2026-11-21T12:00:00Z", "score": number % 100,
    }  # fmt: skip


class _Vendor:
    def __init__(self, changed: int) -> None:
        self._changed = changed

    def read(self, stream: str, *, window: Any) -> Iterator[list[dict[str, Any]]]:
        return pages(self._changed)


def ours(changed: int, url: str, folder: Path) -> tuple[int, float]:
    from datetime import date

    from salesforce_sync.engine.context import Context
    from salesforce_sync.engine.read_days import Span, read_days
    from salesforce_sync.engine.to_salesforce import deliver_to_salesforce
    from salesforce_sync.mapping.model import MappingFile
    from salesforce_sync.records import RunIdentity
    from salesforce_sync.staging import Staging
    from salesforce_sync.state.engine import open_state
    from salesforce_sync.windows import DateWindow
    from support.kills import RemoteWorld

    mapping = MappingFile.model_validate({
        "version": 1, "summary": "Contacts.", "vendor": {"stream": "contacts", "id": "id"},
        "salesforce": {"object": "Contact", "external_id": KEY}, "fields": FIELDS,
    })  # fmt: skip
    run, staging = RunIdentity("bench", f"run-{changed}", "load"), Staging(folder / "staging")
    client = RemoteWorld(url, "key", "secret").client()
    context = Context(open_state(f"sqlite:///{folder / 'state.db'}"), run, staging, client)
    day = date(2026, 11, 21)
    read_days(context, _Vendor(changed), "bench/contacts", mapping, Span(DateWindow(day, day)))
    started = time.perf_counter()
    counts = deliver_to_salesforce(context, "bench/contacts", mapping).total
    return counts.created + counts.updated, time.perf_counter() - started


def peer(changed: int, url: str, folder: Path) -> tuple[int, float]:
    import pandas as pd
    from airflow.providers.salesforce.operators import bulk
    from sqlalchemy import create_engine, inspect

    from benchmarks.contender import salesforce_hook

    frame = pd.json_normalize([record for page in pages(changed) for record in page])
    frame.to_parquet(folder / "extracted.parquet")
    started = time.perf_counter()
    frame = pd.read_parquet(folder / "extracted.parquet")
    rows = frame[list(FIELDS.values())].set_axis(list(FIELDS), axis=1)
    rows.insert(0, KEY, frame["id"].astype(str))
    rows["fingerprint"] = pd.util.hash_pandas_object(rows, index=False).astype(str)
    engine = create_engine(f"sqlite:///{folder / 'peer.db'}")
    changed_rows = rows
    if inspect(engine).has_table("sent"):
        known = pd.read_sql("SELECT External__c, fingerprint FROM sent", engine)
        merged = rows.merge(known, on=KEY, how="left", suffixes=("", "_known"))
        changed_rows = merged[merged["fingerprint"] != merged["fingerprint_known"]]
    payload = changed_rows[[KEY, *FIELDS]].to_dict("records")
    hook = salesforce_hook(url)
    bulk.SalesforceHook = lambda **_: hook
    results = bulk.SalesforceBulkOperator(
        task_id="push", operation="upsert", object_name="Contact", payload=payload, external_id_field=KEY, batch_size=10_000,
        salesforce_conn_id="replay",
    ).execute({})  # fmt: skip
    assert all(result["success"] for result in results)
    with engine.begin() as connection:
        rows[[KEY, "fingerprint"]].to_sql("sent", connection, if_exists="replace", index=False)
    return len(payload), time.perf_counter() - started


def main(who: str, changed: int, url: str, folder: Path) -> None:
    started = time.perf_counter()
    sent, pushing = {"ours": ours, "peer": peer}[who](changed, url, folder)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "push_seconds": pushing, "megabytes": peak, "sent": sent}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
