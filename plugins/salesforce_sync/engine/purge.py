"""Purge: records older than their retention leave Salesforce."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from salesforce_sync.engine.brakes import FLOOR, check_deletions
from salesforce_sync.engine.context import Context, first_refusals, refuse_too_many, require_objects
from salesforce_sync.engine.derive import Derived, derived
from salesforce_sync.records import Counts, Outcome, RecordResult, WriteResult
from salesforce_sync.salesforce.rows import JOB_ROWS, Operation, WriteRequest, regrouped
from salesforce_sync.state import links, sync_log

EXPIRING = "EXPIRING"


@dataclass(frozen=True)
class PurgeRule:
    """Which records go: those of `object` whose `date_field` lies more than `days` days before `today`. `mapping` names their links."""

    name: str
    object: str
    date_field: str
    record_id_field: str
    mapping: str
    days: int
    today: date
    percent: int = 100  # of the object's records that may go unasked; the Variables that decide, for the message
    percent_setting: str = ""
    days_setting: str = ""

    @property
    def cutoff(self) -> date:
        """The oldest day that stays: a record exactly `days` days old is kept."""
        return self.today - timedelta(days=self.days)


def purge(context: Context, rule: PurgeRule) -> Counts:
    """Deletes by the rule, buries the links of what is gone, and gives the counts. Records go to the org's recycle bin.

    HeldBack before anything is deleted, when more would go than the rule lets pass; that costs one call more where many go.
    """
    with derived(context, rule.name, [rule.object]) as flow:
        require_objects(context, [rule.object])
        expired = f"{rule.date_field} < {rule.cutoff.isoformat()}"
        soql = f"SELECT Id, {rule.record_id_field} FROM {rule.object} WHERE {expired}"
        results: list[RecordResult] = []
        for number, table in enumerate(regrouped(context.salesforce.read(soql))):
            names = [row[rule.record_id_field] or row["Id"] for row in table.to_pylist()]
            if number == 0:
                _brake(context, rule, expired, names)
            _bury(flow, rule, names, table.column("Id").to_pylist())
            rows = table.select(["Id"]).append_column("_name", pa.array(names, pa.string()))
            results += flow.write(WriteRequest(rule.object, Operation.DELETE), rows, _result)
        flow.run.notes.append(f"Kept: {rule.date_field} from {rule.cutoff} on.")
    refuse_too_many(flow.run.counts, rule.name, first_refusals(results))
    return flow.run.counts


def _brake(context: Context, rule: PurgeRule, expired: str, names: list[str]) -> None:
    """`names` are the first table's records: all of them, unless it is as large as a table gets."""
    if rule.percent >= 100 or len(names) <= FLOOR:
        return
    doomed = len(names) if len(names) < JOB_ROWS else context.salesforce.count(rule.object, expired)
    check_deletions(
        f"{rule.name}: {rule.object} before {rule.cutoff}", doomed=doomed, total=context.salesforce.count(rule.object),
        percent=rule.percent, samples=names, setting=rule.percent_setting, cause=f"{rule.days_setting}, which is {rule.days}",
    )  # fmt: skip


def _bury(flow: Derived, rule: PurgeRule, names: list[str], ids: list[str]) -> None:
    """Buries the links and logs the intention, before anything is deleted.

    A task that dies between the deletion and its commit must leave no link behind, or the record would count as unchanged
    for ever, and the log must still say why the record is gone.
    """
    message = f"{rule.date_field} is more than {rule.days} days ago"
    pairs = zip(names, ids, strict=True)
    expiring = [RecordResult(name, Outcome.SKIPPED, record_id, EXPIRING, message) for name, record_id in pairs]
    with flow.lease.transaction() as connection:
        links.bury(connection, flow.context.org, rule.mapping, ids)
        sync_log.write(connection, flow.run.id, expiring)


def _result(row: dict[str, Any], result: WriteResult) -> RecordResult:
    gone = result.code in ("ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY")  # somebody was faster: it is gone
    return RecordResult(
        row["_name"], Outcome.DELETED if gone else result.outcome, row["Id"], result.code, result.message
    )
