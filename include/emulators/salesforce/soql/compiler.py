"""A SOQL syntax tree to one SQL statement; names that the org does not have raise the org's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from emulators.salesforce.errors import ApiError, invalid_type
from emulators.salesforce.ids import looks_like_id, to_18
from emulators.salesforce.schema import NUMBER_TYPES, Field, Schema, SObject
from emulators.salesforce.soql import dates
from emulators.salesforce.soql.parser import Comparison, FieldPath, Function, Junction, Literal, Query, Selected, Typeof
from emulators.salesforce.store import Store, quoted, timestamp

AGGREGATES = {"COUNT": "COUNT", "COUNT_DISTINCT": "COUNT(DISTINCT", "SUM": "SUM", "AVG": "AVG", "MIN": "MIN", "MAX": "MAX"}
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
LONGEST_FILTERABLE = 255  # characters of a text area
PARENT_ID = "?"  # stands for the parent's id among a child query's parameters
MAX_STATEMENT = 100_000
MAX_OFFSET = 2_000
MAX_DEPTH = 5  # relationships in one path


@dataclass(frozen=True)
class Column:
    """One selected value: `path` is where it stands in the answer; `type` is the describe type that formats it."""

    path: tuple[str, ...]
    type: str
    when: str | None = None  # of TYPEOF: the object whose records have this value; "" for ELSE


@dataclass(frozen=True)
class Parent:
    """A parent in the answer. Its id comes after the columns, in the order of Compiled.parents.

    `sobject` is None for a polymorphic relationship. `whens` lists the objects of a TYPEOF; None when it is not one.
    """

    path: tuple[str, ...]
    sobject: SObject | None
    whens: frozenset[str] | None = None


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
    children: tuple[Child, ...] = ()
    id_sql: str = ""  # the same rows, ids only: what a cursor remembers
    csv_sql: str = ""  # the same rows, columns only, booleans as true and false
    by_id_sql: str = ""  # the same columns, without conditions: `{marks}` stands for the ids


@dataclass
class _Scope:
    """The tables joined so far: relationship path -> (alias, object)."""

    sobject: SObject
    alias: str | None
    joins: list[str] = field(default_factory=list)
    tables: dict[tuple[str, ...], tuple[str, SObject]] = field(default_factory=dict)
    parents: dict[tuple[str, ...], tuple[Parent, str]] = field(default_factory=dict)  # with the SQL of its id


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
                "QUERY_TOO_COMPLICATED", "Query is either selecting too many fields or the filter conditions are too complicated."
            ) from None


class _Statement:
    def __init__(self, compiler: Compiler, query: Query, text: str, sobject: SObject, include_deleted: bool) -> None:
        self.compiler, self.query, self.text, self.sobject, self.include_deleted = compiler, query, text, sobject, include_deleted
        self.scope = _Scope(sobject, query.alias)
        self.scope.tables[()] = ("t0", sobject)
        self.parameters: list[Any] = []

    def compile(self) -> Compiled:
        query = self.query
        if self._is_count():
            where = self._where()
            sql = f"SELECT COUNT(*) FROM {self._from()}{where}"
            return Compiled(self.sobject, sql, tuple(self.parameters), (), is_count=True, limit=query.limit)
        aggregate = bool(query.group_by) or any(
            isinstance(item, Selected) and isinstance(item.expression, Function) and item.expression.name.upper() in AGGREGATES
            for item in query.select
        )
        expressions, columns = self._selection(aggregate)
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
            self.sobject, f"SELECT {selection} {body}", tuple(self.parameters), tuple(columns),
            parents=tuple(parent for parent, _ in parents), is_aggregate=aggregate, limit=query.limit, children=children,
            id_sql=f'SELECT t0."Id" {body}', csv_sql=f"SELECT {', '.join(cells)} {body}", by_id_sql=f'SELECT {selection} FROM {self._from()} WHERE t0."Id" IN ({{marks}})',
        )  # fmt: skip

    def _with_subtotals(self, expressions: list[str], columns: list[Column]) -> Compiled:
        """GROUP BY ROLLUP and CUBE: a statement for each set of fields that stays, the ones left out being null."""
        grouped = [self._expression(item)[0] for item in self.query.group_by]
        count = len(grouped)
        if self.query.subtotals == "ROLLUP":
            kept_sets = [set(grouped[:size]) for size in range(count, -1, -1)]
        else:
            kept_sets = [{grouped[bit] for bit in range(count) if not mask >> bit & 1} for mask in range(2**count)]
        statements, parameters = [], []
        for kept in kept_sets:
            self.parameters = []
            shown = [_without(sql, set(grouped) - kept) for sql in expressions]
            body = f"FROM {self._from()}{self._where()}"
            by = f" GROUP BY {', '.join(sql for sql in grouped if sql in kept)}" if kept else ""
            having = f" HAVING {self._condition(self.query.having)}" if self.query.having is not None else ""
            statements.append(f"SELECT NULL, {', '.join(shown)} {body}{by}{having}")
            parameters += self.parameters
        sql = " UNION ALL ".join(statements) + self._limit()
        return Compiled(self.sobject, sql, tuple(parameters), tuple(columns), is_aggregate=True, limit=self.query.limit)

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
            if isinstance(item.expression, Function) and alias is None and item.expression.name.upper() not in ("FORMAT", "TOLABEL"):
                alias, unnamed = f"expr{unnamed}", unnamed + 1
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
            target = self.compiler.schema.find(object_name)
            if target is None or target.name not in reference.reference_to:
                raise invalid_type(object_name)
            table = self._join((name.lower(), f"when {target.name}"), alias, reference, target)[0]
            for field_path in paths:
                found = target.find(field_path.names[-1])
                if found is None or len(field_path.names) != 1:
                    raise self._no_column(field_path.names[-1], target, field_path)
                yield _value_of(table, found), Column((name, found.name), found.type, when=target.name)
        for field_path in item.otherwise:
            shown = NAME_FIELDS.get(field_path.names[-1].lower())
            if shown is None:
                raise self._no_name_field(field_path.names[-1], field_path)
            yield self._name_value(sql, reference, shown.name), Column((name, shown.name), shown.type, when="")
        self.scope.parents[(name.lower(),)] = (Parent((name,), None, frozenset(target for target, _ in item.whens)), sql)

    def _name_value(self, sql: str, reference: Field, name: str) -> str:
        """SQL for a field of whatever record a polymorphic reference leads to."""
        cases = []
        for object_name in reference.reference_to:
            target = self.compiler.schema.objects[object_name]
            if name == "Type":
                value = f"'{object_name}'"
            elif name == "Id":
                value = sql
            else:
                found = (target.name_field or target.find("Subject")) if name == "Name" else target.find(name)
                value = f'(SELECT {quoted(found.name)} FROM {quoted(target.name)} WHERE "Id" = {sql})' if found else "NULL"
            cases.append(f"WHEN '{target.prefix}' THEN {value}")
        return f"CASE substr({sql}, 1, 3) {' '.join(cases)} END"

    def _all_fields(self, function: Function) -> list[str]:
        which = str(function.arguments[0]).upper() if function.arguments else ""
        if which not in ("ALL", "STANDARD", "CUSTOM"):
            raise ApiError("MALFORMED_QUERY", f"unexpected token: 'FIELDS({which})'")
        if which != "STANDARD" and (self.query.limit is None or self.query.limit > 200):
            raise ApiError("MALFORMED_QUERY", "The SOQL FIELDS function must have a LIMIT of at most 200")
        return [item.name for item in self.sobject.fields.values() if which == "ALL" or item.custom == (which == "CUSTOM")]

    def _column(self, expression: Any, alias: str | None, aggregate: bool) -> tuple[str, Column]:
        sql, item, path = self._expression(expression)
        kind = item.type if item else "double"
        if isinstance(expression, Function):
            name = expression.name.upper()
            kind = "int" if name.startswith("COUNT") or name in DATE_PARTS or name == "GROUPING" else kind
            if name in ("AVG", "SUM"):
                kind = "double"
            elif name == "FORMAT":
                kind = "string"
        elif aggregate and sql not in [self._expression(item)[0] for item in self.query.group_by]:
            raise ApiError("MALFORMED_QUERY", f"{self._pointer(expression)}Field must be grouped or aggregated: {'.'.join(path)}")
        if aggregate or alias or isinstance(expression, Function):
            return sql, Column((alias or path[-1],), kind)
        return sql, Column(path, kind)

    def _from(self) -> str:
        return " ".join([f"{quoted(self.sobject.name)} AS t0", *self.scope.joins])

    def _where(self) -> str:
        parts = [] if self.include_deleted else ["t0.IsDeleted = 0"]
        if self.compiler.store.has_late_rows:
            parts.append("(t0._visible_from IS NULL OR t0._visible_from <= ?)")
            self.parameters.append(timestamp(self.compiler.now()))
        if self.query.where is not None:
            parts.append(self._condition(self.query.where))
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def _grouping(self) -> str:
        sql = ""
        if self.query.group_by:
            sql += " GROUP BY " + ", ".join(self._usable(item, "groupable", "grouped")[0] for item in self.query.group_by)
        if self.query.having is not None:
            sql += " HAVING " + self._condition(self.query.having)
        return sql

    def _order(self, aggregate: bool) -> str:
        parts = []
        for item in self.query.order_by:
            sql = self._usable(item.expression, "sortable", "sorted")[0]
            nulls_last = item.nulls_last if item.nulls_last is not None else item.descending
            parts.append(f"{sql} {'DESC' if item.descending else 'ASC'} NULLS {'LAST' if nulls_last else 'FIRST'}")
        if not parts:
            return "" if aggregate else " ORDER BY t0._n"
        return " ORDER BY " + ", ".join(parts)

    def _limit(self) -> str:
        if self.query.limit is None and self.query.offset is None:
            return ""
        return f" LIMIT {self.query.limit if self.query.limit is not None else -1} OFFSET {self.query.offset or 0}"

    def _child(self, query: Query) -> Child:
        for child, item in self.compiler.schema.children_of(self.sobject.name):
            if item.child_relationship and item.child_relationship.lower() == query.object.lower():
                condition = Comparison(FieldPath((item.name,), 1), "=", Literal("string", PARENT_ID))
                where = condition if query.where is None else Junction("and", (condition, query.where))
                inner = replace(query, object=child.name, where=where)
                return Child(item.child_relationship, self.compiler.compile(inner, self.text))
        raise ApiError(
            "INVALID_TYPE",
            f"Didn't understand relationship '{query.object}' in FROM part of query call. If you are attempting to use a custom relationship, "
            "be sure to append the '__r' after the custom relationship name. Please reference your WSDL or the describe call for the "
            "appropriate names.",
        )

    # -- expressions --------------------------------------------------------------------------------------------------------------

    def _expression(self, expression: Any) -> tuple[str, Field | None, tuple[str, ...]]:
        """SQL, the field it stands for (None for a computed value), and its path with the org's own spelling."""
        if isinstance(expression, Function):
            return self._function(expression)
        names = list(expression.names)
        if (len(names) > 1 and self.scope.alias and names[0].lower() == self.scope.alias.lower()) or (
            len(names) > 1 and names[0].lower() == self.sobject.name.lower() and not self.sobject.find_relationship(names[0])
        ):
            names = names[1:]
        if len(names) > MAX_DEPTH + 1:
            raise ApiError("INVALID_QUERY_FILTER_OPERATOR", f"Relationship paths cannot be longer than {MAX_DEPTH} levels: {expression}")
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
            alias, sobject = self._join(place, alias, item, self.compiler.schema.objects[item.reference_to[0]])
            self.scope.parents.setdefault(place, (Parent(tuple(path), sobject), identity))
        item = sobject.find(names[-1])
        if item is None:
            raise self._no_column(names[-1], sobject, expression)
        return _value_of(alias, item), item, (*path, item.name)

    def _usable(self, expression: Any, ability: str, word: str) -> tuple[str, Field | None, tuple[str, ...]]:
        """The expression, unless its field cannot be filtered, sorted or grouped by."""
        found = self._expression(expression)
        if isinstance(expression, FieldPath) and found[1] is not None and not _can(found[1], ability):
            raise ApiError("INVALID_FIELD", f"{self._pointer(expression)}field '{found[1].name}' can not be {word} in a query call")
        return found

    def _join(self, path: tuple[str, ...], alias: str, item: Field, parent: SObject) -> tuple[str, SObject]:
        if path not in self.scope.tables:
            name = f"t{len(self.scope.tables)}"
            self.scope.joins.append(f'LEFT JOIN {quoted(parent.name)} AS {name} ON {name}."Id" = {alias}.{quoted(item.name)}')
            self.scope.tables[path] = (name, parent)
        return self.scope.tables[path]

    def _function(self, function: Function) -> tuple[str, Field | None, tuple[str, ...]]:
        name = function.name.upper()
        if not function.arguments or not isinstance(function.arguments[0], (FieldPath, Function)):
            raise ApiError("MALFORMED_QUERY", f"unexpected token: '{function.name}'")
        if name in AGGREGATES:
            sql, item, path = self._expression(function.arguments[0])
            call = f"{AGGREGATES[name]} {sql})" if name == "COUNT_DISTINCT" else f"{AGGREGATES[name]}({sql})"
            return call, item, path
        if name in DATE_PARTS:
            sql, item, path = self._expression(function.arguments[0])
            return f"CAST({DATE_PARTS[name].format(sql)} AS INTEGER)", item, path
        if name == "DAY_ONLY":
            sql, _, path = self._expression(function.arguments[0])
            return f"substr({sql}, 1, 10)", Field("day", "date", "Day"), path
        if name == "GROUPING" and self.query.subtotals:
            sql, item, path = self._expression(function.arguments[0])
            return f"/*grouping {sql}*/0", item, path
        if name in ("FORMAT", "TOLABEL", "CONVERTTIMEZONE", "CONVERTCURRENCY"):
            sql, item, path = self._expression(function.arguments[0])
            return (f"CAST({sql} AS TEXT)" if name == "FORMAT" else sql), item, path
        raise ApiError("MALFORMED_QUERY", f"unexpected token: '{function.name}'")

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
        return f"\n{line[start : start + 80]}\n{' ' * (path.column - 1 - start)}^\nERROR at Row:1:Column:{path.column}\n"

    # -- conditions ---------------------------------------------------------------------------------------------------------------

    def _condition(self, node: Any) -> str:
        if isinstance(node, Junction):
            if node.operator == "not":
                return f"NOT ({self._condition(node.parts[0])})"
            return "(" + f" {node.operator.upper()} ".join(self._condition(part) for part in node.parts) + ")"
        assert isinstance(node, Comparison)
        sql, item, _ = self._usable(node.left, "filterable", "filtered")
        if node.operator in ("in", "not in"):
            return self._membership(sql, item, node)
        if node.operator in ("includes", "excludes"):
            parts = [self._includes(sql, literal) for literal in node.right]
            joined = "(" + " OR ".join(parts) + ")"
            return joined if node.operator == "includes" else f"NOT {joined}"
        return self._comparison(sql, item, node.operator, node.right)

    def _includes(self, sql: str, literal: Literal) -> str:
        wanted = [part.strip() for part in str(literal.value).split(";")]
        self.parameters += [f"%;{part};%" for part in wanted]
        return "(" + " AND ".join(f"(';' || {sql} || ';') LIKE ?" for _ in wanted) + ")"

    def _membership(self, sql: str, item: Field | None, node: Comparison) -> str:
        if isinstance(node.right, Query):
            inner = self.compiler.compile(node.right, self.text)
            if len(inner.columns) != 1:
                raise ApiError("MALFORMED_QUERY", "The inner select field must be a single ID or reference field")
            self.parameters += inner.parameters
            body = inner.sql.replace('SELECT t0."Id", ', "SELECT ", 1)
            return f"{sql} {node.operator.upper()} ({body})"
        has_null = any(literal.kind == "null" for literal in node.right)
        values = [self._value(item, literal) for literal in node.right if literal.kind != "null"]
        self.parameters += values
        listed = f"{sql} IN ({', '.join('?' * len(values))})"
        if has_null:
            listed = f"({listed} OR {sql} IS NULL)"
        if node.operator == "in":
            return listed
        return f"({sql} IS NULL OR NOT {listed})" if not has_null else f"NOT {listed}"

    def _comparison(self, sql: str, item: Field | None, operator: str, literal: Literal) -> str:
        if literal.kind == "null":
            if operator not in ("=", "!="):
                raise ApiError("MALFORMED_QUERY", f"operator {operator} cannot be used with null")
            return f"{sql} IS {'NOT ' if operator == '!=' else ''}NULL"
        if literal.kind not in ("string", "number", "boolean", "date", "datetime"):
            return self._date_literal(sql, item, operator, literal)
        value = self._value(item, literal)
        if operator == "like":
            self.parameters.append(value)
            return f"{sql} LIKE ? ESCAPE '\\'"
        if item is not None and item.is_text and value == "":
            return f"{sql} IS {'NOT ' if operator == '!=' else ''}NULL"
        self.parameters.append(value)
        if operator == "!=":
            return f"({sql} IS NULL OR {sql} != ?)"
        return f"{sql} {operator} ?"

    def _date_literal(self, sql: str, item: Field | None, operator: str, literal: Literal) -> str:
        if item is None or item.type not in ("date", "datetime"):
            raise ApiError("MALFORMED_QUERY", f"unexpected token: '{literal.kind}'")
        first, after = dates.interval(literal.kind, literal.count, self.compiler.now().date())
        start, end = (first.isoformat(), after.isoformat()) if item.type == "date" else (dates.midnight(first), dates.midnight(after))
        if operator in ("=", "!="):
            self.parameters += [start, end]
            inside = f"({sql} >= ? AND {sql} < ?)"
            return inside if operator == "=" else f"({sql} IS NULL OR NOT {inside})"
        bound = {"<": ("<", start), ">=": (">=", start), ">": (">=", end), "<=": ("<", end)}[operator]
        self.parameters.append(bound[1])
        return f"{sql} {bound[0]} ?"

    def _value(self, item: Field | None, literal: Literal) -> Any:
        if item is None:
            return literal.value
        if literal.kind == "boolean":
            self._require(item.type == "boolean", item, literal, "boolean")
            return int(literal.value)
        if literal.kind == "number":
            self._require(item.type in NUMBER_TYPES, item, literal, "number")
            return literal.value
        if literal.kind == "datetime":
            self._require(item.type == "datetime", item, literal, "dateTime")
            return timestamp(datetime.fromisoformat(literal.value))
        if literal.kind == "date":
            self._require(item.type == "date", item, literal, "date")
            return _valid_date(literal.value)
        self._require(item.is_text or item.is_id, item, literal, "string")
        if item.is_id and literal.value not in ("", PARENT_ID):
            if not looks_like_id(literal.value):
                raise ApiError("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {literal.value}")
            return to_18(literal.value)
        return literal.value

    def _require(self, fits: bool, item: Field, literal: Literal, kind: str) -> None:
        if fits:
            return
        expected = {"datetime": "dateTime", "currency": "currency", "double": "double", "int": "int"}.get(item.type, item.type)
        shown = f"'{literal.value}'" if literal.kind == "string" else literal.value
        quotes = "should not" if literal.kind == "string" else "should"
        raise ApiError(
            "INVALID_FIELD",
            f"value of filter criterion for field '{item.name}' must be of type {expected} and {quotes} be enclosed in quotes, not {kind} {shown}",
        )


