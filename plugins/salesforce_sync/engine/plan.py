"""Planning: of all rows that wait, the newest version of each record; what has not changed needs nothing.

A plan is a folder of Parquet files, one for each chunk that is to be written, so that a chunk can be repeated with its
own values after its sender died.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.group import Member
from salesforce_sync.errors import SyncError
from salesforce_sync.mapping.apply import Mapped
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.fingerprint import fingerprints, version_1
from salesforce_sync.records import FINGERPRINT_VERSION, HELD_OUT, SUPERSEDED, Outcome, RecordResult
from salesforce_sync.staging import StagedRows, in_parts
from salesforce_sync.state import held_out, links
from salesforce_sync.state.engine import reading
from salesforce_sync.state.inbox import Batch
from salesforce_sync.state.links import Link

UNMAPPABLE = "UNMAPPABLE"
LONGEST_ID = 255
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Places = np.ndarray[Any, np.dtype[np.int64]]
Marks = np.ndarray[Any, np.dtype[np.object_]]

# What a plan keeps of a row beside its values; the names of its columns.
MARKS = {
    "_id": pa.string(), "_batch": pa.int64(), "_row": pa.int64(), "_version": pa.string(), "_reading": pa.int64(),
    "_origin": pa.string(), "_fingerprint": pa.string(), "_staged": pa.string(),
    "_target": pa.string(),  # the record's id on the side that is written, as far as its link knows it
}  # fmt: skip

BEFORE = "_before:"  # in front of a column's name: what the target has there, when the plan was made


@dataclass
class Settled:
    """Outcomes that need no call, of one member's rows."""

    results: list[RecordResult] = field(default_factory=list)
    notes: list[RecordResult] = field(default_factory=list)  # what the plan's writes mean for links of other records
    unchanged: list[tuple[int, Places, list[str]]] = field(default_factory=list)  # batch, rows, record ids

    @property
    def counts(self) -> Counter[str]:
        found = Counter(str(result.outcome) for result in self.results)
        same = sum(len(ids) for _, _, ids in self.unchanged)
        return found + Counter({str(Outcome.UNCHANGED): same})


@dataclass(frozen=True)
class Chunk:
    """A part of a plan that is written, noted and committed as one."""

    number: int
    member: str  # the mapping's name, or the flow's
    path: str
    rows: int
    facts: Mapping[str, str] = field(default_factory=dict)


def newest(batches: Sequence[Batch], load: Callable[[Batch], tuple[list[str | None], list[str]]]) -> dict[int, Mask]:
    """For each batch of one mapping, by its id, a mask of the rows that are the newest of their record.

    `load` gives the ids and stamps of a batch's rows. Versions are compared as (stamp, reading); of rows with one version,
    the later one counts. A row without an id is the newest of itself. Rows that have their outcome already take part: the
    caller masks them. Of each row, 8 bytes are in memory at a time.
    """
    masks = {batch.id: np.ones(batch.ref.count, dtype=bool) for batch in batches}
    hashed = [_hashes(load(batch)[0]) for batch in batches]
    if not hashed:
        return masks
    distinct, counts = np.unique(np.concatenate(hashed), return_counts=True)
    repeated = distinct[counts > 1]
    best: dict[str, tuple[tuple[str, int, int], int, int]] = {}  # record -> (version, batch, row)
    for number, (batch, found) in enumerate(zip(batches, hashed, strict=True)):
        places = np.flatnonzero(np.isin(found, repeated)).tolist() if len(repeated) else []
        ids, stamps = load(batch) if places else ([], [])
        for row in places:
            record_id = ids[row]
            if record_id is None:
                continue
            version = (stamps[row], batch.reading, number)
            if record_id in best:
                before, batch_id, place = best[record_id]
                if before > version:
                    masks[batch.id][row] = False
                    continue
                masks[batch_id][place] = False
            best[record_id] = (version, batch.id, row)
    return masks


