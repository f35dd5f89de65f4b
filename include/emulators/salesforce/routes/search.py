"""SOSL over REST: /search and /parameterizedSearch. Words are looked for in the stored text, so there is no index that lags behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emulators.salesforce.errors import ApiError
from emulators.salesforce.org import Org
from emulators.salesforce.routes.body import count, json_object, objects, texts
from emulators.salesforce.schema import SObject
from emulators.salesforce.soql.parser import parse
from emulators.salesforce.soql.results import shaper
from emulators.salesforce.store import quoted
from emulators.wire import Call, Reply, Route

DEFAULT_LIMIT, MAX_LIMIT = 2_000, 2_000
DEFAULT_OBJECTS = ("Account", "Contact", "Lead", "Opportunity", "Campaign", "Case")  # of a search that names none
SEARCH_RECORDS_FROM = 37  # before, the answer was a bare list
_FIND = re.compile(r"FIND ?\{((?:\\.|[^}\\])*)\} ?(.*)", re.IGNORECASE)
_CLAUSE = re.compile(r"\b(IN|RETURNING|WITH|LIMIT)\b", re.IGNORECASE)
_TOKEN = re.compile(r'"([^"]*)"|([()])|([^\s()"]+)')
_SEARCHED_TYPES = {
    "ALL": ("string", "textarea", "email", "phone", "url", "picklist"), "EMAIL": ("email",), "PHONE": ("phone",),
    "SIDEBAR": ("string", "email", "phone"),
}  # fmt: skip


@dataclass(frozen=True)
class Returning:
    """One object of RETURNING, with what stands in its parentheses."""

    object: str
    fields: str = "Id"
    rest: str = ""  # WHERE, ORDER BY, LIMIT and OFFSET, as in SOQL
    limit: int = DEFAULT_LIMIT


def search(org: Org, call: Call, version: str) -> Reply:
    text = call.query.get("q", "")
    match = _FIND.fullmatch(" ".join(text.split()))
    if match is None:
        first = text.split(None, 1)[0] if text.strip() else "<EOF>"
        raise ApiError(
            "MALFORMED_SEARCH",
            f"unexpected token: {first}" if first.upper() != "FIND" else f"{text[:200]}: unexpected token",
        )
    clauses = _clauses(match[2])
    scope = re.fullmatch("(ALL|NAME|EMAIL|PHONE|SIDEBAR) FIELDS", clauses.get("IN", "ALL FIELDS"), re.IGNORECASE)
    if scope is None or "WITH" in clauses:
        raise ApiError("MALFORMED_SEARCH", f"{text[:200]}: unexpected token")
    wanted = [_returning(part) for part in _split(clauses.get("RETURNING", ""))] or [
        Returning(name) for name in DEFAULT_OBJECTS
    ]
    limit = count(clauses.get("LIMIT"), "LIMIT", default=DEFAULT_LIMIT, most=MAX_LIMIT)
    found = _find(org, version, _unescaped(match[1]), scope[1].upper(), wanted, limit)
    return Reply({"searchRecords": found} if int(float(version)) >= SEARCH_RECORDS_FROM else found)


def _clauses(text: str) -> dict[str, str]:
    """What stands behind FIND {...}, by its keywords outside parentheses."""
    found: dict[str, str] = {}
    name, start = "", 0
    for match in _CLAUSE.finditer(text):
        before = text[: match.start()]
        if before.count("(") == before.count(")"):
            found[name] = text[start : match.start()].strip()
            name, start = match[1].upper(), match.end()
    found[name] = text[start:].strip()
    if found.get("", ""):
        raise ApiError("MALFORMED_SEARCH", f"unexpected token: {found[''][:40]}")
    return found


def parameterized_search(org: Org, call: Call, version: str) -> Reply:
    body: dict[str, Any] = json_object(call) if call.method == "POST" else _from_address(call.query)
    default = count(body.get("defaultLimit"), "defaultLimit", default=DEFAULT_LIMIT, most=MAX_LIMIT)
    fields = body.get("fields", "Id")
    shown = ",".join(texts(fields, "fields")) if isinstance(fields, list) else str(fields)
    wanted = [_requested(item, shown, default) for item in objects(body.get("sobjects", []), "sobjects")]
    scope = str(body.get("in", "ALL")).upper().removesuffix(" FIELDS")
    limit = count(body.get("overallLimit"), "overallLimit", default=MAX_LIMIT, most=MAX_LIMIT)
    every = wanted or [Returning(name, limit=default) for name in DEFAULT_OBJECTS]
    return Reply({"searchRecords": _find(org, version, str(body.get("q", "")), scope, every, limit)})


def _requested(item: dict[str, Any], fields: str, limit: int) -> Returning:
    condition = f"WHERE {item['where']}" if item.get("where") else ""
    own = ",".join(texts(item.get("fields", []), "fields"))
    return Returning(
        str(item.get("name")),
        own or fields,
        condition,
        count(item.get("limit"), "limit", default=limit, most=MAX_LIMIT),
    )


def _from_address(query: dict[str, str]) -> dict[str, Any]:
    """The parameters of a GET in the form of a POST: sobject=Account&Account.fields=Id,Name&Account.limit=5."""
    body: dict[str, Any] = {key: value for key, value in query.items() if "." not in key}
    names = [name.strip() for name in query.get("sobject", "").split(",") if name.strip()]
    body["sobjects"] = [
        {
            "name": name, "fields": [part for part in query.get(f"{name}.fields", "").split(",") if part],
            **({"limit": query[f"{name}.limit"]} if f"{name}.limit" in query else {}),
            **({"where": query[f"{name}.where"]} if f"{name}.where" in query else {}),
        }
        for name in names
    ]  # fmt: skip
    return body


def _find(org: Org, version: str, find: str, scope: str, wanted: list[Returning], limit: int) -> list[dict[str, Any]]:
    matches = _Expression(find).parse()
    found: list[dict[str, Any]] = []
    for item in wanted:
        sobject = org.schema.find(item.object)
        if sobject is None:
            raise ApiError("INVALID_TYPE", f"sObject type '{item.object}' is not supported in a search")
        ids = _matching(org, sobject, scope, matches)
        if not ids:
            continue
        text = f"SELECT {item.fields} FROM {sobject.name} {item.rest}"
        compiled = org.compiler.compile(parse(text), text)
        shape = shaper(compiled, version, org.schema)
        rows = (row for row in org.store.reader.execute(compiled.sql, compiled.parameters) if row[0] in ids)
        found += [shape(row) for _, row in zip(range(min(item.limit, limit)), rows, strict=False)]
    return found[:limit]


Matches = Callable[[str], bool]


class _Expression:
    """A search expression: words and "phrases" with the wildcards * and ?, joined by AND (also implied), OR, AND NOT and parentheses."""

    def __init__(self, text: str) -> None:
        self._tokens = [(phrase, paren, word) for phrase, paren, word in _TOKEN.findall(text)]
        self._place = 0

    def parse(self) -> Matches:
        if not self._tokens:
            raise ApiError("MALFORMED_SEARCH", "No search term found. The search term must be enclosed in braces.")
        found = self._any()
        if self._place < len(self._tokens):
            raise ApiError("MALFORMED_SEARCH", "unexpected token: )")
        return found

    def _word(self) -> str:
        """The next token if it may be a keyword or a parenthesis, in upper case."""
        if self._place >= len(self._tokens):
            return ""
        _, paren, word = self._tokens[self._place]
        return str(paren or word.upper())

    def _any(self) -> Matches:
        parts = [self._all()]
        while self._word() == "OR":
            self._place += 1
            parts.append(self._all())
        return lambda text: any(part(text) for part in parts)

    def _all(self) -> Matches:
        parts = [self._one()]
        while self._place < len(self._tokens) and self._word() not in ("OR", ")"):
            if self._word() == "AND":
                self._place += 1
            parts.append(self._one())
        return lambda text: all(part(text) for part in parts)

    def _one(self) -> Matches:
        if self._place >= len(self._tokens):
            raise ApiError("MALFORMED_SEARCH", "unexpected token: <EOF>")
        if self._word() == "NOT":
            self._place += 1
            inner = self._one()
            return lambda text: not inner(text)
        phrase, paren, word = self._tokens[self._place]
        self._place += 1
        if paren == "(":
            grouped = self._any()
            if self._word() != ")":
                raise ApiError("MALFORMED_SEARCH", "unexpected token: <EOF>")
            self._place += 1
            return grouped
        return _term(phrase or word or paren)


def _term(text: str) -> Matches:
    if len(text.strip("*?")) < 2:
        raise ApiError("MALFORMED_SEARCH", f"search term must be longer than one character: {text}")
    body = "".join(
        r"\w*" if char == "*" else r"\w" if char == "?" else re.escape(char) for char in re.sub(r"\*+", "*", text)
    )
    pattern = re.compile(rf"(?<!\w){body}(?!\w)", re.IGNORECASE)
    return lambda value: pattern.search(value) is not None


def _matching(org: Org, sobject: SObject, scope: str, matches: Matches) -> set[str]:
    names = [
        item.name for item in sobject.visible
        if (item.name_field if scope == "NAME" else item.type in _SEARCHED_TYPES.get(scope, _SEARCHED_TYPES["ALL"]))
    ]  # fmt: skip
    if not names:
        return set()
    columns = ", ".join(quoted(name) for name in names)
    rows = org.store.reader.execute(f"SELECT Id, {columns} FROM {quoted(sobject.name)} WHERE IsDeleted = 0")
    found = set()
    for row in rows:
        text = "\n".join(str(value) for value in row[1:] if value is not None)
        if matches(text):
            found.add(row[0])
    return found


def _split(text: str) -> list[str]:
    """The objects of RETURNING: commas outside parentheses part them."""
    parts, depth, current = [], 0, ""
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += char
    return [part.strip() for part in [*parts, current] if part.strip()]


def _returning(part: str) -> Returning:
    name, _, inner = part.partition("(")
    if not inner:
        return Returning(name.strip())
    body = inner.strip().removesuffix(")")
    clause = re.search(r"\b(WHERE|ORDER\s+BY|LIMIT|OFFSET)\b", body, re.IGNORECASE)
    return Returning(
        name.strip(), body[: clause.start()].strip() if clause else body, body[clause.start() :] if clause else ""
    )


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


_V = "/services/data/v{version}"
ROUTES = (
    Route(("GET",), f"{_V}/search", search),
    Route(("GET", "POST"), f"{_V}/parameterizedSearch", parameterized_search),
)
