"""Applying a mapping: vendor records in, a frame of Salesforce values and the refused records out. Column by column, no network, no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from salesforce_sync.mapping.model import FieldMapping, MappingFile
from salesforce_sync.mapping.transforms import TRANSFORMS, run_call

SHOWN_CHARACTERS = 60
_TRUE_FALSE = {"true": True, "false": False, "1": True, "0": False, "y": True, "n": False, "yes": True, "no": False}


@dataclass(frozen=True)
class Target:
    """What a Salesforce field takes: its describe type, its length (0: no limit), and its values if it is a restricted picklist."""

    type: str
    length: int = 0
    restricted_values: frozenset[str] | None = None


@dataclass(frozen=True)
class Mapped:
    """`frame`: one row per accepted record, columns are Salesforce fields (external id first), the index is the record's place in the
    input. `problems`: place of each refused record -> why. `ids`: the vendor id of every record by place, "" where it has none."""

    frame: pd.DataFrame
    problems: dict[int, str] = field(default_factory=dict)
    ids: tuple[str, ...] = ()


def apply(mapping: MappingFile, records: Sequence[Mapping[str, Any]], targets: Mapping[str, Target]) -> Mapped:
    """Maps the records. A value that is missing though required, cannot be transformed, or does not fit its field refuses its record."""
    problems: dict[int, str] = {}
    ids = _strings(_column(records, mapping.vendor.id))
    columns = {mapping.salesforce.external_id: ids}
    _note(problems, ids.isna(), mapping.vendor.id, ids, "is missing, and it is the record's id")
    _check_fit(problems, mapping.vendor.id, ids, targets[mapping.salesforce.external_id])
    for name, item in mapping.fields.items():
        columns[name] = _mapped_column(name, item, records, targets[name], problems)
    frame = pd.DataFrame(columns)
    accepted = frame.drop(index=list(problems))
    return Mapped(accepted, problems, tuple("" if value is None else value for value in ids))


def apply_to_vendor(mapping: MappingFile, records: Sequence[Mapping[str, Any]]) -> Mapped:
    """Maps Salesforce records. The frame's columns are the vendor's paths, its values texts: None leaves a field alone, "" empties it."""
    problems: dict[int, str] = {}
    columns: dict[str, pd.Series] = {}
    for name, item in mapping.fields.items():
        assert item.vendor is not None, "a mapping to the vendor has no constants among its fields"
        original = _column(records, name)
        values = _strings(_transformed(item, name, original, problems))
        if item.required:
            _note(problems, values.isna(), name, original, f"is missing, and {item.vendor} requires it")
        columns[item.vendor] = values.fillna("") if item.when_empty == "clear" else values
    for path, constant in mapping.vendor.constants.items():
        columns[path] = pd.Series([constant] * len(records), dtype=object)
    ids = tuple(str(record["Id"]) for record in records)
    return Mapped(pd.DataFrame(columns).drop(index=list(problems)), problems, ids)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted path as a record; None is left out."""
    record: dict[str, Any] = {}
    for path, value in values.items():
        if value is None:
            continue
        *parents, name = path.split(".")
        node = record
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return record


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None where the path leads nowhere. Empty text counts as no value, as it does in Salesforce."""
    return _value(record, path.split("."))


def _value(node: Any, names: list[str]) -> Any:
    for name in names:
        if not isinstance(node, dict):  # what JSON calls an object; a test for any Mapping takes three times as long
            return None
        node = node.get(name)
    return None if isinstance(node, str) and (not node or node.isspace()) else node


def fingerprints(frame: pd.DataFrame) -> pd.Series:
    """A text per row that is equal when, and (but for one chance in 2^64) only when, all its values and their columns are equal."""
    key = hashlib.blake2b(",".join(frame.columns).encode(), digest_size=8).hexdigest()
    texts = pd.DataFrame({name: _as_text(frame[name]) for name in frame.columns}, index=frame.index)
    hashed = pd.util.hash_pandas_object(texts, index=False, hash_key=key, categorize=False)
    return hashed.map("{:016x}".format)


def _as_text(column: pd.Series) -> pd.Series:
    return pd.Series(
        ["\0" if value is None or value is pd.NA or value != value else str(value) for value in column],
        index=column.index,
        dtype=object,
    )


def _column(records: Sequence[Mapping[str, Any]], path: str) -> pd.Series:
    names = path.split(".")
    return pd.Series([_value(record, names) for record in records], dtype=object)


def _mapped_column(
    name: str, item: FieldMapping, records: Sequence[Mapping[str, Any]], target: Target, problems: dict[int, str]
) -> pd.Series:
    if item.vendor is None:
        return _coerce(pd.Series([item.value] * len(records), dtype=object), target)[0]
    original = _column(records, item.vendor)
    values, bad = _coerce(_transformed(item, item.vendor, original, problems), target)
    _note(problems, bad, item.vendor, original, f"is not a valid {target.type} for {name}")
    _check_fit(problems, item.vendor, values, target)
    if item.required:
        _note(problems, values.isna(), item.vendor, original, f"is missing, and {name} requires it")
    return values


def _transformed(item: FieldMapping, path: str, original: pd.Series, problems: dict[int, str]) -> pd.Series:
    """The values of one side as the mapping wants them for the other: its transforms, and then its table of values."""
    values = original
    for call in item.transforms:
        values, bad = run_call(call, values)
        _note(problems, bad, path, original, TRANSFORMS[call.name].problem)
    if item.values is None:
        return values
    table = item.values
    unknown = values.notna() & ~values.map(lambda value: str(value) in table)
    _note(problems, unknown, path, original, f"is not among the mapping's values: {', '.join(table)}")
    return pd.Series([None if value is None else table.get(str(value)) for value in values], dtype=object)


def _note(problems: dict[int, str], mask: pd.Series, path: str, values: pd.Series, problem: str) -> None:
    for place in np.flatnonzero(mask.to_numpy(dtype=bool)):
        value = values.iloc[place]
        shown = "" if value is None else f" {str(value)[:SHOWN_CHARACTERS]!r}"
        problems.setdefault(int(place), f"{path}{shown} {problem}")


def _check_fit(problems: dict[int, str], path: str, values: pd.Series, target: Target) -> None:
    if target.restricted_values is not None:
        allowed = target.restricted_values
        outside = values.notna() & ~values.isin(allowed)
        _note(problems, outside, path, values, f"is not in the picklist: {', '.join(sorted(allowed))}")
    if target.length and values.dtype == object:
        too_long = pd.Series(
            [isinstance(value, str) and len(value) > target.length for value in values], index=values.index, dtype=bool
        )
        _note(
            problems,
            too_long,
            path,
            values,
            f"is longer than {target.length} characters; truncate it in the mapping if that is meant",
        )


# -- types ------------------------------------------------------------------------------------------------------------------------


def _coerce(values: pd.Series, target: Target) -> tuple[pd.Series, pd.Series]:
    """The column in the type of its field, nulls kept, and a mask of what does not convert (null in the result)."""
    if target.type == "boolean":
        result = values.map(_as_boolean)
    elif target.type in ("int", "double", "currency", "percent"):
        result = _numbers(values, whole=target.type == "int")
    elif target.type == "date":
        result = _moments(values).map(lambda moment: None if moment is pd.NaT else moment.date())
    elif target.type == "datetime":
        result = _moments(values).map(lambda moment: None if moment is pd.NaT else moment.to_pydatetime())
    else:
        result = _strings(values)
        return result, values.notna() & result.isna()
    result = pd.Series(
        [None if value is None or value is pd.NaT or value != value else value for value in result],
        index=values.index,
        dtype=object,
    )
    return result, values.notna() & result.isna()


def _strings(values: pd.Series) -> pd.Series:
    return pd.Series([as_text(value) for value in values], index=values.index, dtype=object)


def as_text(value: Any) -> str | None:
    """The value as Salesforce would hold it in a text field: trimmed; numbers and booleans are written out; lists and objects are no text."""
    if isinstance(value, str):
        return (value if value.isascii() and "\0" not in value else clean_text(value)).strip() or None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)) and value == value:
        return str(int(value)) if float(value).is_integer() else repr(value)
    return None


def clean(value: Any) -> Any:
    """The record, or a part of it, with every text clean."""
    if isinstance(value, dict):
        return {name: clean(item) for name, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return clean_text(value) if isinstance(value, str) else value


def clean_text(text: str) -> str:
    """The text without what JSON allows and neither PostgreSQL nor UTF-8 takes: NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _as_boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else _TRUE_FALSE.get(str(value).strip().lower())


def _numbers(values: pd.Series, *, whole: bool) -> pd.Series:
    plain = values.map(lambda value: None if isinstance(value, (bool, list, dict)) else value)
    numbers = pd.to_numeric(plain, errors="coerce").astype("float64")
    numbers = numbers.where(np.isfinite(numbers))
    if not whole:
        return numbers
    return pd.Series(
        [int(value) if value == value and value.is_integer() else None for value in numbers],
        index=values.index,
        dtype=object,
    )


def _moments(values: pd.Series) -> pd.Series:
    """ISO dates and date-times as UTC timestamps; a time without an offset is UTC."""
    texts = values.map(lambda value: str(value).strip() if value is not None else None)
    return pd.to_datetime(texts, errors="coerce", utc=True, format="ISO8601")
