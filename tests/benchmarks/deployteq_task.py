"""A first sync of Contacts to Deployteq in a process of its own: python -m benchmarks.deployteq_task FOLDER EMULATORS_JSON

Prints {"extract_seconds", "push_seconds", "megabytes", "created"}. The hook's pace, a politeness of its own, is switched off.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import airflow.sdk  # noqa: F401 - a task has it in memory, so the measurement has it too


def main(folder: Path, known: dict[str, Any]) -> None:
    os.environ["AIRFLOW_VAR_DEPLOYTEQ_CREDENTIALS"] = json.dumps(known["vendor_credentials"]["deployteq"])
    from salesforce_sync.mapping.loader import load_mapping
    from salesforce_sync.state.engine import open_state
    from salesforce_sync.systems import vendor_hook
    from support.flows import Poll
    from support.kills import RemoteWorld

    hook = vendor_hook("deployteq")
    type(hook).requests_per_second = 1_000_000
    keys = known["credentials"]
    world = RemoteWorld(known["salesforce"], keys["consumer_key"], keys["consumer_secret"])
    name = "deployteq/contacts"
    state = open_state(f"sqlite:///{folder / 'state.db'}")
    poll = Poll(world, state, folder / "staging", hook, {name: load_mapping(name)})  # type: ignore[arg-type]
    started = time.perf_counter()
    poll.extract()
    extracted = time.perf_counter()
    counts = poll.push()[name]
    pushed = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {
        "extract_seconds": extracted - started,
        "push_seconds": pushed - extracted,
        "megabytes": peak,
        "created": counts.created,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
