"""The values that cross module borders: what is staged, what was written, what a run did. Immutable, standard library only.

What there is one of for every record is a NamedTuple, which takes a third of a dataclass's time to make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

SUPERSEDED = "SUPERSEDED"  # the code of a row that is older than what was delivered, or than another row
MISSING_AT_VENDOR = "MISSING_AT_VENDOR"  # a hook's code for a record that the vendor has not, or not any more
HELD_OUT = "HELD_OUT"  # the code of a row that a person rejected or undid, and that has not changed since
FINGERPRINT_VERSION = 2  # of the function in mapping/fingerprint.py that makes them now


class Outcome(StrEnum):
    """What became of one record."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    WAITING = "waiting"  # for a key that is missing or held by another record


class WriteResult(NamedTuple):
    """What Salesforce said of one record that was sent; `code` and `message` are set when it refused."""

    outcome: Outcome
    salesforce_id: str | None = None
    code: str | None = None
    message: str | None = None


class VendorResult(NamedTuple):
    """What a vendor said of one record that was sent: its id there, or `code` and `message` of the refusal."""

    vendor_id: str | None
    code: str | None = None
    message: str | None = None


class Reason(NamedTuple):
    """Why a plan waits for a person: the `brake` that it pulled, what it is about (a `mapping`, or a field or path of
    one in `subject`), and how many records it affects, of how many."""

    brake: str
    mapping: str
    subject: str
    affected: int
    total: int
    text: str


class PairChange(NamedTuple):
    """What a record's outcome means for a pair that is kept equal both ways. `agreed` are the packed marks (see
    mapping/merge.py) of the fields in which both sides agree now; `ended` says why the pair is one no more; `left` is the
    Salesforce record that the pair was of before, if it moves; `written` is the mapping by which the record is read that
    was written: what was last read of it counts no more."""

    flow: str
    salesforce_id: str
    vendor_id: str
    agreed: bytes = b""
    ended: str | None = None
    left: str | None = None
    written: str | None = None


class RecordResult(NamedTuple):
    """What became of one record of a run; a row of the sync log is made of it.

    The fingerprints are what the record link remembers of the values sent, and of the staged record; `payload` (JSON)
    goes to the dead letter of a refused record, `key` to the wait of a waiting one. `vendor_id`, `unique_key` (a hash of
    the values that make it unique) and `consent` are of records that go to a vendor. The version of a record is the
    source's stamp (`version`, or "") and the number of its `reading`; `batch` and `row` say where it is staged, `origin`
    where it can be read again.
    """

    record_id: str
    outcome: Outcome
    salesforce_id: str | None = None
    code: str | None = None
    message: str | None = None
    fingerprint: str | None = None
    staged_fingerprint: str | None = None
    payload: str | None = None
    vendor_id: str | None = None
    unique_key: str | None = None
    version: str | None = None
    reading: int = 0
    fingerprint_version: int = FINGERPRINT_VERSION
    consent: str | None = None
    gone: bool = False
    key: str | None = None
    batch: int = 0
    row: int = 0
    origin: str | None = None
    pair: PairChange | None = None


@dataclass(frozen=True)
class Collection:
    """What a vendor gives as a whole, a mailing with all its deliveries, say: `version` changes whenever one of its records does."""

    id: str
    version: str
    content: Any = None


@dataclass(frozen=True)
class BatchRef:
    """One staged Parquet file: where, how many rows, a digest of the file, and the day or mailing that it is of.

    `filled` says how many rows have a value at each path; a path that is in no record is left out. None: not known.
    """

    path: str
    count: int
    digest: str | None = None
    origin: str | None = None
    filled: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Counts:
    """How many records a run looked at, by outcome: the outcomes add up to `read`."""

    read: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    skipped: int = 0
    rejected: int = 0
    waiting: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], *, read: int | None = None) -> Counts:
        tally = Counter(outcomes)
        return cls(
            read=sum(tally.values()) if read is None else read,
            **{str(outcome): count for outcome, count in tally.items()},
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    def __str__(self) -> str:
        """The counts that are not zero, as a sentence would say them."""
        said = [f"{getattr(self, item.name):,} {item.name}" for item in fields(self) if getattr(self, item.name)]
        return ", ".join(said) or "nothing to do"


@dataclass(frozen=True)
class RunIdentity:
    """Which Airflow task instance a sync run belongs to."""

    dag_id: str
    run_id: str
    task_id: str
    try_number: int = 1
