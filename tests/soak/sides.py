"""The two sides in memory: an org and a vendor as far as the engine asks, with a moment before and after each effect.

What is called here is what the hooks and the client promise; how they keep it over HTTP is tried elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pyarrow as pa

from salesforce_sync.records import MISSING_AT_VENDOR, Outcome, VendorResult, WriteResult
from salesforce_sync.salesforce.changes import Changes
from salesforce_sync.salesforce.collections import Answered
from salesforce_sync.salesforce.metadata import FieldInfo, ObjectInfo
from salesforce_sync.salesforce.rows import Operation, WriteRequest

ORG_ID = "00D5g0000000001EAA"
START = datetime(2026, 11, 21, 12, tzinfo=UTC)
# A call at one of the sides: what it does when it arrives. `around` decides whether it arrives, and who hears of it.
Around = Callable[[Callable[[], Any]], Any]


@dataclass
class Clock:
    """The org's own time, which each change moves on."""

    now: datetime = START

    def tick(self) -> datetime:
        self.now += timedelta(seconds=5)  # more than a reading looks back
        return self.now


@dataclass
class FakeOrg:
    """Contacts that people edit, and objects that are upserted by key."""

    clock: Clock
    around: Around
    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    upserted: dict[str, dict[str, Any]] = field(default_factory=dict)  # key -> values
    locked: set[str] = field(default_factory=set)  # keys that are refused for a passing reason, once
    refused: set[str] = field(default_factory=set)  # keys that are refused by a rule, once
    past: list[tuple[datetime, dict[str, dict[str, Any]]]] = field(
        default_factory=list
    )  # before a record left: when, contacts
    edited: dict[str, str] = field(default_factory=dict)  # key -> what people made of its city since it was delivered
    on_send: Callable[[WriteRequest, list[dict[str, Any]]], None] = lambda *_: None
    behind: int = 0  # before how many of these the job of the next whole reading ran
    session: Any = None
    calls: int = 0
    org_id = ORG_ID

    # -- what people do ----------------------------------------------------------------------------------------------

    def edit(self, contact: str, **changes: Any) -> None:
        if contact in self.contacts and (changes.get("IsDeleted") or "Email" in changes):
            self.past.append((self.clock.now, {key: dict(record) for key, record in self.contacts.items()}))
        record = self.contacts.setdefault(contact, {"Id": contact, "LastName": contact, "IsDeleted": False})
        record |= changes | {"SystemModstamp": self.clock.tick()}

    # -- what the client is asked ------------------------------------------------------------------------------------

    def describe(self, names: Iterable[str]) -> dict[str, ObjectInfo | None]:
        return {name: ObjectInfo(name, name, True, True, _Fields(name)) for name in names}

    def refresh(self) -> bool:
        return False

    def changes(
        self,
        object_name: str,
        fields: Sequence[str],
        *,
        since: datetime | None,
        where: str,
        include_deleted: bool,
        lookback: timedelta,
    ) -> Changes:
        now, contacts = self.clock.now, self.contacts
        if since is None and self.behind:
            now, contacts = self.past[-min(self.behind, len(self.past))]
            self.behind = 0

        def arrive() -> list[dict[str, Any]]:
            begin = datetime.min.replace(tzinfo=UTC) if since is None else since - timedelta(seconds=2)
            prefix = {"Contact": "003", "Lead": "00Q"}[object_name]
            return [
                dict(record)
                for record in contacts.values()
                if record["SystemModstamp"] >= begin and record["Id"].startswith(prefix)
            ]

        found: list[dict[str, Any]] = self.around(arrive)
        return Changes(iter([_table(found, fields)] if found else []), now, now)

    def read(self, soql: str, **_: Any) -> Iterator[pa.Table]:
        fields = soql.removeprefix("SELECT ").partition(" FROM ")[0].split(", ")
        listed = soql.partition(" IN (")[2]
        found = self.around(lambda: [dict(r) for r in self.contacts.values() if f"'{r['Id']}'" in listed])
        if found:
            yield _table(found, fields)

    def by_ids(self, object_name: str, ids: Sequence[str], paths: Sequence[str]) -> Iterator[pa.Table]:
        names = list(dict.fromkeys(["Id", *paths]))
        found = self.around(lambda: [self._row(key) for key in map(key_of, ids) if key in self.upserted])
        yield _texts(found, names)

    def matching(self, object_name: str, key: str, values: Sequence[str], paths: Sequence[str]) -> Iterator[pa.Table]:
        found = self.around(lambda: [self._row(value) for value in values if value in self.upserted])
        yield _texts(found, list(dict.fromkeys([*paths, key])))

    def _row(self, key: str) -> dict[str, Any]:
        people = {"CreatedById": "sync", "LastModifiedById": "ann" if key in self.edited else "sync"}
        return {"Id": _id_of(key)} | people | self.upserted[key]

    def answer(self, request: WriteRequest, chunk: pa.Table, memory: Any = None) -> Answered:
        rows = chunk.to_pylist()
        self.on_send(request, rows)

        def arrive() -> list[WriteResult]:
            return [self._upsert(request, row) for row in rows]

        return Answered(self.around(arrive))

    def _upsert(self, request: WriteRequest, row: dict[str, Any]) -> WriteResult:
        if request.key == "Id":
            return self._change(request, row)
        key = row[request.key]
        for which, code in ((self.locked, "UNABLE_TO_LOCK_ROW"), (self.refused, "FIELD_CUSTOM_VALIDATION_EXCEPTION")):
            if key in which:
                which.discard(key)
                return WriteResult(Outcome.REJECTED, None, code, "no")
        outcome = Outcome.UPDATED if key in self.upserted else Outcome.CREATED
        self.upserted[key] = row
        self.edited.pop(key, None)
        return WriteResult(outcome, _id_of(key))

    def _change(self, request: WriteRequest, row: dict[str, Any]) -> WriteResult:
        key = key_of(row["Id"])
        if key not in self.upserted:
            return WriteResult(Outcome.REJECTED, None, "ENTITY_IS_DELETED", "no")
        if request.operation is Operation.DELETE:
            del self.upserted[key]
            return WriteResult(Outcome.DELETED, row["Id"])
        self.upserted[key] |= {name: value for name, value in row.items() if name != "Id"}
        return WriteResult(Outcome.UPDATED, row["Id"])

    def edit_there(self, key: str, city: str) -> None:
        """Somebody changes the record that the sync delivered."""
        if key in self.upserted:
            self.upserted[key] = self.upserted[key] | {"City__c": city}
            self.edited[key] = city


