"""The Salesforce Synchronize object: customers that a campaign put into a queue, onto their Leads or Contacts, and each
one's outcome told.

A customer that the queue gives out becomes a claim in the state database. It is taken out of the queue first and read
after that, so that what the campaign changes later puts it into the queue once more. Each claim is told of once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection

from salesforce_sync.engine.context import Context, sync_run
from salesforce_sync.engine.read import Reading, reading
from salesforce_sync.errors import CallsMayLand
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.paths import as_text, value_at
from salesforce_sync.records import MISSING_AT_VENDOR, Counts, Outcome, RecordResult
from salesforce_sync.state import claims, runs, sync_log
from salesforce_sync.state.claims import Claim
from salesforce_sync.state.engine import reading as looking
from salesforce_sync.systems.deployteq.moments import NOT_LINKED, PREFIXES, salesforce_id

CONTINUE, SUCCESS, ERROR, LIMIT = "continue", "success", "error", "limit"
DUPLICATE = "DUPLICATE"
REMOVED_TOGETHER = 50  # claims noted as removed in one transaction


class Queue(Protocol):
    """A vendor's hook, as far as these steps need it."""

    def members(self, group: int) -> Iterator[list[dict[str, Any]]]: ...

    def add_members(self, group: int, customer_ids: Sequence[str]) -> None: ...

    def remove_members(self, group: int, customer_ids: Iterable[str]) -> None: ...

    def get(self, stream: str, vendor_id: str) -> Mapping[str, Any] | None: ...


@dataclass
class Outputs:
    """Customer ids by what they are told. Who was told `limit` once is told neither that nor `continue` again."""

    continued: list[str] = field(default_factory=list)
    success: list[str] = field(default_factory=list)
    error: list[str] = field(default_factory=list)
    limit: list[str] = field(default_factory=list)

    def by_name(self) -> dict[str, list[str]]:
        return {CONTINUE: self.continued, SUCCESS: self.success, ERROR: self.error, LIMIT: self.limit}


def read_queue(context: Context, name: str, mapping: MappingFile, source: Queue, group: int) -> int:
    """Claims the customers in the group, takes them out of it, and registers their values; gives how many it staged.

    Claims that an earlier task left open come with them. CallsMayLand when a removal of such a task may still arrive: the
    same call again, after that, reads those customers once more.
    """
    with reading(context, name) as work:
        _claim(context, work, name, source, group)
        with looking(context.state) as connection:
            ready = claims.of_stream(connection, context.org, name, [claims.REMOVED])
        count = _stage(work, name, mapping, source, ready)
        with looking(context.state) as connection:
            unanswered = claims.of_stream(connection, context.org, name, [claims.LISTED])
    if unanswered:
        left = context.timing.rest_seconds - min(claim.rested for claim in unanswered)
        raise CallsMayLand([(0, 0, max(claim.id for claim in unanswered), 0)], max(0.0, left))
    return count


def _claim(context: Context, work: Reading, name: str, source: Queue, group: int) -> None:
    """Every member becomes a claim, and leaves the group. Claims of earlier tasks whose removal was not answered are
    ready once it cannot arrive any more."""
    with work.lease.transaction() as connection:
        for (plan, _, up_to, _), seconds in context.rested.items():
            if plan == 0:  # no plan: these are claims, up to an id
                claims.rest(connection, context.org, name, seconds, up_to=up_to)
        unanswered = claims.of_stream(connection, context.org, name, [claims.LISTED])
        ripe = [claim.id for claim in unanswered if claim.rested >= context.timing.rest_seconds]
        claims.set_status(connection, ripe, claims.REMOVED)
    members = [str(record["id"]) for page in source.members(group) for record in page]
    with work.lease.transaction() as connection:
        claims.list_new(connection, context.org, name, members, epoch=work.lease.epoch)
        listed = claims.of_stream(connection, context.org, name, [claims.LISTED])
    own = [claim for claim in listed if claim.epoch == work.lease.epoch]
    for start in range(0, len(own), REMOVED_TOGETHER):
        part = own[start : start + REMOVED_TOGETHER]
        source.remove_members(group, [claim.customer for claim in part])
        with work.lease.transaction() as connection:
            claims.set_status(connection, [claim.id for claim in part], claims.REMOVED)


