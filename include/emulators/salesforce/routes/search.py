"""SOSL over REST: /search and /parameterizedSearch. Words are looked for in the stored text, so there is no index that lags behind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from emulators.salesforce.errors import ApiError
from emulators.salesforce.org import Org
from emulators.salesforce.routes.body import json_object
from emulators.salesforce.schema import SObject
from emulators.salesforce.soql.parser import parse
from emulators.salesforce.soql.results import shaper
from emulators.salesforce.store import quoted
from emulators.wire import Call, Reply, Route

DEFAULT_LIMIT, MAX_LIMIT = 2_000, 2_000
DEFAULT_OBJECTS = ("Account", "Contact", "Lead", "Opportunity", "Campaign", "Case")  # of a search that names none
SEARCH_RECORDS_FROM = 37  # before, the answer was a bare list
_FIND = re.compile(
    r"\s*FIND\s*\{(?P<find>(?:\\.|[^}\\])*)\}\s*(?:IN\s+(?P<scope>ALL|NAME|EMAIL|PHONE|SIDEBAR)\s+FIELDS)?\s*"
    r"(?:RETURNING\s+(?P<returning>.*?))?\s*(?:WITH\s+.*?)?\s*(?:LIMIT\s+(?P<limit>\d+))?\s*",
    re.IGNORECASE | re.DOTALL,
)
_TERM = re.compile(r'"([^"]*)"|(\S+)')
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
    match = _FIND.fullmatch(text)
    if match is None:
        first = text.split(None, 1)[0] if text.strip() else "<EOF>"
        raise ApiError("MALFORMED_SEARCH", f"unexpected token: {first}" if first.upper() != "FIND" else f"{text}: line 1: unexpected token")
    wanted = [_returning(part) for part in _split(match["returning"] or "")] or [Returning(name) for name in DEFAULT_OBJECTS]
    found = _find(org, version, _unescaped(match["find"]), (match["scope"] or "ALL").upper(), wanted, int(match["limit"] or DEFAULT_LIMIT))
    return Reply({"searchRecords": found} if int(float(version)) >= SEARCH_RECORDS_FROM else found)


def parameterized_search(org: Org, call: Call, version: str) -> Reply:
    body: dict[str, Any] = json_object(call) if call.method == "POST" else _from_address(call.query)
    term = str(body.get("q", ""))
    default = int(body.get("defaultLimit", DEFAULT_LIMIT))
    fields = body.get("fields", "Id")
    objects = body.get("sobjects") or []
    shown = ",".join(fields) if isinstance(fields, list) else str(fields)
    wanted = [_requested(item, shown, default) for item in objects] or [Returning(name, limit=default) for name in DEFAULT_OBJECTS]
    scope = str(body.get("in", "ALL")).upper().removesuffix(" FIELDS")
    return Reply({"searchRecords": _find(org, version, term, scope, wanted, int(body.get("overallLimit", MAX_LIMIT)))})


def _requested(item: dict[str, Any], fields: str, limit: int) -> Returning:
    condition = f"WHERE {item['where']}" if item.get("where") else ""
    return Returning(str(item["name"]), ",".join(item.get("fields") or []) or fields, condition, int(item.get("limit", limit)))


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
    terms = _terms(find)
    found: list[dict[str, Any]] = []
    for item in wanted:
        sobject = org.schema.find(item.object)
        if sobject is None:
            raise ApiError("INVALID_TYPE", f"sObject type '{item.object}' is not supported in a search")
        ids = _matching(org, sobject, scope, terms)
        if not ids:
            continue
        text = f"SELECT {item.fields} FROM {sobject.name} {item.rest}"
        compiled = org.compiler.compile(parse(text), text)
        shape = shaper(compiled, version, org.schema)
        rows = (row for row in org.store.reader.execute(compiled.sql, compiled.parameters) if row[0] in ids)
        found += [shape(row) for _, row in zip(range(min(item.limit, limit)), rows, strict=False)]
    return found[:limit]


def _terms(find: str) -> list[re.Pattern[str]]:
    """A pattern for each word or quoted phrase; `*` and `?` are wildcards, AND is implied."""
    patterns = []
    for phrase, word in _TERM.findall(find.replace("(", " ").replace(")", " ")):
        text = phrase or word
        if not phrase and text.upper() in ("AND", "OR", "NOT"):
            continue
        if len(text.strip("*?")) < 2:
            raise ApiError("MALFORMED_SEARCH", f"search term must be longer than one character: {text}")
        body = "".join(r"\w*" if char == "*" else r"\w" if char == "?" else re.escape(char) for char in text)
        patterns.append(re.compile(rf"(?<!\w){body}(?!\w)", re.IGNORECASE))
    if not patterns:
        raise ApiError("MALFORMED_SEARCH", "No search term found. The search term must be enclosed in braces.")
    return patterns


def _matching(org: Org, sobject: SObject, scope: str, terms: list[re.Pattern[str]]) -> set[str]:
    names = [
        item.name for item in sobject.fields.values()
        if (item.name_field if scope == "NAME" else item.type in _SEARCHED_TYPES.get(scope, _SEARCHED_TYPES["ALL"]))
    ]  # fmt: skip
    if not names:
        return set()
    columns = ", ".join(quoted(name) for name in names)
    rows = org.store.reader.execute(f"SELECT Id, {columns} FROM {quoted(sobject.name)} WHERE IsDeleted = 0")
    found = set()
    for row in rows:
        text = "\n".join(str(value) for value in row[1:] if value is not None)
        if all(term.search(text) for term in terms):
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
    return Returning(name.strip(), body[: clause.start()].strip() if clause else body, body[clause.start() :] if clause else "")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


_V = "/services/data/v{version}"
ROUTES = (
    Route(("GET",), f"{_V}/search", search),
    Route(("GET", "POST"), f"{_V}/parameterizedSearch", parameterized_search),
)
