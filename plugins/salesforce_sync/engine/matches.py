"""Which Salesforce record is whose: a mirror of the field by which a mapping finds the records that it updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from sqlalchemy import Connection

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.group import Member
from salesforce_sync.engine.mirror import refresh
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.model import FindBy
from salesforce_sync.mapping.paths import as_text
from salesforce_sync.state import links, record_keys
from salesforce_sync.state.engine import reading


@dataclass
class Matches:
    """The matches of one mapping that has `find_by`; of one whose vendor has Salesforce's own ids, nothing is kept."""

    context: Context
    member: Member

    @property
    def _find_by(self) -> FindBy:
        found = self.member.mapping.salesforce.find_by
        assert found is not None, "the mapping says how records are found"
        return found

    @property
    def _is_kept(self) -> bool:
        return self._find_by.field != "Id"

    @property
    def _place(self) -> str:
        """Under which name the mirror is kept: another field has another one."""
        return f"{self.member.name}.{self._find_by.field}"

    def refresh(self) -> None:
        """Brings the mirror up to the org. The caller holds the lease on the object."""
        if self._is_kept:
            object_name, key = self.member.mapping.salesforce.object, self._find_by.field
            copy = _Keys(self.context.org, self.member.name, self._place, key)
            refresh(self.context, f"salesforce/{self._place}", object_name, [key], copy)

    def of(self, records: Columns) -> dict[str, list[str]]:
        """The values by which these records are found, in lower case -> the Salesforce records that have each."""
        if not self._is_kept:
            return {}
        texts = {text for value in records.distinct(self._find_by.vendor).values if (text := as_text(value))}
        with reading(self.context.state) as connection:
            return record_keys.find(connection, self.context.org, self._place, sorted(texts))


@dataclass(frozen=True)
class _Keys:
    """A record that may have another match now is looked at again, though nothing changed at the vendor."""

    org: str
    mapping: str
    place: str
    key: str

    def latest_mark(self, connection: Connection) -> datetime:
        return record_keys.latest_mark(connection, self.org, self.place)

    def take(self, connection: Connection, rows: pa.Table, *, seen_at: datetime) -> None:
        columns = (rows.column(name).to_pylist() for name in ("Id", self.key, "IsDeleted"))
        values = {
            record_id: None if is_deleted else as_text(value)
            for record_id, value, is_deleted in zip(*columns, strict=True)
        }
        changed = record_keys.refresh(connection, self.org, self.place, values, seen_at=seen_at)
        self._look_again(connection, sorted(changed))

    def drop_unseen(self, connection: Connection, *, before: datetime) -> None:
        self._look_again(connection, record_keys.drop_unseen(connection, self.org, self.place, before=before))

    def _look_again(self, connection: Connection, salesforce_ids: Sequence[str]) -> None:
        links.forget_staged(connection, self.org, self.mapping, salesforce_ids, by="salesforce_id")
