"""The end of a delivery that is a vendor: who becomes which record there, decided over the whole plan.

A record that was delivered before is written by the id that it got, never by its unique values: those may have changed, or
be another's by now. Withdrawals of consent go first, then writes that free a unique value, then the others, then deletions.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.deliver import Delivered, NoteJobs, Sent, deliver
from salesforce_sync.engine.from_salesforce import CONTACT, CONVERTED, DELETED, MASTER
from salesforce_sync.engine.group import Group, Member
from salesforce_sync.engine.plan import BEFORE, Look, PlanWriter, facts_of
from salesforce_sync.errors import InvalidMapping, RequestRejected, SyncError
from salesforce_sync.mapping.apply import Mapped, apply_to_vendor
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.paths import as_text, nested
from salesforce_sync.mapping.version import mapping_version
from salesforce_sync.records import HELD_OUT, MISSING_AT_VENDOR, Outcome, RecordResult, VendorResult
from salesforce_sync.state import links
from salesforce_sync.state.engine import reading
from salesforce_sync.state.links import NOTHING, Link, Linked

log = logging.getLogger(__name__)

ROWS_PER_CHUNK = 200  # of one note: what a killed task sends again
MOST_LOOKED_AT = 2_000  # records that a dry run looks at one by one, to show what changes
GONE, MERGED, BECAME_CONTACT = "DELETED_IN_SALESFORCE", "MERGED_IN_SALESFORCE", "CONVERTED_IN_SALESFORCE"
NOT_UNIQUE, LEFT_TO_OTHER, UNCLEAR = "NO_UNIQUE_VALUE", "LEFT_TO_OTHER_RECORD", "CONSENT_UNCLEAR"
CONSENT_WITHDRAWN, FREED = "CONSENT_WITHDRAWN", "RECORD_FREED_AT_VENDOR"
LEFT_BEHIND = "LEFT_BEHIND"  # what a record was at the vendor before it became another
YES, NO = "Y", "N"
WITHDRAWN = "W"  # in a link: the record's own field says yes, but it left, so its consent was withdrawn
WITHDRAW, UPDATE, SAVE, DELETE = "withdraw", "update", "save", "delete"


Place = tuple[str, str]  # a record's place in a plan: its mapping and its id


class VendorTarget(Protocol):
    """A vendor's hook, as far as a delivery needs it."""

    @property
    def only_new(self) -> frozenset[str]:
        """Paths that go with new records only, and never change those that the vendor has."""

    @property
    def defaults(self) -> Mapping[str, str]:
        """Path -> what a new record gets there when nothing else is sent."""

    def problems(self, mapping: MappingFile) -> list[str]:
        """A sentence for each thing in the mapping that cannot work at the vendor."""

    @property
    def batch_size(self) -> int:
        """How many records one call of `save` takes."""

    def save(self, stream: str, records: Sequence[Mapping[str, Any]], *, unique: Sequence[str]) -> list[VendorResult]:
        """Writes the records; a result for each, in order. One that has the unique values of a record there becomes it."""

    def update(self, stream: str, vendor_id: str, record: Mapping[str, Any]) -> VendorResult:
        """Writes one record by the vendor's id; MISSING_AT_VENDOR when there is none with it."""

    def delete(self, stream: str, vendor_ids: Iterable[str]) -> None:
        """Deletes the records; one that is gone already is no error."""

    def find(
        self,
        stream: str,
        records: Sequence[Mapping[str, Any]],
        *,
        unique: Sequence[str],
        beat: Callable[[], None] = lambda: None,
    ) -> list[Mapping[str, Any] | None]:
        """What the vendor has with the unique values of each record, None for nothing; `beat` is called before each call."""

    def get(self, stream: str, vendor_id: str) -> Mapping[str, Any] | None:
        """The record with this id, None when there is none."""


def deliver_to_vendor(
    context: Context, system: str, mappings: Mapping[str, MappingFile], target: VendorTarget, *, delete: bool = False
) -> Delivered:
    """Delivers all that waits for these mappings to one stream of the system: see deliver.deliver.

    A record that is deleted or merged in Salesforce is logged; with `delete`, what it was at the vendor is deleted, unless
    another record has become the same.
    """
    group = Group.to_vendor(system, dict(mappings))
    return deliver(context, group, ToVendor(group, target, delete=delete))


class _Row(NamedTuple):
    """A changed record, as far as who is who depends on it. `place` is its row among its member's."""

    member: str
    place: int
    id: str
    key: str | None
    gone: bool
    master: str | None
    contact: str | None
    consent: str | None
    version: str
    reading: int
    batch: int
    row: int


@dataclass
class _Step:
    """What is to be done for a record. `outcome`, `code` and `message` are its result when the call succeeds."""

    operation: str
    row: _Row
    vendor_id: str | None = None
    consent: str | None = None  # what is sent of it; None: nothing
    outcome: Outcome = Outcome.UPDATED
    code: str | None = None
    message: str | None = None
    is_extra: bool = False  # for a customer that the record leaves behind: no outcome of its own
    releases: bool = False
    is_new: bool = False  # the vendor has nothing with its unique values
    stranger: str | None = None  # the vendor's id of the record that has them, and that nobody here knew


