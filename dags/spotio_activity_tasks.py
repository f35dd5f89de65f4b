"""What people do in SPOTIO becomes Tasks in Salesforce, every ten minutes: see docs/runbooks/spotio.md."""

from datetime import datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from salesforce_sync.operators.alerts import alert_on_timeout
from salesforce_sync.operators.check import CheckSalesforceOperator, CheckVendorOperator
from salesforce_sync.operators.deliver import DeliverOperator
from salesforce_sync.operators.params import dry_run
from salesforce_sync.operators.retry import default_args
from salesforce_sync.systems.spotio.operators import ReadActivitiesOperator
from salesforce_sync.systems.spotio.settings import LOOKBACK, TARGET

ACTIVITIES = "spotio/activities"

with DAG(
    dag_id="spotio_activity_tasks",
    description="SPOTIO activities -> Salesforce Tasks",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("5-59/10 * * * *", timezone="UTC", run_immediately=True),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    dagrun_timeout=timedelta(hours=6),
    on_failure_callback=alert_on_timeout,
    tags=["spotio", "salesforce"],
    params={
        "resend": Param(
            False, type="boolean", title="Send unchanged records again",
            description="For Tasks that were changed or deleted in Salesforce by hand.",
        ),
        **dry_run(),
    },
) as dag:  # fmt: skip
    check_salesforce = CheckSalesforceOperator(
        task_id="check_salesforce", system="spotio", mappings=[ACTIVITIES], settings=[LOOKBACK, TARGET], fresh=False
    )
    check_spotio = CheckVendorOperator(task_id="check_spotio", system="spotio")
    extract = ReadActivitiesOperator(task_id="extract", system="spotio", mapping=ACTIVITIES, flow=TARGET)
    load = DeliverOperator(task_id="load", mapping=ACTIVITIES)
    check_spotio >> extract
    [check_salesforce, extract] >> load
