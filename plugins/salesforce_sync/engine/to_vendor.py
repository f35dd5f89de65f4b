"""Push: staged Salesforce records to a vendor, compared with what it was last sent, and committed in one transaction.

The vendor knows its records by the fields that the mapping calls unique, so whatever a killed push had sent may be sent again.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from salesforce_sync.mapping.apply import apply_to_vendor, fingerprints, nested
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.version import mapping_version
from salesforce_sync.records import BatchRef, Outcome, RecordResult, VendorResult
from salesforce_sync.salesforce.changes import STAMP
from salesforce_sync.staging import read_record
from salesforce_sync.state import links
from salesforce_sync.state.engine import reading
from salesforce_sync.steps.changes import DELETED, MASTER
from salesforce_sync.steps.context import SyncRun, VendorContext, refuse_too_many, sync_run
from salesforce_sync.steps.load import (
    SUPERSEDED,
    UNMAPPABLE,
    Loaded,
    ResultFile,
    Source,
    advance_watermark,
    save_results,
    staged_rows,
    unchanged,
)

log = logging.getLogger(__name__)

SENT_TOGETHER = 1_000
GONE, MERGED, NOT_UNIQUE, LEFT_TO_OTHER = (
    "DELETED_IN_SALESFORCE",
    "MERGED_IN_SALESFORCE",
    "NO_UNIQUE_VALUE",
    "LEFT_TO_OTHER_RECORD",
)


class Mark(NamedTuple):
    """What is remembered of a record that is sent; MARKS are the frame's columns of it."""

    id: str
    fingerprint: str
    staged_fingerprint: str
    unique_key: str
    text: str
    version: str


MARKS = ["_id", "_fingerprint", "_staged", "_unique", "_text", "_version"]


class VendorTarget(Protocol):
    """A vendor's hook, as far as push needs it."""

    def save(self, stream: str, records: Sequence[Mapping[str, Any]], *, unique: Sequence[str]) -> list[VendorResult]:
        """Writes the records; a result for each, in order. A record that has the unique values of one that is there becomes that one."""

    def update(self, stream: str, vendor_id: str, record: Mapping[str, Any]) -> VendorResult:
        """Writes one record by the vendor's id, which may change its unique values."""

    def delete(self, stream: str, vendor_ids: Iterable[str]) -> None: ...


def push(
    context: VendorContext,
    name: str,
    mapping: MappingFile,
    source: Source,
    target: VendorTarget,
    *,
    delete: bool = False,
    resend: bool = False,
) -> Loaded:
    """Sends the batches by the mapping called `name`, and moves its watermark.

    Records equal to what was last sent are not sent, unless `resend`. A record that is deleted or merged in Salesforce is logged, and with
    `delete` its record at the vendor is deleted, unless another record of Salesforce has become it. Raises TooManyRejects, after everything
    is committed, when more were refused than may be.
    """
    with sync_run(context, name) as run, tempfile.TemporaryDirectory(prefix="salesforce-sync-") as folder:
        work = _Push(
            context, run, name, mapping, source, target, delete, resend, ResultFile(Path(folder) / "results.parquet")
        )
        loaded = work.run_all()
    refuse_too_many(loaded.counts, name, loaded.examples)
    return loaded


