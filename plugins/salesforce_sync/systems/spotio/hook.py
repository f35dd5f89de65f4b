"""SPOTIO's API (api.spotio2.com), by its OpenAPI document of 2026-08. Objects are read from the export and written by
JSON Patch, or by a bulk job where there are many."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import requests

from salesforce_sync.errors import (
    AuthenticationFailed,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    TransientError,
)
from salesforce_sync.hooks.credentials import read_credentials
from salesforce_sync.ids import whole_id
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import MISSING_AT_VENDOR, VendorResult
from salesforce_sync.systems.spotio import records
from salesforce_sync.systems.spotio.credentials import SpotioCredentials
from salesforce_sync.systems.spotio.workflow import ObjectType, Users, find_type
from salesforce_sync.systems.vendor import VendorHook

log = logging.getLogger(__name__)

CONNECTED = "You are successfully connected to SPOTIO"
JSON, JSON_PATCH, NDJSON = "application/json", "application/json-patch+json", "application/x-ndjson"
JOBS = "/api/jobs/dataObjects/bulk"
IDS_PER_CALL = 100  # 2,500 characters of an address; every server takes 4,000
JOB_SECONDS = 1_800  # how long a job is waited for
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.2, 10.0
PEOPLE = ("Note", "Event")  # the kinds of activities that people do; the others are the system's own events
OPEN, COMPLETE, FAILED, ABORTED = "Open", "JobComplete", "Failed", "Aborted"
NOT_FOUND = "404"
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")  # of an object; people may type anything into a field that holds one


class SpotioHook(VendorHook):
    """Streams are the company's types of objects, by name or id: `Lead`, say. records.py has the shape of a record."""

    system = "spotio"
    address: str | None = records.PIN

    def __init__(self) -> None:
        super().__init__()
        self._token = ""

    @cached_property
    def credentials(self) -> SpotioCredentials:
        found = read_credentials("spotio", SpotioCredentials)
        self.requests_per_second = found.requests_per_second  # type: ignore[misc]
        return found

    @property
    def root_url(self) -> str:
        return self.credentials.base_url

    @property
    def secrets(self) -> list[str]:
        return [*self.credentials.secrets(), *([self._token] if self._token else [])]

    def test(self) -> str:
        """Reads how the company is set up; gives a sentence when that works, raises when it does not."""
        return f"{CONNECTED}: it has {', '.join(sorted(kind.name for kind in self.types)) or 'no types of objects'}"

    def problems(self, mapping: MappingFile) -> list[str]:
        """What of the mapping's right-hand side the company's SPOTIO has not."""
        kind = find_type(self.types, mapping.vendor.stream)
        return records.problems(mapping.vendor_paths, kind, written=mapping.vendor_written)

    def now(self) -> datetime:
        """The time by SPOTIO's own clock, at its last answer; of an answer that has no Date, nobody's: the year 1."""
        _ = self.types  # there has been an answer, then
        try:
            return parsedate_to_datetime(self.said_date)
        except (TypeError, ValueError):
            return datetime.min.replace(tzinfo=UTC)

    # -- how the company is set up -----------------------------------------------------------------------------------

    @cached_property
    def types(self) -> list[ObjectType]:
        return [ObjectType.of(item) for item in self._get("/api/workflow/dataObjects/full")]

    @cached_property
    def users(self) -> Users:
        return Users.of([user for page in self._pages("/api/v2/users/list", {"pageSize": 100}) for user in page])

    def has_user(self, *, user_id: str, email: str) -> bool:
        """Whether SPOTIO has the Salesforce user, by the external id or by the e-mail address."""
        return self.users.find(external_id=user_id, email=email) is not None

    # -- reading -----------------------------------------------------------------------------------------------------

    def changed(self, stream: str, paths: Sequence[str], *, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """The records that were changed or deleted since then, or all there are, a page at a time. What an export lacks
        is read by id."""
        kind = find_type(self.types, stream)
        asked = {} if since is None else {"updatedAfter": _text(since)}
        whole = records.is_exported(paths, kind)
        for page in self._pages("/api/Exports/dataObjects/data", asked):
            own = [item for item in page if str(item["typeId"]) == kind.id]
            if whole:
                yield [records.record_of(item, paths, kind, self.users) for item in own]
            else:
                yield list(self._look(kind, paths, [str(item["id"]) for item in own]).values())
        if since is not None:
            span = {"startDate": _text(since)}
            for page in self._pages("/api/DataObjects/deleted", span, items="deletedDataObjects"):
                own = [item for item in page if str((item.get("dataObject") or {}).get("typeId", kind.id)) == kind.id]
                yield [records.deleted_record(item) for item in own]

    def look(self, stream: str, paths: Sequence[str], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The records with these ids as they are now; of one that is not there, only that it is deleted."""
        found = self._look(find_type(self.types, stream), paths, [name for name in ids if _ID.fullmatch(name)])
        for name in ids:
            if name not in found and not (_ID.fullmatch(name) and self._is_there(name)):
                found[name] = {"id": name, records.DELETED: True, records.UPDATED: _text(self.now())}
        return found

    def _is_there(self, name: str) -> bool:
        try:
            self._get(f"/api/DataObjects/{name}")
        except RequestRejected as error:
            if error.code == NOT_FOUND:
                return False
            raise
        return True

    def _look(self, kind: ObjectType, paths: Sequence[str], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        objects = self._objects(ids)
        return {
            name: records.record_of(found, paths, kind, self.users)
            for name, found in objects.items()
            if str(found["typeId"]) == kind.id
        }

    def _objects(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), IDS_PER_CALL):
            asked = {"dataObjectsIds": ",".join(ids[start : start + IDS_PER_CALL])}
            found |= {str(item["id"]): item for item in self._get("/api/DataObjects/many", asked)}
        return found

    def find_created(self, stream: str, *, since: datetime) -> dict[str, str]:
        """External id -> id, of the records that were changed since then: how a create whose answer was lost is
        found."""
        kind = find_type(self.types, stream)
        pages = self._pages("/api/Exports/dataObjects/data", {"updatedAfter": _text(since)})
        return {
            str(item["externalDataObjectId"]): str(item["id"])
            for page in pages
            for item in page
            if str(item["typeId"]) == kind.id and item.get("externalDataObjectId")
        }

    # -- writing -----------------------------------------------------------------------------------------------------

    def create(self, stream: str, values: Mapping[str, Any]) -> VendorResult:
        """A new record, in one call that must not be repeated: SPOTIO would make another one."""
        kind = find_type(self.types, stream)
        try:
            body = records.body_of(values, kind, self.users) | {"typeId": int(kind.id)}
            made = self._send("POST", "/api/DataObjects", {"dataObject": body})
        except (RequestRejected, records.Unknown) as error:
            return _refusal(error)
        return VendorResult(str(made["id"]))

    def patch(self, stream: str, vendor_id: str, values: Mapping[str, Any]) -> VendorResult:
        """Changes these values. The address and the fields are written whole, so the object is read just before."""
        kind = find_type(self.types, stream)
        current = self._objects([vendor_id]).get(vendor_id)
        if current is None:
            return VendorResult(None, MISSING_AT_VENDOR, f"spotio has no object {vendor_id}")
        try:
            body = records.body_of(_place_of(current, values) | dict(values), kind, self.users)
            if "fields" in body:
                body["fields"] = records.merged_fields(current, body["fields"])
            operations = [{"op": "replace", "path": f"/{name}", "value": value} for name, value in body.items()]
            self._send("PATCH", f"/api/DataObjects/{vendor_id}/jsonp", operations, kind=JSON_PATCH)
        except (RequestRejected, records.Unknown) as error:
            return _refusal(error)
        return VendorResult(vendor_id)

    def delete(self, stream: str, vendor_ids: Sequence[str]) -> None:  # noqa: ARG002 - ids are unique over all types
        """Deletes the records, so that people can see that they were; one that is gone already is no error."""
        for name in vendor_ids:
            try:
                self._send("DELETE", f"/api/DataObjects/{name}", {"mode": "Delete", "permanently": False})
            except RequestRejected as error:
                if error.code != NOT_FOUND:
                    raise

    # -- many at once ------------------------------------------------------------------------------------------------

    def new_job(
        self, stream: str, operation: str, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[str, dict[int, VendorResult]]:
        """A job that was fed and not started: `create`, or `patch` with an `id` in each row. Gives its id, and the rows
        that cannot be sent, by place. Each row has an external id, by which its result is found."""
        kind = find_type(self.types, stream)
        refused: dict[int, VendorResult] = {}
        lines: list[bytes] = []
        for place, values in enumerate(rows):
            try:
                body = records.body_of(
                    {path: value for path, value in values.items() if path != "id"}, kind, self.users
                )
            except records.Unknown as error:
                refused[place] = _refusal(error)
                continue
            own = {"id": values["id"]} if "id" in values else {}
            lines.append(json.dumps(own | body | {"typeId": int(kind.id)}, ensure_ascii=False).encode())
        if not lines:
            return "", refused
        job = self._send("POST", JOBS, {"operation": operation, "dataObjectTypeId": int(kind.id)})
        content = b"\n".join(lines)
        # Only once: a second upload would be a second file, and all its records twice. Nobody starts a job whose answer was lost.
        self.tried(
            lambda: self._call("PUT", f"{JOBS}/{job['id']}/data", data=content, kind=NDJSON),
            again=RateLimited,
            changes=True,
        )
        return str(job["id"]), refused

    def start_job(self, job_id: str) -> None:
        self._send("POST", f"{JOBS}/{job_id}/start", None)

    def resume_job(self, job_id: str) -> bool:
        """Whether the job was started and can be waited for. One that was not is ended, so that nobody's late call can
        start it."""
        try:
            state = str(self._get(f"{JOBS}/{job_id}")["state"])
        except RequestRejected as error:
            if error.code == NOT_FOUND:
                return False
            raise
        if state == OPEN:
            self._send("DELETE", f"{JOBS}/{job_id}/cleanup", {"deleteUploadedFiles": True})
        return state not in (OPEN, FAILED, ABORTED)

    def finish_job(self, job_id: str, *, beat: Callable[[], None]) -> dict[str, VendorResult]:
        """Waits for the job; gives the result of each of its rows by the row's external id."""
        deadline, pause = time.monotonic() + JOB_SECONDS, FIRST_LOOK_SECONDS
        while (state := str(self._get(f"{JOBS}/{job_id}/progress")["state"])) not in (COMPLETE, FAILED, ABORTED):
            if time.monotonic() > deadline:
                raise ServiceUnavailable(f"spotio: the job {job_id} is still {state} after {JOB_SECONDS} s.")
            beat()
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_LOOK_SECONDS)
        if state != COMPLETE:
            raise ServiceUnavailable(f"spotio: the job {job_id} ended as {state}.")
        results = {
            key: VendorResult(str(item["DataObjectId"]))
            for key, item in self._results(job_id, "succeeded")
        }  # fmt: skip
        for key, item in self._results(job_id, "failed"):
            results[key] = VendorResult(None, "REFUSED", self._shown(str(item.get("Error") or "no reason given")))
        return results

    def _results(self, job_id: str, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(external id, line) of each line: they have no number, and need not come in order."""
        reply = self.tried(lambda: self._call("GET", f"{JOBS}/{job_id}/results/{kind}"))
        for line in reply.content.splitlines():
            if line.strip():
                try:
                    item = json.loads(line)
                except ValueError:
                    raise ServiceUnavailable("spotio: a job's results are not complete.") from None
                data = item.get("Data") or {}
                yield str(data.get("externalDataObjectId") or data.get("ExternalDataObjectId")), item

    # -- activities --------------------------------------------------------------------------------------------------

    @cached_property
    def templates(self) -> dict[str, str]:
        """Activity template -> its name."""
        return {str(item["id"]): str(item["name"]) for item in self._get("/api/workflow/activityTemplates")}

    def activities(self, *, since: datetime) -> Iterator[list[dict[str, Any]]]:
        """The activities of people that were made, changed, planned or done since then, whatever day they are of."""
        changed = {"dateField": "ActivityUpdatedAt", "startDate": _text(since)}
        saved = self._send("POST", "/api/v2/filters", changed)  # without a title: it is a temporary one
        for page in self._pages("/api/v2/activities/feed", {"FilterId": saved["id"]}, scroll="ScrollId"):
            people = [item for item in page if item["type"] in PEOPLE and item.get("dataObject")]
            yield [self._activity(item, str(item["dataObject"]["id"])) for item in people]
        created = self._created_at(str(saved["id"]))
        for page in self._pages("/api/Exports/dataObjects/data", {"updatedAfter": _text(since)}):
            for item in page:
                if item.get("nextActivityTime"):
                    planned = self._planned(str(item["id"]), since)
                    yield [found | {"createdAt": created.get(found["id"])} for found in planned]

    def _created_at(self, filter_id: str) -> dict[str, str]:
        """When the activities of the filter were made, open ones among them: nothing else tells that of an open one."""
        pages = self._pages("/api/Exports/activities/data/flexible", {}, body={"filterId": filter_id})
        return {str(item["id"]): str(item["createdAt"]) for page in pages for item in page}

    def _planned(self, object_id: str, since: datetime) -> list[dict[str, Any]]:
        """What is planned at the object and was changed since then; of a series, what is in the calendar already."""
        found = []
        for page in self._pages(f"/api/DataObjects/{object_id}/appointments/upcoming", {}):
            for item in page:
                if not item.get("activityId"):
                    continue  # the ghost of a series: it is no activity yet
                whole = self._get(f"/api/v2/appointments/{item['id']}")
                if datetime.fromisoformat(str(whole["updatedAt"])) >= since:
                    found.append(self._activity(whole | {"id": whole["activityId"]}, object_id))
        return found

    def activities_by_id(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """These activities as they are now; those that are not there any more are left out."""
        found = []
        for name in ids:
            try:
                item = self._get(f"/api/v2/activities/{name}")
            except RequestRejected as error:
                if error.code == NOT_FOUND:
                    continue
                raise
            found.append(self._activity(item, str(item["dataObjectId"])))
        return found

    def _activity(self, item: Mapping[str, Any], object_id: str) -> dict[str, Any]:
        user = self.users.get(item.get("ownerId"))
        kind = self.templates.get(str(item.get("activityTemplateId")), "")
        owner = whole_id(user.external_id) if user and user.external_id.startswith("005") else None
        return {
            "id": str(item["id"]), "objectId": object_id, "title": item.get("title") or kind or item.get("type"),
            "notes": item.get("notes") or item.get("text"), "kind": kind, "done": bool(item.get("done")),
            "date": item.get("date"), "day": self._day(item), "owner": owner, "createdAt": item.get("createdAt"),
            "updatedAt": item.get("updatedAt"),
        }  # fmt: skip

    def _day(self, item: Mapping[str, Any]) -> str | None:
        """The day of the activity where the company is."""
        if item.get("allDay") and item.get("allDayDate"):
            return str(item["allDayDate"])[:10]
        if not item.get("date"):
            return None
        moment = datetime.fromisoformat(str(item["date"]))
        return moment.astimezone(ZoneInfo(self.credentials.timezone)).date().isoformat()

    # -- HTTP --------------------------------------------------------------------------------------------------------

    def _get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self.tried(lambda: self._answer(self._call("GET", path, params=params)))

    def _pages(
        self,
        path: str,
        params: Mapping[str, Any],
        *,
        items: str = "items",
        scroll: str = "scrollId",
        body: Mapping[str, Any] | None = None,
    ) -> Iterator[list[Any]]:
        """The pages of a list, until the scroll id comes back as null; with a `body`, of one that is asked for by POST.
        `scroll` is what the scroll id is called in the question."""
        asked, seen = dict(params), set[str]()
        while True:
            page = self._get(path, asked) if body is None else self._ask(path, asked, body)
            if isinstance(page, list):  # as the document's example of some lists has it
                yield page
                return
            yield page.get(items) or []
            following = page.get("scrollId")
            if following is None:
                return
            if following in seen and not page.get(items):
                raise RequestRejected(
                    f"spotio: the list {path} does not end: its scroll id comes back with nothing.",
                    fix="Try again later; tell SPOTIO's support if it stays so.",
                )
            seen.add(following)
            asked = dict(params) | {scroll: following}

    def _answer(self, reply: requests.Response) -> Any:
        """The JSON of an answer, None for one without content."""
        return self.parsed(reply) if reply.content else None

    def _ask(self, path: str, params: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
        """A question that is asked by POST, and changes nothing."""
        data = json.dumps(dict(body)).encode()
        return self.tried(lambda: self._answer(self._call("POST", path, params=params, data=data)))

    def _send(self, method: str, path: str, body: Any, *, kind: str = JSON) -> Any:
        """As VendorHook.send_json, with a token."""
        again = TransientError if method in ("PUT", "DELETE") else RateLimited
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        return self.tried(
            lambda: self._answer(self._call(method, path, data=data, kind=kind)), again=again, changes=True
        )

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        kind: str = JSON,
    ) -> requests.Response:
        """One call with a token that is good: one that has expired is renewed once."""
        content = {} if data is None else {"content-type": kind}
        for attempt in (1, 2):
            if not self._token:
                self._sign_in()
            headers = {"authorization": f"Bearer {self._token}", **content}
            try:
                return self.call(method, path, params=params, headers=headers, data=data)
            except AuthenticationFailed as error:
                if attempt == 2 or "401" not in str(error):
                    raise
                self._token = ""
        raise AssertionError("unreachable: the second try returns or raises")

    def _sign_in(self) -> None:
        from airflow.sdk.log import mask_secret

        known = self.credentials
        body = json.dumps({"clientId": known.client_id, "secret": known.secret}).encode()
        reply = self.call("POST", "/api/users/apitoken", headers={"content-type": JSON}, data=body)
        token = self.parsed(reply).get("accessToken")
        if not token:
            raise self.refused_credentials("no token was given")
        mask_secret(token)
        self._token = str(token)


def _place_of(current: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of the object's address that no mapping names, when another part of it changes; not its place on the
    map."""
    if not any(path.startswith(records.PIN) for path in values):
        return {}
    pin = current.get("pin") or {}
    parts = [name for name in records.PIN_PARTS if name != "address" and pin.get(name) is not None]
    return {f"{records.PIN}{name}": pin[name] for name in parts}


def _refusal(error: RequestRejected | records.Unknown) -> VendorResult:
    if isinstance(error, records.Unknown):
        return VendorResult(None, "UNKNOWN_AT_VENDOR", str(error))
    code = MISSING_AT_VENDOR if error.code == NOT_FOUND else f"SPOTIO_{error.code}"
    return VendorResult(None, code, str(error.args[0]))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
