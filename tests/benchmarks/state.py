"""The state database with 100,000 records: committing what became of them, and looking their links up; SQLite and PostgreSQL."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.result import Result
from salesforce_sync.records import Outcome, RecordResult, RunIdentity
from salesforce_sync.state import dead_letters, links, runs, sync_log
from salesforce_sync.state.engine import open_state
from support.databases import new_database, postgres_server

RECORDS, PART = 100_000, 10_000
ORG, MAPPING = "00D5g0000000001EAA", "bench"


def run() -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, postgres_server(Path(folder)) as server:
        urls = {"SQLite": f"sqlite:///{folder}/state.db", "PostgreSQL": new_database(server)}
        return [result for name, url in urls.items() for result in _measure(name, url)]


def _measure(name: str, url: str) -> list[Result]:
    state = open_state(url)
    records = [
        RecordResult(f"act-{number:09d}", Outcome.CREATED, f"a01{number:015d}", fingerprint=f"{number:016x}")
        for number in range(RECORDS)
    ]
    started = time.perf_counter()
    with state.begin() as connection:
        run_id = runs.begin(connection, RunIdentity("bench", "run", "load"), MAPPING, org=ORG)
        for start in range(0, RECORDS, PART):
            part = records[start : start + PART]
            sync_log.write(connection, run_id, part)
            links.save(connection, ORG, MAPPING, part)
            dead_letters.record(connection, ORG, MAPPING, run_id, part)
    committed = time.perf_counter()
    with state.connect() as connection:
        found = links.find(connection, ORG, MAPPING, [record.record_id for record in records])
    assert len(found) == RECORDS
    return [
        Result(f"state on {name}: {RECORDS:,} records committed", "s", committed - started),
        Result(f"state on {name}: {RECORDS:,} links found", "s", time.perf_counter() - committed),
    ]
