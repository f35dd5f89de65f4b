"""Batches between tasks: one Parquet file each, below a root that every worker can reach.

A vendor's record is staged as JSON text beside its id, and only as far as its mapping reads it: what is not mapped is never written down.
A frame of Salesforce rows is staged with its own columns. Files are replaced whole, never appended to, so a task that dies leaves
nothing half-written that a reader could take for a batch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from salesforce_sync.errors import StagedDataMissing, StagingFailed
from salesforce_sync.mapping.apply import as_text, clean, value_at
from salesforce_sync.records import BatchRef, RunIdentity

BATCH_ROWS = 25_000
RECORD_SCHEMA = pa.schema([("id", pa.string()), ("record", pa.string())])
_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
RETENTION = timedelta(days=7)  # long enough to clear and run a task again after a week-end


@dataclass(frozen=True)
class Staging:
    """`root` is a pathlib.Path or Airflow's ObjectStoragePath: anything with `/`, `open`, `mkdir`, `iterdir` and `unlink`."""

    root: Any

    def folder(self, run: RunIdentity) -> Any:
        return self.root / _safe(run.dag_id) / _safe(run.run_id) / _safe(run.task_id)

    def write_records(
        self, run: RunIdentity, records: Iterable[Mapping[str, Any]], *, id_path: str, paths: Sequence[str],
        high_cursor: str | None, org: str | None = None, folder: str = "",
    ) -> list[BatchRef]:  # fmt: skip
        """Stages the records: see `writer`."""
        writer = self.writer(run, id_path=id_path, paths=paths, high_cursor=high_cursor, org=org, folder=folder)
        for record in records:
            writer.add(record)
        return writer.close()

    def writer(
        self,
        run: RunIdentity,
        *,
        id_path: str,
        paths: Sequence[str],
        high_cursor: str | None,
        org: str | None = None,
        folder: str = "",
    ) -> BatchWriter:
        """Stages records one by one, in batches of BATCH_ROWS; at least one batch, which may be empty, so that the cursor is always told.

        `org` is noted with records that come from Salesforce: whose they are. A task that stages more than one stream gives each a `folder`.
        """
        place = self.folder(run) / _safe(folder) if folder else self.folder(run)
        return BatchWriter(self, place, id_path, _tree(paths), high_cursor, org)

    def write_table(
        self, folder: Any, number: int, table: pa.Table, high_cursor: str | None, org: str | None
    ) -> BatchRef:
        path = folder / f"{number:05d}.parquet"
        unfinished = (
            folder / f"{number:05d}.unfinished" if isinstance(path, Path) else path
        )  # object storage shows only whole files
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                pq.write_table(table, file, compression="zstd")
            if unfinished is not path:
                unfinished.replace(path)
        except OSError as error:
            _remove(unfinished)
            raise StagingFailed(
                f"The batch {path} could not be written: {error.strerror or error}.",
                fix="Free space there, or point the Variable staging_path at another folder; the task tries again by itself.",
            ) from error
        return BatchRef(str(path), table.num_rows, high_cursor, org)

    def read(self, ref: BatchRef) -> pa.Table:
        """The batch's records in order: `id`, null where the vendor gave none, and `record`, JSON text. StagedDataMissing when it is gone."""
        path = type(self.root)(ref.path)
        try:
            with path.open("rb") as file:
                return pq.read_table(file, columns=RECORD_SCHEMA.names)
        except FileNotFoundError as error:
            raise StagedDataMissing(
                f"The staged batch {ref.path} is gone: batches are kept for {RETENTION.days} days."
            ) from error
        except (OSError, pa.ArrowException) as error:
            raise StagingFailed(f"The staged batch {ref.path} could not be read: {error}.") from error

    def sweep(self, dag_id: str, *, keep: Iterable[str] = (), now: datetime | None = None) -> int:
        """Removes the batches of this DAG's runs that are older than RETENTION, but for those at the paths to keep, and says how many.
        Two runs may sweep at once."""
        limit = (now or datetime.now(UTC)) - RETENTION
        removed, kept = 0, frozenset(keep)
        for path in list(_files_below(self.root / _safe(dag_id))):
            try:
                if str(path) not in kept and datetime.fromtimestamp(path.stat().st_mtime, UTC) < limit:
                    path.unlink()
                    removed += 1
            except OSError:
                continue  # another run was faster
        return removed


@dataclass
class BatchWriter:
    """Made by Staging.writer."""

    staging: Staging
    place: Any
    id_path: str
    wanted: dict[str, Any]
    high_cursor: str | None
    org: str | None
    refs: list[BatchRef] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, record: Mapping[str, Any]) -> None:
        self.ids.append(as_text(value_at(record, self.id_path)))
        self.texts.append(_encode(_project(record, self.wanted)))
        if len(self.ids) >= BATCH_ROWS:
            self._flush()

    def close(self) -> list[BatchRef]:
        """The batches, in order."""
        if self.ids or not self.refs:
            self._flush()
        return self.refs

    def _flush(self) -> None:
        table = pa.table({"id": self.ids, "record": self.texts}, schema=RECORD_SCHEMA)
        self.refs.append(self.staging.write_table(self.place, len(self.refs), table, self.high_cursor, self.org))
        self.ids, self.texts = [], []


def batches_of(value: Sequence[Mapping[str, Any]]) -> list[BatchRef]:
    """The batches that a task before this one pushed to XCom."""
    return [BatchRef.from_xcom(dict(item)) for item in value]


def read_record(text: str) -> dict[str, Any]:
    """A staged record, without the characters that JSON allows and neither PostgreSQL nor UTF-8 takes."""
    record: dict[str, Any] = json.loads(text)
    return (
        clean(record) if "\\u0000" in text or "\\ud" in text else record
    )  # how JSON writes NUL, and the first half of every pair


def _tree(paths: Iterable[str]) -> dict[str, Any]:
    """The dotted paths as nested dicts; {} stands for a whole value."""
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        for name in path.split("."):
            node = node.setdefault(name, {})
    return tree


def _project(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the record that is wanted, in the record's own shape."""
    result = {}
    for name, below in wanted.items():
        value = record.get(name)
        if below and value is not None:
            value = _project(value, below) if isinstance(value, Mapping) else None
        if value is not None:
            result[name] = value
    return result


def _files_below(folder: Any) -> Iterator[Any]:
    """The files below the folder; one that is not there, or vanishes meanwhile, has none."""
    try:
        for entry in folder.iterdir():
            if entry.is_dir():
                yield from _files_below(entry)
            else:
                yield entry
    except OSError:
        return


def _safe(name: str) -> str:
    """A name as a folder: run ids hold colons and plus signs."""
    return re.sub(r"[^A-Za-z0-9_.=-]", "_", name)


def _remove(path: Any) -> None:
    try:
        path.unlink()
    except OSError:
        pass  # it was never made, or the disk is worse off than full; the error that led here is the one to show
