"""Reading: a SOQL statement in, typed Arrow batches out, by REST pages or a Bulk 2.0 query job, in constant memory.

Text, ids and picklists come as strings, checkboxes as booleans, dates as date32, date-times as UTC timestamps in milliseconds, numbers as
float64, whole numbers as int64. A null stays null; an empty text is null, as in Salesforce.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.csv
import urllib3

from salesforce_sync.errors import AuthenticationFailed, RequestRejected, ServiceUnavailable
from salesforce_sync.salesforce.jobs import DEADLINE_SECONDS, USEFUL, JobMemory, age_of, left_behind, wait_for_job
from salesforce_sync.salesforce.metadata import Describer, get_together
from salesforce_sync.salesforce.results import read_whole
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.soql import in_lists
from salesforce_sync.salesforce.wire_errors import as_exception, read_error

log = logging.getLogger(__name__)

BULK_FROM_ROWS = 10_000  # below, REST pages of 2,000 need fewer calls and no job
RESULT_ROWS = 50_000  # rows asked for per page of a Bulk result; PARALLEL_PAGES of them are in memory at once
REST_ROWS = 2_000  # of one page, at most
RETRIEVED = 2_000  # records that a call gives by their ids, at most (REST API guide, "sObject Collections")
TOO_SLOW = frozenset(
    {"QUERY_TIMEOUT", "REQUEST_RUNNING_TOO_LONG"}
)  # what a Bulk job may still do: it is given more time
# An org's words for: no job of this kind, or none any more today (Bulk API 2.0 guide, "Errors", and "Limits").
NO_JOB = frozenset({"INVALIDENTITY", "FEATURENOTENABLED", "LIMIT_EXCEEDED", "EXCEEDEDQUOTA"})
PAGES_PER_CALL = 5  # queries that one composite call takes
PARALLEL_PAGES = 3  # pages of a Bulk result under way at once
_SELECT = re.compile(r"\s*SELECT\s+(?P<fields>.+?)\s+FROM\s+(?P<object>\w+)", re.IGNORECASE | re.DOTALL)

ARROW_TYPES = {
    "boolean": pa.bool_(), "int": pa.int64(), "double": pa.float64(), "currency": pa.float64(), "percent": pa.float64(), "date": pa.date32(),
    "datetime": pa.timestamp("ms", tz="UTC"),
}  # fmt: skip


@dataclass(frozen=True)
class _Statement:
    soql: str
    object: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """Rows that are being read, and Salesforce's time at its first answer."""

    began: datetime
    tables: Iterator[pa.Table]  # of further statements, too, one after the other