def _valid_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ApiError("MALFORMED_QUERY", f"invalid date: {text}") from None


def _value_of(alias: str, item: Field) -> str:
    """SQL for a field's value; a compound one is JSON of its parts."""
    if not item.is_compound:
        return f"{alias}.{quoted(item.name)}"
    parts = ", ".join(f"'{key}', {alias}.{quoted(name)}" for key, name in item.parts)
    known = " OR ".join(f"{alias}.{quoted(name)} IS NOT NULL" for _, name in item.parts)
    return f"CASE WHEN {known} THEN json_object({parts}) END"


def _can(item: Field, ability: str) -> bool:
    """Whether the field is filterable, sortable or groupable."""
    is_long = item.type == "textarea" and item.length > LONGEST_FILTERABLE
    if ability == "groupable":
        return not item.is_compound and item.type not in ("textarea", "double", "currency", "percent", "datetime")
    return not item.is_compound and not is_long


def _without(sql: str, left_out: set[str]) -> str:
    """A selected expression of a subtotal row: null where it is a field that is left out, and 1 where GROUPING() asks for one."""
    if sql in left_out:
        return "NULL"
    if sql.startswith("/*grouping "):
        return "1" if sql[len("/*grouping ") : -len("*/0")] in left_out else "0"
    return sql
