"""Merging: who is whose counterpart, what goes where, and the chunks that bring it there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from salesforce_sync.engine.from_vendor import moment
from salesforce_sync.engine.group import Member
from salesforce_sync.engine.plan import BEFORE, MARKS, Look, PlanWriter
from salesforce_sync.engine.read import FIRST
from salesforce_sync.engine.two_way import sides
from salesforce_sync.engine.two_way.sides import (
    AT_VENDOR,
    BEFORE_SWITCH_ON,
    CONFLICT,
    CONVERTED_THERE,
    COUNTERPART_GONE,
    CREATE,
    DELETE,
    GONE_AT_VENDOR,
    GONE_IN_SALESFORCE,
    LONGEST_TOLD,
    MAKE,
    MERGED,
    MISSING,
    NO_ADDRESS,
    NO_PARENT,
    NOT_SELECTED,
    PARENT_TAKEN,
    PATCH,
    PATCH_ROWS,
    REMOVE,
    RESTORABLE,
    SEVERAL,
    UNMAPPABLE,
    UPDATE,
    UPDATE_ROWS,
    Side,
    hint_of,
    is_nothing,
    is_theirs,
    known_by,
    match_key,
    member_name,
)
from salesforce_sync.ids import whole_id
from salesforce_sync.mapping import merge
from salesforce_sync.mapping.merge import Agreed, Decision, Seen
from salesforce_sync.mapping.paths import as_text
from salesforce_sync.records import HELD_OUT, Outcome, PairChange, RecordResult
from salesforce_sync.state import dead_letters, held_out, pairs, watermarks
from salesforce_sync.state.engine import reading
from salesforce_sync.state.links import NOTHING
from salesforce_sync.state.pairs import Pair

if TYPE_CHECKING:
    from salesforce_sync.engine.two_way.end import TwoWay

FORGET = "_forget"  # the mark of a row whose link is not to remember what was read


class Write(NamedTuple):
    """What one side of a pair is to be given. `source` is the record of the other side that the values come from."""

    pair: tuple[str, str]  # Salesforce's id and the vendor's
    values: Mapping[str, Any]  # by Salesforce field
    before: Mapping[str, str]
    expected: Mapping[str, str]  # field -> hexadecimal mark of what the written side has now
    source: Side
    conflicts: Sequence[str]
    parent: str = ""  # of the Salesforce record that is written: its parent's id


@dataclass
class Merging:
    """Decides over all rows that wait on either side, and over the records that they are paired with."""

    end: TwoWay
    looks: Mapping[str, Look]
    writer: PlanWriter
    peek: bool = False
    ours: dict[str, Side] = field(default_factory=dict)  # of pairs, by Salesforce id
    theirs: dict[str, Side] = field(default_factory=dict)  # of pairs, by the vendor's id
    pairs: dict[str, Pair] = field(default_factory=dict)  # by Salesforce id
    unpaired: dict[bool, list[Any]] = field(
        default_factory=lambda: {False: [], True: []}
    )  # spooled tables, by `theirs`
    refused: dict[str, str] = field(default_factory=dict)  # looked-at record -> why it cannot be mapped
    to_ours: list[Write] = field(default_factory=list)
    to_theirs: list[Write] = field(default_factory=list)
    doomed_ours: list[tuple[Pair, Side]] = field(default_factory=list)
    doomed_theirs: list[tuple[Pair, Side]] = field(default_factory=list)
    held: dict[tuple[str, str], str] = field(default_factory=dict)  # record and fingerprint -> who holds it out
    moved: set[str] = field(default_factory=set)  # Salesforce records that get a merged one's counterpart
    landing: set[str] = field(default_factory=set)  # records that a call may still land on which makes them a pair
    claimed: dict[str, str] = field(default_factory=dict)  # parent -> its record that has the counterpart
    created: int = 0
    first_contacts: int = 0

    def run(self, changed: Iterator[tuple[Member, pa.Table]]) -> None:
        for member, table in changed:
            self._take(table, theirs=is_theirs(member))
        self._learn_of_letters()
        self._match()
        self._look()
        self._find_held()
        for pair in list(self.pairs.values()):
            self._merge(pair)
        self._write_updates()
        self._write_creates()
        self._write_deletions()
        self._look_of(theirs=False).unlinked = self.first_contacts
        self._look_of(theirs=True).unlinked = self.created
        for look in self.looks.values():
            look.emptied.clear()
        self._count_emptied()

    def _learn_of_letters(self) -> None:
        """What earlier runs refused may be somebody's counterpart, too."""
        for theirs in (False, True):
            name = member_name(self.end.flow, theirs=theirs)
            with reading(self.end.context.state) as connection:
                payloads = dead_letters.payloads(connection, self.end.context.org, name)
            for payload in payloads:
                record = json.loads(payload)
                if record:
                    self.end.refused.add(record, self.end.mapping, theirs=theirs)

    # -- who is whose ------------------------------------------------------------------------------------------------

    def _take(self, table: pa.Table, *, theirs: bool) -> None:
        """Keeps the rows of pairs, and puts the others aside in a file: of a first reading they are all that there
        is."""
        ids = table.column("_id").to_pylist()
        find = pairs.of_vendor if theirs else pairs.of_salesforce
        with reading(self.end.context.state) as connection:
            known = find(connection, self.end.context.org, self.end.flow, ids)
        paired = np.array([record_id in known for record_id in ids], dtype=bool)
        for side in self.end.sides(table.filter(pa.array(paired)), theirs=theirs):
            pair = known[side.id]
            self.pairs[pair.salesforce_id] = pair
            (self.theirs if theirs else self.ours)[side.id] = side
        if not paired.all():
            spooled = self.unpaired[theirs]
            rest = table.filter(pa.array(~paired))
            folder = self.writer.folder / f"unpaired-{'theirs' if theirs else 'ours'}"
            spooled.append(self.end.context.staging.write(folder, len(spooled), rest))

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
        resting = self._resting()
        for ours, theirs in hints:
            if resting & {ours, theirs}:
                self.landing |= {ours, theirs}
            elif ours in known_ours or theirs in known_theirs:
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

    def _resting(self) -> frozenset[str]:
        """The records of both sides that a call may still write."""
        return frozenset().union(*(look.resting for look in self.looks.values()))

    def _pair_up(self, ours: str, theirs: str) -> None:
        self.pairs[ours] = Pair(ours, theirs, b"", None)
        self.matched |= {ours, theirs}

    def _hints(self) -> list[tuple[str, str]]:
        """(Salesforce id, vendor's id) that one side names; of what was refused, as far as it is about a row of the
        plan."""
        found = set()
        waiting: set[str] = set()
        for theirs in (False, True):
            for table in self._spooled(theirs=theirs):
                ids = table.column("_id").to_pylist()
                waiting.update(ids)
                for record_id, partner in zip(ids, table.column("_partner").to_pylist(), strict=True):
                    if (hint := hint_of(record_id, partner, theirs=theirs)) is not None:
                        found.add(hint)
        found |= {hint for hint in self.end.refused.hints if waiting & set(hint)}
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
                    key = match_key(values)
                    if key is not None and not self._is_spoken_for(record_id) and record_id not in self.several:
                        keys[theirs].setdefault(key, []).append(record_id)
        rows = {theirs: {name for found in keys[theirs].values() for name in found} for theirs in keys}
        for theirs, known in self.end.refused.values.items():
            for key, found in known.items():
                own = keys[theirs].setdefault(key, [])
                own += sorted(found - set(own) - self.matched - self.several.keys())
        for key, ours in keys[False].items():
            theirs_found = keys[True].get(key, [])
            if not (rows[False] & set(ours) or rows[True] & set(theirs_found)):
                continue  # nothing of it is in this plan
            if len(ours) == 1 and len(theirs_found) == 1:
                self._pair_up(ours[0], theirs_found[0])
            elif theirs_found:
                involved = ", ".join(sorted([*ours, *theirs_found]))
                for record_id in (*ours, *theirs_found):
                    self.several[record_id] = f"has the same {', '.join(names)} as others: {involved}"

    def _is_spoken_for(self, record_id: str) -> bool:
        return record_id in self.matched or record_id in self.moved or record_id in self.landing

    # -- what both sides have now ------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Reads both records of each pair as they are now; those that were just matched and are in the inbox are not
        read again."""
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
        return not any(side.gone for side in sides if side is not None) and (
            pair.ended is None or pair.ended in RESTORABLE
        )

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

    def _find_held(self) -> None:
        """What people rejected of these records: it is not written, whichever side asks for it."""
        with reading(self.end.context.state) as connection:
            for theirs, found in ((False, self.ours), (True, self.theirs)):
                name = member_name(self.end.flow, theirs=theirs)
                if held_out.any_of(connection, self.end.context.org, name):
                    for record_id, items in held_out.find(connection, self.end.context.org, name, list(found)).items():
                        for mark, item in items.items():
                            self.held[record_id, mark] = f"{item.person} holds it out since plan {item.plan_id}"

    # -- one pair ----------------------------------------------------------------------------------------------------

    def _merge(self, pair: Pair) -> None:
        ours, theirs = self.ours.get(pair.salesforce_id), self.theirs.get(pair.vendor_id)
        for side, gone_there in ((ours, False), (theirs, True)):
            if side is not None and side.gone and side.marks is None and pair.salesforce_id in self.matched:
                self._skip_both(pair, ours, theirs, COUNTERPART_GONE)
                return
            if side is not None and side.gone:
                self._end(pair, side, ours, theirs, is_theirs=gone_there)
                return
        both_there = ours is not None and theirs is not None and "?" not in (ours.stamp, theirs.stamp)
        if pair.ended is not None and not (pair.ended in RESTORABLE and both_there):
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
        agreed = merge.unpack(pair.agreed, end.keys)
        wins = self._salesforce_wins(ours, theirs)
        settled: dict[str, Agreed] = {}
        writes: dict[bool, dict[str, Any]] = {False: {}, True: {}}  # by whether the vendor is written
        conflicts: list[str] = []
        for name, item in end.mapping.fields.items():
            a, b = ours.seen[name], theirs.seen[name]
            decision, is_conflict = merge.decide(a, b, agreed.get(name), direction=item.direction, salesforce_wins=wins)
            if item.user and name not in agreed and (a.is_empty or b.is_empty):
                decision, is_conflict = Decision.AGREE, False  # who is on one side only stays the owner there
            if item.when_empty == "keep":
                decision = _kept(decision, a, b, is_conflict=is_conflict)
            value = a.value if decision is Decision.TO_VENDOR else b.value
            if decision in (Decision.NOTHING, Decision.AGREE):
                now = Agreed(a.mark, b.mark)
                if agreed.get(name) != now:
                    settled[name] = now
                continue
            writes[decision is Decision.TO_VENDOR][name] = value
            if is_conflict:
                won, lost = ("Salesforce", b.raw) if decision is Decision.TO_VENDOR else ("the vendor", a.raw)
                conflicts.append(f"{name}: changed on both sides; {won}'s {as_text(value)!r} stays, and {lost!r} goes")
        ours = self._without_held(pair, ours, writes, at_vendor=True)
        theirs = self._without_held(pair, theirs, writes, at_vendor=False)
        if writes[True] and writes[False]:  # both are written: what was read of either tells nothing of it afterwards
            ours, theirs = (side._replace(marks=_forgetting(side.marks)) for side in (ours, theirs))
        change = PairChange(end.flow, pair.salesforce_id, pair.vendor_id, merge.pack(settled, end.keys))
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

    def _without_held(self, pair: Pair, side: Side, writes: dict[bool, dict[str, Any]], *, at_vendor: bool) -> Side:
        """Takes out what the record would write and a person holds out; gives the record, without its row then."""
        held = self.held.get((side.id, side.fingerprint))
        if not held or not writes[at_vendor]:
            return side
        writes[at_vendor] = {}
        self._settle(side, Outcome.SKIPPED, pair, code=HELD_OUT, message=held)
        return side._replace(marks=None)

    def _salesforce_wins(self, ours: Side, theirs: Side) -> bool:
        policy = self.end.rules.conflict
        if policy != "newest":
            return policy == "salesforce_wins"
        return moment(ours.stamp) >= moment(theirs.stamp)

    def _plan_writes(
        self, pair: Pair, ours: Side, theirs: Side, writes: Mapping[bool, Mapping[str, Any]], conflicts: Sequence[str]
    ) -> None:
        for at_vendor, values in writes.items():
            if not values:
                continue
            target, source = (theirs, ours) if at_vendor else (ours, theirs)
            write = Write(
                (pair.salesforce_id, pair.vendor_id), values,
                {name: target.seen[name].raw or "" for name in values},
                {name: known_by(target.seen[name]) for name in values},
                source, conflicts, "" if at_vendor else target.parent,
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
        if follows and side.marks is None:
            return  # only a look has seen it: it is followed when it is read
        if follows:
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
        return self.looks[member_name(self.end.flow, theirs=theirs)]

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
        result = result_of(side.marks, outcome, pair.salesforce_id, pair.vendor_id, code=code, message=message)
        if outcome is not Outcome.UNCHANGED:
            result = result._replace(fingerprint=None)
        self._look_of(theirs=theirs).settled.results.append(result._replace(pair=change))

    # -- chunks ------------------------------------------------------------------------------------------------------

    def _write_updates(self) -> None:
        for at_vendor, writes in ((False, self.to_ours), (True, self.to_theirs)):
            for table, facts in chunks_of_writes(self.end, writes, at_vendor=at_vendor):
                self._add_chunk(table, **facts)

    def _add_chunk(self, table: pa.Table, operation: str, **facts: str) -> None:
        member = member_name(self.end.flow, theirs=operation not in AT_VENDOR)
        self.writer.add(member, [table], **facts_of_chunk(self.end, operation, **facts))

    def _write_creates(self) -> None:
        switched_on = self._switched_on()
        for theirs in (True, False):
            for table in self._spooled(theirs=theirs):
                made = self._to_create(table, switched_on[theirs], theirs=theirs)
                if made is not None:
                    self.created += made.num_rows
                    operation = CREATE if theirs else MAKE
                    if not theirs and made.num_rows <= sides.FEW:
                        for row in range(made.num_rows):  # a call that must not be repeated is a chunk of its own
                            self._add_chunk(made.slice(row, 1), operation, since=self.end.target.now().isoformat())
                    else:
                        self._add_chunk(made, operation, since=self.end.target.now().isoformat() if not theirs else "")

    def _switched_on(self) -> dict[bool, str]:
        """When the first reading of each side began, by that side's clock."""
        context = self.end.context
        with reading(context.state) as connection:
            return {
                theirs: watermarks.get(connection, context.org, f"{member_name(self.end.flow, theirs=theirs)}{FIRST}")
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
        parents = self._parents(table) if self.end.mapping.salesforce.with_parent and not theirs else None
        settled = self._look_of(theirs=theirs).settled.results
        chosen = np.zeros(table.num_rows, dtype=bool)
        for row in sorted(range(len(ids)), key=lambda row: created[row] or "") if parents else range(len(ids)):
            record_id = ids[row]
            if self._is_spoken_for(record_id):  # that one is merged when its pair is there
                continue
            missing = [name for name in required if is_nothing(needed[name][row])]
            outcome, code, message = Outcome.SKIPPED, "", ""
            if gone[row]:
                code = GONE_AT_VENDOR if theirs else GONE_IN_SALESFORCE
            elif contact[row] is not None:
                code = CONVERTED_THERE
            elif record_id in self.several:
                outcome, code, message = Outcome.REJECTED, SEVERAL, self.several[record_id]
            elif why := self._why_not(created[row], switched_on, selected=selected[row]):
                code = why
            elif parents and not parents[row]:
                code, message = NO_PARENT, "it has no parent to be kept equal with it"
            elif parents and (other := self.claimed.setdefault(parents[row], record_id)) != record_id:
                code, message = PARENT_TAKEN, f"{other} of the same parent has the counterpart"
            elif missing:
                outcome, code = Outcome.REJECTED, MISSING
                message = f"{missing[0]} is missing, and the org requires it; make it required at the vendor, too"
            else:
                chosen[row] = True
                continue
            salesforce_id, vendor_id = (None, record_id) if theirs else (record_id, None)
            result = result_of(marks[row], outcome, salesforce_id, vendor_id, code=code, message=message or None)
            settled.append(result._replace(fingerprint=None))
        return self._created(table.filter(pa.array(chosen)), theirs=theirs) if chosen.any() else None

    def _parents(self, table: pa.Table) -> list[str]:
        """The parent of each row. Of the records of one parent only one has a counterpart: which one that is, is in
        `claimed` then, as far as there is one."""
        parent = self.end.mapping.salesforce.with_parent
        assert parent is not None
        parents = [text or "" for text in table.column("_parent").to_pylist()]
        wanted = sorted({text for text in parents if text} - self.claimed.keys())
        if self.peek or not wanted:
            return parents
        side, of = self.end.mapping.salesforce, dict[str, tuple[str, str]]()
        columns = ("Id", parent.reference, side.external_id)
        for found in self.end.context.salesforce.matching(
            side.object, parent.reference, wanted, columns, include_deleted=True
        ):
            for record_id, above, key in zip(*(found.column(name).to_pylist() for name in columns), strict=True):
                of[record_id] = above, key or ""
        with reading(self.end.context.state) as connection:
            known = {*pairs.of_salesforce(connection, self.end.context.org, self.end.flow, list(of)), *self.pairs}
        known |= self.landing | self._resting()
        self.claimed |= {above: name for name, (above, key) in of.items() if name in known or key in known}
        return parents

    def _why_not(self, created: str | None, switched_on: str, *, selected: bool) -> str:
        """Why a record that only one side has is not created on the other; empty when it is."""
        is_older = bool(switched_on) and bool(created) and moment(str(created)) < moment(switched_on)
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
                name: pa.array([None if is_nothing(value) else as_text(value) for value in values.column(name).to_pylist()], pa.string())
                for name in values.column_names
            })  # fmt: skip
        own = {name: values.column(column).to_pylist() for name, column in columns.items()}
        packed = []
        for row in range(table.num_rows):
            agreed = {}
            for name in end.mapping.fields:
                value = own[name][row] if name in own else None
                if value is None and end.mapping.fields[name].user:
                    continue  # the other side's own choice of an owner is no edit
                mine, sent = merge.mark_of(value), merge.mark_of_sent(value)
                agreed[name] = Agreed(sent, mine, "s") if theirs else Agreed(mine, sent, "v")
            packed.append(merge.pack(agreed, end.keys))
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
            if doomed:
                at_vendor = operation == REMOVE
                path = self.end.mapping.vendor.id if at_vendor else "Id"
                self._add_chunk(deletions(doomed, path=path, at_vendor=at_vendor), operation)

    def _count_emptied(self) -> None:
        """What the brakes ask for: how many records lose a value."""
        for at_vendor, writes in ((False, self.to_ours), (True, self.to_theirs)):
            look = self._look_of(theirs=not at_vendor)
            fields = self.end.ours.fields if at_vendor else self.end.theirs.fields
            for write in writes:
                for name, value in write.values.items():
                    if is_nothing(value) and write.before[name]:
                        look.emptied[str(fields[name].vendor) if at_vendor else name] += 1


