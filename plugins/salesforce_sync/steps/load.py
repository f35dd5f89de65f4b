"""Load: staged records mapped, compared with what was last sent, written to Salesforce, and committed in one transaction.

The order is what makes a kill harmless: everything is sent first (an upsert by external id may be repeated), then counts, log, links,
dead letters and watermark are committed together. Results wait for that commit in a file, so that memory does not grow with their number.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from salesforce_sync.errors import BudgetExhausted, InvalidMapping, MissingMetadata, RowLocked
from salesforce_sync.mapping import describe
from salesforce_sync.mapping.apply import Target, apply, as_text, fingerprints, value_at
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.version import mapping_version
from salesforce_sync.records import BatchRef, Counts, Outcome, RecordResult
from salesforce_sync.salesforce.query import ARROW_TYPES
from salesforce_sync.salesforce.rows import ConvertedRule, Operation, WriteRequest
from salesforce_sync.salesforce.wire_errors import RETRYABLE_CODES
from salesforce_sync.staging import RECORD_SCHEMA, Staging, read_record
from salesforce_sync.state import backlog, dead_letters, links, runs, sync_log, watermarks
from salesforce_sync.state.engine import reading
from salesforce_sync.steps.context import (
    SHOWN_EXAMPLES,
    StepContext,
    SyncRun,
    first_refusals,
    refuse_too_many,
    sync_run,
)

log = logging.getLogger(__name__)

UNMAPPABLE, SUPERSEDED = "UNMAPPABLE", "SUPERSEDED"
LONGEST_ID = 255
_RESULT_SCHEMA = pa.schema([(name, pa.string()) for name in RecordResult._fields])
_OUTCOMES = {str(outcome): outcome for outcome in Outcome}


@dataclass(frozen=True)
class Source:
    """Where a load's records come from: batches that can be read again, since a refused record's content is looked up at the end.

    `read` gives a batch as Staging.read does: `id` and `record`, the JSON text."""

    batches: Sequence[BatchRef]
    read: Callable[[BatchRef], pa.Table]
    can_wait: bool = False  # whether the batches are there for a later run, too

    @classmethod
    def staged(cls, batches: Sequence[BatchRef], staging: Staging) -> Source:
        return cls(batches, staging.read, can_wait=True)

    def after(self, waiting: Sequence[BatchRef]) -> Source:
        """The batches that have been waiting, and then these; one that is among both comes once."""
        paths = {batch.path for batch in waiting}
        return replace(self, batches=[*waiting, *(batch for batch in self.batches if batch.path not in paths)])


@dataclass
class Loaded:
    """What a load did; `refused` holds the vendor ids of the refused records, `examples` says why for the first of them.

    `waiting` is how many batches are left for the next run, because the API budget was spent."""

    counts: Counts
    refused: frozenset[str] = frozenset()
    passing: int = 0  # how many of the refused were refused for a reason that is likely to be gone on the next try
    examples: list[str] = field(default_factory=list)
    waiting: int = 0


def load(
    context: StepContext,
    name: str,
    mapping: MappingFile,
    source: Source,
    *,
    resend: bool = False,
    remember: bool = True,
    limit: bool = True,
) -> Loaded:
    """Loads the batches by the mapping called `name`.

    Batches that an earlier run had to leave come first. When the API budget is spent, the run ends as `limited`: what was sent is committed,
    and the rest waits for the next run. Rows equal to what was last sent are not sent, unless `resend`. With `remember` False nothing is
    remembered of what was sent, so all rows are. Raises InvalidMapping or MissingMetadata before anything moves; after everything is
    committed, and unless `limit` is False, RowLocked when rows were refused for a passing reason (the retry sends just those),
    TooManyRejects when more were refused than may be.
    """
    with sync_run(context, name) as run:
        if source.can_wait:
            with reading(context.state) as connection:
                source = source.after(backlog.waiting(connection, context.org, name))
        try:
            targets = check_mapping(context, name, mapping)
        except BudgetExhausted as error:
            if not source.can_wait:
                raise
            return _leave_all(context, run, name, source, error)
        with tempfile.TemporaryDirectory(prefix="salesforce-sync-") as folder:
            work = _Load(
                context,
                run,
                name,
                mapping,
                targets,
                source,
                resend,
                remember,
                ResultFile(Path(folder) / "results.parquet"),
            )
            loaded = work.run_all()
    if limit and loaded.passing:
        raise RowLocked(
            f"{name}: {loaded.passing} records were refused because Salesforce had them locked; the others are saved."
        )
    if limit:
        refuse_too_many(loaded.counts, name, loaded.examples)
    return loaded


def _leave_all(context: StepContext, run: SyncRun, name: str, source: Source, error: BudgetExhausted) -> Loaded:
    """Nothing may be sent, not even a question: all batches wait."""
    run.notes.append(f"{error} {len(source.batches)} batches wait for the next run.")
    with context.state.begin() as connection:
        backlog.replace(connection, context.org, name, source.batches)
        run.finish(connection, Counts(), status=runs.LIMITED)
    return Loaded(Counts(), waiting=len(source.batches))


def check_mapping(context: StepContext, name: str, mapping: MappingFile) -> dict[str, Target]:
    """What each mapped field takes in this org; raises when the mapping does not fit the org."""
    name_of_object = mapping.salesforce.object
    described = context.client.describe([name_of_object])[name_of_object]
    found = describe.problems(mapping, described)
    if found and context.client.refresh([name_of_object]):  # the org may have changed since it was described
        described = context.client.describe([name_of_object])[name_of_object]
        found = describe.problems(mapping, described)
    if described is None:
        raise MissingMetadata(f"Mapping {name}: {found[0]}.")
    if found:
        raise InvalidMapping(f"Mapping {name} does not fit the org: {'; '.join(found)}.", fix=MissingMetadata.fix)
    return describe.targets(mapping, described)


class ResultFile:
    """RecordResults on disk, in the order in which they became known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = pq.ParquetWriter(path, _RESULT_SCHEMA, compression="zstd")
        self.counts: Counter[Outcome] = Counter()

    def add(self, results: Sequence[RecordResult]) -> None:
        if not results:
            return
        self.counts.update(result.outcome for result in results)
        self._writer.write_table(
            pa.table([pa.array(column, pa.string()) for column in zip(*results, strict=True)], schema=_RESULT_SCHEMA)
        )

    def close(self) -> None:
        self._writer.close()

    def tally(self, batches: Sequence[BatchRef]) -> Counts:
        """The counts of a run that looked at these batches."""
        outcomes = {str(outcome): count for outcome, count in self.counts.items()}
        return Counts(read=sum(batch.count for batch in batches), **outcomes)

    def read(self) -> Iterator[list[RecordResult]]:
        file = pq.ParquetFile(self._path)
        for batch in file.iter_batches(batch_size=10_000):
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            yield [RecordResult(record_id, _OUTCOMES[outcome], *rest) for record_id, outcome, *rest in rows]


