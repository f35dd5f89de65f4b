"""Reading from Salesforce: what changed since the watermark, and what is due again, staged for a vendor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from salesforce_sync.engine.context import Context, known_parents, require_objects
from salesforce_sync.engine.read import WHOLE, is_whole_due, mark_first, reading
from salesforce_sync.mapping import describe
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.salesforce.changes import LOOKBACK, STAMP
from salesforce_sync.salesforce.metadata import ObjectInfo
from salesforce_sync.salesforce.soql import fields_in, in_lists
from salesforce_sync.state import dead_letters, links, waits, watermarks
from salesforce_sync.state.engine import reading as looking

DELETED, MASTER = "IsDeleted", "MasterRecordId"  # how a record says that it is gone, and into which one it was merged
CONVERTED, CONTACT = "IsConverted", "ConvertedContactId"  # how a Lead says that it lives on as a Contact
STAMP_FORMAT = "%Y-%m-%d %H:%M:%S+00:00"


def extra_fields(described: ObjectInfo) -> list[str]:
    """What is read of an object beside the mapped fields: its stamp, and whether the record is gone or lives on."""
    wanted = (STAMP, DELETED, MASTER, *((CONVERTED, CONTACT) if described.name == "Lead" else ()))
    return [name for name in wanted if name in (STAMP, DELETED) or described.find(name)]


@dataclass(frozen=True)
class Span:
    """`lookback`: how long before the watermark a reading begins, since Salesforce shows some changes late. `whole_days`: after how many
    days a reading is of all records, 0 for never; of a mapping that reads formula fields, which change without a stamp, every day."""

    lookback: timedelta = LOOKBACK
    whole_days: int = 0


def read_changes(
    context: Context,
    name: str,
    mapping: MappingFile,
    *,
    full: bool = False,
    resend: bool = False,
    span: Span = Span(),
    also: Sequence[str] = (),
) -> int:
    """Registers the records that changed since the mapping's watermark, or whose parents did, deleted and merged ones among them; with
    `full`, and when it is time for it, all records, and links whose record is nowhere any more as gone. Gives how many.

    Records that wait for a key that is free now, and refused ones that are due, are read by their ids. Costs one API call
    up to 2,000 records. `also` names further fields to be staged.
    """
    side = mapping.salesforce
    with reading(context, name, name=f"{name}/extract") as work:
        with looking(context.state) as connection:
            watermark = watermarks.get(connection, context.org, name)
            last_whole = watermarks.get(connection, context.org, f"{name}{WHOLE}")
            due = _due(connection, context.org, name, mapping)
        described = require_objects(context, [side.object])[side.object]
        fields = list(dict.fromkeys([*mapping.salesforce_paths, *extra_fields(described), *also]))
        where = f"({side.where}) OR {CONVERTED} = true" if side.where and CONVERTED in fields else side.where
        began = datetime.now(UTC)
        whole = (
            full or watermark is None or is_whole_due(last_whole, began, _whole_days(context, mapping, described, span))
        )
        since = None if whole else datetime.fromisoformat(str(watermark))
        changes = context.salesforce.changes(
            side.object, fields, since=since, where=where, include_deleted=True, lookback=span.lookback
        )
        tables = _seen(changes.tables, seen := set[str]())
        refs = context.staging.tables(work.folder(name), tables, id_column="Id", stamp=_stamps)
        again = [record_id for record_id in due if record_id not in seen]
        refs += context.staging.tables(
            work.folder(name, "due"),
            _seen(_by_id(context, side.object, fields, again, where=where), seen),
            id_column="Id",
            stamp=_stamps,
        )
        given_up = [record_id for record_id in again if record_id not in seen]  # the condition leaves them out now
        if whole:
            lost = _nowhere(context, name, side.object, seen, fields, changes.began)
            refs += context.staging.tables(work.folder(name, "gone"), lost, id_column="Id", stamp=_stamps)
        before = "" if since is None else str(watermark)
        count = work.add(name, refs, paths=fields, read_from=before)

        def mark(connection: Connection) -> None:
            watermarks.advance(connection, context.org, name, changes.upper.isoformat())
            mark_first(connection, context.org, name, changes.began)
            if whole:
                watermarks.advance(connection, context.org, f"{name}{WHOLE}", began.isoformat())
            waits.remove(connection, context.org, name, given_up)
            dead_letters.close(connection, context.org, name, given_up)

        work.register(resend=resend, marks=mark)
    return count


def _seen(tables: Iterator[pa.Table], seen: set[str]) -> Iterator[pa.Table]:
    for table in tables:
        seen.update(table.column("Id").to_pylist())
        yield table


def _whole_days(context: Context, mapping: MappingFile, described: ObjectInfo, span: Span) -> int:
    if span.whole_days <= 1:
        return span.whole_days
    parents = known_parents(context, mapping, described)
    condition = [described.find(name) for name in fields_in(mapping.salesforce.where) if "." not in name]
    computed = any(info is not None and info.calculated for info in condition)
    return 1 if computed or describe.reads_unstamped(mapping, described, parents) else span.whole_days


def _stamps(table: pa.Table) -> list[str]:
    stamps: list[str] = pc.strftime(table.column(STAMP).cast(pa.timestamp("s", tz="UTC")), STAMP_FORMAT).to_pylist()
    return stamps


def _due(connection: Connection, org: str, name: str, mapping: MappingFile) -> list[str]:
    """The records to be read again by their ids."""
    due = dead_letters.due(connection, org, name, datetime.now(UTC))
    letters = [letter.record_id for letter in due if letter.origin is None]
    waiting = waits.of_mappings(connection, org, [name])
    if not waiting:
        return letters
    holders = [mapping.yields_to] if mapping.yields_to else []
    held = links.with_keys(connection, org, holders, unique_keys=[wait.key for wait in waiting], vendor_ids=[])
    taken = {item.link.unique_key for item in held if not item.link.gone}
    return [*letters, *(wait.record_id for wait in waiting if wait.key not in taken)]


def _by_id(
    context: Context, object_name: str, fields: Sequence[str], ids: Sequence[str], *, where: str = ""
) -> Iterator[pa.Table]:
    condition = f" AND (({where}) OR {DELETED} = true)" if where else ""
    for listed in in_lists(ids):
        soql = f"SELECT {', '.join(fields)} FROM {object_name} WHERE Id IN ({listed}){condition}"
        yield from context.salesforce.read(soql, include_deleted=True)


def _nowhere(
    context: Context, name: str, object_name: str, seen: set[str], fields: Sequence[str], began: datetime
) -> Iterator[pa.Table]:
    """Records that have a link and are not in the org any more, as if they had been read as deleted when this reading
    began. Each is looked up by its id first: a whole reading passes over what its condition leaves out."""
    with looking(context.state) as connection:
        linked = links.living(connection, context.org, name)
    doubtful = [record_id for record_id in linked if record_id not in seen]
    found = {
        record_id
        for table in _by_id(context, object_name, ["Id"], doubtful)
        for record_id in table.column("Id").to_pylist()
    }
    gone = [record_id for record_id in doubtful if record_id not in found]
    if gone:
        empty = {field: pa.nulls(len(gone), pa.string()) for field in fields}
        known = {
            "Id": pa.array(gone),
            DELETED: pa.array([True] * len(gone)),
            STAMP: pa.array([began] * len(gone), pa.timestamp("ms", tz="UTC")),
        }
        yield pa.table(empty | known)
