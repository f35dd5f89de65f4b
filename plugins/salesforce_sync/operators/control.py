"""What people decide, as tasks of the DAG sync_control: plans let pass or rejected, undo, replay, and the question in
Airflow's Required Actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from salesforce_sync.operators.base import SyncOperator, log, salesforce_context, staging, vendor, vendor_context

if TYPE_CHECKING:
    from salesforce_sync.engine.undo import Undone

LIST, ALLOW, REJECT, UNDO, LET_IN, REPLAY, RESOLVE = "list", "allow", "reject", "undo", "let in", "replay", "resolve"
ACTIONS = (LIST, ALLOW, REJECT, UNDO, LET_IN, REPLAY, RESOLVE)


class ControlOperator(SyncOperator):
    """Does what the run parameter `action` says, in the name of the person who triggered the run. Returns the outcome, and
    under `dags` the DAGs that are to run now."""

    def run_step(self, context: Any) -> dict[str, Any]:
        params = context["params"]
        action = params["action"]
        person = getattr(context["dag_run"], "triggering_user_name", None) or "somebody"
        if action in (ALLOW, REJECT):
            return self._decide(context, allow=action == ALLOW, person=person)
        if action == UNDO:
            return self._undo(context, person)
        if action == LET_IN:
            return self._let_in(context, person)
        if action in (REPLAY, RESOLVE):
            return self._letters(context, action, person)
        return self._list(context)

    def _list(self, context: Any) -> dict[str, Any]:
        from salesforce_sync.engine.control import waiting
        from salesforce_sync.engine.gate import described
        from salesforce_sync.state import dead_letters
        from salesforce_sync.state.engine import open_state, reading

        with reading(open_state()) as connection:
            found = waiting(connection)
            letters = dead_letters.counts(connection)
        for plan in found:
            who = f"allowed by {plan.decided_by}, to be written by the next run" if plan.decided_by else described(plan)
            made = f"{plan.made_at:%Y-%m-%d %H:%M} UTC"
            log.info("Plan %d, made %s by %s %s: %s", plan.id, made, plan.dag_id, plan.run_id, who)
            log.info("  its figures and first changes: %s/summary.json", plan.path)
        for (mapping, code), count in letters.items():
            log.info("%s refused records of %s: %s", f"{count:,}", mapping, code)
        if not found:
            log.info("No plan waits for a person.")
        return {"plans": [plan.id for plan in found], "dags": []}

    def _decide(self, context: Any, *, allow: bool, person: str) -> dict[str, Any]:
        from salesforce_sync.engine.control import decide
        from salesforce_sync.errors import InvalidParameter

        params = context["params"]
        if params["plan"] is None:
            raise InvalidParameter(
                "No plan is named.", fix="Name its id in the parameter `plan`; the action `list` shows it."
            )
        with vendor_context(context) as work:
            plan = decide(work, int(params["plan"]), allow=allow, person=person, reason=params["reason"] or "")
        return {"plan": plan.id, "status": plan.status, "dags": [plan.dag_id] if allow and plan.dag_id else []}

    def _undo(self, context: Any, person: str) -> dict[str, Any]:
        from salesforce_sync.engine.two_way.end import TwoWay
        from salesforce_sync.engine.two_way.sides import Rules
        from salesforce_sync.engine.two_way.undoing import undo_both_ways
        from salesforce_sync.engine.undo import AtVendor, InSalesforce, Selection, check_selection, undo
        from salesforce_sync.mapping.loader import load_mapping

        params = context["params"]
        selection = Selection(
            params["dag"] or "", params["run"] or "", frozenset(params["records"] or ()), frozenset(params["fields"] or ()),
            bool(params["delete_created"]),
        )  # fmt: skip
        check_selection(selection)
        done: dict[str, Undone] = {}
        with salesforce_context(context) as work:
            for name in self._mappings(params):
                mapping = load_mapping(name)
                system = name.partition("/")[0]
                if mapping.direction == "both":
                    end = TwoWay(work, name, mapping, vendor(context, system), Rules())
                    done[name] = undo_both_ways(end, system, selection, person=person)
                elif mapping.direction == "to_salesforce":
                    done[name] = undo(work, name, mapping, InSalesforce(work, name, mapping), selection, person=person)
                else:
                    side = AtVendor(system, mapping, vendor(context, system))
                    done[name] = undo(work, name, mapping, side, selection, person=person)
        return {
            name: {"restored": item.restored, "deleted": item.deleted, "left_alone": len(item.left)} for name, item in done.items()
        } | {"dags": []}  # fmt: skip

    def _mappings(self, params: Any) -> list[str]:
        """The mapping that is named, or those that the run, or the records, are about."""
        from salesforce_sync.errors import InvalidParameter
        from salesforce_sync.mapping.loader import flow_of, is_mapping
        from salesforce_sync.state import links, pairs, runs
        from salesforce_sync.state.engine import open_state, reading

        if params["mapping"]:
            return [flow_of(params["mapping"]) or params["mapping"]]
        with reading(open_state()) as connection:
            if params["run"]:
                steps = runs.named(connection, params["run"], params["dag"] or "")
                dags = sorted({dag for dag, _ in steps})
                if len(dags) > 1:
                    raise InvalidParameter(
                        f"Several DAGs have a run {params['run']}: {', '.join(dags)}.",
                        fix="Name one in the parameter `dag`.",
                    )
                names = [step for _, step in steps if is_mapping(step) or flow_of(step)]
            else:
                records = params["records"]
                names = [link.mapping for name in records for link in links.of_record(connection, name)]
                names += [flow for name in records for flow, _ in pairs.of_record(connection, name)]
        names = sorted({flow_of(name) or name for name in names})
        if not names:
            raise InvalidParameter(
                f"Nothing is known of {params['run'] or ', '.join(params['records'])}.",
                fix="Name a run id as Airflow shows it, or a record by the vendor's id or the Salesforce id.",
            )
        return names

    def _let_in(self, context: Any, person: str) -> dict[str, Any]:
        from salesforce_sync.engine.control import dags_of, let_in
        from salesforce_sync.errors import InvalidParameter
        from salesforce_sync.state.engine import reading

        params = context["params"]
        if not params["mapping"] or not params["records"]:
            raise InvalidParameter("Records are let in by mapping and id.", fix="Name them in `mapping` and `records`.")
        with vendor_context(context) as work:
            found = let_in(work, params["mapping"], params["records"], person=person)
            with reading(work.state) as connection:
                dags = dags_of(connection, [params["mapping"]])
        log.info("%d records are let in again: %s", len(found), ", ".join(found))
        return {"let_in": len(found), "dags": dags if found else []}

    def _letters(self, context: Any, action: str, person: str) -> dict[str, Any]:
        from salesforce_sync.engine.control import dags_of, replay, resolve
        from salesforce_sync.state.dead_letters import Letters
        from salesforce_sync.state.engine import reading

        params = context["params"]
        letters = Letters(params["mapping"] or "", params["code"] or "", params["records"] or [])
        with vendor_context(context) as work:
            if action == RESOLVE:
                counts = resolve(work, letters, person=person, reason=params["reason"] or "")
                log.info("Resolved: %s", counts or "nothing")
                return {"resolved": counts, "dags": []}
            counts = replay(work, letters)
            # What waits for a key is looked at by every run of its flow, so a mapping that is named runs in any case.
            mappings = {*counts, *([params["mapping"]] if params["mapping"] else [])}
            with reading(work.state) as connection:
                dags = dags_of(connection, sorted(mappings))
        log.info("Due now: %s; read and sent again by %s", counts or "nothing", ", ".join(dags) or "no DAG")
        return {"due": counts, "dags": dags}


class AskOperator(ApprovalOperator):
    """Asks people, in Airflow's Required Actions, about the oldest plan that waits and that nobody was asked about; skipped
    when there is none, and in a run that does something else. Returns the DAGs that are to run now."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(subject="A plan waits", body="", **kwargs)

    def execute(self, context: Any) -> Any:
        from salesforce_sync.engine.gate import described
        from salesforce_sync.state import plans
        from salesforce_sync.state.engine import open_state

        if context["params"]["action"] != LIST:
            raise AirflowSkipException("This run was triggered for something else.")
        with open_state().begin() as connection:
            plan = plans.asked_in(connection, context["run_id"]) or plans.ask(connection, context["run_id"])
        if plan is not None and plan.status == plans.ALLOWED:
            return [plan.dag_id]  # this is a later try, and the answer of an earlier one is kept
        if plan is None or plan.status != plans.HELD:
            raise AirflowSkipException("No plan waits for a question.")
        self.subject = f"Plan {plan.id}: {plan.target}"
        # Airflow shows a block of code as one paragraph. A list has a line for each of its items, and code in it is not
        # read as Markdown.
        self.body = "\n".join([described(plan), "", *(f"- `{line.strip()}`" for line in _shown(plan.path))])
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> list[str]:
        from salesforce_sync.engine.control import decide
        from salesforce_sync.errors import InvalidParameter
        from salesforce_sync.state import plans
        from salesforce_sync.state.engine import open_state, reading

        if "error" in event:
            self.process_trigger_event_error(event)
        chosen, person = event["chosen_options"], event.get("responded_by_user") or {}
        with reading(open_state()) as connection:
            plan = plans.asked_in(connection, context["run_id"])
        assert plan is not None, "the question belongs to no plan"
        allow = self.APPROVE in chosen
        name = person.get("name") or person.get("id") or "somebody"
        try:
            with vendor_context(context) as work:
                decide(work, plan.id, allow=allow, person=str(name), reason="Required Actions")
        except InvalidParameter as error:
            log.warning("%s", error)  # somebody was faster, or the plan came to nothing
            return []
        return [plan.dag_id] if allow and plan.dag_id else []


class FlowsOperator(SyncOperator):
    """The DAGs that are to run now, after what people decided, as parameters of what triggers them."""

    def run_step(self, context: Any) -> list[dict[str, str]]:
        done = context["ti"].xcom_pull(task_ids="control") or {}
        asked = context["ti"].xcom_pull(task_ids="ask") or []
        return [{"trigger_dag_id": dag} for dag in sorted({*done.get("dags", []), *asked})]


def _shown(path: str) -> list[str]:
    """The plan's summary, a line at a time; nothing when it is gone."""
    from salesforce_sync.engine.summary import FILE, Summary
    from salesforce_sync.errors import StagingFailed

    store = staging()
    try:
        return list(Summary.read(store.read_json(store.place(path) / FILE)).lines())
    except StagingFailed:
        return []
