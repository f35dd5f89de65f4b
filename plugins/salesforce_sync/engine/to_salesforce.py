"""The end of a delivery that is Salesforce: rows upserted by external id, or updated by Id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from salesforce_sync.engine.context import Context, known_parents, mapping_problems
from salesforce_sync.engine.deliver import Delivered, NoteJobs, Sent, deliver
from salesforce_sync.engine.group import Group, Member
from salesforce_sync.engine.lease import Lease
from salesforce_sync.engine.matches import Matches
from salesforce_sync.engine.plan import BEFORE, Look, PlanWriter, facts_of
from salesforce_sync.engine.read import records_writer
from salesforce_sync.engine.summary import texts
from salesforce_sync.errors import InvalidMapping, MissingMetadata
from salesforce_sync.mapping import describe
from salesforce_sync.mapping.apply import RIVALS, Mapped, Target, apply
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.model import MappingFile, SalesforceSide
from salesforce_sync.mapping.version import mapping_version
from salesforce_sync.records import Outcome, RecordResult
from salesforce_sync.salesforce import rows as row_limits
from salesforce_sync.salesforce.rows import ConvertedRule, Node, Operation, WriteRequest
from salesforce_sync.staging import in_parts
from salesforce_sync.state import inbox

MOVED = "MOVED"  # the code of a record that is another one in Salesforce now
MOST_BY_KEY = 2_000  # records that are looked for by key; above it, the whole object is read


def deliver_to_salesforce(
    context: Context, name: str, mapping: MappingFile, *, lease: Lease | None = None, limit: bool = True
) -> Delivered:
    """Delivers all that waits for the mapping called `name`: see deliver.deliver."""
    return deliver(context, Group.to_salesforce(name, mapping), ToSalesforce(context), lease=lease, limit=limit)


def deliver_made(
    context: Context,
    lease: Lease,
    name: str,
    mapping: MappingFile,
    records: Sequence[Mapping[str, Any]],
    *,
    resend: bool = False,
    limit: bool = True,
) -> Delivered:
    """Delivers records that were made here, under a lease that covers the mapping's object.

    They are registered in the inbox first, so that what the API budget does not cover waits as everything else does.
    """
    number = lease.epoch
    context.made += 1
    folder = context.staging.folder(context.org, name, f"{number:09d}", str(context.made))
    writer = records_writer(context.staging, folder, mapping)
    for record in records:
        writer.add(record)
    with lease.transaction() as connection:
        inbox.register(
            connection, context.run, org=context.org, mapping=name, stream=name, reading=number, refs=writer.close(),
            paths=mapping.vendor_paths, resend=resend,
        )  # fmt: skip
    return deliver_to_salesforce(context, name, mapping, lease=lease, limit=limit)


@dataclass
class ToSalesforce:
    context: Context
    targets: dict[str, dict[str, Target]] = field(default_factory=dict)  # by mapping, what its fields take
    requests: dict[str, WriteRequest] = field(default_factory=dict)

    def check(self, group: Group) -> None:
        for member in group.members:
            self._targets(member)
            if member.mapping.salesforce.find_by:
                Matches(self.context, member).refresh()

    def version(self, member: Member) -> str:
        return mapping_version(member.mapping, self._targets(member))

    def paths(self, member: Member) -> Sequence[str]:
        return member.mapping.vendor_paths

    def also(self, member: Member) -> Sequence[str]:
        return (RIVALS,)

    def map(self, member: Member, columns: Columns) -> Mapped:
        """The mapped rows. Before one is refused by what the org said of its fields within the hour, the org is asked once more."""
        find_by = member.mapping.salesforce.find_by
        found = Matches(self.context, member).of(columns) if find_by else None
        mapped = apply(member.mapping, columns, self._targets(member), found=found)
        if mapped.misfits and self.context.salesforce.refresh():
            self.targets[member.name] = check_mapping(self.context, member.name, member.mapping)
            mapped = apply(member.mapping, columns, self._targets(member), found=found)
        return mapped

    def rows_per_chunk(self) -> int:
        return row_limits.JOB_ROWS

    def plan(
        self, context: Context, group: Group, looks: Mapping[str, Look], changed: Iterator[tuple[Member, pa.Table]],
        writer: PlanWriter, *, peek: bool, keep_doomed: bool,
    ) -> None:  # fmt: skip
        (member,) = group.members
        mapping = member.mapping
        request = request_of(mapping)
        keeps = [name for name in mapping.fields if name not in mapping.clears and mapping.fields[name].vendor]
        facts = {
            "object": request.object, "operation": str(request.operation), "key": request.key, "keeps": ",".join(keeps),
        }  # fmt: skip
        now = datetime.now(UTC).replace(microsecond=0)
        tables = (self._completed(looks[member.name], table, now) for _, table in changed)
        if not peek and (mapping.reads_before or self._must_know):
            tables = (self._with_before(mapping, table) for table in in_parts(tables, row_limits.JOB_ROWS))
        writer.add(member.name, tables, **facts)

    def _completed(self, look: Look, table: pa.Table, now: datetime) -> pa.Table:
        """The rows with what nobody compares: which record is written, where its id is known, and the moment of this
        delivery, in the fields that get it. Without those whose record a call may still write for another one."""
        mapping = look.member.mapping
        if mapping.is_update_only:
            left = pc.if_else(pc.not_equal(table.column("_target"), table.column("Id")), table.column("_target"), None)
            table = table.append_column("_left", left)  # the record that it was before
            table = table.set_column(table.column_names.index("_target"), "_target", table.column("Id"))
        if mapping.salesforce.find_by and look.taken:
            rests = pc.is_in(table.column("Id"), pa.array(sorted(look.taken), pa.string()))
            look.left_out += pc.sum(rests).as_py() or 0
            table = table.filter(pc.invert(rests))
        for name in mapping.stamps:
            kind = self._targets(look.member)[name].arrow_type
            value = now.date() if kind == pa.date32() else now
            table = table.append_column(name, pa.array([value] * table.num_rows, kind))
        return table

    @property
    def _must_know(self) -> bool:
        """Whether people are shown what is in Salesforce now, also of records that nobody delivered before."""
        return self.context.dry is not None or self.context.brakes.approve

    def _with_before(self, mapping: MappingFile, table: pa.Table) -> pa.Table:
        """The rows, each with what Salesforce has in the fields that are written."""
        side = mapping.salesforce
        targets = table.column("_target").to_pylist()
        keys = table.column(mapping.key).to_pylist()
        if mapping.is_update_only:
            targets = keys
        fields = [name for name in mapping.fields if name in table.column_names]
        known: dict[str, dict[str, str]] = {}
        for found in self.context.salesforce.by_ids(side.object, [item for item in targets if item], fields):
            known |= _texts_by(found, "Id", fields)
        if self._must_know and not mapping.is_update_only:
            strangers = [key for key, target in zip(keys, targets, strict=True) if target not in known]
            by_key: dict[str, dict[str, str]] = {}
            for found in self._by_key(side.object, mapping.key, strangers, fields):
                by_key |= {
                    key.lower(): values for key, values in _texts_by(found, mapping.key, [*fields, "Id"]).items()
                }
            found_ids = [by_key.get(str(key).lower(), {}).get("Id") for key in keys]
            targets = [target if target in known else other for target, other in zip(targets, found_ids, strict=True)]
            known |= {values["Id"]: values for values in by_key.values()}
        table = table.set_column(table.column_names.index("_target"), "_target", pa.array(targets, pa.string()))
        found = [known.get(target or "") for target in targets]
        nothing = pa.repeat("", table.num_rows)  # of a first load, all of it
        for name in fields:
            before = pa.array([row[name] if row else "" for row in found], pa.string()) if known else nothing
            table = table.append_column(f"{BEFORE}{name}", before)
        return table

    def _by_key(self, name: str, key: str, values: Sequence[str], fields: Sequence[str]) -> Iterator[pa.Table]:
        """The records with these keys. Of many, the whole object is read: that is fewer calls."""
        if len(values) <= MOST_BY_KEY:
            return self.context.salesforce.matching(name, key, values, ["Id", *fields])
        return self.context.salesforce.read(f"SELECT {', '.join(['Id', key, *fields])} FROM {name} WHERE {key} != null")

    def send(self, context: Context, chunk: pa.Table, jobs: NoteJobs, *, repeated: bool) -> Sent:
        name = facts_of(chunk)["member"]
        request = self.requests[name]
        values = chunk.select([column for column in chunk.column_names if not column.startswith("_")])
        results, error = context.salesforce.answer(request, values, jobs)
        marks = chunk.select(_MARKS).to_pydict()
        rows = zip(*(marks[column] for column in _MARKS), strict=True)
        found = [_result(row, result) for row, result in zip(rows, results, strict=True)]
        if "_left" in chunk.column_names:
            found = [_moved(item, left) for item, left in zip(found, chunk.column("_left").to_pylist(), strict=True)]
        return Sent(found, error)

    def _targets(self, member: Member) -> dict[str, Target]:
        if member.name not in self.targets:
            self.targets[member.name] = check_mapping(self.context, member.name, member.mapping)
            self.requests[member.name] = request_of(member.mapping)
        return self.targets[member.name]


def _texts_by(table: pa.Table, key: str, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The rows by their key, their values as texts."""
    columns = {name: texts(table.column(name)).to_pylist() for name in names}
    keys = table.column(key).to_pylist()
    return {str(keys[place]): {name: columns[name][place] for name in names} for place in range(table.num_rows)}


