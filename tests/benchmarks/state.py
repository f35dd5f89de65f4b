"""The state database: the outcomes of 100,000 records are committed, and their links looked up; a million on
PostgreSQL, beside a bare COPY."""

from __future__ import annotations

import itertools
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from benchmarks.result import Result
from salesforce_sync.records import Outcome, RecordResult, RunIdentity
from salesforce_sync.state import dead_letters, links, runs, sync_log
from salesforce_sync.state.bulk import insert_rows
from salesforce_sync.state.engine import open_state
from salesforce_sync.state.schema import record_links
from salesforce_sync.state.schema import sync_log as sync_log_table
from support.databases import new_database, postgres_server

RECORDS, MANY, PART = 100_000, 1_000_000, 10_000
ORG, MAPPING = "00D5g0000000001EAA", "bench"


def run() -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, postgres_server(Path(folder)) as server:
        urls = {"SQLite": f"sqlite:///{folder}/state.db", "PostgreSQL": new_database(server)}
        found = [result for name, url in urls.items() for result in _measure(name, url)]
        return [*found, _beside_copy(new_database(server), new_database(server))]


def _beside_copy(ours: str, bare: str) -> Result:
    """A million links and log rows as a delivery writes them, and the same rows by COPY into the same tables."""
    seconds = []
    for url, write in ((ours, _as_we_do), (bare, _by_copy)):
        state = open_state(url)
        records = (
            RecordResult(f"act-{number:09d}", Outcome.CREATED, f"a01{number:015d}", "C", fingerprint=f"{number:016x}")
            for number in range(MANY)
        )
        started = time.perf_counter()
        with state.begin() as connection:
            run_id = runs.begin(connection, RunIdentity("bench", "run", "load"), MAPPING, org=ORG)
            while part := list(itertools.islice(records, PART)):
                write(connection, run_id, part)
        seconds.append(time.perf_counter() - started)
    name = f"state on PostgreSQL: {MANY:,} links and log rows"
    return Result(name, "s", seconds[0], f"<= {seconds[1] * 1.5:.1f}", "a bare COPY", seconds[1])


def _as_we_do(connection: Connection, run_id: int, part: list[RecordResult]) -> None:
    sync_log.write(connection, run_id, part)
    links.save(connection, ORG, MAPPING, part)


def _by_copy(connection: Connection, run_id: int, part: list[RecordResult]) -> None:
    now = datetime.now(UTC)
    log = ("sync_run_id", "record_id", "salesforce_id", "outcome", "code")
    insert_rows(
        connection, sync_log_table, log,
        [(run_id, item.record_id, item.salesforce_id, str(item.outcome), item.code) for item in part],
    )  # fmt: skip
    insert_rows(
        connection, record_links, links.COLUMNS,
        [
            (ORG, MAPPING, item.record_id, item.salesforce_id, item.fingerprint, None, None, None, "", 0, 2, None, False, now, now)
            for item in part
        ],
    )  # fmt: skip


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