@dataclass
class _Push:
    context: VendorContext
    run: SyncRun
    name: str
    mapping: MappingFile
    source: Source
    target: VendorTarget
    delete: bool
    resend: bool
    results: ResultFile
    forgotten: list[str] = field(default_factory=list)  # Salesforce ids of records that are gone: their links go, too

    @cached_property
    def version(self) -> str:
        return mapping_version(self.mapping, {})

    def run_all(self) -> Loaded:
        for batch in self.source.batches:
            rows = staged_rows(self.source, batch, self.version)
            with reading(self.context.state) as connection:
                known = links.find(connection, self.context.org, self.name, rows["id"].tolist())
            same_text = unchanged(rows["id"], rows["_staged"], known, "staged_fingerprint") & (not self.resend)
            self._keep(rows.loc[same_text, "id"], known)
            rows = self._newer(self._decoded(rows[~same_text]), known)
            rows = self._living(rows, known)
            self._send(self._changed(rows, known), known)
        self.results.close()
        return self._commit()

    def _keep(self, ids: Iterable[str], known: Mapping[str, links.Link]) -> None:
        self.results.add([RecordResult(key, Outcome.UNCHANGED, key, vendor_id=known[key].vendor_id) for key in ids])

    def _decoded(self, rows: pd.DataFrame) -> pd.DataFrame:
        """With the records themselves in `record`, their text in `_text`, and when Salesforce last changed them in `_version`."""
        records = [read_record(text) for text in rows["record"]]
        versions = [str(record[STAMP]) for record in records]
        return rows.assign(
            record=pd.Series(records, index=rows.index, dtype=object), _text=rows["record"], _version=versions
        )

    def _newer(self, rows: pd.DataFrame, known: Mapping[str, links.Link]) -> pd.DataFrame:
        """The records but for those of which a later version was sent already, by a poll that overtook this one."""
        late = [
            (link := known.get(key)) is not None and link.version is not None and version < link.version
            for key, version in zip(rows["id"], rows["_version"], strict=True)
        ]
        overtaken = pd.Series(late, index=rows.index, dtype=bool)
        self.results.add([RecordResult(key, Outcome.SKIPPED, key, SUPERSEDED) for key in rows.loc[overtaken, "id"]])
        return rows[~overtaken]

    # -- records that are gone ----------------------------------------------------------------------------------------------------

    def _living(self, rows: pd.DataFrame, known: Mapping[str, links.Link]) -> pd.DataFrame:
        """The records that are still there; what is gone is a result already."""
        gone = pd.Series([bool(record.get(DELETED)) for record in rows["record"]], index=rows.index, dtype=bool)
        for key, record in rows.loc[gone, ["id", "record"]].itertuples(index=False):
            self.results.add([self._gone(key, record, known.get(key))])
        return rows[~gone]

    def _gone(self, key: str, record: Mapping[str, Any], link: links.Link | None) -> RecordResult:
        code, message = (MERGED, f"merged into {record[MASTER]}") if record.get(MASTER) else (GONE, None)
        self.forgotten.append(key)
        if not self.delete or link is None or link.vendor_id is None:
            return RecordResult(key, Outcome.SKIPPED, key, code, message, vendor_id=link.vendor_id if link else None)
        with reading(self.context.state) as connection:
            shared = links.others_with_vendor_id(connection, self.context.org, link.vendor_id, besides=key)
        if shared:
            return RecordResult(
                key,
                Outcome.SKIPPED,
                key,
                code,
                f"the vendor's record has become that of {shared}",
                vendor_id=link.vendor_id,
            )
        self.target.delete(self.mapping.vendor.stream, [link.vendor_id])
        return RecordResult(key, Outcome.DELETED, key, code, message, vendor_id=link.vendor_id)

    # -- records that go ----------------------------------------------------------------------------------------------------------

    def _changed(self, rows: pd.DataFrame, known: Mapping[str, links.Link]) -> pd.DataFrame:
        """The mapped rows to send, with Salesforce id, fingerprints, unique key and text; all others are results already."""
        texts = rows["_text"].tolist()
        mapped = apply_to_vendor(self.mapping, rows["record"].tolist())
        self.results.add([
            RecordResult(mapped.ids[place], Outcome.REJECTED, mapped.ids[place], UNMAPPABLE, problem, payload=texts[place])
            for place, problem in mapped.problems.items()
        ])  # fmt: skip
        places = mapped.frame.index
        frame = mapped.frame.assign(
            _fingerprint=fingerprints(mapped.frame), _id=[mapped.ids[place] for place in places], _staged=rows["_staged"].to_numpy()[places],
            _version=rows["_version"].to_numpy()[places],
            _text=[texts[place] for place in places], _unique=self._unique_keys(mapped.frame),
        )  # fmt: skip
        same = unchanged(frame["_id"], frame["_fingerprint"], known, "fingerprint") & (not self.resend)
        self.results.add([
            _result(Mark(*row), VendorResult(known[row[0]].vendor_id), Outcome.UNCHANGED)
            for row in frame.loc[same, MARKS].itertuples(index=False, name=None)
        ])  # fmt: skip
        return self._left_to_nobody(self._with_unique_value(frame[~same]))

    def _unique_keys(self, frame: pd.DataFrame) -> pd.Series:
        values = frame[self._unique_paths].itertuples(index=False, name=None)
        return pd.Series([_unique_key(row) for row in values], index=frame.index, dtype=object)

    @property
    def _unique_paths(self) -> list[str]:
        return [str(self.mapping.fields[name].vendor) for name in self.mapping.unique]

    def _with_unique_value(self, frame: pd.DataFrame) -> pd.DataFrame:
        """What has no unique value cannot be known again at the vendor."""
        lacking = frame["_unique"].isna()
        message = f"{' and '.join(self.mapping.unique)} makes a record unique, and has no value here"
        self.results.add(
            [RecordResult(key, Outcome.SKIPPED, key, NOT_UNIQUE, message) for key in frame.loc[lacking, "_id"]]
        )
        return frame[~lacking]

    def _left_to_nobody(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows but for those that another mapping has a record for, to which this mapping yields."""
        other = self.mapping.yields_to
        if other is None or not len(frame):
            return frame
        with reading(self.context.state) as connection:
            taken = links.taken_keys(connection, self.context.org, other, frame["_unique"].tolist())
        left = frame["_unique"].isin(taken)
        self.results.add([
            RecordResult(key, Outcome.SKIPPED, key, LEFT_TO_OTHER, f"a record of {other} has the same {' and '.join(self.mapping.unique)}")
            for key in frame.loc[left, "_id"]
        ])  # fmt: skip
        return frame[~left]

    def _send(self, frame: pd.DataFrame, known: Mapping[str, links.Link]) -> None:
        paths = [name for name in frame.columns if not name.startswith("_")]
        moved = self._moved(frame, known)
        for row in frame[moved].itertuples(index=False, name=None):
            self._move(dict(zip(frame.columns, row, strict=True)), paths, known)
        frame = frame[~moved]
        for start in range(0, len(frame), SENT_TOGETHER):
            part = frame.iloc[start : start + SENT_TOGETHER]
            records = [
                nested(dict(zip(paths, row, strict=True))) for row in part[paths].itertuples(index=False, name=None)
            ]
            answers = self.target.save(self.mapping.vendor.stream, records, unique=self._unique_paths)
            marks = (Mark(*row) for row in part[MARKS].itertuples(index=False, name=None))
            self.results.add([
                _result(mark, answer, Outcome.UPDATED if mark.id in known else Outcome.CREATED) for mark, answer in zip(marks, answers, strict=True)
            ])  # fmt: skip
            log.info("%s: %d records sent", self.name, len(part))

    def _moved(self, frame: pd.DataFrame, known: Mapping[str, links.Link]) -> pd.Series:
        """Which records have other unique values than when they were sent: by these alone, the vendor would make another record of them.

        Where the new values are those of a record that the vendor has already, the two become one, and the old one stays with whoever
        shares it."""
        changed = pd.Series(
            [
                (link := known.get(key)) is not None
                and link.vendor_id is not None
                and link.unique_key not in (None, unique)
                for key, unique in zip(frame["_id"], frame["_unique"], strict=True)
            ],
            index=frame.index,
            dtype=bool,
        )
        if not changed.any():
            return changed
        with reading(self.context.state) as connection:
            org = self.context.org
            taken = links.taken_keys(connection, org, self.name, frame.loc[changed, "_unique"].tolist())
            alone = [
                links.others_with_vendor_id(connection, org, str(known[key].vendor_id), besides=key) is None
                for key in frame.loc[changed, "_id"]
            ]
        changed[changed] = np.array(alone) & ~frame.loc[changed, "_unique"].isin(taken).to_numpy()
        return changed

    def _move(self, row: Mapping[str, Any], paths: Sequence[str], known: Mapping[str, links.Link]) -> None:
        """Writes one record by the vendor's id; by its unique values, when the vendor has no such record any more."""
        mark, record = Mark(*(row[name] for name in MARKS)), nested({path: row[path] for path in paths})
        stream = self.mapping.vendor.stream
        answer = self.target.update(stream, str(known[mark.id].vendor_id), record)
        if answer.vendor_id is None:
            (answer,) = self.target.save(stream, [record], unique=self._unique_paths)
        self.results.add([_result(mark, answer, Outcome.UPDATED)])

    # -- committing ---------------------------------------------------------------------------------------------------------------

    def _commit(self) -> Loaded:
        context = self.context
        counts = self.results.tally(self.source.batches)
        with context.state.begin() as connection:
            loaded = save_results(connection, self.run, self.name, self.results, counts)
            links.forget(connection, context.org, self.name, self.forgotten)
            before, after = advance_watermark(connection, context.org, self.name, self.source.batches)
            self.run.finish(connection, counts, watermark_from=before, watermark_to=after)
        return loaded


def _unique_key(values: tuple[str | None, ...]) -> str | None:
    """A hash of what makes a record unique, in any case of letters; None where a value is missing."""
    if not all(values):
        return None
    return hashlib.sha256("\n".join(str(value).lower() for value in values).encode()).hexdigest()


def _result(mark: Mark, answer: VendorResult, outcome: Outcome) -> RecordResult:
    if answer.vendor_id is None:
        return RecordResult(mark.id, Outcome.REJECTED, mark.id, answer.code, answer.message, payload=mark.text)
    return RecordResult(
        mark.id, outcome, mark.id, fingerprint=mark.fingerprint, staged_fingerprint=mark.staged_fingerprint, vendor_id=answer.vendor_id,
        unique_key=mark.unique_key, version=mark.version,
    )  # fmt: skip


def org_of(batches: Sequence[BatchRef]) -> str:
    """The org that the batches come from."""
    (org,) = {batch.org for batch in batches}
    assert org is not None, "a batch of Salesforce records names its org"
    return org