_MARKS = ["_id", "_batch", "_row", "_version", "_reading", "_origin", "_fingerprint", "_staged"]


def _result(row: tuple[Any, ...], result: Any) -> RecordResult | None:
    if result is None:
        return None
    record_id, batch, place, version, reading, origin, fingerprint, staged = row
    if result.outcome is Outcome.REJECTED:
        return RecordResult(
            record_id, Outcome.REJECTED, result.salesforce_id, result.code, result.message, version=version,
            reading=reading, batch=batch, row=place, origin=origin,
        )  # fmt: skip
    return RecordResult(
        record_id, result.outcome, result.salesforce_id, result.code, result.message, fingerprint, staged,
        version=version, reading=reading, batch=batch, row=place, origin=origin,
    )  # fmt: skip


def _moved(result: RecordResult | None, left: str | None) -> RecordResult | None:
    """Says of a record that was written which other one it was before: that one keeps its values."""
    if result is None or left is None or result.outcome is not Outcome.UPDATED:
        return result
    return result._replace(code=MOVED, message=f"it was {left} before, which keeps its last values")


def request_of(mapping: MappingFile) -> WriteRequest:
    """How the mapping's rows are written."""
    side = mapping.salesforce
    converted = ConvertedRule(side.converted.object, dict(side.converted.fields)) if side.converted else None
    operation = Operation.UPDATE if mapping.is_update_only else Operation.UPSERT
    return WriteRequest(
        side.object, operation, mapping.key, mapping.clears, parent=side.parent, assign=side.assign_owners,
        allow_duplicates=side.allow_duplicates, converted=converted, nodes=nodes_of(side),
    )  # fmt: skip


