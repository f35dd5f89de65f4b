"""Records as typed columns, one for each path that a mapping reads.

A column has the type of its values. Values of several kinds, lists and objects are JSON text, and the column's metadata
says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from salesforce_sync.mapping.paths import clean, clean_text, is_blank, nested, raw_values_at

SAMPLE = 50  # rows that tell what a column holds
_JSON = {b"values": b"json"}
_CONTROL = np.array([byte < ord(" ") and byte not in b"\t\n\r" for byte in range(256)])
_NO_CHARACTERS = ("\ufffe".encode(), "\uffff".encode())
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


@dataclass(frozen=True)
class Distinct:
    """A column's distinct values, and for each row the place of its value among them, -1 for none."""

    values: list[Any]
    places: np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Columns:
    """Rows of records. A path that is no column has no value in any row."""

    table: pa.Table

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]], paths: Sequence[str]) -> Columns:
        """The values at these paths of the records."""
        rows = list(records)
        known = _texts_of(rows, paths)
        arrays, fields = [], []
        for path in dict.fromkeys(paths):
            values = [] if path in known else raw_values_at(rows, path)
            array = known[path] if path in known else _typed(values)
            is_json = array is None
            arrays.append(_as_json(values) if array is None else array)
            fields.append(pa.field(path, arrays[-1].type, metadata=_JSON if is_json else None))
        return cls(pa.Table.from_arrays(arrays, schema=pa.schema(fields)))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def take(self, rows: Any) -> Columns:
        """The rows at these places, or those that a mask marks."""
        chosen = np.asarray(rows)
        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        if len(places) == len(self) and chosen.dtype == bool:
            return self
        return Columns(self.table.take(pa.array(places)))

    def texts(self, path: str) -> pa.ChunkedArray | None:
        """The column as `as_text` gives each of its values; None when some of them need more than Arrow can do."""
        if path not in self.table.column_names:
            return pa.chunked_array([pa.nulls(len(self), pa.string())])
        column = self.table.column(path)
        if self._is_json(path) or not (pa.types.is_string(column.type) or pa.types.is_integer(column.type)):
            return None
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
        return _without_blanks(texts) if _is_clean(texts) else None

    def flags(self, path: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which rows have true at the path, as a value or as its text."""
        if path not in self.table.column_names:
            return np.zeros(len(self), dtype=bool)
        return np.array([str(value).lower() == "true" for value in self.table.column(path).to_pylist()], dtype=bool)

    def distinct(self, path: str) -> Distinct:
        """The column's distinct values, decoded; a blank text is no value."""
        if path not in self.table.column_names:
            return Distinct([], np.full(len(self), -1, dtype=np.int64))
        encoded = self.table.column(path).combine_chunks().dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
        values = encoded.dictionary.to_pylist()
        if self._is_json(path):
            values = [clean(json.loads(value)) for value in values]
        values = [clean_text(value) if isinstance(value, str) else value for value in values]
        values = [None if is_blank(value) else value for value in values]
        return Distinct(values, encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64))

    def records(self) -> list[dict[str, Any]]:
        """The rows as records, in the source's own shape; what has no value is left out."""
        plain = [
            [None if value is None else json.loads(value) for value in self.table.column(path).to_pylist()]
            if self._is_json(path)
            else self.table.column(path).to_pylist()
            for path in self.table.column_names
        ]
        names = self.table.column_names
        return [nested(dict(zip(names, row, strict=True))) for row in zip(*plain, strict=True)]

    def payloads(self, rows: Sequence[int]) -> list[str]:
        """JSON of these rows, for dead letters."""
        return [_encode(clean(record)) for record in self.take(np.asarray(rows, dtype=np.int64)).records()]

    def _is_json(self, path: str) -> bool:
        return (self.table.schema.field(path).metadata or {}).get(b"values") == b"json"


def _is_clean(texts: pa.ChunkedArray) -> bool:
    """Whether `clean_text` would leave all these texts as they are; looked up byte by byte in the memory that they share."""
    for chunk in texts.chunks:
        content = chunk.buffers()[2]
        if content is None:
            continue
        if _CONTROL[np.frombuffer(content, dtype=np.uint8)].any():
            return False
        whole = content.to_pybytes()
        if any(character in whole for character in _NO_CHARACTERS):
            return False
    return True


def _texts_of(rows: Sequence[Any], paths: Sequence[str]) -> dict[str, pa.Array]:
    """The columns that hold texts only, as far as the first rows tell. Arrow takes them out of the records by itself,
    in a third of the time; when a later row has something else in one of them, it takes none."""
    first = rows[:SAMPLE]
    ends = [path for path in dict.fromkeys(paths) if not any(other.startswith(f"{path}.") for other in paths)]
    chosen = [path for path in ends if _are_texts(raw_values_at(first, path))]
    if not chosen:
        return {}
    try:
        found = pa.array(rows, _records_of(chosen))
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeError):
        return {}
    return {path: _without_blanks(pc.struct_field(found, path.split("."))) for path in chosen}


def _records_of(paths: Sequence[str]) -> pa.DataType:
    """The type of records that have texts at these paths."""
    below: dict[str, list[str]] = {}
    for path in paths:
        name, _, rest = path.partition(".")
        below.setdefault(name, []).append(rest)
    return pa.struct([(name, _records_of(rest) if any(rest) else pa.string()) for name, rest in below.items()])


def _are_texts(values: Sequence[Any]) -> bool:
    return any(values) and all(value is None or isinstance(value, str) for value in values)


def _typed(values: Sequence[Any]) -> pa.Array | None:
    """The values as one typed array; None when they are of several kinds, or no plain values."""
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeError, OverflowError):
        return None
    if pa.types.is_nested(array.type) or pa.types.is_binary(array.type):
        return None
    if pa.types.is_null(array.type):
        return array.cast(pa.string())
    return _without_blanks(array) if pa.types.is_string(array.type) else array


def _without_blanks(texts: Any) -> Any:
    """The texts, null where there is nothing to see."""
    blank = pc.or_(pc.equal(texts, ""), pc.utf8_is_space(texts))
    return pc.if_else(blank, None, texts) if pc.any(blank).as_py() else texts


def _as_json(values: Sequence[Any]) -> pa.Array:
    return pa.array([None if value is None or is_blank(value) else _encode(value) for value in values], pa.string())
