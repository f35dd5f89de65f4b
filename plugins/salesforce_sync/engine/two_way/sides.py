"""What a flow both ways speaks of: its two sides, the rules, the codes, and a record as one side has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

import numpy as np

from salesforce_sync.engine.group import Member
from salesforce_sync.ids import whole_id
from salesforce_sync.mapping import merge
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.merge import Seen
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.paths import as_text, value_at
from salesforce_sync.records import VendorResult
from salesforce_sync.salesforce.changes import STAMP

OURS, THEIRS = "to_vendor", "to_salesforce"  # the members, by where their rows go: ours are Salesforce's
CREATED_DATE = "CreatedDate"
EXTERNAL_ID, CREATED_AT, UPDATED_AT, DELETED = "externalId", "createdAt", "updatedAt", "deleted"
UPDATE, CREATE, DELETE, PATCH, MAKE, REMOVE = "update", "upsert", "delete", "patch", "make", "remove"
AT_VENDOR = frozenset({PATCH, MAKE, REMOVE})
FEW = 5  # records that are written at the vendor call by call; more go by a job
PATCH_ROWS, MAKE_ROWS, UPDATE_ROWS = 2_000, 10_000, 25_000  # of one note
SINCE_NOTE = timedelta(
    minutes=1
)  # before a note, by the vendor's clock: from when a create without an answer is looked for
JOB = "vendor:"  # before the id of a vendor's job in a note

NOT_SELECTED, BEFORE_SWITCH_ON, CONFLICT, SEVERAL = "NOT_SELECTED", "BEFORE_SWITCH_ON", "CONFLICT", "MATCHES_SEVERAL"
GONE_IN_SALESFORCE, MERGED, CONVERTED_THERE, GONE_AT_VENDOR = (
    "DELETED_IN_SALESFORCE", "MERGED_IN_SALESFORCE", "CONVERTED_IN_SALESFORCE", "DELETED_AT_VENDOR",
)  # fmt: skip
RESTORABLE = frozenset({GONE_IN_SALESFORCE, GONE_AT_VENDOR})  # people may bring such a record back
NO_ADDRESS, MISSING, UNMAPPABLE, COUNTERPART_GONE = (
    "NO_ADDRESS", "REQUIRED_IN_SALESFORCE", "UNMAPPABLE", "COUNTERPART_GONE",
)  # fmt: skip
NO_PARENT, PARENT_TAKEN = "NO_PARENT", "PARENT_HAS_COUNTERPART"
LONGEST_TOLD = 2_000  # characters of what a log row says of the changes


class TwoWayTarget(Protocol):
    """A vendor's hook, as far as keeping records equal needs it: see also from_vendor.ChangesSource."""

    @property
    def address(self) -> str | None:
        """How the paths of an address begin, whose parts are written together or not at all; None without addresses."""

    def problems(self, mapping: MappingFile) -> list[str]: ...
    def now(self) -> datetime: ...
    def look(self, stream: str, paths: Sequence[str], ids: Sequence[str]) -> dict[str, dict[str, Any]]: ...
    def has_user(self, *, user_id: str, email: str) -> bool: ...
    def create(self, stream: str, values: Mapping[str, Any]) -> VendorResult: ...
    def patch(self, stream: str, vendor_id: str, values: Mapping[str, Any]) -> VendorResult: ...
    def delete(self, stream: str, vendor_ids: Sequence[str]) -> None: ...
    def find_created(self, stream: str, *, since: datetime) -> dict[str, str]: ...
    def new_job(
        self, stream: str, operation: str, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[str, dict[int, VendorResult]]: ...
    def start_job(self, job_id: str) -> None: ...
    def resume_job(self, job_id: str) -> bool: ...
    def finish_job(self, job_id: str, *, beat: Callable[[], None]) -> dict[str, VendorResult]: ...


@dataclass(frozen=True)
class Rules:
    """What a flow does where both sides leave it open. `conflict`: newest, salesforce_wins or vendor_wins; `first`:
    which records that were there before the flow was switched on are created on the other side: none, all or selective;
    `follow_deletes`: whether a record that is gone on one side is deleted on the other; `shadow`: whether nothing is
    written: see shadow.py."""

    conflict: str = "newest"
    first: str = "none"
    follow_deletes: bool = False
    shadow: bool = False


def salesforce_extras(mapping: MappingFile) -> list[str]:
    """What a reading of Salesforce stages beside the mapped fields."""
    parent = mapping.salesforce.with_parent
    above = [parent.reference, f"{parent.prefix}{STAMP}"] if parent else []
    return list(dict.fromkeys([mapping.salesforce.external_id, CREATED_DATE, *above, *mapping.create.to_vendor.when]))


def vendor_paths(mapping: MappingFile) -> list[str]:
    """What a reading of the vendor stages."""
    return list(
        dict.fromkeys([
            *mapping.vendor_paths, EXTERNAL_ID, CREATED_AT, UPDATED_AT, DELETED, *mapping.create.to_salesforce.when,
        ])
    )  # fmt: skip


@dataclass
class Refused:
    """Records that were refused, now or in an earlier run: they are no rows of the plan, but may be somebody's
    counterpart, who would else be created a second time."""

    hints: set[tuple[str, str]] = field(default_factory=set)  # Salesforce id and vendor's id: what they name
    values: dict[bool, dict[tuple[str, ...], set[str]]] = field(
        default_factory=lambda: {False: {}, True: {}}
    )  # by `theirs`

    def add(self, record: Mapping[str, Any], mapping: MappingFile, *, theirs: bool) -> None:
        record_id = as_text(value_at(record, mapping.vendor.id if theirs else "Id"))
        if record_id is None:
            return
        partner = as_text(value_at(record, EXTERNAL_ID if theirs else mapping.salesforce.external_id))
        if (hint := hint_of(record_id, partner, theirs=theirs)) is not None:
            self.hints.add(hint)
        paths = [str(mapping.fields[name].vendor) if theirs else name for name in mapping.match]
        key = match_key([as_text(value_at(record, path)) for path in paths])
        if key is not None:
            self.values[theirs].setdefault(key, set()).add(record_id)


def hint_of(record_id: str, partner: str | None, *, theirs: bool) -> tuple[str, str] | None:
    """(Salesforce id, vendor's id) of the pair that a record names; None when it names no partner."""
    if not partner:
        return None
    if not theirs:
        return record_id, partner
    salesforce_id = whole_id(partner)
    return None if salesforce_id is None else (salesforce_id, record_id)


def match_key(values: Sequence[str | None]) -> tuple[str, ...] | None:
    """What records are matched by, in any case of letters; None where a value is missing."""
    if not values or not all(values):
        return None
    return tuple(" ".join(str(value).casefold().split()) for value in values)


class Side(NamedTuple):
    """One record of a pair as it is now. `partner` is the other side's id, as far as this side knows it; `marks` are
    those of the row in the inbox, None for a record that is only looked at."""

    id: str
    seen: Mapping[str, Seen]
    partner: str
    stamp: str
    created: str
    selected: bool
    gone: str  # why it is there no more; empty: it is there
    master: str
    parent: str  # Salesforce id of the parent that the record is kept equal with; empty: none
    fingerprint: str  # of the values as the other side would be given them
    marks: Mapping[str, Any] | None = None


def member_name(flow: str, *, theirs: bool) -> str:
    """The member of the flow that one side's records go through, to the other side."""
    return f"{flow}/{THEIRS if theirs else OURS}"


def is_theirs(member: Member) -> bool:
    return member.name.endswith(f"/{THEIRS}")


def texts(columns: Columns, path: str) -> list[str | None]:
    """The column's values as texts; several choices with semicolons between them."""
    if path not in columns.table.column_names:
        return [None] * len(columns)
    plain = columns.texts(path)
    if plain is not None:
        return list(plain.to_pylist())
    found = columns.distinct(path)
    texts = [";".join(map(str, value)) if isinstance(value, list) else as_text(value) for value in found.values]
    return [texts[place] if place >= 0 else None for place in found.places.tolist()]


def selected(columns: Columns, when: Mapping[str, Sequence[str]]) -> list[bool]:
    """Which records have, in each of these fields, one of the values that it names."""
    chosen = np.ones(len(columns), dtype=bool)
    for path, values in when.items():
        wanted = {value.strip().lower() for value in values}
        chosen &= np.array([(text or "").lower() in wanted for text in texts(columns, path)], dtype=bool)
    return list(chosen.tolist())


def no_address(columns: Columns, address: str | None) -> list[bool]:
    """Which records of the vendor show on no map; none, when the mapping reads no address. `address`: how its paths
    begin."""
    paths = [name for name in columns.table.column_names if address and name.startswith(address)]
    known = [texts(columns, path) for path in paths]
    return [bool(paths) and not any(parts[row] for parts in known) for row in range(len(columns))]


def why_gone(row: Mapping[str, Any], *, theirs: bool) -> str:
    if row["_gone"]:
        return GONE_AT_VENDOR if theirs else (MERGED if row["_master"] else GONE_IN_SALESFORCE)
    return CONVERTED_THERE if row["_contact"] is not None else ""


def is_nothing(value: Any) -> bool:
    return value is None or value == ""


def known_by(seen: Seen) -> str:
    """How a value is known again at the last look: by what the side has, and by what it would give the other side."""
    return merge.mark_of(seen.raw).hex() + seen.mark.hex()
