"""One measurement of the delivery engine in a process of its own: python -m benchmarks.engine_task WHAT ROWS FOLDER [SALESFORCE DATABASE]

WHAT is `load`: a vendor's records of 20 fields are read, planned, sent and committed, all for the first time, and then
once more, when nothing has changed; or `stage`: rows as Salesforce gives them are staged. Prints {"seconds", "cpu",
"megabytes"}: the step's own time, and the process's peak resident memory; of `load` also {"again", "again_cpu"}.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import airflow.sdk  # noqa: F401 - a task has it in memory, so the measurement has it too
import pyarrow as pa

from benchmarks.replay import TEXTS

PAGE = 1_000


class _Vendor:
    """Records with 20 texts, of which every fourth repeats: what a system holds is partly of a kind."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def read(self, stream: str, *, window: Any) -> Iterator[list[dict[str, Any]]]:
        for start in range(0, self._rows, PAGE):
            yield [
                {"id": number}
                | {f"t{place}": f"{place} {number % 50 if place % 4 == 0 else number}" for place in range(len(TEXTS))}
                for number in range(start, start + PAGE)
            ]


def load(rows: int, folder: Path, salesforce: str, database: str) -> dict[str, float]:
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
        "salesforce": {"object": "Contact", "external_id": "External__c"},
        "fields": {field: f"t{place}" for place, field in enumerate(TEXTS)},
    })  # fmt: skip
    client = RemoteWorld(salesforce, "key", "secret").client()
    run = RunIdentity("bench", "run", "load")
    context = Context(open_state(database), run, Staging(folder / "staging"), client)
    day = date(2026, 11, 21)
    figures: dict[str, float] = {}
    for seconds, cpu in (("seconds", "cpu"), ("again", "again_cpu")):
        started, used = time.perf_counter(), time.process_time()
        for _ in _Vendor(rows).read("", window=None):  # making them is no work of the engine: its time is taken off
            pass
        started, used = 2 * time.perf_counter() - started, 2 * time.process_time() - used
        read_days(context, _Vendor(rows), "bench/contacts", mapping, Span(DateWindow(day, day)))
        counts = deliver_to_salesforce(context, "bench/contacts", mapping).total
        assert rows in (counts.created, counts.unchanged), counts
        figures |= {seconds: time.perf_counter() - started, cpu: time.process_time() - used}
    return figures


def stage(rows: int, folder: Path) -> dict[str, float]:
    from salesforce_sync.staging import Staging

    texts = {field: pa.array([f"{field} of {number}" for number in range(PAGE)]) for field in TEXTS}
    ids = pa.array([f"0035g{number:010d}AAA" for number in range(PAGE)])
    table = pa.table({"Id": ids} | texts)
    staging = Staging(folder / "staging")
    started, used = time.perf_counter(), time.process_time()
    tables = (table for _ in range(0, rows, PAGE))
    staging.tables(staging.folder("bench"), tables, id_column="Id", stamp=lambda part: ["2026-11-21"] * part.num_rows)
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - used}


def main(what: str, rows: int, folder: Path, *places: str) -> None:
    figures = {"load": load, "stage": stage}[what](rows, folder, *places)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(figures | {"megabytes": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
