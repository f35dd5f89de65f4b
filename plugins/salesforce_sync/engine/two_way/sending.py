"""Sending a chunk: a last look at the records, then Salesforce or the vendor, call by call or by a job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.deliver import NoteJobs, Sent
from salesforce_sync.engine.from_salesforce import DELETED as GONE
from salesforce_sync.engine.to_salesforce import nodes_of, request_of
from salesforce_sync.engine.two_way import shadow, sides
from salesforce_sync.engine.two_way.merging import result_of
from salesforce_sync.engine.two_way.sides import (
    AT_VENDOR,
    CREATE,
    DELETE,
    EXTERNAL_ID,
    JOB,
    MAKE,
    PATCH,
    REMOVE,
    SINCE_NOTE,
    UPDATE,
    Side,
    is_nothing,
    known_by,
    member_name,
)
from salesforce_sync.errors import SyncError
from salesforce_sync.mapping.paths import as_text
from salesforce_sync.records import MISSING_AT_VENDOR, Outcome, PairChange, RecordResult, VendorResult
from salesforce_sync.salesforce.rows import Operation, WriteRequest
from salesforce_sync.state import shadow as shadow_writes

if TYPE_CHECKING:
    from salesforce_sync.engine.two_way.end import TwoWay


@dataclass
class Sender:
    """Sends one chunk, after a last look at the records that it changes."""

    end: TwoWay
    context: Context
    chunk: pa.Table
    facts: Mapping[str, str]
    jobs: NoteJobs
    repeated: bool
    rows: list[dict[str, Any]] = field(default_factory=list)
    results: list[RecordResult | None] = field(default_factory=list)
    current: dict[str, Side] = field(default_factory=dict)  # by id, at the last look

    def run(self) -> Sent:
        self.rows = self.chunk.to_pylist()
        self.results = [None] * len(self.rows)
        if self.end.rules.shadow:
            return self._keep_for_comparison()
        send = {
            UPDATE: self._update, CREATE: self._create, DELETE: self._delete, PATCH: self._patch, MAKE: self._make,
            REMOVE: self._remove,
        }[self.facts["operation"]]  # fmt: skip
        untouched = list(range(len(self.rows)))
        try:
            if self.facts["operation"] in (UPDATE, PATCH):
                untouched = self._untouched(theirs=self.facts["operation"] == PATCH)
            error, never_sent = send(untouched)
        except SyncError as failure:
            error, never_sent = failure, frozenset()
        left = frozenset(row for row in range(len(self.rows)) if row not in untouched and self.results[row] is None)
        return Sent(self.results, error, never_sent | left)

    def _keep_for_comparison(self) -> Sent:
        """In the shadow: what would be written is kept, and nothing is."""
        writes = [item for row in self.rows for item in shadow.planned_by(self.end, self.facts, row)]
        with self.context.state.begin() as connection:
            shadow_writes.plan(connection, self.context.org, self.end.flow, writes)
        results: list[RecordResult | None] = [
            result_of(
                row, Outcome.SKIPPED, row["_pair_ours"], row["_pair_theirs"], code=shadow.SHADOW, message=row["_message"]
            )._replace(fingerprint=None)
            for row in self.rows
        ]  # fmt: skip
        return Sent(results, None)

    # -- the last look -----------------------------------------------------------------------------------------------

    def _untouched(self, *, theirs: bool) -> list[int]:
        """The rows whose record still has what it had when the plan was made. One that has what is to be written, as
        after a call whose answer was lost, is done; what has moved otherwise is left to the next plan."""
        column = "_pair_theirs" if theirs else "_pair_ours"
        ids = list(dict.fromkeys(row[column] for row in self.rows))
        look = self.end.look_at_theirs if theirs else self.end.look_at_ours
        found, _ = look(ids)
        self.current = found
        untouched = []
        for place, row in enumerate(self.rows):
            side = found.get(row[column])
            if side is None or side.gone:
                continue
            expected = json.loads(row["_expected"])
            if not theirs and (row.get("_parent") or "") != side.parent:
                continue  # it has moved to another parent, which the plan did not look at
            if all(known_by(side.seen[name]) == mark for name, mark in expected.items()):
                untouched.append(place)
            elif self.repeated and self._has_it(side, row):
                self._done(place, Outcome.UPDATED)
        return untouched

    def _has_it(self, side: Side, row: Mapping[str, Any]) -> bool:
        written = json.loads(row["_written"])
        return all((side.seen[name].raw or "") == (as_text(row[column]) or "") for name, column in written.items())

    # -- Salesforce --------------------------------------------------------------------------------------------------

    def _update(self, places: Sequence[int]) -> tuple[SyncError | None, frozenset[int]]:
        clears = frozenset(filter(None, self.facts.get("clears", "").split(",")))
        nodes = nodes_of(self.end.mapping.salesforce)
        return self._write(places, WriteRequest(self.facts["object"], Operation.UPDATE, "Id", clears, nodes=nodes))

    def _create(self, places: Sequence[int]) -> tuple[SyncError | None, frozenset[int]]:
        if self.repeated:  # what is there already may have been edited since: the next plan merges it
            places = self._not_there(places)
        return self._write(places, replace(request_of(self.end.theirs), clears=frozenset()))

    def _not_there(self, places: Sequence[int]) -> list[int]:
        """The rows that are still to be made; the others become pairs with what was sent. A record that people deleted
        or merged meanwhile was made, too: the pair goes on, or ends, as its next reading says."""
        side = self.end.mapping.salesforce
        keys = [self.rows[place]["_pair_theirs"] for place in places]
        found: dict[str, str] = {}
        columns = ("Id", side.external_id, GONE)
        for table in self.context.salesforce.matching(
            side.object, side.external_id, keys, columns, include_deleted=True
        ):
            for record_id, key, is_gone in zip(*(table.column(name).to_pylist() for name in columns), strict=True):
                if key not in found or not is_gone:
                    found[key] = record_id
        for place in places:
            if (salesforce_id := found.get(self.rows[place]["_pair_theirs"])) is not None:
                self._done(place, Outcome.CREATED, salesforce_id=salesforce_id)
        return [place for place in places if self.results[place] is None]

    def _delete(self, places: Sequence[int]) -> tuple[SyncError | None, frozenset[int]]:
        return self._write(places, WriteRequest(self.facts["object"], Operation.DELETE))

    def _write(self, places: Sequence[int], request: WriteRequest) -> tuple[SyncError | None, frozenset[int]]:
        if not places:
            return None, frozenset()
        names = [name for name in self.chunk.column_names if not name.startswith("_")]
        values = self.chunk.select(names).take(pa.array(places, pa.int64()))
        parent = self.end.mapping.salesforce.with_parent
        if parent and request.operation is Operation.UPDATE:
            found = [self.current[self.rows[place]["_pair_ours"]].parent or None for place in places]
            values = values.append_column(parent.reference, pa.array(found, pa.string()))
        answers, error = self.context.salesforce.answer(request, values, self.jobs)
        for place, answer in zip(places, answers, strict=True):
            if answer is None:
                continue
            if answer.outcome is Outcome.REJECTED:
                self._refused(place, answer.code, answer.message, salesforce_id=answer.salesforce_id)
            else:
                self._done(place, answer.outcome, salesforce_id=answer.salesforce_id)
        return error, frozenset()

    # -- the vendor --------------------------------------------------------------------------------------------------

    @property
    def _stream(self) -> str:
        return self.end.mapping.vendor.stream

    def _values(self, place: int) -> dict[str, Any]:
        """What the vendor is sent, by path: a user by id and e-mail address, what is emptied as None."""
        row, mapping = self.rows[place], self.end.mapping
        users = {str(item.vendor) for item in mapping.fields.values() if item.user}
        if "_written" in row:
            paths = list(json.loads(row["_written"]).values())
        else:
            paths = [name for name, value in row.items() if not name.startswith("_") and value is not None]
        values: dict[str, Any] = {path: None if is_nothing(row[path]) else row[path] for path in paths}
        values |= self._beside(row, values)
        for path in users & values.keys():
            user_id = values[path]
            values[path] = {"id": user_id, "email": self.end.users.get(user_id, "")} if user_id else None
        return values

    def _beside(self, row: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """What goes along as it is: the other parts of an address of which one changes."""
        address = self.end.target.address
        side = self.current.get(row["_pair_theirs"] or "")
        if address is None or side is None or not any(path.startswith(address) for path in values):
            return {}
        fields = {str(item.vendor): name for name, item in self.end.mapping.fields.items()}
        return {
            path: side.seen[name].raw
            for path, name in fields.items()
            if path not in values and path.startswith(address)
        }

    def _patch(self, places: Sequence[int]) -> tuple[SyncError | None, frozenset[int]]:
        if len(places) > sides.FEW:
            return self._by_job("patch", places), frozenset()
        for number, place in enumerate(places):
            self.jobs.beat()
            try:
                answer = self.end.target.patch(self._stream, self.rows[place]["_pair_theirs"], self._values(place))
            except SyncError as error:
                return error, frozenset(places[number + 1 :])
            self._answered(place, answer)
        return None, frozenset()

    def _make(self, places: Sequence[int]) -> tuple[SyncError | None, frozenset[int]]:
        if len(self.rows) > 1:
            return self._by_job("create", places), frozenset()
        for place in self._not_made(places):
            values = {EXTERNAL_ID: self.rows[place]["_pair_ours"], **self._values(place)}
            try:
                self._answered(place, self.end.target.create(self._stream, values))
            except SyncError as error:
                return error, frozenset()
        return None, frozenset()

    def _not_made(self, places: Sequence[int]) -> list[int]:
        """The rows that are still to be made: of those that were sent before without an answer, some may be there."""
        since = datetime.fromisoformat(self.facts["since"])
        made: dict[str, str] = {}
        if self.repeated and since.year > 1:
            made = self.end.target.find_created(self._stream, since=since - SINCE_NOTE)
        for place in places:
            if (vendor_id := made.get(self.rows[place]["_pair_ours"])) is not None:
                self._answered(place, VendorResult(vendor_id))
        return [place for place in places if self.results[place] is None]

    def _remove(self, places: Sequence[int]) -> tuple[SyncError | None, frozenset[int]]:
        for number, place in enumerate(places):
            self.jobs.beat()
            try:
                self.end.target.delete(self._stream, [self.rows[place]["_pair_theirs"]])
            except SyncError as error:
                return error, frozenset(places[number + 1 :])
            self._done(place, Outcome.DELETED)
        return None, frozenset()

    def _by_job(self, operation: str, places: Sequence[int]) -> SyncError | None:
        """By the job that the note names, if somebody started it; else by a new one, which is noted before it is
        started."""
        target, content = self.end.target, _digest(operation, self.rows)
        noted = (self.jobs.find(content) or "").removeprefix(JOB)
        refused: dict[str, VendorResult] = {}
        left = list(places)
        if not noted or not target.resume_job(noted):
            left = self._not_made(places) if operation == "create" else left
            noted, refused = self._new_job(operation, left, content)
        results = target.finish_job(noted, beat=self.jobs.beat) if noted else {}
        unknown = VendorResult(None, "NO_RESULT", "the job has no result for this record")
        for place in left:
            key = self.rows[place]["_pair_ours"]
            self._answered(place, refused.get(key) or results.get(key, unknown))
        return None

    def _new_job(self, operation: str, places: Sequence[int], content: str) -> tuple[str, dict[str, VendorResult]]:
        """A job for these rows, noted and started; its id, and by Salesforce id what cannot be sent."""
        keys = [self.rows[place]["_pair_ours"] for place in places]
        known = [{"id": self.rows[place]["_pair_theirs"]} if operation == "patch" else {} for place in places]
        rows = [
            {**own, EXTERNAL_ID: key, **self._values(place)}
            for own, key, place in zip(known, keys, places, strict=True)
        ]
        if not rows:
            return "", {}
        job_id, refused = self.end.target.new_job(self._stream, operation, rows)
        if job_id:
            self.jobs.remember(content, f"{JOB}{job_id}")
            self.end.target.start_job(job_id)
        return job_id, {keys[number]: answer for number, answer in refused.items()}

    # -- results -----------------------------------------------------------------------------------------------------

    def _answered(self, place: int, answer: VendorResult) -> None:
        if answer.vendor_id is None:
            gone = answer.code == MISSING_AT_VENDOR
            self._refused(place, answer.code, "it is not there any more" if gone else answer.message)
        else:
            outcome = Outcome.CREATED if self.facts["operation"] == MAKE else Outcome.UPDATED
            self._done(place, outcome, vendor_id=answer.vendor_id)

    def _done(
        self, place: int, outcome: Outcome, *, salesforce_id: str | None = None, vendor_id: str | None = None
    ) -> None:
        row = self.rows[place]
        ours, theirs = str(row["_pair_ours"] or salesforce_id), str(row["_pair_theirs"] or vendor_id)
        ended = row["_code"] if outcome is Outcome.DELETED else None
        read_by = member_name(self.end.flow, theirs=self.facts["operation"] in AT_VENDOR)
        change = PairChange(self.end.flow, ours, theirs, row["_agreed"], ended=ended, written=read_by)
        result = result_of(row, outcome, ours, theirs, code=row["_code"], message=row["_message"])
        self.results[place] = result._replace(pair=change)

    def _refused(self, place: int, code: str | None, message: str | None, *, salesforce_id: str | None = None) -> None:
        row = self.rows[place]
        result = result_of(
            row, Outcome.REJECTED, row["_pair_ours"] or salesforce_id, row["_pair_theirs"], code=code, message=message
        )
        self.results[place] = result._replace(fingerprint=None)


def _digest(operation: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """What a job is known again by: the records of its chunk, whatever of them was answered since."""
    content = json.dumps([operation, *([row["_pair_ours"], row["_version"]] for row in rows)])
    return hashlib.blake2b(content.encode(), digest_size=32).hexdigest()
