"""SalesforceClient: everything the sync asks of one org, over one session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from salesforce_sync.records import WriteResult
from salesforce_sync.salesforce.changes import LOOKBACK, Changes, read_changes
from salesforce_sync.salesforce.collections import Answered
from salesforce_sync.salesforce.jobs import JobMemory
from salesforce_sync.salesforce.metadata import Describer, DescriptionStore, ObjectInfo
from salesforce_sync.salesforce.query import Reader
from salesforce_sync.salesforce.rows import Operation, WriteRequest
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.write import Writer


class SalesforceClient:
    """Reads and writes one org. `calls` counts API calls since the client was made, as the org counts them.

    With a `memory`, a Bulk query that an earlier client began with the same statement is taken up. With `patience`, in seconds, a job
    that takes longer raises JobUnderWay, for the caller to wait elsewhere and to begin anew.
    """

    def __init__(
        self,
        session: Session,
        *,
        memory: JobMemory | None = None,
        patience: float | None = None,
        descriptions: DescriptionStore | None = None,
    ) -> None:
        self.session = session
        self.read_only = False  # whether every write is a mistake, as in a dry run
        self._describer = Describer(session, descriptions)
        self._reader = Reader(session, self._describer, memory, patience)
        self._writer = Writer(session, patience)

    @property
    def calls(self) -> int:
        return self.session.calls

    @property
    def org_id(self) -> str:
        """The org's 18-character id: what state is kept apart by."""
        return self.session.org_id

    def describe(self, names: Iterable[str]) -> dict[str, ObjectInfo | None]:
        """Descriptions by object name, None for an object the org does not have; all that are new in one call.

        They may come from a store, as old as that believes them: see `refresh`."""
        return self._describer.objects(names)

    def refresh(self) -> bool:
        """Asks the org again for the descriptions that came from a store; False when none did."""
        return self._describer.refresh()

    def read(self, soql: str, *, expected_rows: int | None = None, include_deleted: bool = False) -> Iterator[pa.Table]:
        """See Reader.read."""
        return self._reader.read(soql, expected_rows=expected_rows, include_deleted=include_deleted)

    def read_together(self, statements: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of up to five statements, one after the other, in one call as far as they are few: see Reader.begin."""
        first, *beside = statements
        return self._reader.begin(first, beside=beside).tables

    def changes(
        self,
        object_name: str,
        fields: Sequence[str],
        *,
        since: datetime | None,
        where: str = "",
        include_deleted: bool = False,
        lookback: timedelta = LOOKBACK,
    ) -> Changes:
        """See changes.read_changes."""
        return read_changes(
            self._reader, object_name, fields, since=since, where=where, include_deleted=include_deleted,
            lookback=lookback,
        )  # fmt: skip

    def by_ids(self, object_name: str, ids: Sequence[str], paths: Sequence[str]) -> Iterator[pa.Table]:
        """See Reader.by_ids."""
        return self._reader.by_ids(object_name, ids, paths)

    def matching(
        self, object_name: str, key: str, values: Sequence[str], paths: Sequence[str], *, include_deleted: bool = False
    ) -> Iterator[pa.Table]:
        """See Reader.matching."""
        return self._reader.matching(object_name, key, values, paths, include_deleted=include_deleted)

    def count(self, object_name: str, where: str = "") -> int:
        return self._reader.count(object_name, where)

    def write(
        self, request: WriteRequest, tables: Iterable[pa.Table], memory: JobMemory | None = None
    ) -> Iterator[tuple[pa.Table, list[WriteResult]]]:
        """See Writer.write."""
        self._refuse_if_read_only()
        return self._writer.write(request, tables, memory)

    def answer(self, request: WriteRequest, chunk: pa.Table, memory: JobMemory | None = None) -> Answered:
        """See Writer.answer."""
        self._refuse_if_read_only()
        return self._writer.answer(request, chunk, memory)

    def delete(self, object_name: str, ids: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, list[WriteResult]]]:
        """Deletes by Id: tables with the one column `Id`. They go to the org's recycle bin."""
        return self.write(WriteRequest(object_name, Operation.DELETE), ids)

    def _refuse_if_read_only(self) -> None:
        assert not self.read_only, "a dry run writes to Salesforce"
