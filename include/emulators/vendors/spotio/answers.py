"""What SPOTIO says of its objects and activities: the same thing has ids as numbers in one answer and as texts in
another.

A property that is not nullable in the vendor's document is left out when there is nothing to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from emulators.vendors.spotio import workflow as setup
from emulators.vendors.spotio.state import Object, State

_TICKS_AT_1970 = 621_355_968_000_000_000  # .NET counts 100 ns from the year 1


def text(value: Any) -> str | None:
    return None if value is None else str(value)


def without_nothing(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The values, but for these names where they are None."""
    return {name: value for name, value in values.items() if value is not None or name not in names}


def activity_times(state: State, known: Object) -> tuple[str | None, str | None]:
    """When the last thing was done with the object, and when the next is planned."""
    own = [state.activities[number] for number in state.activities_of.get(known["id"], ())]
    done = [item["date"] for item in own if item["done"] and item["type"] in ("Note", "Event")]
    coming = [state.activities[item["activityId"]]["date"] for item in state.open_appointments(known["id"])]
    return max(done, default=None), min(coming, default=None)


def export_item(state: State, known: Object, times: tuple[str | None, str | None]) -> dict[str, Any]:
    """DataObjectExportItem: ids as numbers; no parent, phones or e-mails; several choices as one text."""
    pin = known["pin"]
    found = {
        "id": known["id"], "typeId": known["typeId"], "name": state.name_of(known),
        "addressUnit": known["addressUnit"],
        "pin": None if pin is None else {
            "id": pin["id"], "lat": pin["lat"], "lng": pin["lng"], "placeId": pin.get("placeId"),
            "address": pin.get("address"), "zip": pin.get("zip"),
        },
        "value": None, "stageId": known["stageId"],
        "fields": [
            {"fieldId": number, "value": ", ".join(value) if isinstance(value, list) else value}
            for number, value in known["fields"].items()
        ],
        "ownerId": known["ownerId"], "updatedAt": known["updatedAt"], "createdAt": known["createdAt"],
        "stageUpdatedById": known["stageUpdatedById"], "stageUpdatedAt": known["stageUpdatedAt"],
        "createdById": known["createdById"], "updatedById": known["updatedById"], "territoryId": known["territoryId"],
        "source": known["source"], "lastLocationStatus": "Unknown", "lastActivityTime": times[0],
        "lastActivityOwnerId": None, "nextActivityTime": times[1], "visitsCount": 0, "lastVisitDate": None,
        "dateOfAssignment": known["createdAt"], "lastVisitResultId": None, "callCount": 0, "lastCallDate": None,
        "lastCallResultId": None, "lastContractSignedDate": None,
        "externalDataObjectId": known["externalDataObjectId"],
    }  # fmt: skip
    return without_nothing(found, "pin")


def data_object(state: State, known: Object) -> dict[str, Any]:
    """DataObject: ids as texts, the fields with their labels, phones and e-mails."""
    kind = state.workflow.types[known["typeId"]]
    pin, last, coming = known["pin"], *activity_times(state, known)
    phones = [
        known["fields"][item.id] for item in kind.fields if item.type == setup.PHONE and item.id in known["fields"]
    ]
    emails = [
        known["fields"][item.id] for item in kind.fields if item.type == setup.EMAIL and item.id in known["fields"]
    ]
    found = {
        "id": known["id"], "name": state.name_of(known), "stageId": text(known["stageId"]),
        "ownerId": text(known["ownerId"]), "pin": None if pin is None else _pin(pin), "source": known["source"],
        "createdAt": known["createdAt"], "updatedAt": known["updatedAt"], "lastVisitResultId": None,
        "lastVisitDate": None, "lastVisitNote": None, "externalDataObjectId": known["externalDataObjectId"],
        "territoryId": text(known["territoryId"]), "territories": [], "stageUpdatedAt": known["stageUpdatedAt"],
        "stageUpdatedById": text(known["stageUpdatedById"]), "createdById": text(known["createdById"]),
        "updatedById": text(known["updatedById"]), "lastLocationStatus": "Unknown", "visitsCount": 0,
        "lastActivityTime": last, "nextActivityTime": coming, "dateOfAssignment": known["createdAt"], "callsCount": 0,
        "lastCallDate": None, "lastCallResultId": None,
        "fields": [_field_value(kind.by_id[number], value) for number, value in known["fields"].items()],
        "typeId": text(known["typeId"]), "access": "Full", "phones": phones, "emails": emails, "value": None,
        "addressUnit": known["addressUnit"], "textOptedIn": known["textOptedIn"],
        "phonesFullInfo": [{"phone": phone, "textOptedIn": False} for phone in phones],
        "collaboratorIds": [str(number) for number in known["collaboratorIds"] or []],
    }  # fmt: skip
    return without_nothing(found, "pin")


def with_parent(state: State, known: Object) -> dict[str, Any]:
    """DataObjectWithParent."""
    parent = state.objects.get(known["parentId"] or "")
    parents = [] if parent is None else [{"id": parent["id"], "name": state.name_of(parent)}]
    return {"parentsInfo": parents} | data_object(state, known)


