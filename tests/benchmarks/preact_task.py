"""The metric push in processes of its own: python -m benchmarks.preact_task first|changed|found FOLDER EMULATORS_JSON

`first` writes a Parquet file with metrics of all Accounts of the org, and pushes it. `changed` changes 2 % of them twice, and pushes them: once
without the values before, and once with them. `found` does so with Accounts found by AccountNumber. Prints times in seconds, calls and peak memory
in MB.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import airflow.sdk  # noqa: F401 - a task has it in memory, so the measurement has it too
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

EVERY = 50


def main(what: str, folder: Path, known: dict[str, Any]) -> None:
    from salesforce_sync.state.engine import open_state
    from salesforce_sync.systems.preact.files import FileSource
    from salesforce_sync.systems.preact.labels import Labelled
    from salesforce_sync.systems.preact.settings import bands
    from support.flows import Metrics, load_mapping
    from support.kills import RemoteWorld

    keys = known["credentials"]
    world = RemoteWorld(known["salesforce"], keys["consumer_key"], keys["consumer_secret"])
    file = folder / "accounts.parquet"
    plain_source = FileSource({"accounts": file}, {"accounts": "preact_accounts"})
    source = Labelled(plain_source, {"activity_score_label": bands("High 50"), "health_score_label": bands("Good 50")})
    metrics = Metrics(world, open_state(f"sqlite:///{folder / 'state.db'}"), folder / "staging", source)  # type: ignore[arg-type]
    metrics.runs = {"first": 0, "changed": 100, "found": 200}[what]
    mapping = load_mapping(metrics.name)
    plain = mapping.model_copy(update={"keep_before": False})
    if what == "first":
        _write(file, *_accounts(world))
        metrics.mapping = plain  # of records that nobody delivered before, nobody has to know what was there
        started = time.perf_counter()
        metrics()
        print(json.dumps({"first": time.perf_counter() - started, "first_megabytes": _megabytes()}))
        return
    if what == "found":
        print(json.dumps({"found_calls": _found(metrics, plain, file, known)}))
        return
    figures: dict[str, float] = {}
    metrics.mapping = plain
    _change(file)
    used, cpu, started = _calls(known), time.process_time(), time.perf_counter()
    metrics.runs += 1
    metrics.extract()
    figures["extract"] = time.perf_counter() - started
    started = time.perf_counter()
    figures["updated"] = metrics.load().updated
    figures |= {"load": time.perf_counter() - started, "cpu": time.process_time() - cpu, "megabytes": _megabytes()}
    figures["plain_calls"] = _calls(known) - used
    metrics.mapping = mapping
    metrics()  # with another mapping, all records are looked at once
    _change(file)
    used = _calls(known)
    metrics()
    figures["calls"] = _calls(known) - used
    print(json.dumps(figures))


def _found(metrics: Any, plain: Any, file: Path, known: dict[str, Any]) -> int:
    """The first delivery reads the field of all Accounts; the calls are those of the second."""
    side = plain.salesforce.model_dump() | {"find_by": {"field": "AccountNumber", "vendor": "external_identifier"}}
    metrics.mapping = plain.model_copy(update={"salesforce": type(plain.salesforce).model_validate(side)})
    metrics.name = "preact/found"
    table = pq.read_table(file)
    _write(file, table.column("number").to_pylist(), table.column("number").to_pylist())
    metrics()
    _change(file)
    used = _calls(known)
    metrics()
    return _calls(known) - used


def _accounts(world: Any) -> tuple[list[str], list[str]]:
    ids, numbers = [], []
    for table in world.client().read("SELECT Id, AccountNumber FROM Account", expected_rows=1_000_000):
        ids += table.column("Id").to_pylist()
        numbers += table.column("AccountNumber").to_pylist()
    return ids, numbers


def _write(file: Path, ids: list[str], numbers: list[str]) -> None:
    chance = np.random.default_rng(7)
    scores = {
        name: chance.integers(0, 101, len(ids)) for name in ("activity_score", "health_score", "active_users_month")
    }
    table = pa.table(
        {
            "preact_account_id": [f"pa-{number}" for number in range(len(ids))],
            "external_identifier": ids,
            "number": numbers,
        }
        | scores
        | {"active_users_week": scores["active_users_month"] // 4, "nps_score": scores["activity_score"] // 10}
        | {"nps_response_count": scores["health_score"] // 20}
        | {name: ["2026-11-20"] * len(ids) for name in ("last_activity_at", "nps_updated_at")}
    )
    pq.write_table(table, file)


def _change(file: Path) -> None:
    """Every 50th account has another health score."""
    table = pq.read_table(file)
    scores = table.column("health_score").to_numpy().copy()
    scores[::EVERY] = (scores[::EVERY] + 1) % 101
    place = table.column_names.index("health_score")
    pq.write_table(table.set_column(place, "health_score", pa.array(scores)), file)


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _calls(known: dict[str, Any]) -> int:
    with urllib.request.urlopen(f"{known['salesforce']}/_emulator/usage") as reply:
        return int(json.load(reply)["api_calls"])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))
