"""Many records of an object at once, for measurements: every value depends on the record's number alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from emulators.salesforce.org import Org
from emulators.salesforce.schema import Field

CHUNK = 20_000
FIRST_DAY = date(2020, 1, 1)


def generate_records(org: Org, object_name: str, count: int, names: Sequence[str] | None = None) -> int:
    """Inserts `count` records with the named fields filled (all that can be written and are no references when None); gives the count."""
    sobject = org.object_for_write(object_name)
    wanted = {name.lower() for name in names} if names is not None else None
    items = [
        item for item in sobject.fields.values()
        if item.createable and not item.reference_to and not item.is_compound and (item.required or wanted is None or item.name.lower() in wanted)
    ]  # fmt: skip
    for start in range(0, count, CHUNK):
        rows = [
            {item.name: _value(item, number) for item in items} for number in range(start, min(start + CHUNK, count))
        ]
        failed = next((result.error for result in org.dml.insert(sobject, rows) if result.error), None)
        if failed is not None:
            raise failed
    return count


def _value(item: Field, number: int) -> Any:
    if item.type == "boolean":
        return number % 2 == 0
    if item.type in ("int", "double", "currency", "percent"):
        return number % 10 ** min(item.precision - item.scale, 9)
    if item.type == "date":
        return (FIRST_DAY + timedelta(days=number % 2_000)).isoformat()
    if item.type == "datetime":
        return f"{(FIRST_DAY + timedelta(days=number % 2_000)).isoformat()}T12:00:00Z"
    if item.values:
        return item.values[number % len(item.values)]
    if item.type == "email":
        return f"person{number}@company{number % 10_000}.example"
    if item.type == "url":
        return f"https://www.company{number}.example"
    return f"{item.label} {number}"[: item.length or 255]
