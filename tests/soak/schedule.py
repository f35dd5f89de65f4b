"""One schedule: a list of events, run against the engine, and what must hold when all is at rest.

An event is plain data, so that a schedule that fails can be cut down and printed, and runs again as it was.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select, update

from salesforce_sync.engine.context import Brakes
from salesforce_sync.engine.control import decide
from salesforce_sync.engine.gate import chunks_of
from salesforce_sync.engine.undo import InSalesforce, Selection, undo
from salesforce_sync.records import BatchRef
from salesforce_sync.staging import Staging
from salesforce_sync.state import dead_letters, held_out, inbox, links, plans, waits
from salesforce_sync.state.engine import reading
from salesforce_sync.state.schema import dead_letters as letters_table
from salesforce_sync.state.schema import inbox as inbox_table
from soak.faulty import KINDS, REST, Faulty
from soak.sides import ORG_ID, Clock, FakeOrg, FakeVendor, key_of
from support.flows import ACTIVITIES, Intent, Poll, Timing, load_mapping
from support.world import activity

Event = tuple[Any, ...]
KEYS, PEOPLE, ADDRESSES = 3, 4, 6
POLLED = ("deployteq/contacts", "deployteq/leads")


def make(seed: int) -> list[Event]:
    """A schedule of one of the two flows, of some thirty events."""
    chance = random.Random(seed)
    event = _intent_event if seed % 2 else _poll_event
    events = [event(chance, number) for number in range(chance.randrange(15, 45))]
    return [("customers are deleted",), *events] if event is _poll_event and chance.random() < 0.5 else events


def _intent_event(chance: random.Random, number: int) -> Event:
    kind = chance.choices(
        ("activity", "refuse", "intent", "person there", "approval", "decide", "undo"), (8, 2, 10, 5, 1, 3, 4)
    )[0]
    if kind in ("approval", "decide"):
        return (kind, chance.random() < 0.6)
    if kind == "person there":
        return (kind, chance.randrange(KEYS), f"p{number}")
    if kind == "undo":
        return (kind, chance.random() < 0.5)
    if kind == "activity":
        return ("activity", chance.randrange(KEYS), f"v{number}")
    if kind == "refuse":
        return (kind, chance.choice(("lock", "rule")), chance.randrange(KEYS))
    return _run_event(chance, kind)


def _poll_event(chance: random.Random, _: int) -> Event:
    kinds = ("person", "vendor says no", "refuse", "behind", "poll", "approval", "decide")
    kind = chance.choices(kinds, (20, 6, 2, 4, 16, 1, 3))[0]
    if kind in ("approval", "decide"):
        return (kind, chance.random() < 0.7)
    if kind == "person":
        return ("person", chance.randrange(PEOPLE), _edit(chance))
    if kind == "vendor says no":
        return (kind, chance.randrange(ADDRESSES))
    if kind == "refuse":
        return (kind, "vendor", chance.randrange(ADDRESSES))
    if kind == "behind":
        return (kind, chance.randrange(1, 4))
    return _run_event(chance, kind)


def _run_event(chance: random.Random, kind: str) -> Event:
    faults = sorted((chance.randrange(1, 9), chance.choice(KINDS)) for _ in range(chance.choice((0, 0, 1, 1, 2))))
    which = ("read", "deliver", "both", "both", "both", "whole" if kind == "poll" else "again")
    return (kind, chance.choice(which), tuple(faults))


def _edit(chance: random.Random) -> dict[str, Any]:
    what = chance.choices(("address", "consent", "name", "delete", "no address"), (4, 6, 3, 3, 1))[0]
    if what == "address":
        return {"Email": f"a{chance.randrange(ADDRESSES)}@acme.example"}
    if what == "consent":
        return {"Deployteq_Opt_In__c": chance.random() < 0.6}
    if what == "name":
        return {"FirstName": f"n{chance.randrange(1_000)}"}
    return {"IsDeleted": True} if what == "delete" else {"Email": None}


def _person(number: int) -> str:
    """The id of a Contact, or, of every fourth person, of a Lead."""
    return f"{'00Q' if number % 4 == 3 else '003'}{number:015d}"


@dataclass
class Verdict:
    """What was wrong when all was at rest: a sentence each."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    unbalanced: list[str] = field(default_factory=list)
    faults: int = 0
    records: int = 0

    @property
    def bad(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.stale, *self.unbalanced]


