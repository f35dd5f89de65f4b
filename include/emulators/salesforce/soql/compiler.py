"""A SOQL syntax tree to one SQL statement; names that the org does not have raise the org's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from emulators.salesforce.errors import ApiError, invalid_type
from emulators.salesforce.schema import Field, Schema, SObject
from emulators.salesforce.soql.conditions import PARENT_ID, Conditions
from emulators.salesforce.soql.expressions import AGGREGATES, NAME_FIELDS, Expressions, Parent, path_in, value_of
from emulators.salesforce.soql.parser import (
    Comparison,
    FieldPath,
    Function,
    Junction,
    Literal,
    Ordering,
    Query,
    Selected,
    Typeof,
)
from emulators.salesforce.store import Store, quoted, timestamp

AGGREGATES_IN_BULK = "Aggregate Relationships not supported in Bulk Query"
MAX_SUBTOTAL_FIELDS = 3
MARKS = "/*ids*/"  # stands for the list of ids in Compiled.by_id_sql
MAX_STATEMENT = 100_000
MAX_OFFSET = 2_000
MAX_SEMI_JOINS = 2


@dataclass(frozen=True)
class Column:
    """One selected value: `path` is where it stands in the answer; `type` is the describe type that formats it."""

    path: tuple[str, ...]
    type: str
    function: str | None = None  # of a computed value: what was written, count(Id)
    when: str | None = None  # of TYPEOF: the object whose records have this value; "" for ELSE


@dataclass(frozen=True)
class Child:
    """A child query: its own statement, to be run for each parent id."""

    name: str
    compiled: Compiled


@dataclass(frozen=True)
class Compiled:
    sobject: SObject
    sql: str
    parameters: tuple[Any, ...]
    columns: tuple[Column, ...]
    parents: tuple[Parent, ...] = ()
    is_count: bool = False
    is_aggregate: bool = False
    limit: int | None = None
    not_in_bulk: str | None = None  # why bulk queries refuse the statement
    children: tuple[Child, ...] = ()
    id_sql: str = ""  # the same rows, ids only: what a cursor remembers
    csv_sql: str = ""  # the same rows, columns only, booleans as true and false
    by_id_sql: str = ""  # the same columns, without conditions: MARKS stands for the ids


class Compiler:
    def __init__(self, schema: Schema, now: Callable[[], datetime], store: Store) -> None:
        self.schema, self.now, self.store = schema, now, store

    def compile(self, query: Query, text: str, *, include_deleted: bool = False) -> Compiled:
        if len(text) > MAX_STATEMENT:
            raise ApiError("QUERY_TOO_COMPLICATED", "SOQL statements cannot be longer than 100000 characters.")
        if query.offset is not None and query.offset > MAX_OFFSET:
            raise ApiError("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}")
        sobject = self.schema.find(query.object)
        if sobject is None or not sobject.queryable:
            raise invalid_type(query.object)
        try:
            return _Statement(self, query, text, sobject, include_deleted or query.all_rows).compile()
        except RecursionError:
            raise ApiError(
                "QUERY_TOO_COMPLICATED",
                "Query is either selecting too many fields or the filter conditions are too complicated.",
            ) from None


class _Statement(Expressions):
    def __init__(self, compiler: Compiler, query: Query, text: str, sobject: SObject, include_deleted: bool) -> None:
        super().__init__(compiler.schema, query, text, sobject)
        self.compiler, self.include_deleted = compiler, include_deleted
        self.parameters: list[Any] = []

    def compile(self) -> Compiled:
        query = self.query
        if self._is_count():
            if query.group_by or query.having is not None:
                raise ApiError("MALFORMED_QUERY", "Grouped query cannot use COUNT()")
            where = self._where()
            sql = f"SELECT COUNT(*) FROM {self._from()}{where}"
            return Compiled(
                self.sobject,
                sql,
                tuple(self.parameters),
                (),
                is_count=True,
                limit=query.limit,
                not_in_bulk=AGGREGATES_IN_BULK,
            )
        aggregate = bool(query.group_by) or any(
            isinstance(item, Selected)
            and isinstance(item.expression, Function)
            and item.expression.name.upper() in AGGREGATES
            for item in query.select
        )
        self.aggregates_allowed = aggregate
        expressions, columns = self._selection(aggregate)
        if len({column.path for column in columns if aggregate}) < len(columns) * aggregate:
            raise ApiError("MALFORMED_QUERY", "duplicate alias or field in an aggregate query")
        children = tuple(self._child(item) for item in query.select if isinstance(item, Query))
        cells = [
            f"CASE {sql} WHEN 1 THEN 'true' ELSE 'false' END" if column.type == "boolean" else sql
            for sql, column in zip(expressions, columns, strict=True)
        ]
        parents = () if aggregate else tuple(self.scope.parents.values())
        expressions += [sql for _, sql in parents]
        identity = "NULL" if aggregate else 't0."Id"'
        if query.subtotals:
            return self._with_subtotals(expressions, columns)
        where = self._where()
        grouping = self._grouping()
        order, limit = self._order(aggregate), self._limit()
        selection = ", ".join([identity, *expressions])
        body = f"FROM {self._from()}{where}{grouping}{order}{limit}"
        return Compiled(
            self.sobject, f"SELECT {selection} {body}", tuple(self.parameters), tuple(columns), tuple(parent for parent, _ in parents),
            is_aggregate=aggregate, limit=query.limit, not_in_bulk=self._not_in_bulk(aggregate, columns), children=children,
            id_sql=f'SELECT t0."Id" {body}', csv_sql=f"SELECT {', '.join(cells)} {body}",
            by_id_sql=f'SELECT {selection} FROM {self._from()} WHERE t0."Id" IN ({MARKS})',
        )  # fmt: skip

    def _with_subtotals(self, expressions: list[str], columns: list[Column]) -> Compiled:
        """GROUP BY ROLLUP and CUBE: a statement for each set of fields that stays, the ones left out being null."""
        self.aggregates_allowed = False
        grouped = [self._usable(item, "groupable", "grouped")[0] for item in self.query.group_by]
        self.aggregates_allowed = True
        count = len(grouped)
        if self.query.subtotals == "ROLLUP":
            kept_sets = [set(grouped[:size]) for size in range(count, -1, -1)]
        else:
            kept_sets = [{grouped[bit] for bit in range(count) if not mask >> bit & 1} for mask in range(2**count)]
        if count > MAX_SUBTOTAL_FIELDS:
            raise ApiError(
                "MALFORMED_QUERY", f"at most {MAX_SUBTOTAL_FIELDS} fields can be grouped by {self.query.subtotals}"
            )
        statements, parameters = [], []
        for kept in kept_sets:
            self.parameters = []
            shown = [_without(sql, set(grouped) - kept) for sql in expressions]
            where = self._where()
            having = f" HAVING {self._having()}" if self.query.having is not None else ""
            by = ", ".join(sql for sql in grouped if sql in kept) or "NULL"  # NULL: one group of all rows
            statements.append(f"SELECT NULL, {', '.join(shown)} FROM {self._from()}{where} GROUP BY {by}{having}")
            parameters += self.parameters
        sql = f"SELECT * FROM ({' UNION ALL '.join(statements)}){self._subtotal_order(expressions)}{self._limit()}"
        return Compiled(
            self.sobject,
            sql,
            tuple(parameters),
            tuple(columns),
            is_aggregate=True,
            limit=self.query.limit,
            not_in_bulk=AGGREGATES_IN_BULK,
        )

    def _subtotal_order(self, expressions: list[str]) -> str:
        """ORDER BY over the united rows, which knows the selected expressions by their places only."""
        parts = []
        for item in self.query.order_by:
            sql = self._expression(item.expression)[0]
            if sql not in expressions:
                raise ApiError("MALFORMED_QUERY", "Ordered field must be grouped or aggregated")
            parts.append(f"{expressions.index(sql) + 2} {_direction(item)}")
        return f" ORDER BY {', '.join(parts)}" if parts else ""

    def _not_in_bulk(self, aggregate: bool, columns: list[Column]) -> str | None:
        if aggregate or any(isinstance(item, Query) for item in self.query.select):
            return AGGREGATES_IN_BULK
        if any(column.type == "address" for column in columns):
            return "Selecting compound data not supported in Bulk Query"
        if any(isinstance(item, Typeof) for item in self.query.select):
            return "TYPEOF is not supported in Bulk Query"
        return "OFFSET is not supported in Bulk Query" if self.query.offset is not None else None

    def _is_count(self) -> bool:
        item = self.query.select[0]
        return (
            len(self.query.select) == 1
            and isinstance(item, Selected)
            and isinstance(item.expression, Function)
            and item.expression.name.upper() == "COUNT"
            and not item.expression.arguments
        )

    # -- parts of the statement ---------------------------------------------------------------------------------------------------

    def _selection(self, aggregate: bool) -> tuple[list[str], list[Column]]:
        expressions, columns, unnamed = [], [], 0
        for item in self.query.select:
            if aggregate and not isinstance(item, Selected):
                raise ApiError("MALFORMED_QUERY", "Only fields and functions can be selected in an aggregate query")
            if isinstance(item, Query):
                continue
            if isinstance(item, Typeof):
                for sql, column in self._typeof(item):
                    expressions.append(sql)
                    columns.append(column)
                continue
            if isinstance(item.expression, Function) and item.expression.name.upper() == "FIELDS":
                for name in self._all_fields(item.expression):
                    sql, column = self._column(FieldPath((name,), 1), None, aggregate)
                    expressions.append(sql)
                    columns.append(column)
                continue
            alias = item.alias
            if (
                isinstance(item.expression, Function)
                and alias is None
                and item.expression.name.upper() not in ("FORMAT", "TOLABEL")
            ):
                alias, unnamed = f"expr{unnamed}", unnamed + 1
            if item.alias and not aggregate and not isinstance(item.expression, Function):
                raise ApiError(
                    "MALFORMED_QUERY", f"{self._pointer(item.expression)}only aggregate expressions use field aliasing"
                )
            sql, column = self._column(item.expression, alias, aggregate)
            if not aggregate and any(column.path == other.path and other.when is None for other in columns):
                raise ApiError("INVALID_FIELD", f"duplicate field selected: {'.'.join(column.path)}")
            expressions.append(sql)
            columns.append(column)
        return expressions, columns

    def _typeof(self, item: Typeof) -> Iterator[tuple[str, Column]]:
        alias, sobject, path = "t0", self.sobject, item.relationship.names
        reference = sobject.find_relationship(path[0])
        if len(path) != 1 or reference is None or not reference.is_polymorphic:
            raise self._no_relationship(path[-1], item.relationship)
        name, sql = reference.relationship or path[0], f"{alias}.{quoted(reference.name)}"
        for object_name, paths in item.whens:
            target = self.schema.find(object_name)
            if target is None or target.name not in reference.reference_to:
                raise invalid_type(object_name)
            table = self._join((name.lower(), f"when {target.name}"), alias, reference, target)[0]
            for field_path in paths:
                found = target.find(field_path.names[-1])
                if found is None or len(field_path.names) != 1:
                    raise self._no_column(field_path.names[-1], target, field_path)
                yield value_of(table, found), Column((name, found.name), found.type, when=target.name)
        for field_path in item.otherwise:
            shown = NAME_FIELDS.get(field_path.names[-1].lower())
            if shown is None:
                raise self._no_name_field(field_path.names[-1], field_path)
            yield self._name_value(sql, reference, shown.name), Column((name, shown.name), shown.type, when="")
        self.scope.parents[(name.lower(),)] = (
            Parent((name,), None, frozenset(target for target, _ in item.whens)),
            sql,
        )

    def _all_fields(self, function: Function) -> list[str]:
        which = str(function.arguments[0]).upper() if function.arguments else ""
        if which not in ("ALL", "STANDARD", "CUSTOM"):
            raise ApiError("MALFORMED_QUERY", f"unexpected token: 'FIELDS({which})'")
        if which != "STANDARD" and (self.query.limit is None or self.query.limit > 200):
            raise ApiError("MALFORMED_QUERY", "The SOQL FIELDS function must have a LIMIT of at most 200")
        return [item.name for item in self.sobject.visible if which == "ALL" or item.custom == (which == "CUSTOM")]

    def _column(self, expression: Any, alias: str | None, aggregate: bool) -> tuple[str, Column]:
        sql, item, path = self._expression(expression)
        kind = "string" if isinstance(expression, Function) and expression.name.upper() == "FORMAT" else item.type
        if aggregate:
            self._require_grouped(expression, "Field")
        if aggregate or alias or isinstance(expression, Function):
            function = f"{expression.name.lower()}({path_in(expression)})" if isinstance(expression, Function) else None
            return sql, Column((alias or path[-1],), kind, function)
        return sql, Column(path, kind)

    def _from(self) -> str:
        return " ".join([f"{quoted(self.sobject.name)} AS t0", *self.scope.joins])

    def _where(self) -> str:
        parts = [] if self.include_deleted else ["t0.IsDeleted = 0"]
        if self.compiler.store.has_late_rows:
            parts.append("(t0._visible_from IS NULL OR t0._visible_from <= ?)")
            self.parameters.append(timestamp(self.compiler.now()))
        if self.query.where is not None:
            _check_semi_joins(self.query.where)
            allowed, self.aggregates_allowed = self.aggregates_allowed, False
            parts.append(self._conditions(self.query.where))
            self.aggregates_allowed = allowed
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def _conditions(self, node: Any) -> str:
        return Conditions(self.compiler.now, self._filterable, self._semi_join, self.parameters).sql(node)

    def _filterable(self, expression: Any) -> tuple[str, Field]:
        sql, item, _ = self._usable(expression, "filterable", "filtered")
        return sql, item

    def _semi_join(self, query: Query) -> str:
        """The inner query of IN: one id or reference, never null, or NOT IN would find nothing."""
        paths = [item.expression for item in query.select if isinstance(item, Selected)]
        if (query.object.lower() == self.sobject.name.lower()) or any(
            isinstance(item, Query) for item in _right_sides(query.where)
        ):
            raise ApiError(
                "MALFORMED_QUERY",
                "The inner and outer selects should not be on the same object type, nor may semi joins be nested",
            )
        if (
            len(query.select) != 1
            or len(paths) != 1
            or not isinstance(paths[0], FieldPath)
            or query.group_by
            or query.limit is not None
        ):
            raise ApiError(
                "MALFORMED_QUERY",
                "The inner select field must be a single ID or reference field, without GROUP BY and LIMIT",
            )
        is_known = Comparison(paths[0], "!=", Literal("null", None))
        where = is_known if query.where is None else Junction("and", (query.where, is_known))
        inner = self.compiler.compile(replace(query, where=where), self.text)
        if inner.columns[0].type not in ("id", "reference"):
            raise ApiError("INVALID_FIELD", f"The inner select field '{paths[0]}' must be an ID or a reference")
        self.parameters += inner.parameters
        return inner.csv_sql

    def _grouping(self) -> str:
        if not self.query.group_by:
            if self.query.having is not None:
                raise ApiError("MALFORMED_QUERY", "unexpected token: 'HAVING'")
            return ""
        allowed, self.aggregates_allowed = self.aggregates_allowed, False
        sql = " GROUP BY " + ", ".join(self._usable(item, "groupable", "grouped")[0] for item in self.query.group_by)
        self.aggregates_allowed = allowed
        return f"{sql} HAVING {self._having()}" if self.query.having is not None else sql

    def _having(self) -> str:
        for expression in _expressions_in(self.query.having):
            self._require_grouped(expression, "Field")
        return self._conditions(self.query.having)

    def _require_grouped(self, expression: Any, what: str) -> None:
        """In a grouped query a field must be one of those grouped by, or stand in an aggregate function."""
        is_aggregate = isinstance(expression, Function) and expression.name.upper() in (*AGGREGATES, "GROUPING")
        if not is_aggregate and self._expression(expression)[0] not in [
            self._expression(item)[0] for item in self.query.group_by
        ]:
            raise ApiError(
                "MALFORMED_QUERY",
                f"{self._pointer(path_in(expression))}{what} must be grouped or aggregated: {path_in(expression)}",
            )

    def _order(self, aggregate: bool) -> str:
        parts = []
        for item in self.query.order_by:
            if aggregate:
                self._require_grouped(item.expression, "Ordered field")
            parts.append(f"{self._usable(item.expression, 'sortable', 'sorted')[0]} {_direction(item)}")
        if not parts:
            return "" if aggregate else " ORDER BY t0._n"
        return " ORDER BY " + ", ".join(parts)

    def _limit(self) -> str:
        if self.query.limit is None and self.query.offset is None:
            return ""
        return f" LIMIT {self.query.limit if self.query.limit is not None else -1} OFFSET {self.query.offset or 0}"

    def _child(self, query: Query) -> Child:
        for child, item in self.schema.children_of(self.sobject.name):
            if item.child_relationship and item.child_relationship.lower() == query.object.lower():
                condition = Comparison(FieldPath((item.name,), 1), "=", Literal("string", PARENT_ID))
                where = condition if query.where is None else Junction("and", (condition, query.where))
                inner = replace(query, object=child.name, where=where)
                compiled = self.compiler.compile(inner, self.text)
                if compiled.is_aggregate or compiled.is_count:
                    raise ApiError("MALFORMED_QUERY", "Only root queries support aggregate expressions")
                return Child(item.child_relationship, compiled)
        raise ApiError(
            "INVALID_TYPE",
            f"Didn't understand relationship '{query.object}' in FROM part of query call. If you are attempting to use a custom relationship, "
            "be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the "
            "appropriate names.",
        )


def _without(sql: str, left_out: set[str]) -> str:
    """A selected expression of a subtotal row: null where it is a field that is left out, and 1 where GROUPING() asks for one."""
    if sql in left_out:
        return "NULL"
    if sql.startswith("/*grouping "):
        return "1" if sql[len("/*grouping ") : -len("*/0")] in left_out else "0"
    return sql


def _direction(item: Ordering) -> str:
    nulls_last = item.nulls_last if item.nulls_last is not None else item.descending
    return f"{'DESC' if item.descending else 'ASC'} NULLS {'LAST' if nulls_last else 'FIRST'}"


def _expressions_in(node: Any) -> Iterator[Any]:
    """The left sides of a condition's comparisons."""
    if isinstance(node, Junction):
        for part in node.parts:
            yield from _expressions_in(part)
    else:
        yield node.left


def _right_sides(node: Any) -> Iterator[Any]:
    """The right sides of a condition's comparisons."""
    if isinstance(node, Junction):
        for part in node.parts:
            yield from _right_sides(part)
    elif node is not None:
        yield node.right


def _check_semi_joins(node: Any, under_or: bool = False) -> None:
    """At most two sub-selects in a statement, none of them joined by OR."""
    if sum(isinstance(item, Query) for item in _right_sides(node)) > MAX_SEMI_JOINS:
        raise ApiError("MALFORMED_QUERY", f"Maximum {MAX_SEMI_JOINS} semi join sub-selects are allowed")
    if isinstance(node, Junction):
        for part in node.parts:
            _check_semi_joins(part, under_or or node.operator == "or")
    elif under_or and isinstance(node.right, Query):
        raise ApiError("MALFORMED_QUERY", "Semi join sub-selects are not allowed with the 'OR' operator")
