"""Applying a mapping: records in typed columns in; the other side's values and the refused records out.

Texts that no transform touches stay in Arrow. Of every other column each distinct value is transformed, converted and checked once. No
network, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from salesforce_sync.ids import whole_id
from salesforce_sync.mapping.columns import Columns, Distinct
from salesforce_sync.mapping.model import FieldMapping, FindBy, MappingFile
from salesforce_sync.mapping.paths import as_text
from salesforce_sync.mapping.transforms import CUTTING, TRANSFORMS, run_call

SHOWN_CHARACTERS, SHOWN_IDS = 60, 5
NO_MATCH, SEVERAL_MATCHES, SEVERAL_RECORDS = "NO_MATCH", "SEVERAL_MATCHES", "SEVERAL_RECORDS"
RIVALS = "_rivals"  # a staged column: the other records of one reading that name the same Salesforce record
_TRUE_FALSE = {"true": True, "false": False, "1": True, "0": False, "y": True, "n": False, "yes": True, "no": False}
_WHOLE_DATE = re.compile(r"\d{4}-?\d\d-?\d\d(?!\d)")  # how it begins; pandas would also take `today`
_ARROW_TYPES = {
    "boolean": pa.bool_(), "int": pa.int64(), "double": pa.float64(), "currency": pa.float64(),
    "percent": pa.float64(), "date": pa.date32(), "datetime": pa.timestamp("ms", tz="UTC"),
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What a Salesforce field takes: its describe type, its length (0: no limit), its values if it is a restricted picklist."""

    type: str
    length: int = 0
    restricted_values: frozenset[str] | None = None

    @property
    def arrow_type(self) -> pa.DataType:
        return _ARROW_TYPES.get(self.type, pa.string())


_VENDOR_TYPES = {"text": Target("string"), "number": Target("double"), "boolean": Target("boolean")}


class Unmatched(NamedTuple):
    """Why it is not known which Salesforce record a record is; `skipped`: that is no refusal."""

    code: str
    message: str
    skipped: bool = False


@dataclass(frozen=True)
class Mapped:
    """`table`: a row for each accepted record; `places`: where each of them stood in the input. `problems`: place of each
    refused record -> why. `unmatched`: place of each record whose Salesforce record is not known -> why."""

    table: pa.Table
    places: np.ndarray[Any, np.dtype[np.int64]]
    problems: dict[int, str] = field(default_factory=dict)
    unmatched: dict[int, Unmatched] = field(default_factory=dict)
    misfits: bool = False  # whether some values do not fit what the org said of their fields


def apply(
    mapping: MappingFile,
    records: Columns,
    targets: Mapping[str, Target],
    *,
    accept: Any = (),
    found: Mapping[str, Sequence[str]] | None = None,
) -> Mapped:
    """Maps the records; the table's columns are Salesforce fields, the external id first. A field that gets a stamp is
    not among them.

    A value that is missing though required, cannot be transformed, or does not fit its field refuses its record; not that
    of rows which the mask `accept` marks. `found` is for a mapping with `find_by`: the values by which records are found,
    in lower case -> the ids of the Salesforce records that have each; not needed when they are ids themselves.
    """
    problems = _Problems()
    unmatched: dict[int, Unmatched] = {}
    find_by = mapping.salesforce.find_by
    if find_by is not None:
        _id_column(mapping.vendor.id, records, Target("string"), problems)
        columns = {"Id": _found_column(find_by, mapping, records, found or {}, unmatched)}
    else:
        make_id = _record_id_column if mapping.has_salesforce_ids else _id_column
        columns = {mapping.key: make_id(mapping.vendor.id, records, targets[mapping.key], problems)}
    for name, item in mapping.fields.items():
        if not item.stamp:
            columns[name] = _salesforce_column(name, item, records, targets[name], problems)
    for place in np.flatnonzero(accept).tolist():
        problems.pop(place, None)
    return _mapped(columns, problems, len(records), unmatched)


