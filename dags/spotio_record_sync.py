"""Salesforce Leads, or Accounts with their Contacts, and SPOTIO's records, kept equal both ways every ten minutes,
field by field: see docs/runbooks/spotio.md."""

from datetime import datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from salesforce_sync.operators.alerts import alert_on_timeout
from salesforce_sync.operators.check import CheckSalesforceOperator, CheckVendorOperator
from salesforce_sync.operators.deliver import KeepEqualOperator
from salesforce_sync.operators.params import dry_run
from salesforce_sync.operators.read import ReadOursOperator, ReadTheirsOperator
from salesforce_sync.operators.retry import default_args
from salesforce_sync.systems.spotio.settings import CONFLICTS, DELETED, INITIAL_IMPORT, LOOKBACK, SHADOW, TARGET

with DAG(
    dag_id="spotio_record_sync",
    description="Salesforce Leads or Accounts <-> SPOTIO records",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC", run_immediately=True),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    dagrun_timeout=timedelta(hours=6),
    on_failure_callback=alert_on_timeout,
    tags=["spotio", "salesforce"],
    params={
        "full_sync": Param(
            False, type="boolean", title="Full sync",
            description="Read all records of both sides, not only those that changed: after the mapping was changed.",
        ),
        **dry_run(),
    },
) as dag:  # fmt: skip
    check_salesforce = CheckSalesforceOperator(
        task_id="check_salesforce",
        system="spotio",
        flow=TARGET,
        settings=[TARGET, SHADOW, CONFLICTS, DELETED, INITIAL_IMPORT, LOOKBACK],
        fresh=False,
    )
    check_spotio = CheckVendorOperator(task_id="check_spotio", system="spotio")
    read_salesforce = ReadOursOperator(task_id="read_salesforce", flow=TARGET, shadow=SHADOW)
    read_spotio = ReadTheirsOperator(
        task_id="read_spotio", system="spotio", flow=TARGET, lookback=LOOKBACK, shadow=SHADOW
    )
    synchronize = KeepEqualOperator(
        task_id="synchronize",
        system="spotio",
        flow=TARGET,
        shadow=SHADOW,
        conflicts=CONFLICTS,
        first=INITIAL_IMPORT,
        deleted=DELETED,
    )
    check_salesforce >> read_salesforce
    check_spotio >> read_spotio
    [read_salesforce, read_spotio] >> synchronize
