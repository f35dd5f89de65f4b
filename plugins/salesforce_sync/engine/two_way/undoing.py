"""Undo of a flow both ways: what a run wrote, on either side, is set back, where nothing has happened to it since.

Both sides agree to differ in what is set back: neither's value is news to the other, until one of them changes. A
record that was created, and is deleted, ends its pair: it is not created again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection

from salesforce_sync.engine.context import NO_BRAKES
from salesforce_sync.engine.derive import Derived, derived
from salesforce_sync.engine.gate import chunks_of
from salesforce_sync.engine.plan import BEFORE, MARKS, facts_of
from salesforce_sync.engine.two_way.end import TwoWay, group_of
from salesforce_sync.engine.two_way.merging import Write, chunks_of_writes, deletions, facts_of_chunk
from salesforce_sync.engine.two_way.sending import Sender
from salesforce_sync.engine.two_way.sides import AT_VENDOR, CREATE, DELETE, MAKE, PATCH, REMOVE, UPDATE, Side, known_by
from salesforce_sync.engine.undo import (
    CHANGED,
    CREATED,
    GONE,
    MAY_LAND,
    NOT_KNOWN,
    NOTHING_CHANGED,
    REFUSED,
    UNDO,
    UNDONE,
    UNDONE_BEFORE,
    Selection,
    Undone,
    WrittenLog,
    tell,
)
from salesforce_sync.errors import InvalidParameter, SyncError
from salesforce_sync.mapping import merge
from salesforce_sync.mapping.merge import Agreed, Seen
from salesforce_sync.mapping.paths import as_text
from salesforce_sync.privacy import mask_text
from salesforce_sync.records import Outcome, PairChange, RecordResult, WriteResult
from salesforce_sync.salesforce.rows import Operation, WriteRequest
from salesforce_sync.state import pairs, plans
from salesforce_sync.state.engine import reading
from salesforce_sync.state.pairs import Pair
from salesforce_sync.state.plans import Plan

Change = Callable[[Mapping[str, Any]], PairChange]
Key = tuple[str, str, bool]  # Salesforce's id, the vendor's id, and whether the vendor was written
MOVED = "MOVED"  # the code of a row that somebody changed since the undo was planned


@dataclass
class _Written:
    """What a run wrote of a pair on one side: texts by field, and what was there before."""

    created: bool
    values: dict[str, str]
    before: dict[str, str]
    parent: str = ""  # Salesforce id of the parent that was written with the record

    def and_then(self, later: _Written) -> _Written:
        return _Written(self.created, self.values | later.values, later.before | self.before, later.parent)


def undo_both_ways(end: TwoWay, system: str, selection: Selection, *, person: str) -> Undone:
    """Undoes what the selection says of the flow's records. In a dry run, its plan is made and kept, and nothing is
    written."""
    context = replace(end.context, brakes=NO_BRAKES)  # a person asks for it
    end = replace(end, context=context)
    name = f"{UNDO}{end.flow}"
    with derived(
        context, name, group_of(system, end.flow, end.mapping).targets, step=name, keeps_letters=False
    ) as flow:
        return _Undo(end, flow, selection, person).run()


@dataclass
class _Undo:
    end: TwoWay
    flow: Derived
    selection: Selection
    person: str
    done: Undone = field(default_factory=Undone)
    ours: dict[str, Side] = field(default_factory=dict)
    theirs: dict[str, Side] = field(default_factory=dict)
    pairs: dict[tuple[str, str], Pair] = field(default_factory=dict)
    noted: set[tuple[str, str]] = field(default_factory=set)  # pairs that a call may still write
    touched: set[str] = field(default_factory=set)  # Salesforce records that somebody changed after they were made

    def __post_init__(self) -> None:
        self.log = WrittenLog(self.end.context)

    def run(self) -> Undone:
        written = self._written()
        if not written and self.selection.record_ids:
            raise InvalidParameter(
                f"{self.end.flow} has written none of these records.",
                fix="Name records by the vendor's id or the Salesforce id.",
            )
        self._look(written)
        writes: dict[bool, list[Write]] = {False: [], True: []}
        doomed: dict[bool, list[tuple[Pair, Side]]] = {False: [], True: []}
        for key, item in written.items():
            why = self._why_not(key, item)
            if why:
                self.done.left[key[0] if not key[2] else key[1]] = why
            elif item.created:
                pair, (_, source) = self.pairs[key[:2]], self._sides(key)
                doomed[key[2]].append((pair, source._replace(gone=UNDONE, marks=None)))
            else:
                writes[key[2]].append(self._write_of(key, item))
        for at_vendor in (False, True):
            for table, facts in chunks_of_writes(self.end, writes[at_vendor], at_vendor=at_vendor):
                self._write(table, facts)
            self._delete(doomed[at_vendor], at_vendor=at_vendor)
        tell(self.flow, self.done)
        return self.done

    # -- what was written --------------------------------------------------------------------------------------------

    def _written(self) -> dict[Key, _Written]:
        """By pair and side, the newest values that were written, and what was there before the oldest of them."""
        found: dict[Key, _Written] = {}
        last: dict[tuple[str, str], int] = {}  # of records that are selected by their ids: only their last plan
        for plan in self._plans():
            for key, item in self._rows_of(plan):
                if not self._is_selected(key) or (
                    not self.selection.run_id and last.setdefault(key[:2], plan.id) != plan.id
                ):
                    continue
                later = found.get(key)
                found[key] = item if later is None else item.and_then(later)
        return found

    def _is_selected(self, key: Key) -> bool:
        wanted = self.selection.record_ids
        return not wanted or bool(wanted & {key[0], key[1]})

    def _plans(self) -> list[Plan]:
        with reading(self.end.context.state) as connection:
            found = plans.written(connection, self.end.context.org, [self.end.flow])
        return [plan for plan in found if self.selection.has_run_of(plan)]

    def _rows_of(self, plan: Plan) -> Iterator[tuple[Key, _Written]]:
        for chunk in chunks_of(self.end.context, plan):
            facts = facts_of(chunk)
            if facts.get("operation") in (UPDATE, PATCH, CREATE, MAKE) and facts.get("run", "").isdigit():
                outcomes = self.log.of(int(facts["run"]))
                rows = [row for row in chunk.to_pylist() if row["_id"] in outcomes]
                yield from self._pieces(rows, facts["operation"])

    def _pieces(self, rows: Sequence[Mapping[str, Any]], operation: str) -> Iterator[tuple[Key, _Written]]:
        at_vendor = operation in AT_VENDOR
        own = self.end.ours.fields if at_vendor else self.end.theirs.fields
        mapped = {name: item for name, item in self.end.mapping.fields.items() if name in own}
        columns = {(str(item.vendor) if at_vendor else name): name for name, item in mapped.items()}
        known = self._pairs_of(rows)
        for row in rows:
            pair = known.get(row["_pair_ours"] or "") or known.get(row["_pair_theirs"] or "")
            if pair is None:
                continue
            self.pairs[pair.salesforce_id, pair.vendor_id] = pair
            if operation in (CREATE, MAKE):
                values = {name: as_text(row.get(column)) or "" for column, name in columns.items()}
                before = {}
            else:
                written = json.loads(row["_written"])
                values = {name: as_text(row[column]) or "" for name, column in written.items()}
                before = {name: row[f"{BEFORE}{column}"] or "" for name, column in written.items()}
            item = _Written(operation in (CREATE, MAKE), values, before, row.get("_parent") or "")
            yield (pair.salesforce_id, pair.vendor_id, at_vendor), item

    def _pairs_of(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Pair]:
        """By either id."""
        org, flow = self.end.context.org, self.end.flow
        ours, theirs = ([row[name] for row in rows if row[name]] for name in ("_pair_ours", "_pair_theirs"))
        with reading(self.end.context.state) as connection:
            return pairs.of_vendor(connection, org, flow, theirs) | pairs.of_salesforce(connection, org, flow, ours)

    # -- what may be undone ------------------------------------------------------------------------------------------

    def _look(self, written: Mapping[Key, _Written]) -> None:
        self.ours, _ = self.end.look_at_ours(sorted({key[0] for key in written}))
        self.theirs, _ = self.end.look_at_theirs(sorted({key[1] for key in written}))
        self.noted = self._noted()
        made = sorted({key[0] for key, item in written.items() if item.created and not key[2]})
        self.touched = self._touched(made) if self.selection.delete_created else set()

    def _touched(self, ids: Sequence[str]) -> set[str]:
        """The Salesforce records that somebody else changed after they were made."""
        people = ["CreatedById", "LastModifiedById"]
        found: set[str] = set()
        for table in self.end.context.salesforce.by_ids(self.end.mapping.salesforce.object, ids, people):
            rows = zip(*(table.column(name).to_pylist() for name in ("Id", *people)), strict=True)
            found |= {record_id for record_id, creator, changer in rows if creator != changer}
        return found

    def _noted(self) -> set[tuple[str, str]]:
        """The pairs that a call of an earlier run may still write."""
        found: set[tuple[str, str]] = set()
        with reading(self.end.context.state) as connection:
            for note in plans.open_notes(connection, self.end.context.org, self.end.flow):
                plan = plans.get(connection, note.plan_id)
                for chunk in chunks_of(self.end.context, plan) if plan is not None else ():
                    found.update((row["_pair_ours"], row["_pair_theirs"]) for row in chunk.to_pylist())
        return found

    def _sides(self, key: Key) -> tuple[Side, Side]:
        """The side that was written, and the one that the values came from."""
        ours, theirs = self.ours[key[0]], self.theirs[key[1]]
        return (theirs, ours) if key[2] else (ours, theirs)

    def _why_not(self, key: Key, item: _Written) -> str:
        ours, theirs, pair = self.ours.get(key[0]), self.theirs.get(key[1]), self.pairs[key[:2]]
        is_undone = item.created and pair.ended == UNDONE  # by an undo whose call may not have arrived
        if ours is None or theirs is None or ours.gone or theirs.gone or not (pair.ended is None or is_undone):
            return GONE
        if key[:2] in self.noted:
            return MAY_LAND
        if item.created:
            return self._why_not_delete(key, item)
        if not self._names(item):
            return NOTHING_CHANGED
        left = self._left(key, item)
        if not left:
            return UNDONE_BEFORE
        target, _ = self._sides(key)
        if not all(_still(target.seen[name], item.values[name]) for name in left) or self._is_elsewhere(
            key, item, left
        ):
            return CHANGED
        return "" if self._restorable(key, item) else NOT_KNOWN

    def _why_not_delete(self, key: Key, item: _Written) -> str:
        if not self.selection.delete_created or self.selection.fields:
            return CREATED
        target, _ = self._sides(key)
        asked = {name: text for name, text in item.values.items() if text or name not in self.end.user_fields}
        is_as_made = all(_still(target.seen[name], text) for name, text in asked.items())
        return "" if is_as_made and (key[2] or key[0] not in self.touched) else CHANGED

    def _is_elsewhere(self, key: Key, item: _Written, names: Sequence[str]) -> bool:
        """Whether one of the fields is that of a parent that the record has no more."""
        parent = self.end.mapping.salesforce.with_parent
        if parent is None or key[2] or item.parent == self.ours[key[0]].parent:
            return False
        return any(name.startswith(parent.prefix) for name in names)

    def _names(self, item: _Written) -> list[str]:
        wanted = self.selection.fields
        return [name for name in item.before if name in self.end.mapping.fields and (not wanted or name in wanted)]

    def _left(self, key: Key, item: _Written) -> list[str]:
        """The fields that are not as they were before: an earlier undo may have set back some."""
        target, _ = self._sides(key)
        return [name for name in self._names(item) if not _still(target.seen[name], item.before[name])]

    def _restorable(self, key: Key, item: _Written) -> list[str]:
        """Of these, those whose value before can be written. Who was the owner is known only of people that both sides
        have."""
        return [
            name
            for name in self._left(key, item)
            if name not in self.end.user_fields or self._value(name, item.before[name], at_vendor=key[2]) is not None
        ]

    def _value(self, name: str, text: str, *, at_vendor: bool) -> Any:
        """What is to be written, so that the text is there again; None for nothing, and for a user that is unknown."""
        if not text:
            return None
        if self.end.mapping.fields[name].user:
            return self.end.user_of(text)
        return text if at_vendor else pa.array([text]).cast(self.end.targets[name].arrow_type)[0].as_py()

    def _write_of(self, key: Key, item: _Written) -> Write:
        target, source = self._sides(key)
        names = self._restorable(key, item)
        values = {name: self._value(name, item.before[name], at_vendor=key[2]) for name in names}
        before = {name: target.seen[name].raw or "" for name in names}
        expected = {name: known_by(target.seen[name]) for name in names}
        parent = "" if key[2] else target.parent
        return Write(key[:2], values, before, expected, source._replace(marks=None), (), parent)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _write(self, table: pa.Table, facts: Mapping[str, str]) -> None:
        """Both sides agree to differ before the call: a task that dies after it leaves nothing to be written again."""
        at_vendor = facts["operation"] in AT_VENDOR
        agreed = [self._agreed(row, at_vendor=at_vendor) for row in table.to_pylist()]
        place = table.column_names.index("_agreed")
        table = table.set_column(
            place, "_agreed", pa.array([merge.pack(item, self.end.keys) for item in agreed], pa.binary())
        )

        def change(row: Mapping[str, Any]) -> PairChange:
            return PairChange(self.end.flow, row["_pair_ours"], row["_pair_theirs"], row["_agreed"])

        def back(row: Mapping[str, Any]) -> PairChange:
            pair = self.pairs[row["_pair_ours"], row["_pair_theirs"]]
            return PairChange(self.end.flow, pair.salesforce_id, pair.vendor_id, pair.agreed)

        self._send(table, facts, Operation.UPDATE, change, back)

    def _agreed(self, row: Mapping[str, Any], *, at_vendor: bool) -> dict[str, Agreed]:
        """Of the side that is written, the value that is set back; of the other one, what was agreed on before: an edit
        that came after the run is still to go over."""
        known = merge.unpack(self.pairs[row["_pair_ours"], row["_pair_theirs"]].agreed, self.end.keys)
        ours, theirs = self.ours[row["_pair_ours"]], self.theirs[row["_pair_theirs"]]
        found = {}
        for name, column in json.loads(row["_written"]).items():
            set_back, old = merge.mark_of_sent(row[column]), known.get(name)
            if at_vendor:
                found[name] = Agreed(_half(ours.seen[name], old, "s"), set_back, "v")
            else:
                found[name] = Agreed(set_back, _half(theirs.seen[name], old, "v"), "s")
        return found

    def _delete(self, doomed: Sequence[tuple[Pair, Side]], *, at_vendor: bool) -> None:
        """The pairs end before the call: else a deletion without an answer would be taken for one by people, and
        followed."""
        if not doomed:
            return
        path = self.end.mapping.vendor.id if at_vendor else "Id"
        table = deletions(doomed, path=path, at_vendor=at_vendor)

        def change(row: Mapping[str, Any]) -> PairChange:
            return PairChange(self.end.flow, row["_pair_ours"], row["_pair_theirs"], ended=UNDONE)

        def back(row: Mapping[str, Any]) -> PairChange:
            return PairChange(self.end.flow, row["_pair_ours"], row["_pair_theirs"])

        self._send(table, {"operation": REMOVE if at_vendor else DELETE}, Operation.DELETE, change, back)

    def _send(
        self, table: pa.Table, facts: Mapping[str, str], operation: Operation, change: Change, back: Change
    ) -> None:
        """By the flow's own sender, with its last look. `change` is what the rows mean for their pairs; what was
        certainly not done is taken `back`."""
        parts: list[pa.Table] = []
        undone: list[PairChange] = []
        own = facts_of_chunk(self.end, **facts)
        at_vendor = own["operation"] in AT_VENDOR
        request = WriteRequest(own["object"] if not at_vendor else self.end.mapping.vendor.stream, operation)
        named = table.append_column("_name", table.column("_id")).drop_columns(["_id", "_fingerprint", "_target"])

        def note(connection: Connection, part: pa.Table) -> None:
            parts.append(part)
            pairs.save(connection, self.end.context.org, map(change, part.to_pylist()))

        def answer(_: pa.Table, jobs: Any) -> tuple[list[WriteResult | None], SyncError | None]:
            part = parts[-1]
            chunk = part.append_column("_id", part.column("_name")).drop_columns(["_name"])
            for name in ("_fingerprint", "_target"):
                chunk = chunk.append_column(name, pa.nulls(chunk.num_rows, MARKS[name]))
            sent = Sender(self.end, self.end.context, chunk, own, jobs, repeated=False).run()
            results: list[WriteResult | None] = []
            for place, (row, item) in enumerate(zip(part.to_pylist(), sent.results, strict=True)):
                moved = (
                    WriteResult(Outcome.REJECTED, None, MOVED, CHANGED)
                    if place in sent.never_sent or sent.error is None
                    else None
                )
                results.append(
                    moved if item is None else WriteResult(item.outcome, item.salesforce_id, item.code, item.message)
                )
                result = results[-1]
                if result is not None and result.outcome is Outcome.REJECTED:
                    undone.append(back(row))
            return results, sent.error

        try:
            self._count(self.flow.write(request, named, self._made, first=note, answer=answer))
        finally:
            if undone:
                with self.flow.lease.transaction() as connection:
                    pairs.save(connection, self.end.context.org, undone)

    def _made(self, row: Mapping[str, Any], result: WriteResult) -> RecordResult:
        names = (row["_name"], row["_pair_ours"])
        if result.outcome is Outcome.REJECTED:
            return RecordResult(names[0], Outcome.REJECTED, names[1], result.code, result.message)
        return RecordResult(names[0], result.outcome, names[1], UNDONE, f"undone by {self.person}")

    def _count(self, results: Sequence[RecordResult]) -> None:
        for result in results:
            if result.outcome is Outcome.REJECTED:
                self.done.refused += result.code != MOVED
                said = f"{REFUSED}: {result.code} {mask_text(result.message or '')}"
                self.done.left[result.record_id] = CHANGED if result.code == MOVED else said
            elif result.outcome is Outcome.DELETED:
                self.done.deleted += 1
            else:
                self.done.restored += 1


def _still(seen: Seen, text: str) -> bool:
    """Whether the side has the text that was written, in whatever form it keeps it."""
    raw = seen.raw or ""
    if not text:
        return not raw
    return text in (raw, as_text(seen.value)) or merge.is_alike(raw, text) or merge.is_shortened(raw, text)


def _half(seen: Seen, old: Agreed | None, side: str) -> bytes:
    """What a side agreed on before, as a mark of its value; where they never agreed, what it has."""
    if old is None:
        return seen.mark
    mark = old.salesforce if side == "s" else old.vendor
    is_form = old.sent == side and merge.mark_of_sent(seen.raw) == mark  # it was sent that, and keeps it in some form
    return seen.mark if is_form else mark
