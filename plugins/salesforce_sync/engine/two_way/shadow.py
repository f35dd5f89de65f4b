"""A flow in the shadow: it reads, merges and plans beside the connector that a company has, and writes nothing.

It has pairs and agreed values of its own. What it would write is kept, and the next runs compare that with what is
there: whether the present connector did the same, something else, the opposite, or nothing within a day.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from salesforce_sync.engine.two_way.sides import AT_VENDOR, PATCH, UPDATE, Side, known_by
from salesforce_sync.mapping import merge
from salesforce_sync.state import pairs, shadow
from salesforce_sync.state.engine import reading
from salesforce_sync.state.shadow import Planned

if TYPE_CHECKING:
    from salesforce_sync.engine.two_way.end import TwoWay

log = logging.getLogger(__name__)

SHADOW = "SHADOW"  # the code of a row that would have been written
SAME, OTHER, OPPOSITE, NOT_DONE = "same", "other", "opposite", "not done"
OPEN, VOID = "open", "void"  # not come out yet; can come out no more, since the record was edited again or is gone
PATIENCE = timedelta(days=1)  # how long the present connector has, before what it did not do is counted


def planned_by(end: TwoWay, facts: Mapping[str, str], row: Mapping[str, Any]) -> Iterator[Planned]:
    """What a row of a chunk would write, field by field; of a record that would be created or deleted, that alone."""
    at_vendor = facts["operation"] in AT_VENDOR
    ids = (row["_pair_ours"] or "", row["_pair_theirs"] or "")
    if facts["operation"] not in (UPDATE, PATCH):
        yield Planned(*ids, "", at_vendor)
        return
    agreed = merge.unpack(row["_agreed"], end.keys)
    for name, target in json.loads(row["_expected"]).items():
        source = agreed[name].salesforce if at_vendor else agreed[name].vendor
        yield Planned(*ids, name, at_vendor, source.hex(), target)


def compare(end: TwoWay) -> None:
    """Settles what was planned earlier and has come out by now. Reads both records of each, as they are."""
    context = end.context
    with reading(context.state) as connection:
        found = shadow.planned(connection, context.org, end.flow)
    ours, problems = end.look_at_ours(sorted({item.salesforce_id for item, _ in found if item.salesforce_id}))
    theirs, others = end.look_at_theirs(sorted({item.vendor_id for item, _ in found if item.vendor_id}))
    unreadable = problems.keys() | others.keys()
    made = _made(end, [item for item, _ in found])
    outcomes: list[tuple[Planned, str | None]] = []
    for item, planned_at in found:
        sides = ours.get(item.salesforce_id), theirs.get(item.vendor_id)
        if item.field:
            outcome = _came_out(end, item, *sides)
        elif item in made:
            outcome = SAME
        elif unreadable & {item.salesforce_id, item.vendor_id}:
            outcome = OPEN
        else:
            outcome = _of_record(item, *sides)
        if outcome == OPEN and datetime.now(UTC) - planned_at > PATIENCE:
            outcome = NOT_DONE
        if outcome != OPEN:
            outcomes.append((item, None if outcome == VOID else outcome))
    with context.state.begin() as connection:
        shadow.settle(connection, context.org, end.flow, outcomes)


def report(end: TwoWay) -> None:
    """Logs what came out so far, by field."""
    with reading(end.context.state) as connection:
        found = shadow.tallies(connection, end.context.org, end.flow)
    for item in found:
        where = "at the vendor" if item.at_vendor else "in Salesforce"
        shown = "" if item.outcome == SAME else f", such as {', '.join(item.examples)}"
        log.info("%s: %s %s: %d %s%s", end.flow, item.field or "(the record)", where, item.records, item.outcome, shown)


def _made(end: TwoWay, found: Sequence[Planned]) -> set[Planned]:
    """The creations of which the present connector has made the counterpart: the record has a pair by now."""
    creations = [item for item in found if not item.field and not (item.salesforce_id and item.vendor_id)]
    with reading(end.context.state) as connection:
        org = end.context.org
        ours = pairs.of_salesforce(connection, org, end.flow, [item.salesforce_id for item in creations])
        theirs = pairs.of_vendor(connection, org, end.flow, [item.vendor_id for item in creations])
    return {item for item in creations if item.salesforce_id in ours or item.vendor_id in theirs}


def _of_record(item: Planned, ours: Side | None, theirs: Side | None) -> str:
    """Of a deletion: whether the record is gone. Of a creation: nothing yet, and nothing any more when its source is
    gone."""
    if item.salesforce_id and item.vendor_id:
        side = theirs if item.at_vendor else ours
        return SAME if side is None or side.gone else OPEN
    source = ours if item.salesforce_id else theirs
    return VOID if source is None or source.gone else OPEN


def _came_out(end: TwoWay, item: Planned, ours: Side | None, theirs: Side | None) -> str:
    """Of a field: what the present connector made of it."""
    if ours is None or theirs is None or ours.gone or theirs.gone or item.field not in end.mapping.fields:
        return VOID
    a, b = ours.seen[item.field], theirs.seen[item.field]
    source, target = (a, b) if item.at_vendor else (b, a)
    is_as_before = known_by(target) == item.target
    is_equal = merge.is_equal(a, b, end.mapping.fields[item.field].direction) or merge.is_alike(a.raw, b.raw)
    if is_equal:
        return OPPOSITE if is_as_before else SAME
    if not is_as_before:
        return OTHER
    return OPEN if source.mark.hex() == item.source else VOID
