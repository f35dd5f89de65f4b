"""Batches and plans: Parquet files below a root that every worker can reach.

A batch holds its records' ids and stamps, and a typed column for each path that its mapping reads: what is not mapped is
never written down. Files lie by the number of their reading, are replaced whole and never appended to, and carry a
digest, so that a reader never takes half of a file, or another file, for a batch.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from salesforce_sync.errors import StagedDataMissing, StagingFailed
from salesforce_sync.ids import whole_id
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.paths import as_text, clean, values_at
from salesforce_sync.records import BatchRef

BATCH_ROWS = 25_000
RETENTION = timedelta(days=7)  # of files that nobody waits for
PLANS = "plans"  # the folder of plans, whose files have a retention of their own
ID, STAMP = "_id", "_stamp"
OLD_COLUMNS = ["id", "record"]  # of batches that were staged before 0005: the record as JSON text


@dataclass(frozen=True)
class StagedRows:
    """A batch's rows, in order. `ids` has null where the source gave none; `stamps` the source's stamp, or ""."""

    ids: list[str | None]
    stamps: list[str]
    columns: Columns


@dataclass(frozen=True)
class Staging:
    """`root` is a pathlib.Path or Airflow's ObjectStoragePath: anything with `/`, `open`, `mkdir`, `iterdir`, `unlink`."""

    root: Any

    def folder(self, *parts: str) -> Any:
        place = self.root
        for part in parts:
            place = place / _safe(part)
        return place

    def place(self, where: str) -> Any:
        """The file or folder that a text in the state database names."""
        return type(self.root)(where)

    def records(
        self, folder: Any, *, id_path: str, paths: Sequence[str], origin: str | None = None, stamp_path: str = "",
        whole_ids: bool = False,
    ) -> BatchWriter:  # fmt: skip
        """Stages records one by one in the folder, in batches of BATCH_ROWS. With `whole_ids`, their ids are Salesforce's: 15 characters
        and 18 are one."""
        return BatchWriter(self, folder, id_path, tuple(dict.fromkeys(paths)), origin, stamp_path, whole_ids)

    def tables(
        self, folder: Any, tables: Iterable[pa.Table], *, id_column: str, stamp: Callable[[pa.Table], list[str]]
    ) -> list[BatchRef]:
        """Stages Salesforce's rows as they come, in batches of BATCH_ROWS."""
        refs: list[BatchRef] = []
        for table in in_parts(tables, BATCH_ROWS):
            ids = table.column(id_column).cast(pa.string())
            refs.append(self.write_rows(folder, len(refs), table, ids=ids, stamps=stamp(table)))
        return refs

    def write_rows(
        self, folder: Any, number: int, table: pa.Table, *, ids: Any, stamps: Sequence[str] | None
    ) -> BatchRef:
        """Stages these rows as one batch; `ids` is an array of their ids, `stamps` the source's, None for a source that has
        none."""
        told = pa.repeat("", table.num_rows) if stamps is None else pa.array(stamps, pa.string())
        ref = self.write(folder, number, table.append_column(ID, ids).append_column(STAMP, told))
        return replace(ref, filled=_filled(table))

    def write(self, folder: Any, number: int, table: pa.Table, *, origin: str | None = None) -> BatchRef:
        """Writes one file; StagingFailed when it cannot be written."""
        path = folder / file_name(number)
        buffer = io.BytesIO()
        # Measured for 25,000 rows of 20 texts: a third of the time, and half of the size, that dictionaries take. Nobody looks at statistics.
        pq.write_table(
            table, buffer, compression="zstd", use_dictionary=False, write_statistics=False, store_schema=True
        )
        content = buffer.getvalue()
        _write(folder, path, content)
        return BatchRef(str(path), table.num_rows, _digest(content), origin)

    def write_text(self, folder: Any, name: str, text: str) -> None:
        """Writes a text file into the folder; StagingFailed when it cannot be written."""
        _write(folder, folder / name, text.encode())

    def read_json(self, path: Any) -> Any:
        """What `write_text` wrote as JSON."""
        try:
            return json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise StagingFailed(f"The file {path} could not be read: {error}.") from error

    def read(self, ref: BatchRef) -> StagedRows:
        """The batch's rows. StagedDataMissing when the file is gone, or is not the one that was written."""
        table = self.read_table(ref.path, ref.digest)
        if table.column_names == OLD_COLUMNS:
            return _old_rows(table)
        columns = Columns(table.drop_columns([ID, STAMP]))
        return StagedRows(table.column(ID).to_pylist(), table.column(STAMP).to_pylist(), columns)

    def versions(self, ref: BatchRef) -> tuple[list[str | None], list[str]]:
        """The ids and stamps of a batch's rows: see `read`."""
        table = self.read_table(ref.path, ref.digest, columns=[ID, STAMP])
        if ID not in table.column_names:
            rows = self.read(ref)
            return rows.ids, rows.stamps
        return table.column(ID).to_pylist(), table.column(STAMP).to_pylist()

    def read_table(self, where: str, digest: str | None = None, *, columns: list[str] | None = None) -> pa.Table:
        path = self.place(where)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise StagedDataMissing(f"The staged batch {where} is gone.") from error
        except OSError as error:
            raise StagingFailed(f"The staged batch {where} could not be read: {error}.") from error
        if digest is not None and _digest(content) != digest:
            raise StagedDataMissing(f"The staged batch {where} is not the one that was written.")
        try:
            file = pq.ParquetFile(io.BytesIO(content))
            names = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
            return file.read(columns=names)
        except pa.ArrowException as error:
            raise StagedDataMissing(f"The staged batch {where} cannot be read: {error}.") from error

    def sweep(self, *, keep: Iterable[str] = (), now: datetime | None = None) -> int:
        """Removes the files of batches that are older than RETENTION, but for those at the paths to keep; says how many.

        Two tasks may sweep at once.
        """
        limit = (now or datetime.now(UTC)) - RETENTION
        removed, kept = 0, frozenset(keep)
        for path in list(_files_below(self.root, leave=PLANS)):
            try:
                changed = _changed_at(path)
                if str(path) not in kept and changed is not None and changed < limit:
                    path.unlink()
                    removed += 1
            except OSError:
                continue  # another task was faster
        return removed