def chunks_of_writes(
    end: TwoWay, writes: Sequence[Write], *, at_vendor: bool
) -> Iterator[tuple[pa.Table, dict[str, str]]]:
    """The chunks that carry the writes, each with its operation and what it keeps and clears."""
    groups: dict[tuple[str, ...], list[Write]] = {}
    for write in writes:
        emptied = tuple(sorted(name for name, value in write.values.items() if is_nothing(value)))
        groups.setdefault(() if at_vendor else emptied, []).append(write)
    for emptied, found in sorted(groups.items()):
        rows = PATCH_ROWS if at_vendor else UPDATE_ROWS
        for start in range(0, len(found), rows):
            yield _chunk(end, found[start : start + rows], emptied, at_vendor=at_vendor)


def _chunk(
    end: TwoWay, writes: Sequence[Write], emptied: Sequence[str], *, at_vendor: bool
) -> tuple[pa.Table, dict[str, str]]:
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
    table = pa.table(values)
    if not at_vendor:
        table = table.add_column(0, "Id", pa.array([write.pair[0] for write in writes], pa.string()))
    for name, column in columns.items():
        before = [write.before.get(name) for write in writes]
        table = table.append_column(f"{BEFORE}{column}", pa.array(before, pa.string()))
    sources, found_pairs = [write.source for write in writes], [write.pair for write in writes]
    table = with_marks(table, sources, found_pairs, at_vendor=at_vendor)
    more = {
        "_written": [json.dumps({name: columns[name] for name in write.values}) for write in writes],
        "_expected": [json.dumps(dict(write.expected)) for write in writes],
        "_code": [CONFLICT if write.conflicts else None for write in writes],
        "_message": [changes_of(write, at_vendor=at_vendor) for write in writes],
    }
    if not at_vendor:
        more["_parent"] = [write.parent for write in writes]
    agreed = [merge.pack(agreed_by(write, at_vendor=at_vendor), end.keys) for write in writes]
    table = table.append_column("_agreed", pa.array(agreed, pa.binary()))
    for name, texts in more.items():
        table = table.append_column(name, pa.array(texts, pa.string()))
    keeps = [column for name, column in columns.items() if at_vendor or name not in emptied]
    operation = PATCH if at_vendor else UPDATE
    return table, {"operation": operation, "keeps": ",".join(keeps), "clears": ",".join(emptied)}