@dataclass(frozen=True, slots=True)
class _Underway:
    """A row that is on its way: its fingerprints, and the place of its batch."""

    fingerprint: str
    staged_fingerprint: str
    place: int


@dataclass
class _Load:
    context: StepContext
    run: SyncRun
    name: str
    mapping: MappingFile
    targets: dict[str, Target]
    source: Source
    resend: bool
    remember: bool
    results: ResultFile
    pending: dict[str, _Underway] = field(default_factory=dict)  # by vendor id
    seen: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    late: list[tuple[int, pd.DataFrame]] = field(default_factory=list)  # with the place of their batch
    written_twice: int = 0
    taken: int = 0  # how many batches were begun
    limited: str = ""  # why the run had to stop
    refused: dict[str, tuple[str, str]] = field(
        default_factory=dict
    )  # vendor id -> (code, message), payload still to be found

    def run_all(self) -> Loaded:
        try:
            self._send(self._outgoing())
            while self.late:  # records that came more than once: the later ones go after the earlier ones are through
                place, frame = self.late[0]
                self._send(iter([self._table(frame, place)]))
                self.written_twice += len(frame)
                self.late.pop(0)
        except BudgetExhausted as error:
            if not self.source.can_wait:
                raise
            self.limited = str(error)
            log.warning("%s: %s", self.name, error)
        self._find_payloads()
        self.results.close()
        return self._commit()

    # -- from batches to tables ---------------------------------------------------------------------------------------------------

    def _outgoing(self) -> Iterator[pa.Table]:
        for place, batch in enumerate(self.source.batches):
            self.taken = place + 1
            frame = self._changed(self._staged(batch))
            if len(frame):
                yield self._table(frame, place)

    def _staged(self, batch: BatchRef) -> pd.DataFrame:
        """The batch's records to look at, each vendor id once: `id`, `record` and `_staged`, the fingerprint of the record's text."""
        rows = staged_rows(self.source, batch, self.version)
        repeated = rows["id"].notna() & rows["id"].duplicated(keep="last")
        self.results.add([RecordResult(key, Outcome.SKIPPED, code=SUPERSEDED) for key in rows.loc[repeated, "id"]])
        return self._set_late_apart(rows[~repeated])

    def _set_late_apart(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Records whose id was in an earlier batch wait until the others are written. Ids are remembered as 8 bytes each."""
        hashed = pd.util.hash_array(rows["id"].fillna("").to_numpy(dtype=object))
        again = np.isin(hashed, self.seen) & rows["id"].notna().to_numpy()
        self.seen = np.concatenate([self.seen, hashed[~again]])
        if again.any():
            self.late.append((self.taken - 1, self._mapped(rows[again])))
        return rows[~again]

    def _changed(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The mapped rows that differ from what was last sent; the others are results already.

        A record whose text is the one that was last sent need not even be mapped."""
        if not self.remember or not len(rows):
            return self._mapped(rows)
        with reading(self.context.state) as connection:
            known = links.find(connection, self.context.org, self.name, rows["id"].dropna().tolist())
        same_text = self._settled(rows["id"], rows["_staged"], known, "staged_fingerprint")
        self.results.add(
            [RecordResult(key, Outcome.UNCHANGED, known[key].salesforce_id) for key in rows.loc[same_text, "id"]]
        )
        frame = self._mapped(rows[~same_text])
        same_values = self._settled(frame[self._key], frame["_fingerprint"], known, "fingerprint")
        self.results.add([
            RecordResult(key, Outcome.UNCHANGED, known[key].salesforce_id, fingerprint=fingerprint, staged_fingerprint=staged)
            for key, fingerprint, staged in frame.loc[same_values, [self._key, "_fingerprint", "_staged"]].itertuples(index=False)
        ])  # fmt: skip
        return frame[~same_values]

    def _settled(self, keys: pd.Series, marks: pd.Series, known: Mapping[str, links.Link], which: str) -> pd.Series:
        if self.mapping.create_only:
            return keys.isin(known.keys())
        return unchanged(keys, marks, known, which) & (not self.resend)

    def _mapped(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows as Salesforce values, with their fingerprints; those that cannot be mapped are results already."""
        texts = rows["record"].tolist()
        mapped = apply(self.mapping, [read_record(text) for text in texts], self.targets)
        self.results.add([
            RecordResult(loggable_id(mapped.ids[place], texts[place]), Outcome.REJECTED, code=UNMAPPABLE, message=problem, payload=texts[place])
            for place, problem in mapped.problems.items()
        ])  # fmt: skip
        frame = mapped.frame
        return frame.assign(_fingerprint=fingerprints(frame), _staged=rows["_staged"].to_numpy()[frame.index])

    @cached_property
    def version(self) -> str:
        return mapping_version(self.mapping, self.targets)

    @property
    def _key(self) -> str:
        return self.mapping.salesforce.external_id

    def _table(self, frame: pd.DataFrame, place: int) -> pa.Table:
        marks = frame[[self._key, "_fingerprint", "_staged"]].itertuples(index=False)
        self.pending.update((key, _Underway(fingerprint, staged, place)) for key, fingerprint, staged in marks)
        columns = {
            name: pa.array(frame[name].tolist(), ARROW_TYPES.get(self.targets[name].type, pa.string()))
            for name in (self._key, *self.mapping.fields)
        }
        return pa.table(columns)

    # -- writing ------------------------------------------------------------------------------------------------------------------

    def _send(self, tables: Iterator[pa.Table]) -> None:
        side = self.mapping.salesforce
        converted = ConvertedRule(side.converted.object, dict(side.converted.fields)) if side.converted else None
        operation = Operation.UPDATE if self.mapping.is_update_only else Operation.UPSERT
        request = WriteRequest(
            side.object, operation, self._key, self.mapping.clears, parent=side.parent, assign=side.assign_owners,
            allow_duplicates=side.allow_duplicates, converted=converted,
        )  # fmt: skip
        for table, results in self.context.client.write(request, tables):
            delivered = []
            for key, result in zip(table.column(self._key).to_pylist(), results, strict=True):
                sent = self.pending.pop(key)
                if result.outcome is Outcome.REJECTED:
                    self.refused[key] = (result.code or "", result.message or "")
                else:
                    delivered.append(
                        RecordResult(
                            key,
                            result.outcome,
                            result.salesforce_id,
                            fingerprint=sent.fingerprint,
                            staged_fingerprint=sent.staged_fingerprint,
                        )
                    )
                    self.refused.pop(key, None)
            self.results.add(delivered)
            log.info("%s: %d rows written", self.name, len(results))

    def _find_payloads(self) -> None:
        """The content of the records that Salesforce refused, for their dead letters; read again only when there are any."""
        wanted = dict(self.refused)
        for batch in (
            reversed(self.source.batches) if wanted else ()
        ):  # of a record in several batches, the last version
            rows = self.source.read(batch)
            found = {
                key: RecordResult(key, Outcome.REJECTED, code=wanted[key][0], message=wanted[key][1], payload=text)
                for key, text in zip(rows.column("id").to_pylist(), rows.column("record").to_pylist(), strict=True)
                if key in wanted
            }
            self.results.add(list(found.values()))
            for key in found:
                del wanted[key]

    # -- committing ---------------------------------------------------------------------------------------------------------------

    def _commit(self) -> Loaded:
        context = self.context
        done, left = self._split()
        counts = self.results.tally(self.source.batches[: self.taken])
        if counts.skipped:
            self.run.notes.append(
                f"{counts.skipped} records came again in the same batch and were superseded by their last version."
            )
        if self.written_twice:
            self.run.notes.append(
                f"{self.written_twice} records came again in a later batch and were written twice, the last version last."
            )
        if left:
            self.run.notes.append(f"{self.limited} {len(left)} batches wait for the next run.")
        with context.state.begin() as connection:
            loaded = save_results(connection, self.run, self.name, self.results, counts, remember=self.remember)
            before, after = advance_watermark(connection, context.org, self.name, done)
            if self.source.can_wait:
                backlog.replace(connection, context.org, self.name, left)
            status = runs.LIMITED if left else runs.SUCCESS
            self.run.finish(connection, counts, watermark_from=before, watermark_to=after, status=status)
        return replace(loaded, waiting=len(left))

    def _split(self) -> tuple[Sequence[BatchRef], Sequence[BatchRef]]:
        """The batches that are done, and those that must come again: from the first one on that has a row whose fate is open."""
        if not self.limited:
            return self.source.batches, []
        first = min([self.taken, *(row.place for row in self.pending.values()), *(place for place, _ in self.late)])
        return self.source.batches[:first], self.source.batches[first:]


def save_results(
    connection: Connection, run: SyncRun, name: str, file: ResultFile, counts: Counts, *, remember: bool = True
) -> Loaded:
    """Writes log, links (unless not `remember`) and dead letters of a run's results, on the connection that commits the run."""
    org = run.context.org
    refused: list[str] = []
    examples: list[str] = []
    passing = 0
    for results in file.read():
        sync_log.write(connection, run.id, results)
        if remember:
            links.save(connection, org, name, results)
        dead_letters.record(connection, org, name, run.id, results)
        refused += [result.record_id for result in results if result.outcome is Outcome.REJECTED]
        passing += sum(result.outcome is Outcome.REJECTED and result.code in RETRYABLE_CODES for result in results)
        examples = [*examples, *first_refusals(results)][:SHOWN_EXAMPLES]
    return Loaded(counts, frozenset(refused), passing, examples)


def advance_watermark(
    connection: Connection, org: str, name: str, done: Sequence[BatchRef]
) -> tuple[str | None, str | None]:
    """Moves the stream's watermark to where these batches reach; gives where it stood, and where it stands now."""
    cursor = max((batch.high_cursor for batch in done if batch.high_cursor), default=None)
    before = watermarks.get(connection, org, name)
    return before, watermarks.advance(connection, org, name, cursor) if cursor else before


def staged_rows(source: Source, batch: BatchRef, version: str) -> pd.DataFrame:
    """The batch's records: `id`, `record` (JSON text), and `_staged`, the fingerprint of the text and of the mapping's version."""
    staged = source.read(batch)
    rows = pd.DataFrame({name: staged.column(name).to_pylist() for name in staged.column_names}, dtype=object)
    hashed = pd.util.hash_array(rows["record"].to_numpy(dtype=object), hash_key=version, categorize=False)
    return rows.assign(_staged=[f"{number:016x}" for number in hashed.tolist()])


def unchanged(keys: pd.Series, marks: pd.Series, known: Mapping[str, links.Link], which: str) -> pd.Series:
    """Whose link remembers the same mark; `which` names the link's fingerprint."""
    same = [
        link is not None and getattr(link, which) == mark
        for link, mark in zip(map(known.get, keys), marks, strict=True)
    ]
    return pd.Series(same, index=keys.index, dtype=bool)


def loggable_id(record_id: str, payload: str) -> str:
    """An id that the log can hold: a record without one, or with an endless one, is named by a hash of its content."""
    if record_id and len(record_id) <= LONGEST_ID:
        return record_id
    return "no-id-" + hashlib.sha256(payload.encode()).hexdigest()[:24]


def from_memory(mapping: MappingFile, records: Sequence[Mapping[str, Any]]) -> Source:
    """A source of records that were made here and fit in memory."""
    columns = {
        "id": [as_text(value_at(record, mapping.vendor.id)) for record in records],
        "record": [json.dumps(record, default=str) for record in records],
    }
    table = pa.table(columns, schema=RECORD_SCHEMA)
    return Source([BatchRef("memory", len(records))], lambda _: table)
