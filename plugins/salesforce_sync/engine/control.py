"""What people decide: which plan passes, what is tried again, and what is let in again. Every decision bears a name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from salesforce_sync.engine.brakes import UNKNOWN_PATH
from salesforce_sync.engine.context import Context
from salesforce_sync.engine.gate import chunks_of
from salesforce_sync.engine.plan import facts_of
from salesforce_sync.errors import InvalidParameter
from salesforce_sync.state import dead_letters, held_out, links, plans, runs, seen_paths
from salesforce_sync.state.dead_letters import Letters
from salesforce_sync.state.engine import reading
from salesforce_sync.state.held_out import HeldOut
from salesforce_sync.state.plans import Plan

log = logging.getLogger(__name__)

LET_IN = "LET_IN"


def decide(context: Context, plan_id: int, *, allow: bool, person: str, reason: str = "") -> Plan:
    """Lets the held plan pass, or rejects it; gives it as it is after that. Nothing is written by this: the next
    delivery of its target plans again, and writes what is still the same, or leaves out what was rejected.
    InvalidParameter when the plan is not held."""
    with reading(context.state) as connection:
        plan = plans.get(connection, plan_id)
    if plan is None:
        raise InvalidParameter(f"There is no plan {plan_id}.", fix="The action `list` shows the plans that wait.")
    rejected = [] if allow else list(_rows(context, plan, person))
    if not allow and not rejected and plan.status == plans.HELD:
        raise InvalidParameter(
            f"The files of plan {plan_id} are gone, so nobody knows what it was about.",
            fix="The next run plans again, and asks again.",
        )
    with context.state.begin() as connection:
        if not plans.decide(connection, plan_id, allow=allow, person=person, reason=reason):
            raise InvalidParameter(
                f"Plan {plan_id} of {plan.target} does not wait for a decision: it is {plan.status}{_by(plan)}.",
                fix="The action `list` shows the plans that wait. A plan that another one has replaced is decided by that one's id.",
            )
        held_out.add(connection, plan.org, rejected)
        if allow:
            _accept(connection, plan)
        decided = plans.get(connection, plan_id)
    assert decided is not None
    log.info("Plan %d of %s is %s by %s", plan_id, plan.target, decided.status, person)
    return decided


def _by(plan: Plan) -> str:
    return f", by {plan.decided_by}" if plan.decided_by else ""


def _accept(connection: Connection, plan: Plan) -> None:
    """A path that a person lets pass is a path that may be in no record."""
    for reason in plan.reasons:
        if reason.brake == UNKNOWN_PATH:
            seen_paths.add(connection, plan.org, reason.mapping, [reason.subject])


def _rows(context: Context, plan: Plan, person: str) -> Iterator[HeldOut]:
    """What is not to be written of the plan's records."""
    for chunk in chunks_of(context, plan):
        member = facts_of(chunk)["member"]
        for row in chunk.to_pylist():
            if not row.get("_extra") and row["_id"] is not None:
                yield HeldOut(member, str(row["_id"]), row["_fingerprint"], row.get("_origin"), plan.id, person)


def waiting(connection: Connection) -> list[Plan]:
    """The plans that wait for a person, and those that were let pass and are not written yet, of all orgs."""
    return [*plans.with_status(connection, plans.HELD), *plans.with_status(connection, plans.ALLOWED)]


# -- one record at a time ------------------------------------------------------------------------------------------


def let_in(context: Context, mapping: str, record_ids: Sequence[str], *, person: str) -> list[str]:
    """Records that were held out are read and written again, as soon as their flow runs; gives which."""
    org = context.org
    with context.state.begin() as connection:
        found = held_out.remove(connection, org, mapping, record_ids)
        names = list(dict.fromkeys(item.record_id for item in found))
        links.forget_values(connection, org, mapping, names)
        origins = {item.record_id: item.origin for item in found}
        dead_letters.make_due(connection, org, mapping, origins, code=LET_IN, message=f"{person} let it in again")
    return names


def replay(context: Context, letters: Letters) -> dict[str, int]:
    """Refused records are due now: their flow reads and sends them at its next run. Gives how many, by mapping."""
    with context.state.begin() as connection:
        return dead_letters.replay(connection, context.org, letters)


def resolve(context: Context, letters: Letters, *, person: str, reason: str) -> dict[str, int]:
    """Refused records are given up, for this reason; gives how many, by mapping. InvalidParameter without a reason."""
    if not reason.strip():
        raise InvalidParameter("A refused record is resolved for a reason.", fix="Say it in the parameter `reason`.")
    with context.state.begin() as connection:
        return dead_letters.resolve(connection, context.org, letters, person=person, reason=reason)


def dags_of(connection: Connection, mappings: Sequence[str]) -> list[str]:
    """The DAGs that delivered these mappings last."""
    found = [runs.last_dag_of(connection, mapping) for mapping in mappings]
    return sorted({dag for dag in found if dag})
