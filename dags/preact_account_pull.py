"""Account data out of Salesforce to Preact, daily: what changed is sent, formula fields included. See README.md."""

from datetime import datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from salesforce_sync.operators.alerts import alert_on_timeout
from salesforce_sync.operators.check import CheckSalesforceOperator, CheckVendorOperator
from salesforce_sync.operators.deliver import DeliverToVendorOperator
from salesforce_sync.operators.params import dry_run
from salesforce_sync.operators.read import ReadChangesOperator
from salesforce_sync.operators.retry import default_args
from salesforce_sync.systems.preact.settings import ACCOUNT_DATA, PERSON_DATA

MAPPINGS = [ACCOUNT_DATA, PERSON_DATA]

with DAG(
    dag_id="preact_account_pull",
    description="Salesforce Accounts and Contacts -> Preact accounts and people",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 3 * * *", timezone="UTC", run_immediately=True),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    dagrun_timeout=timedelta(hours=12),
    on_failure_callback=alert_on_timeout,
    tags=["preact", "salesforce"],
    params={
        "full_sync": Param(
            False, type="boolean", title="Full sync",
            description="Read all Accounts and Contacts, not only those that changed: after a mapping was changed.",
        ),
        "resend": Param(
            False, type="boolean", title="Send unchanged records again",
            description="For what was changed at Preact by hand.",
        ),
        **dry_run(),
    },
) as dag:  # fmt: skip
    check_salesforce = CheckSalesforceOperator(
        task_id="check_salesforce", system="preact", mappings=MAPPINGS, settings=MAPPINGS
    )
    check_preact = CheckVendorOperator(task_id="check_preact", system="preact")
    extract = ReadChangesOperator(task_id="extract", mappings=MAPPINGS)
    push_accounts = DeliverToVendorOperator(task_id="push_accounts", system="preact", mappings=[ACCOUNT_DATA])
    push_people = DeliverToVendorOperator(task_id="push_people", system="preact", mappings=[PERSON_DATA])
    check_salesforce >> extract
    [check_preact, extract] >> push_accounts
    [check_preact, extract] >> push_people
