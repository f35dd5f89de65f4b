"""What an administrator of the org has set up: validation rules, duplicate rules, assignment rules. A seed or the control API defines them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulators.salesforce.errors import ApiError
from emulators.salesforce.ids import looks_like_id
from emulators.salesforce.schema import Schema
from emulators.salesforce.soql.conditions import CONSTANTS
from emulators.salesforce.soql.parser import Comparison, FieldPath, Junction, Literal, parse

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ValidationRule:
    """Refuses a record for which `condition`, written as in SOQL, is true."""

    object: str
    name: str
    condition: str
    message: str
    field: str | None = None

    def error(self) -> ApiError:
        return ApiError("FIELD_CUSTOM_VALIDATION_EXCEPTION", self.message, fields=[self.field] if self.field else [])


@dataclass(frozen=True)
class DuplicateRule:
    """Finds records of the object that are equal in all of `match`. `action`: block, or alert (which allowSave overrides)."""

    object: str
    name: str
    match: tuple[str, ...]
    action: str = "alert"
    message: str = "Use one of these records?"

    def error(self, found: list[str], *, with_details: Callable[[str], Row] | None) -> ApiError:
        """DUPLICATES_DETECTED with the records found; the key `duplicateResut` is spelt so by the org."""
        records = [
            {
                "attributes": {"type": self.object, "url": f"/services/data/v66.0/sobjects/{self.object}/{record_id}"},
                "Id": record_id,
            }
            | dict(with_details(record_id) if with_details else {})
            for record_id in found
        ]
        matches = [
            {"additionalInformation": [], "fieldDiffs": [], "matchConfidence": 100.0, "record": record}
            for record in records
        ]
        result = {
            "allowSave": self.action == "alert", "duplicateRule": self.name, "duplicateRuleEntityType": self.object, "errorMessage": self.message,
            "matchResults": [{
                "entityType": self.object, "errors": [], "matchEngine": "ExactMatchEngine", "matchRecords": matches,
                "rule": f"{self.name}_Match", "size": len(matches), "success": True,
            }],
        }  # fmt: skip
        return ApiError("DUPLICATES_DETECTED", self.message, fields=None, extra={"duplicateResut": result})


@dataclass(frozen=True)
class AssignmentRule:
    """Gives new records of the object to `owner`, unless the caller switches assignment off."""

    object: str
    owner: str


@dataclass
class Policies:
    validation: list[ValidationRule] = field(default_factory=list)
    duplicate: list[DuplicateRule] = field(default_factory=list)
    assignment: list[AssignmentRule] = field(default_factory=list)

    def add(self, order: Mapping[str, Any], schema: Schema) -> None:
        """Rules as the control API takes them: {"validation": [...], "duplicate": [...], "assignment": [...]}. ValueError for a bad one."""
        validation = [ValidationRule(**rule) for rule in order.get("validation", ())]
        duplicate = [DuplicateRule(**{**rule, "match": tuple(rule["match"])}) for rule in order.get("duplicate", ())]
        assignment = [AssignmentRule(**rule) for rule in order.get("assignment", ())]
        for rule in validation:
            _check_fields(schema, rule.object, fields_in(condition_of(rule.condition)))
        for duplicate_rule in duplicate:
            _check_fields(schema, duplicate_rule.object, duplicate_rule.match)
        for assignment_rule in assignment:
            if not looks_like_id(str(assignment_rule.owner)):
                raise ValueError(f"{assignment_rule.owner} is not the id of an owner")
        self.validation += validation
        self.duplicate += duplicate
        self.assignment += assignment

    def clear(self) -> None:
        self.validation.clear()
        self.duplicate.clear()
        self.assignment.clear()

    def broken_rule(self, object_name: str, row: Row) -> ValidationRule | None:
        """The first validation rule that this record, with all its stored values, breaks."""
        return next(
            (
                rule
                for rule in self.validation
                if rule.object == object_name and is_true(condition_of(rule.condition), row)
            ),
            None,
        )

    def owner_of_new(self, object_name: str) -> str | None:
        return next((rule.owner for rule in self.assignment if rule.object == object_name), None)

    def watches(self, object_name: str) -> bool:
        """Whether records of the object must be looked at as a whole before they are stored."""
        return object_name in {rule.object for rule in self.validation} | {rule.object for rule in self.duplicate}


def _check_fields(schema: Schema, object_name: str, names: Sequence[str]) -> None:
    sobject = schema.find(object_name)
    unknown = [name for name in names if sobject is None or sobject.find(name) is None]
    if sobject is None or unknown or not names:
        raise ValueError(f"a rule on {object_name} needs fields that it has, not {', '.join(unknown) or 'none'}")


def fields_in(node: Any) -> list[str]:
    """The fields that a condition compares; ValueError for what rules do not know."""
    if isinstance(node, Junction):
        return [name for part in node.parts for name in fields_in(part)]
    constants = node.right if isinstance(node.right, tuple) else (node.right,)
    if not isinstance(node.left, FieldPath) or not all(
        isinstance(item, Literal) and item.kind in CONSTANTS for item in constants
    ):
        raise ValueError("a rule compares fields with constants")
    if node.operator in ("includes", "excludes"):
        raise ValueError(f"a rule knows no {node.operator}")
    return [str(node.left)]


def condition_of(text: str) -> Any:
    """The tree of a SOQL condition; ApiError when it does not parse."""
    return parse(f"SELECT Id FROM X WHERE {text}").where


def is_true(node: Any, row: Row) -> bool:
    """Whether the condition holds for the record, by its stored values. Knows =, !=, <, >, <=, >=, LIKE with % at an end, IN and NOT IN."""
    if isinstance(node, Junction):
        parts = (is_true(part, row) for part in node.parts)
        return not next(parts) if node.operator == "not" else all(parts) if node.operator == "and" else any(parts)
    assert isinstance(node, Comparison)
    assert isinstance(node.left, FieldPath)
    value = _folded(row.get(str(node.left)))
    if node.operator in ("in", "not in"):
        return (value in [_literal(item) for item in node.right]) == (node.operator == "in")
    wanted = _literal(node.right)
    if node.operator == "=":
        return bool(value == wanted)
    if node.operator == "!=":
        return bool(value != wanted)
    if value is None or wanted is None:
        return False
    if node.operator == "like":
        return _is_like(str(value), str(wanted))
    if isinstance(value, str) != isinstance(wanted, str):
        return False
    return bool({"<": value < wanted, ">": value > wanted, "<=": value <= wanted, ">=": value >= wanted}[node.operator])


def _is_like(value: str, pattern: str) -> bool:
    core = pattern.strip("%")
    if pattern.startswith("%"):
        return core in value if pattern.endswith("%") else value.endswith(core)
    return value.startswith(core) if pattern.endswith("%") else value == core


def _literal(literal: Literal) -> Any:
    return int(literal.value) if literal.kind == "boolean" else _folded(literal.value)


def _folded(value: Any) -> Any:
    return (value.lower() or None) if isinstance(value, str) else value
