"""PeerSpot buyer-intent activities into Salesforce, daily: extract, process, clean. README.md says how to run and backfill it."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param

from salesforce_sync.operators.alerts import alert_on_timeout
from salesforce_sync.operators.check import CheckSalesforceOperator, CheckVendorOperator
from salesforce_sync.operators.clean import CleanOperator
from salesforce_sync.operators.deliver import DeliverOperator
from salesforce_sync.operators.params import dry_run
from salesforce_sync.operators.read import ReadDaysOperator
from salesforce_sync.operators.retry import default_args
from salesforce_sync.systems.peerspot.operators import CompaniesOperator, ProcessActivitiesOperator, SignalsOperator
from salesforce_sync.systems.peerspot.settings import (
    ACCOUNT_CHOICE,
    CATCH_UP_DAYS,
    RETENTION_DAYS,
    SIGNALS,
    peerspot_slot,
)
from salesforce_sync.systems.peerspot.timetable import DAYS_BEHIND, IntentTimetable

STEPS = ["extract", "process", "signals", "clean"]
ACTIVITIES = "peerspot/activities"
COMPANIES = "peerspot/companies"

with DAG(
    dag_id="peerspot_intent",
    description="PeerSpot buyer-intent activities -> Salesforce, matched to Accounts by domain",
    doc_md=__doc__,
    schedule=IntentTimetable(at=peerspot_slot()),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args=default_args(),
    dagrun_timeout=timedelta(hours=12),
    on_failure_callback=alert_on_timeout,
    tags=["peerspot", "salesforce"],
    params={
        "start_date": Param(
            None, type=["null", "string"], format="date", title="Start Date",
            description="First day to extract; needs an End Date. Both empty: the day of a backfilled run, else the day before yesterday.",
        ),
        "end_date": Param(
            None, type=["null", "string"], format="date", title="End Date",
            description="Last day to extract, inclusive; the same as Start Date for one day.",
        ),
        "steps": Param(
            STEPS, type="array", items={"type": "string", "enum": STEPS}, examples=STEPS, title="Steps",
            description="What to run: the Extractor, the Processor, the signals, the Cleaner.",
        ),
        "resend": Param(
            False, type="boolean", title="Send unchanged records again",
            description="For records that were changed or deleted in Salesforce by hand.",
        ),
        **dry_run(),
    },
) as dag:  # fmt: skip
    check_salesforce = CheckSalesforceOperator(
        task_id="check_salesforce",
        system="peerspot",
        mappings=[ACTIVITIES, COMPANIES, "peerspot/vendor_products"],
        reads={
            "Account": ["Website", "ParentId", "CreatedDate", "SystemModstamp"],
            "PeerSpot_Activity_Product__c": ["PeerSpot_External_Id__c", "Activity__c", "Vendor_Product__c"],
        },
        settings=[ACCOUNT_CHOICE, SIGNALS],
        days_behind=DAYS_BEHIND,
    )
    check_peerspot = CheckVendorOperator(task_id="check_peerspot", step="extract", system="peerspot")
    extract = ReadDaysOperator(
        task_id="extract",
        task_display_name="PeerSpot Activity Extractor",
        step="extract",
        system="peerspot",
        mapping=ACTIVITIES,
        catch_up=CATCH_UP_DAYS,
        keep=RETENTION_DAYS,
        days_behind=DAYS_BEHIND,
    )
    load = DeliverOperator(task_id="load", step="extract", mapping=ACTIVITIES)
    process = ProcessActivitiesOperator(
        task_id="process",
        task_display_name="PeerSpot Activity Processor",
        step="process",
        trigger_rule="none_failed",  # runs alone when the run was triggered with this step only
    )
    companies = CompaniesOperator(task_id="companies", step="process", trigger_rule="none_failed")
    signals = SignalsOperator(task_id="signals", step="signals", trigger_rule="none_failed")
    clean = CleanOperator(
        task_id="clean",
        task_display_name="PeerSpot Activity Cleaner",
        step="clean",
        name="peerspot/clean",
        object="PeerSpot_Activity__c",
        date_field="Date_Visited__c",
        record_id_field="PeerSpot_External_Id__c",
        mapping=ACTIVITIES,
        keep=RETENTION_DAYS,
        trigger_rule="all_done",  # retention holds whatever became of the steps before
    )
    clean_companies = CleanOperator(
        task_id="clean_companies",
        step="clean",
        name="peerspot/clean_companies",
        object="PeerSpot_Company__c",
        date_field="Last_Visit__c",
        record_id_field="Domain__c",
        mapping=COMPANIES,
        keep=RETENTION_DAYS,
        trigger_rule="none_failed",
    )
    # A run is judged by its last task: this one fails with any task before it, which `clean` alone would hide.
    done = EmptyOperator(task_id="done", trigger_rule="none_failed")
    check_peerspot >> extract
    [check_salesforce, extract] >> load >> process
    check_salesforce >> process
    process >> [companies, signals] >> clean >> clean_companies
    [companies, signals, clean, clean_companies] >> done
