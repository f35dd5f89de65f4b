"""How a company has set SPOTIO up: its types of objects, their fields and stages, its users. Names here are its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from salesforce_sync.errors import InvalidMapping
from salesforce_sync.ids import whole_id

SEVERAL = "MultiChoice"
UNWRITABLE = frozenset({"Attachment", "Address"})


@dataclass(frozen=True)
class Field:
    id: str
    name: str
    type: str
    options: frozenset[str] = frozenset()
    required: bool = False
    readonly: bool = False


@dataclass(frozen=True)
class ObjectType:
    """One type of data objects; `id` is a number as text. Fields and stages are found by their name or their id."""

    id: str
    name: str
    fields: Mapping[str, Field] = field(default_factory=dict)  # by id
    stages: Mapping[str, str] = field(default_factory=dict)  # id -> name

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> ObjectType:
        """From what `GET /api/workflow/dataObjects/full` says of one type."""
        fields = {str(item["id"]): _field(item) for item in answer.get("fields") or []}
        groups = [(answer.get("stages") or {}).get(name) or {} for name in ("active", "won", "lost")]
        stages = {str(stage["id"]): str(stage["name"]) for group in groups for stage in group.get("stages") or []}
        return cls(str(answer["id"]), str(answer["name"]), fields, stages)

    @cached_property
    def _fields_by_name(self) -> dict[str, Field]:
        return {item.name.strip().lower(): item for item in self.fields.values()}

    @cached_property
    def _stages_by_name(self) -> dict[str, str]:
        return {name.strip().lower(): number for number, name in self.stages.items()}

    def field(self, name: str) -> Field | None:
        """The field with this id or this name, in any case of letters."""
        return self.fields.get(name) or self._fields_by_name.get(name.strip().lower())

    def stage_id(self, name: str) -> str | None:
        """The id of the stage with this id or this name, in any case of letters."""
        return name if name in self.stages else self._stages_by_name.get(name.strip().lower())


def find_type(types: Sequence[ObjectType], name: str) -> ObjectType:
    """The type with this id or name; InvalidMapping lists what there is."""
    for kind in types:
        if name.strip().lower() in (kind.id, kind.name.strip().lower()):
            return kind
    raise InvalidMapping(
        f"SPOTIO has no type of objects {name!r}; it has {', '.join(sorted(kind.name for kind in types)) or 'none'}.",
        fix="Correct vendor.stream in the mapping file.",
    )


def _field(answer: Mapping[str, Any]) -> Field:
    return Field(
        str(answer["id"]), str(answer["name"]), str(answer["type"]), frozenset(answer.get("activeOptions") or ()),
        bool(answer.get("requiredWithoutStage")), bool(answer.get("readonly")),
    )  # fmt: skip


@dataclass(frozen=True)
class User:
    id: str
    email: str
    external_id: str  # the user's id in Salesforce, where the company has entered it


class Users:
    """The company's users, found by whichever way a record names one."""

    def __init__(self, users: Sequence[User]) -> None:
        self._by_id = {user.id: user for user in users}
        self._by_external_id = {
            whole_id(user.external_id) or user.external_id: user for user in users if user.external_id
        }
        self._by_email = {user.email.lower(): user for user in users if user.email}

    @classmethod
    def of(cls, answers: Sequence[Mapping[str, Any]]) -> Users:
        return cls([
            User(str(item["id"]), str(item.get("email") or ""), str(item.get("externalSystemUserId") or ""))
            for item in answers
        ])  # fmt: skip

    def get(self, user_id: Any) -> User | None:
        return self._by_id.get(str(user_id))

    def find(self, *, external_id: str | None, email: str | None) -> User | None:
        """By the external id first, then by the e-mail address."""
        return self._by_external_id.get(external_id or "") or self._by_email.get((email or "").lower())
