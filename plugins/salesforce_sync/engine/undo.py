"""Undo: what a run wrote is taken back, where nothing has happened to it since.

A record is restored only while its link still says what the run delivered, no call may still write it, and the target
still reads as it was delivered. Everything else is left alone and listed. What is undone is held out: the link keeps
what was delivered, so the next run does not write it again, until something else is to be written, or a person lets it
in.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pyarrow as pa
from sqlalchemy import Connection

from salesforce_sync.engine.context import NO_BRAKES, Context, require_objects
from salesforce_sync.engine.derive import Derived, derived
from salesforce_sync.engine.gate import chunks_of
from salesforce_sync.engine.group import Group
from salesforce_sync.engine.plan import BEFORE, facts_of
from salesforce_sync.engine.summary import texts
from salesforce_sync.errors import InvalidParameter, RequestRejected, SyncError
from salesforce_sync.mapping import describe
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.paths import as_text, nested, value_at
from salesforce_sync.privacy import mask_text
from salesforce_sync.records import Outcome, RecordResult, VendorResult, WriteResult
from salesforce_sync.salesforce.rows import Operation, WriteRequest
from salesforce_sync.state import held_out, links, plans, sync_log
from salesforce_sync.state.engine import reading
from salesforce_sync.state.held_out import HeldOut
from salesforce_sync.state.plans import Plan

log = logging.getLogger(__name__)

UNDONE, LEFT_ALONE = "UNDONE", "LEFT_ALONE"
UNDO = "undo/"  # in front of a mapping's name: the target of its undo plans
REFUSED = "it was refused"
SHOWN_LEFT = 20
NEWER = "something newer was delivered since"
CHANGED = "somebody changed it since"
NOT_KNOWN = "what was there before is not known: no plan of before has it, and the mapping does not keep it"
MAY_LAND = "a call may still write it"
GONE = "it is not there any more"
CREATED = "the run created it; only `delete created` deletes it"
UNDONE_BEFORE = "it is undone already"
SHARED = "another record is the same there"
NOTHING_CHANGED = "the run changed nothing of it"


@dataclass(frozen=True)
class Selection:
    """What to undo: a DAG run, or the last thing that was written of some records; of these `fields` alone, if there
    are any."""

    dag_id: str = ""
    run_id: str = ""
    record_ids: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    delete_created: bool = False

    def has_run_of(self, plan: Plan) -> bool:
        """Whether the plan is of the run that is named, if one is."""
        return not self.run_id or (plan.run_id == self.run_id and self.dag_id in ("", plan.dag_id))


@dataclass
class Undone:
    """How many records were restored or deleted, how many of these writes were refused, and why the others were left
    alone."""

    restored: int = 0
    deleted: int = 0
    refused: int = 0
    left: dict[str, str] = field(default_factory=dict)


@dataclass
class _Written:
    """A record as a run wrote it; `values` are texts by column, `before` what was there before, as far as it is
    known."""

    record_id: str
    target: str
    fingerprint: str
    origin: str | None
    created: bool
    values: dict[str, str]
    before: dict[str, str]
    plan_id: int


class Side(Protocol):
    """The side that an undo writes to."""

    @property
    def objects(self) -> Sequence[str]:
        """The names of the leases that it needs."""

    def columns(self) -> list[str]:
        """What is compared."""

    def restorable(self, name: str) -> bool:
        """Whether the column may be restored."""

    def now(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """What the target has, as texts, by id; what is not there is left out."""

    def restore(
        self, flow: Derived, rows: Sequence[Mapping[str, str]], names: Sequence[str], make: Any, first: Any
    ) -> list[RecordResult]:
        """Writes these columns of the rows, whose ids are in `Id`; what a row has under `_before:` is what is there."""

    def delete(self, flow: Derived, rows: Sequence[Mapping[str, str]], make: Any, first: Any) -> list[RecordResult]: ...


def undo(context: Context, name: str, mapping: MappingFile, side: Side, selection: Selection, *, person: str) -> Undone:
    """Undoes what the selection says of the mapping's records. In a dry run, its plan is made and kept, and nothing is
    written."""
    free = replace(context, brakes=NO_BRAKES)  # a person asks for it
    with derived(free, f"{UNDO}{name}", side.objects, step=f"{UNDO}{name}", keeps_letters=False) as flow:
        return _Undo(free, flow, name, mapping, side, selection, person).run()


@dataclass
class WrittenLog:
    """What runs wrote, as the log says: record -> outcome. A dry run looks into the real log, which its copy of the state
    leaves out."""

    context: Context
    known: dict[int, dict[str, str]] = field(default_factory=dict)

    def of(self, sync_run_id: int) -> dict[str, str]:
        if sync_run_id not in self.known:
            dry = self.context.dry
            with reading(self.context.state if dry is None else dry.state) as connection:
                self.known[sync_run_id] = sync_log.written_in(connection, [sync_run_id])
        return self.known[sync_run_id]


@dataclass
class _Undo:
    context: Context
    flow: Derived
    name: str
    mapping: MappingFile
    side: Side
    selection: Selection
    person: str
    done: Undone = field(default_factory=Undone)

    def __post_init__(self) -> None:
        self.log = WrittenLog(self.context)

    def run(self) -> Undone:
        written: dict[str, _Written] = {}
        for item in self._written():  # the newest first: a run may have written a record twice
            later = written.setdefault(item.record_id, item)
            later.created, later.before, later.plan_id = item.created, item.before, item.plan_id
        written = self._still_delivered(written)
        restored, deleted = self._decide(written)
        self._restore(restored)
        self._delete(deleted)
        tell(self.flow, self.done)
        return self.done

    # -- what the run wrote ------------------------------------------------------------------------------------------

    def _written(self) -> Iterator[_Written]:
        """The records that were written, each with the values before, where its plan has them."""
        wanted = self._wanted()
        open_ids = set(wanted)
        for plan in self._plans():
            if not self.selection.has_run_of(plan):
                continue
            found = [item for item in self._rows_of(plan) if not wanted or item.record_id in open_ids]
            yield from found
            if not self.selection.run_id:
                open_ids -= {item.record_id for item in found}
            if wanted and not open_ids:
                return

    def _wanted(self) -> frozenset[str]:
        """The records of the selection, by the names that plans have for them."""
        with reading(self.context.state) as connection:
            known = [linked for name in self.selection.record_ids for linked in links.of_record(connection, name)]
        own = {linked.record_id for linked in known if linked.mapping == self.name}
        if self.selection.record_ids and not own:
            raise InvalidParameter(
                f"{self.name} has delivered none of these records.",
                fix="Name records by the vendor's id or the Salesforce id.",
            )
        return frozenset(own)

    def _plans(self, *, undone: bool = False) -> list[Plan]:
        """The plans that the mapping was part of, the newest first; with `undone`, also those that undid it."""
        with reading(self.context.state) as connection:
            targets = plans.targets_of(connection, self.context.org, self.name)
            return plans.written(connection, self.context.org, [*targets, *([self.flow.name] if undone else [])])

    def _rows_of(self, plan: Plan) -> Iterator[_Written]:
        """The rows of the plan that were written, as the log of its own sync run says."""
        for chunk in chunks_of(self.context, plan):
            facts = facts_of(chunk)
            if facts.get("member") == self.name and facts.get("run", "").isdigit():
                yield from self._rows(plan, chunk, self.log.of(int(facts["run"])))

    def _rows(self, plan: Plan, chunk: pa.Table, outcomes: Mapping[str, str]) -> list[_Written]:
        names = [name for name in self.side.columns() if name in chunk.column_names]
        keeps = facts_of(chunk).get("keeps", "").split(",")
        values = {name: texts(chunk.column(name)).to_pylist() for name in names}
        sent = {name: chunk.column(name).is_valid().to_pylist() for name in names if name in keeps}
        known = [name for name in names if f"{BEFORE}{name}" in chunk.column_names]
        before = {name: chunk.column(f"{BEFORE}{name}").to_pylist() for name in known}
        own = _made_here(chunk)
        columns = (chunk.column(mark).to_pylist() for mark in ("_id", "_target", "_fingerprint", "_origin"))
        return [
            _Written(
                record_id, target or "", fingerprint, origin,
                outcomes[record_id] == str(Outcome.CREATED) and own[place],
                {name: values[name][place] for name in names if name not in sent or sent[name][place]},
                {name: before[name][place] for name in known}, plan.id,
            )
            for place, (record_id, target, fingerprint, origin) in enumerate(zip(*columns, strict=True))
            if record_id in outcomes
        ]  # fmt: skip

    # -- what may be undone ------------------------------------------------------------------------------------------

    def _still_delivered(self, written: dict[str, _Written]) -> dict[str, _Written]:
        """The records of which nothing newer was delivered, and that no call may still write."""
        org, ids = self.context.org, list(written)
        with reading(self.context.state) as connection:
            known = links.find(connection, org, self.name, ids)
            out = held_out.find(connection, org, self.name, ids)
            noted = self._noted(connection)
        kept = {}
        for record_id, item in written.items():
            link = known.get(record_id)
            is_held_out = item.fingerprint in out.get(record_id, {})
            buried = link is not None and link.gone and is_held_out  # by an undo that died
            if link is None or (link.gone and not buried):
                self.done.left[record_id] = GONE
            elif link.fingerprint != item.fingerprint and not buried:
                self.done.left[record_id] = NEWER
            elif record_id in noted:
                self.done.left[record_id] = MAY_LAND
            else:
                item.target = (link.vendor_id if self.mapping.direction == "to_vendor" else link.salesforce_id) or ""
                kept[record_id] = item
        return kept

    def _noted(self, connection: Connection) -> set[str]:
        found: set[str] = set()
        for target in plans.targets_of(connection, self.context.org, self.name):
            for note in plans.open_notes(connection, self.context.org, target):
                plan = plans.get(connection, note.plan_id)
                for chunk in chunks_of(self.context, plan) if plan is not None else ():
                    found.update(chunk.column("_id").to_pylist())
        return found

    def _decide(self, written: dict[str, _Written]) -> tuple[list[_Written], list[_Written]]:
        self._find_before([item for item in written.values() if not item.created])
        shared = self._shared([item for item in written.values() if item.created])
        now = self.side.now([item.target for item in written.values()]) if written else {}
        restored: list[_Written] = []
        deleted: list[_Written] = []
        for item in written.values():
            there = now.get(item.target)
            if there is None:
                why = GONE
            elif item.created:
                why = SHARED if item.target in shared else self._why_not_delete(item, there)
            else:
                why = self._why_not_restore(item, there)
            if why:
                self.done.left[item.record_id] = why
            else:
                (deleted if item.created else restored).append(item)
        return restored, deleted

    def _why_not_delete(self, item: _Written, there: Mapping[str, str]) -> str:
        if not self.selection.delete_created or self.selection.fields:
            return CREATED
        touched = _is_touched(item, there, item.values)
        return CHANGED if touched or there.get("_touched") else ""

    def _why_not_restore(self, item: _Written, there: Mapping[str, str]) -> str:
        names = self._of_interest(item)
        if any(name not in item.before for name in names):
            return NOT_KNOWN
        changed = self._changed(item)
        if not changed:
            return NOTHING_CHANGED
        still = [name for name in changed if there[name] == item.values[name]]
        if _is_touched(item, there, [name for name in changed if there[name] != item.before[name]]):
            return CHANGED
        item.before = {name: item.before[name] for name in still}  # the others were restored by an undo of before
        return "" if still else UNDONE_BEFORE

    def _of_interest(self, item: _Written) -> list[str]:
        fields = self.selection.fields
        return [name for name in item.values if self.side.restorable(name) and (not fields or name in fields)]

    def _changed(self, item: _Written) -> list[str]:
        """The columns that the run changed, as far as they are to be undone."""
        names = [name for name in self._of_interest(item) if name in item.before]
        return [name for name in names if item.before[name] != item.values[name]]

    def _shared(self, items: Sequence[_Written]) -> set[str]:
        """Targets that are other records' as well."""
        ids = sorted({item.target for item in items if item.target})
        if self.mapping.direction != "to_vendor" or not ids:
            return set()
        with reading(self.context.state) as connection:
            names = {
                part
                for target in plans.targets_of(connection, self.context.org, self.name)
                for part in target.split("+")
            }
            found = links.with_keys(connection, self.context.org, sorted(names), unique_keys=[], vendor_ids=ids)
        owners = Counter(linked.link.vendor_id for linked in found if not linked.link.gone)
        return {str(vendor_id) for vendor_id, count in owners.items() if count > 1}

    def _find_before(self, items: Sequence[_Written]) -> None:
        """What earlier plans delivered, column by column, is what was there before; the newest of them counts."""
        missing = {item.record_id: item for item in items if any(name not in item.before for name in item.values)}
        for plan in self._plans(undone=True) if missing else ():
            rows = self._restored_by(plan) if plan.target == self.flow.name else self._rows_of(plan)
            for row in rows:
                item = missing.get(row.record_id)
                if item is not None and plan.id < item.plan_id:
                    item.before = row.values | item.before
                    if all(name in item.before for name in item.values):
                        del missing[row.record_id]
            if not missing:
                return

    def _restored_by(self, plan: Plan) -> Iterator[_Written]:
        """What an earlier undo restored."""
        for chunk in chunks_of(self.context, plan):
            facts = facts_of(chunk)
            outcomes = self.log.of(int(facts["run"])) if facts.get("run", "").isdigit() else {}
            names = [name for name in self.side.columns() if name in chunk.column_names]
            values = {name: texts(chunk.column(name)).to_pylist() for name in names}
            for place, record_id in enumerate(chunk.column("_name").to_pylist()):
                if record_id in outcomes:
                    yield _Written(
                        record_id, "", "", None, False, {name: values[name][place] for name in names}, {}, plan.id
                    )

    # -- writing -----------------------------------------------------------------------------------------------------

    def _restore(self, items: Sequence[_Written]) -> None:
        """Records of which the same columns changed are written together."""
        groups: dict[tuple[str, ...], list[_Written]] = {}
        for item in items:
            groups.setdefault(tuple(self._changed(item)), []).append(item)
        for names, group in groups.items():
            rows = [
                {"Id": item.target, "_name": item.record_id}
                | {name: item.before[name] for name in names}
                | {f"{BEFORE}{name}": item.values[name] for name in names}
                for item in group
            ]
            results = self.side.restore(self.flow, rows, names, self._made(Outcome.UPDATED), self._hold_out(group))
            self._count(results)

    def _delete(self, items: Sequence[_Written]) -> None:
        rows = [{"Id": item.target, "_name": item.record_id} for item in items]
        if rows:
            results = self.side.delete(self.flow, rows, self._made(Outcome.DELETED), self._hold_out(items, bury=True))
            self._count(results)

    def _made(self, outcome: Outcome) -> Any:
        own = "_name" if self.mapping.direction == "to_vendor" else "Id"  # the Salesforce id

        def make(row: Mapping[str, Any], result: WriteResult) -> RecordResult:
            if result.outcome is Outcome.REJECTED:
                return RecordResult(row["_name"], Outcome.REJECTED, row[own], result.code, result.message)
            return RecordResult(row["_name"], outcome, row[own], UNDONE, f"undone by {self.person}")

        return make

    def _hold_out(self, items: Sequence[_Written], *, bury: bool = False) -> Any:
        """Noted with the chunk: a task that dies after its call must not leave a record that the next run writes
        again."""
        by_name = {item.record_id: item for item in items}

        def first(connection: Connection, part: pa.Table) -> None:
            found = [by_name[name] for name in part.column("_name").to_pylist()]
            held_out.add(
                connection,
                self.context.org,
                [
                    HeldOut(self.name, item.record_id, item.fingerprint, item.origin, self.flow.plan_id, self.person)
                    for item in found
                ],
            )
            if bury:
                names = [item.record_id for item in found]
                links.bury(connection, self.context.org, self.name, names, by="record_id")

        return first

    def _count(self, results: Iterable[RecordResult]) -> None:
        refused = []
        for result in results:
            if result.outcome is Outcome.REJECTED:
                refused.append(result.record_id)
                self.done.left[result.record_id] = f"{REFUSED}: {result.code} {mask_text(result.message or '')}"
            elif result.outcome is Outcome.DELETED:
                self.done.deleted += 1
            else:
                self.done.restored += 1
        self.done.refused += len(refused)
        if refused:
            with self.flow.lease.transaction() as connection:
                held_out.remove(connection, self.context.org, self.name, refused)