class Reader:
    """With a `memory`, the job that an earlier try of the task began with the same statement is taken up; with `patience`, in seconds, a job
    that takes longer raises JobUnderWay while its rows are read."""

    def __init__(
        self, session: Session, describer: Describer, memory: JobMemory | None = None, patience: float | None = None
    ) -> None:
        self._session, self.describer, self._memory, self._patience = session, describer, memory, patience

    def read(self, soql: str, *, expected_rows: int | None = None, include_deleted: bool = False) -> Iterator[pa.Table]:
        """The rows of a plain SELECT (fields, also of parents; no aggregates, no child queries) as Arrow tables.

        `expected_rows` saves a call where the caller knows about how many rows will come; else the first REST page says. Raises
        RequestRejected when the statement is refused; never yields a result that is shorter than Salesforce said.
        """
        return self.begin(soql, expected_rows=expected_rows, include_deleted=include_deleted).tables

    def begin(
        self, soql: str, *, beside: Sequence[str] = (), expected_rows: int | None = None, include_deleted: bool = False
    ) -> Reading:
        """Sends the statement, as `read` does; what is committed when it begins is in the rows. Those `beside` it go in the same call, up to
        PAGES_PER_CALL of them together."""
        statements = [_parse(text) for text in (soql, *beside)]
        schemas = [self._schema(statement) for statement in statements]
        if expected_rows is not None and expected_rows > BULK_FROM_ROWS:
            firsts: list[dict[str, Any] | None] = [None] * len(statements)
        else:
            firsts = [*self._first_pages(statements, include_deleted)]
        began = self._session.now()
        readings = []
        for statement, schema, first in zip(statements, schemas, firsts, strict=True):
            if first is not None and first["totalSize"] <= BULK_FROM_ROWS:
                readings.append(Reading(began, self._rest(statement, schema, first)))
            else:
                whole = None if first is None else Reading(began, self._rest(statement, schema, first))
                readings.append(self._begin_job_or_pages(statement, schema, include_deleted, whole))
        # A job that an earlier try left behind began before the others: what changed since then is to be read again.
        return Reading(
            min(reading.began for reading in readings), chain.from_iterable(reading.tables for reading in readings)
        )

    def _begin_job_or_pages(
        self, statement: _Statement, schema: pa.Schema, include_deleted: bool, in_pages: Reading | None
    ) -> Reading:
        """A Bulk job; REST pages when the org takes none: for some objects, and when its jobs of the day are used up."""
        try:
            return self._begin_job(statement, schema, include_deleted)
        except RequestRejected as error:
            if error.code not in NO_JOB:
                raise
            log.warning("%s: read in pages instead, %d rows a call.", error.args[0], REST_ROWS)
            if in_pages is not None:
                return in_pages
            page = self._page(self._url(statement, include_deleted), statement)
            return Reading(self._session.now(), self._rest(statement, schema, page))

    def _url(self, statement: _Statement, include_deleted: bool) -> str:
        return self._session.path("queryAll" if include_deleted else "query") + f"?q={quote(statement.soql)}"

    def _first_pages(self, statements: Sequence[_Statement], include_deleted: bool) -> Iterator[dict[str, Any] | None]:
        """The first page of each statement's rows, None for one that takes too long for REST; PAGES_PER_CALL of them in a call."""
        urls = [self._url(statement, include_deleted) for statement in statements]
        if len(urls) == 1:
            try:
                yield self._page(urls[0], statements[0])
            except ServiceUnavailable as error:
                if error.code not in TOO_SLOW:
                    raise
                yield None
            return
        for start in range(0, len(urls), PAGES_PER_CALL):
            part = statements[start : start + PAGES_PER_CALL]
            what = f"querying {part[0].object}"
            answers = get_together(self._session, urls[start : start + PAGES_PER_CALL], what=what)
            for statement, (status, body) in zip(part, answers, strict=True):
                said = read_error(status, json.dumps(body).encode()) if status >= 400 else None
                if said is not None and said.code not in TOO_SLOW:
                    raise as_exception(said, what)
                yield None if said is not None else _checked_page(body, statement)

    def by_ids(self, object_name: str, ids: Sequence[str], paths: Sequence[str]) -> Iterator[pa.Table]:
        """These fields of the live records with these ids, `Id` first; RETRIEVED of them cost one call. Paths to
        parents cost one for some hundreds."""
        names = list(dict.fromkeys(["Id", *paths]))
        if any("." in name for name in names):
            yield from self.matching(object_name, "Id", ids, names)
            return
        schema = self._schema(_Statement("", object_name, tuple(names)))
        path = self._session.path(f"composite/sobjects/{object_name}")
        for start in range(0, len(ids), RETRIEVED):
            body = {"ids": list(ids[start : start + RETRIEVED]), "fields": names}
            what = f"reading {object_name} by id"
            answer = self._session.request("POST", path, what=what, json_body=body).value
            if not isinstance(answer, list) or len(answer) != len(body["ids"]):
                raise ServiceUnavailable(
                    f"{what}: {len(body['ids'])} records were asked for, and the answer is for others."
                )
            yield _table_of([record for record in answer if record is not None], schema)

    def matching(
        self, object_name: str, key: str, values: Sequence[str], paths: Sequence[str], *, include_deleted: bool = False
    ) -> Iterator[pa.Table]:
        """These fields of the records whose key is one of the values; PAGES_PER_CALL statements in a call. Of live
        ones, if not told otherwise."""
        selected = ", ".join(dict.fromkeys([*paths, key]))
        listed = [f"SELECT {selected} FROM {object_name} WHERE {key} IN ({part})" for part in in_lists(values)]
        for start in range(0, len(listed), PAGES_PER_CALL):
            first, *beside = listed[start : start + PAGES_PER_CALL]
            yield from self.begin(first, beside=beside, include_deleted=include_deleted).tables

    def count(self, object_name: str, where: str = "") -> int:
        """How many live records fit the condition; one API call."""
        soql = f"SELECT COUNT() FROM {object_name}" + (f" WHERE {where}" if where else "")
        path = self._session.path("query") + f"?q={quote(soql)}"
        return int(self._session.ask("GET", path, "totalSize", what=f"counting {object_name}")["totalSize"])

    # -- types --------------------------------------------------------------------------------------------------------------------

    def _schema(self, statement: _Statement) -> pa.Schema:
        try:
            return pa.schema([(path, self._type(statement.object, path)) for path in statement.paths])
        except RequestRejected:
            if not self.describer.refresh():  # a field may be new to what was stored
                raise
            return pa.schema([(path, self._type(statement.object, path)) for path in statement.paths])

    def _type(self, object_name: str, path: str) -> pa.DataType:
        *parents, name = path.split(".")
        info = self.describer.object(object_name)
        for parent in parents:
            reference = info.find_relationship(parent)
            if reference is None or not reference.reference_to:
                raise RequestRejected(f"{info.name} has no relationship {parent!r} (in {path}).", code="INVALID_FIELD")
            if (
                len(reference.reference_to) > 1
            ):  # what may be of several objects has the fields of Name: texts and ids but for one
                return pa.bool_() if name.lower() == "isactive" else pa.string()
            info = self.describer.object(reference.reference_to[0])
        field = info.find(name)
        if field is None:
            raise RequestRejected(
                f"{info.name} has no field {name!r}, or hides it from the integration user.", code="INVALID_FIELD"
            )
        return ARROW_TYPES.get(field.type, pa.string())

    # -- REST ---------------------------------------------------------------------------------------------------------------------

    def _page(self, path: str, statement: _Statement) -> dict[str, Any]:
        return _checked_page(self._session.request("GET", path, what=f"querying {statement.object}").value, statement)

    def _next_page(self, path: str, statement: _Statement) -> dict[str, Any]:
        """A further page. When its cursor is gone (with its session, say, or after two days), the whole is to be read again."""
        try:
            return self._page(path, statement)
        except (AuthenticationFailed, RequestRejected) as error:
            gone = isinstance(error, AuthenticationFailed) or error.code == "INVALID_QUERY_LOCATOR"
            if not gone:
                raise
            raise ServiceUnavailable(
                f"querying {statement.object}: the cursor of the pages is gone; the task reads again from the beginning."
            ) from error

    def _rest(self, statement: _Statement, schema: pa.Schema, page: dict[str, Any]) -> Iterator[pa.Table]:
        seen, total = 0, page["totalSize"]
        with ThreadPoolExecutor(1) as pool:  # the next page is on its way while this one is taken apart
            while True:
                following = None if page["done"] else pool.submit(self._next_page, page["nextRecordsUrl"], statement)
                seen += len(page["records"])
                if page["records"]:
                    yield _table_of(page["records"], schema)
                if following is None:
                    break
                page = following.result()
        if seen < total:
            raise ServiceUnavailable(f"querying {statement.object}: {total} rows were announced, {seen} came.")

    # -- Bulk 2.0 -----------------------------------------------------------------------------------------------------------------

    def _begin_job(self, statement: _Statement, schema: pa.Schema, include_deleted: bool) -> Reading:
        """A new job, or the one that an earlier try left behind."""
        operation = "queryAll" if include_deleted else "query"
        what = f"bulk query of {statement.object}"
        content = hashlib.sha256(f"{operation}\n{statement.soql}".encode()).hexdigest()
        job = left_behind(self._session, self._memory, "query", content, what=what)
        if (
            job is not None and job["state"] in USEFUL and age_of(job, self._session) < DEADLINE_SECONDS
        ):  # older rows may have changed since
            began = datetime.fromisoformat(job["createdDate"])
        else:
            body = {"operation": operation, "query": statement.soql}
            job = self._session.ask("POST", self._session.path("jobs/query"), "id", what=what, json_body=body)
            began = self._session.now()
            if self._memory is not None:
                self._memory.remember(content, job["id"])
        return Reading(began, self._bulk(statement, schema, self._session.path(f"jobs/query/{job['id']}")))

    def _bulk(self, statement: _Statement, schema: pa.Schema, path: str) -> Iterator[pa.Table]:
        what = f"bulk query of {statement.object}"
        finished = wait_for_job(self._session, path, what=what, patience=self._patience)
        rows = finished.get("numberRecordsProcessed")
        if rows is None:
            raise ServiceUnavailable(f"{what}: the job does not say how many rows it read.")
        seen = 0
        for table in self._pages(path, schema, rows, what):
            seen += table.num_rows
            if table.num_rows:
                yield table
        if seen != rows:
            raise ServiceUnavailable(f"{what}: the job read {rows} rows, {seen} came.")
        self._session.request("DELETE", path, what=what)

    def _pages(self, path: str, schema: pa.Schema, rows: int, what: str) -> Iterator[pa.Table]:
        """The pages in order, PARALLEL_PAGES of them under way at once: the head of each says where the next one begins.

        Salesforce makes a page as large as it likes, whatever number of rows was asked for.
        """
        page = self._first_try(path, "", schema, what) if rows <= RESULT_ROWS else None
        if page is not None and page.following == "null":  # most are: no threads for it
            yield page.result()
            return
        with ThreadPoolExecutor(PARALLEL_PAGES) as pool:
            under_way: deque[_Page] = deque([page or self._first_try(path, "", schema, what, pool)])
            known = {under_way[0].following}
            while under_way:
                while under_way[-1].following != "null" and len(under_way) < PARALLEL_PAGES:
                    under_way.append(self._first_try(path, under_way[-1].following, schema, what, pool))
                    if under_way[-1].following in known:
                        raise ServiceUnavailable(
                            f"{what}: a page of the results names one that came before as the next one."
                        )
                    known.add(under_way[-1].following)
                yield under_way.popleft().result()

    def _first_try(
        self, path: str, locator: str, schema: pa.Schema, what: str, pool: ThreadPoolExecutor | None = None
    ) -> _Page:
        """Asks for a page; its body is read in the pool, or at once without one."""
        url = f"{path}/results?maxRecords={RESULT_ROWS}" + (f"&locator={locator}" if locator else "")
        reply = self._session.stream(url, what=what)
        following = reply.headers.get("sforce-locator")
        if not following or not reply.headers.get("sforce-numberofrecords", "").isdigit():
            reply.close()
            raise ServiceUnavailable(
                f"{what}: a page of the results does not say how many rows it has, and which one is next."
            )
        if pool is None:
            table = self._read_page(url, reply, schema, what)
            return _Page(following, lambda: table)
        return _Page(following, pool.submit(self._read_page, url, reply, schema, what).result)

    def _read_page(self, url: str, reply: urllib3.BaseHTTPResponse, schema: pa.Schema, what: str) -> pa.Table:
        options = pa.csv.ConvertOptions(column_types=schema, strings_can_be_null=True, null_values=[""])
        return read_whole(
            self._session, url, what=what, options=options, names=schema.names, reply=reply,
            rows=lambda answer: int(answer.headers["sforce-numberofrecords"]),
        )  # fmt: skip