def apply_to_vendor(mapping: MappingFile, records: Columns, *, accept: Any = ()) -> Mapped:
    """Maps Salesforce records; the table's columns are the vendor's paths, its values texts, or of the type that the field names.

    None leaves a field alone, "" empties a text. Rows that the mask `accept` marks are accepted whatever they hold.
    """
    problems = _Problems()
    columns: dict[str, pa.Array] = {}
    for name, item in mapping.fields.items():
        assert item.vendor is not None, "a mapping to the vendor has no constants among its fields"
        target = _VENDOR_TYPES[item.type]
        array = _untouched(item, name, records, target)
        if array is None:
            column = _Column(name, records.distinct(name), problems)
            column.transform(item)
            problem = f"is no {item.type}, which {item.vendor} is"
            column.convert(partial(_coerce, target=target), problem if item.type != "text" else "")
            if item.required:
                column.require(f"is missing, and {item.vendor} requires it")
            array = column.array(target.arrow_type)
        empties = item.when_empty == "clear" and target.arrow_type == pa.string()
        columns[item.vendor] = array.fill_null("") if empties else array
    for path, constant in mapping.vendor.constants.items():
        columns[path] = pa.array([constant] * len(records), pa.string())
    for place in np.flatnonzero(accept).tolist():
        problems.pop(place, None)
    return _mapped(columns, problems, len(records))


class _Problems(dict[int, str]):
    """Row -> why it is refused; the first reason stays. `misfits`: whether one of them is what the org said of a field."""

    misfits: bool = False


def _mapped(
    columns: dict[str, pa.Array], problems: _Problems, rows: int, unmatched: Mapping[int, Unmatched] | None = None
) -> Mapped:
    """An unmatched record is that and nothing else: what it holds is of no interest yet."""
    left = dict(unmatched or {})
    refused = {place: problem for place, problem in problems.items() if place not in left}
    accepted = np.ones(rows, dtype=bool)
    accepted[[*refused, *left]] = False
    table = pa.table(columns)
    kept = table if accepted.all() else table.filter(pa.array(accepted))
    return Mapped(kept, np.flatnonzero(accepted), refused, left, problems.misfits and bool(refused))


def _id_column(path: str, records: Columns, target: Target, problems: _Problems) -> pa.Array | pa.ChunkedArray:
    texts = _plain_texts(path, records, target, required=True)
    if texts is not None:
        return texts
    column = _Column(path, records.distinct(path), problems)
    column.convert(_strings)
    column.require("is missing, and it is the record's id")
    column.check_fit(target)
    return column.array(target.arrow_type)


def _record_id_column(path: str, records: Columns, target: Target, problems: _Problems) -> pa.Array:
    """Salesforce's own ids, with 18 characters each."""
    column = _Column(path, records.distinct(path), problems)
    column.convert(lambda values: _strings(values).map(whole_id), "is no Salesforce id")
    column.require("is missing, and it is the record's id")
    return column.array(target.arrow_type)


def _found_column(
    find_by: FindBy,
    mapping: MappingFile,
    records: Columns,
    found: Mapping[str, Sequence[str]],
    unmatched: dict[int, Unmatched],
) -> pa.Array:
    """The id of the one Salesforce record that each record is."""
    distinct = records.distinct(find_by.vendor)
    name, ids, reasons = mapping.salesforce.object, [], []
    for value in distinct.values:
        matches, text = _matches(find_by, value, found), shown(value)
        ids.append(matches[0] if len(matches) == 1 else None)
        listed = ", ".join(matches[:SHOWN_IDS])
        message = f"{find_by.vendor} {text}: {len(matches)} {name} records have it in {find_by.field}: {listed}"
        reasons.append(Unmatched(SEVERAL_MATCHES, message) if len(matches) > 1 else _no_match(find_by, name, text))
    ids, reasons = [*ids, None], [*reasons, _no_match(find_by, name, "")]  # the last ones stand for no value at all
    places = np.where(distinct.places < 0, len(ids) - 1, distinct.places)
    without = np.array([one is None for one in ids])
    for row in np.flatnonzero(without[places]).tolist():
        unmatched[row] = reasons[places[row]]
    if RIVALS in records.table.column_names:
        rivals = records.table.column(RIVALS).to_pylist()
        for row, others in enumerate(rivals):
            if others is not None and row not in unmatched:
                message = f"{find_by.vendor} names the same {name} as that of {others}"
                unmatched[row] = Unmatched(SEVERAL_RECORDS, message)
    return pa.array(ids, pa.string()).take(pa.array(places))


def _matches(find_by: FindBy, value: Any, found: Mapping[str, Sequence[str]]) -> Sequence[str]:
    text = as_text(value)
    if text is None:
        return []
    if find_by.field == "Id":
        whole = whole_id(text)
        return [whole] if whole else []
    return found.get(text.lower(), [])


