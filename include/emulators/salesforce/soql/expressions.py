"""SOQL's expressions as SQL: fields reached over relationships, whatever Who and What lead to, functions, and the errors about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from emulators.salesforce.errors import ApiError
from emulators.salesforce.schema import NUMBER_TYPES, Field, Schema, SObject
from emulators.salesforce.soql.parser import FieldPath, Function, Query
from emulators.salesforce.store import quoted

AGGREGATES = {
    "COUNT": "COUNT",
    "COUNT_DISTINCT": "COUNT(DISTINCT",
    "SUM": "SUM",
    "AVG": "AVG",
    "MIN": "MIN",
    "MAX": "MAX",
}
# SQL for each date function; the fiscal year is the calendar year, as in an org where nobody set another.
DATE_PARTS = {
    "CALENDAR_YEAR": "strftime('%Y', {0})", "CALENDAR_MONTH": "strftime('%m', {0})", "CALENDAR_QUARTER": "(strftime('%m', {0}) + 2) / 3",
    "FISCAL_YEAR": "strftime('%Y', {0})", "FISCAL_MONTH": "strftime('%m', {0})", "FISCAL_QUARTER": "(strftime('%m', {0}) + 2) / 3",
    "DAY_IN_MONTH": "strftime('%d', {0})", "DAY_IN_WEEK": "strftime('%w', {0}) + 1", "DAY_IN_YEAR": "strftime('%j', {0})",
    "WEEK_IN_MONTH": "(strftime('%d', {0}) + 6) / 7", "WEEK_IN_YEAR": "(strftime('%j', {0}) + 6) / 7", "HOUR_IN_DAY": "strftime('%H', {0})",
}  # fmt: skip
# The fields of the pseudo-object that a polymorphic relationship leads to, and what they are in describe.
NAME_FIELDS = {
    "id": Field("Id", "id", "Record ID", length=18), "name": Field("Name", "string", "Name", length=255),
    "type": Field("Type", "picklist", "Type", length=40), "firstname": Field("FirstName", "string", "First Name", length=40),
    "lastname": Field("LastName", "string", "Last Name", length=80), "email": Field("Email", "email", "Email", length=80),
    "phone": Field("Phone", "phone", "Phone", length=40), "title": Field("Title", "string", "Title", length=128),
    "alias": Field("Alias", "string", "Alias", length=8), "username": Field("Username", "string", "Username", length=80),
    "isactive": Field("IsActive", "boolean", "Active"),
}  # fmt: skip
PLAIN_FUNCTIONS = ("FORMAT", "TOLABEL", "CONVERTTIMEZONE", "CONVERTCURRENCY")  # give the value as it is
WHOLE_NUMBER, DECIMAL = Field("number", "int", "Number"), Field("number", "double", "Number")
LONGEST_FILTERABLE = 255  # characters of a text area
MAX_DEPTH = 5  # relationships in one path


@dataclass(frozen=True)
class Parent:
    """A parent in the answer. Its id comes after the columns, in the order of Compiled.parents.

    `sobject` is None for a polymorphic relationship. `whens` lists the objects of a TYPEOF; None when it is not one.
    """

    path: tuple[str, ...]
    sobject: SObject | None
    whens: frozenset[str] | None = None


@dataclass
class Scope:
    """The tables joined so far: relationship path -> (alias, object)."""

    sobject: SObject
    alias: str | None
    joins: list[str] = field(default_factory=list)
    tables: dict[tuple[str, ...], tuple[str, SObject]] = field(default_factory=dict)
    parents: dict[tuple[str, ...], tuple[Parent, str]] = field(default_factory=dict)  # with the SQL of its id


class Expressions:
    """The expressions of one statement. Tables that they need are joined in `scope`; aggregates are refused unless they are allowed."""

    def __init__(self, schema: Schema, query: Query, text: str, sobject: SObject) -> None:
        self.schema, self.query, self.text, self.sobject = schema, query, text, sobject
        self.scope = Scope(sobject, query.alias)
        self.scope.tables[()] = ("t0", sobject)
        self.aggregates_allowed = False

    def _expression(self, expression: Any) -> tuple[str, Field, tuple[str, ...]]:
        """SQL, the field it stands for (a made-up one for a computed value), and its path with the org's own spelling."""
        if isinstance(expression, Function):
            return self._function(expression)
        names = list(expression.names)
        if (len(names) > 1 and self.scope.alias and names[0].lower() == self.scope.alias.lower()) or (
            len(names) > 1
            and names[0].lower() == self.sobject.name.lower()
            and not self.sobject.find_relationship(names[0])
        ):
            names = names[1:]
        if len(names) > MAX_DEPTH + 1:
            raise ApiError(
                "INVALID_QUERY_FILTER_OPERATOR",
                f"Relationship paths cannot be longer than {MAX_DEPTH} levels: {expression}",
            )
        alias, sobject, path = "t0", self.sobject, []
        for depth, name in enumerate(names[:-1]):
            item = sobject.find_relationship(name)
            if item is None:
                raise self._no_relationship(name, expression)
            path.append(item.relationship or name)
            place, identity = tuple(part.lower() for part in path), f"{alias}.{quoted(item.name)}"
            if item.is_polymorphic:
                shown = NAME_FIELDS.get(names[-1].lower())
                if shown is None or depth != len(names) - 2:
                    raise self._no_name_field(names[depth + 1], expression)
                self.scope.parents.setdefault(place, (Parent(tuple(path), None), identity))
                return self._name_value(identity, item, shown.name), shown, (*path, shown.name)
            alias, sobject = self._join(place, alias, item, self.schema.objects[item.reference_to[0]])
            self.scope.parents.setdefault(place, (Parent(tuple(path), sobject), identity))
        item = sobject.find(names[-1])
        if item is None:
            raise self._no_column(names[-1], sobject, expression)
        return value_of(alias, item), item, (*path, item.name)

    def _usable(self, expression: Any, ability: str, word: str) -> tuple[str, Field, tuple[str, ...]]:
        """The expression, unless its field cannot be filtered, sorted or grouped by."""
        found = self._expression(expression)
        if isinstance(expression, FieldPath) and not can(found[1], ability):
            raise ApiError(
                "INVALID_FIELD", f"{self._pointer(expression)}field '{found[1].name}' can not be {word} in a query call"
            )
        return found

    def _join(self, path: tuple[str, ...], alias: str, item: Field, parent: SObject) -> tuple[str, SObject]:
        if path not in self.scope.tables:
            name = f"t{len(self.scope.tables)}"
            self.scope.joins.append(
                f'LEFT JOIN {quoted(parent.name)} AS {name} ON {name}."Id" = {alias}.{quoted(item.name)}'
            )
            self.scope.tables[path] = (name, parent)
        return self.scope.tables[path]

    def _function(self, function: Function) -> tuple[str, Field, tuple[str, ...]]:
        name = function.name.upper()
        argument = function.arguments[0] if len(function.arguments) == 1 else None
        if isinstance(argument, Function) and not (name in DATE_PARTS and argument.name.upper() == "CONVERTTIMEZONE"):
            argument = None  # functions do not take functions, but for the time zone of a date
        if argument is None or name not in (*AGGREGATES, *DATE_PARTS, *PLAIN_FUNCTIONS, "DAY_ONLY", "GROUPING"):
            raise ApiError("MALFORMED_QUERY", f"unexpected token: '{function.name}'")
        sql, item, path = self._expression(argument)
        if name in AGGREGATES:
            return self._aggregate(name, sql, item), aggregate_field(name, item), path
        if name in DATE_PARTS or name == "DAY_ONLY":
            if item.type not in ("date", "datetime"):
                raise ApiError(
                    "INVALID_FIELD", f"{self._pointer(path_in(argument))}field {item.name} does not support {name}"
                )
            if name == "DAY_ONLY":
                return f"substr({sql}, 1, 10)", Field("day", "date", "Day"), path
            return f"CAST({DATE_PARTS[name].format(sql)} AS INTEGER)", WHOLE_NUMBER, path
        if name == "GROUPING":
            if not self.query.subtotals or not self.aggregates_allowed:
                raise ApiError("MALFORMED_QUERY", "unexpected token: 'GROUPING'")
            return f"/*grouping {sql}*/0", WHOLE_NUMBER, path
        return (f"CAST({sql} AS TEXT)" if name == "FORMAT" else sql), item, path

    def _aggregate(self, name: str, sql: str, item: Field) -> str:
        if not self.aggregates_allowed:
            raise ApiError("MALFORMED_QUERY", f"unexpected token: '{name}'")
        if (name in ("SUM", "AVG") and item.type not in NUMBER_TYPES) or (
            name in ("MIN", "MAX") and (item.is_compound or item.type == "boolean")
        ):
            raise ApiError("INVALID_FIELD", f"field {item.name} does not support aggregate operator {name}")
        return f"{AGGREGATES[name]} {sql})" if name == "COUNT_DISTINCT" else f"{AGGREGATES[name]}({sql})"

    def _no_name_field(self, name: str, path: FieldPath) -> ApiError:
        return self._no_column(name, SObject("Name", "Name", "Names", ""), path)

    def _no_column(self, name: str, sobject: SObject, path: FieldPath) -> ApiError:
        return ApiError(
            "INVALID_FIELD",
            f"{self._pointer(path)}No such column '{name}' on entity '{sobject.name}'. If you are attempting to use a custom field, be sure to "
            "append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names.",
        )

    def _no_relationship(self, name: str, path: FieldPath) -> ApiError:
        return ApiError(
            "INVALID_FIELD",
            f"{self._pointer(path)}Didn't understand relationship '{name}' in field path. If you are attempting to use a custom relationship, be "
            "sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the "
            "appropriate names.",
        )

    def _pointer(self, path: FieldPath) -> str:
        line = self.text.replace("\n", " ")
        start = max(0, path.column - 41)
        return (
            f"\n{line[start : start + 80]}\n{' ' * (path.column - 1 - start)}^\nERROR at Row:1:Column:{path.column}\n"
        )

    def _name_value(self, sql: str, reference: Field, name: str) -> str:
        """SQL for a field of whatever record a polymorphic reference leads to."""
        cases = []
        for object_name in reference.reference_to:
            target = self.schema.objects[object_name]
            if name == "Type":
                value = f"'{object_name}'"
            elif name == "Id":
                value = sql
            else:
                found = (target.name_field or target.find("Subject")) if name == "Name" else target.find(name)
                value = (
                    f'(SELECT {quoted(found.name)} FROM {quoted(target.name)} WHERE "Id" = {sql})' if found else "NULL"
                )
            cases.append(f"WHEN '{target.prefix}' THEN {value}")
        return f"CASE substr({sql}, 1, 3) {' '.join(cases)} END"


def value_of(alias: str, item: Field) -> str:
    """SQL for a field's value; a compound one is JSON of its parts."""
    if not item.is_compound:
        return f"{alias}.{quoted(item.name)}"
    parts = ", ".join(f"'{key}', {alias}.{quoted(name)}" for key, name in item.parts)
    known = " OR ".join(f"{alias}.{quoted(name)} IS NOT NULL" for _, name in item.parts)
    return f"CASE WHEN {known} THEN json_object({parts}) END"


def can(item: Field, ability: str) -> bool:
    """Whether the field is filterable, sortable or groupable."""
    is_long = item.type == "textarea" and item.length > LONGEST_FILTERABLE
    if ability == "groupable":
        return not item.is_compound and item.type not in ("textarea", "double", "currency", "percent", "datetime")
    return not item.is_compound and not is_long


def aggregate_field(name: str, item: Field) -> Field:
    """What an aggregate over the field gives."""
    if name.startswith("COUNT"):
        return WHOLE_NUMBER
    return DECIMAL if name in ("SUM", "AVG") else item


def path_in(expression: Any) -> FieldPath:
    """The field that an expression is about."""
    while isinstance(expression, Function):
        expression = expression.arguments[0]
    found: FieldPath = expression
    return found