@dataclass(frozen=True)
class _Page:
    """A page of a Bulk result that is under way; `following` is the locator of the next one, "null" after the last."""

    following: str
    result: Callable[[], pa.Table]


def _checked_page(page: Any, statement: _Statement) -> dict[str, Any]:
    what = f"querying {statement.object}"
    if not isinstance(page, dict) or not {"records", "totalSize", "done"} <= set(page):
        raise ServiceUnavailable(f"{what}: the answer is no page of records.")
    if not page["done"] and not page.get("nextRecordsUrl"):
        raise ServiceUnavailable(f"{what}: a page is not the last one, and names no next one.")
    return page


def _parse(soql: str) -> _Statement:
    match = _SELECT.match(soql)
    if match is None or "(" in match["fields"]:
        raise RequestRejected(f"Not a plain SELECT of fields: {soql[:100]}", code="MALFORMED_QUERY")
    return _Statement(soql, match["object"], tuple(path.strip() for path in match["fields"].split(",")))


def _table_of(records: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        values = _values(records, field.name.split("."))
        if pa.types.is_timestamp(field.type):  # 2026-01-12T10:50:00.000+0000
            array = (
                pa.array([value and value[:23] for value in values], pa.string())
                .cast(pa.timestamp("ms"))
                .cast(field.type)
            )
        elif pa.types.is_date(field.type):
            array = pa.array(values, pa.string()).cast(field.type)
        else:
            array = pa.array(values, field.type)
        columns.append(array)
    return pa.Table.from_arrays(columns, schema=schema)


def _values(records: Sequence[dict[str, Any]], names: list[str]) -> list[Any]:
    """One field of all records; null where a parent on the way is."""
    if len(names) == 1:
        return [record.get(names[0]) for record in records]
    parents = [record.get(names[0]) for record in records]
    return _values([parent or {} for parent in parents], names[1:])
