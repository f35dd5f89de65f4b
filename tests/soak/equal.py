"""Schedules of the flow both ways: edits, creations, deletions, merges and conversions on both sides, under faults.

At rest both sides have to be equal in all mapped fields, and a further run writes nothing. The last edit of each side
has to be there, or to have been there once, or the log has to say that it lost a conflict. Edits that come between the
last look and the write that follows it are counted apart: docs/known-limits.md names them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import Engine, select, update

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.two_way import sides
from salesforce_sync.engine.two_way.end import deliver_both_ways
from salesforce_sync.engine.two_way.reading import read_ours, read_theirs
from salesforce_sync.ids import whole_id
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import Outcome, RunIdentity, VendorResult, WriteResult
from salesforce_sync.salesforce.changes import Changes
from salesforce_sync.salesforce.collections import Answered
from salesforce_sync.salesforce.metadata import FieldInfo, ObjectInfo
from salesforce_sync.salesforce.rows import Operation, WriteRequest
from salesforce_sync.staging import Staging
from salesforce_sync.state import inbox, plans
from salesforce_sync.state.engine import reading
from salesforce_sync.state.schema import dead_letters as letters_table
from salesforce_sync.state.schema import sync_log
from soak.faulty import KINDS, REST, Faulty
from soak.schedule import Event, Verdict
from soak.sides import ORG_ID, START, Clock
from support.flows import Timing

FLOW, STREAM, KEY = "spotio/leads", "Lead", "SPOTIO_Id__c"
RECORDS = 4
FIELDS = {"LastName": "fields.Name", "Title": "fields.Title", "Phone": "fields.Phone"}
MAPPING = MappingFile.model_validate({
    "version": 1, "summary": "Both ways.", "direction": "both", "vendor": {"stream": STREAM, "id": "id"},
    "salesforce": {"object": "Lead", "external_id": KEY},
    "fields": {
        "LastName": {"vendor": "fields.Name", "when_empty": "keep"},
        "Title": {"vendor": "fields.Title", "transforms": [{"truncate": 12}]},
        "Phone": {"vendor": "fields.Phone"},
    },
})  # fmt: skip
TITLE_LENGTH, LAST_MOMENT = 12, 16
EDIT, LATE_EDIT = "edit", "edit before the last look"  # by a person, while a task is at work


def make(seed: int) -> list[Event]:
    """A schedule of some thirty events; every third one is short, and puts one fault at one moment of one run."""
    chance = random.Random(seed)
    if seed % 3 == 0:
        return _swept(seed // 3, chance)
    events: list[Event] = [("policy", chance.choice(("newest", "salesforce_wins", "vendor_wins")))]
    if chance.random() < 0.5:
        events.append(("jobs",))
    if chance.random() < 0.3:
        events.append(("deletions are followed",))
    kinds = ("edit ours", "edit theirs", "delete ours", "delete theirs", "merge", "convert", "run")
    for number in range(chance.randrange(15, 40)):
        kind = chance.choices(kinds, (14, 14, 1, 1, 1, 1, 14))[0]
        if kind.startswith("edit"):
            name = chance.choice(list(FIELDS))
            value = (
                ""
                if name != "LastName" and chance.random() < 0.15
                else _value(name, number, long=chance.random() < 0.3)
            )
            events.append((kind, chance.randrange(RECORDS), name, value))
        elif kind == "run":
            events.append((kind, chance.choice(("both", "both", "both", "whole", "read", "deliver")), _faults(chance)))
        else:
            events.append((kind, chance.randrange(RECORDS)))
    return events


def _swept(number: int, chance: random.Random) -> list[Event]:
    """Both sides have records; some are new, some are edited, and the run that brings them over fails at one moment."""
    kinds = [*dict.fromkeys(KINDS), LATE_EDIT]
    fault = (number // len(kinds) % LAST_MOMENT + 1, kinds[number % len(kinds)])
    events: list[Event] = [("policy", chance.choice(("newest", "salesforce_wins", "vendor_wins")))]
    events += [("jobs",)] if chance.random() < 0.5 else []
    events += [("edit ours", 0, "Title", "first"), ("edit theirs", 3, "Title", "second"), ("run", "both", ())]
    events += [
        ("edit ours", 0, "Phone", "+31 30 00001"),
        ("edit theirs", 1, "Title", ""),
        ("edit ours", 3, "Title", "third"),
    ]
    return [*events, ("run", "both", (fault,)), ("edit theirs", 0, "Phone", "+31 30 00002"), ("run", "both", ())]


def _value(name: str, number: int, *, long: bool) -> str:
    if name == "Phone":
        return f"555-123-{number:04d}" if long else f"+31 30 {number:05d}"
    return f"v{number}" + ("-and-more-than-fits" if long else "")


def _faults(chance: random.Random) -> tuple[tuple[int, str], ...]:
    kinds = (*KINDS, EDIT, LATE_EDIT)
    return tuple(sorted((chance.randrange(1, 14), chance.choice(kinds)) for _ in range(chance.choice((0, 0, 1, 1, 2)))))


def run(events: list[Event], state: Engine, folder: Path, *, rests: bool = True) -> Verdict:
    """What a schedule comes to."""
    few = sides.FEW
    schedule = Equal(state, folder, rests)
    try:
        schedule.happen(events)
        schedule.settle()
        return schedule.verdict()
    finally:
        sides.FEW = few


def _looking(arrive: Callable[[], Any]) -> Callable[[], Any]:
    """Marks a call that reads records by their ids."""
    arrive.is_look = True  # type: ignore[attr-defined]
    return arrive


def _writing(arrive: Callable[[], Any]) -> Callable[[], Any]:
    """Marks a call that comes after the last look: whoever edits just before it edits too late to be seen."""
    arrive.is_write = True  # type: ignore[attr-defined]
    return arrive


@dataclass
class FakeLeads:
    """Leads that people edit."""

    clock: Clock
    around: Callable[[Callable[[], Any]], Any]
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    made_of: dict[str, list[str]] = field(default_factory=dict)  # key -> every Lead that was made with it
    written: set[str] = field(default_factory=set)  # values that the sync wrote
    writes: int = 0
    session: Any = None
    calls: int = 0
    org_id = ORG_ID
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, values: Mapping[str, Any]) -> str:
        name = str(whole_id(f"00Q{next(self._numbers):012d}"))
        stamp = self.clock.tick()
        blank = dict.fromkeys([*FIELDS, KEY, "MasterRecordId", "ConvertedContactId"])
        self.records[name] = (
            blank
            | {"Id": name, "IsDeleted": False, "IsConverted": False, "CreatedDate": stamp, "SystemModstamp": stamp}
            | values
        )
        return name

    def edit(self, name: str, **changes: Any) -> None:
        self.records[name] |= changes | {"SystemModstamp": self.clock.tick()}

    # -- what the client is asked ------------------------------------------------------------------------------------

    def describe(self, names: Iterable[str]) -> dict[str, ObjectInfo | None]:
        return {name: ObjectInfo(name, name, True, True, _lead_fields()) for name in names}

    def refresh(self) -> bool:
        return False

    def changes(self, object_name: str, fields: Sequence[str], *, since: datetime | None, **_: Any) -> Changes:
        now = self.clock.now
        begin = datetime.min.replace(tzinfo=UTC) if since is None else since - timedelta(seconds=20)
        found = self.around(lambda: [dict(item) for item in self.records.values() if item["SystemModstamp"] >= begin])
        return Changes(iter([_table(found, fields)] if found else []), now, now)

    def read(self, soql: str, **_: Any) -> Iterator[pa.Table]:
        fields = soql.removeprefix("SELECT ").partition(" FROM ")[0].split(", ")
        listed = soql.partition(" IN (")[2]
        found = self.around(lambda: [dict(item) for item in self.records.values() if f"'{item['Id']}'" in listed])
        if found:
            yield _table(found, fields)

    def by_ids(self, object_name: str, ids: Sequence[str], paths: Sequence[str]) -> Iterator[pa.Table]:
        def arrive() -> list[dict[str, Any]]:
            living = [self.records[name] for name in ids if name in self.records]
            return [dict(item) for item in living if not item["IsDeleted"]]

        yield _table(self.around(_looking(arrive)), list(dict.fromkeys(["Id", *paths])))

    def matching(
        self, object_name: str, key: str, values: Sequence[str], paths: Sequence[str], *, include_deleted: bool = False
    ) -> Iterator[pa.Table]:
        def arrive() -> list[dict[str, Any]]:
            found = [dict(item) for item in self.records.values() if item[key] in values]
            return [item for item in found if include_deleted or not item["IsDeleted"]]

        yield _table(self.around(_looking(arrive)), list(dict.fromkeys([*paths, key])))

    def answer(self, request: WriteRequest, chunk: pa.Table, memory: Any = None) -> Answered:
        rows = chunk.to_pylist()
        return Answered(self.around(_writing(lambda: [self._write(request, row) for row in rows])))

    def _write(self, request: WriteRequest, row: dict[str, Any]) -> WriteResult:
        self.writes += 1
        values = {
            name: value
            for name, value in row.items()
            if name in FIELDS and (value is not None or name in request.clears)
        }
        self.written |= {str(value or "") for value in values.values()}
        if request.operation is Operation.UPSERT:
            known = [item for item in self.records.values() if item[KEY] == row[KEY] and not item["IsDeleted"]]
            if known:
                self.edit(known[0]["Id"], **values)
                return WriteResult(Outcome.UPDATED, known[0]["Id"])
            name = self.add(values | {KEY: row[KEY]})
            self.made_of.setdefault(row[KEY], []).append(name)
            return WriteResult(Outcome.CREATED, name)
        name = row["Id"]
        if name not in self.records or self.records[name]["IsDeleted"]:
            return WriteResult(Outcome.REJECTED, None, "ENTITY_IS_DELETED", "no")
        if request.operation is Operation.DELETE:
            self.edit(name, IsDeleted=True)
            return WriteResult(Outcome.DELETED, name)
        if self.records[name]["IsConverted"]:
            return WriteResult(Outcome.REJECTED, None, "CANNOT_UPDATE_CONVERTED_LEAD", "no")
        self.edit(name, **values)
        return WriteResult(Outcome.UPDATED, name)


def _lead_fields() -> dict[str, FieldInfo]:
    names = [
        "Id",
        *FIELDS,
        KEY,
        "SystemModstamp",
        "IsDeleted",
        "IsConverted",
        "CreatedDate",
        "MasterRecordId",
        "ConvertedContactId",
    ]
    return {
        name: FieldInfo(name, "string", name, 255, True, True, True, False, name == KEY, name == KEY, None, (), None)
        for name in names
    }


def _table(records: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> pa.Table:
    kinds = {
        "SystemModstamp": pa.timestamp("ms", tz="UTC"),
        "CreatedDate": pa.timestamp("ms", tz="UTC"),
        "IsDeleted": pa.bool_(),
        "IsConverted": pa.bool_(),
    }
    return pa.table({
        name: pa.array([record.get(name) for record in records], kinds.get(name, pa.string())) for name in fields
    })  # fmt: skip


@dataclass
class FakeField:
    """Objects that people edit in the field, and jobs that write many of them."""

    clock: Clock
    around: Callable[[Callable[[], Any]], Any]
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    gone: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    writes: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, values: Mapping[str, Any], external: str | None = None) -> str:
        name = f"{next(self._numbers):024x}"
        stamp = self.clock.tick().isoformat()
        self.records[name] = {
            "id": name, "externalId": external, "createdAt": stamp, "updatedAt": stamp, "deleted": False,
            "fields": {key.removeprefix("fields."): kept(key, value) for key, value in values.items() if key in FIELDS.values()},
        }  # fmt: skip
        return name

    def edit(self, name: str, changes: Mapping[str, Any]) -> None:
        known = self.records[name]
        fields = known["fields"] | {key.removeprefix("fields."): kept(key, value) for key, value in changes.items()}
        self.records[name] = known | {"fields": fields, "updatedAt": self.clock.tick().isoformat()}

    def remove(self, name: str) -> None:
        self.gone[name] = self.records.pop(name) | {"deleted": True, "updatedAt": self.clock.tick().isoformat()}

    # -- what the hook is asked --------------------------------------------------------------------------------------

    address: str | None = None

    def problems(self, mapping: MappingFile) -> list[str]:
        return []

    def now(self) -> datetime:
        return self.clock.now

    def has_user(self, **_: Any) -> bool:
        return False

    def changed(self, stream: str, paths: Sequence[str], *, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        begin = "" if since is None else since.isoformat()

        def arrive() -> list[dict[str, Any]]:
            found = [dict(item) for item in self.records.values() if item["updatedAt"] >= begin]
            return found + ([item for item in self.gone.values() if item["updatedAt"] >= begin] if since else [])

        yield self.around(arrive)

    def look(self, stream: str, paths: Sequence[str], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        def arrive() -> dict[str, dict[str, Any]]:
            gone = {"deleted": True, "updatedAt": self.clock.now.isoformat()}
            return {name: dict(self.records.get(name) or {"id": name} | gone) for name in ids}

        answer: dict[str, dict[str, Any]] = self.around(_looking(arrive))
        return answer

    def create(self, stream: str, values: Mapping[str, Any]) -> VendorResult:
        given = dict(values)
        answer: VendorResult = self.around(_writing(lambda: self._create(given)))
        return answer

    def _create(self, values: Mapping[str, Any]) -> VendorResult:
        self._wrote(values)
        return VendorResult(self.add(values, values["externalId"]))

    def patch(self, stream: str, vendor_id: str, values: Mapping[str, Any]) -> VendorResult:
        given = dict(values)
        answer: VendorResult = self.around(_writing(lambda: self._patch(vendor_id, given)))
        return answer

    def _patch(self, vendor_id: str, values: Mapping[str, Any]) -> VendorResult:
        changes = {key: value for key, value in values.items() if key in FIELDS.values()}
        self._wrote(changes)
        if vendor_id not in self.records:
            return VendorResult(None, "MISSING_AT_VENDOR", "gone")
        self.edit(vendor_id, changes)
        return VendorResult(vendor_id)

    def _wrote(self, values: Mapping[str, Any]) -> None:
        self.writes += 1
        self.written |= {str(values[key] or "") for key in FIELDS.values() if key in values}

    def delete(self, stream: str, vendor_ids: Sequence[str]) -> None:
        names = list(vendor_ids)
        self.writes += 1
        self.around(lambda: [self.remove(name) for name in names if name in self.records])

    def find_created(self, stream: str, *, since: datetime) -> dict[str, str]:
        answer: dict[str, str] = self.around(
            lambda: {str(item["externalId"]): item["id"] for item in self.records.values() if item["externalId"]}
        )
        return answer

    def new_job(
        self, stream: str, operation: str, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[str, dict[int, VendorResult]]:
        given = [dict(row) for row in rows]

        def arrive() -> str:
            name = f"job-{next(self._numbers)}"
            self.jobs[name] = {"state": "Open", "operation": operation, "rows": given}
            return name

        return str(self.around(_writing(arrive))), {}

    def start_job(self, job_id: str) -> None:
        self.around(_writing(lambda: self._start(job_id)))

    def _start(self, job_id: str) -> None:
        job = self.jobs[job_id]
        if job["state"] != "Open":
            return
        call = {"create": self._create, "patch": lambda row: self._patch(row["id"], row)}[job["operation"]]
        job["results"] = {row["externalId"]: call(row) for row in job["rows"]}
        job["state"] = "JobComplete"

    def resume_job(self, job_id: str) -> bool:
        state = str(self.around(lambda: self.jobs[job_id]["state"]))
        if state == "Open":
            self.around(lambda: self.jobs[job_id].update(state="Aborted"))
        return state not in ("Open", "Failed", "Aborted")

    def finish_job(self, job_id: str, *, beat: Callable[[], None]) -> dict[str, VendorResult]:
        answer: dict[str, VendorResult] = self.around(lambda: self.jobs[job_id]["results"])
        return answer


def kept(path: str, value: Any) -> str | None:
    """What the field's own people make of a value: American telephone numbers in their own format."""
    text = str(value or "").strip()
    if path == "fields.Phone" and text.startswith("555-"):
        return "({}) {}-{}".format(*text.split("-"))
    return text or None


