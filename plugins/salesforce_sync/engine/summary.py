"""What a plan would do, in figures and examples: for the log, and as summary.json beside the plan's files."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.plan import BEFORE, Settled, facts_of
from salesforce_sync.privacy import mask_text, shown_value
from salesforce_sync.records import Counts, Outcome, Reason

SHOWN_CHANGES = 20
FILE = "summary.json"
CREATE, UPDATE, DELETE, UNCHANGED, SKIP, REFUSE, WAIT = (
    "create", "update", "delete", "unchanged", "skip", "refuse", "wait",
)  # fmt: skip
_SETTLED = {
    Outcome.UNCHANGED: UNCHANGED, Outcome.SKIPPED: SKIP, Outcome.REJECTED: REFUSE, Outcome.WAITING: WAIT,
    Outcome.CREATED: CREATE, Outcome.UPDATED: UPDATE, Outcome.DELETED: DELETE,
}  # fmt: skip
_OUTCOMES = {action: str(outcome) for outcome, action in _SETTLED.items()}


@dataclass
class Summary:
    """`counts`: records by action; `by_mapping` the same, apart. `codes`: why records are skipped, refused or wait, and
    how many; `fields`: how many records change a field, and how many of them lose its value (`changed` is None where
    the values before are not known). `changes` are the first ones, field -> [before, after], without personal data."""

    target: str
    counts: Counter[str] = field(default_factory=Counter)
    by_mapping: dict[str, Counter[str]] = field(default_factory=dict)
    codes: dict[str, Counter[str]] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)  # code -> the message of the first record that has it
    fields: dict[str, dict[str, int | None]] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)
    brakes: list[str] = field(default_factory=list)
    resting: int = 0  # records that a call may still write: they are not in the plan

    def add(self, mapping: str, action: str, count: int = 1) -> None:
        self.counts[action] += count
        self.by_mapping.setdefault(mapping, Counter())[action] += count

    def as_counts(self, mapping: str) -> Counts:
        """What the mapping's counts would be."""
        found = self.by_mapping.get(mapping, Counter())
        return Counts(read=sum(found.values()), **{_OUTCOMES[action]: count for action, count in found.items()})

    def as_dict(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Summary:
        """The summary that `as_dict` gave."""
        summary = cls(**found)
        summary.counts = Counter(summary.counts)
        for name in ("by_mapping", "codes"):
            setattr(summary, name, {key: Counter(value) for key, value in found[name].items()})
        return summary

    def save(self, context: Context, folder: Any) -> None:
        """Writes summary.json into the plan's folder."""
        context.kept_staging.write_text(folder, FILE, json.dumps(self.as_dict(), indent=1, default=str))

    def lines(self) -> Iterator[str]:
        """The summary for people to read, a line at a time."""
        told = ", ".join(f"{count:,} {action}" for action, count in self.counts.most_common() if count)
        yield f"{self.target}: {told or 'nothing to do'}"
        for text in self.brakes:
            yield f"  HELD BACK: {text}"
        for action, codes in self.codes.items():
            for code, count in codes.most_common():
                yield (
                    f"  {count:,} {action}: {code} ({self.why[code]})"
                    if self.why.get(code)
                    else f"  {count:,} {action}: {code}"
                )
        if self.resting:
            yield f"  {self.resting:,} rest: a call may still write them"
        for name, found in self.fields.items():
            if found["changed"] == 0 and not found["emptied"]:
                continue
            changed = "set, what is there is not known" if found["changed"] is None else f"{found['changed']:,} change"
            yield f"  {name}: {changed}, {found['emptied']:,} lose their value"
        for change in self.changes:
            values = "; ".join(f"{name}: {before!r} -> {after!r}" for name, (before, after) in change["fields"].items())
            yield f"  {change['action']} {change['record']}: {values or 'the same values once more'}"

    def tell(self, log: logging.Logger) -> None:
        for line in self.lines():
            log.info("%s", line)


def summarize(
    target: str,
    tables: Iterable[pa.Table],
    settled: Mapping[str, Settled],
    reasons: Sequence[Reason],
    *,
    resting: int = 0,
) -> Summary:
    """The summary of a plan's chunks, and of the outcomes that need no call."""
    summary = Summary(target, brakes=[reason.text for reason in reasons], resting=resting)
    for name, found in settled.items():
        _add_settled(summary, name, found)
    for table in tables:
        actions, facts = _actions(table), facts_of(table)
        for action, count in Counter(actions).items():
            summary.add(facts["member"], action, count)
        _add_fields(summary, table, actions)
        _add_changes(summary, facts["object"], table, actions)
    return summary


def _add_settled(summary: Summary, name: str, settled: Settled) -> None:
    same = sum(len(ids) for _, _, ids in settled.unchanged)
    if same:
        summary.add(name, UNCHANGED, same)
    for result in settled.results:
        if not result.batch:
            continue  # what only notes a link, and is no outcome of a record that was read
        action = _SETTLED[result.outcome]
        summary.add(name, action)
        if result.code:
            summary.codes.setdefault(action, Counter())[result.code] += 1
            summary.why.setdefault(result.code, mask_text(result.message or ""))


def _actions(table: pa.Table) -> list[str]:
    """What each row does."""
    if "_outcome" in table.column_names:
        extra = table.column("_extra").to_pylist()
        found = [_SETTLED[Outcome(outcome)] for outcome in table.column("_outcome").to_pylist()]
        return [UPDATE if is_extra else action for action, is_extra in zip(found, extra, strict=True)]
    if facts_of(table).get("operation") == "delete":
        return [DELETE] * table.num_rows
    return [CREATE if target is None else UPDATE for target in table.column("_target").to_pylist()]


def _values(table: pa.Table) -> list[str]:
    """The columns that are written."""
    facts = facts_of(table)
    return [name for name in table.column_names if not name.startswith("_") and name != facts.get("key")]


def _add_fields(summary: Summary, table: pa.Table, actions: Sequence[str]) -> None:
    written = pa.array([action in (CREATE, UPDATE) for action in actions])
    keeps = facts_of(table).get("keeps", "").split(",")
    for name in _values(table):
        column = table.column(name)
        writes = pc.and_(written, pc.is_valid(column)) if name in keeps else written
        empty = pc.fill_null(pc.equal(column, ""), True) if pa.types.is_string(column.type) else pc.is_null(column)
        found = summary.fields.setdefault(name, {"changed": 0, "emptied": 0})
        if f"{BEFORE}{name}" in table.column_names:
            before = table.column(f"{BEFORE}{name}")
            had = pc.fill_null(pc.not_equal(before, ""), False)
            differs = pc.and_(writes, _differ(before, column))
            emptied = pc.and_(pc.and_(differs, empty), had)
            if found["changed"] is not None:
                found["changed"] += pc.sum(differs).as_py() or 0
        else:
            updates = pa.array([action == UPDATE for action in actions])
            emptied = pc.and_(pc.and_(updates, writes), empty)
            found["changed"] = None if pc.any(updates).as_py() else found["changed"]
            if found["changed"] is not None:
                found["changed"] += pc.sum(pc.and_(writes, pc.invert(empty))).as_py() or 0
        found["emptied"] = (found["emptied"] or 0) + (pc.sum(emptied).as_py() or 0)


def texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as texts that are equal when Salesforce holds the same, be it as a number or a text; no value is ""."""
    kind = column.type
    if pa.types.is_boolean(kind):
        column = pc.fill_null(column, False)  # a checkbox has no third state
    elif pa.types.is_integer(kind):
        column = column.cast(pa.float64())
    elif pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("s", tz="UTC"), safe=False)
    return pc.fill_null(column.cast(pa.string()), "")


def _differ(before: pa.ChunkedArray, after: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.not_equal(before, texts(after))


def _add_changes(summary: Summary, object_name: str, table: pa.Table, actions: Sequence[str]) -> None:
    names, keeps = _values(table), facts_of(table).get("keeps", "").split(",")
    for place in range(min(table.num_rows, SHOWN_CHANGES - len(summary.changes))):
        changed = {}
        for name in names if actions[place] in (CREATE, UPDATE) else ():
            known = f"{BEFORE}{name}" in table.column_names
            before = table.column(f"{BEFORE}{name}")[place].as_py() if known else None
            after = texts(table.column(name).slice(place, 1))[0].as_py()
            left_alone = name in keeps and table.column(name)[place].as_py() is None
            if left_alone or before == after or (before is None and after == "" and actions[place] == CREATE):
                continue
            old = "not known" if before is None and actions[place] == UPDATE else shown_value(name, before, object_name)
            changed[name] = [old, shown_value(name, after, object_name)]
        record = mask_text(str(table.column("_id")[place].as_py()))
        summary.changes.append({"record": record, "action": actions[place], "fields": changed})
