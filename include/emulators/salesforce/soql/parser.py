"""SOQL text to a syntax tree of frozen dataclasses; what does not parse raises MALFORMED_QUERY in the org's words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedInput, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedToken, VisitError

from emulators.salesforce.errors import ApiError

SCOPES = frozenset(
    {"EVERYTHING", "MINE", "MINE_AND_MY_GROUPS", "MY_TERRITORY", "MY_TEAM_TERRITORY", "TEAM", "DELEGATED"}
)
MODES = frozenset({"SECURITY_ENFORCED", "USER_MODE", "SYSTEM_MODE"})
_HEX = re.compile("[0-9A-Fa-f]{4}")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


@dataclass(frozen=True)
class FieldPath:
    """A field, reached over zero or more relationships: `Account.Owner.Name`. `column` is where it starts, from 1."""

    names: tuple[str, ...]
    column: int

    def __str__(self) -> str:
        return ".".join(self.names)


@dataclass(frozen=True)
class Function:
    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Selected:
    expression: FieldPath | Function
    alias: str | None


@dataclass(frozen=True)
class Literal:
    """kind: string, number, boolean, null, date, datetime, or the name of a date literal with its `count`."""

    kind: str
    value: Any
    count: int | None = None


@dataclass(frozen=True)
class Comparison:
    left: FieldPath | Function
    operator: str
    right: Any  # a Literal, a tuple of them, or a Query


@dataclass(frozen=True)
class Junction:
    """`and`, `or`, or `not` over its parts."""

    operator: str
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Ordering:
    expression: FieldPath | Function
    descending: bool
    nulls_last: bool | None


@dataclass(frozen=True)
class Query:
    select: tuple[Any, ...]  # Selected, Query (a child query), or Typeof
    object: str
    alias: str | None = None
    where: Any = None
    group_by: tuple[Any, ...] = ()
    subtotals: str | None = None  # ROLLUP or CUBE
    having: Any = None
    order_by: tuple[Ordering, ...] = ()
    limit: int | None = None
    offset: int | None = None
    all_rows: bool = False


@dataclass(frozen=True)
class Typeof:
    """TYPEOF over a polymorphic relationship: (object, its fields) for each WHEN, and the fields of ELSE."""

    relationship: FieldPath
    whens: tuple[tuple[str, tuple[FieldPath, ...]], ...]
    otherwise: tuple[FieldPath, ...] = ()


@dataclass(frozen=True)
class _Clause:
    name: str
    value: Any


@v_args(inline=True)
class _TreeBuilder(Transformer[Token, Any]):
    def start(self, query: Query) -> Query:
        return query

    def query(self, select: tuple[Any, ...], name: Token, *clauses: _Clause) -> Query:
        given = {clause.name: clause.value for clause in clauses if clause.name}
        if "subtotals" in given:
            given["subtotals"], given["group_by"] = given["subtotals"]
        return Query(select, str(name), **given)

    def from_alias(self, name: Token) -> _Clause:
        return _Clause("alias", str(name))

    def scope(self, name: Token) -> _Clause:
        return _ignored(name, SCOPES)

    def with_clause(self, name: Token, *_: Token) -> _Clause:
        return _ignored(name, MODES)

    def for_clause(self, *_: Token) -> _Clause:
        return _Clause("", None)

    def select_list(self, *items: Any) -> tuple[Any, ...]:
        return items

    def selected(self, expression: FieldPath | Function, alias: Token | None = None) -> Selected:
        return Selected(expression, str(alias) if alias else None)

    def child_query(self, query: Query) -> Query:
        return query

    def typeof_item(self, item: Typeof) -> Typeof:
        return item

    def typeof(self, relationship: FieldPath, *parts: Any) -> Typeof:
        otherwise = tuple(path for name, paths in parts if name is None for path in paths)
        return Typeof(relationship, tuple((name, paths) for name, paths in parts if name is not None), otherwise)

    def type_when(self, name: Token, *paths: FieldPath) -> tuple[str, tuple[FieldPath, ...]]:
        return str(name), paths

    def type_else(self, *paths: FieldPath) -> tuple[None, tuple[FieldPath, ...]]:
        return None, paths

    def function(self, name: Token, *arguments: Any) -> Function:
        return Function(str(name), tuple(item for item in arguments if item is not None))

    def path(self, *names: Token) -> FieldPath:
        return FieldPath(tuple(str(name) for name in names), names[0].column or 1)

    def where(self, condition: Any) -> _Clause:
        return _Clause("where", condition)

    def having(self, condition: Any) -> _Clause:
        return _Clause("having", condition)

    def all_of(self, *parts: Any) -> Junction:
        return Junction("and", parts)

    def any_of(self, *parts: Any) -> Junction:
        return Junction("or", parts)

    def negated(self, part: Any) -> Junction:
        return Junction("not", (part,))

    def compare(self, left: Any, operator: Token, right: Any) -> Comparison:
        return Comparison(left, "!=" if operator == "<>" else str(operator), right)

    def like(self, left: Any, right: Any) -> Comparison:
        return Comparison(left, "like", right)

    def within(self, left: Any, _: Token, right: Any) -> Comparison:
        return Comparison(left, "in", right)

    def not_within(self, left: Any, _: Token, right: Any) -> Comparison:
        return Comparison(left, "not in", right)

    def includes(self, left: Any, right: Any) -> Comparison:
        return Comparison(left, "includes", right)

    def excludes(self, left: Any, right: Any) -> Comparison:
        return Comparison(left, "excludes", right)

    def values(self, *items: Literal) -> tuple[Literal, ...]:
        return items

    def semi_join(self, query: Query) -> Query:
        return query

    def string(self, token: Token) -> Literal:
        return Literal("string", _unescape(str(token)[1:-1]))

    def number(self, token: Token) -> Literal:
        is_whole = token.lstrip("+-").isdigit() and len(token) < 18  # SQLite holds 64 bits
        return Literal("number", int(token) if is_whole else float(token))

    def true(self) -> Literal:
        return Literal("boolean", True)

    def false(self) -> Literal:
        return Literal("boolean", False)

    def null(self) -> Literal:
        return Literal("null", None)

    def date(self, token: Token) -> Literal:
        return Literal("date", str(token))

    def datetime(self, token: Token) -> Literal:
        return Literal("datetime", str(token))

    def date_literal(self, name: Token, count: Token | None = None) -> Literal:
        return Literal(str(name).upper(), None, _row_count(count) if count else None)

    def group(self, *items: Any) -> _Clause:
        return _Clause("group_by", items)

    def group_with_subtotals(self, kind: Token, *items: Any) -> _Clause:
        return _Clause("subtotals", (str(kind).upper(), items))

    def order(self, *items: Ordering) -> _Clause:
        return _Clause("order_by", items)

    def order_item(self, expression: Any, *options: Token) -> Ordering:
        words = [str(option).upper() for option in options]
        nulls = next((word.endswith("LAST") for word in words if word.startswith("NULLS")), None)
        return Ordering(expression, "DESC" in words, nulls)

    def limit(self, token: Token) -> _Clause:
        return _Clause("limit", _row_count(token))

    def offset(self, token: Token) -> _Clause:
        return _Clause("offset", _row_count(token))

    def all_rows(self) -> _Clause:
        return _Clause("all_rows", True)


def _ignored(name: Token, known: frozenset[str]) -> _Clause:
    """A clause that makes no difference here, where one user sees everything."""
    if name.upper() not in known:
        raise ApiError("MALFORMED_QUERY", f"unexpected token: '{name}'")
    return _Clause("", None)


def _row_count(token: Token) -> int:
    if not token.isdigit() or len(token) > 9:
        raise ApiError("MALFORMED_QUERY", f"unexpected token: '{token}'")
    return int(token)


def _unescape(text: str) -> str:
    result, position = [], 0
    while position < len(text):
        char = text[position]
        if char == "\\" and position + 1 < len(text):
            following = text[position + 1]
            if following == "u" and _HEX.fullmatch(text[position + 2 : position + 6]):
                result.append(chr(int(text[position + 2 : position + 6], 16)))
                position += 6
                continue
            # `\%` and `\_` keep their backslash: LIKE reads them
            result.append(f"\\{following}" if following in "%_" else _ESCAPES.get(following, following))
            position += 2
            continue
        result.append(char)
        position += 1
    value = "".join(result)
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise ApiError("MALFORMED_QUERY", "the query holds half a character")
    return value


_LARK = Lark(Path(__file__).with_name("grammar.lark").read_text(), parser="lalr", maybe_placeholders=False)
_BUILDER = _TreeBuilder()


def parse(text: str) -> Query:
    """The tree of a SOQL statement; ApiError MALFORMED_QUERY names the token that was not expected."""
    if not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in text):
        raise ApiError("MALFORMED_QUERY", "the query holds half a character")
    try:
        query: Query = _BUILDER.transform(_LARK.parse(text))
    except UnexpectedInput as error:
        raise _malformed(text, error) from error
    except VisitError as error:
        raise error.orig_exc from error
    except RecursionError:
        raise ApiError(
            "QUERY_TOO_COMPLICATED",
            "Query is either selecting too many fields or the filter conditions are too complicated.",
        ) from None
    return query


def _malformed(text: str, error: UnexpectedInput) -> ApiError:
    words = text.split()
    if words and words[0].upper() != "SELECT":
        return ApiError("MALFORMED_QUERY", f"unexpected token: {words[0]}")
    if isinstance(error, UnexpectedEOF) or (isinstance(error, UnexpectedToken) and error.token.type == "$END"):
        return ApiError("MALFORMED_QUERY", "unexpected token: '<EOF>'")
    column = getattr(error, "column", 1) or 1
    near = (
        text[error.pos_in_stream or 0 :][:1]
        if isinstance(error, UnexpectedCharacters)
        else str(getattr(error, "token", ""))
    )
    line = text.replace("\n", " ")
    pointer = " " * (column - 1) + "^"
    return ApiError(
        "MALFORMED_QUERY", f"\n{line}\n{pointer}\nERROR at Row:1:Column:{column}\nunexpected token: '{near}'"
    )