def child_object(state: State, known: Object) -> dict[str, Any]:
    """ChildObject."""
    names = (
        "id", "name", "fields", "typeId", "phones", "emails", "textOptedIn", "phonesFullInfo", "externalDataObjectId",
    )  # fmt: skip
    whole = data_object(state, known)
    return {name: whole[name] for name in names}


def search_item(state: State, known: Object, *, fields: frozenset[str], external_owner: bool) -> dict[str, Any]:
    """SearchDataObjectDto: custom fields only as far as they are asked for."""
    whole, pin = data_object(state, known), known["pin"]
    user = state.workflow.users.get(known["ownerId"])
    found = {
        name: whole.get(name)
        for name in (
            "id", "typeId", "addressUnit", "value", "stageId", "externalDataObjectId", "ownerId", "updatedAt",
            "createdAt", "stageUpdatedById", "stageUpdatedAt", "createdById", "updatedById", "source", "territoryId",
            "lastLocationStatus", "visitsCount", "lastVisitDate", "lastActivityTime", "nextActivityTime",
            "lastVisitResultId", "lastCallDate", "lastCallResultId", "name", "phones", "emails",
        )
    }  # fmt: skip
    found |= {
        "pin": None if pin is None else {
            "id": text(pin["id"]), "lat": pin["lat"], "lng": pin["lng"], "placeId": pin.get("placeId"),
            "address": pin.get("address"), "zip": pin.get("zip"),
        },
        "fields": [
            {"fieldId": item["fieldId"], "value": item["value"], "values": item["values"]}
            for item in whole["fields"]
            if "*" in fields or item["fieldId"] in fields
        ],
        "callCount": 0, "childName": None, "filterOptionValues": [],
        "ownerExternalUserId": user.external_id if external_owner and user else None,
        "scoreLabel": None, "nba": None,
    }  # fmt: skip
    return without_nothing(found, "pin")


def deleted_item(entry: Mapping[str, Any]) -> dict[str, Any]:
    """DeletedDataObjectMetadata."""
    known, pin = entry["object"], entry["object"]["pin"]
    inner = {
        "stageId": text(known["stageId"]), "ownerId": text(known["ownerId"]), "updatedAt": known["updatedAt"],
        "createdAt": known["createdAt"], "source": known["source"], "territoryId": text(known["territoryId"]),
        "pin": None if pin is None else {"id": text(pin["id"]), "address": pin.get("address")},
        "typeId": text(known["typeId"]), "value": None, "externalDataObjectId": known["externalDataObjectId"],
    }  # fmt: skip
    return {
        "deletedById": text(entry["deletedById"]), "deletedAt": entry["deletedAt"], "id": entry["id"],
        "dataObject": without_nothing(inner, "pin"),
    }  # fmt: skip


def _pin(pin: Mapping[str, Any]) -> dict[str, Any]:
    names = ("placeId", "address", "street", "houseNumber", "zip", "city", "state", "country", "shortAddress")
    known = {name: pin.get(name) for name in names}
    return {"id": text(pin["id"]), "lat": pin["lat"], "lng": pin["lng"]} | known


def _field_value(spec: setup.Field, value: Any) -> dict[str, Any]:
    several = isinstance(value, list)
    plain = None if several else value
    return {
        "fieldId": str(spec.id), "label": spec.name, "value": plain, "formattedValue": plain,
        "values": value if several else None,
    }  # fmt: skip


# -- activities --------------------------------------------------------------------------------------------------------


def feed_item(state: State, item: Mapping[str, Any]) -> dict[str, Any]:
    """ActivityFeedDto."""
    known = state.objects.get(item["dataObjectId"])
    found = {
        "id": str(item["id"]), "activityTemplateId": text(item["activityTemplateId"]), "type": item["type"],
        "done": item["done"], "ownerId": text(item["ownerId"]), "date": item["date"], "allDay": item["allDay"],
        "resultId": None, "dataObject": None if known is None else _object_of_feed(state, known), "distance": None,
        "verified": None, "duration": None, "durationSeconds": item["durationSeconds"], "text": item["text"],
        "title": item["title"], "notes": item["notes"], "transition": item.get("transition"),
        "isNote": item["type"] == "Note", "ownerChanged": item.get("ownerChanged"), "email": None, "phoneNumber": None,
        "reference": None, "isRead": None, "autoplayDataObjectId": None, "autoplayDataObjectStepId": None,
        "autoExecution": None, "access": "Full", "updatedAt": item["updatedAt"], "createdAt": item["createdAt"],
        "snippet": None, "nbaId": None,
    }  # fmt: skip
    return without_nothing(found, "dataObject", "transition", "ownerChanged")


def _object_of_feed(state: State, known: Object) -> dict[str, Any]:
    pin = known["pin"] or {}
    return {
        "navigationId": known["id"], "id": known["id"], "typeId": text(known["typeId"]), "name": state.name_of(known),
        "territoryId": text(known["territoryId"]), "stageId": text(known["stageId"]),
        "ownerId": text(known["ownerId"]), "value": None, "visitCount": 0, "callCount": 0,
        "address": pin.get("address"), "lat": pin.get("lat"), "lng": pin.get("lng"),
        "externalDataObjectId": known["externalDataObjectId"], "fields": [],
    }  # fmt: skip


