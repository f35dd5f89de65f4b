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
    os.environ["AIRFLOW_VAR_DEPLOYTEQ_CREDENTIALS"] = json.dumps(
        {
            "wsdl_url": f"{known['vendors']}/deployteq/app/api/soap/public/index.php?wsdl",
            **known["vendor_credentials"]["deployteq"],
        }
    )
    from salesforce_sync.steps.changes import stage_changes
    from salesforce_sync.steps.context import StepContext, VendorContext
    from salesforce_sync.steps.load import Source
    from salesforce_sync.steps.push import org_of, push

    from salesforce_sync.hooks.deployteq import DeployteqHook
    from salesforce_sync.mapping.loader import load_mapping
    from salesforce_sync.records import RunIdentity
    from salesforce_sync.salesforce.client import SalesforceClient
    from salesforce_sync.salesforce.session import Session
    from salesforce_sync.salesforce.signin import ClientCredentials
    from salesforce_sync.staging import Staging
    from salesforce_sync.state.engine import open_state

    DeployteqHook.requests_per_second = 1_000_000
    name, run, staging = "deployteq/contacts", RunIdentity("bench", "run", "task"), Staging(folder / "staging")
    mapping, state = load_mapping(name), open_state(f"sqlite:///{folder / 'state.db'}")
    keys = known["credentials"]
    client = SalesforceClient(
        Session(ClientCredentials(known["salesforce"], keys["consumer_key"], keys["consumer_secret"]))
    )
    started = time.perf_counter()
    batches = stage_changes(StepContext(client, state, run), name, mapping, staging)
    extracted = time.perf_counter()
    loaded = push(
        VendorContext(org_of(batches), state, run), name, mapping, Source.staged(batches, staging), DeployteqHook()
    )
    pushed = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {
        "extract_seconds": extracted - started,
        "push_seconds": pushed - extracted,
        "megabytes": peak,
        "created": loaded.counts.created,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