def tell(flow: Derived, done: Undone) -> None:
    """Logs what was undone, and what was left alone and why."""
    left = [
        RecordResult(record_id, Outcome.SKIPPED, code=LEFT_ALONE, message=why)
        for record_id, why in done.left.items()
        if not why.startswith(REFUSED)
    ]
    with flow.lease.transaction() as connection:
        flow.add(connection, left)
    log.info(
        "%s: %s restored, %s deleted, %s left alone", flow.name, f"{done.restored:,}", f"{done.deleted:,}",
        f"{len(done.left):,}",
    )  # fmt: skip
    for record_id, why in list(done.left.items())[:SHOWN_LEFT]:
        log.info("  left alone: %s: %s", mask_text(record_id), why)


@dataclass
class InSalesforce:
    """An undo's side that is Salesforce."""

    context: Context
    name: str
    mapping: MappingFile

    @property
    def objects(self) -> Sequence[str]:
        return Group.to_salesforce(self.name, self.mapping).targets

    def columns(self) -> list[str]:
        # Constants are marks of the package's own flows, which go on with the record.
        return [name for name, item in self.mapping.fields.items() if item.vendor]

    def restorable(self, name: str) -> bool:
        return not self.mapping.fields[name].consent

    def now(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        names = self.columns()
        people = ["CreatedById", "LastModifiedById"]
        for table in self.context.salesforce.by_ids(self.mapping.salesforce.object, list(ids), [*names, *people]):
            columns = {name: texts(table.column(name)).to_pylist() for name in names}
            marks = zip(*(table.column(name).to_pylist() for name in ("Id", *people)), strict=True)
            for place, (record_id, creator, changer) in enumerate(marks):
                found[record_id] = {name: columns[name][place] for name in names}
                found[record_id] |= {"_touched": "yes"} if creator != changer else {}
        return found

    def restore(
        self, flow: Derived, rows: Sequence[Mapping[str, str]], names: Sequence[str], make: Any, first: Any
    ) -> list[RecordResult]:
        constants = {
            name: item.value for name, item in self.mapping.fields.items() if not item.vendor and not item.stamp
        }
        columns = ["Id", "_name", *names, *(f"{BEFORE}{name}" for name in names)]
        table = pa.table({name: pa.array([row[name] or None for row in rows], pa.string()) for name in columns})
        for name, value in constants.items():
            table = table.append_column(name, pa.array([value] * len(rows)))
        request = WriteRequest(self.mapping.salesforce.object, Operation.UPDATE, clears=frozenset(names))
        typed = self._typed(table, names)
        return flow.write(request, typed, make, first=first)

    def _typed(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        """The texts in the types of their fields."""
        name_of_object = self.mapping.salesforce.object
        taken = describe.targets(self.mapping, require_objects(self.context, [name_of_object])[name_of_object])
        for name in names:
            column = table.column(name).cast(taken[name].arrow_type)
            table = table.set_column(table.column_names.index(name), name, column)
        return table

    def delete(self, flow: Derived, rows: Sequence[Mapping[str, str]], make: Any, first: Any) -> list[RecordResult]:
        table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in ("Id", "_name")})
        return flow.write(WriteRequest(self.mapping.salesforce.object, Operation.DELETE), table, make, first=first)