def _stage(work: Reading, name: str, mapping: MappingFile, source: Queue, ready: Sequence[Claim]) -> int:
    """Reads the customers of these claims, and stages those that go to Salesforce; the others have their outcome."""
    records: dict[str, Mapping[str, Any] | None] = {}
    for number, claim in enumerate(ready):
        if number % REMOVED_TOGETHER == 0:
            work.lease.beat()
        records[claim.customer] = source.get("customers", claim.customer)
    last: dict[str, str] = {}  # value that is deduplicated by -> the customer that has it last
    for claim in ready:
        record = records[claim.customer]
        value = None if record is None else _deduplicated_by(mapping, record)
        if record is not None and value is not None and _is_linked(mapping, record):
            last[value] = claim.customer
    writer = work.writer(name, mapping)
    staged: dict[str, str] = {}
    ended: list[tuple[Claim, RecordResult]] = []
    for claim in ready:
        record = records[claim.customer]
        result = _left_out(mapping, claim.customer, record, last)
        if result is not None:
            ended.append((claim, result))
        elif claim.customer not in staged:
            assert record is not None
            writer.add(record)
            staged[claim.customer] = str(_record_id(mapping, record))
    count = work.add(name, writer.close(), paths=mapping.vendor_paths)

    def mark(connection: Connection) -> None:
        found = [(claim.id, staged[claim.customer]) for claim in ready if claim.customer in staged]
        claims.read(connection, found, reading=work.number)
        for claim, result in ended:
            claims.end(connection, [claim.id], outcome=str(result.outcome), code=result.code)
        sync_log.write(connection, work.run.id, [result for _, result in ended])
        work.run.counts += Counts.of(result.outcome for _, result in ended)

    work.register(marks=mark)
    return count


def _left_out(
    mapping: MappingFile, customer: str, record: Mapping[str, Any] | None, last: Mapping[str, str]
) -> RecordResult | None:
    """Why the customer does not go to Salesforce; None when it does."""
    if record is None:
        return RecordResult(
            customer, Outcome.SKIPPED, code=MISSING_AT_VENDOR, message="the vendor deleted it meanwhile"
        )
    value = _deduplicated_by(mapping, record)
    if not _is_linked(mapping, record):
        message = f"its {mapping.vendor.id} is not the id of a {mapping.salesforce.object}"
        return RecordResult(customer, Outcome.SKIPPED, code=NOT_LINKED, message=message)
    if value is not None and last[value] != customer:
        message = f"customer {last[value]} has the same {mapping.deduplicate}"
        return RecordResult(customer, Outcome.SKIPPED, code=DUPLICATE, message=message)
    return None


def tell(context: Context, name: str, target: Queue, groups: Mapping[str, int]) -> Outputs:
    """Puts every customer whose outcome is known into the groups of its outputs, and those that the API budget keeps back
    into that of the limit; gives who was told what. Each claim is told of its outcome once."""
    with sync_run(context, f"{name}/report"):
        with looking(context.state) as connection:
            ended = claims.of_stream(connection, context.org, name, [claims.DELIVERED])
            steps = runs.of_dag_run(connection, context.run.dag_id, context.run.run_id)
            limited = any(step["step"] == name and step["status"] == runs.LIMITED for step in steps)
            waiting = claims.of_stream(connection, context.org, name, [claims.READ]) if limited else []
        on_limit = [claim for claim in waiting if not claim.limit_told]
        outputs = Outputs(limit=_customers(on_limit))
        outputs.continued = _customers([*(claim for claim in ended if not claim.limit_told), *on_limit])
        outputs.error = _customers(claim for claim in ended if _is_error(claim))
        outputs.success = _customers(claim for claim in ended if claim.code != DUPLICATE and not _is_error(claim))
        for output, customers in outputs.by_name().items():
            if output in groups and customers:
                target.add_members(groups[output], customers)
        with context.state.begin() as connection:
            claims.set_status(connection, [claim.id for claim in ended], claims.TOLD)
            claims.tell_limit(connection, [claim.id for claim in on_limit])
    return outputs


def _customers(found: Iterable[Claim]) -> list[str]:
    return list(dict.fromkeys(claim.customer for claim in found))


def _is_error(claim: Claim) -> bool:
    return claim.code != DUPLICATE and claim.outcome in (str(Outcome.REJECTED), str(Outcome.SKIPPED))


def _is_linked(mapping: MappingFile, record: Mapping[str, Any]) -> bool:
    found = _record_id(mapping, record)
    return found is not None and found.startswith(PREFIXES[mapping.salesforce.object])


def _record_id(mapping: MappingFile, record: Mapping[str, Any]) -> str | None:
    return salesforce_id(as_text(value_at(dict(record), mapping.vendor.id)))


def _deduplicated_by(mapping: MappingFile, record: Mapping[str, Any]) -> str | None:
    value = as_text(value_at(dict(record), mapping.deduplicate)) if mapping.deduplicate else None
    return None if value is None else value.lower()
