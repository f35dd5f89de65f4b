"""Leads kept equal with SPOTIO, in a process of its own: python -m benchmarks.spotio_task FOLDER EMULATORS_JSON

The Leads of the org go to SPOTIO for the first time; a run finds nothing; one in a hundred is then edited on each side,
and a run brings the edits over. Prints {"first", "first_megabytes", "nothing", "edits", "calls", "vendor_calls",
"updated"}, times in seconds. The hook's pace, a politeness of its own, is switched off.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import airflow.sdk  # noqa: F401 - a task has it in memory, so the measurement has it too
import pyarrow as pa

EVERY = 100
TITLE = 1012


def main(folder: Path, known: dict[str, Any]) -> None:
    os.environ["AIRFLOW_VAR_SPOTIO_CREDENTIALS"] = json.dumps(known["vendor_credentials"]["spotio"])
    from salesforce_sync.mapping.loader import load_mapping
    from salesforce_sync.state.engine import open_state
    from salesforce_sync.systems.spotio.hook import SpotioHook
    from support.flows import LEADS, BothWays
    from support.kills import RemoteWorld

    SpotioHook._pace = lambda _: None  # type: ignore[method-assign]
    keys = known["credentials"]
    world = RemoteWorld(known["salesforce"], keys["consumer_key"], keys["consumer_secret"])
    mapping = load_mapping(LEADS)
    fields = {
        name: item
        for name, item in mapping.fields.items()
        if name in ("Company", "FirstName", "LastName", "Title", "Phone")
    }
    state = open_state(f"sqlite:///{folder / 'state.db'}")
    few = mapping.model_copy(update={"fields": fields})
    both = BothWays(world, state, folder / "staging", SpotioHook, mapping=few)  # type: ignore[arg-type]
    figures: dict[str, float] = {"first": _timed(both)}
    figures["first_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures["nothing"] = _timed(both)
    _edit(world, known)
    used, asked = _get(f"{known['salesforce']}/_emulator/usage")["api_calls"], _vendor_calls(known)
    started = time.perf_counter()
    figures["updated"] = both().updated
    figures["edits"] = time.perf_counter() - started
    figures["calls"] = _get(f"{known['salesforce']}/_emulator/usage")["api_calls"] - used
    figures["vendor_calls"] = _vendor_calls(known) - asked
    print(json.dumps(figures))


def _timed(both: Any) -> float:
    started = time.perf_counter()
    both()
    return time.perf_counter() - started


def _edit(world: Any, known: dict[str, Any]) -> None:
    """Every hundredth Lead gets another first name, and every hundredth record of SPOTIO, others, another title."""
    from salesforce_sync.salesforce.rows import Operation, WriteRequest

    client = world.client()
    ids = [name for table in client.read("SELECT Id FROM Lead ORDER BY Id") for name in table.column("Id").to_pylist()]
    chosen = ids[::EVERY]
    names = pa.table({"Id": chosen, "FirstName": [f"Edited {number}" for number in range(len(chosen))]})
    list(client.write(WriteRequest("Lead", Operation.UPDATE), [names]))
    objects = [item["id"] for item in _get(f"{known['vendors']}/_emulator/spotio/objects")]
    changes = [
        {"id": name, "to": {"fields": [{"fieldId": str(TITLE), "value": f"Edited {number}"}]}}
        for number, name in enumerate(objects[EVERY // 2 :: EVERY])
    ]
    body = json.dumps({"change": changes}).encode()
    order = urllib.request.Request(
        f"{known['vendors']}/_emulator/spotio", data=body, method="POST", headers={"content-type": "application/json"}
    )
    urllib.request.urlopen(order).close()


def _vendor_calls(known: dict[str, Any]) -> int:
    return sum(_get(f"{known['vendors']}/_emulator/spotio/calls").values())


def _get(url: str) -> Any:
    with urllib.request.urlopen(url) as reply:
        return json.load(reply)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
