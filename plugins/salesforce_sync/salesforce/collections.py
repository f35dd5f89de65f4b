"""Writing by sObject Collections: 200 records a call, several calls at once, and a call that keeps failing cut in half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import pyarrow as pa

from salesforce_sync.errors import RequestRejected, ServiceUnavailable, SyncError
from salesforce_sync.records import Outcome, WriteResult
from salesforce_sync.salesforce.rows import Operation, WriteRequest, json_records
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.soql import in_lists
from salesforce_sync.salesforce.wire_errors import asks_too_much

COLLECTION_ROWS = 200  # Salesforce's limit for one call
PARALLEL_CALLS = 4
# What a call says when it asks too much at once, or trips over one of its rows: with fewer rows it may well succeed.
SPLITTING = frozenset({
    "UNKNOWN_EXCEPTION", "INTERNAL_SERVER_ERROR", "REQUEST_RUNNING_TOO_LONG", "QUERY_TIMEOUT", "EXCEEDED_MAX_SIZE_REQUEST", "STORAGE_LIMIT_EXCEEDED",
    "APEX_ERROR", "LIMIT_EXCEEDED", "JSON_PARSER_ERROR",
})  # fmt: skip


Row = TypeVar("Row")


class Answered(NamedTuple):
    """Results in the order of the rows, None for rows of calls that ended with an error; and that error.

    Of several errors it is one after which nobody knows whether the call was done, if there is such a one.
    """

    results: list[WriteResult | None]
    error: SyncError | None = None


class CollectionWriter:
    """Remembers for each object how many rows a call took when it would not take all of them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.rows_per_call: dict[str, int] = {}

    def write(self, request: WriteRequest, chunk: pa.Table) -> Answered:
        """A result for each row, in order, and the error of the calls that gave none."""
        records = json_records(request, chunk)
        size = self.rows_per_call.get(request.object, COLLECTION_ROWS)
        groups = [records[start : start + size] for start in range(0, len(records), size)]
        return side_by_side(groups, lambda group: self._group(request, group))

    def _group(self, request: WriteRequest, records: list[dict[str, Any]]) -> list[WriteResult]:
        """Sends the records; remembers how many of them a call took when it would not take all."""

        def send(rows: list[dict[str, Any]]) -> list[WriteResult]:
            return self._in_smaller_calls(request, rows, self._call(request, rows))

        def remember(rows: int) -> None:
            self.rows_per_call[request.object] = max(1, min(rows, self.rows_per_call.get(request.object, rows)))

        found = in_halves(records, send, lambda record: record.get("Id"), passed=remember)
        return [result for result in found if result is not None]

    def _in_smaller_calls(
        self, request: WriteRequest, records: list[dict[str, Any]], results: list[WriteResult]
    ) -> list[WriteResult]:
        """The results; rows over which the org's own code came to a limit are sent again, half as many a call."""
        limited = [place for place, result in enumerate(results) if asks_too_much(result.message)]
        if not limited or len(records) == 1:
            return results
        size = max(1, min(len(limited), len(records) // 2))
        self.rows_per_call[request.object] = min(size, self.rows_per_call.get(request.object, size))
        for start in range(0, len(limited), size):
            places = limited[start : start + size]
            for place, result in zip(places, self._group(request, [records[place] for place in places]), strict=True):
                results[place] = result
        return results

    def _call(self, request: WriteRequest, records: list[dict[str, Any]]) -> list[WriteResult]:
        what = f"{request.operation} of {len(records)} {request.object}"
        path, headers = self._session.path("composite/sobjects"), headers_of(request)
        if request.operation is Operation.DELETE:
            ids = ",".join(record["Id"] for record in records)
            reply = self._session.request(
                "DELETE", f"{path}?{urlencode({'ids': ids, 'allOrNone': 'false'}, safe=',')}", what=what
            )
        elif request.operation is Operation.INSERT:
            return self._insert(request, records, what)
        else:
            if request.operation is Operation.UPSERT:
                path += f"/{request.object}/{request.key}"
            reply = self._session.request(
                "PATCH", path, what=what, json_body={"allOrNone": False, "records": records}, headers=headers
            )
        return _results(request, records, reply.value, what)

    def _insert(self, request: WriteRequest, records: list[dict[str, Any]], what: str) -> list[WriteResult]:
        """An insert may not simply be repeated: when its answer got lost, what arrived is looked up by key before the rest is sent again."""
        body, path = {"allOrNone": False, "records": records}, self._session.path("composite/sobjects")
        try:
            reply = self._session.request(
                "POST", path, what=what, json_body=body, headers=headers_of(request), repeatable=False
            )
        except ServiceUnavailable as error:
            if error.code in SPLITTING and error.answered:
                raise  # Salesforce rolled the call back and said so
            found = self.look_up(request, [record[request.key] for record in records])
            arrived = {record[request.key]: there for record, there in zip(records, found, strict=True) if there}
            rest = [record for record in records if record[request.key] not in arrived]
            if len(rest) == len(records):
                raise
            sent = iter(self._insert(request, rest, what) if rest else [])
            return [
                WriteResult(Outcome.CREATED, arrived[record[request.key]])
                if record[request.key] in arrived
                else next(sent)
                for record in records
            ]
        return _results(request, records, reply.value, what)

    def look_up(self, request: WriteRequest, keys: Sequence[Any], column: str = "Id") -> list[str | None]:
        """What the record with each key has in the column, in the order of the keys; None for nothing.

        Most external id fields ignore case, and Salesforce finds a record by another spelling then; it counts, unless that is a key here.
        """
        found: dict[str, str] = {}
        texts = [str(key) for key in keys]
        for listed in in_lists(list(dict.fromkeys(texts))):
            soql = f"SELECT {request.key}, {column} FROM {request.object} WHERE {request.key} IN ({listed}) AND {column} != null"
            path, what = f"{self._session.path('query')}?q={quote(soql)}", f"looking up {request.object}"
            page = self._session.ask("GET", path, "records", what=what)
            found |= {str(record[request.key]): record[column] for record in page["records"]}
        in_any_case = {key.casefold(): value for key, value in found.items() if key not in texts}
        return [found.get(text) or in_any_case.get(text.casefold()) for text in texts]


def side_by_side(groups: Sequence[list[Row]], call: Callable[[list[Row]], Sequence[WriteResult]]) -> Answered:
    """The results of all groups, each of them written by its own call, PARALLEL_CALLS of them at once."""
    with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
        calls = [pool.submit(call, group) for group in groups]
    results: list[WriteResult | None] = []
    errors: list[SyncError] = []
    for done, group in zip(calls, groups, strict=True):
        error = done.exception()
        if error is None:
            results += done.result()
        elif isinstance(error, SyncError):
            results += [None] * len(group)
            errors.append(error)
        else:
            raise error
    unknown = [error for error in errors if isinstance(error, ServiceUnavailable)]
    return Answered(results, next(iter([*unknown, *errors]), None))


def in_halves(
    rows: list[Row],
    call: Callable[[list[Row]], Sequence[WriteResult | None]],
    id_of: Callable[[Row], str | None],
    *,
    passed: Callable[[int], None] = lambda _: None,
) -> list[WriteResult | None]:
    """The results of the rows; while Salesforce fails over them they are halved, until a bad row stands alone and is
    refused by itself. `passed` is called with the size of a first half that went through."""
    try:
        return [*call(rows)]
    except (ServiceUnavailable, RequestRejected) as error:
        if error.code not in SPLITTING:
            raise
        if len(rows) == 1:
            return [WriteResult(Outcome.REJECTED, id_of(rows[0]), error.code, str(error))]
        middle = len(rows) // 2
        first, second = (in_halves(half, call, id_of, passed=passed) for half in (rows[:middle], rows[middle:]))
        codes = [result.code if result else None for result in (*first, *second)]
        if all(code == error.code for code in codes):
            raise  # nothing got through: the fault is not in a row
        if error.code not in codes[:middle]:
            passed(middle)
        return [*first, *second]


def headers_of(request: WriteRequest) -> dict[str, str]:
    headers = {"Sforce-Auto-Assign": "TRUE" if request.assign else "FALSE"}  # Salesforce's own default is TRUE
    if request.allow_duplicates is not None:
        headers["Sforce-Duplicate-Rule-Header"] = f"allowSave={str(request.allow_duplicates).lower()}"
    return headers


def outcome_of(request: WriteRequest, created: bool) -> Outcome:
    if request.operation is Operation.DELETE:
        return Outcome.DELETED
    return Outcome.CREATED if created or request.operation is Operation.INSERT else Outcome.UPDATED


def _results(request: WriteRequest, records: list[dict[str, Any]], answers: Any, what: str) -> list[WriteResult]:
    if not isinstance(answers, list) or len(answers) != len(records):
        raise ServiceUnavailable(f"{what}: {len(answers) if isinstance(answers, list) else 'no'} results came.")
    if not all(_is_result(answer) for answer in answers):
        raise ServiceUnavailable(f"{what}: a result has neither an id nor an error.")
    return [_result(request, answer) for answer in answers]


def _is_result(answer: Any) -> bool:
    """Whether it tells what became of a row: success with an id, or an error with its code."""
    if not isinstance(answer, dict):
        return False
    errors = answer.get("errors")
    return bool(answer.get("id")) if answer.get("success") else bool(errors and errors[0].get("statusCode"))


def _result(request: WriteRequest, answer: dict[str, Any]) -> WriteResult:
    if answer["success"]:
        return WriteResult(outcome_of(request, bool(answer.get("created"))), answer["id"])
    errors = answer["errors"]
    told = "; ".join(with_fields(error["message"], error.get("fields") or []) for error in errors)
    return WriteResult(Outcome.REJECTED, answer.get("id"), errors[0]["statusCode"], told)


def with_fields(message: str, fields: Sequence[str]) -> str:
    """A refusal in Salesforce's words, and the fields that it is about: the words have their labels only, if any."""
    return f"{message} ({', '.join(fields)})" if fields else message
