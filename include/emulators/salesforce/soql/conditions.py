"""The conditions of WHERE and HAVING as SQL, with their values checked against the type of their field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

from emulators.salesforce.errors import ApiError
from emulators.salesforce.ids import looks_like_id, to_18
from emulators.salesforce.schema import NUMBER_TYPES, Field
from emulators.salesforce.soql import dates
from emulators.salesforce.soql.parser import Comparison, Junction, Literal, Query
from emulators.salesforce.store import timestamp

PARENT_ID = "?"  # stands for the parent's id among a child query's parameters
CONSTANTS = ("string", "number", "boolean", "date", "datetime", "null")


class Conditions:
    """`expression` gives SQL and field of a left side, `semi_join` the SQL of an inner query; values are added to `parameters`."""

    def __init__(
        self,
        now: Callable[[], datetime],
        expression: Callable[[Any], tuple[str, Field]],
        semi_join: Callable[[Query], str],
        parameters: list[Any],
    ) -> None:
        self._now, self._expression, self._semi_join, self._parameters = now, expression, semi_join, parameters

    def sql(self, node: Any) -> str:
        if isinstance(node, Junction):
            if node.operator == "not":
                return f"NOT COALESCE({self.sql(node.parts[0])}, 0)"  # what is null is not so
            return _balanced([self.sql(part) for part in node.parts], node.operator.upper())
        assert isinstance(node, Comparison)
        sql, item = self._expression(node.left)
        if node.operator in ("in", "not in"):
            return self._membership(sql, item, node)
        if node.operator in ("includes", "excludes"):
            if item.type != "multipicklist" or isinstance(node.right, Query):
                raise ApiError("INVALID_FIELD", f"{node.operator} operator is not valid on the field {item.name}")
            joined = _balanced([self._includes(sql, literal) for literal in node.right], "OR")
            return joined if node.operator == "includes" else f"NOT COALESCE({joined}, 0)"
        return self._comparison(sql, item, node.operator, node.right)

    def _includes(self, sql: str, literal: Literal) -> str:
        wanted = [part.strip() for part in str(literal.value).split(";")]
        self._parameters += [f"%;{part};%" for part in wanted]
        return "(" + " AND ".join(f"(';' || {sql} || ';') LIKE ?" for _ in wanted) + ")"

    def _membership(self, sql: str, item: Field, node: Comparison) -> str:
        if isinstance(node.right, Query):
            if not item.is_id:
                raise ApiError(
                    "INVALID_FIELD",
                    f"semi join sub-selects are only allowed on ID and reference fields, not on {item.name}",
                )
            return f"{sql} {node.operator.upper()} ({self._semi_join(node.right)})"
        for literal in node.right:
            if literal.kind not in CONSTANTS:
                raise ApiError("MALFORMED_QUERY", f"unexpected token: '{literal.kind}'")
        has_null = any(literal.kind == "null" for literal in node.right)
        values = [self._value(item, literal) for literal in node.right if literal.kind != "null"]
        self._parameters += values
        listed = f"{sql} IN ({', '.join('?' * len(values))})"
        if has_null:
            listed = f"({listed} OR {sql} IS NULL)"
        if node.operator == "in":
            return listed
        return f"({sql} IS NULL OR NOT {listed})" if not has_null else f"NOT {listed}"

    def _comparison(self, sql: str, item: Field, operator: str, literal: Literal) -> str:
        if operator == "like" and (literal.kind not in ("string", "null") or not item.is_text):
            raise ApiError(
                "INVALID_QUERY_FILTER_OPERATOR",
                f"invalid operator on {item.type} field {item.name}: LIKE needs text on both sides",
            )
        if item.type == "boolean" and operator not in ("=", "!="):
            raise ApiError(
                "INVALID_QUERY_FILTER_OPERATOR", f"invalid operator on boolean field: {item.name} {operator}"
            )
        if item.type == "boolean":  # a checkbox is never null: where there is no record, it is false
            sql = f"COALESCE({sql}, 0)"
            literal = Literal("boolean", False) if literal.kind == "null" else literal
        if literal.kind == "null":
            if operator not in ("=", "!="):
                raise ApiError("INVALID_QUERY_FILTER_OPERATOR", f"operator {operator} cannot be used with null")
            return f"{sql} IS {'NOT ' if operator == '!=' else ''}NULL"
        if literal.kind not in CONSTANTS:
            return self._date_literal(sql, item, operator, literal)
        value = self._value(item, literal)
        if operator == "like":
            self._parameters.append(value)
            return f"{sql} LIKE ? ESCAPE '\\'"
        if item.is_text and value == "":
            return f"{sql} IS {'NOT ' if operator == '!=' else ''}NULL"
        self._parameters.append(value)
        if operator == "!=":
            return f"({sql} IS NULL OR {sql} != ?)"
        return f"{sql} {operator} ?"

    def _date_literal(self, sql: str, item: Field, operator: str, literal: Literal) -> str:
        if item.type not in ("date", "datetime"):
            raise ApiError("MALFORMED_QUERY", f"unexpected token: '{literal.kind}'")
        first, after = dates.interval(literal.kind, literal.count, self._now().date())
        start, end = (
            (first.isoformat(), after.isoformat())
            if item.type == "date"
            else (dates.midnight(first), dates.midnight(after))
        )
        if operator in ("=", "!="):
            self._parameters += [start, end]
            inside = f"({sql} >= ? AND {sql} < ?)"
            return inside if operator == "=" else f"({sql} IS NULL OR NOT {inside})"
        bound = {"<": ("<", start), ">=": (">=", start), ">": (">=", end), "<=": ("<", end)}[operator]
        self._parameters.append(bound[1])
        return f"{sql} {bound[0]} ?"

    def _value(self, item: Field, literal: Literal) -> Any:
        if literal.kind == "boolean":
            _require(item.type == "boolean", item, literal, "boolean")
            return int(literal.value)
        if literal.kind == "number":
            _require(item.type in NUMBER_TYPES, item, literal, "number")
            return literal.value
        if literal.kind == "datetime":
            _require(item.type == "datetime", item, literal, "dateTime")
            return _stored_moment(literal.value)
        if literal.kind == "date":
            _require(item.type == "date", item, literal, "date")
            return _valid_date(literal.value)
        _require(item.is_text or item.is_id, item, literal, "string")
        if item.is_id and literal.value not in ("", PARENT_ID):
            if not looks_like_id(literal.value):
                raise ApiError("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {literal.value}")
            return to_18(literal.value)
        return literal.value


def _require(fits: bool, item: Field, literal: Literal, kind: str) -> None:
    if fits:
        return
    expected = {"datetime": "dateTime"}.get(item.type, item.type)
    quotes = "should" if item.is_text or item.is_id else "should not"
    raise ApiError(
        "INVALID_FIELD",
        f"value of filter criterion for field '{item.name}' must be of type {expected} and {quotes} be enclosed in quotes",
    )


def _balanced(parts: Sequence[str], operator: str) -> str:
    """The parts joined as a tree that is no deeper than it must be: SQLite limits the depth."""
    if len(parts) == 1:
        return f"({parts[0]})"
    middle = len(parts) // 2
    return f"({_balanced(parts[:middle], operator)} {operator} {_balanced(parts[middle:], operator)})"


def _stored_moment(text: str) -> str:
    try:
        return timestamp(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ApiError("MALFORMED_QUERY", f"invalid date-time: {text}") from None


def _valid_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ApiError("MALFORMED_QUERY", f"invalid date: {text}") from None
