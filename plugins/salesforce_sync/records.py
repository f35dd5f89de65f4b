"""The values that cross module borders: what is staged, what was written, what a run did. Immutable, standard library only.

What there is one of for every record is a NamedTuple, which takes a third of a dataclass's time to make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple


class Outcome(StrEnum):
    """What became of one record."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    REJECTED = "rejected"


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


class RecordResult(NamedTuple):
    """What became of one record of a run; a row of the sync log is made of it.

    The fingerprints are what the record link remembers of the values sent, and of the staged record; `payload` (JSON) goes to the dead
    letter of a refused record. The last three are for records that go to a vendor: what they are called there, a hash of the values that
    make them unique, and when Salesforce last changed them.
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


@dataclass(frozen=True)
class Collection:
    """What a vendor gives as a whole, a mailing with all its deliveries, say: `version` changes whenever one of its records does."""

    id: str
    version: str
    content: Any = None


@dataclass(frozen=True)
class BatchRef:
    """One staged Parquet file; this is all of it that XCom sees. `high_cursor` is ISO text, None for an empty batch."""

    path: str
    count: int
    high_cursor: str | None = None
    org: str | None = None  # of records that come from Salesforce: whose they are

    def as_xcom(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_xcom(cls, value: dict[str, Any]) -> BatchRef:
        return cls(**value)


@dataclass(frozen=True)
class Counts:
    """How many records a run saw, by outcome. `read` is what came in; the outcomes add up to it unless the run ended early."""

    read: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    skipped: int = 0
    rejected: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], *, read: int | None = None) -> Counts:
        tally = Counter(outcomes)
        return cls(
            read=sum(tally.values()) if read is None else read,
            **{str(outcome): count for outcome, count in tally.items()},
        )

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
