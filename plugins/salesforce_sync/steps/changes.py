"""Extract from Salesforce: what changed since the last delivery, staged for a vendor."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from salesforce_sync.mapping.apply import nested
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import BatchRef, Counts
from salesforce_sync.salesforce.changes import STAMP, Changes
from salesforce_sync.staging import Staging
from salesforce_sync.state import watermarks
from salesforce_sync.state.engine import reading
from salesforce_sync.steps.context import StepContext, require_objects, sync_run

DELETED, MASTER = "IsDeleted", "MasterRecordId"  # how a record says that it is gone, and into which one it was merged


def stage_changes(
    context: StepContext, name: str, mapping: MappingFile, staging: Staging, *, full: bool = False
) -> list[BatchRef]:
    """Stages the records that changed since the watermark of the mapping called `name`, deleted and merged ones among them; with `full`, all.

    The watermark moves when the batches are delivered, not here. Costs one API call up to 2,000 records.
    """
    side = mapping.salesforce
    with sync_run(context, f"{name}/extract") as run:
        with reading(context.state) as connection:
            watermark = watermarks.get(connection, context.org, name)
        since = None if full or watermark is None else datetime.fromisoformat(watermark)
        described = require_objects(context, [side.object])[side.object]
        gone = [DELETED, *([MASTER] if described.find(MASTER) else [])]
        fields = [*mapping.salesforce_paths, STAMP, *gone]
        changes = context.client.changes(side.object, fields, since=since, where=side.where, include_deleted=True)
        refs = staging.write_records(
            context.run,
            _records(changes),
            id_path="Id",
            paths=fields,
            high_cursor=changes.upper.isoformat(),
            org=context.org,
            folder=name,
        )
        with context.state.begin() as connection:
            counts = Counts(read=sum(ref.count for ref in refs))
            run.finish(connection, counts, watermark_from=watermark, watermark_to=changes.upper.isoformat())
    return refs


def _records(changes: Changes) -> Iterator[dict[str, Any]]:
    for table in changes.tables:
        for row in table.to_pylist():
            yield nested(row)
