"""How the made-up company has set SPOTIO up: types of objects with their fields and stages, users, activity templates.

A tenant names all of this itself, so that nothing here is SPOTIO's but the shapes. Ids are numbers; the API gives some
endpoints texts of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MADE_AT = "2026-01-05T09:00:00+00:00"
NUMBER, DATE, MOMENT, PHONE, EMAIL, ONE, SEVERAL = (
    "Number",
    "Date",
    "DateTime",
    "Phone",
    "Email",
    "SingleChoice",
    "MultiChoice",
)
LONGEST_TEXT = 255  # not published; Text fields of other vendors hold as much
LEAD, ACCOUNT = 101, 102


@dataclass(frozen=True)
class Field:
    id: int
    name: str
    type: str = "Text"
    role: str | None = None  # Name or Location: what the object is called by, and where it lies
    system_role: str | None = None
    required: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    id: int
    name: str
    group: str = "active"


@dataclass(frozen=True)
class ObjectType:
    id: int
    name: str
    fields: tuple[Field, ...]
    stages: tuple[Stage, ...]

    @property
    def by_id(self) -> Mapping[int, Field]:
        return {item.id: item for item in self.fields}

    @property
    def stage_ids(self) -> frozenset[int]:
        return frozenset(stage.id for stage in self.stages)


@dataclass(frozen=True)
class User:
    id: int
    email: str
    first_name: str
    last_name: str
    role: str = "Sales"
    external_id: str | None = None  # the user's id in the customer's own system


@dataclass(frozen=True)
class Template:
    id: int
    name: str
    system_role: str
    type: str = "Event"


_INDUSTRIES = ("Agriculture", "Construction", "Education", "Energy", "Finance", "Retail", "Technology", "Other")

TYPES = (
    ObjectType(
        LEAD,
        "Lead",
        (
            Field(1001, "Company", role="Name", system_role="Company", required=True),
            Field(1002, "First Name", system_role="FirstName"),
            Field(1003, "Last Name", system_role="LastName"),
            Field(1004, "Phone", PHONE, system_role="Phone"),
            Field(1005, "Email", EMAIL, system_role="Email"),
            Field(1006, "Industry", ONE, options=_INDUSTRIES),
            Field(1007, "Employees", NUMBER),
            Field(1008, "Contract Ends", DATE),
            Field(1009, "Products", SEVERAL, options=("Roof", "Solar", "Windows", "Heat pump")),
            Field(1010, "Notes", "MultiLine"),
            Field(1011, "Call Back At", MOMENT),
            Field(1012, "Title"),
        ),
        (
            Stage(1, "New"),
            Stage(2, "Contacted"),
            Stage(3, "Appointment Set"),
            Stage(4, "Won", "won"),
            Stage(5, "Not Interested", "lost"),
        ),
    ),
    ObjectType(
        ACCOUNT,
        "Account",
        (
            Field(2001, "Company", role="Name", system_role="Company", required=True),
            Field(2002, "First Name", system_role="FirstName"),
            Field(2003, "Last Name", system_role="LastName"),
            Field(2004, "Phone", PHONE, system_role="Phone"),
            Field(2005, "Email", EMAIL, system_role="Email"),
            Field(2006, "Industry", ONE, options=_INDUSTRIES),
            Field(2007, "Deal", system_role="Unit"),
            Field(2008, "Close Date", DATE),
            Field(2009, "Amount", NUMBER, system_role="Value"),
        ),
        (Stage(11, "Prospect"), Stage(12, "Proposal"), Stage(13, "Customer", "won"), Stage(14, "Lost", "lost")),
    ),
)
KEY_OWNER = 1  # who made the API key: the owner of what names none
USERS = (
    User(KEY_OWNER, "integration@example.invalid", "Integration", "User", "Admin"),
    User(11, "rosa@example.invalid", "Rosa", "Meijer", "Manager"),
    User(12, "sam@example.invalid", "Sam", "Vos"),
    User(13, "tess@example.invalid", "Tess", "Kuiper"),
)
TEMPLATES = (
    Template(1, "Note", "Note"),
    Template(2, "Visit", "Visit"),
    Template(3, "Call", "Call"),
    Template(4, "Appointment", "Appointment"),
    Template(5, "Follow up", "Email", "Task"),
)


@dataclass
class Workflow:
    types: dict[int, ObjectType] = field(default_factory=lambda: {item.id: item for item in TYPES})
    users: dict[int, User] = field(default_factory=lambda: {user.id: user for user in USERS})
    templates: dict[int, Template] = field(default_factory=lambda: {item.id: item for item in TEMPLATES})

    def stage(self, number: int) -> Stage:
        return next(stage for kind in self.types.values() for stage in kind.stages if stage.id == number)


# -- what the API says of it -------------------------------------------------------------------------------------------


def type_answer(kind: ObjectType) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": str(kind.id), "name": kind.name, "parentId": None, "hasAddress": True, "hasPhone": True, "hasEmail": True,
        "fields": [field_answer(item) for item in kind.fields], "stages": stages_answer(kind),
        "extraSettings": {"allowAutoplays": True, "enableLeadMachine": False, "allowEcontracts": False},
        "inheritOwnerFromParent": False, "scoringType": "Lead",
    }  # fmt: skip
    return found


def field_answer(item: Field) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": str(item.id), "name": item.name, "type": item.type, "stageConstraints": [], "createdAt": MADE_AT,
        "updatedAt": MADE_AT, "readonly": False, "useAsFilter": False, "activeOptions": list(item.options),
        "removedOptions": [], "showInActivityFeed": False, "stageVisibility": [], "requiredWithoutStage": item.required,
        "inherited": False, "inheritable": False,
    }  # fmt: skip
    roles = {"role": item.role, "systemRole": item.system_role}
    return found | {name: role for name, role in roles.items() if role}


def stages_answer(kind: ObjectType) -> dict[str, Any]:
    return {
        group: {
            "active": True,
            "stages": [
                {"id": str(stage.id), "name": stage.name, "color": "#0a7", "lossReasons": [], "scoringType": "Lead"}
                for stage in kind.stages
                if stage.group == group
            ],
        }
        for group in ("active", "won", "lost")
    }


def user_answer(user: User) -> dict[str, Any]:
    return {
        "suspended": False, "chatUserId": None, "email": user.email, "status": "Active", "isReadonly": False,
        "isInSalesforce": user.external_id is not None, "territoryGlobalAccess": True, "visible": True,
        "visibleInReports": True, "externalSystemUserId": user.external_id, "id": str(user.id), "role": user.role,
        "firstName": user.first_name, "lastName": user.last_name, "userPicUrl": None, "authorizationProvider": "Spotio",
    }  # fmt: skip


def template_answer(item: Template) -> dict[str, Any]:
    return {
        "id": str(item.id), "name": item.name, "defaultDuration": 30, "active": True, "primaryColor": "#0a7",
        "secondaryColor": "#fff", "creatable": True, "systemRole": item.system_role, "activityResults": [],
        "type": item.type, "category": "InPerson", "requiredFields": [],
    }  # fmt: skip