@dataclass
class BatchWriter:
    """Made by Staging.records."""

    staging: Staging
    folder: Any
    id_path: str
    paths: tuple[str, ...]
    origin: str | None
    stamp_path: str
    whole_ids: bool
    refs: list[BatchRef] = field(default_factory=list)
    pending: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, record: Mapping[str, Any]) -> None:
        self.pending.append(record)
        if len(self.pending) >= BATCH_ROWS:
            self._flush()

    def close(self) -> list[BatchRef]:
        """The batches, in order; one at least, which may be empty."""
        if self.pending or not self.refs:
            self._flush()
        return self.refs

    def _flush(self) -> None:
        table = Columns.of(self.pending, self.paths).table
        ids = _texts(self.pending, self.id_path)
        if self.whole_ids:
            ids = pa.array([whole_id(text) or text for text in ids.to_pylist()], pa.string())
        found = values_at(self.pending, self.stamp_path) if self.stamp_path else [None] * len(self.pending)
        stamps = [str(value or "") for value in found]
        filled = _filled(table)
        named = {path: count for path, count in filled.items() if count or _is_named(self.pending, path)}
        table = table.append_column(ID, ids).append_column(STAMP, pa.array(stamps, pa.string()))
        ref = self.staging.write(self.folder, len(self.refs), table, origin=self.origin)
        self.refs.append(replace(ref, filled=named))
        self.pending = []


_EMPTY_TEXTS = pa.array(["", "[]", "{}"])  # lists and objects are JSON text


