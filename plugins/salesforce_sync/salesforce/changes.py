"""Incremental reads: what changed in an object since a watermark, nothing missed and nothing twice.

Salesforce stamps records to the second and shows them some seconds later. So a read begins LOOKBACK before the watermark, inclusive, and
ends LAG before the server's own time, which then is the next watermark. What the look-back reads again is the caller's to know: rows of
before the watermark are marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from salesforce_sync.salesforce.query import Reader
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.soql import soql_moment

LOOKBACK = timedelta(minutes=5)  # longer than a transaction takes to become visible after the moment that it is stamped with
LAG = timedelta(seconds=3)  # rows stamped within it may not all be visible yet
STAMP = "SystemModstamp"


@dataclass(frozen=True)
class Changes:
    """`tables` yields each changed record once, with Id and SystemModstamp; `upper` is the watermark to store when all are delivered."""

    tables: Iterator[pa.Table]
    upper: datetime


def read_changes(
    session: Session, reader: Reader, object_name: str, fields: Sequence[str], *, since: datetime | None, where: str = "", include_deleted: bool
) -> Changes:  # fmt: skip
    """The records whose SystemModstamp lies from `since` less LOOKBACK to the server's time less LAG, both inclusive.

    With `since` None, all records. `include_deleted` brings deleted and merged ones too, marked by IsDeleted (and MasterRecordId, if asked).
    """
    upper = (session.now() - LAG).replace(microsecond=0)
    wanted = list(dict.fromkeys([*fields, "Id", STAMP, *(["IsDeleted"] if include_deleted else [])]))
    bounds = [f"{STAMP} <= {soql_moment(upper)}"]
    if since is not None:
        bounds.append(f"{STAMP} >= {soql_moment(since - LOOKBACK)}")
    if where:
        bounds.append(f"({where})")
    soql = f"SELECT {', '.join(wanted)} FROM {object_name} WHERE {' AND '.join(bounds)}"
    return Changes(_once(reader.read(soql, include_deleted=include_deleted)), max(upper, since or upper))


def _once(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Each record once: one that changes while pages are read may stand on two of them."""
    seen: set[str] = set()
    for table in tables:
        ids = table.column("Id").to_pylist()
        fresh = [record_id not in seen for record_id in ids]
        seen.update(ids)
        yield table if all(fresh) else table.filter(pa.array(fresh))


def before(table: pa.Table, moment: datetime) -> pa.ChunkedArray:
    """Which rows are stamped before the moment: those that an earlier read has seen, unless they became visible late."""
    return pc.less(table.column(STAMP), pa.scalar(moment, pa.timestamp("ms", tz="UTC")))
