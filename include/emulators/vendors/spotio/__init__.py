"""SPOTIO's API, as far as a sync of records and activities uses it, by the vendor's own OpenAPI document.

workflow.py is how the company has set it up, state.py what it knows and refuses, answers.py what it says, bulk.py its
jobs, patches.py its JSON Patch, lists.py its pages, webhooks.py what it sends by itself.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from emulators.control import Clock
from emulators.vendors.spotio import answers, patches
from emulators.vendors.spotio import workflow as setup
from emulators.vendors.spotio.bulk import Jobs
from emulators.vendors.spotio.lists import Scrolls
from emulators.vendors.spotio.state import PERSONAL, Object, Refused, State, moment_of, text_of
from emulators.vendors.spotio.webhooks import Webhooks
from emulators.vendors.vendor import Vendor
from emulators.wire import Call, Reply, Route

CLIENT_ID, SECRET = "fake-spotio-client", "fake-spotio-secret"
TOKEN_DAYS = 30
PAGE, EXPORT_PAGE, USERS_PAGE = 50, 500, 20
OLDEST = "0001-01-01T00:00:00.000+00:00"
_DATE_FIELDS = {"ActivityDate": "date", "ActivityCreatedAt": "createdAt", "ActivityUpdatedAt": "updatedAt"}


class Spotio(Vendor):
    """`calls` counts the calls by method and path template; `traffic` keeps them with their answers, for a test to
    judge."""

    system = "spotio"

    def __init__(self, clock: Clock, *, demo: bool) -> None:
        super().__init__(clock, demo=demo)
        self.calls: Counter[str] = Counter()
        self.traffic: list[dict[str, Any]] | None = None
        self.state, self.scrolls, self.webhooks = State(clock), Scrolls(), Webhooks()
        self.jobs = Jobs(self.state)
        self._tokens: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def reset(self) -> None:
        self.calls.clear()
        self.state.reset()
        self.jobs.reset()
        self.scrolls.reset()
        self.webhooks.reset()
        self._tokens.clear()

    def credentials(self, root: str) -> dict[str, Any]:
        return {"base_url": f"{root}/spotio", "client_id": CLIENT_ID, "secret": SECRET}

    def dump(self) -> dict[str, Any]:
        with self.state.lock:
            return self.state.dump()

    def restore(self, kept: dict[str, Any]) -> None:
        self.state.restore(kept)

    # -- signing in --------------------------------------------------------------------------------------------------

    def sign_in(self, call: Call) -> Reply:
        given = _json(call)
        if given.get("clientId") != CLIENT_ID or given.get("secret") != SECRET:
            return Reply(None, status=401)
        token = f"fake-token-{len(self._tokens) + 1}"
        self._tokens[token] = self.clock.now() + timedelta(days=TOKEN_DAYS)
        return Reply({"accessToken": token})

    def _is_known(self, call: Call) -> bool:
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        return kind == "Bearer" and token in self._tokens and self.clock.now() < self._tokens[token]

    # -- how it is set up, and users ---------------------------------------------------------------------------------

    def types(self, call: Call) -> Any:
        return [setup.type_answer(kind) for kind in self.state.workflow.types.values()]

    def fields(self, call: Call, type_id: str) -> Any:
        return [setup.field_answer(item) for item in self._type(type_id).fields]

    def stages(self, call: Call, type_id: str) -> Any:
        return setup.stages_answer(self._type(type_id))

    def field_integrations(self, call: Call, field_id: str) -> Any:
        return []

    def templates(self, call: Call) -> Any:
        return [setup.template_answer(item) for item in self.state.workflow.templates.values()]

    def all_users(self, call: Call) -> Any:
        return [setup.user_answer(user) for user in self.state.workflow.users.values()]

    def user_of(self, call: Call) -> Any:
        for user in self.state.workflow.users.values():
            if user.external_id is not None and user.external_id == call.query.get("id"):
                return setup.user_answer(user)
        raise Refused(422, _="There is no such user")

    def users(self, call: Call) -> Any:
        items, following = self._page(call, lambda: list(self.state.workflow.users.values()), "pageSize", USERS_PAGE)
        return {"scrollId": following, "items": [setup.user_answer(user) for user in items]}

    def _type(self, type_id: str) -> setup.ObjectType:
        kind = self.state.workflow.types.get(int(type_id)) if type_id.isdigit() else None
        if kind is None:
            raise Refused(404, _="There is no such type")
        return kind

    # -- objects -----------------------------------------------------------------------------------------------------

    def export(self, call: Call) -> Any:
        after = call.query.get("updatedAfter")
        since = text_of(moment_of(after).astimezone(UTC)) if after else OLDEST
        until = self.state.shown_until()

        def found() -> list[Object]:
            kept = [item for item in self.state.objects.values() if since < item["updatedAt"] <= until]
            return sorted(kept, key=lambda item: str(item["updatedAt"]))

        items, following = self._page(call, found, "", EXPORT_PAGE)
        made = [answers.export_item(self.state, item, answers.activity_times(self.state, item)) for item in items]
        return {"scrollId": following, "items": made}

    def get(self, call: Call, object_id: str) -> Any:
        return answers.with_parent(self.state, self.state.get(object_id))

    def many(self, call: Call) -> Any:
        wanted = call.query.get("dataObjectsIds", "").split(",")
        return [
            answers.data_object(self.state, self.state.objects[name]) for name in wanted if name in self.state.objects
        ]

    def search(self, call: Call) -> Any:
        query = call.query
        fields = frozenset(query.get("includeCustomFieldIds", "").split(","))
        until = self.state.shown_until()

        def found() -> list[Object]:
            return [
                item for item in self.state.objects.values() if item["updatedAt"] <= until and self._suits(query, item)
            ]

        whole = found() if "scrollId" not in query else []
        items, following = self._page(call, lambda: whole, "perPage", PAGE)
        owners = query.get("includeOwnerExternalUserId", "").lower() == "true"
        made = [answers.search_item(self.state, item, fields=fields, external_owner=owners) for item in items]
        return {"scrollId": following, "totalCount": len(whole), "totalValue": None, "items": made}

    def _suits(self, query: dict[str, str], item: Object) -> bool:
        if "singleType" in query and str(item["typeId"]) != query["singleType"]:
            return False
        if "stageId" in query and str(item["stageId"]) not in query["stageId"].split(","):
            return False
        groups = query.get("stageGroups")
        if groups is not None and self.state.workflow.stage(item["stageId"]).group not in groups.split(","):
            return False
        if "hasAddress" in query and (item["pin"] is not None) != (query["hasAddress"].lower() == "true"):
            return False
        words = [self.state.name_of(item), *map(str, item["fields"].values()), str((item["pin"] or {}).get("address"))]
        return query.get("q", "").lower() in " ".join(words).lower()

    def deleted(self, call: Call) -> Any:
        begin, end = (call.query.get(name) for name in ("startDate", "endDate"))
        first = text_of(moment_of(begin).astimezone(UTC)) if begin else OLDEST
        last = text_of(moment_of(end).astimezone(UTC)) if end else self.state.now()
        entries = self.state.deleted
        items, following = self._page(
            call, lambda: [item for item in entries if first <= item["deletedAt"] <= last], "", PAGE
        )
        return {"scrollId": following, "deletedDataObjects": [answers.deleted_item(item) for item in items]}

    def same_address(self, call: Call, object_id: str) -> Any:
        known = self.state.get(object_id)
        address = (known["pin"] or {}).get("address")
        return [
            {"id": item["id"], "typeId": str(item["typeId"]), "name": self.state.name_of(item), "stageId": str(item["stageId"]),
             "phones": [], "emails": [], "visitsCount": 0, "textOptedIn": False, "phonesFullInfo": []}
            for item in self.state.objects.values()
            if address and item["id"] != object_id and (item["pin"] or {}).get("address") == address
        ]  # fmt: skip

    def create(self, call: Call) -> Any:
        given = _json(call)
        known = self.state.create(_object(given.get("dataObject")))
        if isinstance(given.get("activity"), dict):
            activity = given["activity"]
            names = ("type", "done", "title", "notes", "date")
            self.state.add_activity(
                known["id"], **{name: activity[name] for name in names if activity.get(name) is not None}
            )
        self.webhooks.tell("lead.added", {"id": known["id"]}, self.state.now())
        return answers.with_parent(self.state, known)

    def create_with_children(self, call: Call) -> Any:
        given = _object(_json(call).get("dataObject"))
        with self.state.lock:
            parent = self.state.create(_object(given.get("parent")))
            made: list[Object] = []
            try:
                for child in given.get("children") or []:
                    made.append(self.state.create(_object(child) | {"parentId": parent["id"]}))  # noqa: PERF401 - see below
            except Refused:
                for item in (*made, parent):  # all of them, or none
                    del self.state.objects[item["id"]]
                raise
        children = [answers.child_object(self.state, item) for item in made]
        return {"parent": answers.data_object(self.state, parent), "children": children}

    def patch(self, call: Call, object_id: str) -> Any:
        check = call.query.get("validateRequiredFields", "true").lower() != "false"
        with self.state.lock:
            changes = patches.patched(patches.document_of(self.state.get(object_id)), _json_or_list(call))
            known = self.state.change(object_id, changes, check=check, whole="fields" in changes)
        self.webhooks.tell("lead.updated", {"id": object_id}, self.state.now())
        return answers.data_object(self.state, known)

    def delete(self, call: Call, object_id: str) -> Any:
        given = _json(call) if call.body else {}
        mode, children = given.get("mode", "Delete"), self._children(object_id)
        if mode not in ("Delete", "DeleteAndReassign"):
            raise Refused(400, mode=f"{mode!r} is no mode")
        with self.state.lock:
            self.state.delete(object_id, permanently=bool(given.get("permanently")))
            for child in children:
                if mode == "Delete":
                    self.state.delete(child, permanently=bool(given.get("permanently")))
                else:
                    self.state.change(child, {"parentId": given.get("newParentId")}, check=False)
        self.webhooks.tell("lead.deleted", {"id": object_id}, self.state.now())
        return None

    def _children(self, object_id: str) -> list[str]:
        return [item["id"] for item in self.state.objects.values() if item["parentId"] == object_id]

    def move(self, call: Call) -> Any:
        given = _json(call)
        places = [item["pin"] for item in self.state.objects.values() if item["pin"]]
        pin = next((item for item in places if item["id"] == given.get("pinId")), None)
        if pin is None:
            raise Refused(400, pinId="There is no such pin")
        for item in given.get("dataObjects") or []:
            self.state.change(str(item.get("id")), {"pin": pin}, check=False)
        return None

    # -- bulk jobs ---------------------------------------------------------------------------------------------------

    def new_job(self, call: Call) -> Any:
        given = _json(call)
        return self.jobs.create(given.get("operation"), given.get("dataObjectTypeId")).answer()

    def jobs_at_work(self, call: Call) -> Any:
        return [job.answer() for job in self.jobs.jobs.values() if job.state in ("UploadComplete", "InProgress")]

    def job(self, call: Call, job_id: str) -> Any:
        return self.jobs.look(job_id).answer()

    def upload(self, call: Call, job_id: str) -> Any:
        return self.jobs.upload(job_id, call.body)

    def start(self, call: Call, job_id: str) -> Any:
        return self.jobs.start(job_id).answer()

    def progress(self, call: Call, job_id: str) -> Any:
        return self.jobs.look(job_id).progress()

    def succeeded(self, call: Call, job_id: str) -> Reply:
        return Reply(self.jobs.results(job_id, failed=False), content_type="application/x-ndjson")

    def failed(self, call: Call, job_id: str) -> Reply:
        return Reply(self.jobs.results(job_id, failed=True), content_type="application/x-ndjson")

    def clean(self, call: Call, job_id: str) -> Any:
        self.jobs.clean(job_id)
        return None

    # -- activities --------------------------------------------------------------------------------------------------

    def save_filter(self, call: Call) -> Any:
        given = _json(call)
        if given.get("dateField") is not None and given["dateField"] not in _DATE_FIELDS:
            raise Refused(422, dateField="is not known here")
        number = str(len(self.state.filters) + 1)
        self.state.filters[number] = given
        return {"id": number} | given

    def feed(self, call: Call) -> Any:
        """What is done, of all kinds: also what the system itself notes. `date` is when it was done, whenever it was
        written down."""
        query = {name.lower(): value for name, value in call.query.items()}
        span = (query.get("startdate"), query.get("enddate"))
        kind = query.get("singletype")

        def found() -> list[dict[str, Any]]:
            done = [item for item in self._between(span, query.get("filterid")) if item["done"]]
            of_kind = [item for item in done if kind is None or self._type_of(item) == kind]
            return sorted(of_kind, key=lambda item: str(item["date"]))

        items, following = self._page(call, found, "", PAGE, name="scrollid")
        return {"scrollId": following, "items": [answers.feed_item(self.state, item) for item in items]}

    def export_activities(self, call: Call) -> Any:
        given = _json(call)
        span = (given.get("startDate"), given.get("endDate"))
        items, following = self._page(call, lambda: self._between(span, given.get("filterId")), "", EXPORT_PAGE)
        return {"scrollId": following, "items": [answers.exported_activity(self.state, item) for item in items]}

    def _between(self, span: tuple[str | None, str | None], filter_id: str | None) -> list[dict[str, Any]]:
        until = self.state.shown_until()
        found = [item for item in self.state.activities.values() if item["updatedAt"] <= until]
        conditions: list[tuple[str, tuple[str | None, str | None]]] = [("date", span)]
        if filter_id:
            saved = self.state.filters.get(filter_id)
            if saved is None:
                raise Refused(400, FilterId="There is no such filter")
            conditions.append(
                (_DATE_FIELDS[saved.get("dateField") or "ActivityDate"], (saved.get("startDate"), saved.get("endDate")))
            )
        for name, (first, last) in conditions:
            begin = text_of(moment_of(first).astimezone(UTC)) if first else OLDEST
            end = text_of(moment_of(last).astimezone(UTC)) if last else "9"
            found = [item for item in found if begin <= text_of(moment_of(item[name]).astimezone(UTC)) <= end]
        return found

    def _type_of(self, item: dict[str, Any]) -> str | None:
        known = self.state.objects.get(item["dataObjectId"])
        return str(known["typeId"]) if known else None

    def activity(self, call: Call, activity_id: str) -> Any:
        item = self.state.activities.get(int(activity_id)) if activity_id.isdigit() else None
        if item is None:
            raise Refused(404, _="Activity not found")
        return answers.activity(item)

    def historical(self, call: Call, object_id: str) -> Any:
        self.state.get(object_id)
        own = (self.state.activities[number] for number in self.state.activities_of.get(object_id, ()))
        done = [item for item in own if item["done"] and item["type"] in PERSONAL]
        items, following = self._page(call, lambda: done, "", PAGE)
        names = (
            "id", "activityTemplateId", "type", "ownerId", "title", "notes", "text", "date", "durationSeconds", "allDay",
        )  # fmt: skip
        made = [{name: answers.feed_item(self.state, item)[name] for name in names} for item in items]
        return {"scrollId": following, "items": [item | {"dataObjectId": object_id} for item in made]}

    def upcoming(self, call: Call, object_id: str) -> Any:
        self.state.get(object_id)
        found = [
            made for entry in self.state.open_appointments(object_id) for made in answers.upcoming(self.state, entry)
        ]
        items, following = self._page(call, lambda: found, "", PAGE)
        return {"scrollId": following, "items": list(items)}

    def appointment(self, call: Call, appointment_id: str) -> Any:
        entry = self.state.appointments.get(int(appointment_id)) if appointment_id.isdigit() else None
        if entry is None:
            raise Refused(400, _="There is no such appointment")
        return answers.appointment(self.state, entry)

    def appointment_of(self, call: Call, activity_id: str) -> Any:
        for entry in self.state.appointments.values():
            if str(entry["activityId"]) == activity_id:
                return answers.appointment(self.state, entry)
        raise Refused(400, _="There is no such appointment")

    # -- HTTP --------------------------------------------------------------------------------------------------------

    def _page(
        self, call: Call, found: Callable[[], Sequence[Any]], size_name: str, size: int, *, name: str = "scrollId"
    ) -> tuple[Sequence[Any], str | None]:
        query = call.query if name == "scrollId" else {key.lower(): value for key, value in call.query.items()}
        asked = query.get(size_name, "")
        if size_name and asked and not (asked.isdigit() and int(asked) > 0):
            raise Refused(422, **{size_name: "must be a number above 0"})
        with self.state.lock:
            if query.get(name):
                return self.scrolls.next(query[name])
            return self.scrolls.first(found(), int(asked or size))

    def routes(self) -> tuple[Route, ...]:
        jobs, webhooks = "/api/jobs/dataObjects/bulk", self.webhooks
        table: tuple[tuple[str, str, Callable[..., Any]], ...] = (
            ("GET", "/api/workflow/dataObjects/full", self.types),
            ("GET", "/api/workflow/dataobjects/fields/{field_id}/integrations", self.field_integrations),
            ("GET", "/api/workflow/dataobjects/{type_id}/fields", self.fields),
            ("GET", "/api/workflow/dataObjects/{type_id}/stages", self.stages),
            ("GET", "/api/workflow/activityTemplates", self.templates),
            ("GET", "/api/users", self.all_users),
            ("GET", "/api/users/externalSystemUserId", self.user_of),
            ("GET", "/api/v2/users/list", self.users),
            ("GET", "/api/Exports/dataObjects/data", self.export),
            ("POST", "/api/Exports/activities/data/flexible", self.export_activities),
            ("GET", "/api/DataObjects/many", self.many),
            ("GET", "/api/DataObjects/deleted", self.deleted),
            ("POST", "/api/DataObjects/move", self.move),
            ("POST", "/api/DataObjects/withChildren", self.create_with_children),
            ("POST", "/api/DataObjects", self.create),
            ("GET", "/api/DataObjectsSearch", self.search),
            ("PATCH", "/api/DataObjects/{object_id}/jsonp", self.patch),
            ("GET", "/api/DataObjects/{object_id}/duplicatesByAddress", self.same_address),
            ("GET", "/api/DataObjects/{object_id}/activities/historical", self.historical),
            ("GET", "/api/DataObjects/{object_id}/appointments/upcoming", self.upcoming),
            ("GET", "/api/DataObjects/{object_id}", self.get),
            ("DELETE", "/api/DataObjects/{object_id}", self.delete),
            ("POST", jobs, self.new_job),
            ("GET", f"{jobs}/inprogress", self.jobs_at_work),
            ("GET", f"{jobs}/{{job_id}}", self.job),
            ("PUT", f"{jobs}/{{job_id}}/data", self.upload),
            ("POST", f"{jobs}/{{job_id}}/start", self.start),
            ("GET", f"{jobs}/{{job_id}}/progress", self.progress),
            ("GET", f"{jobs}/{{job_id}}/results/succeeded", self.succeeded),
            ("GET", f"{jobs}/{{job_id}}/results/failed", self.failed),
            ("DELETE", f"{jobs}/{{job_id}}/cleanup", self.clean),
            ("POST", "/api/v2/filters", self.save_filter),
            ("GET", "/api/v2/activities/feed", self.feed),
            ("GET", "/api/v2/activities/{activity_id}", self.activity),
            ("GET", "/api/v2/appointments/byActivity/{activity_id}", self.appointment_of),
            ("GET", "/api/v2/appointments/{appointment_id}", self.appointment),
            ("GET", "/api/Webhooks/scopes", lambda _: webhooks.scopes()),
            ("GET", "/api/Webhooks", lambda _: webhooks.all()),
            ("POST", "/api/Webhooks", lambda call: webhooks.create(_json(call))),
            ("PUT", "/api/Webhooks/{webhook_id}", lambda call, webhook_id: webhooks.change(webhook_id, _json(call))),
            ("DELETE", "/api/Webhooks/{webhook_id}", lambda _, webhook_id: webhooks.delete(webhook_id)),
        )
        token = Route(
            ("POST",),
            "/spotio/api/users/apitoken",
            self._answered("POST /api/users/apitoken", self.sign_in, open_=True),
        )
        return (
            token,
            *(
                Route((method,), f"/spotio{path}", self._answered(f"{method} {path}", handler))
                for method, path, handler in table
            ),
        )

    def _answered(self, name: str, handler: Callable[..., Any], *, open_: bool = False) -> Callable[..., Reply]:
        """Counts the call, and lets it in when it brings a token that is good; whatever is refused says why."""

        def answer(call: Call, **values: str) -> Reply:
            with self._lock:
                self.calls[name] += 1
            if not open_ and not self._is_known(call):
                reply = Reply(None, status=401)
            else:
                try:
                    made = handler(call, **values)
                    reply = made if isinstance(made, Reply) else Reply(made)
                except Refused as refused:
                    reply = Reply({"errors": refused.errors}, status=refused.status)
            reply.headers["date"] = format_datetime(self.clock.now().replace(microsecond=0), usegmt=True)
            if self.traffic is not None:
                self.traffic.append(_recorded(name, call, values, reply))
            return reply

        return answer

    # -- what tests and the demo order -------------------------------------------------------------------------------

    def control_routes(self) -> tuple[Route, ...]:
        def objects(_: Call) -> Reply:
            return Reply([answers.data_object(self.state, item) for item in list(self.state.objects.values())])

        def order(call: Call) -> Reply:
            """`create`, `change` (by id) and `visit` (by id): what people do in SPOTIO."""
            given = _json(call)
            made = [self.state.create(item, by=12)["id"] for item in given.get("create", [])]
            for item in given.get("change", []):
                self.state.change(item["id"], item["to"], by=12)
            for item in given.get("visit", []):
                self.state.add_activity(item["id"], ownerId=12, **item["activity"])
            return Reply({"ids": made})

        return (
            Route(("GET",), "/_emulator/spotio/objects", objects),
            Route(("POST",), "/_emulator/spotio", order),
            Route(("GET",), "/_emulator/spotio/calls", lambda _: Reply(dict(self.calls))),
        )


def _json(call: Call) -> dict[str, Any]:
    found = _json_or_list(call)
    if not isinstance(found, dict):
        raise Refused(400, _="The body is no JSON object")
    return found


def _json_or_list(call: Call) -> Any:
    kind = call.headers.get("content-type", "").partition(";")[0]
    if kind not in ("application/json", "text/json") and not kind.endswith("+json"):
        raise Refused(415, _=f"The content type {kind!r} is not known")
    try:
        return json.loads(call.body)
    except ValueError:
        raise Refused(400, _="The body is no JSON") from None


def _object(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Refused(400, dataObject="is missing")
    return given


def _recorded(name: str, call: Call, values: dict[str, str], reply: Reply) -> dict[str, Any]:
    query = parse_qs(urlsplit(call.target).query, keep_blank_values=True)
    return {
        "operation": name, "path": values, "query": query, "body": call.body, "status": reply.status,
        "content_type": call.headers.get("content-type", ""), "answer": reply.encoded(),
    }  # fmt: skip


EMULATOR = Spotio
