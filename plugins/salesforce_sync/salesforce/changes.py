"""Incremental reads: what changed in an object since a watermark, nothing missed.

Salesforce stamps records to the second, and shows them some seconds later. So a read begins LOOKBACK before the watermark, inclusive, and the
next watermark is Salesforce's time when the read began, less LAG. What the look-back reads again, the caller knows by its record links. The
statement names no upper bound: that would cost a call to ask for the time, and what came in meanwhile may as well be delivered now.

A change of a parent stamps the parent and not its children. So children of changed parents are read beside: one statement for each parent
that the fields and the condition lead to, up to five of them in one call. A parent that may be of several objects is left to a reading of
all records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from salesforce_sync.salesforce.metadata import Describer
from salesforce_sync.salesforce.query import Reader
from salesforce_sync.salesforce.soql import fields_in, soql_moment

LOOKBACK = timedelta(
    minutes=5
)  # longer than most transactions take to become visible after the moment that they are stamped with
LAG = timedelta(seconds=3)  # rows stamped within it may not all be visible yet
STAMP = "SystemModstamp"
MOST_SEMI_JOINS = 2  # in one statement (SOQL and SOSL Reference, "Semi-Joins with IN")


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
    lookback: timedelta = LOOKBACK,
) -> Changes:
    """The records whose SystemModstamp is `since` less the look-back, or later, or that of a parent which the fields lead to; with `since`
    None, all records.

    `include_deleted` brings deleted and merged ones too, marked by IsDeleted (and MasterRecordId, if asked).
    """
    changed = "" if since is None else f"{STAMP} >= {soql_moment(since - lookback)}"
    above = _of_changed_parents(reader.describer, object_name, fields, changed, where) if changed else ()
    statements = [_statement(object_name, fields, bound, where, include_deleted) for bound in (changed, *above)]
    reading = reader.begin(statements[0], beside=statements[1:], include_deleted=include_deleted)
    upper = (reading.began - LAG).replace(microsecond=0)
    return Changes(_once(reading.tables), max(upper, since or upper), reading.began)


def _statement(object_name: str, fields: Sequence[str], bound: str, where: str, include_deleted: bool) -> str:
    wanted = list(dict.fromkeys([*fields, "Id", STAMP, *(["IsDeleted"] if include_deleted else [])]))
    conditions = " AND ".join(part for part in (bound, f"({where})" if where else "") if part)
    return f"SELECT {', '.join(wanted)} FROM {object_name}" + (f" WHERE {conditions}" if conditions else "")


def _of_changed_parents(
    describer: Describer, object_name: str, fields: Sequence[str], changed: str, where: str
) -> Iterator[str]:
    """A condition for each parent: the reference leads to a record that changed, or whose own parents did.

    A semi-join finds them by indexes. Salesforce takes none on the object itself, and no more than two in a statement.
    """
    semi_joins = where.upper().count("SELECT")
    above: dict[str, list[str]] = {}  # first relationship -> relationships above its record
    for path in [*fields, *fields_in(where)]:
        first, *further = path.split(".")[:-1] or [""]
        if first:
            above.setdefault(first, [])
            above[first] += [".".join(further[: place + 1]) for place in range(len(further))]
    info = describer.object(object_name)
    for first, chains in above.items():
        reference = info.find_relationship(first)
        if reference is None or len(reference.reference_to) != 1:
            continue
        (parent,) = reference.reference_to
        stamps = [changed, *(f"{chain}.{changed}" for chain in dict.fromkeys(chains))]
        if parent == object_name or semi_joins >= MOST_SEMI_JOINS:
            yield "(" + " OR ".join(f"{first}.{stamp}" for stamp in stamps) + ")"
        else:
            yield f"{reference.name} IN (SELECT Id FROM {parent} WHERE {' OR '.join(stamps)})"


def _once(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Each record once: one that changes while pages are read may stand on two of them."""
    seen: set[str] = set()
    for table in tables:
        ids = table.column("Id").to_pylist()
        fresh = [record_id not in seen for record_id in ids]
        seen.update(ids)
        yield table if all(fresh) else table.filter(pa.array(fresh))
