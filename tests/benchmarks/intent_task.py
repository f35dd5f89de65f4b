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
    from salesforce_sync.steps.companies import COMPANIES, companies
    from salesforce_sync.steps.context import StepContext
    from salesforce_sync.steps.extract import extract
    from salesforce_sync.steps.load import Source, load
    from salesforce_sync.steps.process import ProcessMappings, process
    from salesforce_sync.steps.purge import PurgeRule, purge

    from salesforce_sync.mapping.loader import load_mapping
    from salesforce_sync.records import BatchRef, RunIdentity
    from salesforce_sync.salesforce.client import SalesforceClient
    from salesforce_sync.salesforce.session import Session
    from salesforce_sync.salesforce.signin import ClientCredentials
    from salesforce_sync.staging import Staging
    from salesforce_sync.state.engine import open_state
    from salesforce_sync.windows import DateWindow

    salesforce = ClientCredentials(
        known["salesforce"], known["credentials"]["consumer_key"], known["credentials"]["consumer_secret"]
    )
    client = SalesforceClient(Session(salesforce))
    context = StepContext(
        client, open_state(f"sqlite:///{folder / 'state.db'}"), RunIdentity("peerspot_intent", run_id, task)
    )
    mapping, staging = load_mapping("peerspot/activities"), Staging(folder / "staging")
    today = datetime.now(UTC).date()
    handover = folder / f"{run_id}.json"
    started = time.perf_counter()
    if task == "extract":
        credentials = {"base_url": f"{known['vendors']}/peerspot", **known["vendor_credentials"]["peerspot"]}
        os.environ["AIRFLOW_VAR_PEERSPOT_CREDENTIALS"] = json.dumps(credentials)
        from salesforce_sync.hooks.peerspot import PeerSpotHook

        window = DateWindow(today - timedelta(days=31), today - timedelta(days=2))
        batches = extract(PeerSpotHook(), mapping, window, staging, context.run)
        handover.write_text(json.dumps([batch.as_xcom() for batch in batches]))
    elif task == "load":
        batches = [BatchRef.from_xcom(item) for item in json.loads(handover.read_text())]
        load(context, "peerspot/activities", mapping, Source.staged(batches, staging))
    elif task == "process":
        mappings = ProcessMappings(load_mapping("peerspot/vendor_products"), load_mapping("peerspot/activity_products"))
        process(context, mappings, account_choice="parentless_oldest")
    elif task == "companies":
        companies(context, load_mapping(COMPANIES), today=today)
    else:
        rule = PurgeRule(
            "peerspot/clean",
            "PeerSpot_Activity__c",
            "Date_Visited__c",
            "PeerSpot_External_Id__c",
            "peerspot/activities",
            180,
            today,
        )
        purge(context, rule, sync_log_days=90)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {"seconds": round(seconds, 2), "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]))
