"""What SPOTIO knows: data objects, deleted ones, activities and appointments, saved filters. It refuses what it refuses
here.

An object is a dict that nobody changes: a change puts a new one in its place, so that a list of objects stays what it
was while somebody reads it page by page.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from emulators.control import Clock
from emulators.vendors.spotio import workflow as setup
from emulators.vendors.spotio.workflow import KEY_OWNER, LONGEST_TEXT, Field, ObjectType, Workflow

Object = dict[str, Any]
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_AMERICAN_PHONE = re.compile(r"(?:\+?1[ .-]?)?\(?(\d{3})\)?[ .-]?(\d{3})[ .-]?(\d{4})")
LONGEST_TITLE, LONGEST_NOTES = 128, 512
PERSONAL = ("Note", "Event")  # what people do; the rest are the system's own events


class Refused(Exception):
    """An answer that is no success; `errors` by field id, or `_` for the whole."""

    def __init__(self, status: int, **errors: str) -> None:
        super().__init__(errors)
        self.status, self.errors = status, errors


class State:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        self.workflow = Workflow()
        self.objects: dict[str, Object] = {}
        self.deleted: list[dict[str, Any]] = []
        self.activities: dict[int, dict[str, Any]] = {}
        self.activities_of: defaultdict[str, list[int]] = defaultdict(list)  # by object
        self.appointments: dict[int, dict[str, Any]] = {}
        self.filters: dict[str, dict[str, Any]] = {}
        self.lag_seconds = 0.0  # how late what was written shows in exports, searches and feeds
        self.refused: set[str] = set()  # companies that it does not take, by order
        self._numbers = itertools.count(1)

    def dump(self) -> dict[str, Any]:
        """What is kept between two starts, as JSON takes it."""
        objects = [item | {"fields": list(item["fields"].items())} for item in self.objects.values()]
        return {
            "next": next(self._numbers), "objects": objects, "deleted": self.deleted,
            "activities": list(self.activities.values()), "appointments": list(self.appointments.values()),
        }  # fmt: skip

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Becomes what was dumped."""
        self.reset()
        self._numbers = itertools.count(kept["next"])
        self.objects = {item["id"]: item | {"fields": dict(item["fields"])} for item in kept["objects"]}
        self.deleted = list(kept["deleted"])
        self.activities = {item["id"]: item for item in kept["activities"]}
        for item in kept["activities"]:
            self.activities_of[item["dataObjectId"]].append(item["id"])
        self.appointments = {item["id"]: item for item in kept["appointments"]}

    def now(self) -> str:
        return text_of(self._clock.now())

    def shown_until(self) -> str:
        """What was changed later than this is not in any list yet."""
        return text_of(self._clock.now() - timedelta(seconds=self.lag_seconds))

    # -- objects -----------------------------------------------------------------------------------------------------

    def get(self, object_id: str) -> Object:
        if object_id not in self.objects:
            raise Refused(404, _="Data object not found")
        return self.objects[object_id]

    def create(self, given: Mapping[str, Any], *, by: int = KEY_OWNER, check: bool = True) -> Object:
        """A new object from the properties of a DataObjectRequest. Two with the same externalDataObjectId are two."""
        with self.lock:
            kind = self._kind(given.get("typeId"))
            now = self.now()
            made = given.get("createdAt") or now
            blank: Object = {
                "id": f"{next(self._numbers):024x}", "typeId": kind.id, "stageId": kind.stages[0].id, "ownerId": by,
                "pin": None, "source": None, "externalDataObjectId": None, "fields": {}, "parentId": None,
                "createdAt": made, "createdById": by, "stageUpdatedAt": None, "stageUpdatedById": None,
                "territoryId": None, "collaboratorIds": [], "addressUnit": None, "textOptedIn": False,
            }  # fmt: skip
            known = self._changed(blank, given, by=by, check=check, whole=True)
            self.objects[known["id"]] = known
            self._event(known, "Create", by=by)
            return known

    def change(
        self, object_id: str, given: Mapping[str, Any], *, by: int = KEY_OWNER, check: bool = True, whole: bool = False
    ) -> Object:
        """The object with what is given. Custom fields that are not named stay, unless the list is `whole`."""
        with self.lock:
            before = self.get(object_id)
            known = self._changed(before, given, by=by, check=check, whole=whole)
            if known["stageId"] != before["stageId"]:
                known |= {"stageUpdatedAt": self.now(), "stageUpdatedById": by}
                moved = {"fromStageId": str(before["stageId"]), "toStageId": str(known["stageId"])}
                self._event(known, "Transition", by=by, transition=moved)
            if known["ownerId"] != before["ownerId"]:
                owners = (str(before["ownerId"]), str(known["ownerId"]))
                names = ("previousDataObjectOwnerId", "newDataObjectOwnerId")
                self._event(known, "OwnerChanged", by=by, ownerChanged=dict(zip(names, owners, strict=True)))
            if known["fields"] != before["fields"]:
                self._event(known, "Update", by=by)
            self.objects[object_id] = known
            return known

    def delete(self, object_id: str, *, by: int = KEY_OWNER, permanently: bool = False) -> None:
        """Out of the lists; what was deleted permanently is in no list of deleted objects either."""
        with self.lock:
            known = self.get(object_id)
            del self.objects[object_id]
            if not permanently:
                self.deleted.append({"id": object_id, "deletedAt": self.now(), "deletedById": by, "object": known})

    def touch(self, object_id: str) -> None:
        """Only its stamp moves, as with an activity."""
        with self.lock:
            if object_id in self.objects:
                self.objects[object_id] = self.objects[object_id] | {"updatedAt": self.now()}

    def _kind(self, number: Any) -> ObjectType:
        kind = self.workflow.types.get(number) if isinstance(number, int) else None
        if kind is None:
            raise Refused(400, typeId=f"There is no data object type {number}")
        return kind

    def _changed(self, known: Object, given: Mapping[str, Any], *, by: int, check: bool, whole: bool) -> Object:
        kind = self.workflow.types[known["typeId"]]
        plain = ("source", "externalDataObjectId", "parentId", "collaboratorIds", "addressUnit")
        result = known | {name: given[name] for name in plain if name in given}
        if given.get("stageId") is not None:
            if given["stageId"] not in kind.stage_ids:
                raise Refused(400, stageId=f"There is no stage {given['stageId']}")
            result["stageId"] = given["stageId"]
        if given.get("ownerId") is not None:
            if given["ownerId"] not in self.workflow.users:
                raise Refused(400, ownerId=f"There is no user {given['ownerId']}")
            result["ownerId"] = given["ownerId"]
        if "pin" in given:
            result["pin"] = _pin(given["pin"], result["pin"], next(self._numbers))
        if given.get("fields") is not None:
            result["fields"] = self._fields(kind, {} if whole else known["fields"], given["fields"])
        elif whole:
            result["fields"] = {}
        if check:
            missing = {
                str(item.id): f"{item.name} is required"
                for item in kind.fields
                if item.required and not result["fields"].get(item.id)
            }
            if missing:
                raise Refused(400, **missing)
        return result | {"updatedAt": self.now(), "updatedById": by}

    def _fields(self, kind: ObjectType, known: Mapping[int, Any], given: Sequence[Any]) -> dict[int, Any]:
        errors: dict[str, str] = {}
        result = dict(known)
        for item in given:
            number = int(item["fieldId"]) if str(item.get("fieldId", "")).isdigit() else -1
            if number not in kind.by_id:
                errors[str(item.get("fieldId", "_"))] = "There is no such field"
                continue
            spec = kind.by_id[number]
            value = item.get("values") if spec.type == setup.SEVERAL else item.get("value")
            kept, problem = stored(spec, value)
            if spec.name == "Company" and kept in self.refused:
                problem = "is not taken"
            if problem:
                errors[str(number)] = f"{spec.name} {problem}"
            elif kept in (None, []):
                result.pop(number, None)
            else:
                result[number] = kept
        if errors:
            raise Refused(400, **errors)
        return result

    def name_of(self, known: Object) -> str:
        kind = self.workflow.types[known["typeId"]]
        return next((known["fields"].get(item.id, "") for item in kind.fields if item.role == "Name"), "")

    # -- activities --------------------------------------------------------------------------------------------------

    def _event(self, known: Object, kind: str, *, by: int, **more: Any) -> None:
        self.add_activity(known["id"], type=kind, ownerId=by, done=True, touches=False, **more)

    def add_activity(self, object_id: str, *, touches: bool = True, **given: Any) -> dict[str, Any]:
        """Something that was done; `date` is when, and may be long ago."""
        with self.lock:
            now = self.now()
            blank: dict[str, Any] = {
                "type": "Event", "activityTemplateId": None, "done": True, "ownerId": KEY_OWNER, "date": now,
                "allDay": False, "title": None, "notes": None, "text": None, "durationSeconds": None, "createdAt": now,
            }  # fmt: skip
            number = next(self._numbers)
            self.activities[number] = blank | {"id": number, "dataObjectId": object_id} | given | {"updatedAt": now}
            self.activities_of[object_id].append(number)
            if touches:
                self.touch(object_id)
            return self.activities[number]

    def change_activity(self, number: int, **given: Any) -> dict[str, Any]:
        with self.lock:
            if number not in self.activities:
                raise Refused(404, _="Activity not found")
            self.activities[number] = self.activities[number] | given | {"updatedAt": self.now()}
            self.touch(self.activities[number]["dataObjectId"])
            return self.activities[number]

    def plan_activity(self, object_id: str, *, date: str, series: int | None = None, **given: Any) -> dict[str, Any]:
        """An appointment: an activity that is not done, and what the calendar has of it. With `series`, one that
        recurs."""
        with self.lock:
            activity = self.add_activity(object_id, done=False, date=date, **given)
            number = next(self._numbers)
            self.appointments[number] = {"id": number, "activityId": activity["id"], "series": series}
            return self.appointments[number]

    def finish(self, appointment: int) -> dict[str, Any]:
        """The appointment is done: its activity comes into the feed."""
        return self.change_activity(self.appointments[appointment]["activityId"], done=True)

    def open_appointments(self, object_id: str) -> list[dict[str, Any]]:
        own = {number for number in self.activities_of.get(object_id, ()) if not self.activities[number]["done"]}
        found = [item for item in self.appointments.values() if item["activityId"] in own] if own else []
        return sorted(found, key=lambda item: str(self.activities[item["activityId"]]["date"]))


