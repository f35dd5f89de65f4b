"""The Salesforce Synchronize object: customers that a campaign put into a queue, onto their Leads or Contacts, and what became of each.

The queue at the vendor is what waits: a customer stays in it until its fate is known, so a run that dies, or has no API budget left, is made up
for by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from salesforce_sync.mapping.apply import as_text, value_at
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import BatchRef, Counts, Outcome, RecordResult
from salesforce_sync.staging import Staging, read_record
from salesforce_sync.state import backlog, runs, sync_log
from salesforce_sync.state.runs import LIMITED
from salesforce_sync.steps.context import VendorContext, sync_run
from salesforce_sync.steps.moments import NOT_LINKED, PREFIXES, salesforce_id

CONTINUE, SUCCESS, ERROR, LIMIT = "continue", "success", "error", "limit"
DUPLICATE = "DUPLICATE"
CUSTOMER = "id"  # where a record holds the customer's own id


class Queue(Protocol):
    """A vendor's hook, as far as these steps need it."""

    def members(self, group: int) -> Iterator[list[dict[str, Any]]]: ...

    def add_members(self, group: int, customer_ids: Sequence[str]) -> None: ...

    def remove_members(self, group: int, customer_ids: Iterable[str]) -> None: ...


@dataclass
class Outputs:
    """Customer ids by what became of them. `all` are Continue; `finished` leave the queue. Whom a fault kept from being reached is in none."""

    success: list[str] = field(default_factory=list)
    error: list[str] = field(default_factory=list)
    limit: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.success, *self.error, *self.limit, *self.duplicate]

    @property
    def finished(self) -> list[str]:
        return [*self.success, *self.error, *self.duplicate]

    def by_name(self) -> dict[str, list[str]]:
        return {CONTINUE: self.all, SUCCESS: self.success, ERROR: self.error, LIMIT: self.limit}


def stage_queue(
    context: VendorContext, name: str, mapping: MappingFile, source: Queue, group: int, staging: Staging
) -> list[BatchRef]:
    """Stages the members of the group, with the customer's id; whom the mapping's object has no record of is for `fates` to tell."""
    with sync_run(context, f"{name}/extract") as run:
        records = (record for page in source.members(group) for record in page)
        paths = [*mapping.vendor_paths, CUSTOMER, *([mapping.deduplicate] if mapping.deduplicate else [])]
        refs = staging.write_records(
            context.run, records, id_path=mapping.vendor.id, paths=paths, high_cursor=None, folder=name
        )
        with context.state.begin() as connection:
            run.finish(connection, Counts(read=sum(ref.count for ref in refs)))
    return refs


def sift(
    context: VendorContext, name: str, mapping: MappingFile, batches: Sequence[BatchRef], staging: Staging
) -> list[BatchRef]:
    """Stages those of the batches' records that go to Salesforce; logs the others: NOT_LINKED, or DUPLICATE of a later one."""
    last: dict[str, str] = {}  # value that is deduplicated by -> customer
    for record in _records(batches, staging):
        value = _deduplicated_by(mapping, record)
        if value is not None and _is_linked(mapping, record):
            last[value] = str(record[CUSTOMER])
    writer = staging.writer(
        context.run,
        id_path=mapping.vendor.id,
        paths=[*mapping.vendor_paths, CUSTOMER],
        high_cursor=None,
        folder=f"{name}/sifted",
    )
    left: list[RecordResult] = []
    with sync_run(context, f"{name}/sift") as run:
        for record in _records(batches, staging):
            customer, value = str(record[CUSTOMER]), _deduplicated_by(mapping, record)
            if not _is_linked(mapping, record):
                message = f"its {mapping.vendor.id} is not the id of a {mapping.salesforce.object}"
                left.append(RecordResult(customer, Outcome.SKIPPED, code=NOT_LINKED, message=message))
            elif value is not None and last[value] != customer:
                message = f"customer {last[value]} has the same {mapping.deduplicate}"
                left.append(RecordResult(customer, Outcome.SKIPPED, code=DUPLICATE, message=message))
            else:
                writer.add(record)
        with context.state.begin() as connection:
            sync_log.write(connection, run.id, left)
            run.finish(connection, Counts(read=sum(ref.count for ref in batches), skipped=len(left)))
    return writer.close()


def fates(
    context: VendorContext, name: str, mapping: MappingFile, batches: Sequence[BatchRef], staging: Staging
) -> Outputs:
    """What became of every customer of the batches, by the sync log of this DAG run. On limit are those that the API budget kept back."""
    with context.state.begin() as connection:
        outcomes = sync_log.outcomes(connection, context.run.dag_id, context.run.run_id, steps=[name, f"{name}/sift"])
        steps = runs.of_dag_run(connection, context.run.dag_id, context.run.run_id)
        limited = any(step["step"] == name and step["status"] == LIMITED for step in steps)
        backlog.replace(connection, context.org, name, [])  # the queue is what waits
    outputs = Outputs()
    for record in _records(batches, staging):
        customer = str(record[CUSTOMER])
        outcome, code = (
            outcomes.get(customer) or outcomes.get(as_text(value_at(record, mapping.vendor.id)) or "") or (None, None)
        )
        if outcome is None:
            outputs.limit += [customer] if limited else []
        elif code == DUPLICATE:
            outputs.duplicate.append(customer)
        elif outcome in (Outcome.REJECTED, Outcome.SKIPPED):
            outputs.error.append(customer)
        else:
            outputs.success.append(customer)
    return outputs


def tell(target: Queue, groups: Mapping[str, int], outputs: Outputs) -> None:
    """Puts the customers into the groups of their outputs, and then takes those that are finished out of the queue."""
    for output, customers in outputs.by_name().items():
        if output in groups and customers:
            target.add_members(groups[output], customers)
    target.remove_members(groups["queue"], outputs.finished)


def _records(batches: Sequence[BatchRef], staging: Staging) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for text in staging.read(batch).column("record").to_pylist():
            yield read_record(text)


def _is_linked(mapping: MappingFile, record: Mapping[str, Any]) -> bool:
    found = salesforce_id(as_text(value_at(record, mapping.vendor.id)))
    return found is not None and found.startswith(PREFIXES[mapping.salesforce.object])


def _deduplicated_by(mapping: MappingFile, record: Mapping[str, Any]) -> str | None:
    value = as_text(value_at(record, mapping.deduplicate)) if mapping.deduplicate else None
    return None if value is None else value.lower()
