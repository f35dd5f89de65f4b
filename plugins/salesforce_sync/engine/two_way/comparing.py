"""Compare of a flow both ways: the pairs whose sides differ, and the records without a counterpart, each with its
reason.

As in engine/compare.py, the plan of a dry run of everything tells what differs. What both sides agree to differ in,
such as a text that one of them has no room for, or a field that was undone, is no difference.
"""

from __future__ import annotations

import json
from typing import Any

from salesforce_sync.engine.compare import Comparison, Difference, Reasons, begun
from salesforce_sync.engine.context import Context
from salesforce_sync.engine.deliver import Delivered
from salesforce_sync.engine.gate import chunks_of
from salesforce_sync.engine.plan import BEFORE, facts_of
from salesforce_sync.engine.two_way.sides import CREATE, MAKE, PATCH, UPDATE, member_name
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.paths import as_text
from salesforce_sync.privacy import mask_text, shown_value
from salesforce_sync.state import pairs
from salesforce_sync.state.engine import reading


def compare_both_ways(
    context: Context, flow: str, mapping: MappingFile, delivered: Delivered, real: Context
) -> Comparison:
    """See compare.compare."""
    found, plan = begun(delivered, real)
    ours, theirs = (member_name(flow, theirs=theirs) for theirs in (False, True))
    reasons = {
        ours: Reasons(real, ours, mapping.one_way("to_vendor")),
        theirs: Reasons(real, theirs, mapping.one_way("to_salesforce")),
    }
    differing: set[str] = set()
    for chunk in chunks_of(context, plan):
        facts = facts_of(chunk)
        if facts["operation"] not in (UPDATE, PATCH, CREATE, MAKE):
            continue
        rows = chunk.to_pylist()
        own = reasons[facts["member"]]
        own.look_at([str(row["_id"]) for row in rows])
        for row in rows:
            differing.add(str(row["_pair_ours"] or ""))
            why, since = own.known(row) or own.undelivered(row)
            fields = _shown(mapping, row) if facts["operation"] in (UPDATE, PATCH) else {}
            found.add(Difference(facts["member"], mask_text(str(row["_id"])), why, since, fields))
    with reading(real.state) as connection:
        found.same = len(set(pairs.living_in_salesforce(connection, real.org, flow)) - differing)
    found.folder = context.staging.place(plan.path)
    return found


def _shown(mapping: MappingFile, row: dict[str, Any]) -> dict[str, list[Any]]:
    """Field -> what the source has and what the other side has, without personal data."""
    return {
        name: [
            shown_value(name, value, mapping.salesforce.object)
            for value in (as_text(row[column]) or "", row[f"{BEFORE}{column}"] or "")
        ]
        for name, column in json.loads(row["_written"]).items()
    }
