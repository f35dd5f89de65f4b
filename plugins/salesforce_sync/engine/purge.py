"""Purge: records older than their retention leave Salesforce."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection

from salesforce_sync.engine.brakes import FLOOR, deletion_brake
from salesforce_sync.engine.context import Context, first_refusals, refuse_too_many, require_objects
from salesforce_sync.engine.derive import Derived, derived
from salesforce_sync.records import Counts, Outcome, Reason, RecordResult, WriteResult
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
    setting: str = ""  # the Variable that `days` comes from, for the message

    @property
    def cutoff(self) -> date:
        """The oldest day that stays: a record exactly `days` days old is kept."""
        return self.today - timedelta(days=self.days)


def purge(context: Context, rule: PurgeRule) -> Counts:
    """Deletes by the rule, buries the links of what is gone, and gives the counts. Records go to the org's recycle bin.

    HeldBack before anything is deleted, when more would go than passes unasked; that costs one call more where many go.
    """
    with derived(context, rule.name, [rule.object]) as flow:
        require_objects(context, [rule.object])
        expired = f"{rule.date_field} < {rule.cutoff.isoformat()}"
        soql = f"SELECT Id, {rule.record_id_field} FROM {rule.object} WHERE {expired}"
        results: list[RecordResult] = []
        bury = partial(_bury, flow, rule)
        for number, table in enumerate(regrouped(context.salesforce.read(soql))):
            names = [row[rule.record_id_field] or row["Id"] for row in table.to_pylist()]
            if number == 0:
                flow.brake(_brakes(context, rule, expired, len(names)))
            rows = table.select(["Id"]).append_column("_name", pa.array(names, pa.string()))
            results += flow.write(WriteRequest(rule.object, Operation.DELETE), rows, _result, first=bury)
        flow.run.notes.append(f"Kept: {rule.date_field} from {rule.cutoff} on.")
    refuse_too_many(flow.run.counts, rule.name, first_refusals(results))
    return flow.run.counts


def _brakes(context: Context, rule: PurgeRule, expired: str, found: int) -> list[Reason]:
    """`found` are the first table's records: all of them, unless it is as large as a table gets."""
    percent = context.brakes.delete_percent
    if percent is None or percent >= 100 or found <= FLOOR:
        return []
    doomed = found if found < JOB_ROWS else context.salesforce.count(rule.object, expired)
    total = context.salesforce.count(rule.object)
    what = f"{rule.object} before {rule.cutoff} ({rule.setting or 'retention'} is {rule.days})"
    return list(deletion_brake(rule.name, what, doomed=doomed, total=total, percent=percent))


def _bury(flow: Derived, rule: PurgeRule, connection: Connection, rows: pa.Table) -> None:
    """Buries the links and logs the intention, before anything is deleted.

    A task that dies between the deletion and its commit must leave no link behind, or the record would count as unchanged
    for ever, and the log must still say why the record is gone.
    """
    message = f"{rule.date_field} is more than {rule.days} days ago"
    names, ids = rows.column("_name").to_pylist(), rows.column("Id").to_pylist()
    pairs = zip(names, ids, strict=True)
    expiring = [RecordResult(name, Outcome.SKIPPED, record_id, EXPIRING, message) for name, record_id in pairs]
    links.bury(connection, flow.context.org, rule.mapping, ids)
    sync_log.write(connection, flow.run.id, expiring)


def _result(row: dict[str, Any], result: WriteResult) -> RecordResult:
    gone = result.code in ("ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY")  # somebody was faster: it is gone
    return RecordResult(
        row["_name"], Outcome.DELETED if gone else result.outcome, row["Id"], result.code, result.message
    )
