"""What differs between Salesforce and the other side, since when, and why: weekly, and for one mapping by hand. See docs/plans.md."""

from datetime import datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from salesforce_sync.operators.alerts import alert_on_timeout
from salesforce_sync.operators.compare import CompareBothWaysOperator, CompareDaysOperator, CompareWithVendorOperator
from salesforce_sync.operators.retry import default_args
from salesforce_sync.systems.deployteq.settings import DELETED
from salesforce_sync.systems.peerspot.timetable import DAYS_BEHIND
from salesforce_sync.systems.preact.operators import CompareMetricsOperator
from salesforce_sync.systems.preact.settings import ACCOUNT_DATA, ACCOUNT_METRICS, PERSON_DATA, PERSON_METRICS
from salesforce_sync.systems.spotio.settings import CONFLICTS, INITIAL_IMPORT, TARGET
from salesforce_sync.systems.spotio.settings import DELETED as SPOTIO_DELETED

ACTIVITIES, CUSTOMERS = "peerspot/activities", ["deployteq/contacts", "deployteq/leads"]
EXAMPLES = [ACTIVITIES, *CUSTOMERS, "spotio/leads", "spotio/accounts", "preact/account_metrics", "preact/account_data"]

with DAG(
    dag_id="sync_compare",
    description="Reads both sides, and tells what differs and why",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("0 5 * * 6", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args=default_args(),
    dagrun_timeout=timedelta(hours=12),
    on_failure_callback=alert_on_timeout,
    tags=["salesforce"],
    params={
        "mapping": Param(
            None, type=["null", "string"], examples=EXAMPLES, title="Mapping", description="This one alone; empty: all.",
        ),
        "days": Param(30, type="integer", minimum=1, maximum=365, title="Days", description="How many days of PeerSpot's activity."),
    },
) as dag:  # fmt: skip
    CompareDaysOperator(task_id="activities", system="peerspot", mapping=ACTIVITIES, days_behind=DAYS_BEHIND)
    CompareBothWaysOperator(
        task_id="records",
        system="spotio",
        flow=TARGET,
        conflicts=CONFLICTS,
        first=INITIAL_IMPORT,
        deleted=SPOTIO_DELETED,
    )
    CompareWithVendorOperator(task_id="customers", system="deployteq", mappings=CUSTOMERS, deleted=DELETED)
    CompareMetricsOperator(task_id="account_metrics", system="preact", mappings=[ACCOUNT_METRICS])
    CompareMetricsOperator(task_id="person_metrics", system="preact", mappings=[PERSON_METRICS])
    CompareWithVendorOperator(task_id="account_data", system="preact", mappings=[ACCOUNT_DATA])
    CompareWithVendorOperator(task_id="person_data", system="preact", mappings=[PERSON_DATA])
