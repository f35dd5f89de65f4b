"""Data objects as records of a mapping, and a record's values as the body of a request.

A record has `id`, `externalId`, `createdAt`, `updatedAt`, `updatedBy`, `deleted`, `stage` (its name), `owner` (the
user's id in Salesforce, else the e-mail address), `unit`, `source`, `pin.<part>` and `fields.<name or id>`. SPOTIO
gives ids as numbers in one answer and as texts in another; here they are texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from salesforce_sync.ids import whole_id
from salesforce_sync.systems.spotio.workflow import SEVERAL, UNWRITABLE, ObjectType, Users

FIELDS, PIN = "fields.", "pin."
STAGE, OWNER, UNIT, SOURCE, EXTERNAL_ID, DELETED = "stage", "owner", "unit", "source", "externalId", "deleted"
CREATED, UPDATED, UPDATED_BY = "createdAt", "updatedAt", "updatedBy"
PLAIN = ("id", EXTERNAL_ID, CREATED, UPDATED, UPDATED_BY, DELETED, STAGE, OWNER, UNIT, SOURCE)
PIN_PARTS = ("address", "street", "houseNumber", "zip", "city", "state", "country")
EXPORTED_PIN_PARTS = frozenset({"address", "zip"})
WRITABLE = frozenset({STAGE, OWNER, UNIT, SOURCE})


def problems(paths: Iterable[str], kind: ObjectType, *, written: frozenset[str]) -> list[str]:
    """A sentence for each path that the type has not, or that is `written` and cannot be."""
    found = []
    for path in paths:
        name = path.removeprefix(FIELDS)
        if path.startswith(FIELDS):
            field = kind.field(name)
            if field is None:
                known = ", ".join(sorted(item.name for item in kind.fields.values()))
                found.append(f"SPOTIO's {kind.name} has no field {name!r}; it has {known}")
            elif path in written and (field.readonly or field.type in UNWRITABLE):
                found.append(f"SPOTIO's field {field.name} cannot be written")
        elif path.startswith(PIN):
            if path.removeprefix(PIN) not in PIN_PARTS:
                found.append(f"a pin has no {path.removeprefix(PIN)!r}; it has {', '.join(PIN_PARTS)}")
        elif path not in PLAIN:
            found.append(f"SPOTIO's objects have no {path!r}; fields of your own are named fields.<name>")
        elif path in written and path not in WRITABLE:
            found.append(f"{path} cannot be written at SPOTIO")
    return found


def is_exported(paths: Iterable[str], kind: ObjectType) -> bool:
    """Whether an export has these paths: it has several choices as one text, whose form is not published, and no parts
    of an address but its post code."""
    for path in paths:
        if path.startswith(PIN) and path.removeprefix(PIN) not in EXPORTED_PIN_PARTS:
            return False
        if path.startswith(FIELDS):
            field = kind.field(path.removeprefix(FIELDS))
            if field is not None and field.type == SEVERAL:
                return False
    return True


def record_of(answer: Mapping[str, Any], paths: Sequence[str], kind: ObjectType, users: Users) -> dict[str, Any]:
    """A record of an export's item, or of a data object."""
    own = {str(item["fieldId"]): item for item in answer.get("fields") or []}
    fields: dict[str, Any] = {}
    for path in paths:
        if path.startswith(FIELDS):
            name = path.removeprefix(FIELDS)
            field = kind.field(name)
            item = own.get(field.id, {}) if field else {}
            fields[name] = item.get("values") or item.get("value")
    pin = answer.get("pin") or {}
    user = users.get(answer.get("ownerId"))
    return {
        "id": str(answer["id"]), EXTERNAL_ID: answer.get("externalDataObjectId"), CREATED: answer.get("createdAt"),
        UPDATED: answer.get("updatedAt"), UPDATED_BY: str(answer.get("updatedById") or ""), DELETED: False,
        STAGE: kind.stages.get(str(answer.get("stageId"))), OWNER: (whole_id(user.external_id) or user.email) if user else None,
        UNIT: answer.get("addressUnit"), SOURCE: answer.get("source"),
        "pin": {name: pin.get(name) for name in PIN_PARTS}, "fields": fields,
    }  # fmt: skip


