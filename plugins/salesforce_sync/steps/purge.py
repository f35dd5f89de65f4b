"""Purge: records older than their retention leave Salesforce, and old sync log leaves the state database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import pyarrow as pa

from salesforce_sync.records import Counts, Outcome, RecordResult
from salesforce_sync.salesforce.rows import regrouped
from salesforce_sync.state import links, sync_log
from salesforce_sync.steps.context import (
    StepContext,
    SyncRun,
    first_refusals,
    refuse_too_many,
    require_objects,
    sync_run,
)

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

    @property
    def cutoff(self) -> date:
        """The oldest day that stays: a record exactly `days` days old is kept."""
        return self.today - timedelta(days=self.days)


def purge(context: StepContext, rule: PurgeRule, *, sync_log_days: int) -> Counts:
    """Deletes by the rule, forgets the links of what is gone, and gives the counts. Records go to the org's recycle bin."""
    with sync_run(context, rule.name) as run:
        require_objects(context, [rule.object])
        soql = (
            f"SELECT Id, {rule.record_id_field} FROM {rule.object} WHERE {rule.date_field} < {rule.cutoff.isoformat()}"
        )
        results: list[RecordResult] = []
        for table in regrouped(context.client.read(soql)):
            names = {row["Id"]: row[rule.record_id_field] or row["Id"] for row in table.to_pylist()}
            _announce(context, run, rule, names)
            results += _delete(context, rule.object, table.select(["Id"]), names)
        counts = Counts.of(result.outcome for result in results)
        run.notes.append(f"Kept: {rule.date_field} from {rule.cutoff} on.")
        with context.state.begin() as connection:
            sync_log.write(connection, run.id, results)
            before = datetime.combine(rule.today, time(), UTC) - timedelta(days=sync_log_days)
            sync_log.purge(connection, before=before)
            run.finish(connection, counts)
    refuse_too_many(counts, rule.name, first_refusals(results))
    return counts


def _announce(context: StepContext, run: SyncRun, rule: PurgeRule, names: dict[str, str]) -> None:
    """Forgets the links and logs the intention, before anything is deleted.

    A task that dies between the deletion and its commit must leave no link behind, or the record would count as unchanged for ever, and
    the log must still say why the record is gone.
    """
    message = f"{rule.date_field} is more than {rule.days} days ago"
    expiring = [RecordResult(name, Outcome.SKIPPED, record_id, EXPIRING, message) for record_id, name in names.items()]
    with context.state.begin() as connection:
        links.forget(connection, context.org, rule.mapping, list(names))
        sync_log.write(connection, run.id, expiring)


def _delete(context: StepContext, object_name: str, ids: pa.Table, names: dict[str, str]) -> Iterable[RecordResult]:
    for table, results in context.client.delete(object_name, [ids]):
        for record_id, result in zip(table.column("Id").to_pylist(), results, strict=True):
            name = names[record_id]
            if result.code in (
                "ENTITY_IS_DELETED",
                "INVALID_CROSS_REFERENCE_KEY",
            ):  # somebody was faster: it is gone all the same
                yield RecordResult(name, Outcome.DELETED, record_id, result.code, result.message)
            else:
                yield RecordResult(name, result.outcome, record_id, result.code, result.message)
