"""The end of a delivery that is both sides: records that are kept equal, each field against what both last agreed on.

A row that waits only says that its record has to be looked at. Before a pair is merged, both of its records are read as
they are now, so that a row that is older than a write of ours cannot undo it; and just before a record is written it is
read once more: what moved since is left to the next plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.deliver import Delivered, NoteJobs, Sent, deliver
from salesforce_sync.engine.from_salesforce import CONTACT, CONVERTED, MASTER
from salesforce_sync.engine.from_salesforce import DELETED as GONE
from salesforce_sync.engine.group import Group, Member
from salesforce_sync.engine.plan import BEFORE, MARKS, Look, PlanWriter, facts_of
from salesforce_sync.engine.read import FIRST
from salesforce_sync.engine.to_salesforce import check_mapping
from salesforce_sync.errors import InvalidMapping, SyncError
from salesforce_sync.ids import whole_id
from salesforce_sync.mapping import merge
from salesforce_sync.mapping.apply import Mapped, Target, apply, apply_to_vendor
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.merge import Agreed, Decision, Seen
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.paths import as_text
from salesforce_sync.mapping.version import mapping_version
from salesforce_sync.records import MISSING_AT_VENDOR, Outcome, PairChange, RecordResult, VendorResult
from salesforce_sync.salesforce.changes import STAMP
from salesforce_sync.salesforce.rows import Operation, WriteRequest
from salesforce_sync.state import pairs, watermarks
from salesforce_sync.state.engine import reading
from salesforce_sync.state.links import NOTHING
from salesforce_sync.state.pairs import Pair

OURS, THEIRS = "to_vendor", "to_salesforce"  # the members, by where their rows go: ours are Salesforce's
CREATED_DATE = "CreatedDate"
EXTERNAL_ID, CREATED_AT, UPDATED_AT, DELETED = "externalId", "createdAt", "updatedAt", "deleted"
UPDATE, CREATE, DELETE, PATCH, MAKE, REMOVE = "update", "upsert", "delete", "patch", "make", "remove"
_AT_VENDOR = frozenset({PATCH, MAKE, REMOVE})
FEW = 5  # records that are written at the vendor call by call; more go by a job
PATCH_ROWS, MAKE_ROWS, UPDATE_ROWS = 2_000, 10_000, 2_000  # of one note
SINCE_NOTE = timedelta(
    minutes=1
)  # before a note, by the vendor's clock: from when a create without an answer is looked for
JOB = "vendor:"  # before the id of a vendor's job in a note

NOT_SELECTED, BEFORE_SWITCH_ON, CONFLICT, SEVERAL = "NOT_SELECTED", "BEFORE_SWITCH_ON", "CONFLICT", "MATCHES_SEVERAL"
GONE_IN_SALESFORCE, MERGED, CONVERTED_THERE, GONE_AT_VENDOR = (
    "DELETED_IN_SALESFORCE", "MERGED_IN_SALESFORCE", "CONVERTED_IN_SALESFORCE", "DELETED_AT_VENDOR",
)  # fmt: skip
NO_ADDRESS, MISSING, UNMAPPABLE, COUNTERPART_GONE = (
    "NO_ADDRESS",
    "REQUIRED_IN_SALESFORCE",
    "UNMAPPABLE",
    "COUNTERPART_GONE",
)
LONGEST_TOLD = 2_000  # characters of what a log row says of the changes


class TwoWayTarget(Protocol):
    """A vendor's hook, as far as keeping records equal needs it: see also from_vendor.ChangesSource."""

    def problems(self, mapping: MappingFile) -> list[str]: ...
    def now(self) -> datetime: ...
    def look(self, stream: str, paths: Sequence[str], ids: Sequence[str]) -> dict[str, dict[str, Any]]: ...
    def has_user(self, *, user_id: str, email: str) -> bool: ...
    def create(self, stream: str, values: Mapping[str, Any]) -> VendorResult: ...
    def patch(
        self, stream: str, vendor_id: str, values: Mapping[str, Any], current: Mapping[str, Any]
    ) -> VendorResult: ...
    def delete(self, stream: str, vendor_ids: Sequence[str]) -> None: ...
    def find_created(self, stream: str, *, since: datetime) -> dict[str, str]: ...
    def new_job(
        self, stream: str, operation: str, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[str, dict[int, VendorResult]]: ...
    def start_job(self, job_id: str) -> None: ...
    def abort_job(self, job_id: str) -> None: ...
    def job_state(self, job_id: str) -> str: ...
    def finish_job(self, job_id: str, *, beat: Callable[[], None]) -> dict[str, VendorResult]: ...


@dataclass(frozen=True)
class Rules:
    """What a flow does where both sides leave it open. `conflict`: newest, salesforce_wins or vendor_wins; `first`: which
    records that were there before the flow was switched on are created on the other side: none, all or selective;
    `follow_deletes`: whether a record that is gone on one side is deleted on the other."""

    conflict: str = "newest"
    first: str = "none"
    follow_deletes: bool = False


def group_of(system: str, flow: str, mapping: MappingFile) -> Group:
    """Both directions of a mapping both ways: they share all that they read and write."""
    members = (
        Member(f"{flow}/{OURS}", mapping.one_way("to_vendor")),
        Member(f"{flow}/{THEIRS}", mapping.one_way("to_salesforce")),
    )
    return Group(flow, (mapping.salesforce.object, f"{system}.{mapping.vendor.stream}"), members)


def deliver_both_ways(
    context: Context, system: str, flow: str, mapping: MappingFile, target: TwoWayTarget, rules: Rules
) -> Delivered:
    """Merges and writes all that waits for the flow, on either side: see deliver.deliver."""
    group = group_of(system, flow, mapping)
    return deliver(context, group, TwoWay(context, flow, mapping, target, rules))


def salesforce_extras(mapping: MappingFile) -> list[str]:
    """What a reading of Salesforce stages beside the mapped fields."""
    return list(dict.fromkeys([mapping.salesforce.external_id, CREATED_DATE, *mapping.create.to_vendor.when]))


def vendor_paths(mapping: MappingFile) -> list[str]:
    """What a reading of the vendor stages."""
    return list(
        dict.fromkeys([
            *mapping.vendor_paths, EXTERNAL_ID, CREATED_AT, UPDATED_AT, DELETED, *mapping.create.to_salesforce.when,
        ])
    )  # fmt: skip


class Side(NamedTuple):
    """One record of a pair as it is now. `partner` is the other side's id, as far as this side knows it; `marks` are those
    of the row in the inbox, None for a record that is only looked at."""

    id: str
    seen: Mapping[str, Seen]
    partner: str
    stamp: str
    created: str
    selected: bool
    gone: str  # why it is there no more; empty: it is there
    master: str
    marks: Mapping[str, Any] | None = None


@dataclass
class TwoWay:
    context: Context
    flow: str
    mapping: MappingFile
    target: TwoWayTarget
    rules: Rules = Rules()

    # -- the End of deliver.py ---------------------------------------------------------------------------------------

    def check(self, group: Group) -> None:  # noqa: ARG002 - it knows its mapping
        _ = self.targets
        found = self.target.problems(self.mapping)
        if found:
            raise InvalidMapping(
                f"Mapping {self.flow} does not fit the vendor: {'; '.join(found)}.",
                fix="Correct the names on the right-hand side of the mapping file.",
            )

    def version(self, member: Member) -> str:
        return mapping_version(member.mapping, self.targets if _is_theirs(member) else {})

    def paths(self, member: Member) -> Sequence[str]:
        """What tells whether a record changed: not its stamp, which moves with other things, too."""
        if _is_theirs(member):
            return [path for path in vendor_paths(self.mapping) if path not in (UPDATED_AT, CREATED_AT)]
        return [*self.mapping.salesforce_paths, GONE, *self.mapping.create.to_vendor.when]

    def also(self, member: Member) -> Sequence[str]:
        return () if _is_theirs(member) else (CONVERTED, self.mapping.salesforce.external_id)

    def rows_per_chunk(self) -> int:
        return MAKE_ROWS

    def map(self, member: Member, columns: Columns) -> Mapped:
        """The values as the other side would be given them, and `_raw:` those that this side has, as texts."""
        return self._map_theirs(columns) if _is_theirs(member) else self._map_ours(columns)

    def plan(
        self, context: Context, group: Group, looks: Mapping[str, Look], changed: Iterator[tuple[Member, pa.Table]],
        writer: PlanWriter, *, peek: bool, keep_doomed: bool,
    ) -> None:  # fmt: skip
        del context, group, keep_doomed
        _Merging(self, looks, writer, peek=peek).run(changed)

    def send(self, context: Context, chunk: pa.Table, jobs: NoteJobs, *, repeated: bool) -> Sent:
        facts = facts_of(chunk)
        sender = _Sender(self, context, chunk, facts, jobs, repeated)
        return sender.run()

    # -- mapping -----------------------------------------------------------------------------------------------------

    @cached_property
    def ours(self) -> MappingFile:
        return self.mapping.one_way("to_vendor")

    @cached_property
    def theirs(self) -> MappingFile:
        return self.mapping.one_way("to_salesforce")

    @cached_property
    def targets(self) -> dict[str, Target]:
        """What Salesforce's fields take; raises when the mapping does not fit the org."""
        check_mapping(self.context, f"{self.flow}/{OURS}", self.ours)
        return check_mapping(self.context, f"{self.flow}/{THEIRS}", self.theirs)

    @cached_property
    def required(self) -> list[str]:
        """The fields that a new record has to have in this org."""
        described = self.context.salesforce.describe([self.mapping.salesforce.object])[self.mapping.salesforce.object]
        fields = described.fields.values() if described is not None else ()
        return [
            info.name
            for info in fields
            if info.createable and not info.nillable and not info.defaulted and info.name in self.theirs.fields
        ]

    @cached_property
    def users(self) -> dict[str, str]:
        """The org's active users: id -> e-mail address in small letters. Read once, when a field holds a user."""
        found: dict[str, str] = {}
        for table in self.context.salesforce.read("SELECT Id, Email FROM User WHERE IsActive = true"):
            rows = zip(table.column("Id").to_pylist(), table.column("Email").to_pylist(), strict=True)
            found |= {str(user_id): str(email or "").lower() for user_id, email in rows}
        return found

    def _user(self, value: Any) -> str | None:
        """The Salesforce user whom the vendor names by id or e-mail address; None for nobody that the org has."""
        text = str(value or "")
        known = whole_id(text) if text[:3] == "005" else None
        if known in self.users:
            return known
        return next((user_id for user_id, email in self.users.items() if email and email == text.lower()), None)

    def _shared_user(self, value: Any) -> str | None:
        """The user's id when the vendor has the user, too. A queue, or somebody who is only here, stays where it is."""
        user_id = whole_id(str(value)) if value else None
        if user_id is None or user_id not in self.users:
            return None
        return user_id if self.target.has_user(user_id=user_id, email=self.users[user_id]) else None

    def _with_users(self, columns: Columns, paths: Sequence[str], translate: Callable[[Any], str | None]) -> Columns:
        table = columns.table
        for path in paths:
            if path in table.column_names:
                values = [translate(value) for value in table.column(path).to_pylist()]
                table = table.set_column(table.column_names.index(path), path, pa.array(values, pa.string()))
        return Columns(table)

    def _user_fields(self) -> list[str]:
        return [name for name, item in self.mapping.fields.items() if item.user]

    def _map_ours(self, columns: Columns) -> Mapped:
        size, side = len(columns), self.mapping.salesforce
        gone, converted = _flags(columns, GONE, size), _flags(columns, CONVERTED, size)
        over = gone | converted
        known = self._with_users(columns, self._user_fields(), self._shared_user)
        mapped = apply_to_vendor(self.ours, known, accept=over)
        when = self.mapping.create.to_vendor.when
        more = {
            "_gone": gone.tolist(), "_master": _texts(columns, MASTER, size), "_created": _texts(columns, CREATED_DATE, size),
            "_contact": [text or "" if flag else None for text, flag in zip(_texts(columns, CONTACT, size), converted, strict=True)],
            "_partner": _texts(columns, side.external_id, size), "_selected": _selected(columns, when, size),
        }  # fmt: skip
        return self._with_more(mapped, more, known, self.mapping.fields)

    def _map_theirs(self, columns: Columns) -> Mapped:
        size = len(columns)
        gone = _flags(columns, DELETED, size)
        paths = [str(self.mapping.fields[name].vendor) for name in self._user_fields()]
        known = self._with_users(columns, paths, self._user)
        mapped = apply(self.theirs, known, self.targets, accept=gone)
        when = self.mapping.create.to_salesforce.when
        more = {
            "_gone": gone.tolist(), "_master": [None] * size, "_contact": [None] * size,
            "_created": _texts(columns, CREATED_AT, size), "_partner": _texts(columns, EXTERNAL_ID, size),
            "_selected": _selected(columns, when, size), "_no_address": _no_address(columns, size),
        }  # fmt: skip
        vendor = {name: str(item.vendor) for name, item in self.mapping.fields.items()}
        return self._with_more(mapped, more, known, vendor)

    def _with_more(
        self, mapped: Mapped, more: Mapping[str, Sequence[Any]], columns: Columns, paths: Mapping[str, Any]
    ) -> Mapped:
        """`paths`: field -> where this side has it."""
        table, places = mapped.table, pa.array(mapped.places)
        for name in paths:
            path = paths[name] if isinstance(paths[name], str) else name
            raw = _texts(columns, path, len(columns))
            table = table.append_column(f"_raw:{name}", pa.array(raw, pa.string()).take(places))
        for name, values in more.items():
            kind = pa.bool_() if name in ("_gone", "_selected", "_no_address") else pa.string()
            table = table.append_column(name, pa.array(values, kind).take(places))
        return Mapped(table, mapped.places, mapped.problems, mapped.misfits)

    # -- what both sides have now ------------------------------------------------------------------------------------

    def sides(self, table: pa.Table, *, theirs: bool) -> Iterator[Side]:
        """The rows of a mapped table, with their marks where they have any."""
        fields = self.mapping.fields
        rows = table.to_pylist()
        one_way = self.theirs.fields if theirs else self.ours.fields
        for row in rows:
            seen = {
                name: Seen.of(
                    row[f"_raw:{name}"], row[name if theirs else str(item.vendor)] if name in one_way else None
                )
                for name, item in fields.items()
            }
            yield Side(
                row["_id"], seen, row["_partner"] or "", row.get("_version") or row.get("_stamp") or "",
                row["_created"] or "", bool(row["_selected"]), _why_gone(row, theirs=theirs), row["_master"] or "",
                {name: row[name] for name in MARKS} if "_batch" in row else None,
            )  # fmt: skip

    def look_at_ours(self, ids: Sequence[str]) -> tuple[dict[str, Side], dict[str, str]]:
        """The Salesforce records with these ids as they are now, and why some cannot be mapped. What is not there is in
        neither."""
        if not ids:
            return {}, {}
        extra = [
            STAMP,
            *salesforce_extras(self.mapping),
            *([CONVERTED] if self.mapping.salesforce.object == "Lead" else []),
        ]
        fields = [name for name in dict.fromkeys([*self.mapping.salesforce_paths, *extra]) if name != "Id"]
        found = list(self.context.salesforce.by_ids(self.mapping.salesforce.object, list(ids), fields))
        if not found:
            return {}, {}
        table = pa.concat_tables(found)
        stamps = [as_text(value) or "" for value in table.column(STAMP).to_pylist()]
        return self._looked_at(table, table.column("Id").to_pylist(), stamps, theirs=False)

    def look_at_theirs(self, ids: Sequence[str]) -> tuple[dict[str, Side], dict[str, str]]:
        """The vendor's records with these ids: see look_at_ours; those that are gone there say so."""
        if not ids:
            return {}, {}
        paths = vendor_paths(self.mapping)
        found = list(self.target.look(self.mapping.vendor.stream, paths, list(ids)).values())
        if not found:
            return {}, {}
        columns = Columns.of(found, ["id", *paths])
        stamps = [str(record.get(UPDATED_AT) or "") for record in found]
        return self._looked_at(columns.table, [record["id"] for record in found], stamps, theirs=True)

    def _looked_at(
        self, table: pa.Table, ids: Sequence[str], stamps: Sequence[str], *, theirs: bool
    ) -> tuple[dict[str, Side], dict[str, str]]:
        mapped = (self._map_theirs if theirs else self._map_ours)(Columns(table))
        known = mapped.table.append_column("_id", pa.array([ids[place] for place in mapped.places], pa.string()))
        known = known.append_column("_stamp", pa.array([stamps[place] for place in mapped.places], pa.string()))
        sides = {side.id: side for side in self.sides(known, theirs=theirs)}
        return sides, {ids[place]: problem for place, problem in mapped.problems.items()}


def _is_theirs(member: Member) -> bool:
    return member.name.endswith(f"/{THEIRS}")


def _flags(columns: Columns, path: str, size: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if path not in columns.table.column_names:
        return np.zeros(size, dtype=bool)
    return np.array([str(value).lower() == "true" for value in columns.table.column(path).to_pylist()], dtype=bool)


def _texts(columns: Columns, path: str, size: int) -> list[str | None]:
    """The column's values as texts; several choices with semicolons between them."""
    if path not in columns.table.column_names:
        return [None] * size
    plain = columns.texts(path)
    if plain is not None:
        return list(plain.to_pylist())
    found = columns.distinct(path)
    texts = [";".join(map(str, value)) if isinstance(value, list) else as_text(value) for value in found.values]
    return [texts[place] if place >= 0 else None for place in found.places.tolist()]


def _selected(columns: Columns, when: Mapping[str, Sequence[str]], size: int) -> list[bool]:
    """Which records have, in each of these fields, one of the values that it names."""
    chosen = np.ones(size, dtype=bool)
    for path, values in when.items():
        wanted = {value.strip().lower() for value in values}
        chosen &= np.array([(text or "").lower() in wanted for text in _texts(columns, path, size)], dtype=bool)
    return list(chosen.tolist())


def _no_address(columns: Columns, size: int) -> list[bool]:
    """Which records of the vendor show on no map; none, when the mapping reads no address."""
    paths = [name for name in columns.table.column_names if name.startswith("pin.")]
    known = [_texts(columns, path, size) for path in paths]
    return [bool(paths) and not any(texts[row] for texts in known) for row in range(size)]


def _why_gone(row: Mapping[str, Any], *, theirs: bool) -> str:
    if row["_gone"]:
        return GONE_AT_VENDOR if theirs else (MERGED if row["_master"] else GONE_IN_SALESFORCE)
    return CONVERTED_THERE if row["_contact"] is not None else ""


# -- merging -----------------------------------------------------------------------------------------------------------


class _Write(NamedTuple):
    """What one side of a pair is to be given. `source` is the row that asks for it, None when that is in no inbox."""

    pair: tuple[str, str]  # Salesforce's id and the vendor's
    values: Mapping[str, Any]  # by Salesforce field
    before: Mapping[str, str]
    expected: Mapping[str, str]  # field -> hexadecimal mark of what the written side has now
    source: Side
    conflicts: Sequence[str]


@dataclass
class _Merging:
    """Decides over all rows that wait on either side, and over the records that they are paired with."""

    end: TwoWay
    looks: Mapping[str, Look]
    writer: PlanWriter
    peek: bool = False
    ours: dict[str, Side] = field(default_factory=dict)  # of pairs, by Salesforce id
    theirs: dict[str, Side] = field(default_factory=dict)  # of pairs, by the vendor's id
    pairs: dict[str, Pair] = field(default_factory=dict)  # by Salesforce id
    paired: dict[str, str] = field(default_factory=dict)  # vendor's id -> Salesforce's
    unpaired: dict[bool, list[Any]] = field(
        default_factory=lambda: {False: [], True: []}
    )  # spooled tables, by `theirs`
    refused: dict[str, str] = field(default_factory=dict)  # looked-at record -> why it cannot be mapped
    to_ours: list[_Write] = field(default_factory=list)
    to_theirs: list[_Write] = field(default_factory=list)
    doomed_ours: list[tuple[Pair, Side]] = field(default_factory=list)
    doomed_theirs: list[tuple[Pair, Side]] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)  # Salesforce records that get a merged one's counterpart
    created: int = 0
    first_contacts: int = 0

    def run(self, changed: Iterator[tuple[Member, pa.Table]]) -> None:
        for member, table in changed:
            self._take(table, theirs=_is_theirs(member))
        self._match()
        self._look()
        for pair in list(self.pairs.values()):
            self._merge(pair)
        self._write_updates()
        self._write_creates()
        self._write_deletions()
        for name, look in self.looks.items():
            look.unlinked = self.first_contacts if name.endswith(f"/{OURS}") else self.created
            look.emptied.clear()
        self._count_emptied()

    # -- who is whose ------------------------------------------------------------------------------------------------

    def _take(self, table: pa.Table, *, theirs: bool) -> None:
        """Keeps the rows of pairs, and puts the others aside in a file: of a first reading they are all that there is."""
        ids = table.column("_id").to_pylist()
        find = pairs.of_vendor if theirs else pairs.of_salesforce
        with reading(self.end.context.state) as connection:
            known = find(connection, self.end.context.org, self.end.flow, ids)
        paired = np.array([record_id in known for record_id in ids], dtype=bool)
        for side in self.end.sides(table.filter(pa.array(paired)), theirs=theirs):
            pair = known[side.id]
            self._add(pair)
            (self.theirs if theirs else self.ours)[side.id] = side
        if not paired.all():
            spooled = self.unpaired[theirs]
            rest = table.filter(pa.array(~paired))
            folder = self.writer.folder / f"unpaired-{'theirs' if theirs else 'ours'}"
            spooled.append(self.end.context.staging.write(folder, len(spooled), rest))

    def _add(self, pair: Pair) -> None:
        self.pairs[pair.salesforce_id] = pair
        self.paired[pair.vendor_id] = pair.salesforce_id

    def _spooled(self, *, theirs: bool) -> Iterator[pa.Table]:
        for ref in self.unpaired[theirs]:
            yield self.end.context.staging.read_table(ref.path, ref.digest)

    def _match(self) -> None:
        """Finds the pairs among records without one: by the ids that each side has of the other, then by values."""
        self.matched: set[str] = set()  # ids of both sides that have become pairs
        self.several: dict[str, str] = {}  # record -> why it is not clear whose it is
        hints = self._hints()
        known_ours, known_theirs = self._known(hints)
        wanted: dict[str, set[str]] = {}
        for ours, theirs in hints:
            if ours in known_ours or theirs in known_theirs:
                self._hint_at_known(ours, theirs, known_ours, known_theirs)
            else:
                wanted.setdefault(ours, set()).add(theirs)
        back: dict[str, set[str]] = {}
        for ours, found in wanted.items():
            for theirs in found:
                back.setdefault(theirs, set()).add(ours)
        for ours, found in wanted.items():
            if len(found) == 1 and len(back[next(iter(found))]) == 1:
                self._pair_up(ours, next(iter(found)))
            else:
                involved = sorted(found | set().union(*(back[theirs] for theirs in found)))
                for record_id in (ours, *found):
                    self.several[record_id] = f"is claimed by several: {', '.join(involved)}"
        self._match_by_values()

    def _pair_up(self, ours: str, theirs: str) -> None:
        self._add(Pair(ours, theirs, b"", None))
        self.matched |= {ours, theirs}

    def _hints(self) -> list[tuple[str, str]]:
        """(Salesforce id, vendor's id) that one side names."""
        found = set()
        for theirs in (False, True):
            for table in self._spooled(theirs=theirs):
                names = zip(table.column("_id").to_pylist(), table.column("_partner").to_pylist(), strict=True)
                for record_id, partner in names:
                    if partner and theirs and (salesforce_id := whole_id(partner)) is not None:
                        found.add((salesforce_id, record_id))
                    elif partner and not theirs:
                        found.add((record_id, partner))
        return sorted(found)

    def _known(self, hints: Sequence[tuple[str, str]]) -> tuple[dict[str, Pair], dict[str, Pair]]:
        with reading(self.end.context.state) as connection:
            org, flow = self.end.context.org, self.end.flow
            ours = pairs.of_salesforce(connection, org, flow, [item for item, _ in hints])
            theirs = pairs.of_vendor(connection, org, flow, [item for _, item in hints])
        return ours, theirs

    def _hint_at_known(
        self, ours: str, theirs: str, known_ours: Mapping[str, Pair], known_theirs: Mapping[str, Pair]
    ) -> None:
        """A record that names a partner which has another one already: nobody can say which of the two it is."""
        pair = known_ours.get(ours) or known_theirs[theirs]
        if pair.ended is not None:
            self.several[theirs if ours in known_ours else ours] = f"its counterpart ended as {pair.ended}"
        elif (pair.salesforce_id, pair.vendor_id) != (ours, theirs):
            claimer, claimed = (theirs, ours) if ours in known_ours else (ours, theirs)
            other = pair.vendor_id if ours in known_ours else pair.salesforce_id
            self.several[claimer] = f"names {claimed} as its counterpart, which is that of {other}"

    def _match_by_values(self) -> None:
        names = self.end.mapping.match
        if not names:
            return
        keys: dict[bool, dict[tuple[str, ...], list[str]]] = {False: {}, True: {}}
        for theirs in (False, True):
            for table in self._spooled(theirs=theirs):
                columns = [table.column(f"_raw:{name}").to_pylist() for name in names]
                for record_id, *values in zip(table.column("_id").to_pylist(), *columns, strict=True):
                    if all(values) and record_id not in self.matched and record_id not in self.several:
                        key = tuple(" ".join(str(value).casefold().split()) for value in values)
                        keys[theirs].setdefault(key, []).append(record_id)
        for key, ours in keys[False].items():
            theirs_found = keys[True].get(key, [])
            if len(ours) == 1 and len(theirs_found) == 1:
                self._pair_up(ours[0], theirs_found[0])
            elif theirs_found:
                involved = ", ".join(sorted([*ours, *theirs_found]))
                for record_id in (*ours, *theirs_found):
                    self.several[record_id] = f"has the same {', '.join(names)} as others: {involved}"

    # -- what both sides have now ------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Reads both records of each pair as they are now; those that were just matched and are in the inbox are not read again."""
        for theirs in (False, True):
            found = self.theirs if theirs else self.ours
            if self.matched:
                for table in self._spooled(theirs=theirs):
                    mask = pa.array([name in self.matched for name in table.column("_id").to_pylist()], pa.bool_())
                    found |= {side.id: side for side in self.end.sides(table.filter(mask), theirs=theirs)}
        if self.peek:
            return
        living = [pair for pair in self.pairs.values() if self._may_live(pair)]
        fresh_ours = {
            pair.salesforce_id
            for pair in living
            if pair.salesforce_id not in self.matched or pair.salesforce_id not in self.ours
        }
        fresh_theirs = {
            pair.vendor_id for pair in living if pair.vendor_id not in self.matched or pair.vendor_id not in self.theirs
        }
        self._refresh(self.ours, sorted(fresh_ours), theirs=False)
        self._refresh(self.theirs, sorted(fresh_theirs), theirs=True)

    def _may_live(self, pair: Pair) -> bool:
        """Whether the pair has to be looked at: not one of which a side says that it is gone, or that ended."""
        sides = (self.ours.get(pair.salesforce_id), self.theirs.get(pair.vendor_id))
        return not any(side.gone for side in sides if side is not None) and pair.ended in (None, GONE_IN_SALESFORCE)

    def _refresh(self, known: dict[str, Side], ids: Sequence[str], *, theirs: bool) -> None:
        """What the records are now, with the marks of their rows in the inbox."""
        self.writer.beat()
        found, problems = (self.end.look_at_theirs if theirs else self.end.look_at_ours)(ids)
        self.refused |= problems
        for record_id in ids:
            row = known.pop(record_id, None)
            side = found.get(record_id)
            if side is not None:
                known[record_id] = side._replace(marks=row.marks if row else None)
            elif row is not None:
                known[record_id] = row._replace(stamp="?")  # it is not there at the moment: see _merge

    # -- one pair ----------------------------------------------------------------------------------------------------

    def _merge(self, pair: Pair) -> None:
        ours, theirs = self.ours.get(pair.salesforce_id), self.theirs.get(pair.vendor_id)
        for side, is_theirs in ((ours, False), (theirs, True)):
            if side is not None and side.gone:
                self._end(pair, side, ours, theirs, is_theirs=is_theirs)
                return
        if pair.ended is not None and pair.ended != GONE_IN_SALESFORCE:
            self._skip_both(pair, ours, theirs, pair.ended)
            return
        if pair.ended is not None and (ours is None or ours.stamp == "?"):
            self._skip_both(pair, ours, theirs, pair.ended)
            return
        problems = [self.refused[name] for name in (pair.salesforce_id, pair.vendor_id) if name in self.refused]
        if problems:
            self._refuse_both(pair, ours, theirs, problems[0])
            return
        if pair.salesforce_id in self.matched and not self.peek and (ours is None or theirs is None):
            self._skip_both(pair, ours, theirs, COUNTERPART_GONE)
            return
        if ours is None or theirs is None or "?" in (ours.stamp, theirs.stamp):
            return  # in a peek, or gone for a moment: the next reading says what it is; the rows wait
        self._decide(pair, ours, theirs)

    def _decide(self, pair: Pair, ours: Side, theirs: Side) -> None:
        end = self.end
        agreed = merge.unpack(pair.agreed, end.mapping.fields)
        wins = self._salesforce_wins(ours, theirs)
        settled: dict[str, Agreed] = {}
        writes: dict[bool, dict[str, Any]] = {False: {}, True: {}}  # by whether the vendor is written
        conflicts: list[str] = []
        for name, item in end.mapping.fields.items():
            a, b = ours.seen[name], theirs.seen[name]
            decision, is_conflict = merge.decide(a, b, agreed.get(name), direction=item.direction, salesforce_wins=wins)
            value = a.value if decision is Decision.TO_VENDOR else b.value
            if (
                decision in (Decision.TO_VENDOR, Decision.TO_SALESFORCE)
                and _is_nothing(value)
                and item.when_empty == "keep"
            ):
                decision = Decision.AGREE
            if decision in (Decision.NOTHING, Decision.AGREE):
                now = Agreed(a.mark, b.mark)
                if agreed.get(name) != now:
                    settled[name] = now
                continue
            writes[decision is Decision.TO_VENDOR][name] = value
            if is_conflict:
                won, lost = ("Salesforce", b.raw) if decision is Decision.TO_VENDOR else ("the vendor", a.raw)
                conflicts.append(f"{name}: changed on both sides; {won}'s {as_text(value)!r} stays, and {lost!r} goes")
        change = PairChange(end.flow, pair.salesforce_id, pair.vendor_id, merge.pack(settled))
        self._plan_writes(pair, ours, theirs, writes, conflicts)
        if pair.salesforce_id in self.matched and any(writes.values()):
            self.first_contacts += 1
        said = {"code": CONFLICT, "message": "; ".join(conflicts)[:LONGEST_TOLD]} if conflicts else {}
        if not writes[True]:
            self._settle(ours, Outcome.UNCHANGED, pair, change=change, **said)
        if not writes[False]:
            self._settle(theirs, Outcome.UNCHANGED, pair, change=change, **said)
        if settled and writes[True] and writes[False]:
            note = RecordResult(ours.id, Outcome.UNCHANGED, pair=change)
            self._look_of(theirs=False).settled.notes.append(note)

    def _salesforce_wins(self, ours: Side, theirs: Side) -> bool:
        policy = self.end.rules.conflict
        if policy != "newest":
            return policy == "salesforce_wins"
        return _moment(ours.stamp) >= _moment(theirs.stamp)

    def _plan_writes(
        self, pair: Pair, ours: Side, theirs: Side, writes: Mapping[bool, Mapping[str, Any]], conflicts: Sequence[str]
    ) -> None:
        for at_vendor, values in writes.items():
            if not values:
                continue
            target, source = (theirs, ours) if at_vendor else (ours, theirs)
            write = _Write(
                (pair.salesforce_id, pair.vendor_id), values,
                {name: target.seen[name].raw or "" for name in values},
                {name: _known_by(target.seen[name]) for name in values},
                source, conflicts,
            )  # fmt: skip
            (self.to_theirs if at_vendor else self.to_ours).append(write)

    def _end(self, pair: Pair, side: Side, ours: Side | None, theirs: Side | None, *, is_theirs: bool) -> None:
        """One side is there no more: the pair moves to the record that it was merged into, or ends."""
        if pair.ended is not None:
            self._skip_both(pair, ours, theirs, pair.ended)
            return
        master = whole_id(side.master) if side.gone == MERGED else None
        if master is not None and not self._is_taken(master):
            self.moved.add(master)
            change = PairChange(self.end.flow, master, pair.vendor_id, left=pair.salesforce_id)
            self._settle(side, Outcome.SKIPPED, pair, change=change, code=MERGED, message=f"goes on as {master}")
            return
        follows = self.end.rules.follow_deletes and side.gone in (GONE_IN_SALESFORCE, GONE_AT_VENDOR)
        if follows and side.marks is not None:
            (self.doomed_ours if is_theirs else self.doomed_theirs).append((pair, side))
            other = ours if is_theirs else theirs
            if other is not None:
                self._settle(other, Outcome.SKIPPED, pair, code=side.gone)
            return
        change = PairChange(self.end.flow, pair.salesforce_id, pair.vendor_id, ended=side.gone)
        for found in (ours, theirs):
            if found is not None:
                self._settle(found, Outcome.SKIPPED, pair, change=change, code=side.gone)

    def _is_taken(self, master: str) -> bool:
        if master in self.pairs or master in self.moved:
            return True
        with reading(self.end.context.state) as connection:
            return bool(pairs.of_salesforce(connection, self.end.context.org, self.end.flow, [master]))

    def _skip_both(self, pair: Pair, ours: Side | None, theirs: Side | None, code: str) -> None:
        for side in (ours, theirs):
            if side is not None:
                self._settle(side, Outcome.SKIPPED, pair, code=code, message="it is not created again")

    def _refuse_both(self, pair: Pair, ours: Side | None, theirs: Side | None, problem: str) -> None:
        for side in (ours, theirs):
            if side is not None and side.marks is not None:
                self._settle(side, Outcome.REJECTED, pair, code=UNMAPPABLE, message=problem)

    def _look_of(self, *, theirs: bool) -> Look:
        return self.looks[f"{self.end.flow}/{THEIRS if theirs else OURS}"]

    def _settle(
        self, side: Side, outcome: Outcome, pair: Pair, *, change: PairChange | None = None, code: str | None = None,
        message: str | None = None,
    ) -> None:  # fmt: skip
        """A row that needs no call, if the record has one; what it means for the pair is kept either way."""
        theirs = side.id == pair.vendor_id
        if side.marks is None:
            if change is not None:
                self._look_of(theirs=theirs).settled.results.append(
                    RecordResult(side.id, Outcome.UNCHANGED, pair=change)
                )
            return
        result = _result_of(side.marks, outcome, pair.salesforce_id, pair.vendor_id, code=code, message=message)
        if outcome is not Outcome.UNCHANGED:
            result = result._replace(fingerprint=None)
        self._look_of(theirs=theirs).settled.results.append(result._replace(pair=change))

    # -- chunks ------------------------------------------------------------------------------------------------------

    def _write_updates(self) -> None:
        for at_vendor, writes in ((False, self.to_ours), (True, self.to_theirs)):
            groups: dict[tuple[str, ...], list[_Write]] = {}
            for write in writes:
                emptied = tuple(sorted(name for name, value in write.values.items() if _is_nothing(value)))
                groups.setdefault(() if at_vendor else emptied, []).append(write)
            for emptied, found in sorted(groups.items()):
                rows = PATCH_ROWS if at_vendor else UPDATE_ROWS
                for start in range(0, len(found), rows):
                    self._write_chunk(found[start : start + rows], emptied, at_vendor=at_vendor)

    def _write_chunk(self, writes: Sequence[_Write], emptied: Sequence[str], *, at_vendor: bool) -> None:
        end = self.end
        fields = end.ours.fields if at_vendor else end.theirs.fields
        names = [name for name in fields if any(name in write.values for write in writes)]
        columns = {name: (str(fields[name].vendor) if at_vendor else name) for name in names}
        values: dict[str, pa.Array] = {}
        for name, column in columns.items():
            found = [write.values.get(name) for write in writes]
            kind = pa.string() if at_vendor else end.targets[name].arrow_type
            values[column] = pa.array(
                [as_text(value) if at_vendor and value is not None else value for value in found], kind
            )
        given = pa.table(values)
        agreed = [merge.pack(_agreed_by(write, at_vendor=at_vendor)) for write in writes]
        table = (
            given
            if at_vendor
            else given.add_column(0, "Id", pa.array([write.pair[0] for write in writes], pa.string()))
        )
        for name, column in columns.items():
            before = [write.before.get(name) for write in writes]
            table = table.append_column(f"{BEFORE}{column}", pa.array(before, pa.string()))
        table = _with_marks(
            table, [write.source for write in writes], [write.pair for write in writes], at_vendor=at_vendor
        )
        told = [_told(write, at_vendor=at_vendor) for write in writes]
        table = (
            table.append_column("_agreed", pa.array(agreed, pa.binary()))
            .append_column(
                "_written",
                pa.array([json.dumps({n: columns[n] for n in write.values}) for write in writes], pa.string()),
            )
            .append_column("_expected", pa.array([json.dumps(dict(write.expected)) for write in writes], pa.string()))
            .append_column("_code", pa.array([CONFLICT if write.conflicts else None for write in writes], pa.string()))
            .append_column("_message", pa.array(told, pa.string()))
        )
        keeps = [column for name, column in columns.items() if at_vendor or name not in emptied]
        self._add_chunk(table, PATCH if at_vendor else UPDATE, keeps=",".join(keeps), clears=",".join(emptied))

    def _add_chunk(self, table: pa.Table, operation: str, **facts: str) -> None:
        end = self.end
        member = f"{end.flow}/{OURS if operation in _AT_VENDOR else THEIRS}"
        known = {"object": end.mapping.salesforce.object, "operation": operation, "key": "Id", **facts}
        if operation == CREATE:
            known["key"] = end.mapping.salesforce.external_id
        if operation in (DELETE, REMOVE):
            known["deletes"] = "yes"
        self.writer.add(member, [table], **known)

    def _write_creates(self) -> None:
        switched_on = self._switched_on()
        for theirs in (True, False):
            for table in self._spooled(theirs=theirs):
                made = self._to_create(table, switched_on[theirs], theirs=theirs)
                if made is not None:
                    self.created += made.num_rows
                    operation = CREATE if theirs else MAKE
                    if not theirs and made.num_rows <= FEW:
                        for row in range(made.num_rows):  # a call that must not be repeated is a chunk of its own
                            self._add_chunk(made.slice(row, 1), operation, since=self.end.target.now().isoformat())
                    else:
                        self._add_chunk(made, operation, since=self.end.target.now().isoformat() if not theirs else "")

    def _switched_on(self) -> dict[bool, str]:
        """When the first reading of each side began, by that side's clock."""
        context = self.end.context
        with reading(context.state) as connection:
            return {
                theirs: watermarks.get(connection, context.org, f"{self.end.flow}/{THEIRS if theirs else OURS}{FIRST}")
                or ""
                for theirs in (False, True)
            }

    def _to_create(self, table: pa.Table, switched_on: str, *, theirs: bool) -> pa.Table | None:
        """The rows that are to be created on the other side, with what will be agreed then; the others are settled."""
        ids, marks = table.column("_id").to_pylist(), table.select(list(MARKS)).to_pylist()
        gone, contact = table.column("_gone").to_pylist(), table.column("_contact").to_pylist()
        created, selected = table.column("_created").to_pylist(), table.column("_selected").to_pylist()
        required = [name for name in self.end.required if name in table.column_names] if theirs else []
        needed = {name: table.column(name).to_pylist() for name in required}
        settled = self._look_of(theirs=theirs).settled.results
        chosen = np.zeros(table.num_rows, dtype=bool)
        for row, record_id in enumerate(ids):
            if record_id in self.matched or record_id in self.moved:  # that one is merged when its pair is there
                continue
            missing = [name for name in required if _is_nothing(needed[name][row])]
            outcome, code, message = Outcome.SKIPPED, "", ""
            if gone[row]:
                code = GONE_AT_VENDOR if theirs else GONE_IN_SALESFORCE
            elif contact[row] is not None:
                code = CONVERTED_THERE
            elif record_id in self.several:
                outcome, code, message = Outcome.REJECTED, SEVERAL, self.several[record_id]
            elif why := self._why_not(created[row], switched_on, selected=selected[row]):
                code = why
            elif missing:
                outcome, code = Outcome.REJECTED, MISSING
                message = f"{missing[0]} is missing, and the org requires it; make it required at the vendor, too"
            else:
                chosen[row] = True
                continue
            salesforce_id, vendor_id = (None, record_id) if theirs else (record_id, None)
            result = _result_of(marks[row], outcome, salesforce_id, vendor_id, code=code, message=message or None)
            settled.append(result._replace(fingerprint=None))
        return self._created(table.filter(pa.array(chosen)), theirs=theirs) if chosen.any() else None

    def _why_not(self, created: str | None, switched_on: str, *, selected: bool) -> str:
        """Why a record that only one side has is not created on the other; empty when it is."""
        is_older = bool(switched_on) and bool(created) and _moment(str(created)) < _moment(switched_on)
        first = self.end.rules.first
        if is_older and first == "none":
            return BEFORE_SWITCH_ON
        if is_older and first == "all":
            return ""
        return "" if selected else NOT_SELECTED

    def _created(self, table: pa.Table, *, theirs: bool) -> pa.Table:
        end = self.end
        fields = end.theirs.fields if theirs else end.ours.fields
        columns = {name: (name if theirs else str(item.vendor)) for name, item in fields.items()}
        values = table.select(list(columns.values()))
        if not theirs:  # nothing to send is nothing to say
            values = pa.table({
                name: pa.array([None if _is_nothing(value) else as_text(value) for value in values.column(name).to_pylist()], pa.string())
                for name in values.column_names
            })  # fmt: skip
        own = {name: values.column(column).to_pylist() for name, column in columns.items()}
        packed = []
        for row in range(table.num_rows):
            agreed = {}
            for name in end.mapping.fields:
                value = own[name][row] if name in own else None
                mine, sent = merge.mark_of(value), merge.mark_of_sent(value)
                agreed[name] = Agreed(sent, mine, "s") if theirs else Agreed(mine, sent, "v")
            packed.append(merge.pack(agreed))
        ids = table.column("_id").to_pylist()
        made = values
        if theirs:
            key = end.mapping.salesforce.external_id
            made = made.add_column(0, key, table.column(key))
            code = pa.array(
                [NO_ADDRESS if flag else None for flag in table.column("_no_address").to_pylist()], pa.string()
            )
        else:
            code = pa.nulls(table.num_rows, pa.string())
        for name, kind in MARKS.items():
            made = made.append_column(name, table.column(name) if name != "_target" else pa.nulls(table.num_rows, kind))
        nothing = pa.nulls(table.num_rows, pa.string())
        known = pa.array(ids, pa.string())
        return (
            made.append_column("_pair_ours", nothing if theirs else known)
            .append_column("_pair_theirs", known if theirs else nothing)
            .append_column("_agreed", pa.array(packed, pa.binary()))
            .append_column("_code", code)
            .append_column("_message", nothing)
        )

    def _write_deletions(self) -> None:
        for operation, doomed in ((DELETE, self.doomed_ours), (REMOVE, self.doomed_theirs)):
            if not doomed:
                continue
            at_vendor = operation == REMOVE
            found = [(pair.salesforce_id, pair.vendor_id) for pair, _ in doomed]
            name = self.end.mapping.vendor.id if at_vendor else "Id"
            table = pa.table({name: pa.array([pair[1 if at_vendor else 0] for pair in found], pa.string())})
            table = _with_marks(table, [side for _, side in doomed], found, at_vendor=at_vendor)
            codes = pa.array([side.gone for _, side in doomed], pa.string())
            table = table.append_column("_code", codes).append_column("_message", pa.nulls(len(doomed), pa.string()))
            self._add_chunk(table.append_column("_agreed", pa.array([b""] * len(doomed), pa.binary())), operation)

    def _count_emptied(self) -> None:
        """What the brakes ask for: how many records lose a value."""
        for at_vendor, writes in ((False, self.to_ours), (True, self.to_theirs)):
            look = self._look_of(theirs=not at_vendor)
            fields = self.end.ours.fields if at_vendor else self.end.theirs.fields
            for write in writes:
                for name, value in write.values.items():
                    if _is_nothing(value) and write.before[name]:
                        look.emptied[str(fields[name].vendor) if at_vendor else name] += 1


def _is_nothing(value: Any) -> bool:
    return value is None or value == ""


def _known_by(seen: Seen) -> str:
    """How a value is known again at the last look: by what the side has, and by what it would give the other side."""
    return merge.mark_of(seen.raw).hex() + seen.mark.hex()


def _moment(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp) if stamp else datetime.fromisoformat("0001-01-01T00:00:00+00:00")


def _agreed_by(write: _Write, *, at_vendor: bool) -> dict[str, Agreed]:
    """What both sides agree on once the values are written."""
    source = write.source.seen
    return {
        name: Agreed(source[name].mark, merge.mark_of_sent(value), "v")
        if at_vendor
        else Agreed(merge.mark_of_sent(value), source[name].mark, "s")
        for name, value in write.values.items()
    }


def _told(write: _Write, *, at_vendor: bool) -> str:
    """What changes from what to what, and what that passes over."""
    side = "at the vendor" if at_vendor else "in Salesforce"
    changes = [
        f"{name} {side}: {write.before[name]!r} -> {as_text(value) or ''!r}" for name, value in write.values.items()
    ]
    return "; ".join([*write.conflicts, *changes])[:LONGEST_TOLD]


def _with_marks(
    table: pa.Table, sources: Sequence[Side], found: Sequence[tuple[str, str]], *, at_vendor: bool
) -> pa.Table:
    """The rows with the marks of those that ask for them; a record that is in no inbox has no batch."""
    blank: dict[str, Any] = {"_batch": 0, "_row": 0, "_version": "", "_reading": 0}
    rows = [side.marks if side.marks is not None else blank | {"_id": side.id} for side in sources]
    for name, kind in MARKS.items():
        values = [row.get(name) for row in rows]
        if name == "_target":
            values = [pair[1 if at_vendor else 0] for pair in found]
        table = table.append_column(name, pa.array(values, kind))
    ours, theirs = ([pair[place] for pair in found] for place in (0, 1))
    return table.append_column("_pair_ours", pa.array(ours, pa.string())).append_column(
        "_pair_theirs", pa.array(theirs, pa.string())
    )


def _result_of(
    marks: Mapping[str, Any], outcome: Outcome, salesforce_id: str | None, vendor_id: str | None, *,
    code: str | None = None, message: str | None = None,
) -> RecordResult:  # fmt: skip
    """The outcome of a row, with what its link remembers."""
    return RecordResult(
        marks["_id"], outcome, salesforce_id, code, message, fingerprint=marks.get("_fingerprint") or NOTHING,
        staged_fingerprint=marks.get("_staged"), vendor_id=vendor_id, version=marks.get("_version"),
        reading=marks.get("_reading") or 0, batch=marks.get("_batch") or 0, row=marks.get("_row") or 0,
        origin=marks.get("_origin"),
    )  # fmt: skip


# -- sending -----------------------------------------------------------------------------------------------------------


@dataclass
class _Sender:
    """Sends one chunk, after a last look at the records that it changes."""

    end: TwoWay
    context: Context
    chunk: pa.Table
    facts: Mapping[str, str]
    jobs: NoteJobs
    repeated: bool
    rows: list[dict[str, Any]] = field(default_factory=list)
    results: list[RecordResult | None] = field(default_factory=list)

    def run(self) -> Sent:
        self.rows = self.chunk.to_pylist()
        self.results = [None] * len(self.rows)
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

    # -- the last look -----------------------------------------------------------------------------------------------

    def _untouched(self, *, theirs: bool) -> list[int]:
        """The rows whose record still has what it had when the plan was made. One that has what is to be written, as after
        a call whose answer was lost, is done; what has moved otherwise is left to the next plan."""
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
            if all(_known_by(side.seen[name]) == mark for name, mark in expected.items()):
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
        return self._write(places, WriteRequest(self.facts["object"], Operation.UPDATE, "Id", clears))

    def _create(self, places: Sequence[int]) -> tuple[SyncError | None, frozenset[int]]:
        side = self.end.mapping.salesforce
        return self._write(
            places,
            WriteRequest(
                side.object, Operation.UPSERT, side.external_id, parent=side.parent, assign=side.assign_owners,
                allow_duplicates=side.allow_duplicates,
            ),
        )  # fmt: skip

    def _delete(self, places: Sequence[int]) -> tuple[SyncError | None, frozenset[int]]:
        return self._write(places, WriteRequest(self.facts["object"], Operation.DELETE))

    def _write(self, places: Sequence[int], request: WriteRequest) -> tuple[SyncError | None, frozenset[int]]:
        if not places:
            return None, frozenset()
        names = [name for name in self.chunk.column_names if not name.startswith("_")]
        values = self.chunk.select(names).take(pa.array(places, pa.int64()))
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
        values: dict[str, Any] = {path: None if _is_nothing(row[path]) else row[path] for path in paths}
        for path in users & values.keys():
            user_id = values[path]
            values[path] = {"id": user_id, "email": self.end.users.get(user_id, "")} if user_id else None
        return values

    def _patch(self, places: Sequence[int]) -> tuple[SyncError | None, frozenset[int]]:
        if len(places) > FEW:
            rows = [
                {
                    "id": self.rows[place]["_pair_theirs"],
                    EXTERNAL_ID: self.rows[place]["_pair_ours"],
                    **self._values(place),
                }
                for place in places
            ]
            return self._by_job("patch", places, rows), frozenset()
        for number, place in enumerate(places):
            self.jobs.beat()
            vendor_id = self.rows[place]["_pair_theirs"]
            current = self.end.target.look(self._stream, vendor_paths(self.end.mapping), [vendor_id])
            try:
                answer = self.end.target.patch(self._stream, vendor_id, self._values(place), current[vendor_id])
            except SyncError as error:
                return error, frozenset(places[number + 1 :])
            self._answered(place, answer)
        return None, frozenset()

    def _make(self, places: Sequence[int]) -> tuple[SyncError | None, frozenset[int]]:
        made: dict[str, str] = {}
        if self.repeated:
            since = datetime.fromisoformat(self.facts["since"])
            made = self.end.target.find_created(self._stream, since=since - SINCE_NOTE) if since.year > 1 else {}
        for place in places:
            if self.rows[place]["_pair_ours"] in made:
                self._answered(place, VendorResult(made[self.rows[place]["_pair_ours"]]))
        left = [place for place in places if self.results[place] is None]
        rows = [{EXTERNAL_ID: self.rows[place]["_pair_ours"], **self._values(place)} for place in left]
        if len(self.rows) > 1:
            return (self._by_job("create", left, rows) if left else None), frozenset()
        for place, values in zip(left, rows, strict=True):
            try:
                self._answered(place, self.end.target.create(self._stream, values))
            except SyncError as error:
                return error, frozenset()
        return None, frozenset()

    def _remove(self, places: Sequence[int]) -> tuple[SyncError | None, frozenset[int]]:
        for number, place in enumerate(places):
            self.jobs.beat()
            try:
                self.end.target.delete(self._stream, [self.rows[place]["_pair_theirs"]])
            except SyncError as error:
                return error, frozenset(places[number + 1 :])
            self._done(place, Outcome.DELETED)
        return None, frozenset()

    def _by_job(self, operation: str, places: Sequence[int], rows: Sequence[Mapping[str, Any]]) -> SyncError | None:
        """By the job that the note names, if somebody started it; else by a new one, which is noted before it is started."""
        target, content = self.end.target, _digest(rows)
        noted = (self.jobs.find(content) or "").removeprefix(JOB)
        state = target.job_state(noted) if noted else ""
        if state == "Open":  # nobody's late call may start it now
            target.abort_job(noted)
        refused: dict[int, VendorResult] = {}
        if state in ("", "Open", "Aborted", "Failed"):
            noted, refused = target.new_job(self._stream, operation, rows)
            if noted:
                self.jobs.remember(content, f"{JOB}{noted}")
                target.start_job(noted)
        results = target.finish_job(noted, beat=self.jobs.beat) if noted else {}
        unknown = VendorResult(None, "NO_RESULT", "the job has no result for this record")
        for number, place in enumerate(places):
            answer = refused.get(number) or results.get(str(rows[number][EXTERNAL_ID]), unknown)
            self._answered(place, answer)
        return None

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
        change = PairChange(self.end.flow, ours, theirs, row["_agreed"], ended=ended)
        result = _result_of(row, outcome, ours, theirs, code=row["_code"], message=row["_message"])
        self.results[place] = result._replace(pair=change)

    def _refused(self, place: int, code: str | None, message: str | None, *, salesforce_id: str | None = None) -> None:
        row = self.rows[place]
        result = _result_of(
            row, Outcome.REJECTED, row["_pair_ours"] or salesforce_id, row["_pair_theirs"], code=code, message=message
        )
        self.results[place] = result._replace(fingerprint=None)


def _digest(rows: Iterable[Mapping[str, Any]]) -> str:
    content = "\n".join(json.dumps(row, sort_keys=True, default=str) for row in rows)
    return hashlib.blake2b(content.encode(), digest_size=32).hexdigest()