@dataclass
class ToVendor:
    group: Group
    target: VendorTarget
    delete: bool = False

    def check(self, group: Group) -> None:
        """Against the vendor; the task that reads has checked the mappings against the org."""
        for member in group.members:
            found = self.target.problems(member.mapping)
            if found:
                raise InvalidMapping(
                    f"Mapping {member.name} does not fit the vendor: {'; '.join(found)}.",
                    fix="Correct the names on the right-hand side of the mapping file.",
                )

    def version(self, member: Member) -> str:
        return mapping_version(member.mapping, {})

    def paths(self, member: Member) -> Sequence[str]:
        return [*member.mapping.salesforce_paths, DELETED]

    def also(self, member: Member) -> Sequence[str]:
        return [CONVERTED]

    def rows_per_chunk(self) -> int:
        return ROWS_PER_CHUNK

    def map(self, member: Member, columns: Columns) -> Mapped:
        """The mapped rows, with what tells whether each is still there; what is gone is accepted whatever it holds."""
        gone = columns.flags(DELETED)
        contact = _texts(columns, CONTACT, where=columns.flags(CONVERTED))
        over = gone | np.array([value is not None for value in contact], dtype=bool)
        mapped = apply_to_vendor(member.mapping, columns, accept=over)
        table = mapped.table
        for name, values, kind in (
            ("_gone", gone.tolist(), pa.bool_()),
            ("_master", _texts(columns, MASTER), pa.string()),
            ("_contact", contact, pa.string()),
        ):
            table = table.append_column(name, pa.array(values, kind).take(pa.array(mapped.places)))
        return Mapped(table, mapped.places, mapped.problems)

    def plan(
        self, context: Context, group: Group, looks: Mapping[str, Look], changed: Iterator[tuple[Member, pa.Table]],
        writer: PlanWriter, *, peek: bool, keep_doomed: bool,
    ) -> None:  # fmt: skip
        found: dict[str, list[pa.Table]] = {member.name: [] for member in group.members}
        for member, table in changed:
            found[member.name].append(table)
        tables = {name: pa.concat_tables(parts) for name, parts in found.items() if parts}
        _Decisions(self, context, group, looks, tables, writer, peek=peek, keep_doomed=keep_doomed).run()

    # -- sending -----------------------------------------------------------------------------------------------------

    def send(self, context: Context, chunk: pa.Table, jobs: NoteJobs, *, repeated: bool) -> Sent:
        facts = facts_of(chunk)
        (member,) = [member for member in self.group.members if member.name == facts["member"]]
        rows = chunk.to_pylist()
        if facts["operation"] == DELETE:
            rows = self._left_behind(context, member, rows)
        sender = _Sender(self.target, member.mapping, rows, repeated, jobs.beat)
        return sender.run(facts["operation"])

    def _left_behind(self, context: Context, member: Member, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows; those whose record is still what is to be deleted, since its move was refused, delete nothing."""
        with reading(context.state) as connection:
            known = links.find(connection, context.org, member.name, [row["_id"] for row in rows])
        return [
            row | {"_vendor_id": None}
            if row["_extra"] and (link := known.get(row["_id"])) is not None and link.vendor_id == row["_vendor_id"]
            else row
            for row in rows
        ]


def _id_of(record: Mapping[str, Any]) -> str | None:
    return None if record.get("id") is None else str(record["id"])


def unique_key(values: Sequence[str | None]) -> str | None:
    """A hash of what makes a record unique, in any case of letters; None where a value is missing."""
    if not all(values):
        return None
    return hashlib.sha256("\n".join(str(value).lower() for value in values).encode()).hexdigest()


def _texts(columns: Columns, path: str, where: Any = None) -> list[str | None]:
    if path not in columns.table.column_names:
        return [None] * len(columns)
    values = columns.table.column(path).to_pylist()
    return [
        str(value) if value is not None and (where is None or where[place]) else None
        for place, value in enumerate(values)
    ]


# -- deciding ----------------------------------------------------------------------------------------------------------


@dataclass
class _Decisions:
    """Who becomes which record at the vendor, over all changed rows and all links that they touch."""

    end: ToVendor
    context: Context
    group: Group
    looks: Mapping[str, Look]
    tables: dict[str, pa.Table]
    writer: PlanWriter
    peek: bool = False  # whether the vendor is asked nothing
    keep_doomed: bool = False  # whether deletions wait for a person
    rows: dict[Place, _Row] = field(default_factory=dict)  # (mapping, record) -> row
    links: dict[Place, Link] = field(default_factory=dict)
    by_key: dict[str, list[Linked]] = field(default_factory=dict)
    by_vendor_id: dict[str, list[Linked]] = field(default_factory=dict)
    keys: dict[str, set[Place]] = field(default_factory=dict)  # key -> living records after this plan
    moves: dict[Place, bool | None] = field(default_factory=dict)
    handed_over: set[Place] = field(default_factory=set)  # Leads whose Contact has their link now
    inherited: dict[Place, Link] = field(default_factory=dict)
    steps: list[_Step] = field(default_factory=list)
    becoming: dict[str, str] = field(default_factory=dict)  # unique value -> the customer that has it after this plan
    adopted: set[str] = field(default_factory=set)  # customers that somebody becomes in this plan

    def run(self) -> None:
        if not self.tables:
            return
        for member in self.group.members:
            self._take_rows(member)
        self._hand_over_converted()
        self._load_links()
        for member in self.group.members:
            for row in [row for row in self.rows.values() if row.member == member.name]:
                self._decide(member, row)
        if not self.peek:
            self._read_strangers()
        self._write_chunks()

    def _take_rows(self, member: Member) -> None:
        table = self.tables.get(member.name)
        if table is None:
            return
        paths = [str(member.mapping.fields[name].vendor) for name in member.mapping.unique]
        unique = zip(*(table.column(path).to_pylist() for path in paths), strict=True)
        consent = member.mapping.consent
        consents = table.column(consent).to_pylist() if consent else [None] * table.num_rows
        marks = ("_id", "_gone", "_master", "_contact", "_version", "_reading", "_batch", "_row")
        columns = zip(*(table.column(name).to_pylist() for name in marks), strict=True)
        for place, (values, given, kept) in enumerate(zip(unique, consents, columns, strict=True)):
            record_id, gone, master, contact, version, number, batch, row = kept
            self.rows[member.name, record_id] = _Row(
                member.name, place, record_id, unique_key(values), gone, master, contact, NO if given == "" else given, version,
                number, batch, row,
            )  # fmt: skip

    # -- before the plan: a converted Lead's link goes to the Contact ------------------------------------------------

    def _hand_over_converted(self) -> None:
        """The Contact gets the Lead's link, and the Lead a tombstone; both are committed before anything is sent."""
        rows = [row for row in self.rows.values() if row.contact and not row.gone]
        for member in self.group.members:
            own = [row for row in rows if row.member == member.name]
            heir = member.mapping.yields_to if member.mapping.yields_to in self.looks else None
            with reading(self.context.state) as connection:
                known = links.find(connection, self.context.org, member.name, [row.id for row in own])
                wanted = [str(row.contact) for row in own]
                heirs = links.find(connection, self.context.org, heir, wanted) if heir else {}
            for row in own:
                link = known.get(row.id)
                del self.rows[member.name, row.id]
                if link is None or link.gone or heir is None or "Id" in member.mapping.unique:
                    self._settle(row, Outcome.UNCHANGED)
                    continue
                known_heir = heirs.get(str(row.contact)) or self.inherited.get((heir, str(row.contact)))
                if known_heir is not None and known_heir.vendor_id not in (None, link.vendor_id):
                    # The Contact is another one at the vendor: what the Lead was there is left like a deleted record's.
                    self.rows[member.name, row.id] = row._replace(gone=True, key=None)
                    continue
                look = self.looks[member.name]
                told = self._tombstone(row, link, Outcome.SKIPPED, BECAME_CONTACT, f"it became {row.contact}")
                look.settled.results.append(told._replace(vendor_id=None, unique_key=None))
                self.handed_over.add((member.name, row.id))
                if known_heir is None or known_heir.vendor_id is None:
                    self._give(heir, str(row.contact), link)

    def _give(self, mapping: str, record_id: str, link: Link) -> None:
        given = RecordResult(
            record_id, Outcome.UNCHANGED, record_id, fingerprint=NOTHING, vendor_id=link.vendor_id,
            unique_key=link.unique_key, consent=link.consent,
        )  # fmt: skip
        self.looks[mapping].settled.results.append(given)
        self.inherited[mapping, record_id] = link._replace(
            salesforce_id=record_id, fingerprint=NOTHING, staged_fingerprint=None, version="", reading=0
        )

    # -- what is known -----------------------------------------------------------------------------------------------

    def _load_links(self) -> None:
        names = self.group.names
        with reading(self.context.state) as connection:
            for name in names:
                ids = [row.id for row in self.rows.values() if row.member == name]
                for record_id, link in links.find(connection, self.context.org, name, ids).items():
                    self.links[name, record_id] = link
            self.links |= self.inherited
            wanted = sorted({row.key for row in self.rows.values() if row.key})
            vendor_ids = sorted({link.vendor_id for link in self.links.values() if link.vendor_id})
            touched = links.with_keys(connection, self.context.org, names, unique_keys=wanted, vendor_ids=vendor_ids)
        inherited = [Linked(*place, link) for place, link in self.inherited.items()]
        for linked in [*touched, *inherited]:
            if (linked.mapping, linked.record_id) in self.handed_over:
                continue
            if linked.link.vendor_id:
                self.by_vendor_id.setdefault(linked.link.vendor_id, []).append(linked)
                if linked.link.unique_key:
                    self.by_key.setdefault(linked.link.unique_key, []).append(linked)
            place = (linked.mapping, linked.record_id)
            if place not in self.rows and not linked.link.gone and linked.link.unique_key:
                self.keys.setdefault(linked.link.unique_key, set()).add(place)
        for place, row in self.rows.items():
            if row.key and not row.gone:
                self.keys.setdefault(row.key, set()).add(place)

    def _living(self, linked: Linked) -> bool:
        """Whether the record of this link is there after the plan."""
        row = self.rows.get((linked.mapping, linked.record_id))
        return not linked.link.gone if row is None else not row.gone

    def _others(self, vendor_id: str, place: Place) -> list[Linked]:
        """Living records, but for this one, that are the same record at the vendor, and stay it."""
        return [
            linked
            for linked in self.by_vendor_id.get(vendor_id, [])
            if (linked.mapping, linked.record_id) != place and self._living(linked) and not self._leaves(linked)
        ]

    def _leaves(self, linked: Linked) -> bool:
        """Whether the record of this link has other unique values after the plan."""
        row = self.rows.get((linked.mapping, linked.record_id))
        return row is not None and row.key != linked.link.unique_key

    def _has_it(self, key: str, place: Place) -> str | None:
        """The vendor's record that has this unique value when the plan is through, but for the record's own."""
        for vendor_id, leaving in self._holders(key, place):
            if leaving is None or not self._moves(leaving):
                return vendor_id
        return None

    def _holders(self, key: str, place: Place) -> Iterator[tuple[str, Place | None]]:
        """The vendor's records that have this unique value now, but for the record's own; each with the record that gets another value in
        this plan, and may take it along, None where nobody does."""
        own = self.links.get(place)
        for linked in self.by_key.get(key, []):
            vendor_id = str(linked.link.vendor_id)
            if own is not None and vendor_id == own.vendor_id:
                continue
            owner = (linked.mapping, linked.record_id)
            row = self.rows.get(owner)
            yield vendor_id, owner if row is not None and not row.gone and row.key != key else None

    def _moves(self, place: Place) -> bool:
        """Whether the record takes what it is at the vendor along to its new unique value.

        The answer may hang on other records that want each other's values; in a ring, each of them moves. A chain may be as long as the
        plan, so what is asked for waits in a list, and not in calls within calls.
        """
        if place in self.moves:
            return self.moves[place] is not False
        self.moves[place] = None
        asking = [(place, self._moving(place))]
        answer = None
        while asking:
            asker, questions = asking[-1]
            try:
                asked = questions.send(answer)
            except StopIteration as end:
                self.moves[asker] = answer = bool(end.value)
                asking.pop()
                continue
            if asked in self.moves:
                answer = self.moves[asked] is not False
            else:
                self.moves[asked] = answer = None
                asking.append((asked, self._moving(asked)))
        return bool(answer)

    def _moving(self, place: Place) -> Generator[Place, bool | None, bool]:
        """`_moves` of one record; it yields each record whose answer it needs, and is sent it."""
        row, link = self.rows[place], self.links.get(place)
        if not row.key or link is None or link.gone or not link.vendor_id or link.unique_key in (None, row.key):
            return False
        if self._others(link.vendor_id, place):
            return False
        for _, leaving in self._holders(row.key, place):
            if leaving is None or not (yield leaving):
                return False
        for other in self._leave_before(link.vendor_id, place):
            if (yield other):
                return False
        return True

    def _leave_before(self, vendor_id: str, place: Place) -> list[Place]:
        """Records that share this one with the record and leave it, too: only the first of them takes it along."""
        sharers = ((linked.mapping, linked.record_id) for linked in self.by_vendor_id.get(vendor_id, []))
        return [
            other
            for other in sharers
            if other < place and other in self.rows and not self.rows[other].gone and self.rows[other].key
        ]

    # -- one record --------------------------------------------------------------------------------------------------

    def _decide(self, member: Member, row: _Row) -> None:
        place = (row.member, row.id)
        link = self.links.get(place)
        own = link if link is not None and not link.gone else None
        if row.gone:
            self._gone(member, row, link)
        elif row.id in self.looks[row.member].kept:
            self._leave(member, row, own, Outcome.SKIPPED, HELD_OUT, "a person holds it out")
        elif row.key is None:
            message = f"{' and '.join(member.mapping.unique)} makes a record unique, and has no value here"
            self._leave(member, row, own, Outcome.SKIPPED, NOT_UNIQUE, message)
        elif (other := member.mapping.yields_to) and any(name == other for name, _ in self.keys.get(row.key, ())):
            message = f"a record of {other} has the same {' and '.join(member.mapping.unique)}"
            self._leave(member, row, own, Outcome.WAITING, LEFT_TO_OTHER, message)
        else:
            self._write(member, row, own)

    def _write(self, member: Member, row: _Row, own: Link | None) -> None:
        place = (row.member, row.id)
        assert row.key is not None
        outcome = (
            Outcome.CREATED if own is None or (own.fingerprint == NOTHING and not own.vendor_id) else Outcome.UPDATED
        )
        stays = own is not None and own.vendor_id and own.unique_key in (None, row.key)
        vendor_id = own.vendor_id if own is not None and (stays or self._moves(place)) else self._has_it(row.key, place)
        # Of several records that take what they are along to one value, the first does, and the others become it.
        if vendor_id:
            vendor_id = vendor_id if stays else self.becoming.get(row.key, vendor_id)
            self.becoming.setdefault(row.key, vendor_id)
        if self._is_resting(row, own, vendor_id):
            self.looks[row.member].left_out += 1
            return
        operation = UPDATE if vendor_id else SAVE
        consent = self._consent(member, row, own, vendor_id)
        step = _Step(operation, row, vendor_id, consent, outcome, releases=bool(own and not stays and vendor_id))
        if vendor_id:
            self.adopted.add(vendor_id)
            self._overwrite(vendor_id, place)
        if own is not None and own.vendor_id and vendor_id != own.vendor_id:
            self._abandon(member, row, own)
        elif consent == NO and own is not None and own.consent == YES and own.vendor_id:
            # By itself first: it has to arrive also when the vendor refuses the rest of the record.
            self._withdraw_apart(row, own.vendor_id, CONSENT_WITHDRAWN)
        self.steps.append(step)

    def _withdraw_apart(self, row: _Row, vendor_id: str, code: str) -> None:
        """Consent is withdrawn at a customer, beside what else is done of the record."""
        told = f"consent withdrawn at {vendor_id}"
        self.steps.append(_Step(WITHDRAW, row, vendor_id, NO, Outcome.UPDATED, code, told, is_extra=True))

    def _is_resting(self, row: _Row, own: Link | None, vendor_id: str | None) -> bool:
        """Whether a call that may still land writes the same record at the vendor, or the same unique value."""
        taken = self.looks[row.member].taken
        return bool(taken & {vendor_id or "", row.key or "", (own.vendor_id if own else None) or ""})

    def _overwrite(self, vendor_id: str, place: Place) -> None:
        """What the vendor has of a shared record is this record's from now on: the others count as not delivered."""
        for linked in self._others(vendor_id, place):
            if linked.link.fingerprint != NOTHING and (linked.mapping, linked.record_id) not in self.rows:
                self._note_link(linked, Outcome.UNCHANGED, None)

    def _free(self, vendor_id: str, place: Place) -> None:
        """Whoever stays at a record that was shared is read and delivered again: what is there is another's."""
        for linked in self._others(vendor_id, place)[:1]:
            if (linked.mapping, linked.record_id) not in self.rows:
                self._note_link(linked, Outcome.WAITING, FREED)

    def _note_link(self, linked: Linked, outcome: Outcome, code: str | None) -> None:
        link = linked.link
        self.looks[linked.mapping].settled.notes.append(
            RecordResult(
                linked.record_id, outcome, linked.record_id, code, fingerprint=NOTHING, vendor_id=link.vendor_id,
                unique_key=link.unique_key, consent=link.consent, version=link.version, reading=link.reading, key="",
            )
        )  # fmt: skip

    def _consent(self, member: Member, row: _Row, own: Link | None, vendor_id: str | None) -> str | None:
        """What is sent of the consent: YES only when this record's own field turned to yes, NO whenever it is no.

        First contact with a record that the vendor has already keeps what it has; `_read_strangers` looks for those.
        """
        if member.mapping.consent is None or row.consent is None:
            return None
        place = (row.member, row.id)
        if row.consent != YES:
            agreed = own is None or own.consent in (NO, WITHDRAWN)
            shared = self._others(vendor_id, place) if vendor_id else []
            others = [linked for linked in shared if self._yields(linked.mapping) != row.member]
            return None if agreed and any(linked.link.consent == YES for linked in others) else NO
        if vendor_id is None:  # an insert always says it
            same = [self.rows[other] for other in self.keys.get(row.key or "", ()) if other in self.rows]
            refused = any(other.consent == NO for other in same)
            given = own is None or own.vendor_id is None or own.consent == YES
            return YES if given and not refused and not self._withdrawn(own and own.vendor_id, place, row) else NO
        if own is None or own.vendor_id is None or own.consent != NO or vendor_id != own.vendor_id:
            return None
        return None if self._withdrawn(vendor_id, place, row) else YES

    def _yields(self, mapping: str) -> str | None:
        return self.looks[mapping].member.mapping.yields_to if mapping in self.looks else None

    def _withdrawn(self, vendor_id: str | None, place: Place, row: _Row) -> bool:
        """Whether another record withdrew at this customer later than the row: one of before, or one of this plan."""
        for linked in self.by_vendor_id.get(vendor_id or "", []):
            other = (linked.mapping, linked.record_id)
            if other == place:
                continue
            link, planned = linked.link, self.rows.get(other)
            if link.consent in (NO, WITHDRAWN) and link.is_newer_than(row.version, row.reading):
                return True
            withdraws = planned is not None and link.consent == YES and (planned.consent == NO or planned.gone)
            if withdraws and planned is not None and (planned.version, planned.reading) >= (row.version, row.reading):
                return True
        return False

    def _leave(self, member: Member, row: _Row, own: Link | None, outcome: Outcome, code: str, message: str) -> None:
        """The record is not delivered; consent that it had given at the vendor is withdrawn."""
        step = _Step(WITHDRAW, row, None, NO, outcome, code, message)
        if own is not None and self._must_withdraw(member, row, own):
            step.vendor_id = own.vendor_id
            self.steps.append(step)
        else:
            self._settle(row, outcome, code, message, link=own)

    def _must_withdraw(self, member: Member, row: _Row, link: Link) -> bool:
        if member.mapping.consent is None or link.vendor_id is None or link.consent in (NO, WITHDRAWN):
            return False
        others = self._others(link.vendor_id, (row.member, row.id))
        return not any(linked.link.consent == YES for linked in others)

    def _abandon(self, member: Member, row: _Row, own: Link) -> None:
        """The record becomes another at the vendor; what it was stays with whoever shares it."""
        vendor_id = str(own.vendor_id)
        self._free(vendor_id, (row.member, row.id))
        if self._must_withdraw(member, row, own):
            self._withdraw_apart(row, vendor_id, CONSENT_WITHDRAWN if row.consent == NO else LEFT_BEHIND)
        if self.end.delete and not self._others(vendor_id, (row.member, row.id)):
            told = f"{vendor_id} is nobody any more"
            self.steps.append(_Step(DELETE, row, vendor_id, None, Outcome.DELETED, LEFT_BEHIND, told, is_extra=True))

    def _gone(self, member: Member, row: _Row, link: Link | None) -> None:
        code, message = (MERGED, f"merged into {row.master}") if row.master else (GONE, None)
        if row.contact:
            code, message = BECAME_CONTACT, f"it became {row.contact}"
        if link is not None and link.gone:
            self._settle(row, Outcome.UNCHANGED, link=link)
        elif link is None or link.vendor_id is None:
            self._settle(row, Outcome.SKIPPED, code, message, link=link)
        else:
            others = self._others(link.vendor_id, (row.member, row.id))
            self._free(link.vendor_id, (row.member, row.id))
            takers = [place for place in self.keys.get(link.unique_key or "", ()) if place in self.rows]
            if others or takers:
                heir = others[0].record_id if others else takers[0][1]
                message = f"the vendor's record has become that of {heir}"
            keeps = row.id in self.looks[row.member].kept
            if self.end.delete and not others and not takers and not keeps:
                if self.keep_doomed and self._must_withdraw(member, row, link):
                    self._withdraw_apart(row, link.vendor_id, CONSENT_WITHDRAWN)
                self.steps.append(_Step(DELETE, row, link.vendor_id, None, Outcome.DELETED, code, message))
            elif self._must_withdraw(member, row, link):
                self.steps.append(_Step(WITHDRAW, row, link.vendor_id, NO, Outcome.SKIPPED, code, message))
            else:
                self._settle(row, Outcome.SKIPPED, code, message, link=link)

    def _settle(
        self,
        row: _Row,
        outcome: Outcome,
        code: str | None = None,
        message: str | None = None,
        *,
        link: Link | None = None,
    ) -> None:
        """An outcome without a call. A record that is gone, or goes nowhere, leaves its version, also when it was never
        delivered: an older reading may follow."""
        look = self.looks[row.member]
        if row.gone:
            look.settled.results.append(self._tombstone(row, link, outcome, code, message))
            return
        is_unknown = (
            link is None and (row.member, row.id) not in self.links and outcome in (Outcome.SKIPPED, Outcome.WAITING)
        )
        look.settled.results.append(
            RecordResult(
                row.id, outcome, row.id, code, message, fingerprint=NOTHING if is_unknown else None,
                version=row.version, reading=row.reading, batch=row.batch, row=row.row, key=row.key,
            )
        )  # fmt: skip

    def _tombstone(
        self, row: _Row, link: Link | None, outcome: Outcome, code: str | None, message: str | None
    ) -> RecordResult:
        told = RecordResult(
            row.id, outcome, row.master or row.id, code, message, fingerprint=NOTHING, version=row.version, reading=row.reading,
            gone=True, batch=row.batch, row=row.row,
        )  # fmt: skip
        if link is None:
            return told
        return told._replace(vendor_id=link.vendor_id, unique_key=link.unique_key, consent=WITHDRAWN)

    # -- first contact -----------------------------------------------------------------------------------------------

    def _read_strangers(self) -> None:
        """First contact: a record that the vendor has already keeps its consent, and what only new records get."""
        seen: set[str] = set()
        for member in self.group.members:
            own = [step for step in self.steps if step.row.member == member.name]
            saved = [step for step in own if step.operation == SAVE]
            moved = [step for step in own if step.operation == UPDATE and step.releases]
            asked = [*(saved if self._new_ones_differ else [step for step in saved if step.consent == YES]), *moved]
            known = self._look_for(member, asked)
            for step in moved:
                if id(step) in known:
                    self._adopt(member, step, known[id(step)])
            for step in saved:
                key = str(step.row.key)
                # Of two new ones with one key the second becomes the first.
                step.is_new = id(step) not in known and key not in seen
                seen.add(key)
                if id(step) in known:
                    step.stranger = _id_of(known[id(step)])
                    step.consent = None if step.consent == YES else step.consent

    def _look_for(self, member: Member, steps: Sequence[_Step]) -> dict[int, Mapping[str, Any]]:
        """What the vendor has with the unique values of these steps' records, by step. A look that is refused is its record's refusal."""
        if not steps:
            return {}
        stream = member.mapping.vendor.stream
        rows = self.tables[member.name].take(pa.array([step.row.place for step in steps], pa.int64()))
        paths = [str(member.mapping.fields[name].vendor) for name in member.mapping.unique]
        records = [nested(row) for row in rows.select(paths).to_pylist()]
        beat = self.writer.beat
        try:
            found = self.end.target.find(stream, records, unique=paths, beat=beat)
        except RequestRejected:
            found = []
            for step, record in zip(steps, records, strict=True):
                try:
                    found += self.end.target.find(stream, [record], unique=paths, beat=beat)
                except RequestRejected as error:
                    found.append(None)
                    self.steps.remove(step)
                    self._settle(step.row, Outcome.REJECTED, error.code, str(error.args[0]))
        return {id(step): one for step, one in zip(steps, found, strict=True) if one is not None}

    def _adopt(self, member: Member, step: _Step, stranger: Mapping[str, Any]) -> None:
        """A record whose new unique value a stranger has becomes that one, and leaves what it was: two would have the value otherwise."""
        place = (step.row.member, step.row.id)
        link = self.links.get(place)
        if link is None or _id_of(stranger) in (None, step.vendor_id) or self.by_vendor_id.get(str(_id_of(stranger))):
            return
        left = step.vendor_id
        if not any(other.vendor_id == left and other.operation == UPDATE for other in self.steps if other is not step):
            self.adopted.discard(str(left))  # nobody becomes what it was
        self._abandon(member, step.row, link)
        step.operation, step.vendor_id, step.releases = SAVE, None, False
        step.stranger, step.consent = _id_of(stranger), None

    @property
    def _new_ones_differ(self) -> bool:
        return bool(self.end.target.only_new or self.end.target.defaults)

    # -- chunks ------------------------------------------------------------------------------------------------------

    def _write_chunks(self) -> None:
        for step in [step for step in self.steps if step.operation == DELETE and step.vendor_id in self.adopted]:
            self.steps.remove(step)  # somebody has become it in this plan
            if not step.is_extra:
                link = self.links.get((step.row.member, step.row.id))
                message = "the vendor's record has become that of another"
                self._settle(step.row, Outcome.SKIPPED, step.code, message, link=link)
        order = ((WITHDRAW, False), (UPDATE, True), (UPDATE, False), (SAVE, False), (DELETE, False))
        for (operation, releases), member in product(order, self.group.members):
            steps = [
                step
                for step in self.steps
                if (step.row.member, step.operation, step.releases) == (member.name, operation, releases)
            ]
            # A record that leaves a customer withdraws there when it leaves: with the write that moves it.
            urgent = [step for step in steps if operation == WITHDRAW and step.code != LEFT_BEHIND]
            others = [step for step in steps if operation != WITHDRAW or step.code == LEFT_BEHIND]
            if urgent:
                self._write_chunk(member, urgent, urgent=True)
            if others:
                self._write_chunk(member, self._free_first(others), urgent=False)

    def _free_first(self, steps: list[_Step]) -> list[_Step]:
        """Those that free the value which another one wants come before it; in a ring, any order is right."""
        if not steps[0].releases:
            return steps
        holder = {self._old_key(step): step for step in steps}
        ordered: dict[int, _Step] = {}
        for step in steps:
            chain: dict[int, _Step] = {}
            blocker: _Step | None = step
            while blocker is not None and id(blocker) not in ordered and id(blocker) not in chain:
                chain[id(blocker)] = blocker
                blocker = holder.get(blocker.row.key)  # who has the value that this one wants
            ordered |= dict(reversed(chain.items()))
        return list(ordered.values())

    def _old_key(self, step: _Step) -> str | None:
        link = self.links.get((step.row.member, step.row.id))
        return link.unique_key if link else None

    def _remembered(self, step: _Step) -> str | None:
        """What the link remembers of the record's own consent when the step is done."""
        link = self.links.get((step.row.member, step.row.id))
        withdrawn = link is not None and link.consent == WITHDRAWN
        return WITHDRAWN if withdrawn and step.row.consent == YES and step.consent is None else step.row.consent

    def _write_chunk(self, member: Member, steps: list[_Step], *, urgent: bool) -> None:
        table = self.tables[member.name].take(pa.array([step.row.place for step in steps]))
        consent = member.mapping.consent
        if consent is not None:
            given = pa.array([step.consent for step in steps], pa.string())
            table = table.set_column(table.column_names.index(consent), consent, given)
            own = pa.array([self._remembered(step) for step in steps], pa.string())
        else:
            own = pa.nulls(len(steps), pa.string())
        for name, values in (
            ("_vendor_id", [step.vendor_id for step in steps]),
            ("_key", [step.row.key for step in steps]),
            ("_old_key", [self._old_key(step) for step in steps]),
            ("_outcome", [str(step.outcome) for step in steps]),
            ("_code", [step.code for step in steps]),
            ("_message", [step.message for step in steps]),
            ("_stranger", [step.stranger for step in steps]),
        ):
            table = table.append_column(name, pa.array(values, pa.string()))
        table = table.append_column("_consent", own)
        gone = pa.array([step.row.gone for step in steps], pa.bool_())
        table = table.set_column(table.column_names.index("_gone"), "_gone", gone)
        table = table.append_column("_extra", pa.array([step.is_extra for step in steps], pa.bool_()))
        table = table.append_column("_new", pa.array([step.is_new for step in steps], pa.bool_()))
        if not self.peek and (self.context.dry is not None or self.context.brakes.approve):
            table = self._with_before(member, steps, table)
        keeps = [name for name in table.column_names if name not in member.mapping.emptied_by_null]
        facts = {"object": member.mapping.salesforce.object, "operation": steps[0].operation}
        facts |= {"keeps": ",".join(name for name in keeps if not name.startswith("_"))}
        facts |= {"urgent": "yes"} if urgent else {}
        facts |= {"deletes": "yes"} if steps[0].operation == DELETE else {}
        self.writer.add(member.name, [table], **facts)

    def _with_before(self, member: Member, steps: Sequence[_Step], table: pa.Table) -> pa.Table:
        """The rows, each with what the vendor has. A dry run of many leaves it unknown: each costs a call."""
        dry = self.context.dry
        if dry is not None and not dry.look_at_all and len(steps) > MOST_LOOKED_AT:
            return table
        known: list[Mapping[str, Any]] = []
        for step in steps:
            self.writer.beat()
            vendor_id = step.vendor_id or step.stranger
            found = self.end.target.get(member.mapping.vendor.stream, vendor_id) if vendor_id else None
            known.append(found or {})
        for name in [name for name in table.column_names if not name.startswith("_")]:
            before = [as_text(_value(record, name)) or "" for record in known]
            table = table.append_column(f"{BEFORE}{name}", pa.array(before, pa.string()))
        return table


# -- sending -----------------------------------------------------------------------------------------------------------


@dataclass
class _Sender:
    """Sends a chunk's rows, call by call: a call that fails leaves the rows of the calls before it known."""

    target: VendorTarget
    mapping: MappingFile
    rows: list[dict[str, Any]]
    repeated: bool
    beat: Callable[[], None]
    results: list[RecordResult | None] = field(default_factory=list)

    def run(self, operation: str) -> Sent:
        send = {WITHDRAW: self._withdraw, UPDATE: self._update, SAVE: self._save, DELETE: self._delete}[operation]
        size = self.target.batch_size if operation == SAVE else 1
        for start in range(0, len(self.rows), size):
            self.beat()
            try:
                self.results += send(self.rows[start : start + size])
            except SyncError as error:
                rest: list[RecordResult | None] = [None] * (len(self.rows) - len(self.results))
                never_sent = frozenset(range(start + size, len(self.rows)))
                return Sent([*self.results, *rest], error, never_sent)
        return Sent(self.results)

    @property
    def _stream(self) -> str:
        return self.mapping.vendor.stream

    @property
    def _unique(self) -> list[str]:
        return [str(self.mapping.fields[name].vendor) for name in self.mapping.unique]

    def _record(self, row: Mapping[str, Any], *, new: bool) -> dict[str, Any]:
        """What is sent: a new record has what the vendor wants of it, another one leaves alone what only new ones get."""
        target = self.target
        values = {path: _plain(value) for path, value in row.items() if not path.startswith("_")}
        if new:
            values |= {path: value for path, value in target.defaults.items() if values.get(path) in (None, "")}
        else:
            values = {path: value for path, value in values.items() if path not in target.only_new}
        emptied = [path for path in self.mapping.emptied_by_null if path in values and values[path] is None]
        return nested(values, nulls=emptied)

    def _withdraw(self, rows: Sequence[dict[str, Any]]) -> list[RecordResult]:
        (row,) = rows
        consent = self.mapping.consent
        assert consent is not None
        try:
            answer = self.target.update(self._stream, row["_vendor_id"], nested({consent: NO}))
        except RequestRejected as error:
            return [_refused(row, _as_answer(error))]
        is_refused = answer.vendor_id is None and answer.code != MISSING_AT_VENDOR
        return [_refused(row, answer) if is_refused else _settled(row)]

    def _delete(self, rows: Sequence[dict[str, Any]]) -> list[RecordResult]:
        (row,) = rows
        try:
            self.target.delete(self._stream, [row["_vendor_id"]] if row["_vendor_id"] else [])
        except RequestRejected as error:
            return [_refused(row, _as_answer(error))]
        return [_settled(row | {"_vendor_id": None, "_old_key": None})]

    def _update(self, rows: Sequence[dict[str, Any]]) -> list[RecordResult]:
        (row,) = rows
        try:
            code = self._drop_a_repeated_yes(row, lambda: self.target.get(self._stream, row["_vendor_id"]))
            answer = self.target.update(self._stream, row["_vendor_id"], self._record(row, new=False))
            if answer.code == MISSING_AT_VENDOR and answer.vendor_id is None:
                answer = self._make_again(row)
        except RequestRejected as error:
            return [_refused(row, _as_answer(error))]
        return [_refused(row, answer) if answer.vendor_id is None else _delivered(row, answer, code)]

    def _make_again(self, row: dict[str, Any]) -> VendorResult:
        """Somebody deleted it there: it is made again, or becomes another one that has its unique values. Nobody is opted in by that."""
        known = self._look_up(row)
        consent = self.mapping.consent
        as_it_is = row if consent is None else {**row, consent: None}
        record = self._unconsented(row) if known is None else self._record(as_it_is, new=False)
        (answer,) = self.target.save(self._stream, [record], unique=self._unique)
        return answer

    def _save(self, rows: Sequence[dict[str, Any]]) -> list[RecordResult]:
        """A second row with one key waits for what becomes of the first: it is new only when that was refused."""
        second = [place for place, row in enumerate(rows) if _is_second(row)]
        first = [place for place in range(len(rows)) if place not in second]
        results = dict(zip(first, self._save_together([rows[place] for place in first]), strict=True))
        for place in second:
            (results[place],) = self._save_together([rows[place]])
        return [results[place] for place in range(len(rows))]

    def _save_together(self, rows: Sequence[dict[str, Any]]) -> list[RecordResult]:
        results: dict[int, RecordResult] = {}
        codes: dict[int, str | None] = {}
        for place, row in enumerate(rows):
            try:
                codes[place] = self._look_first(row)
            except RequestRejected as error:
                results[place] = _refused(row, _as_answer(error))
        records = [self._record(rows[place], new=rows[place]["_new"]) for place in codes]
        answers = self.target.save(self._stream, records, unique=self._unique) if records else []
        for (place, code), given in zip(codes.items(), answers, strict=True):
            row, answer = rows[place], given
            if row["_stranger"] and answer.vendor_id not in (None, row["_stranger"]):
                # It was deleted between the look and the call, so this one is new: nobody is opted in by that either.
                answer = self.target.update(self._stream, str(answer.vendor_id), self._unconsented(row))
            results[place] = _refused(row, answer) if answer.vendor_id is None else _delivered(row, answer, code)
        return [results[place] for place in range(len(rows))]

    def _unconsented(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row as a new record without consent."""
        consent = self.mapping.consent
        return self._record(row if consent is None else {**row, consent: NO}, new=True)

    def _look_first(self, row: dict[str, Any]) -> str | None:
        """A second row with one key, and one that was sent before without an answer, may be at the vendor by now. Gives the code of the
        row's result."""
        says_yes = self.mapping.consent is not None and row[self.mapping.consent] == YES
        matters = says_yes or self.target.only_new or self.target.defaults
        if not _is_second(row) and not (self.repeated and row["_new"] and matters):
            return None
        known = self._look_up(row)
        row["_new"] = known is None
        if known is None:
            return None
        row["_stranger"] = _id_of(known)
        return self._drop_a_repeated_yes(row, lambda: known)

    def _look_up(self, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        (found,) = self.target.find(self._stream, [self._record(row, new=True)], unique=self._unique)
        return found

    def _drop_a_repeated_yes(self, row: dict[str, Any], look: Callable[[], Mapping[str, Any] | None]) -> str | None:
        """A yes whose answer got lost is not sent again: the person may have said no at the vendor since.

        Gives the code of the result when nobody can tell whether it arrived.
        """
        consent = self.mapping.consent
        if not self.repeated or consent is None or row[consent] != YES:
            return None
        known = look()
        row[consent] = None
        return None if known is not None and _value(known, consent) == YES else UNCLEAR


def _is_second(row: Mapping[str, Any]) -> bool:
    """Whether another row of the plan has the same key and comes before it."""
    return not row["_new"] and row["_stranger"] is None


def _as_answer(error: RequestRejected) -> VendorResult:
    """A call that the vendor refused, as the answer for its one record."""
    return VendorResult(None, error.code, str(error.args[0]))


def _plain(value: Any) -> Any:
    """A number without a fraction as a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _value(record: Mapping[str, Any], path: str) -> Any:
    node: Any = record
    for name in path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _delivered(row: Mapping[str, Any], answer: VendorResult, code: str | None) -> RecordResult:
    message = "nobody can tell whether a yes arrived; it is not sent again" if code else None
    return RecordResult(
        row["_id"], Outcome(row["_outcome"]), row["_id"], code, message, fingerprint=row["_fingerprint"],
        staged_fingerprint=row["_staged"], vendor_id=answer.vendor_id, unique_key=row["_key"],
        consent=row["_consent"], **_place(row),
    )  # fmt: skip


def _refused(row: Mapping[str, Any], answer: VendorResult) -> RecordResult:
    # What is refused for what a record leaves behind has a letter of its own: the record's may be answered meanwhile.
    if row["_extra"]:
        record_id, origin = f"{row['_id']}@{row['_vendor_id']}", f"vendor record {row['_vendor_id']}"
        return RecordResult(record_id, Outcome.REJECTED, row["_id"], answer.code, answer.message, origin=origin)
    return RecordResult(row["_id"], Outcome.REJECTED, row["_id"], answer.code, answer.message, **_place(row))


def _settled(row: Mapping[str, Any]) -> RecordResult:
    """The outcome that the row was planned to have once its call succeeded; the link learns that consent is withdrawn.

    Also when the rest of the record is written apart: that may wait, and the withdrawal is not to be repeated
    meanwhile.
    """
    withdrew = row["_code"] == CONSENT_WITHDRAWN
    return RecordResult(
        row["_id"], Outcome(row["_outcome"]), row["_master"] or row["_id"], row["_code"], row["_message"],
        fingerprint=None if row["_extra"] and not withdrew else NOTHING, vendor_id=row["_vendor_id"],
        unique_key=row["_old_key"], consent=NO if withdrew else WITHDRAWN, gone=row["_gone"] and not row["_extra"],
        key=row["_key"], **_place(row),
    )  # fmt: skip


def _place(row: Mapping[str, Any]) -> dict[str, Any]:
    if row["_extra"]:
        return {"version": row["_version"], "reading": row["_reading"]}
    return {
        "version": row["_version"], "reading": row["_reading"], "batch": row["_batch"], "row": row["_row"],
        "origin": row["_origin"],
    }  # fmt: skip
