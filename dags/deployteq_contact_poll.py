"""Salesforce Leads and Contacts to Deployteq, every ten minutes: what changed is sent, and nothing else is touched. See README.md."""

from datetime import datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from salesforce_sync.operators.alerts import alert_on_timeout
from salesforce_sync.operators.check import CheckSalesforceOperator, CheckVendorOperator
from salesforce_sync.operators.deliver import DeliverToVendorOperator
from salesforce_sync.operators.params import dry_run
from salesforce_sync.operators.read import ReadChangesOperator
from salesforce_sync.operators.retry import default_args
from salesforce_sync.systems.deployteq.settings import DELETED

MAPPINGS = [
    "deployteq/contacts",
    "deployteq/leads",
]  # Contacts first: a Lead with the e-mail address of a Contact is left to it

with DAG(
    dag_id="deployteq_contact_poll",
    description="Salesforce Leads and Contacts -> Deployteq customers",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC", run_immediately=True),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    dagrun_timeout=timedelta(hours=6),
    on_failure_callback=alert_on_timeout,
    tags=["deployteq", "salesforce"],
    params={
        "full_sync": Param(
            False, type="boolean", title="Full sync",
            description="Read all Leads and Contacts, not only those that changed: for the first time, or after a mapping was changed.",
        ),
        "resend": Param(
            False, type="boolean", title="Send unchanged records again",
            description="For customers that were changed or deleted at Deployteq by hand.",
        ),
        **dry_run(),
    },
) as dag:  # fmt: skip
    check_salesforce = CheckSalesforceOperator(
        task_id="check_salesforce",
        system="deployteq",
        mappings=MAPPINGS,
        settings=[DELETED],
        fresh=False,
    )
    check_deployteq = CheckVendorOperator(task_id="check_deployteq", system="deployteq")
    extract = ReadChangesOperator(task_id="extract", mappings=MAPPINGS)
    push = DeliverToVendorOperator(task_id="push", system="deployteq", mappings=MAPPINGS, deleted=DELETED)
    check_salesforce >> extract
    [check_deployteq, extract] >> push