def facts_of_chunk(end: TwoWay, operation: str, **facts: str) -> dict[str, str]:
    """What a chunk says of itself, for whoever sends it."""
    known = {"object": end.mapping.salesforce.object, "operation": operation, "key": "Id", **facts}
    if operation == CREATE:
        known["key"] = end.mapping.salesforce.external_id
    if operation in (DELETE, REMOVE):
        known["deletes"] = "yes"
    return known


def deletions(found: Sequence[tuple[Pair, Side]], *, path: str, at_vendor: bool) -> pa.Table:
    """The chunk that deletes the records of these pairs on one side; `path` is what the id is called there, and each
    `Side` the record that asks for it, which says why."""
    ids = [(pair.salesforce_id, pair.vendor_id) for pair, _ in found]
    table = pa.table({path: pa.array([pair[1 if at_vendor else 0] for pair in ids], pa.string())})
    table = with_marks(table, [side for _, side in found], ids, at_vendor=at_vendor)
    codes = pa.array([side.gone for _, side in found], pa.string())
    table = table.append_column("_code", codes).append_column("_message", pa.nulls(len(found), pa.string()))
    return table.append_column("_agreed", pa.array([b""] * len(found), pa.binary()))


def _kept(decision: Decision, ours: Seen, theirs: Seen, *, is_conflict: bool) -> Decision:
    """Where no value leaves the other side alone: nothing is emptied, and of two changes the one with a value goes."""
    winner, loser = (ours, theirs) if decision is Decision.TO_VENDOR else (theirs, ours)
    if decision in (Decision.NOTHING, Decision.AGREE) or not winner.is_empty:
        return decision
    if not is_conflict or loser.is_empty:
        return Decision.AGREE
    return Decision.TO_SALESFORCE if decision is Decision.TO_VENDOR else Decision.TO_VENDOR


