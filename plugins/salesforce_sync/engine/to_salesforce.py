"""The end of a delivery that is Salesforce: rows upserted by external id, or updated by Id."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from salesforce_sync.engine.context import Context, mapping_problems
from salesforce_sync.engine.deliver import Delivered, NoteJobs, Sent, deliver
from salesforce_sync.engine.group import Group, Member
from salesforce_sync.engine.lease import Lease
from salesforce_sync.engine.plan import Look, PlanWriter, facts_of
from salesforce_sync.engine.read import records_writer
from salesforce_sync.errors import InvalidMapping, MissingMetadata
from salesforce_sync.mapping import describe
from salesforce_sync.mapping.apply import Mapped, Target, apply
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.version import mapping_version
from salesforce_sync.records import Outcome, RecordResult
from salesforce_sync.salesforce import rows as row_limits
from salesforce_sync.salesforce.rows import ConvertedRule, Operation, WriteRequest
from salesforce_sync.state import inbox


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

    def version(self, member: Member) -> str:
        return mapping_version(member.mapping, self._targets(member))

    def paths(self, member: Member) -> Sequence[str]:
        return member.mapping.vendor_paths

    def also(self, member: Member) -> Sequence[str]:
        return ()

    def map(self, member: Member, columns: Columns) -> Mapped:
        """The mapped rows. Before one is refused by what the org said of its fields within the hour, the org is asked once more."""
        mapped = apply(member.mapping, columns, self._targets(member))
        if mapped.misfits and self.context.salesforce.refresh():
            self.targets[member.name] = check_mapping(self.context, member.name, member.mapping)
            mapped = apply(member.mapping, columns, self._targets(member))
        return mapped

    def rows_per_chunk(self) -> int:
        return row_limits.JOB_ROWS

    def plan(
        self, context: Context, group: Group, looks: Mapping[str, Look], changed: Iterator[tuple[Member, pa.Table]],
        writer: PlanWriter,
    ) -> None:  # fmt: skip
        (member,) = group.members
        request = request_of(member.mapping)
        facts = {"request": json.dumps({"operation": str(request.operation), "key": request.key})}
        writer.add(member, (table for _, table in changed), **facts)

    def send(self, context: Context, chunk: pa.Table, jobs: NoteJobs, *, repeated: bool) -> Sent:
        name = facts_of(chunk)["member"]
        request = self.requests[name]
        values = chunk.select([column for column in chunk.column_names if not column.startswith("_")])
        results, error = context.salesforce.answer(request, values, jobs)
        marks = chunk.select(_MARKS).to_pydict()
        rows = zip(*(marks[column] for column in _MARKS), strict=True)
        return Sent([_result(row, result) for row, result in zip(rows, results, strict=True)], error)

    def _targets(self, member: Member) -> dict[str, Target]:
        if member.name not in self.targets:
            self.targets[member.name] = check_mapping(self.context, member.name, member.mapping)
            self.requests[member.name] = request_of(member.mapping)
        return self.targets[member.name]


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


def request_of(mapping: MappingFile) -> WriteRequest:
    """How the mapping's rows are written."""
    side = mapping.salesforce
    converted = ConvertedRule(side.converted.object, dict(side.converted.fields)) if side.converted else None
    operation = Operation.UPDATE if mapping.is_update_only else Operation.UPSERT
    return WriteRequest(
        side.object, operation, side.external_id, mapping.clears, parent=side.parent, assign=side.assign_owners,
        allow_duplicates=side.allow_duplicates, converted=converted,
    )  # fmt: skip


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
    return describe.targets(mapping, described)
