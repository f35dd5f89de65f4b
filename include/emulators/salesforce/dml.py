"""Insert, update, upsert and delete, with the rules of an org; REST, collections and Bulk all write through here.

Work goes by chunk: one look-up for all keys of the chunk, one for all references, one statement for all rows with the same columns.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from emulators.control import Clock, Faults
from emulators.salesforce.errors import ApiError, required_missing
from emulators.salesforce.ids import looks_like_id, to_18
from emulators.salesforce.policies import Policies
from emulators.salesforce.rules import COLUMN, Check, check_null, checker
from emulators.salesforce.schema import Field, Schema, SObject
from emulators.salesforce.store import Store, quoted, timestamp

NULL_IN_CSV = "#N/A"
TRIGGER_ROWS = 200  # an org works on so many rows of a call at a time; two of them may not be the same record
RECYCLE_BIN, HARD_DELETED = timedelta(days=15), timedelta(hours=24)  # how long queryAll still finds what was deleted
CLOSED_TASKS = frozenset({"completed"})
_PERSON = frozenset({"FirstName", "LastName"})
_DERIVED_FROM = {
    "Contact": _PERSON, "Lead": _PERSON, "User": _PERSON,
    "Task": frozenset({"Status"}), "Case": frozenset({"Status"}), "Opportunity": frozenset({"StageName"}),
}  # fmt: skip

Row = Mapping[str, Any]


@dataclass(frozen=True)
class WriteOptions:
    """What the headers of a write say: Sforce-Duplicate-Rule-Header and Sforce-Auto-Assign."""

    allow_duplicates: bool = False
    duplicate_details: bool = False
    auto_assign: bool = True


DEFAULT_OPTIONS = WriteOptions()


@dataclass(slots=True)
class RowResult:
    """What became of one row: `error` is None when it was written."""

    id: str | None = None
    created: bool = False
    error: ApiError | None = None


@dataclass(slots=True)
class _Draft:
    """A row on its way in: stored values by field name, and the references still to be resolved by external id."""

    values: dict[str, Any] = field(default_factory=dict)
    references: list[tuple[Field, SObject, Field, str]] = field(default_factory=list)
    key: Any = None
    id: str | None = None


def roll_back(results: Iterable[RowResult]) -> bool:
    """Where one row failed, makes every result a failure, as allOrNone does; gives whether it did."""
    results = list(results)
    if not any(result.error for result in results):
        return False
    for result in results:
        if result.error is None:
            result.id, result.created = None, False
            result.error = ApiError(
                "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                "Record rolled back because not all records were valid and the request was using AllOrNone header",
            )
    return True


class Dml:
    def __init__(
        self, store: Store, schema: Schema, clock: Clock, faults: Faults, policies: Policies, user_id: Callable[[], str]
    ) -> None:
        self.store, self.schema, self.clock, self.faults, self.policies, self.user_id = (
            store,
            schema,
            clock,
            faults,
            policies,
            user_id,
        )
        self._checks: dict[tuple[str, str, bool], Check] = {}

    # -- the four operations ------------------------------------------------------------------------------------------------------

    def insert(
        self,
        sobject: SObject,
        rows: Sequence[Row],
        *,
        from_csv: bool = False,
        all_or_none: bool = False,
        options: WriteOptions = DEFAULT_OPTIONS,
    ) -> list[RowResult]:
        return self._write(sobject, rows, "insert", None, from_csv, all_or_none, options)

    def update(
        self,
        sobject: SObject,
        rows: Sequence[Row],
        *,
        from_csv: bool = False,
        all_or_none: bool = False,
        options: WriteOptions = DEFAULT_OPTIONS,
    ) -> list[RowResult]:
        """Rows carry `Id`."""
        return self._write(sobject, rows, "update", None, from_csv, all_or_none, options)

    def upsert(
        self,
        sobject: SObject,
        rows: Sequence[Row],
        external_id: Field,
        *,
        from_csv: bool = False,
        all_or_none: bool = False,
        update_only: bool = False,
        options: WriteOptions = DEFAULT_OPTIONS,
    ) -> list[RowResult]:
        """Rows carry the external id field; a value that several records share gives MULTIPLE_CHOICES for its row."""
        return self._write(
            sobject, rows, "update-by-key" if update_only else "upsert", external_id, from_csv, all_or_none, options
        )

    def delete(
        self, sobject: SObject, ids: Sequence[str], *, hard: bool = False, all_or_none: bool = False
    ) -> list[RowResult]:
        with self.store.undoable() as undo:
            results = self._delete(sobject, [str(item or "") for item in ids], hard)
            undo.wanted = all_or_none and roll_back(results)
        return results

    # -- writing ------------------------------------------------------------------------------------------------------------------

    def _write(
        self,
        sobject: SObject,
        rows: Sequence[Row],
        operation: str,
        external_id: Field | None,
        from_csv: bool,
        all_or_none: bool,
        options: WriteOptions,
    ) -> list[RowResult]:
        if len(rows) > TRIGGER_ROWS and _has_twins(rows, external_id.name if external_id else "Id"):
            groups = [rows[start : start + TRIGGER_ROWS] for start in range(0, len(rows), TRIGGER_ROWS)]
            return [
                result
                for group in groups
                for result in self._write(sobject, group, operation, external_id, from_csv, all_or_none, options)
            ]
        results = [RowResult() for _ in rows]
        with self.store.undoable() as undo:
            drafts: dict[int, _Draft] = {}
            for index, row in enumerate(rows):
                try:
                    self._require_access(sobject, "create" if operation in ("insert", "upsert") else "update")
                    drafts[index] = self._draft(sobject, row, external_id, from_csv)
                except ApiError as error:
                    results[index].error = error
            self._refuse_by_fault(sobject, drafts, results)
            self._resolve_keys(sobject, drafts, results, operation, external_id)
            self._resolve_references(sobject, drafts, results)
            self._check_required_and_access(sobject, drafts, results)
            self._refuse_converted(sobject, drafts, results)
            self._refuse_inactive_owners(sobject, drafts, results)
            self._check_unique(sobject, drafts, results)
            self._check_pairs(sobject, drafts, results)
            self._check_policies(sobject, drafts, results, options)
            self._store(sobject, drafts, results, options)
            undo.wanted = all_or_none and roll_back(results)
        return results

    def _require_access(self, sobject: SObject, what: str) -> None:
        allowed = sobject.deletable if what == "delete" else sobject.createable
        if not allowed:
            raise ApiError(
                "INVALID_TYPE_FOR_OPERATION", f"entity type {sobject.name} does not support {what}", fields=[]
            )

    def _draft(self, sobject: SObject, row: Row, external_id: Field | None, from_csv: bool) -> _Draft:
        draft = _Draft()
        for number, (name, raw) in enumerate(row.items()):
            if name == "attributes":
                continue
            value = raw
            if from_csv:
                if raw == "":
                    continue
                value = None if raw == NULL_IN_CSV else raw
            if name.lower() == "id":
                if not isinstance(value, (str, type(None))):
                    raise ApiError("MALFORMED_ID", f"malformed id {value}"[:60], fields=["Id"])
                draft.id = value
                continue
            parent_name, _, parent_key = name.partition(".")
            item = sobject.find(name)
            cleared = (
                sobject.find_relationship(parent_name.rpartition(":")[2]) if item is None and value is None else None
            )
            if cleared is not None:
                draft.values[cleared.name] = None
                continue
            if item is None and (parent_key or isinstance(value, Mapping)):
                draft.references.append(self._reference(sobject, parent_name, parent_key, value))
                continue
            if item is None:
                raise ApiError("INVALID_FIELD", f"No such column '{name}' on sobject of type {sobject.name}")
            try:
                if value is None:
                    check_null(item)
                checked = None if value is None else self._check(sobject, item, from_csv)(value)
            except ApiError as error:
                error.message = error.message.replace(COLUMN, f"col {number}")
                raise
            if item is external_id:
                draft.key = checked
            draft.values[item.name] = checked
        return draft

    def _check(self, sobject: SObject, item: Field, from_csv: bool) -> Check:
        key = (sobject.name, item.name, from_csv)
        if key not in self._checks:
            self._checks[key] = checker(item, self.schema, from_csv=from_csv)
        return self._checks[key]

    def _reference(
        self, sobject: SObject, relationship: str, key: str, value: Any
    ) -> tuple[Field, SObject, Field, str]:
        """The parent that a cell `Relationship.Key`, or `Object:Relationship.Key` where there are several kinds, names."""
        kind, _, name = relationship.rpartition(":")
        item = sobject.find_relationship(name)
        if isinstance(value, Mapping):
            attributes = value.get("attributes")
            kind = str(attributes.get("type", "")) if isinstance(attributes, Mapping) else kind
            pairs = [(field_name, content) for field_name, content in value.items() if field_name != "attributes"]
            key, value = pairs[0] if len(pairs) == 1 else ("", None)
        kinds = [parent for parent in (item.reference_to if item else ()) if not kind or parent.lower() == kind.lower()]
        parent = self.schema.find(kinds[0]) if kinds else None
        parent_field = parent.find(key) if parent else None
        if item is None or parent is None or parent_field is None:
            raise ApiError("INVALID_FIELD", f"No such column '{relationship}.{key}' on sobject of type {sobject.name}")
        if not parent_field.is_lookup:
            raise ApiError(
                "INVALID_FIELD", f"Foreign key external ID field {key} is not an external ID field of {parent.name}"
            )
        return item, parent, parent_field, str(value)

    def _refuse_by_fault(self, sobject: SObject, drafts: dict[int, _Draft], results: list[RowResult]) -> None:
        fault = self.faults.take("row", path=sobject.name)
        if fault is None:
            return
        step = math.ceil(1 / fault.share) if fault.share > 0 else 0
        for index in [index for index in drafts if step and index % step == 0]:
            results[index].error = ApiError(
                fault.code or "UNABLE_TO_LOCK_ROW", fault.message or "unable to obtain exclusive access to this record"
            )
            del drafts[index]

    def _fail(self, drafts: dict[int, _Draft], results: list[RowResult], index: int, error: ApiError) -> None:
        results[index].error = error
        del drafts[index]

    def _resolve_keys(
        self,
        sobject: SObject,
        drafts: dict[int, _Draft],
        results: list[RowResult],
        operation: str,
        external_id: Field | None,
    ) -> None:
        """Sets `draft.id` to the existing record's id, or to None where a new record is to be made."""
        if operation == "insert":
            for index in [index for index, draft in drafts.items() if draft.id]:
                self._fail(
                    drafts,
                    results,
                    index,
                    ApiError("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", fields=["Id"]),
                )
            return
        if external_id is None or external_id.type == "id":
            self._resolve_ids(sobject, drafts, results, may_create=operation == "upsert")
            self._refuse_twins(drafts, results)
            return
        found: dict[Any, list[str]] = {}
        for value, record_id in self.store.lookup(
            sobject, external_id.name, [draft.key for draft in drafts.values() if draft.key is not None]
        ):
            found.setdefault(_fold(external_id, value), []).append(record_id)
        given = Counter(_fold(external_id, draft.key) for draft in drafts.values())
        for index, draft in list(drafts.items()):
            key = _fold(external_id, draft.key)
            matches = found.get(key, [])
            if draft.key is None:
                self._fail(
                    drafts, results, index, ApiError("MISSING_ARGUMENT", f"{external_id.name} not specified", fields=[])
                )
            elif given[key] > 1:
                twice = ApiError(
                    "DUPLICATE_VALUE", f"Duplicate external id specified: {draft.key}", fields=[external_id.name]
                )
                self._fail(drafts, results, index, twice)
            elif len(matches) > 1:
                self._fail(drafts, results, index, ApiError(
                    "MULTIPLE_CHOICES", f"{external_id.name}: more than one record found for external id field: {matches}", status=300))  # fmt: skip
            elif not matches and operation == "update-by-key":
                self._fail(
                    drafts, results, index, ApiError("NOT_FOUND", "The requested resource does not exist", status=404)
                )
            else:
                draft.id = matches[0] if matches else None
                if matches:
                    draft.values.pop(external_id.name, None)  # an update by key leaves the key's own spelling alone

    def _resolve_ids(
        self, sobject: SObject, drafts: dict[int, _Draft], results: list[RowResult], *, may_create: bool
    ) -> None:
        for index, draft in list(drafts.items()):
            if not draft.id and may_create:
                continue
            if not draft.id:
                self._fail(
                    drafts,
                    results,
                    index,
                    ApiError("MISSING_ARGUMENT", "Id not specified in an update call", fields=[]),
                )
            elif not looks_like_id(draft.id) or draft.id[:3] != sobject.prefix:
                self._fail(drafts, results, index, _wrong_id(sobject, draft.id))
            else:
                draft.id = to_18(draft.id)
        known = self._states(sobject, [draft.id for draft in drafts.values() if draft.id])
        for index, draft in list(drafts.items()):
            if draft.id and known.get(draft.id) != 0:
                self._fail(drafts, results, index, _gone(known.get(draft.id)))

    def _refuse_twins(self, drafts: dict[int, _Draft], results: list[RowResult]) -> None:
        """Rows of an update that are the same record: none of them is written."""
        given = Counter(draft.id for draft in drafts.values() if draft.id)
        for index, draft in list(drafts.items()):
            if draft.id and given[draft.id] > 1:
                twice = ApiError("DUPLICATE_VALUE", f"Duplicate id specified: {draft.id}", fields=[])
                self._fail(drafts, results, index, twice)

    def _states(self, sobject: SObject, ids: Iterable[str]) -> dict[str, int]:
        """IsDeleted by id, for the ids that exist."""
        distinct = list(dict.fromkeys(ids))
        states: dict[str, int] = {}
        with self.store.writing() as connection:
            for start in range(0, len(distinct), 900):
                part = distinct[start : start + 900]
                marks = ",".join("?" * len(part))
                states |= dict(
                    connection.execute(f"SELECT Id, IsDeleted FROM {quoted(sobject.name)} WHERE Id IN ({marks})", part)
                )
        return states

    def _resolve_references(self, sobject: SObject, drafts: dict[int, _Draft], results: list[RowResult]) -> None:
        """External ids of parents become ids; ids of parents must exist."""
        wanted: dict[tuple[str, str], set[str]] = {}
        for draft in drafts.values():
            for _, parent, parent_field, value in draft.references:
                wanted.setdefault((parent.name, parent_field.name), set()).add(value)
        found: dict[tuple[str, str], dict[Any, str]] = {}
        for (parent_name, field_name), values in wanted.items():
            parent = self.schema.objects[parent_name]
            parent_field = parent.fields[field_name]
            rows = self.store.lookup(parent, field_name, values)
            found[parent_name, field_name] = {_fold(parent_field, value): record_id for value, record_id in rows}
        for index, draft in list(drafts.items()):
            for item, parent, parent_field, value in draft.references:
                record_id = found[parent.name, parent_field.name].get(_fold(parent_field, value))
                if record_id is None:
                    message = f"Foreign key external ID: {value.lower()} not found for field {parent_field.name} in entity {parent.name}"
                    self._fail(drafts, results, index, ApiError("INVALID_FIELD", message, fields=[]))
                    break
                draft.values[item.name] = record_id
        self._check_parents_exist(sobject, drafts, results)

    def _check_parents_exist(self, sobject: SObject, drafts: dict[int, _Draft], results: list[RowResult]) -> None:
        for item in [item for item in sobject.fields.values() if item.type == "reference"]:
            parents = {value for draft in drafts.values() if (value := draft.values.get(item.name))}
            alive: set[str] = set()
            for name in item.reference_to:
                alive |= {record_id for record_id, _ in self.store.lookup(self.schema.objects[name], "Id", parents)}
            if parents <= alive:
                continue
            for index, draft in list(drafts.items()):
                if draft.values.get(item.name) in parents - alive:
                    self._fail(
                        drafts,
                        results,
                        index,
                        ApiError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=[item.name]),
                    )

    def _check_required_and_access(self, sobject: SObject, drafts: dict[int, _Draft], results: list[RowResult]) -> None:
        required = [item.name for item in sobject.fields.values() if item.required and item.default is None]
        for index, draft in list(drafts.items()):
            creating = draft.id is None
            closed = [
                name for name in draft.values
                if not (sobject.fields[name].createable if creating else sobject.fields[name].updateable)
            ]  # fmt: skip
            missing = [
                name for name in required
                if (draft.values.get(name) is None if creating else name in draft.values and draft.values[name] is None)
            ]  # fmt: skip
            if closed:
                message = (
                    f"Unable to create/update fields: {', '.join(closed)}. Please check the security settings of this field and verify that "
                    "it is read/write for your profile or permission set."
                )
                self._fail(drafts, results, index, ApiError("INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=closed))
            elif missing:
                self._fail(drafts, results, index, required_missing(missing))

    def _check_unique(self, sobject: SObject, drafts: dict[int, _Draft], results: list[RowResult]) -> None:
        for item in [item for item in sobject.fields.values() if item.unique]:
            values = [draft.values[item.name] for draft in drafts.values() if draft.values.get(item.name) is not None]
            holders = {
                _fold(item, value): record_id for value, record_id in self.store.lookup(sobject, item.name, values)
            }
            for index, draft in list(drafts.items()):
                value = draft.values.get(item.name)
                if value is None:
                    continue
                holder = holders.setdefault(_fold(item, value), draft.id or f"row {index}")
                if holder not in (draft.id, f"row {index}"):
                    shown = "<unknown>" if holder.startswith("row ") else holder  # a new row of this call has no id yet
                    message = f"duplicate value found: {item.name} duplicates value on record with id: {shown}"
                    self._fail(drafts, results, index, ApiError("DUPLICATE_VALUE", message, fields=[]))

    def _refuse_converted(self, sobject: SObject, drafts: dict[int, _Draft], results: list[RowResult]) -> None:
        """A converted Lead lives on as a Contact and takes no more changes."""
        if sobject.name != "Lead":
            return
        converted = {
            row[1]
            for row in self.store.lookup(
                sobject, "Id", [draft.id for draft in drafts.values() if draft.id], ["IsConverted"]
            )
            if row[2]
        }
        for index in [index for index, draft in drafts.items() if draft.id in converted]:
            self._fail(
                drafts,
                results,
                index,
                ApiError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", fields=[]),
            )

    def _refuse_inactive_owners(self, sobject: SObject, drafts: dict[int, _Draft], results: list[RowResult]) -> None:
        """Somebody who left keeps what is theirs, and gets nothing new."""
        user = self.schema.objects["User"]
        given = [owner for draft in drafts.values() if (owner := draft.values.get("OwnerId"))]
        inactive = {row[1] for row in self.store.lookup(user, "Id", given, ["IsActive"]) if not row[2]}
        for index, draft in list(drafts.items()):
            owner = str(draft.values.get("OwnerId"))
            if owner in inactive:
                message = f"operation performed with inactive user [{owner[:15]}] as owner of {sobject.label.lower()}"
                self._fail(drafts, results, index, ApiError("INACTIVE_OWNER_OR_USER", message, fields=[]))

    def _check_policies(
        self, sobject: SObject, drafts: dict[int, _Draft], results: list[RowResult], options: WriteOptions
    ) -> None:
        if not self.policies.watches(sobject.name):
            return
        for index, draft in list(drafts.items()):
            row = self._whole_row(sobject, draft)
            broken = self.policies.broken_rule(sobject.name, row)
            if broken is not None:
                self._fail(drafts, results, index, broken.error())
                continue
            for rule in [rule for rule in self.policies.duplicate if rule.object == sobject.name]:
                if rule.action == "alert" and options.allow_duplicates:
                    continue
                found = self._equal_records(sobject, row, rule.match, draft.id)
                if found:
                    details = (
                        (lambda record_id: self.stored_row(sobject, record_id)) if options.duplicate_details else None
                    )
                    self._fail(drafts, results, index, rule.error(found, with_details=details))
                    break

    def _whole_row(self, sobject: SObject, draft: _Draft) -> dict[str, Any]:
        """All values of the record as it is about to be stored."""
        before = self.stored_row(sobject, draft.id) if draft.id else self._with_defaults(sobject, {}, 0)
        return _derived(sobject, before | draft.values)

    def forget_checks(self) -> None:
        self._checks.clear()

    def stored_row(self, sobject: SObject, record_id: str) -> dict[str, Any]:
        """All stored values of a record that there is."""
        names = [item.name for item in sobject.fields.values() if not item.is_compound]
        with self.store.writing() as connection:
            row = connection.execute(
                f"SELECT {', '.join(map(quoted, names))} FROM {quoted(sobject.name)} WHERE Id = ?", (record_id,)
            ).fetchone()
        return dict(zip(names, row, strict=True))

    def _equal_records(self, sobject: SObject, row: Row, names: Sequence[str], own_id: str | None) -> list[str]:
        """The live records that have the row's values in all the named fields; none when one of them is empty."""
        if any(row.get(name) is None for name in names):
            return []
        condition = " AND ".join(f"{quoted(name)} = ?" for name in names)
        sql = f"SELECT Id FROM {quoted(sobject.name)} WHERE {condition} AND IsDeleted = 0 AND Id IS NOT ? LIMIT 10"
        with self.store.writing() as connection:
            return [found[0] for found in connection.execute(sql, [*(row[name] for name in names), own_id])]

    def _check_pairs(self, sobject: SObject, drafts: dict[int, _Draft], results: list[RowResult]) -> None:
        """Two fields that may hold the same two values in one record only: a person is a member of a campaign once."""
        for first, second in sobject.unique_pairs:
            for index, draft in list(drafts.items()):
                values = (draft.values.get(first), draft.values.get(second))
                if draft.id is not None or None in values:
                    continue
                sql = f"SELECT Id FROM {quoted(sobject.name)} WHERE {quoted(first)} = ? AND {quoted(second)} = ? AND IsDeleted = 0"
                with self.store.writing() as connection:
                    known = connection.execute(sql, values).fetchone()
                twice = any(
                    other < index and (item.values.get(first), item.values.get(second)) == values
                    for other, item in drafts.items()
                )
                if known or twice:
                    message = f"Duplicate {sobject.name}. {first}: {values[0]}; {second}: {values[1]}"
                    self._fail(drafts, results, index, ApiError("DUPLICATE_VALUE", message, fields=[first, second]))

    def _store(
        self, sobject: SObject, drafts: dict[int, _Draft], results: list[RowResult], options: WriteOptions
    ) -> None:
        now, user = timestamp(self.clock.now()), self.user_id()
        owner = self.policies.owner_of_new(sobject.name) if options.auto_assign else None
        late = self.faults.take("late", path=sobject.name)
        visible_from = {"_visible_from": timestamp(self.clock.now() + timedelta(seconds=late.seconds))} if late else {}
        self.store.has_late_rows |= late is not None
        new = {index: draft for index, draft in drafts.items() if draft.id is None}
        statements: dict[tuple[str, ...], list[list[Any]]] = {}
        for (index, draft), (number, record_id) in zip(
            new.items(), self.store.next_ids(sobject, len(new)), strict=True
        ):
            values = self._with_defaults(sobject, draft.values, number) | {
                "Id": record_id, "IsDeleted": 0, "CreatedDate": now, "CreatedById": user, "LastModifiedDate": now,
                "LastModifiedById": user, "SystemModstamp": now, **visible_from,
            }  # fmt: skip
            if "OwnerId" in sobject.fields:
                values["OwnerId"] = owner or values.get("OwnerId") or user
            statements.setdefault(tuple(values), []).append(list(values.values()))
            results[index].id, results[index].created = record_id, True
        with self.store.writing() as connection:
            for names, rows in statements.items():
                columns, marks = ", ".join(map(quoted, names)), ",".join("?" * len(names))
                connection.executemany(f"INSERT INTO {quoted(sobject.name)} ({columns}) VALUES ({marks})", rows)
            self._store_changes(
                connection,
                sobject,
                {index: draft for index, draft in drafts.items() if index not in new},
                results,
                now,
                user,
            )

    def _store_changes(
        self,
        connection: Any,
        sobject: SObject,
        drafts: dict[int, _Draft],
        results: list[RowResult],
        now: str,
        user: str,
    ) -> None:
        statements: dict[tuple[str, ...], list[list[Any]]] = {}
        for index, draft in drafts.items():
            values = draft.values | {"LastModifiedDate": now, "LastModifiedById": user, "SystemModstamp": now}
            statements.setdefault(tuple(values), []).append([*values.values(), draft.id])
            results[index].id = draft.id
        for names, rows in statements.items():
            assignments = ", ".join(f"{quoted(name)} = ?" for name in names)
            connection.executemany(f"UPDATE {quoted(sobject.name)} SET {assignments} WHERE Id = ?", rows)
        sources = _DERIVED_FROM.get(sobject.name, frozenset())
        changed = [draft.id for draft in drafts.values() if draft.id and not sources.isdisjoint(draft.values)]
        self._derive(connection, sobject, changed)

    def _with_defaults(self, sobject: SObject, values: dict[str, Any], number: int) -> dict[str, Any]:
        result = dict(values)
        for item in sobject.fields.values():
            if item.auto_number:
                result[item.name] = _auto_number(item.auto_number, number, self.clock.now().date())
            elif item.name not in result and not item.is_compound:
                if item.default is not None:
                    result[item.name] = int(item.default) if item.type == "boolean" else item.default
                elif item.type == "boolean":
                    result[item.name] = 0
        return _derived(sobject, result)

    def _derive(self, connection: Any, sobject: SObject, ids: list[str]) -> None:
        for record_id in ids:
            before = self.stored_row(sobject, record_id)
            changed = {name: value for name, value in _derived(sobject, dict(before)).items() if before[name] != value}
            for name, value in changed.items():
                connection.execute(
                    f"UPDATE {quoted(sobject.name)} SET {quoted(name)} = ? WHERE Id = ?", (value, record_id)
                )

    # -- deleting -----------------------------------------------------------------------------------------------------------------

    def _delete(self, sobject: SObject, ids: list[str], hard: bool) -> list[RowResult]:
        results = [RowResult() for _ in ids]
        try:
            self._require_access(sobject, "delete")
        except ApiError as error:
            return [RowResult(error=error) for _ in ids]
        drafts = {index: _Draft(id=record_id) for index, record_id in enumerate(ids)}
        self._refuse_by_fault(sobject, drafts, results)
        self._resolve_ids(sobject, drafts, results, may_create=False)
        gone = list(dict.fromkeys(draft.id for draft in drafts.values() if draft.id))
        self._remove(sobject, gone, hard)
        seen: set[str] = set()
        for index, draft in drafts.items():
            if draft.id in seen:
                results[index].error = _gone(1)
            else:
                results[index].id = draft.id
                seen.add(draft.id or "")
        return results

    def _remove(self, sobject: SObject, ids: list[str], hard: bool) -> None:
        if not ids:
            return
        now = timestamp(self.clock.now())
        with self.store.writing() as connection:
            for child, item in self.schema.children_of(sobject.name):
                if item.cascade_delete:
                    self._remove(child, [row[1] for row in self.store.lookup(child, item.name, ids)], hard)
                elif item.custom:  # a custom look-up is cleared when its parent goes
                    sql = f"UPDATE {quoted(child.name)} SET {quoted(item.name)} = NULL, SystemModstamp = ? WHERE {quoted(item.name)} = ?"
                    connection.executemany(sql, [(now, record_id) for record_id in ids])
            purge = timestamp(self.clock.now() + (HARD_DELETED if hard else RECYCLE_BIN))
            sql = (
                f"UPDATE {quoted(sobject.name)} SET IsDeleted = 1, SystemModstamp = ?, LastModifiedDate = ?, _purge_after = ?,"
                " _hard_deleted = ? WHERE Id = ?"
            )
            connection.executemany(sql, [(now, now, purge, hard or None, record_id) for record_id in ids])


def _has_twins(rows: Sequence[Row], key: str) -> bool:
    """Whether two rows may be the same record; their key is compared without case, and may be spelt in any."""
    names = {name for name in rows[0] if name.lower() == key.lower()} | {key}
    keys = [str(value).strip().casefold() for row in rows for name in names if (value := row.get(name))]
    return len(set(keys)) < len(keys)


def _fold(item: Field, value: Any) -> Any:
    return value.casefold() if isinstance(value, str) and item.is_text and not item.case_sensitive else value


def _auto_number(display_format: str, number: int, today: date) -> str:
    """A-{YYYY}-{0000} with the date and the number filled in."""
    text = display_format
    for token, value in (
        ("{YYYY}", f"{today:%Y}"),
        ("{YY}", f"{today:%y}"),
        ("{MM}", f"{today:%m}"),
        ("{DD}", f"{today:%d}"),
    ):
        text = text.replace(token, value)
    return re.sub(r"\{(0+)\}", lambda match: f"{number:0{len(match[1])}d}", text)


def _wrong_id(sobject: SObject, value: str) -> ApiError:
    if not looks_like_id(value):
        return ApiError("MALFORMED_ID", f"malformed id {value}", fields=["Id"])
    return ApiError("MALFORMED_ID", f"{sobject.label} ID: id value of incorrect type: {value}", fields=["Id"])


def _gone(is_deleted: int | None) -> ApiError:
    if is_deleted:
        return ApiError("ENTITY_IS_DELETED", "entity is deleted", status=404, fields=[])
    return ApiError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", status=404, fields=[])


def _derived(sobject: SObject, values: dict[str, Any]) -> dict[str, Any]:
    if sobject.name in ("Contact", "Lead", "User"):
        parts = (values.get("FirstName"), values.get("LastName"))
        values["Name"] = " ".join(part for part in parts if part)
    elif sobject.name == "Task":
        values["IsClosed"] = int(str(values.get("Status") or "").lower() in CLOSED_TASKS)
    elif sobject.name == "Case":
        values["IsClosed"] = int(str(values.get("Status") or "").lower() == "closed")
    elif sobject.name == "Opportunity":
        stage = str(values.get("StageName") or "").lower()
        values["IsClosed"], values["IsWon"] = int(stage.startswith("closed")), int(stage == "closed won")
    return values