def agreed_by(write: Write, *, at_vendor: bool) -> dict[str, Agreed]:
    """What both sides agree on once the values are written."""
    source = write.source.seen
    return {
        name: Agreed(source[name].mark, merge.mark_of_sent(value), "v")
        if at_vendor
        else Agreed(merge.mark_of_sent(value), source[name].mark, "s")
        for name, value in write.values.items()
    }


def changes_of(write: Write, *, at_vendor: bool) -> str:
    """What changes from what to what, and what that passes over."""
    side = "at the vendor" if at_vendor else "in Salesforce"
    changes = [
        f"{name} {side}: {write.before[name]!r} -> {as_text(value) or ''!r}" for name, value in write.values.items()
    ]
    return "; ".join([*write.conflicts, *changes])[:LONGEST_TOLD]


def _forgetting(marks: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if marks is None else {**marks, FORGET: True}


def with_marks(
    table: pa.Table, sources: Sequence[Side], found: Sequence[tuple[str, str]], *, at_vendor: bool
) -> pa.Table:
    """The rows with the marks of those that ask for them; a record that is in no inbox has no batch."""
    blank: dict[str, Any] = {"_batch": 0, "_row": 0, "_version": "", "_reading": 0}
    rows = [side.marks if side.marks is not None else blank | {"_id": side.id} for side in sources]
    table = table.append_column(FORGET, pa.array([bool(row.get(FORGET)) for row in rows], pa.bool_()))
    for name, kind in MARKS.items():
        values = [row.get(name) for row in rows]
        if name == "_target":
            values = [pair[1 if at_vendor else 0] for pair in found]
        table = table.append_column(name, pa.array(values, kind))
    ours, theirs = ([pair[place] for pair in found] for place in (0, 1))
    return table.append_column("_pair_ours", pa.array(ours, pa.string())).append_column(
        "_pair_theirs", pa.array(theirs, pa.string())
    )


def result_of(
    marks: Mapping[str, Any], outcome: Outcome, salesforce_id: str | None, vendor_id: str | None, *,
    code: str | None = None, message: str | None = None,
) -> RecordResult:  # fmt: skip
    """The outcome of a row, with what its link remembers."""
    if marks.get(FORGET):
        marks = {**marks, "_fingerprint": NOTHING, "_staged": None}
    return RecordResult(
        marks["_id"], outcome, salesforce_id, code, message, fingerprint=marks.get("_fingerprint") or NOTHING,
        staged_fingerprint=marks.get("_staged"), vendor_id=vendor_id, version=marks.get("_version"),
        reading=marks.get("_reading") or 0, batch=marks.get("_batch") or 0, row=marks.get("_row") or 0,
        origin=marks.get("_origin"),
    )  # fmt: skip
