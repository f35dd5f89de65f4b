"""The end of a delivery that is both sides, and what both sides have now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from salesforce_sync.engine.context import NO_BRAKES, Context
from salesforce_sync.engine.deliver import Delivered, NoteJobs, Sent, deliver
from salesforce_sync.engine.from_salesforce import CONTACT, CONVERTED, MASTER
from salesforce_sync.engine.from_salesforce import DELETED as GONE
from salesforce_sync.engine.group import Group, Member
from salesforce_sync.engine.plan import MARKS, Look, PlanWriter, facts_of
from salesforce_sync.engine.to_salesforce import check_mapping
from salesforce_sync.engine.two_way import shadow
from salesforce_sync.engine.two_way.merging import Merging
from salesforce_sync.engine.two_way.sending import Sender
from salesforce_sync.engine.two_way.sides import (
    CREATED_AT,
    CREATED_DATE,
    DELETED,
    EXTERNAL_ID,
    MAKE_ROWS,
    UPDATED_AT,
    Refused,
    Rules,
    Side,
    TwoWayTarget,
    is_theirs,
    member_name,
    no_address,
    salesforce_extras,
    selected,
    texts,
    vendor_paths,
    why_gone,
)
from salesforce_sync.errors import InvalidMapping
from salesforce_sync.ids import whole_id
from salesforce_sync.mapping.apply import Mapped, Target, apply, apply_to_vendor
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.fingerprint import fingerprints
from salesforce_sync.mapping.merge import Seen
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.paths import as_text
from salesforce_sync.mapping.version import mapping_version
from salesforce_sync.salesforce.changes import STAMP


def group_of(system: str, flow: str, mapping: MappingFile) -> Group:
    """Both directions of a mapping both ways: they share all that they read and write."""
    members = (
        Member(member_name(flow, theirs=False), mapping.one_way("to_vendor")),
        Member(member_name(flow, theirs=True), mapping.one_way("to_salesforce")),
    )
    written = [part.salesforce.object for part in members[1].mapping.parts.values()]
    return Group(flow, (*written, f"{system}.{mapping.vendor.stream}"), members)


def deliver_both_ways(
    context: Context, system: str, flow: str, mapping: MappingFile, target: TwoWayTarget, rules: Rules
) -> Delivered:
    """Merges and writes all that waits for the flow, on either side: see deliver.deliver. In the shadow, nothing is
    written: see shadow.py."""
    group = group_of(system, flow, mapping)
    if not rules.shadow or context.dry is not None:
        return deliver(context, group, TwoWay(context, flow, mapping, target, rules))
    context = replace(context, brakes=NO_BRAKES)  # nothing moves that a person would have to see first
    context.salesforce.read_only = True
    end = TwoWay(context, flow, mapping, target, rules)
    try:
        shadow.compare(end)
        return deliver(context, group, end)
    finally:
        shadow.report(end)


@dataclass
class TwoWay:
    context: Context
    flow: str
    mapping: MappingFile
    target: TwoWayTarget
    rules: Rules
    refused: Refused = field(default_factory=Refused)

    # -- the End of deliver.py ---------------------------------------------------------------------------------------

    def check(self, group: Group) -> None:  # noqa: ARG002 - it knows its mapping
        _ = self.targets
        found = self.target.problems(self.mapping)
        if found:
            raise InvalidMapping(
                f"Mapping {self.flow} does not fit the vendor: {'; '.join(found)}.",
                fix="Correct the names on the right-hand side of the mapping file.",
            )

    def version(self, member: Member) -> str:
        return mapping_version(member.mapping, self.targets if is_theirs(member) else {})

    def paths(self, member: Member) -> Sequence[str]:
        """What tells whether a record changed: not its stamp, which moves with other things, too."""
        if is_theirs(member):
            return [path for path in vendor_paths(self.mapping) if path not in (UPDATED_AT, CREATED_AT)]
        return [*self.mapping.salesforce_paths, GONE, *self.mapping.create.to_vendor.when]

    def also(self, member: Member) -> Sequence[str]:
        return () if is_theirs(member) else (CONVERTED, self.mapping.salesforce.external_id)

    def rows_per_chunk(self) -> int:
        return MAKE_ROWS

    def map(self, member: Member, columns: Columns) -> Mapped:
        """The values as the other side would be given them, and `_raw:` those that this side has, as texts."""
        return self._map_theirs(columns) if is_theirs(member) else self._map_ours(columns)

    def plan(
        self, context: Context, group: Group, looks: Mapping[str, Look], changed: Iterator[tuple[Member, pa.Table]],
        writer: PlanWriter, *, peek: bool, keep_doomed: bool,
    ) -> None:  # fmt: skip
        del context, group, keep_doomed
        Merging(self, looks, writer, peek=peek).run(changed)

    def send(self, context: Context, chunk: pa.Table, jobs: NoteJobs, *, repeated: bool) -> Sent:
        facts = facts_of(chunk)
        sender = Sender(self, context, chunk, facts, jobs, repeated)
        return sender.run()

    # -- mapping -----------------------------------------------------------------------------------------------------

    @cached_property
    def ours(self) -> MappingFile:
        return self.mapping.one_way("to_vendor")

    @cached_property
    def theirs(self) -> MappingFile:
        return self.mapping.one_way("to_salesforce")

    @cached_property
    def keys(self) -> dict[str, str]:
        """Field -> what it is: with another counterpart, or another direction, it is another one."""
        return {name: f"{name} {item.vendor} {item.direction}" for name, item in self.mapping.fields.items()}

    @cached_property
    def targets(self) -> dict[str, Target]:
        """What Salesforce's fields take; raises when the mapping does not fit the org."""
        check_mapping(self.context, member_name(self.flow, theirs=False), self.ours)
        return check_mapping(self.context, member_name(self.flow, theirs=True), self.theirs)

    @cached_property
    def required(self) -> list[str]:
        """The fields that a new record, and what is created with it, has to have in this org."""
        parts = self.theirs.parts
        described = self.context.salesforce.describe([part.salesforce.object for part in parts.values()])
        found = []
        for prefix, part in parts.items():
            owner = described[part.salesforce.object]
            fields = owner.fields.values() if owner is not None else ()
            needed = [info.name for info in fields if info.createable and not info.nillable and not info.defaulted]
            found += [f"{prefix}{name}" for name in needed if f"{prefix}{name}" in self.theirs.fields]
        return found

    @cached_property
    def users(self) -> dict[str, str]:
        """The org's active users: id -> e-mail address in small letters. Read once, when a field holds a user."""
        found: dict[str, str] = {}
        for table in self.context.salesforce.read("SELECT Id, Email FROM User WHERE IsActive = true"):
            rows = zip(table.column("Id").to_pylist(), table.column("Email").to_pylist(), strict=True)
            found |= {str(user_id): str(email or "").lower() for user_id, email in rows}
        return found

    def user_of(self, value: Any) -> str | None:
        """The Salesforce user that the vendor names by id or e-mail address; None when the org has no such user."""
        text = str(value or "")
        known = whole_id(text) if text[:3] == "005" else None
        if known in self.users:
            return known
        return next((user_id for user_id, email in self.users.items() if email and email == text.lower()), None)

    def _shared_user(self, value: Any) -> str | None:
        """The user's id when the vendor has the user, too. A queue, or somebody who is only here, stays where it is."""
        user_id = whole_id(str(value)) if value else None
        if user_id is None or user_id not in self.users:
            return None
        return user_id if self.target.has_user(user_id=user_id, email=self.users[user_id]) else None

    def _with_users(self, columns: Columns, paths: Sequence[str], translate: Callable[[Any], str | None]) -> Columns:
        table = columns.table
        for path in paths:
            if path in table.column_names:
                values = [translate(value) for value in table.column(path).to_pylist()]
                table = table.set_column(table.column_names.index(path), path, pa.array(values, pa.string()))
        return Columns(table)

    @cached_property
    def user_fields(self) -> list[str]:
        """The fields that hold a user."""
        return [name for name, item in self.mapping.fields.items() if item.user]

    def _map_ours(self, columns: Columns) -> Mapped:
        side = self.mapping.salesforce
        gone, converted = columns.flags(GONE), columns.flags(CONVERTED)
        over = gone | converted
        known = self._with_users(columns, self.user_fields, self._shared_user)
        mapped = apply_to_vendor(self.ours, known, accept=over)
        self._keep_refused(columns.take(np.array(sorted(mapped.problems), dtype=np.int64)), theirs=False)
        when = self.mapping.create.to_vendor.when
        more = {
            "_gone": gone.tolist(), "_master": texts(columns, MASTER), "_created": texts(columns, CREATED_DATE),
            "_contact": [text or "" if flag else None for text, flag in zip(texts(columns, CONTACT), converted, strict=True)],
            "_partner": texts(columns, side.external_id), "_selected": selected(columns, when),
            "_parent": texts(columns, side.with_parent.reference) if side.with_parent else [None] * len(columns),
        }  # fmt: skip
        return self._with_more(mapped, more, known, {name: name for name in self.mapping.fields})

    def _map_theirs(self, columns: Columns) -> Mapped:
        size = len(columns)
        gone = columns.flags(DELETED)
        paths = [str(self.mapping.fields[name].vendor) for name in self.user_fields]
        known = self._with_users(columns, paths, self.user_of)
        mapped = apply(self.theirs, known, self.targets, accept=gone)
        self._keep_refused(columns.take(np.array(sorted(mapped.problems), dtype=np.int64)), theirs=True)
        when = self.mapping.create.to_salesforce.when
        more = {
            "_gone": gone.tolist(), "_master": [None] * size, "_contact": [None] * size,
            "_created": texts(columns, CREATED_AT), "_partner": texts(columns, EXTERNAL_ID),
            "_selected": selected(columns, when), "_no_address": no_address(columns, self.target.address),
        }  # fmt: skip
        vendor = {name: str(item.vendor) for name, item in self.mapping.fields.items()}
        return self._with_more(mapped, more, known, vendor)

    def _keep_refused(self, columns: Columns, *, theirs: bool) -> None:
        for record in columns.records():
            self.refused.add(record, self.mapping, theirs=theirs)

    def _with_more(
        self, mapped: Mapped, more: Mapping[str, Sequence[Any]], columns: Columns, paths: Mapping[str, str]
    ) -> Mapped:
        """`paths`: field -> where this side has it."""
        table, places = mapped.table, pa.array(mapped.places)
        for name, path in paths.items():
            raw = pa.array(texts(columns, path), pa.string())
            table = table.append_column(f"_raw:{name}", raw.take(places))
        for name, values in more.items():
            kind = pa.bool_() if name in ("_gone", "_selected", "_no_address") else pa.string()
            table = table.append_column(name, pa.array(values, kind).take(places))
        return Mapped(table, mapped.places, mapped.problems, misfits=mapped.misfits)

    # -- what both sides have now ------------------------------------------------------------------------------------

    def sides(self, table: pa.Table, *, theirs: bool) -> Iterator[Side]:
        """The rows of a mapped table, with their marks where they have any."""
        fields = self.mapping.fields
        rows = table.to_pylist()
        one_way = self.theirs.fields if theirs else self.ours.fields
        for row in rows:
            seen = {
                name: Seen.of(
                    row[f"_raw:{name}"], row[name if theirs else str(item.vendor)] if name in one_way else None
                )
                for name, item in fields.items()
            }
            yield Side(
                row["_id"], seen, row["_partner"] or "", row.get("_version") or row.get("_stamp") or "",
                row["_created"] or "", bool(row["_selected"]), why_gone(row, theirs=theirs), row["_master"] or "",
                row.get("_parent") or "", row["_fingerprint"],
                {name: row[name] for name in MARKS} if "_batch" in row else None,
            )  # fmt: skip

    def look_at_ours(self, ids: Sequence[str]) -> tuple[dict[str, Side], dict[str, str]]:
        """The Salesforce records with these ids as they are now, and why some cannot be mapped. What is not there is in
        neither."""
        if not ids:
            return {}, {}
        extra = [
            STAMP,
            *salesforce_extras(self.mapping),
            *([CONVERTED] if self.mapping.salesforce.object == "Lead" else []),
        ]
        fields = [name for name in dict.fromkeys([*self.mapping.salesforce_paths, *extra]) if name != "Id"]
        found = list(self.context.salesforce.by_ids(self.mapping.salesforce.object, list(ids), fields))
        if not found:
            return {}, {}
        table = pa.concat_tables(found)
        parent = self.mapping.salesforce.with_parent
        names = [STAMP, *([f"{parent.prefix}{STAMP}"] if parent else [])]
        columns = [[as_text(value) or "" for value in table.column(name).to_pylist()] for name in names]
        stamps = [max(found) for found in zip(*columns, strict=True)]  # of one form, so that the latest is the greatest
        return self._looked_at(table, table.column("Id").to_pylist(), stamps, theirs=False)

    def look_at_theirs(self, ids: Sequence[str]) -> tuple[dict[str, Side], dict[str, str]]:
        """The vendor's records with these ids: see look_at_ours; those that are gone there say so."""
        if not ids:
            return {}, {}
        paths = vendor_paths(self.mapping)
        found = list(self.target.look(self.mapping.vendor.stream, paths, list(ids)).values())
        if not found:
            return {}, {}
        columns = Columns.of(found, ["id", *paths])
        stamps = [str(record.get(UPDATED_AT) or "") for record in found]
        return self._looked_at(columns.table, [record["id"] for record in found], stamps, theirs=True)

    def _looked_at(
        self, table: pa.Table, ids: Sequence[str], stamps: Sequence[str], *, theirs: bool
    ) -> tuple[dict[str, Side], dict[str, str]]:
        mapped = (self._map_theirs if theirs else self._map_ours)(Columns(table))
        known = mapped.table.append_column("_id", pa.array([ids[place] for place in mapped.places], pa.string()))
        known = known.append_column("_stamp", pa.array([stamps[place] for place in mapped.places], pa.string()))
        values = mapped.table.select([name for name in mapped.table.column_names if not name.startswith("_")])
        known = known.append_column("_fingerprint", pa.array(fingerprints(values), pa.string()))
        sides = {side.id: side for side in self.sides(known, theirs=theirs)}
        return sides, {ids[place]: problem for place, problem in mapped.problems.items()}
