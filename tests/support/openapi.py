"""Whether recorded calls and answers are what an OpenAPI 3.0 document says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from openapi_schema_validator import OAS30ReadValidator, OAS30WriteValidator, oas30_format_checker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

DOCUMENT = "urn:document"
NDJSON = ("application/x-ndjson", "application/octet-stream")


class Contract:
    """An entry of the traffic is a mapping with operation (`GET /path/{template}`), query (name -> values), body,
    content_type, status and answer (bytes)."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._registry: Registry[Any] = Registry().with_resource(
            DOCUMENT, Resource.from_contents(document, default_specification=DRAFT4)
        )
        self._paths = {_shape(path): path for path in document["paths"]}
        self._validator = lru_cache(maxsize=None)(self._make_validator)

    @classmethod
    def read(cls, path: Path) -> Contract:
        return cls(json.loads(path.read_text()))

    def problems(self, entry: Mapping[str, Any]) -> Iterator[str]:
        """A sentence for each thing that the document does not have so."""
        method, _, template = entry["operation"].partition(" ")
        path = self._paths.get(_shape(template))
        operation = self._document["paths"].get(path, {}).get(method.lower())
        if path is None or operation is None:
            yield f"{entry['operation']} is no operation of the document"
            return
        pointer = f"#/paths/{path.replace('~', '~0').replace('/', '~1')}/{method.lower()}"
        for problem in (*self._of_query(operation, entry), *self._of_body(operation, entry, pointer)):
            yield f"{entry['operation']}: the request's {problem}"
        for problem in self._of_answer(operation, entry, pointer):
            yield f"{entry['operation']}: the answer's {problem}"

    def _of_query(self, operation: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[str]:
        known = {item["name"]: item for item in operation.get("parameters", []) if item["in"] == "query"}
        for name, values in entry["query"].items():
            if name not in known:
                yield f"query has {name}, which is not there"
                continue
            schema = known[name].get("schema", {})
            kind = schema.get("type")
            for text in values:
                value = {"integer": _number, "number": _number, "boolean": _boolean}.get(kind, str)(text)
                checker = OAS30WriteValidator(schema, registry=self._registry, format_checker=oas30_format_checker)
                yield from (f"query {name}: {error.message}" for error in checker.iter_errors(value))

    def _of_body(self, operation: Mapping[str, Any], entry: Mapping[str, Any], pointer: str) -> Iterator[str]:
        declared = operation.get("requestBody", {}).get("content", {})
        if not entry["body"]:
            if operation.get("requestBody", {}).get("required"):
                yield "body is missing"
            return
        kind = entry["content_type"].partition(";")[0]
        if kind not in declared:
            yield f"body is {kind or 'of no type'}, and not one of {', '.join(declared) or 'none'}"
            return
        bodies = entry["body"].splitlines() if kind in NDJSON else [entry["body"]]
        where = f"{pointer}/requestBody/content/{kind.replace('/', '~1')}/schema"
        for body in bodies:
            yield from (f"body {text}" for text in self._errors(where, body, write=True))

    def _of_answer(self, operation: Mapping[str, Any], entry: Mapping[str, Any], pointer: str) -> Iterator[str]:
        status = str(entry["status"])
        name = status if status in operation["responses"] else "default"
        if name not in operation["responses"]:
            yield f"status {status} is not declared"
            return
        content = operation["responses"][name].get("content", {})
        if "application/json" not in content or not entry["answer"]:
            return
        where = f"{pointer}/responses/{name}/content/application~1json/schema"
        yield from (f"body {text}" for text in self._errors(where, entry["answer"], write=False))

    def _errors(self, where: str, body: bytes, *, write: bool) -> Iterator[str]:
        for error in self._validator(where, write).iter_errors(json.loads(body)):
            yield f"at {'/'.join(map(str, error.absolute_path)) or 'its root'}: {error.message[:200]}"

    def _make_validator(self, where: str, write: bool) -> Any:
        kind = OAS30WriteValidator if write else OAS30ReadValidator
        return kind({"$ref": f"{DOCUMENT}{where}"}, registry=self._registry, format_checker=oas30_format_checker)


def _shape(path: str) -> str:
    """The path with its parameters nameless, in small letters: servers of this kind do not tell cases apart."""
    return "/".join("{}" if part.startswith("{") else part.lower() for part in path.split("/"))


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def _boolean(text: str) -> Any:
    return {"true": True, "false": False}.get(text.lower(), text)