def _made_here(chunk: pa.Table) -> list[bool]:
    """Whether each row's record was not there before: to a vendor, a record may have become one that was."""
    if "_new" not in chunk.column_names:
        return [True] * chunk.num_rows
    columns = (chunk.column(name).to_pylist() for name in ("_new", "_vendor_id", "_stranger"))
    return [bool(new) and not vendor_id and not stranger for new, vendor_id, stranger in zip(*columns, strict=True)]


def _is_touched(item: _Written, there: Mapping[str, str], names: Iterable[str]) -> bool:
    """Whether the target does not read any more as it was delivered."""
    return any(there[name] != item.values[name] for name in names)


class Customers(Protocol):
    """A vendor's hook, as far as an undo needs it."""

    @property
    def only_new(self) -> frozenset[str]: ...

    def get(self, stream: str, vendor_id: str) -> Mapping[str, Any] | None: ...

    def update(self, stream: str, vendor_id: str, record: Mapping[str, Any]) -> VendorResult: ...

    def delete(self, stream: str, vendor_ids: Iterable[str]) -> None: ...


@dataclass
class AtVendor:
    """An undo's side that is a vendor. Consent is never undone, nor what makes a record unique: other records hang on
    it."""

    system: str
    mapping: MappingFile
    target: Customers

    @property
    def objects(self) -> Sequence[str]:
        return [f"{self.system}.{self.mapping.vendor.stream}"]

    def columns(self) -> list[str]:
        items = [item for item in self.mapping.fields.values() if item.vendor]
        return [str(item.vendor) for item in items if item.vendor not in self.target.only_new]

    def restorable(self, name: str) -> bool:
        (item,) = [item for item in self.mapping.fields.values() if item.vendor == name]
        return not item.consent and not item.unique

    def now(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        found = {}
        for vendor_id in ids:
            record = self.target.get(self.mapping.vendor.stream, vendor_id) if vendor_id else None
            if record is not None:
                found[vendor_id] = {path: as_text(value_at(record, path)) or "" for path in self.columns()}
        return found

    def restore(
        self, flow: Derived, rows: Sequence[Mapping[str, str]], names: Sequence[str], make: Any, first: Any
    ) -> list[RecordResult]:
        columns = ["Id", "_name", *names, *(f"{BEFORE}{name}" for name in names)]
        table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in columns})
        return flow.write(self._request(Operation.UPDATE), table, make, first=first, answer=self._update)

    def delete(self, flow: Derived, rows: Sequence[Mapping[str, str]], make: Any, first: Any) -> list[RecordResult]:
        table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in ("Id", "_name")})
        return flow.write(self._request(Operation.DELETE), table, make, first=first, answer=self._remove)

    def _request(self, operation: Operation) -> WriteRequest:
        return WriteRequest(self.mapping.vendor.stream, operation)

    def _update(self, rows: pa.Table, jobs: Any) -> tuple[list[WriteResult | None], SyncError | None]:
        kinds = {item.vendor: item.type for item in self.mapping.fields.values()}

        def send(row: dict[str, str]) -> WriteResult:
            values = {path: _of_kind(text, kinds[path]) for path, text in row.items() if path != "Id"}
            nulls = [path for path, value in values.items() if value is None]
            said = self.target.update(self.mapping.vendor.stream, row["Id"], nested(values, nulls=nulls))
            if said.vendor_id is None:
                return WriteResult(Outcome.REJECTED, row["Id"], said.code, said.message)
            return WriteResult(Outcome.UPDATED, row["Id"])

        return self._one_by_one(rows, jobs, send)

    def _remove(self, rows: pa.Table, jobs: Any) -> tuple[list[WriteResult | None], SyncError | None]:
        def send(row: dict[str, str]) -> WriteResult:
            self.target.delete(self.mapping.vendor.stream, [row["Id"]])
            return WriteResult(Outcome.DELETED, row["Id"])

        return self._one_by_one(rows, jobs, send)

    def _one_by_one(
        self, rows: pa.Table, jobs: Any, send: Callable[[dict[str, str]], WriteResult]
    ) -> tuple[list[WriteResult | None], SyncError | None]:
        results: list[WriteResult | None] = []
        for row in rows.to_pylist():
            jobs.beat()
            try:
                results.append(send(row))
            except RequestRejected as error:
                results.append(WriteResult(Outcome.REJECTED, row["Id"], error.code, str(error.args[0])))
            except SyncError as error:
                return [*results, *([None] * (rows.num_rows - len(results)))], error
        return results, None


def _of_kind(text: str, kind: str) -> str | float | bool | None:
    if kind == "text":
        return text
    if not text:
        return None
    return text == "true" if kind == "boolean" else float(text)


def check_selection(selection: Selection) -> None:
    """InvalidParameter when the selection names nothing."""
    if not selection.run_id and not selection.record_ids:
        raise InvalidParameter(
            "An undo needs a run or records.", fix="Name the DAG run in `run`, or record ids in `records`."
        )
