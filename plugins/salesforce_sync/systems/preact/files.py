"""Metrics out of files, CSV or Parquet, on a disk or in an object store."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from salesforce_sync.errors import InvalidSetting, RequestRejected, ServiceUnavailable
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.staging import BATCH_ROWS, in_parts
from salesforce_sync.systems.preact.columns import of_stream, require_columns

_BYTES = (
    pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view,
)  # fmt: skip
CSV, PARQUET = ".csv", ".parquet"
BLOCK_BYTES = 1 << 22  # of a CSV file, in memory at a time


class FileSource:
    """`files` are by stream: anything with `open` and `stat`, as pathlib.Path and Airflow's ObjectStoragePath have it; None
    for a stream that has none. `variables` name the Variable that each stands in."""

    def __init__(self, files: Mapping[str, Any], variables: Mapping[str, str]) -> None:
        self._files, self._variables = files, variables

    def test(self) -> str:
        """A sentence that says that the files are there; raises when one is not."""
        for stream in self._files:
            _state(self._file(stream))
        return "The files of the metrics are there"

    def whole(self, stream: str, paths: Sequence[str], *, also: Sequence[str] = ()) -> Iterator[Columns]:
        """All rows of the stream's file, BATCH_ROWS at a time: see WholeSource.

        ServiceUnavailable when the file changed while it was read: half of the rows would be the old ones.
        """
        file = self._file(stream)
        before = _state(file)
        try:
            with file.open("rb") as content:
                read = _parquet if _kind(file) == PARQUET else _csv
                tables = read(content, file, paths, also)
                for table in in_parts(tables, BATCH_ROWS):
                    yield Columns(table)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeError, OSError) as error:
            if _state(file) == before:
                raise RequestRejected(
                    f"The file {file} cannot be read: {_told(error)}",
                    fix="Write it again as a whole, a CSV file in UTF-8 with a head and commas; nothing was registered.",
                ) from None
        if _state(file) != before:
            raise ServiceUnavailable(
                f"The file {file} changed while it was read, so nothing was registered.",
                fix="Nothing: the task tries again. Write the file under another name, and rename it when it is complete.",
            )

    def _file(self, stream: str) -> Any:
        variable = of_stream(self._variables, stream)
        file = self._files[stream]
        if file is None:
            raise InvalidSetting(
                f"The Variable {variable} is empty.", fix="Name the file in it that holds the records."
            )
        if _kind(file) not in (CSV, PARQUET):
            raise InvalidSetting(
                f"The Variable {variable} names {file}, which is neither a {CSV} nor a {PARQUET} file.",
                fix="The end of its name tells what a file holds.",
            )
        return file


def _kind(file: Any) -> str:
    return Path(str(file)).suffix.lower()


def _state(file: Any) -> tuple[Any, ...]:
    """What tells that a file is another one: its size, and when it was written, or its mark in the store."""
    try:
        found = file.stat()
    except FileNotFoundError:
        raise ServiceUnavailable(
            f"The file {file} is not there.", fix="Put it there, or correct the Variable; the task tries again."
        ) from None
    except OSError as error:
        raise ServiceUnavailable(f"The file {file} cannot be reached: {_told(error)}") from None
    if stat.S_ISDIR(getattr(found, "st_mode", 0) or 0):
        raise InvalidSetting(f"{file} is a folder.", fix="Name a file in it.")
    more = tuple(getattr(found, name, None) for name in ("st_mtime_ns", "st_mtime", "st_ino"))
    mark = found.get("ETag") if hasattr(found, "get") else None
    return (found.st_size, *more, mark)


def _csv(content: Any, file: Any, paths: Sequence[str], also: Sequence[str]) -> Iterator[pa.Table]:
    """Every value as text: what it is, the mapping says."""
    header = pa.csv.open_csv(content, read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES)).schema.names
    require_columns(header, paths, where=f"The file {file}")
    names = [path for path in dict.fromkeys([*paths, *also]) if path in header]
    content.seek(0)
    options = pa.csv.ConvertOptions(
        include_columns=names,
        column_types=dict.fromkeys(names, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
    )
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    reader = pa.csv.open_csv(
        content, read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES), parse_options=parse, convert_options=options
    )
    for batch in reader:
        yield pa.Table.from_batches([batch])


def _parquet(content: Any, file: Any, paths: Sequence[str], also: Sequence[str]) -> Iterator[pa.Table]:
    parquet = pq.ParquetFile(content)
    there = parquet.schema_arrow.names
    require_columns(there, paths, where=f"The file {file}")
    names = [path for path in dict.fromkeys([*paths, *also]) if path in there]
    kinds = {name: _kept_as(parquet.schema_arrow.field(name).type, name, file) for name in names}
    for batch in parquet.iter_batches(batch_size=BATCH_ROWS, columns=names):
        yield pa.table({name: _cast(batch.column(name), kind) for name, kind in kinds.items()})


def _kept_as(kind: pa.DataType, name: str, file: Any) -> pa.DataType:
    """The type in which the column is staged: decimals keep their digits as texts, and dates may be of any year."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_boolean(value) or pa.types.is_integer(value) or pa.types.is_floating(value):
        return value
    is_bytes = any(test(value) for test in _BYTES) or isinstance(value, pa.BaseExtensionType)
    if is_bytes or pa.types.is_nested(value) or pa.types.is_time(value) or pa.types.is_duration(value):
        raise InvalidSetting(
            f"The column {name} of {file} holds {value} values, which no mapping reads.",
            fix="Write it as a text or a number.",
        )
    return pa.string()


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(column.type):  # in UTC, to the millisecond
        column = column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False).cast(pa.timestamp("ms", tz="UTC"))
    return column.cast(kind)


def _told(error: Exception) -> str:
    """What is wrong with a file, without its content."""
    first = str(getattr(error, "strerror", None) or error).partition("\n")[0]
    return first.partition(": ")[0][:120] + "."