@dataclass
class Schedule(Faulty):
    """The state, both sides, and the tasks at work, the innermost last: a task that pauses has another one within it."""

    flow: str = "intent"
    runs: int = 0
    source: dict[int, str] = field(default_factory=dict)  # activity -> its newest version
    addresses: dict[str, set[str]] = field(default_factory=dict)  # address -> who ever had it
    said_yes: dict[str, int] = field(default_factory=dict)  # contact -> the event at which its own field turned to yes
    said_no: dict[str, int] = field(default_factory=dict)  # customer -> the event at which it said no at the vendor
    now: int = 0
    delete: bool = False  # whether the customer of a deleted record is deleted
    approving: bool = False
    delivered_by: str = "run-0"
    sent: set[tuple[str, str]] = field(default_factory=set)  # record and city, of everything that was ever sent
    approved: set[tuple[str, str]] = field(default_factory=set)
    taken_back: dict[str, str] = field(default_factory=dict)  # record -> the city that a person rejected or undid
    wrong: list[str] = field(default_factory=list)  # what was seen on the way

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.org, self.vendor = FakeOrg(self.clock, self.around), FakeVendor(self.around)
        self.org.on_send = self._sent
        self.listen()

    def client(self, descriptions: Any = None) -> FakeOrg:
        return self.org

    # -- moments -----------------------------------------------------------------------------------------------------

    def run_another(self) -> None:
        """The task pauses, and another run of each flow begins and ends."""
        if len(self.tasks) < 2:
            self.run(self.flow, "both", ())

    # -- events ------------------------------------------------------------------------------------------------------

    def happen(self, events: list[Event]) -> None:
        for self.now, (kind, *rest) in enumerate(events):
            if kind in ("intent", "poll"):
                self.run(kind, *rest)
            elif kind == "activity":
                self.source[rest[0]] = rest[1]
            elif kind == "person there":
                self.org.edit_there(f"act-{rest[0]}", rest[1])
            elif kind == "approval":
                self.approving = rest[0]
            elif kind == "decide":
                self._decide(allow=rest[0])
            elif kind == "undo":
                self._undo(delete_created=rest[0])
            elif kind == "customers are deleted":
                self.delete = True
            elif kind == "behind":
                self.org.behind = min(rest[0], len(self.org.past))
                self.run("poll", "whole", ())
            elif kind == "person":
                self._edit(_person(rest[0]), rest[1])
            elif kind == "vendor says no":
                self._say_no(f"a{rest[0]}@acme.example")
            else:
                which = {"lock": self.org.locked, "rule": self.org.refused, "vendor": self.vendor.refused}[rest[0]]
                which.add(f"a{rest[1]}@acme.example" if rest[0] == "vendor" else f"act-{rest[1]}")

    # -- what people decide ------------------------------------------------------------------------------------------

    def _decide(self, *, allow: bool) -> None:
        with reading(self.state) as connection:
            held = plans.with_status(connection, plans.HELD)
        for plan in held:
            control = self._intent({}).context("control")
            rows = [row for chunk in chunks_of(control, plan) for row in chunk.to_pylist() if "City__c" in row]
            decide(control, plan.id, allow=allow, person="ann")
            found = {(str(row["_id"]), row["City__c"]) for row in rows}
            if allow:
                self.approved |= found
            for key, city in () if allow else found:
                there = self.org.upserted.get(key)
                if there is None or there["City__c"] != city:
                    self.taken_back[key] = city

    def _undo(self, *, delete_created: bool) -> None:
        """Of the last run that delivered; a person who is in the middle of a dead task's rest waits for it."""
        selection = Selection(run_id=self.delivered_by, delete_created=delete_created)
        self.runs += 1
        before = {key: row["City__c"] for key, row in self.org.upserted.items()}

        def call(extra: dict[str, Any]) -> Any:
            context = self._intent(extra).context("undo")
            mapping = load_mapping(ACTIVITIES)
            return undo(
                context, ACTIVITIES, mapping, InSalesforce(context, ACTIVITIES, mapping), selection, person="ann"
            )

        self.task(call, {})
        for key, city in before.items():
            there = self.org.upserted.get(key)
            if there is None or there["City__c"] != city:
                self.taken_back[key] = city

    def _sent(self, request: Any, rows: list[dict[str, Any]]) -> None:
        if request.key == "Id":
            keys = [key_of(row["Id"]) for row in rows]
            self.wrong += [f"an undo writes over a person's {key}" for key in keys if key in self.org.edited]
            return
        for row in rows:
            found = (str(row[request.key]), row["City__c"])
            if self.approving and found not in self.approved | self.sent:
                self.wrong.append(f"{found} was written, and nobody approved it")
            self.sent.add(found)
            if self.taken_back.get(found[0]) not in (None, found[1]):
                del self.taken_back[found[0]]  # something else is written

    def _edit(self, contact: str, changes: dict[str, Any]) -> None:
        before = self.org.contacts.get(contact, {})
        if before.get("IsDeleted"):
            return
        if not before:  # everybody begins with an address
            changes = {"Email": f"a{int(contact[3:])}@acme.example"} | changes
        had = bool(before.get("Deployteq_Opt_In__c"))
        self.org.edit(contact, **({"Deployteq_Opt_In__c": had} | changes))
        if changes.get("Email"):
            self.addresses.setdefault(changes["Email"], set()).add(contact)
        if not had and changes.get("Deployteq_Opt_In__c"):
            self.said_yes[contact] = self.now

    def _say_no(self, address: str) -> None:
        for vendor_id, customer in self.vendor.customers.items():
            if customer["emailAddress"].lower() == address and customer.get("optIn") == "Y":
                customer["optIn"] = "N"
                self.said_no[vendor_id] = self.now

    def run(self, flow: str, which: str, faults: tuple[tuple[int, str], ...]) -> None:
        """A run of the flow, whose tasks are tried again until they end, or are killed."""
        self.runs += 1
        if which != "read" and len(self.tasks) < 1:
            self.delivered_by = f"run-{self.runs}"
        tasks = [name for name in ("read", "deliver") if which in (name, "both", "whole", "again")]
        left = dict(faults)
        for name in tasks:
            self.task(self._call(flow, name, whole=which == "whole", again=which == "again"), left)

    def _call(
        self, flow: str, name: str, *, whole: bool = False, again: bool = False
    ) -> Callable[[dict[str, Any]], Any]:
        def call(extra: dict[str, Any]) -> Any:
            if flow == "intent":
                intent = self._intent(extra)
                if name == "deliver":
                    return intent.load()
                return intent.extract(self._activities(), scheduled=True, resend=again)
            poll = self._poll(extra)
            return poll.push() if name == "deliver" else poll.extract(full=whole)

        return call

    def _intent(self, extra: dict[str, Any]) -> Intent:
        return Intent(
            self, "", self.folder, f"run-{self.runs}", date(2026, 11, 21), timing=Timing(REST if self.rests else 0.0),
            extra=extra, state=self.state, brakes=Brakes(approve=self.approving),
        )  # type: ignore[arg-type]  # fmt: skip

    def _poll(self, extra: dict[str, Any]) -> Poll:
        timing = Timing(REST if self.rests else 0.0)
        mappings = {name: load_mapping(name) for name in POLLED}
        return Poll(
            self,
            self.state,
            self.folder / "staging",
            self.vendor,
            mappings,
            runs=self.runs,
            delete=self.delete,
            timing=timing,
            brakes=Brakes(approve=self.approving),
            extra=extra,
        )  # type: ignore[arg-type]

    def _activities(self) -> Any:
        schedule = self

        class Source:
            def read(self, stream: str, *, window: Any) -> Any:
                found = schedule.around(lambda: dict(schedule.source))
                yield [activity(key, city=value) for key, value in found.items()]

        return Source()

    # -- at rest -----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Nothing fails any more. What is in the inbox is delivered; only people's edits are still to be read.

        A vendor's day is not read again: what was registered of it has to arrive, or it is lost.
        """
        self.approving = False
        for _ in range(3):
            with self.state.begin() as connection:
                soon = datetime.now(UTC) - timedelta(minutes=1)
                connection.execute(update(letters_table).where(letters_table.c.due_at.is_not(None)).values(due_at=soon))
                due = connection.execute(select(letters_table.c.id).where(letters_table.c.due_at.is_not(None))).first()
            which = "deliver" if self.flow == "intent" and due is None else "both"
            self.run(self.flow, which, ())
            self.land()
            self.clock.now += timedelta(seconds=10)

    def verdict(self) -> Verdict:
        found = Verdict(faults=self.faults, records=len(self.source) + len(self.org.contacts), stale=list(self.wrong))
        with reading(self.state) as connection:
            letters = {letter["record_id"] for letter in dead_letters.unresolved(connection)}
            waiting = {wait.record_id for wait in waits.of_mappings(connection, ORG_ID, POLLED)}
            found.unbalanced = [f"batch {number}" for number in inbox.unbalanced(connection, ORG_ID)]
            left = inbox.waiting(connection, ORG_ID, [ACTIVITIES, *POLLED])
            found.lost += [f"batch {batch.id} of {batch.mapping} waits for ever" for batch in left]
            known: dict[str, links.Link] = {}
            for name in POLLED:
                known |= links.find(connection, ORG_ID, name, [*self.org.contacts])
            registered = self._registered(connection)
            held = plans.with_status(connection, plans.HELD)
            names = [*registered, *self.org.contacts]
            out = {key for name in (ACTIVITIES, *POLLED) for key in held_out.find(connection, ORG_ID, name, names)}
        found.lost += [f"plan {plan.id} of {plan.target} waits for ever" for plan in held]
        for key, value in registered.items():
            row = self.org.upserted.get(key)
            if row is not None and row["City__c"] == self.taken_back.get(key):
                found.stale.append(f"{key} is {row['City__c']} again, which a person took back")
            if key in out or (row is not None and row["City__c"] == self.org.edited.get(key)):
                continue
            if row is None and key not in letters:
                found.lost.append(f"{key} is nowhere")
            elif row is not None and row["City__c"] != value and key not in letters:
                found.stale.append(f"{key} is {row['City__c']}, not {value}")
        self._judge_contacts(found, letters | waiting | out, known)
        return found

    def _registered(self, connection: Any) -> dict[str, str]:
        """The newest version of each activity that was ever registered."""
        table = inbox_table
        query = select(table.c.path).where(table.c.mapping == ACTIVITIES).order_by(table.c.reading, table.c.id)
        found: dict[str, str] = {}
        for path in connection.execute(query).scalars():
            rows = Staging(self.folder / "staging").read(BatchRef(path, 0))
            for record_id, record in zip(rows.ids, rows.columns.records(), strict=True):
                found[str(record_id)] = record["city"]
        return found

    def _judge_contacts(self, found: Verdict, excused: set[str], known: dict[str, links.Link]) -> None:
        by_contact: dict[str, list[dict[str, Any]]] = {}
        addresses: dict[str, int] = {}
        for customer in self.vendor.customers.values():
            by_contact.setdefault(customer["externalId"], []).append(customer)
            addresses[customer["emailAddress"].lower()] = addresses.get(customer["emailAddress"].lower(), 0) + 1
        found.doubled += [f"{address} is {count} customers" for address, count in addresses.items() if count > 1]
        for contact, same in by_contact.items():
            shared = any(len(people) > 1 for people in self.addresses.values() if contact in people)
            if len(same) > 1 and not shared:
                found.doubled.append(f"{contact} is {len(same)} customers")
        for contact, record in self.org.contacts.items():
            if contact in excused:
                continue
            address = record.get("Email")
            if record["IsDeleted"] or not address:
                found.stale += self._leftover_consent(contact, known.get(contact))
                continue
            link = known.get(contact)
            customer = self.vendor.customers.get(str(link.vendor_id)) if link else None
            if customer is None or customer["emailAddress"].lower() != address:
                found.lost.append(f"{contact} has no customer with {address}")
                continue
            if customer["externalId"] == contact and customer.get("firstname", "") != record.get("FirstName", ""):
                found.stale.append(f"{contact} is {customer.get('firstname')}, not {record.get('FirstName')}")
            self._judge_consent(found, contact, record, str(link and link.vendor_id))

    def _leftover_consent(self, contact: str, link: links.Link | None) -> list[str]:
        """A record that left has withdrawn its consent, unless another one with consent is the same customer."""
        customer = self.vendor.customers.get(str(link.vendor_id)) if link else None
        if customer is None or customer.get("optIn") != "Y" or self._sharers(customer, besides=contact):
            return []
        return [f"{contact} left, and its customer still has its consent"]

    def _sharers(self, customer: dict[str, Any], *, besides: str) -> list[str]:
        return [
            contact
            for contact, record in self.org.contacts.items()
            if contact != besides and str(record.get("Email")).lower() == customer["emailAddress"].lower()
        ]

    def _judge_consent(self, found: Verdict, contact: str, record: dict[str, Any], vendor_id: str) -> None:
        """No yes without evidence: the record's own field is yes, and it turned so after the last no at the vendor."""
        customer = self.vendor.customers[vendor_id]
        if customer.get("optIn") != "Y" or self._sharers(customer, besides=contact):
            return
        if not record.get("Deployteq_Opt_In__c"):
            found.stale.append(f"{contact} says no, and its customer yes")
        elif self.said_no.get(vendor_id, -1) > self.said_yes.get(contact, -1):
            found.stale.append(f"{contact}: a yes came back after a no at the vendor")


def run(events: list[Event], state: Engine, folder: Path, *, rests: bool = True) -> Verdict:
    """Runs the schedule to its end, and judges it. Files of it are removed."""
    schedule = Schedule(
        state, folder, rests, flow=next((kind for kind, *_ in events if kind in ("intent", "poll")), "intent")
    )
    try:
        schedule.happen(events)
        schedule.settle()
        return schedule.verdict()
    except Exception as error:  # noqa: BLE001 -- the engine's own errors end a try only; any other is a finding
        return Verdict(unbalanced=[f"a task ended with {error!r}"], faults=schedule.faults)
    finally:
        with suppress(OSError):
            shutil.rmtree(folder / "staging")