def _id_of(key: str) -> str:
    return f"a01{key:>015}"[:18]


def key_of(record_id: str) -> str:
    return record_id.removeprefix("a01").lstrip("0")


def _texts(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> pa.Table:
    columns = {name: [None if row.get(name) is None else str(row[name]) for row in rows] for name in names}
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


class _Fields(dict[str, FieldInfo]):
    """Every field that is asked for is there, and takes text."""

    def __init__(self, object_name: str) -> None:
        super().__init__()
        self._object = object_name

    def get(self, name: str, default: Any = None) -> Any:
        if name in ("MasterRecordId", "IsConverted", "ConvertedContactId"):
            return None
        kind = {"Processed__c": "boolean", "Pages_Visited__c": "double", "Date_Visited__c": "date"}.get(name, "string")
        is_key = name == "PeerSpot_External_Id__c"
        return FieldInfo(name, kind, name, 255, True, True, True, False, is_key, is_key, None, (), None)

    def __contains__(self, name: object) -> bool:
        return self.get(str(name)) is not None


def _table(records: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> pa.Table:
    kinds = {"SystemModstamp": pa.timestamp("ms", tz="UTC"), "IsDeleted": pa.bool_(), "Deployteq_Opt_In__c": pa.bool_()}
    return pa.table({
        name: pa.array([record.get(name) for record in records], kinds.get(name, pa.string())) for name in fields
    })  # fmt: skip


@dataclass
class FakeVendor:
    """Customers, found by their e-mail address, as Deployteq keeps them; and a queue of some of them."""

    around: Around
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)  # addresses that are refused, once
    calls: int = 0
    batch_size = 2
    only_new: ClassVar[frozenset[str]] = frozenset({"status"})
    defaults: ClassVar[Mapping[str, str]] = {"optIn": "N"}
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def save(self, stream: str, records: Sequence[Mapping[str, Any]], *, unique: Sequence[str]) -> list[VendorResult]:
        given = [dict(record) for record in records]
        found: list[VendorResult] = self.around(lambda: [self._save(record) for record in given])
        return found

    def _save(self, record: dict[str, Any]) -> VendorResult:
        address = str(record["emailAddress"]).lower()
        if address in self.refused:
            self.refused.discard(address)
            return VendorResult(None, "110", "refused")
        known = self._with(address)
        vendor_id = known or str(next(self._ids))
        self.customers[vendor_id] = self.customers.get(vendor_id, {"optIn": "Y"}) | record  # who says nothing opts in
        return VendorResult(vendor_id)

    def update(self, stream: str, vendor_id: str, record: Mapping[str, Any]) -> VendorResult:
        given = dict(record)

        def arrive() -> VendorResult:
            if vendor_id not in self.customers:
                return VendorResult(None, MISSING_AT_VENDOR, "gone")
            self.customers[vendor_id] |= given
            return VendorResult(vendor_id)

        found: VendorResult = self.around(arrive)
        return found

    def delete(self, stream: str, vendor_ids: Iterable[str]) -> None:
        given = [*vendor_ids]
        self.around(lambda: [self.customers.pop(vendor_id, None) for vendor_id in given])

    def find(
        self,
        stream: str,
        records: Sequence[Mapping[str, Any]],
        *,
        unique: Sequence[str],
        beat: Callable[[], None] = lambda: None,
    ) -> list[Mapping[str, Any] | None]:
        addresses = [str(record["emailAddress"]).lower() for record in records]
        ids = [self._with(address) for address in addresses]
        return [None if vendor_id is None else self.customers[vendor_id] | {"id": vendor_id} for vendor_id in ids]

    def problems(self, *_: Any) -> list[str]:
        return []

    def get(self, stream: str, vendor_id: str) -> Mapping[str, Any] | None:
        return self.customers.get(vendor_id)

    def _with(self, address: str) -> str | None:
        return next((key for key, item in self.customers.items() if item["emailAddress"].lower() == address), None)
