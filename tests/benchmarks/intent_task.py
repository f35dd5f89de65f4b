"""One task of the intent DAG in a process of its own: python intent_task.py TASK RUN_ID FOLDER EMULATORS_JSON

Prints {"seconds", "megabytes"}: the step's own time, and the process's peak resident memory.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import airflow.sdk  # noqa: F401 - a task has it in memory, so the measurement has it too


def main(task: str, run_id: str, folder: Path, known: dict[str, Any]) -> None:
    from support.flows import Intent
    from support.kills import RemoteWorld

    keys = known["credentials"]
    world = RemoteWorld(known["salesforce"], keys["consumer_key"], keys["consumer_secret"])
    today = datetime.now(UTC).date()
    intent = Intent(world, f"sqlite:///{folder / 'state.db'}", folder, run_id, today)  # type: ignore[arg-type]
    if task == "extract":
        os.environ["AIRFLOW_VAR_PEERSPOT_CREDENTIALS"] = json.dumps(known["vendor_credentials"]["peerspot"])
    started = time.perf_counter()
    if task == "extract":
        from salesforce_sync.systems import vendor_hook

        intent.extract(vendor_hook("peerspot"), first=today - timedelta(days=31), last=today - timedelta(days=2))
    else:
        getattr(intent, task)()
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {"seconds": round(seconds, 2), "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]))