def _filled(table: pa.Table) -> dict[str, int]:
    """How many rows have a value, by column; a text of nothing is none."""
    found = {}
    for name in table.column_names:
        column = table.column(name)
        empty = column.null_count
        if pa.types.is_string(column.type):
            empty += pc.sum(pc.is_in(column, _EMPTY_TEXTS)).as_py() or 0
        found[name] = table.num_rows - empty
    return found


def _is_named(records: Sequence[Mapping[str, Any]], path: str) -> bool:
    """Whether the path is in any of the records, be it without a value."""
    *parents, name = path.split(".")
    for record in records:
        node: Any = record
        for parent in parents:
            node = node.get(parent) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping) and name in node:
            return True
    return False


def _texts(records: Sequence[Mapping[str, Any]], path: str) -> pa.Array | pa.ChunkedArray:
    """The values at the path as `as_text` gives them."""
    texts = Columns.of(records, [path]).texts(path)
    return pa.array(map(as_text, values_at(records, path)), pa.string()) if texts is None else texts


def _write(folder: Any, path: Any, content: bytes) -> None:
    """Others see the whole file, or none."""
    unfinished = folder / f"{path.name}.unfinished" if isinstance(path, Path) else path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(unfinished, Path):
            unfinished.touch(mode=0o600)  # names and addresses are for the worker's own account to read
        with unfinished.open("wb") as file:
            file.write(content)
        if unfinished is not path:
            unfinished.replace(path)
    except OSError as error:
        _remove(unfinished)
        raise StagingFailed(
            f"The file {path} could not be written: {error.strerror or error}.",
            fix="Free space there, or point the Variable staging_path at another folder; the task tries again by itself.",
        ) from error


def file_name(number: int) -> str:
    """The name of the file with this number in its folder: of a batch, or of a plan's chunk."""
    return f"{number:05d}.parquet"


def in_parts(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The rows again, in tables of at most so many, all but the last one full."""
    pending: list[pa.Table] = []
    count = 0
    for table in tables:
        pending.append(table)
        count += table.num_rows
        while count >= rows:
            joined = pa.concat_tables(pending)
            yield joined.slice(0, rows)
            pending, count = [joined.slice(rows)], count - rows
    if count:
        yield pa.concat_tables(pending)


def _old_rows(table: pa.Table) -> StagedRows:
    """Rows of a batch that an earlier version staged."""
    records = [clean(json.loads(text)) for text in table.column("record").to_pylist()]
    paths = sorted({path for record in records for path in _paths_of(record)})
    stamps = [str(record.get("SystemModstamp") or "") for record in records]
    return StagedRows(table.column("id").to_pylist(), stamps, Columns.of(records, paths))


def _paths_of(record: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from _paths_of(value, f"{before}{name}.")
        else:
            yield before + name


def remove_folder(folder: Any) -> None:
    """Removes a folder of files; what another task removed already is no error."""
    for path in list(_files_below(folder)):
        _remove(path)
    try:
        folder.rmdir()
    except OSError:
        pass  # it is gone, or something was added to it


def _changed_at(path: Any) -> datetime | None:
    """When the file was written; None where the store does not say, as some object stores do not."""
    stamp = path.stat().st_mtime
    if isinstance(stamp, datetime):  # as Google's store and sftp give it
        return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
    return datetime.fromtimestamp(stamp, UTC) if stamp else None


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _files_below(folder: Any, *, leave: str = "") -> Iterator[Any]:
    """The files below the folder, but for the folder in it to leave; one that is not there, or vanishes, has none."""
    try:
        for entry in folder.iterdir():
            if entry.name == leave:
                continue
            if entry.is_dir():
                yield from _files_below(entry)
            else:
                yield entry
    except OSError:
        return


def _safe(name: str) -> str:
    """A name of ours (an org, a stream, a number) as a folder: never a way out of the root, never two names as one."""
    return quote(name, safe="").replace(".", "%2E")


def _remove(path: Any) -> None:
    try:
        path.unlink()
    except OSError:
        pass  # it was never made, or the disk is worse off than full; the error that led here is the one to show