def text_of(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def moment_of(text: str) -> datetime:
    """Refused when it is no date-time."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(422, _=f"{text!r} is no date-time") from None
    if found.tzinfo is None:
        raise Refused(422, _=f"{text!r} has no offset")
    return found


def stored(spec: Field, value: Any) -> tuple[Any, str]:
    """What is kept of a field's value, and what is wrong with it. Some of it is kept in another form than it came."""
    if spec.type == setup.SEVERAL:
        values = list(value or [])
        unknown = [item for item in values if item not in spec.options]
        return (None, f"has no option {unknown[0]!r}") if unknown else (values, "")
    if value is not None and not isinstance(value, str):
        return None, "must be a text"
    text = (value or "").strip()
    if not text:
        return None, ""
    if spec.type == setup.ONE:
        return (text, "") if text in spec.options else (None, f"has no option {text!r}")
    if spec.type == setup.NUMBER:
        try:
            number = float(text)
        except ValueError:
            return None, f"is no number: {text!r}"
        return (str(int(number)) if number.is_integer() else str(number)), ""
    if spec.type in (setup.DATE, setup.MOMENT):
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            return None, f"is no date: {text!r}"
        return (found.date().isoformat() if spec.type == setup.DATE else text_of(found.astimezone())), ""
    if spec.type == setup.EMAIL:
        return (text.lower(), "") if _EMAIL.fullmatch(text) else (None, f"is no e-mail address: {text!r}")
    if spec.type == setup.PHONE:
        american = _AMERICAN_PHONE.fullmatch(text)
        return ("({}) {}-{}".format(*american.groups()) if american else text), ""
    if spec.type == "Text" and len(text) > LONGEST_TEXT:
        return None, f"is longer than {LONGEST_TEXT} characters"
    return text, ""


def _pin(given: Mapping[str, Any] | None, known: Mapping[str, Any] | None, number: int) -> dict[str, Any] | None:
    """Where the object lies. The number belongs to the place, and so is a new one for a new address."""
    if given is None:
        return None
    merged = {**(known or {}), **{name: value for name, value in given.items() if name not in ("id", "skipGeocoding")}}
    if known is not None and {**merged, "id": known["id"]} == known:
        return dict(known)
    return {"lat": 0.0, "lng": 0.0, **merged, "id": number}