def nodes_of(side: SalesforceSide) -> tuple[Node, ...]:
    """The records that a row of the mapping is written as, all of them or none; nothing when it is one record."""
    parent, also = side.with_parent, side.also_create
    if not (parent or also):
        return ()
    nodes = [Node("record", side.object, side.external_id, references={parent.reference: "parent"} if parent else {})]
    if parent:
        nodes.insert(0, Node("parent", parent.object, parent.external_id, parent.prefix, id_column=parent.reference))
    if also:
        nodes.append(Node("also", also.object, also.external_id, also.prefix, also.references, id_column=""))
    return tuple(nodes)


def check_mapping(context: Context, name: str, mapping: MappingFile) -> dict[str, Target]:
    """What each mapped field takes in this org; raises when the mapping does not fit the org."""
    name_of_object = mapping.salesforce.object
    described = context.salesforce.describe([name_of_object])[name_of_object]
    found = mapping_problems(context, mapping, described)
    if found and context.salesforce.refresh():  # the org may have changed since it was described
        described = context.salesforce.describe([name_of_object])[name_of_object]
        found = mapping_problems(context, mapping, described)
    if described is None:
        raise MissingMetadata(f"Mapping {name}: {found[0]}.")
    if found:
        raise InvalidMapping(f"Mapping {name} does not fit the org: {'; '.join(found)}.", fix=MissingMetadata.fix)
    return describe.targets(mapping, described, known_parents(context, mapping, described))
