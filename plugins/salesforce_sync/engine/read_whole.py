"""Reading from a source that always gives all of its records: a report, a query, a file. What has not changed costs no call later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.lease import Pulse
from salesforce_sync.engine.read import Reading, is_whole_due, reading
from salesforce_sync.ids import whole_id
from salesforce_sync.mapping.apply import RIVALS
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.paths import as_text
from salesforce_sync.records import BatchRef
from salesforce_sync.state import dead_letters, inbox, watermarks
from salesforce_sync.state.engine import reading as looking

HEARTBEAT = "/heartbeat"  # behind a mapping's name: when all of its records were sent last, changed or not
SHOWN_RIVALS = 5
Hashes = np.ndarray[Any, np.dtype[np.uint64]]


class WholeSource(Protocol):
    """What gives all records of a stream."""

    def whole(self, stream: str, paths: Sequence[str], *, also: Sequence[str] = ()) -> Iterator[Columns]:
        """All records, some thousands at a time, with a column for each of the paths; and for those in `also` that the
        source has."""


def read_whole(
    context: Context,
    source: WholeSource,
    name: str,
    mapping: MappingFile,
    *,
    resend: bool = False,
    heartbeat_days: int = 0,
) -> int:
    """Registers all records of the mapping's stream; gives how many. Nothing is registered unless all were read.

    Every `heartbeat_days`, by UTC date, all of them are sent, whether or not they changed; with 0, never.
    """
    with reading(context, name, name=f"{name}/extract") as work:
        now = datetime.now(UTC)
        with looking(context.state) as connection:
            last = watermarks.get(connection, context.org, f"{name}{HEARTBEAT}")
            refused = dead_letters.open_ids(connection, context.org, name)
            waiting = inbox.waiting(connection, context.org, [name])
        staged = _Staged(work, name, mapping, refused)
        for columns in source.whole(mapping.vendor.stream, mapping.vendor_paths):
            staged.add(columns)
        count = work.add(name, staged.close(), paths=mapping.vendor_paths, read_from="")
        beats = last is not None and is_whole_due(last, now, heartbeat_days)

        def mark(connection: Connection) -> None:
            watermarks.advance(connection, context.org, name, now.isoformat(timespec="milliseconds"))
            if last is None or beats:
                watermarks.advance(connection, context.org, f"{name}{HEARTBEAT}", now.isoformat())
            dead_letters.close(connection, context.org, name, sorted(staged.absent))

        # What was to be sent again and still waits is overtaken by this reading.
        work.register(resend=resend or beats or any(batch.resend for batch in waiting), marks=mark)
    return count


class _Staged:
    """Stages the records as they come. Those of which nobody knows what counts are marked at the end: several vendor records
    that name one Salesforce record, and one vendor record that names several."""

    def __init__(self, work: Reading, name: str, mapping: MappingFile, refused: set[str]) -> None:
        self._work, self._mapping = work, mapping
        self._staging, self._folder = work.context.staging, work.folder(name)
        self._pulse = Pulse(work.lease)
        self._refs: list[BatchRef] = []
        self._hashes: list[tuple[Hashes, Hashes]] = []  # of ids, and of what they name
        self.absent = refused  # those that the source has not any more

    def add(self, columns: Columns) -> None:
        self._pulse.beat()
        ids = _texts(columns, self._mapping.vendor.id)
        if self.absent:
            self.absent -= set(ids.filter(pc.is_in(ids, pa.array(sorted(self.absent), pa.string()))).to_pylist())
        if self._mapping.salesforce.find_by is not None:
            self._hashes.append((_hashes(ids), _hashes(self._named(columns))))
        ref = self._staging.write_rows(self._folder, len(self._refs), columns.table, ids=ids, stamps=None)
        self._refs.append(ref)

    def close(self) -> list[BatchRef]:
        if not self._refs:
            self.add(Columns.of([], self._mapping.vendor_paths))
        ids, names = (_repeated([pair[place] for pair in self._hashes]) for place in (0, 1))
        if len(ids) or len(names):
            self._mark_rivals(ids, names)
        return self._refs

    def _named(self, columns: Columns) -> pa.ChunkedArray:
        """Which Salesforce record each row names: equal texts for one record."""
        find_by = self._mapping.salesforce.find_by
        assert find_by is not None
        texts = _texts(columns, find_by.vendor)
        if find_by.field != "Id":
            return (
                pc.ascii_lower(texts)
                if pc.all(pc.string_is_ascii(texts)).as_py() is not False
                else _each(texts, str.lower)
            )
        upper, lower = pc.ascii_upper(texts), pc.ascii_lower(texts)
        has_lost_case = pc.or_(pc.equal(texts, upper), pc.equal(texts, lower))
        if pc.any(has_lost_case).as_py():
            texts = pc.if_else(has_lost_case, _each(texts, lambda text: whole_id(text) or text), texts)
        return pc.utf8_slice_codeunits(texts, 0, 15)  # an id of 15 letters and the one of 18 are one

    def _mark_rivals(self, repeated_ids: Hashes, repeated_names: Hashes) -> None:
        by_name: dict[str, list[_Row]] = {}
        by_id: dict[str, list[_Row]] = {}
        for number, (ref, (ids, names)) in enumerate(zip(self._refs, self._hashes, strict=True)):
            self._pulse.beat()
            places = np.flatnonzero(np.isin(ids, repeated_ids) | np.isin(names, repeated_names))
            staged = self._staging.read(ref) if len(places) else None
            if staged is None:
                continue
            named = self._named(staged.columns).take(pa.array(places)).to_pylist()
            for place, name in zip(places.tolist(), named, strict=True):
                row = _Row(number, place, staged.ids[place] or "", name)
                by_id.setdefault(row.id, []).append(row)
                if name is not None:
                    by_name.setdefault(name, []).append(row)
        marks: dict[int, dict[int, str]] = {}
        for rows in by_name.values():
            others = sorted({row.id for row in rows})
            for row in rows if len(others) > 1 else ():
                told = [name for name in others[: SHOWN_RIVALS + 1] if name != row.id][:SHOWN_RIVALS]
                marks.setdefault(row.batch, {})[row.place] = ", ".join(told)
        for rows in by_id.values():
            for row in rows if len({row.name for row in rows}) > 1 else ():
                marks.setdefault(row.batch, {})[row.place] = f"{row.id}, which is there twice and names another one"
        for number, texts in marks.items():
            self._refs[number] = self._marked(number, texts)

    def _marked(self, number: int, rivals: dict[int, str]) -> BatchRef:
        self._pulse.beat()
        rows = self._staging.read(self._refs[number])
        marks = pa.array([rivals.get(place) for place in range(len(rows.ids))], pa.string())
        table = rows.columns.table.append_column(RIVALS, marks)
        return self._staging.write_rows(self._folder, number, table, ids=pa.array(rows.ids, pa.string()), stamps=None)


class _Row(NamedTuple):
    """A staged row: where it is, its record's id, and the Salesforce record that it names."""

    batch: int
    place: int
    id: str
    name: str | None


def _each(texts: pa.ChunkedArray, function: Callable[[str], str]) -> pa.ChunkedArray:
    encoded = texts.combine_chunks().dictionary_encode()
    values = pa.array([function(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([values.take(encoded.indices)])


def _texts(columns: Columns, path: str) -> pa.ChunkedArray:
    texts = columns.texts(path)
    if texts is None:
        distinct = columns.distinct(path)
        values = pa.array([*map(as_text, distinct.values), None], pa.string())
        texts = pa.chunked_array(
            [values.take(pa.array(np.where(distinct.places < 0, len(values) - 1, distinct.places)))]
        )
    return texts


def _hashes(texts: pa.ChunkedArray) -> Hashes:
    """8 bytes for each text; 0 for none."""
    found = pd.util.hash_array(np.array(pc.fill_null(texts, "").to_pylist(), dtype=object), categorize=False)
    return np.where(texts.is_valid().to_numpy(), found, np.uint64(0))


def _repeated(hashes: Sequence[Hashes]) -> Hashes:
    if not hashes:
        return np.empty(0, np.uint64)
    distinct, counts = np.unique(np.concatenate(hashes), return_counts=True)
    found: Hashes = distinct[(counts > 1) & (distinct != 0)]
    return found