def deleted_record(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A record of an entry in the list of deleted objects."""
    known = answer.get("dataObject") or {}
    return {
        "id": str(answer["id"]), EXTERNAL_ID: known.get("externalDataObjectId"), CREATED: known.get("createdAt"),
        UPDATED: answer.get("deletedAt"), UPDATED_BY: str(answer.get("deletedById") or ""), DELETED: True,
    }  # fmt: skip


class Unknown(Exception):
    """A value that names nothing there: a stage, an owner."""


def body_of(values: Mapping[str, Any], kind: ObjectType, users: Users) -> dict[str, Any]:
    """The properties of a request for these values by path; `fields` has only those that are named. Unknown says which
    value names nothing."""
    body: dict[str, Any] = {}
    fields: list[dict[str, Any]] = []
    pin: dict[str, Any] = {}
    for path, value in values.items():
        if path.startswith(FIELDS):
            fields.append(_field_value(path.removeprefix(FIELDS), value, kind))
        elif path.startswith(PIN):
            pin[path.removeprefix(PIN)] = value
        elif path == STAGE:
            if value is not None:
                body["stageId"] = _stage(str(value), kind)
        elif path == OWNER:
            if value is not None:
                body["ownerId"] = _owner(value, users)
        else:
            body[{UNIT: "addressUnit", EXTERNAL_ID: "externalDataObjectId"}.get(path, path)] = value
    if fields:
        body["fields"] = fields
    if pin:
        body["pin"] = pin if "address" in pin else pin | {"address": _address(pin)}
        if not any(pin.values()):  # all parts that the mapping has
            body["pin"] = None
    return body


def _field_value(name: str, value: Any, kind: ObjectType) -> dict[str, Any]:
    field = kind.field(name)
    if field is None:
        raise Unknown(f"SPOTIO's {kind.name} has no field {name!r}")
    if field.type == SEVERAL:
        parts = value if isinstance(value, list) else [part.strip() for part in str(value or "").split(";")]
        return {"fieldId": field.id, "values": [part for part in parts if part]}
    return {"fieldId": field.id, "value": None if value in (None, "") else str(value)}


def _stage(name: str, kind: ObjectType) -> int:
    found = kind.stage_id(name)
    if found is None:
        raise Unknown(f"SPOTIO's {kind.name} has no stage {name!r}; it has {', '.join(kind.stages.values())}")
    return int(found)


def _owner(value: Mapping[str, Any], users: Users) -> int:
    """`value` names a Salesforce user by `id` and `email`."""
    user = users.find(external_id=value.get("id"), email=value.get("email"))
    if user is None:
        raise Unknown(
            f"SPOTIO has no user whose external id or e-mail address is that of the Salesforce user {value.get('id')}"
        )
    return int(user.id)


def _address(pin: Mapping[str, Any]) -> str:
    """One line of the address's parts, which is what SPOTIO finds the place by."""
    street = " ".join(filter(None, (pin.get("street"), pin.get("houseNumber"))))
    place = " ".join(filter(None, (pin.get("zip"), pin.get("city"))))
    return ", ".join(filter(None, (street, place, pin.get("state"), pin.get("country"))))


def merged_fields(current: Mapping[str, Any], changed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All custom fields of an object, as it is now, with the changed ones in their places.

    SPOTIO does not publish whether `replace /fields` keeps what is not named. The whole list is right either way.
    """
    known: dict[str, dict[str, Any]] = {}
    for item in current.get("fields") or []:
        if item.get("attachmentValue") is not None:
            continue
        kept = {"values": item["values"]} if item.get("values") else {"value": item.get("value")}
        known[str(item["fieldId"])] = {"fieldId": str(item["fieldId"]), **kept}
    known |= {str(item["fieldId"]): dict(item) for item in changed}
    return list(known.values())