def _no_match(find_by: FindBy, name: str, text: str) -> Unmatched:
    if not text:
        why = f"{find_by.vendor} is missing, by which its {name} is found"
    elif find_by.field == "Id":
        why = f"{find_by.vendor} {text} is no Salesforce id"
    else:
        why = f"{find_by.vendor} {text}: no {name} has it in {find_by.field}"
    return Unmatched(NO_MATCH, why, skipped=find_by.missing == "skip")


def _untouched(item: FieldMapping, path: str, records: Columns, target: Target) -> pa.ChunkedArray | None:
    """The field's texts, when the mapping does nothing with them: see `_plain_texts`. Those that are short enough are not cut."""
    if item.values is not None or any(call.name not in CUTTING for call in item.transforms):
        return None
    texts = _plain_texts(path, records, target, required=item.required)
    if texts is None or not item.transforms:
        return texts
    return texts if _longest(texts) <= min(call.argument for call in item.transforms) else None


def _plain_texts(path: str, records: Columns, target: Target, *, required: bool) -> pa.ChunkedArray | None:
    """The column when it is texts that fit, all of them, as they are; None when each value has to be looked at."""
    if target.arrow_type != pa.string():
        return None
    texts = records.texts(path)
    return texts if texts is not None and _fits(texts, target, required=required) else None


def _fits(texts: pa.ChunkedArray, target: Target, *, required: bool) -> bool:
    """Whether no text breaks the target's rules, so that nothing has to be said of any row."""
    if required and texts.null_count:
        return False
    if target.length and _longest(texts) > target.length:
        return False
    allowed = target.restricted_values
    if target.type == "multipicklist" and allowed is not None:
        return False
    return (
        allowed is None
        or pc.all(pc.is_in(texts.drop_null(), pa.array(sorted(allowed), pa.string()))).as_py() is not False
    )


def _longest(texts: pa.ChunkedArray) -> int:
    return int(pc.max(pc.utf8_length(texts)).as_py() or 0)


def _salesforce_column(
    name: str, item: FieldMapping, records: Columns, target: Target, problems: _Problems
) -> pa.Array | pa.ChunkedArray:
    if item.vendor is None:
        constant = _coerce(pd.Series([item.value], dtype=object), target).iloc[0]
        return pa.array([constant] * len(records), target.arrow_type)
    texts = _untouched(item, item.vendor, records, target)
    if texts is not None:
        return texts
    column = _Column(item.vendor, records.distinct(item.vendor), problems)
    column.transform(item)
    column.convert(lambda values: _coerce(values, target), f"is not a valid {target.type} for {name}", misfit=True)
    column.check_fit(target)
    if item.required:
        column.require(f"is missing, and {name} requires it")
    return column.array(target.arrow_type)


def shown(value: Any) -> str:
    """The beginning of a value, for a message; "" for none."""
    return "" if value is None else repr(str(value)[:SHOWN_CHARACTERS])


