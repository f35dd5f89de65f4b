"""What Deployteq campaigns send to Salesforce, each outcome told: the Salesforce Synchronize object. See docs/runbooks/deployteq.md."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, CronTriggerTimetable

from salesforce_sync.operators.alerts import alert_on_timeout
from salesforce_sync.operators.check import CheckSalesforceOperator, CheckVendorOperator
from salesforce_sync.operators.deliver import DeliverOperator
from salesforce_sync.operators.params import dry_run
from salesforce_sync.operators.retry import default_args
from salesforce_sync.systems.deployteq.operators import ReadQueueOperator, TellOutcomesOperator
from salesforce_sync.systems.deployteq.settings import SYNCHRONIZE

MAPPINGS = {"contacts": "deployteq/synchronize_contacts", "leads": "deployteq/synchronize_leads"}

with DAG(
    dag_id="deployteq_campaign_sync",
    description="Customers that a Deployteq campaign queued -> their Leads and Contacts in Salesforce",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("*/15 * * * *", timezone="UTC", run_immediately=True),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    dagrun_timeout=timedelta(hours=6),
    on_failure_callback=alert_on_timeout,
    tags=["deployteq", "salesforce"],
    params=dry_run(),
) as dag:
    check_salesforce = CheckSalesforceOperator(
        task_id="check_salesforce",
        system="deployteq",
        mappings=[*MAPPINGS.values()],
        settings=[SYNCHRONIZE],
        fresh=False,
    )
    # A run is judged by its last task: this one fails with any task before it, which the reports alone would hide.
    done = EmptyOperator(task_id="done", trigger_rule="none_failed")
    check_deployteq = CheckVendorOperator(task_id="check_deployteq", system="deployteq")
    for kind, mapping in MAPPINGS.items():
        extract = ReadQueueOperator(task_id=f"extract_{kind}", system="deployteq", kind=kind, mapping=mapping)
        load = DeliverOperator(task_id=f"load_{kind}", mapping=mapping)
        # Whatever became of the load: what it did deliver, or refuse, is told.
        report = TellOutcomesOperator(
            task_id=f"report_{kind}",
            system="deployteq",
            kind=kind,
            mapping=mapping,
            trigger_rule="all_done_min_one_success",
        )
        check_deployteq >> extract
        [check_salesforce, extract] >> load
        [extract, load] >> report
        [load, report] >> done
