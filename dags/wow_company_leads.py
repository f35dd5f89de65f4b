"""Company leads of WOW Analytics: are they in Salesforce already? Hourly; people decide, and new Leads are created. See README.md."""

from datetime import datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from salesforce_sync.operators.alerts import alert_on_timeout
from salesforce_sync.operators.check import CheckSalesforceOperator, CheckVendorOperator
from salesforce_sync.operators.params import dry_run
from salesforce_sync.operators.retry import default_args
from salesforce_sync.systems.wow.operators import CreateLeadsOperator, MatchLeadsOperator, ReadLeadsOperator
from salesforce_sync.systems.wow.settings import SETTINGS

with DAG(
    dag_id="wow_company_leads",
    description="WOW Analytics company leads -> matched with Accounts, decided by people, created as Leads",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("20 * * * *", timezone="UTC", run_immediately=True),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    dagrun_timeout=timedelta(hours=6),
    on_failure_callback=alert_on_timeout,
    tags=["wow", "salesforce"],
    params=dry_run(),
) as dag:
    check_salesforce = CheckSalesforceOperator(
        task_id="check_salesforce",
        system="wow",
        mappings=["wow/leads"],
        reads={"Account": ["Name"], "Contact": ["Email", "AccountId"], "User": ["Name"]},
        settings=SETTINGS,
        fresh=False,
    )
    check_wow = CheckVendorOperator(task_id="check_wow", system="wow")
    extract = ReadLeadsOperator(task_id="extract")
    match = MatchLeadsOperator(task_id="match")
    load = CreateLeadsOperator(task_id="load")
    check_wow >> extract
    [check_salesforce, extract] >> match >> load