class _Column:
    """The distinct values of one path on their way through the mapping. Problems are noted for every row that has one."""

    def __init__(self, path: str, distinct: Distinct, problems: _Problems) -> None:
        self._path, self._places, self._problems = path, distinct.places, problems
        self._original = self._values = pd.Series(distinct.values, dtype=object)

    def transform(self, item: FieldMapping) -> None:
        """By the field's transforms, and then by its table of values."""
        for call in item.transforms:
            self._values, bad = run_call(call, self._values)
            self._note(bad, TRANSFORMS[call.name].problem)
        if item.values is not None:
            table = item.values
            texts = _strings(self._values)
            unknown = self._values.notna() & ~texts.isin(list(table))
            self._note(unknown, f"is not among the mapping's values: {', '.join(table)}")
            known = [None if text is None else table.get(text) for text in texts]
            self._values = pd.Series(known, dtype=object)

    def convert(self, function: Callable[[pd.Series], pd.Series], problem: str = "", *, misfit: bool = False) -> None:
        """By the function; what it gives nothing for has the problem, if there is one to note."""
        before, self._values = self._values, function(self._values)
        if problem:
            self._note(before.notna() & self._values.isna(), problem, misfit=misfit)

    def require(self, problem: str) -> None:
        """Every row without a value has the problem."""
        empty = np.append(self._values.isna().to_numpy(dtype=bool), True)  # the last one stands for no value at all
        for row in np.flatnonzero(empty[self._places]).tolist():
            self._problems.setdefault(row, f"{self._path}{self._shown(self._places[row])} {problem}")

    def check_fit(self, target: Target) -> None:
        """Picklists and lengths."""
        values = self._values
        if target.restricted_values is not None:
            allowed = target.restricted_values
            in_any_case = {item.lower(): item for item in sorted(allowed)}
            several = target.type == "multipicklist"
            self._values = values = values.map(lambda value: _listed(value, allowed, in_any_case, several=several))
            self._note(values.eq(NOT_LISTED), f"is not in the picklist: {', '.join(sorted(allowed))}", misfit=True)
        if target.length and target.arrow_type == pa.string():
            long = [isinstance(value, str) and len(value) > target.length for value in values]
            problem = f"is longer than {target.length} characters; truncate it in the mapping if that is meant"
            self._note(pd.Series(long, dtype=bool), problem, misfit=True)

    def array(self, kind: pa.DataType) -> pa.Array:
        """A value for every row."""
        values = [None if value is None or value != value else value for value in self._values]
        distinct = pa.array([*values, None], kind)
        return distinct.take(pa.array(np.where(self._places < 0, len(values), self._places)))

    def _note(self, bad: pd.Series, problem: str, *, misfit: bool = False) -> None:
        places = np.flatnonzero(bad.to_numpy(dtype=bool))
        if len(places):
            self._problems.misfits |= misfit
            for row in np.flatnonzero(np.isin(self._places, places)).tolist():
                self._problems.setdefault(row, f"{self._path}{self._shown(self._places[row])} {problem}")

    def _shown(self, place: int) -> str:
        value = self._original.iloc[place] if place >= 0 else None
        return "" if value is None else f" {shown(value)}"


# -- types -----------------------------------------------------------------------------------------------------------


def _coerce(values: pd.Series, target: Target) -> pd.Series:
    """The column in the type of its field; null where there is none, and where a value does not convert."""
    if target.type == "boolean":
        result = values.map(_as_boolean)
    elif target.type in ("int", "double", "currency", "percent"):
        result = _numbers(values, whole=target.type == "int")
    elif target.type == "multipicklist":
        return values.map(_several)
    elif target.type == "date":
        result = _moments(values).map(_as_date)
    elif target.type == "datetime":
        result = _moments(values).map(
            lambda moment: None if moment is pd.NaT or _as_date(moment) is None else moment.to_pydatetime()
        )
    else:
        return _strings(values)
    plain = [None if value is None or value is pd.NaT or value != value else value for value in result]
    return pd.Series(plain, index=values.index, dtype=object)


NOT_LISTED = "\0"  # no clean text holds NUL


def _listed(value: Any, allowed: frozenset[str], in_any_case: Mapping[str, str], *, several: bool) -> Any:
    """The picklist's own spelling of a value, or of each part of several; NOT_LISTED when the picklist has it in no spelling."""
    if value is None:
        return None
    parts = [part for part in str(value).split(";") if part.strip()] if several else [str(value)]
    found = [part if part in allowed else in_any_case.get(part.strip().lower()) for part in parts]
    return NOT_LISTED if None in found else ";".join(map(str, found))


def is_listed(value: str, allowed: frozenset[str], *, several: bool) -> bool:
    """Whether a picklist has the value, or each part of several, in any case of letters."""
    found = _listed(value, allowed, {item.lower(): item for item in allowed}, several=several)
    return str(found) != NOT_LISTED


def _several(value: Any) -> str | None:
    """A multi-select's value: a text with semicolons, or a list of texts."""
    if not isinstance(value, list):
        return as_text(value)
    texts = [as_text(item) for item in value]
    return None if None in texts or not texts else ";".join(map(str, texts))


def _strings(values: pd.Series) -> pd.Series:
    return pd.Series([as_text(value) for value in values], index=values.index, dtype=object)


def _as_date(moment: Any) -> Any:
    try:
        return None if moment is pd.NaT else moment.date()
    except (NotImplementedError, ValueError, OverflowError):  # a year that no calendar of ours has
        return None


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
    """ISO dates and date-times as UTC timestamps; a time without an offset is UTC. A date is never completed: a year alone is none."""
    texts = values.map(
        lambda value: text if value is not None and _WHOLE_DATE.match(text := str(value).strip()) else None
    )
    return pd.to_datetime(texts, errors="coerce", utc=True, format="ISO8601")
