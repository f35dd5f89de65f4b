"""Every e-mail that Deployteq sent to a Lead or Contact, and what became of it, on that Lead or Contact; hourly. See README.md."""

from datetime import datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from salesforce_sync.operators.alerts import alert_on_timeout
from salesforce_sync.operators.check import CheckSalesforceOperator, CheckVendorOperator
from salesforce_sync.operators.deliver import DeliverOperator
from salesforce_sync.operators.params import dry_run
from salesforce_sync.operators.retry import default_args
from salesforce_sync.systems.deployteq.operators import ReadMomentsOperator
from salesforce_sync.systems.deployteq.settings import MOMENTS_DAYS

NAME = "deployteq/moments"
LEADS, CONTACTS = "deployteq/lead_moments", "deployteq/contact_moments"
BUDGET_SHARE = 75  # the rest of the API budget is left to what cannot wait

with DAG(
    dag_id="deployteq_contact_moments",
    description="Deployteq e-mails sent, opened, clicked, bounced -> Salesforce",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("5 * * * *", timezone="UTC", run_immediately=True),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    dagrun_timeout=timedelta(hours=12),
    on_failure_callback=alert_on_timeout,
    tags=["deployteq", "salesforce"],
    params={
        "resend": Param(
            False, type="boolean", title="Send unchanged records again",
            description="For contact moments that were changed or deleted in Salesforce by hand.",
        ),
        **dry_run(),
    },
) as dag:  # fmt: skip
    check_salesforce = CheckSalesforceOperator(
        task_id="check_salesforce",
        system="deployteq",
        mappings=[LEADS, CONTACTS],
        settings=[MOMENTS_DAYS],
        fresh=False,
    )
    check_deployteq = CheckVendorOperator(task_id="check_deployteq", system="deployteq")
    extract = ReadMomentsOperator(
        task_id="extract",
        system="deployteq",
        name=NAME,
        mappings={"Lead": LEADS, "Contact": CONTACTS},
        links_of=["deployteq/contacts", "deployteq/leads"],
    )
    load_leads = DeliverOperator(task_id="load_leads", mapping=LEADS, budget_share=BUDGET_SHARE)
    load_contacts = DeliverOperator(task_id="load_contacts", mapping=CONTACTS, budget_share=BUDGET_SHARE)
    check_deployteq >> extract
    [check_salesforce, extract] >> load_leads
    [check_salesforce, extract] >> load_contacts
