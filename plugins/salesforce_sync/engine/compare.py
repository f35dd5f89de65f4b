"""Compare: what differs between the two sides of a mapping, since when, and why.

A comparison is a dry run of everything: all records are read once more, the plan is made as if nothing had been
delivered, and each row is held against what the other side has. A difference that the state explains (the record waits,
was refused, is held, was edited by people) has its reason. One that nothing explains is *lost*, and makes the
comparison red.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.deliver import Delivered
from salesforce_sync.engine.gate import chunks_of
from salesforce_sync.engine.plan import BEFORE, facts_of
from salesforce_sync.engine.summary import REFUSE, WAIT, texts
from salesforce_sync.errors import Differs
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.privacy import mask_text, shown_value
from salesforce_sync.state import dead_letters, held_out, inbox, links, plans, waits, watermarks
from salesforce_sync.state.engine import reading
from salesforce_sync.state.plans import Plan

log = logging.getLogger(__name__)

SHOWN, FILE = 20, "comparison.json"
WAITS, REFUSED, HELD, OUT, PENDING, NEWER, EDITED, REMOVED, LOST = (
    "waits", "refused", "held by a question", "held out", "read, and not delivered yet", "changed at its source since it was read",
    "edited on the other side", "deleted on the other side", "lost",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """A record whose sides differ: `fields` holds what the source has and what the other side has, without personal
    data."""

    mapping: str
    record_id: str
    why: str
    since: str
    fields: dict[str, list[Any]]


@dataclass
class Comparison:
    """`counts`: records by why they differ; `same`: those that do not. `plan` is what a run would do, by action;
    `folder` where its files lie."""

    same: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    first: list[Difference] = field(default_factory=list)
    plan: Counter[str] = field(default_factory=Counter)
    folder: Any = None

    def add(self, item: Difference) -> None:
        self.counts[item.why] += 1
        if len(self.first) < SHOWN or (item.why == LOST and sum(other.why == LOST for other in self.first) < SHOWN):
            self.first.append(item)

    def lines(self) -> Iterator[str]:
        told = ", ".join(f"{count:,} {why}" for why, count in self.counts.most_common())
        yield f"{self.same:,} records are the same on both sides; {told or 'none differs'}"
        would = ", ".join(f"{count:,} {action}" for action, count in self.plan.most_common())
        yield f"A run of everything would do this: {would or 'nothing'}"
        for item in self.first:
            values = "; ".join(
                f"{name}: {ours!r}, and there {theirs!r}" for name, (ours, theirs) in item.fields.items()
            )
            yield f"  {item.mapping} {item.record_id}: {item.why}, since {item.since}: {values}"


def compare(context: Context, mappings: dict[str, MappingFile], delivered: Delivered, real: Context) -> Comparison:
    """The comparison of what the dry run `delivered`, whose context is `context`, found. `real` looks at the state as
    it is.

    Differs is raised by `judge`, not here.
    """
    found, plan = begun(delivered, real)
    reasons = {name: Reasons(real, name, mapping) for name, mapping in mappings.items()}
    for chunk in chunks_of(context, plan):
        name = facts_of(chunk)["member"]
        if not facts_of(chunk).get("deletes") and not facts_of(chunk).get("urgent"):
            _compare_chunk(reasons[name], name, mappings[name], chunk, found)
    found.folder = context.staging.place(plan.path)
    return found


def begun(delivered: Delivered, real: Context) -> tuple[Comparison, Plan]:
    """A comparison with what the dry run counted, and the plan of the dry run."""
    found = Comparison()
    assert delivered.rehearsed is not None, "a comparison is made of a dry run"
    if delivered.summary is not None:
        found.plan = delivered.summary.counts
        for action, why in ((REFUSE, REFUSED), (WAIT, WAITS)):
            if delivered.summary.counts[action]:
                found.counts[why] += delivered.summary.counts[action]
    with reading(real.state) as connection:
        plan = plans.get(connection, delivered.rehearsed)
    assert plan is not None
    return found, plan


def read_lines(content: dict[str, Any]) -> Iterator[str]:
    """The lines of a comparison that `save` wrote."""
    first = [Difference(**item) for item in content["first"]]
    found = Comparison(content["same"], Counter(content["counts"]), first, Counter(content["plan"]))
    yield from found.lines()


def judge(found: Comparison) -> None:
    """Differs when something differs that nothing explains."""
    if found.counts[LOST]:
        shown = "; ".join(f"{item.mapping} {item.record_id}" for item in found.first if item.why == LOST)
        raise Differs(
            f"{found.counts[LOST]:,} records differ, and nothing explains it: {shown}.",
            fix="`make explain RECORD=<id>` tells a record's history. `Send unchanged records again` writes them once more.",
        )


def _compare_chunk(reasons: Reasons, name: str, mapping: MappingFile, chunk: pa.Table, found: Comparison) -> None:
    names = _compared(mapping, chunk)
    differs = pa.array([False] * chunk.num_rows)
    for column in names:
        unequal = pc.not_equal(chunk.column(f"{BEFORE}{column}"), texts(chunk.column(column)))
        if column not in mapping.emptiable:  # a null leaves it alone
            unequal = pc.and_(unequal, pc.is_valid(chunk.column(column)))
        differs = pc.or_(differs, unequal)
    places = [place for place, differing in enumerate(differs.to_pylist()) if differing]
    found.same += chunk.num_rows - len(places)
    rows = chunk.take(pa.array(places, pa.int64())).to_pylist()
    reasons.look_at([str(row["_id"]) for row in rows])
    for row in rows:
        why, since = reasons.of(row, is_there=any(row[f"{BEFORE}{column}"] for column in names))
        found.add(Difference(name, mask_text(str(row["_id"])), why, since, _shown(mapping, row, names)))


def _compared(mapping: MappingFile, chunk: pa.Table) -> list[str]:
    """Columns whose values are the source's: no constants, which the package's own flows change, and no consent, which
    is an action."""
    if mapping.direction == "to_salesforce":
        names = [name for name, item in mapping.fields.items() if item.vendor]
    else:
        names = [str(item.vendor) for item in mapping.fields.values() if item.vendor and not item.consent]
    return [name for name in names if f"{BEFORE}{name}" in chunk.column_names]


def _shown(mapping: MappingFile, row: dict[str, Any], names: Sequence[str]) -> dict[str, list[Any]]:
    table = pa.table({name: pa.array([row[name]]) for name in names})
    ours = {name: texts(table.column(name))[0].as_py() if row[name] is not None else "" for name in names}
    return {
        name: [shown_value(name, value, mapping.salesforce.object) for value in (ours[name], row[f"{BEFORE}{name}"])]
        for name in names
        if ours[name] != row[f"{BEFORE}{name}"]
    }


class Reasons:
    """Why records of a mapping differ, by what the state says of them."""

    def __init__(self, context: Context, name: str, mapping: MappingFile) -> None:
        self._context, self._name, self._to_vendor = context, name, mapping.direction == "to_vendor"
        with reading(context.state) as connection:
            org = context.org
            self._waits = {item.record_id: item for item in waits.of_mappings(connection, org, [name])}
            self._letters = {row["record_id"]: row for row in dead_letters.unresolved(connection, mapping=name)}
            self._question = self._held(connection, org, name)
            self._pending = _pending(context, inbox.waiting(connection, org, [name]))
            self._watermark = watermarks.get(connection, org, name) or ""

    def look_at(self, record_ids: Sequence[str]) -> None:
        """Finds what is known of these records, before `of` is asked about them."""
        org, name = self._context.org, self._name
        with reading(self._context.state) as connection:
            self._held_out = held_out.find(connection, org, name, record_ids)
            self._links = links.find(connection, org, name, record_ids)
            self._delivered = links.changed_at(connection, org, name, record_ids)

    def _held(self, connection: Connection, org: str, name: str) -> int | None:
        found = [plan for plan in plans.with_status(connection, plans.HELD, org=org) if name in plan.target.split("+")]
        return found[0].id if found else None

    def of(self, row: dict[str, Any], *, is_there: bool) -> tuple[str, str]:
        """Why, and since when."""
        if known := self.known(row):
            return known
        name, link = str(row["_id"]), self._links.get(str(row["_id"]))
        when = f"{self._delivered[name]:%Y-%m-%d %H:%M}" if name in self._delivered else "its first delivery"
        if link is None:
            return self.undelivered(row)
        if link.gone:
            return REMOVED, when
        if link.fingerprint == row["_fingerprint"]:
            return (EDITED if is_there else REMOVED), when
        return (NEWER, row["_version"] or when) if self._is_unread(row) or not self._to_vendor else (LOST, when)

    def known(self, row: dict[str, Any]) -> tuple[str, str] | None:
        """Why, and since when, if the record waits for something, or was refused."""
        name = str(row["_id"])
        if name in self._pending:
            return (HELD, f"plan {self._question}") if self._question else (PENDING, self._pending[name])
        if row["_fingerprint"] in self._held_out.get(name, {}):
            item = self._held_out[name][row["_fingerprint"]]
            return OUT, f"plan {item.plan_id}, by {item.person}"
        if name in self._letters:
            letter = self._letters[name]
            return REFUSED, f"{letter['first_failed_at']:%Y-%m-%d %H:%M} ({letter['code']})"
        if name in self._waits:
            return WAITS, f"reading {self._waits[name].reading} ({self._waits[name].reason})"
        return None

    def undelivered(self, row: dict[str, Any]) -> tuple[str, str]:
        """Why, and since when, if nothing says that the row was delivered."""
        return (NEWER, row["_version"]) if self._is_unread(row) else (LOST, "ever: nothing says that it was delivered")

    def _is_unread(self, row: dict[str, Any]) -> bool:
        """Whether the source's stamp says that no reading can have had it yet."""
        return bool(row["_version"]) and str(row["_version"])[:19].replace(" ", "T") >= self._watermark[:19]


def _pending(context: Context, batches: Iterable[inbox.Batch]) -> dict[str, str]:
    """Records that were read and have no outcome yet."""
    found = {}
    for batch in batches:
        ids, _ = context.staging.versions(batch.ref)
        for record_id, is_open in zip(ids, batch.open_rows.tolist(), strict=True):
            if is_open and record_id is not None:
                found[record_id] = f"reading {batch.reading}"
    return found


def save(context: Context, found: Comparison) -> None:
    """Writes comparison.json beside the plan, with which it is kept and goes."""
    content = {"same": found.same, "counts": found.counts, "plan": found.plan, "first": [*map(asdict, found.first)]}
    context.kept_staging.write_text(found.folder, FILE, json.dumps(content, indent=1, default=str))
