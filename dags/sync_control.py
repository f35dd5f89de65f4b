"""What people decide: plans that wait are let pass or rejected, runs are undone, refused records are tried again. See docs/plans.md."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, CronTriggerTimetable, Param

from salesforce_sync.operators.alerts import alert_on_timeout
from salesforce_sync.operators.control import ACTIONS, LIST, AskOperator, ControlOperator, FlowsOperator
from salesforce_sync.operators.params import dry_run
from salesforce_sync.operators.retry import default_args

with DAG(
    dag_id="sync_control",
    description="Lists plans that wait, lets them pass or rejects them; undo, replay",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC", run_immediately=True),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=100,  # a run whose question waits for an answer stands in nobody's way
    default_args=default_args(),
    dagrun_timeout=timedelta(days=31),
    on_failure_callback=alert_on_timeout,
    tags=["salesforce"],
    params={
        "action": Param(LIST, enum=list(ACTIONS), title="Action", description="What to do. list shows what waits, and changes nothing."),
        "plan": Param(None, type=["null", "integer"], title="Plan", description="For allow and reject: the plan's id."),
        "reason": Param(None, type=["null", "string"], title="Reason", description="Why; resolve needs one."),
        "run": Param(
            None, type=["null", "string"], title="Run",
            description="For undo: the id of the DAG run. Without it, the last thing that was written of the records.",
        ),
        "dag": Param(None, type=["null", "string"], title="DAG", description="For undo: the run's DAG, where several have a run of this id."),
        "mapping": Param(
            None, type=["null", "string"], title="Mapping",
            description="For undo, let in, replay, resolve: peerspot/activities, say.",
        ),
        "records": Param(
            [], type=["null", "array"], items={"type": "string"}, title="Records",
            description="Ids of records: the vendor's or Salesforce's. For replay and resolve without them: all that fit.",
        ),
        "fields": Param(
            [], type=["null", "array"], items={"type": "string"}, title="Fields", description="For undo: these fields alone.",
        ),
        "code": Param(None, type=["null", "string"], title="Code", description="For replay and resolve: why the records were refused."),
        "delete_created": Param(
            False, type="boolean", title="Delete created records",
            description="For undo: also delete what the run created, where nobody has touched it since.",
        ),
        **dry_run(),
    },
) as dag:  # fmt: skip
    control = ControlOperator(task_id="control")
    # Asked once, and open for as long as the plan is kept.
    ask = AskOperator(task_id="ask", response_timeout=timedelta(days=30))
    flows = FlowsOperator(task_id="flows", trigger_rule="none_failed")
    go_on = TriggerDagRunOperator.partial(task_id="go_on").expand_kwargs(flows.output)
    control >> ask >> flows
