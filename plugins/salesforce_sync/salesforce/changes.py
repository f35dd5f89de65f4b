"""Incremental reads: what changed in an object since a watermark, nothing missed.

Salesforce stamps records to the second, and shows them some seconds later. So a read begins LOOKBACK before the watermark, inclusive, and the
next watermark is Salesforce's time when the read began, less LAG. What the look-back reads again, the caller knows by its record links. The
statement names no upper bound: that would cost a call to ask for the time, and what came in meanwhile may as well be delivered now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from salesforce_sync.salesforce.query import Reader
from salesforce_sync.salesforce.soql import soql_moment

LOOKBACK = timedelta(
    minutes=5
)  # longer than a transaction takes to become visible after the moment that it is stamped with
LAG = timedelta(seconds=3)  # rows stamped within it may not all be visible yet
STAMP = "SystemModstamp"


@dataclass(frozen=True)
class Changes:
    """`tables` yields each changed record once, with Id and SystemModstamp; `upper` is the watermark to store when all are
    registered; `began` is Salesforce's time when the reading began."""

    tables: Iterator[pa.Table]
    upper: datetime
    began: datetime


def read_changes(
    reader: Reader,
    object_name: str,
    fields: Sequence[str],
    *,
    since: datetime | None,
    where: str = "",
    include_deleted: bool = False,
) -> Changes:
    """The records whose SystemModstamp is `since` less LOOKBACK, or later; with `since` None, all records.

    `include_deleted` brings deleted and merged ones too, marked by IsDeleted (and MasterRecordId, if asked).
    """
    wanted = list(dict.fromkeys([*fields, "Id", STAMP, *(["IsDeleted"] if include_deleted else [])]))
    bounds = [] if since is None else [f"{STAMP} >= {soql_moment(since - LOOKBACK)}"]
    if where:
        bounds.append(f"({where})")
    soql = f"SELECT {', '.join(wanted)} FROM {object_name}" + (f" WHERE {' AND '.join(bounds)}" if bounds else "")
    reading = reader.begin(soql, include_deleted=include_deleted)
    upper = (reading.began - LAG).replace(microsecond=0)
    return Changes(_once(reading.tables), max(upper, since or upper), reading.began)


def _once(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Each record once: one that changes while pages are read may stand on two of them."""
    seen: set[str] = set()
    for table in tables:
        ids = table.column("Id").to_pylist()
        fresh = [record_id not in seen for record_id in ids]
        seen.update(ids)
        yield table if all(fresh) else table.filter(pa.array(fresh))