def activity(item: Mapping[str, Any]) -> dict[str, Any]:
    """ActivityResponse."""
    found = {
        "verified": None, "mobileId": None, "dataObjectId": item["dataObjectId"], "type": item["type"],
        "done": item["done"], "isNote": item["type"] == "Note", "resultId": None, "email": None, "phoneNumber": None,
        "reference": None, "isRead": None, "autoExecution": False, "id": str(item["id"]),
        "activityTemplateId": text(item["activityTemplateId"]), "ownerId": text(item["ownerId"]),
        "title": item["title"], "notes": item["notes"], "date": item["date"], "duration": None,
        "durationSeconds": item["durationSeconds"], "allDay": item["allDay"], "allDayDate": None,
        "transition": item.get("transition"),
    }  # fmt: skip
    return without_nothing(found, "transition")


def exported_activity(state: State, item: Mapping[str, Any]) -> dict[str, Any]:
    """ActivityExportItem: names in place of ids."""
    user = state.workflow.users.get(item["ownerId"])
    template = state.workflow.templates.get(item["activityTemplateId"] or 0)
    return {
        "id": str(item["id"]), "activityDate": item["date"], "owner": user and f"{user.first_name} {user.last_name}",
        "latitude": None, "longitude": None, "title": item["title"], "notes": item["notes"],
        "activityType": item["type"], "activityTemplateType": template.name if template else None, "fromStage": None,
        "toStage": None, "previousDataObjectOwner": None, "newDataObjectOwner": None, "result": None,
        "distanceFromTheDataObjectInFeet": None, "duration": (item["durationSeconds"] or 0) // 60, "direction": None,
        "content": item["text"], "dataObjectId": item["dataObjectId"],
        "activityOwnerExternalUserId": user.external_id if user else None, "updatedAt": item["updatedAt"],
        "createdAt": item["createdAt"],
    }  # fmt: skip


def upcoming(state: State, entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """UpcomingDataObjectAppointmentDto of an appointment; of a series also the ghost of the next one."""
    item = state.activities[entry["activityId"]]
    base = {
        "activityTemplateId": text(item["activityTemplateId"]), "ownerId": text(item["ownerId"]),
        "title": item["title"], "notes": item["notes"], "durationSeconds": item["durationSeconds"], "duration": 30,
        "allDay": item["allDay"], "phoneNumber": None, "email": None, "remindBeforeInSeconds": None,
        "allDayDate": None, "autoExecution": False, "sendInvitation": None, "invitationDescription": None,
        "nbaId": None,
    }  # fmt: skip
    series = entry["series"]
    recurring = {} if series is None else {"recurringDefinition": _weekly(series)}
    single = {"id": str(entry["id"]), "date": item["date"], "activityId": str(item["id"]), "access": "Full"}
    yield base | single | recurring | {"originalStartDate": None if series is None else item["date"]}
    if series is not None:
        ghost = {"id": ghost_id(series, item["date"]), "date": item["date"], "activityId": None, "access": "Ghost"}
        yield base | ghost | recurring | {"originalStartDate": item["date"]}


def appointment(state: State, entry: Mapping[str, Any]) -> dict[str, Any]:
    """AppointmentWithDataObject."""
    item = state.activities[entry["activityId"]]
    known = state.objects.get(item["dataObjectId"])
    found = {
        "id": str(entry["id"]), "dataObjectId": item["dataObjectId"], "ownerId": text(item["ownerId"]),
        "date": item["date"], "duration": 30, "title": item["title"], "notes": item["notes"],
        "activityId": str(item["id"]), "allDay": item["allDay"], "done": item["done"], "autoplayDataObjectId": None,
        "activityTemplateId": text(item["activityTemplateId"]), "remindBeforeInSeconds": None, "auto": None,
        "autoplayDataObjectStepId": None, "allDayDate": None, "createdById": text(item["ownerId"]),
        "dataObjectTypeId": known["typeId"] if known else None, "access": "Full", "sendInvitation": None,
        "invitationDescription": None, "updatedById": item["ownerId"], "updatedAt": item["updatedAt"], "nbaId": None,
    }  # fmt: skip
    if entry["series"] is not None:
        found["recurringDefinition"] = _weekly(entry["series"])
    return found


def _weekly(series: int) -> dict[str, Any]:
    return {
        "id": str(series), "periodicity": "Weeks", "interval": 1, "repeatOn": ["Monday"], "until": None, "count": 5,
        "timezone": "UTC",
    }  # fmt: skip


def ghost_id(series: int, date: str) -> str:
    """`0-<series>-<.NET ticks of the date>`: what a recurring appointment is called before anybody has touched it."""
    moment = datetime.fromisoformat(date).astimezone(UTC)
    return f"0-{series}-{_TICKS_AT_1970 + int(moment.timestamp() * 10_000_000)}"


def lines(items: Sequence[Mapping[str, Any]]) -> bytes:
    """NDJSON."""
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)
