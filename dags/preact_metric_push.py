"""Health metrics of Preact, a database or a file to Salesforce Accounts and Contacts, daily: what changed is sent. See README.md."""

from datetime import datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from salesforce_sync.operators.alerts import alert_on_timeout
from salesforce_sync.operators.check import CheckSalesforceOperator
from salesforce_sync.operators.deliver import DeliverOperator
from salesforce_sync.operators.params import dry_run
from salesforce_sync.operators.retry import default_args
from salesforce_sync.systems.preact.operators import CheckMetricsOperator, ReadMetricsOperator
from salesforce_sync.systems.preact.settings import ACCOUNT_METRICS, PERSON_METRICS, SETTINGS

MAPPINGS = [ACCOUNT_METRICS, PERSON_METRICS]

with DAG(
    dag_id="preact_metric_push",
    description="Preact health metrics -> Salesforce Accounts and Contacts",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 4 * * *", timezone="UTC", run_immediately=True),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    dagrun_timeout=timedelta(hours=12),
    on_failure_callback=alert_on_timeout,
    tags=["preact", "salesforce"],
    params={
        "resend": Param(
            False, type="boolean", title="Send unchanged records again",
            description="For metrics that were changed or emptied in Salesforce by hand.",
        ),
        **dry_run(),
    },
) as dag:  # fmt: skip
    check_salesforce = CheckSalesforceOperator(
        task_id="check_salesforce", system="preact", mappings=MAPPINGS, settings=SETTINGS
    )
    check_metrics = CheckMetricsOperator(task_id="check_metrics")
    extract = ReadMetricsOperator(task_id="extract", mappings=MAPPINGS)
    load_accounts = DeliverOperator(task_id="load_accounts", mapping=ACCOUNT_METRICS)
    load_people = DeliverOperator(task_id="load_people", mapping=PERSON_METRICS)
    check_metrics >> extract
    [check_salesforce, extract] >> load_accounts
    [check_salesforce, extract] >> load_people