def _hashes(ids: Sequence[str | None]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """8 bytes for each id; different ids may share them, the same id always does. None is made unique by its place."""
    texts = np.array([f"\0{place}" if value is None else value for place, value in enumerate(ids)], dtype=object)
    return pd.util.hash_array(texts, categorize=False) if len(texts) else np.empty(0, np.uint64)


@dataclass
class Look:
    """Looks at the rows of one member's batches, and tells those that need no call from those that changed."""

    context: Context
    member: Member
    paths: Sequence[str]  # what the mapping reads: of these, a staged record's mark is made
    version: str  # of the mapping
    map: Callable[[Columns], Mapped]
    also: Sequence[str] = ()  # further paths that the mark is made of, where a batch has them
    resting: frozenset[str] = frozenset()  # records of chunks that may still land: they are left out
    settled: Settled = field(default_factory=Settled)
    taken: frozenset[str] = frozenset()  # vendor ids and unique keys that such a chunk may still write
    left_out: int = 0
    unlinked: int = 0  # changed records that were never delivered
    emptied: Counter[str] = field(default_factory=Counter)  # column -> delivered records that lose their value there
    kept: set[str] = field(default_factory=set)  # records that a person holds out, but for their withdrawal of consent

    def changed(self, batch: Batch, chosen: Mask) -> pa.Table | None:
        """The mapped rows of the batch that differ from what was delivered, with their marks; None when there are none."""
        rows = self.context.staging.read(batch.ref)
        open_rows = batch.open_rows
        if self.resting:  # all versions of a record rest together: an older one may be on its way
            rest = np.array([record_id in self.resting for record_id in rows.ids], dtype=bool)
            self.left_out += int((open_rows & rest).sum())
            open_rows &= ~rest
        self._supersede(batch, rows, open_rows & ~chosen)
        places = np.flatnonzero(open_rows & chosen)
        if not len(places):
            return None
        columns = rows.columns.take(places)
        wanted_paths = {*self.paths, *self.also}
        marked = columns.table.select([path for path in columns.table.column_names if path in wanted_paths])
        marks = np.array(fingerprints(marked, key=self.version), dtype=object)
        with reading(self.context.state) as connection:
            is_first = not links.any_of(connection, self.context.org, self.member.name)
            if not is_first and not batch.resend:
                differs = self._differs(connection, batch, rows, places, marks)
                self._unchanged(batch, rows, places[~differs])
                places, columns, marks = places[differs], columns.take(differs), marks[differs]
            ids = [record_id for place in places if (record_id := rows.ids[place]) is not None]
            known = {} if is_first else links.find(connection, self.context.org, self.member.name, ids)
        fresh = self._newer(batch, rows, places, known)
        if self.member.mapping.create_only:
            fresh &= self._not_created(batch, rows, places, known, fresh)
        places, columns, staged = places[fresh], columns.take(fresh), marks[fresh].tolist()
        if not len(places):
            return None
        mapped = _mapped_apart(self.map, columns)
        self._refuse(batch, rows, places, columns, mapped)
        if not mapped.table.num_rows:
            return None
        return self._different(
            batch, rows, places[mapped.places], [staged[p] for p in mapped.places], mapped.table, known
        )

    def _supersede(self, batch: Batch, rows: StagedRows, mask: Mask) -> None:
        for place in np.flatnonzero(mask).tolist():
            self._settle(batch, rows, place, Outcome.SKIPPED, code=SUPERSEDED)

    def _differs(self, connection: Connection, batch: Batch, rows: StagedRows, places: Places, marks: Marks) -> Mask:
        """Which rows are not, as they are staged, what was delivered. The database says so: most rows of most readings
        are like that, and need no link in memory."""
        context, name = self.context, self.member.name
        asked = [
            (rows.ids[place], mark, rows.stamps[place]) for place, mark in zip(places.tolist(), marks, strict=True)
        ]
        found = np.zeros(len(places), dtype=bool)
        found[links.differing(connection, context.org, name, asked, reading=batch.reading)] = True
        return found

    def _newer(self, batch: Batch, rows: StagedRows, places: Places, known: Mapping[str, Link]) -> Mask:
        """Which rows are those of which no later version was delivered."""
        if not known or batch.resend:
            return np.ones(len(places), dtype=bool)
        late = np.array(
            [
                (link := known.get(rows.ids[place] or "")) is not None
                and link.is_newer_than(rows.stamps[place], batch.reading)
                for place in places
            ],
            dtype=bool,
        )
        for place in places[late].tolist():
            self._settle(batch, rows, place, Outcome.SKIPPED, code=SUPERSEDED)
        return ~late

    def _not_created(
        self, batch: Batch, rows: StagedRows, places: Places, known: Mapping[str, Link], among: Mask
    ) -> Mask:
        """Which rows have no record yet: what was created is never written again."""
        living = {record_id for record_id, link in known.items() if not link.gone}
        created = np.array([rows.ids[place] in living for place in places.tolist()], dtype=bool)
        self._unchanged(batch, rows, places[among & created])
        return ~created

    def _refuse(self, batch: Batch, rows: StagedRows, places: Places, columns: Columns, mapped: Mapped) -> None:
        """The outcome of the rows that cannot be mapped, or of which nobody knows which record they are."""
        codes = {place: (UNMAPPABLE, problem) for place, problem in mapped.problems.items()}
        for place, why in mapped.unmatched.items():
            if why.skipped:
                self._settle(batch, rows, int(places[place]), Outcome.SKIPPED, code=why.code, message=why.message)
            else:
                codes[place] = (why.code, why.message)
        where = sorted(codes)
        for place, payload in zip(where, columns.payloads(where) if where else [], strict=True):
            row, (code, message) = int(places[place]), codes[place]
            name = loggable_id(rows.ids[row], payload)
            refusal = {"code": code, "message": message, "payload": payload}
            self._settle(batch, rows, row, Outcome.REJECTED, record_id=name, **refusal)

    def _different(
        self,
        batch: Batch,
        rows: StagedRows,
        places: Places,
        staged: Sequence[str],
        table: pa.Table,
        known: Mapping[str, Link],
    ) -> pa.Table | None:
        """The mapped rows whose values are not those that were delivered, with their marks."""
        values = table.select([name for name in table.column_names if not name.startswith("_")])
        made = fingerprints(values)
        over = _over(table)
        fresh = np.ones(len(places), dtype=bool)
        self._hold_out(batch, rows, places, made, over, fresh, known, values)
        if known and not batch.resend:
            links_of = [known.get(rows.ids[place] or "") for place in places]
            consent = self.member.mapping.consent
            consents = values.column(consent).to_pylist() if consent else [None] * len(places)
            old = version_1(values) if any(link and link.fingerprint_version == 1 for link in links_of) else made
            for number, link in enumerate(links_of):
                if link is None or link.gone or over[number] or not fresh[number]:
                    continue
                mark = made if link.fingerprint_version == FINGERPRINT_VERSION else old
                if link.fingerprint == mark[number]:
                    fresh[number] = False
                    told = link._replace(consent=link.consent or consents[number])
                    self._same_values(batch, rows, int(places[number]), made[number], staged[number], told)
        kept = np.flatnonzero(fresh)
        if not len(kept):
            return None
        marks: dict[str, Sequence[Any]] = {
            "_id": [rows.ids[place] for place in places[kept]],
            "_batch": [batch.id] * len(kept),
            "_row": places[kept].tolist(),
            "_version": [rows.stamps[place] for place in places[kept]],
            "_reading": [batch.reading] * len(kept),
            "_origin": [batch.origin] * len(kept),
            "_fingerprint": [made[place] for place in kept.tolist()],
            "_staged": [staged[place] for place in kept.tolist()],
            "_target": [self._target(known.get(rows.ids[place] or "")) for place in places[kept]],
        }
        chosen = table if len(kept) == table.num_rows else table.take(pa.array(kept))
        for name, kind in MARKS.items():
            chosen = chosen.append_column(name, pa.array(marks[name], kind))
        self._count(chosen)
        return chosen

    def _target(self, link: Link | None) -> str | None:
        if link is None or link.gone:
            return None
        return link.salesforce_id if self.member.mapping.direction == "to_salesforce" else link.vendor_id

    def _hold_out(
        self, batch: Batch, rows: StagedRows, places: Places, made: Sequence[str], over: Sequence[bool], fresh: Mask,
        known: Mapping[str, Link], values: pa.Table,
    ) -> None:  # fmt: skip
        """Rows that a person rejected or undid, and that would write the same again, are left out. Of a record that is
        gone, only the deletion is: what else its end means is done. A withdrawal of consent is done, too."""
        name, org = self.member.name, self.context.org
        with reading(self.context.state) as connection:
            if not held_out.any_of(connection, org, name):
                return
            ids = [record_id for place in places if (record_id := rows.ids[place]) is not None]
            held = held_out.find(connection, org, name, ids)
        path = self.member.mapping.consent
        consents = values.column(path).to_pylist() if path else [None] * len(places)
        for number, place in enumerate(places.tolist()):
            record_id = rows.ids[place] or ""
            item = held.get(record_id, {}).get(made[number])
            if item is None:
                continue
            if over[number]:
                self.kept.add(record_id)
                continue
            link = known.get(record_id)
            if path and consents[number] in ("N", "") and link is not None and link.consent == "Y":
                self.kept.add(record_id)
                continue
            fresh[number] = False
            message = f"{item.person} holds it out since plan {item.plan_id}, until something else is to be written"
            self._settle(batch, rows, place, Outcome.SKIPPED, code=HELD_OUT, message=message)

    def _count(self, chosen: pa.Table) -> None:
        """What the brakes ask for."""
        linked = pc.is_valid(chosen.column("_target"))
        self.unlinked += chosen.num_rows - (pc.sum(linked).as_py() or 0)
        delivered = chosen.filter(linked)
        for column in self.member.mapping.emptiable if delivered.num_rows else ():
            values = delivered.column(column)
            empty = values.null_count
            if pa.types.is_string(values.type):
                empty += pc.sum(pc.equal(values, "")).as_py() or 0
            if empty:
                self.emptied[column] += empty

    def _same_values(
        self, batch: Batch, rows: StagedRows, place: int, fingerprint: str, staged: str, link: Link
    ) -> None:
        """Nothing to send, but the link learns the record's version and fingerprints."""
        self._settle(
            batch, rows, place, Outcome.UNCHANGED, salesforce_id=link.salesforce_id, fingerprint=fingerprint,
            staged_fingerprint=staged, vendor_id=link.vendor_id, unique_key=link.unique_key, consent=link.consent,
        )  # fmt: skip

    def _unchanged(self, batch: Batch, rows: StagedRows, places: Places) -> None:
        if len(places):
            self.settled.unchanged.append((batch.id, places, [rows.ids[place] or "" for place in places.tolist()]))

    def _settle(
        self, batch: Batch, rows: StagedRows, place: int, outcome: Outcome, *, record_id: str = "", **more: Any
    ) -> None:
        name = record_id or loggable_id(rows.ids[place], f"{batch.id}:{place}")
        self.settled.results.append(
            RecordResult(
                name, outcome, version=rows.stamps[place], reading=batch.reading, batch=batch.id, row=place,
                origin=batch.origin, **more,
            )
        )  # fmt: skip


def _mapped_apart(function: Callable[[Columns], Mapped], columns: Columns) -> Mapped:
    """The mapped rows. A row over which the mapping itself fails is a problem of that row alone."""
    try:
        return function(columns)
    except SyncError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a value does to the code, the other rows go on
        if len(columns) == 1:
            nothing = function(columns.take(np.array([], dtype=np.int64)))
            return Mapped(
                nothing.table, np.array([], dtype=np.int64), {0: f"cannot be mapped ({type(error).__name__})"}
            )
        middle = len(columns) // 2
        first = _mapped_apart(function, columns.take(np.arange(middle)))
        second = _mapped_apart(function, columns.take(np.arange(middle, len(columns))))
        problems = first.problems | {place + middle: problem for place, problem in second.problems.items()}
        unmatched = first.unmatched | {place + middle: why for place, why in second.unmatched.items()}
        places = np.concatenate([first.places, second.places + middle])
        return Mapped(pa.concat_tables([first.table, second.table]), places, problems, unmatched)


def _over(table: pa.Table) -> list[bool]:
    """Which mapped rows say that their record is gone, or lives on as another: never equal to what was delivered."""
    if "_gone" not in table.column_names:
        return [False] * table.num_rows
    pairs = zip(table.column("_gone").to_pylist(), table.column("_contact").to_pylist(), strict=True)
    return [gone or contact is not None for gone, contact in pairs]


def loggable_id(record_id: str | None, content: str) -> str:
    """An id that the log can hold: a record without one, or with an endless one, is named by a hash of its content."""
    if record_id and len(record_id) <= LONGEST_ID:
        return record_id
    return "no-id-" + hashlib.sha256(content.encode()).hexdigest()[:24]


@dataclass
class PlanWriter:
    """Writes chunks into a plan's folder: `rows` at a time, of one member each."""

    context: Context
    folder: Any
    rows: int
    beat: Callable[[], None]  # to be called between the calls that planning makes
    runs: Mapping[str, int] = field(default_factory=dict)  # the sync run that logs what becomes of a member's rows
    chunks: list[Chunk] = field(default_factory=list)

    def add(self, member: str, tables: Iterable[pa.Table], **facts: str) -> None:
        """The rows, in chunks. `facts` are kept with each: how its rows are to be written, say."""
        for table in in_parts(tables, self.rows):
            number = len(self.chunks)
            known = {"member": member, "run": str(self.runs.get(member, "")), **facts}
            kept = table.replace_schema_metadata({"facts": json.dumps(known)})
            ref = self.context.staging.write(self.folder, number, kept)
            self.chunks.append(Chunk(number, member, ref.path, table.num_rows, facts))


def facts_of(chunk: pa.Table) -> dict[str, str]:
    """What was kept with the chunk."""
    found: dict[str, str] = json.loads(chunk.schema.metadata[b"facts"])
    return found