@dataclass
class Equal(Faulty):
    """A schedule at work."""

    runs: int = 0
    rules: sides.Rules = field(default_factory=lambda: sides.Rules(first="all"))
    last: dict[tuple[str, str, str], str] = field(default_factory=dict)  # side, record and field -> the last edit there
    ended: set[str] = field(default_factory=set)  # records that people took away, and their counterparts
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    too_late: set[str] = field(default_factory=set)  # edits that came between a look and its write
    unheard: int = 0  # how many of them were overwritten
    looks: int = 0  # of the delivery that is at work
    edited: set[tuple[str, str]] = field(default_factory=set)  # record and field that a person ever wrote

    def __post_init__(self) -> None:
        self.clock = Clock(START)
        self.org, self.vendor = FakeLeads(self.clock, self.around), FakeField(self.clock, self.around)
        self.listen()

    # -- events ------------------------------------------------------------------------------------------------------

    def happen(self, events: list[Event]) -> None:
        for kind, *rest in events:
            if kind == "policy":
                self.rules = sides.Rules(conflict=rest[0], first="all", follow_deletes=self.rules.follow_deletes)
            elif kind == "jobs":
                sides.FEW = 1
            elif kind == "deletions are followed":
                self.rules = sides.Rules(self.rules.conflict, "all", follow_deletes=True)
            elif kind == "run":
                self.run(*rest)
            elif kind.startswith("edit"):
                self._edit(*rest, ours=kind == "edit ours")
            else:
                self._take_away(kind, rest[0])

    def _living(self) -> tuple[list[str], list[str]]:
        ours = [name for name, item in self.org.records.items() if not item["IsDeleted"] and not item["IsConverted"]]
        return sorted(ours), sorted(self.vendor.records)

    def _edit(self, number: int, name: str, value: str, *, ours: bool) -> None:
        """The record with this number among those that live, or a new one."""
        found = self._living()[0 if ours else 1]
        if number < len(found):
            record = found[number]
            if value == self._value(record, name, ours=ours):
                return  # nothing that anybody could see
            (
                self.org.edit(record, **{name: value or None})
                if ours
                else self.vendor.edit(record, {FIELDS[name]: value})
            )
        else:
            first = {"LastName": "new"} | {name: value or None}
            record = (
                self.org.add(first) if ours else self.vendor.add({FIELDS[key]: item for key, item in first.items()})
            )
        if value or number < len(found):  # a new record without a value says nothing about the field
            self.last["ours" if ours else "theirs", record, name] = value
            self.edited.add((record, name))

    def _value(self, record: str, name: str, *, ours: bool) -> str:
        if ours:
            return str(self.org.records[record][name] or "")
        return str(self.vendor.records[record]["fields"].get(FIELDS[name].removeprefix("fields.")) or "")

    def _take_away(self, kind: str, number: int) -> None:
        ours, theirs = self._living()
        found = theirs if kind == "delete theirs" else ours
        if number >= len(found):
            return
        record = found[number]
        if kind == "delete theirs":
            self.vendor.remove(record)
        elif kind == "delete ours":
            self.org.edit(record, IsDeleted=True)
        elif kind == "convert":
            self.org.edit(record, IsConverted=True, ConvertedContactId=f"003{record[3:]}")
        elif len(ours) > 1:
            master = ours[(number + 1) % len(ours)]
            self.org.edit(record, IsDeleted=True, MasterRecordId=master)
            self.org.edit(master)
            self.edited |= {(master, name) for name in FIELDS}  # whose values its counterpart has to get now
        self.ended.add(record)

    # -- runs --------------------------------------------------------------------------------------------------------

    def run_another(self) -> None:
        if len(self.tasks) < 2:
            self.run("both", ())

    def around(self, arrive: Callable[[], Any]) -> Any:
        """As in Faulty; two faults are a person who edits something just before the call arrives."""
        task = self.tasks[-1] if self.tasks else None
        if task is not None and not task.dead:
            self.looks += getattr(arrive, "is_look", False)
            is_last_look = self.looks > 2 and getattr(arrive, "is_look", False)  # the plan looked at both sides before
            due = task.faults.get(task.moment + 1) == EDIT or (is_last_look and LATE_EDIT in task.faults.values())
            if due:
                task.faults = {moment: kind for moment, kind in task.faults.items() if kind not in (EDIT, LATE_EDIT)}
                self._edit_meanwhile(getattr(arrive, "is_write", False))
        return super().around(arrive)

    def _edit_meanwhile(self, is_too_late: bool) -> None:
        self.faults += 1
        value, ours = f"e{self.faults}-{self.runs}", self.chance.random() < 0.5
        self._edit(self.chance.randrange(2), self.chance.choice(list(FIELDS)), value, ours=ours)
        if is_too_late:
            self.too_late.add(value)

    def run(self, which: str, faults: tuple[tuple[int, str], ...]) -> None:
        self.runs += 1
        left = dict(faults)
        if which in ("both", "whole", "read"):
            for read in (self._read_ours, self._read_theirs):
                self.task(lambda extra, read=read: read(extra, full=which == "whole"), left)  # type: ignore[misc]
        if which in ("both", "whole", "deliver"):
            self.task(self._deliver, left)

    def _context(self, task: str, extra: dict[str, Any], *, client: bool) -> Context:
        timing = Timing(REST if self.rests else 0.0)
        run = RunIdentity("spotio_record_sync", f"run-{self.runs}", task)
        staging = Staging(self.folder / "staging")
        found: Any = self.org if client else None
        return Context(self.state, run, staging, found, "" if client else ORG_ID, timing=timing, **extra)

    def _read_ours(self, extra: dict[str, Any], *, full: bool) -> Any:
        return read_ours(self._context("read_salesforce", extra, client=True), FLOW, MAPPING, full=full)

    def _read_theirs(self, extra: dict[str, Any], *, full: bool) -> Any:
        context = self._context("read_spotio", extra, client=False)
        lookback = timedelta(seconds=20)
        return read_theirs(context, FLOW, MAPPING, self.vendor, full=full, lookback=lookback, whole_days=0)

    def _deliver(self, extra: dict[str, Any]) -> Any:
        self.looks = 0
        context = self._context("synchronize", extra, client=True)
        return deliver_both_ways(context, "spotio", FLOW, MAPPING, self.vendor, self.rules)

    # -- at rest -----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Nothing fails any more, and nobody edits anything."""
        for _ in range(3):
            with self.state.begin() as connection:
                soon = datetime.now(UTC) - timedelta(minutes=1)
                connection.execute(update(letters_table).where(letters_table.c.due_at.is_not(None)).values(due_at=soon))
            self.run("whole", ())
            self.land()
            self.clock.now += timedelta(seconds=30)

    def verdict(self) -> Verdict:
        found = Verdict(faults=self.faults, records=len(self.org.records) + len(self.vendor.records))
        before = self.org.writes + self.vendor.writes
        self.run("whole", ())
        self.run("both", ())
        if self.org.writes + self.vendor.writes != before:
            found.stale.append("a run in which nothing had changed wrote something")
        with reading(self.state) as connection:
            found.unbalanced = [f"batch {number}" for number in inbox.unbalanced(connection, ORG_ID)]
            waiting = inbox.waiting(connection, ORG_ID, [f"{FLOW}/to_vendor", f"{FLOW}/to_salesforce"])
            found.lost += [f"batch {batch.id} of {batch.mapping} waits for ever" for batch in waiting]
            found.lost += [f"plan {plan.id} waits for ever" for plan in plans.with_status(connection, plans.HELD)]
            logged = connection.execute(select(sync_log.c.record_id, sync_log.c.code, sync_log.c.message)).all()
        said = "\n".join(message or "" for _, _, message in logged)
        unforeseen = {message for _, _, message in logged if "nobody knows what it did" in (message or "")}
        found.stale += [f"a mistake of the code or of this stand-in: {message}" for message in unforeseen]
        self._judge_doubles(found)
        self._judge_values(found, said)
        self._judge_conflicts(found, [(name, message) for name, code, message in logged if code == sides.CONFLICT])
        return found

    def _judge_conflicts(self, found: Verdict, logged: Sequence[tuple[str, str]]) -> None:
        """A conflict is one only where people changed the field on both sides."""
        partner = {item["Id"]: other["id"] for item, other in self._pairs()}
        partner |= {other: item for item, other in partner.items()}
        for record, message in logged:
            for name in FIELDS:
                other = partner.get(record)
                if f"{name}: changed on both sides" in message and other is not None:
                    sides = [side for side in (record, other) if (side, name) in self.edited]
                    if len(sides) < 2:
                        found.stale.append(f"{record}.{name} is no conflict: only {sides} was edited")

    def _judge_doubles(self, found: Verdict) -> None:
        found.doubled += [f"{key} became {', '.join(made)}" for key, made in self.org.made_of.items() if len(made) > 1]
        by_lead: dict[str, list[str]] = {}
        for item in (*self.vendor.records.values(), *self.vendor.gone.values()):
            if item["externalId"]:
                by_lead.setdefault(item["externalId"], []).append(item["id"])
        found.doubled += [f"{lead} became {', '.join(made)}" for lead, made in by_lead.items() if len(made) > 1]

    def _pairs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        from salesforce_sync.state.pairs import Pair
        from salesforce_sync.state.schema import pairs

        with reading(self.state) as connection:
            rows = connection.execute(select(*(pairs.c[name] for name in Pair._fields)).where(pairs.c.ended.is_(None)))
            found = [Pair(*row) for row in rows]
        for pair in found:
            ours, theirs = self.org.records.get(pair.salesforce_id), self.vendor.records.get(pair.vendor_id)
            if ours is not None and theirs is not None and not ours["IsDeleted"] and not ours["IsConverted"]:
                yield ours, theirs

    def _judge_values(self, found: Verdict, said: str) -> None:
        paired = list(self._pairs())
        known = {item["Id"] for item, _ in paired} | {item["id"] for _, item in paired}
        for ours, theirs in paired:
            for name, path in FIELDS.items():
                a, b = ours[name] or "", theirs["fields"].get(path.removeprefix("fields.")) or ""
                if not _same(name, a, b):
                    found.stale.append(f"{ours['Id']}.{name} is {a!r}, and {b!r} at the vendor")
                for side, record, other in (("ours", ours["Id"], self.vendor), ("theirs", theirs["id"], self.org)):
                    edit = self.last.get((side, record, name))
                    if not edit or _same(name, edit, a) or _same(name, edit, b):
                        continue
                    was_there = any(_same(name, edit, value) for value in other.written)
                    if edit in self.too_late:
                        self.unheard += 1
                    elif not was_there and not _is_told(name, {edit, kept(path, edit) or ""}, said):
                        found.lost.append(f"{record}.{name}: {edit!r} was passed over, and nothing says so")
        ended = self.ended | {
            item["externalId"] for item in self.vendor.records.values() if item["externalId"] in self.ended
        }
        for name in self._living()[0]:
            key, own = self.org.records[name][KEY], self._merged_into(name)
            keys = {self.org.records[item][KEY] for item in own}
            was_there = keys & self.vendor.gone.keys() or own & {
                item["externalId"] for item in self.vendor.gone.values()
            }
            if name not in known and key not in ended and not was_there:
                found.lost.append(f"{name} has no counterpart")
        for name, item in self.vendor.records.items():
            lead = self.org.records.get(item["externalId"] or "") or self._made_of(name)
            if name not in known and (lead is None or not (lead["IsDeleted"] or lead["IsConverted"])):
                found.lost.append(f"{name} has no counterpart")

    def _merged_into(self, name: str) -> set[str]:
        """The Lead, and those that people merged into it: it has their counterparts, and what was deleted of them."""
        losers = {item["Id"] for item in self.org.records.values() if item["MasterRecordId"] == name}
        return {name}.union(*map(self._merged_into, losers))

    def _made_of(self, vendor_id: str) -> dict[str, Any] | None:
        made = self.org.made_of.get(vendor_id, [])
        return self.org.records[made[0]] if made else None


def _is_told(name: str, values: set[str], said: str) -> bool:
    """Whether the log says that one of the values lost a conflict in the field."""
    told = [part for text in said.split("\n") for part in text.split(f"{name}: changed on both sides; ")[1:]]
    ends = [f"and {value!r} goes" for value in values] + (["and None goes"] if "" in values else [])
    return any(end in part for part in told for end in ends)


def _same(name: str, ours: str, theirs: str) -> bool:
    """Whether two values are the same, but for what one side has no room for, or keeps in another format."""
    first, second = kept(FIELDS[name], ours) or "", kept(FIELDS[name], theirs) or ""
    if name == "Title":
        return first[:TITLE_LENGTH] == second[:TITLE_LENGTH]
    return first == second
