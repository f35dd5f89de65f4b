"""What the org says of its objects: describe, as far as the sync needs it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from salesforce_sync.errors import RequestRejected, ServiceUnavailable
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.wire_errors import as_exception, read_error

COMPOSITE_REQUESTS = 25  # at most this many in one composite call, which counts as one


@dataclass(frozen=True)
class FieldInfo:
    """One field of an object, by describe."""

    name: str
    type: str
    label: str
    length: int
    createable: bool
    updateable: bool
    nillable: bool
    defaulted: bool
    external_id: bool
    unique: bool
    restricted_values: frozenset[str] | None
    reference_to: tuple[str, ...]
    relationship: str | None
    calculated: bool = False


@dataclass(frozen=True)
class ObjectInfo:
    """One object, by describe; `fields` by their API name, in the org's spelling."""

    name: str
    label: str
    createable: bool
    updateable: bool
    fields: dict[str, FieldInfo]

    def find(self, name: str) -> FieldInfo | None:
        """The field of this name, in any case."""
        exact = self.fields.get(name)
        return exact or next((item for item in self.fields.values() if item.name.lower() == name.lower()), None)

    def find_relationship(self, name: str) -> FieldInfo | None:
        return next((item for item in self.fields.values() if (item.relationship or "").lower() == name.lower()), None)


class DescriptionStore(Protocol):
    """Keeps descriptions for a while, for all tasks."""

    def find(self, names: Sequence[str]) -> dict[str, ObjectInfo]:
        """Those of them that are there, and recent enough to be believed."""

    def save(self, found: Mapping[str, ObjectInfo]) -> None: ...


class Describer:
    """Describes objects, each at most once; several together cost one API call, and none when the store has them."""

    def __init__(self, session: Session, store: DescriptionStore | None = None) -> None:
        self._session, self._store = session, store
        self._known: dict[str, ObjectInfo | None] = {}
        self._from_store: set[str] = set()

    def objects(self, names: Iterable[str]) -> dict[str, ObjectInfo | None]:
        """Each object's description by the name asked for; None where the org has no such object (or hides it from the user)."""
        wanted = list(dict.fromkeys(names))
        missing = [name for name in wanted if name not in self._known]
        if missing and self._store is not None:
            found = self._store.find(missing)
            self._known |= found
            self._from_store |= found.keys()
        self._ask([name for name in missing if name not in self._known])
        return {name: self._known[name] for name in wanted}

    def refresh(self) -> bool:
        """Asks the org again for what came from the store; False when nothing did."""
        stale, self._from_store = self._from_store, set()
        self._ask(sorted(stale))
        return bool(stale)

    def _ask(self, names: list[str]) -> None:
        for start in range(0, len(names), COMPOSITE_REQUESTS):
            self._describe(names[start : start + COMPOSITE_REQUESTS])
        found = {name: info for name in names if (info := self._known[name]) is not None}
        if found and self._store is not None:
            self._store.save(found)

    def object(self, name: str) -> ObjectInfo:
        """One object's description; RequestRejected when the org has none of that name."""
        found = self.objects([name])[name]
        if found is None:
            raise RequestRejected(
                f"The org has no object {name}, or hides it from the integration user.", code="NOT_FOUND"
            )
        return found

    def _describe(self, names: list[str]) -> None:
        what = f"describing {', '.join(names)}"
        urls = [self._session.path(f"sobjects/{name}/describe") for name in names]
        for name, (status, body) in zip(names, get_together(self._session, urls, what=what), strict=True):
            if status == 404:
                self._known[name] = None
            elif status >= 400:
                raise as_exception(read_error(status, json.dumps(body).encode()), what)
            else:
                self._known[name] = _object(body)


def get_together(session: Session, urls: Sequence[str], *, what: str) -> list[tuple[int, Any]]:
    """Status and body of the answer to each GET, at most COMPOSITE_REQUESTS of them, in one API call."""
    requests = [{"method": "GET", "url": url, "referenceId": f"r{index}"} for index, url in enumerate(urls)]
    body = {"allOrNone": False, "compositeRequest": requests}
    answer = session.request("POST", session.path("composite"), what=what, json_body=body).value
    parts = answer.get("compositeResponse") if isinstance(answer, dict) else None
    if not isinstance(parts, list) or len(parts) != len(urls):
        raise ServiceUnavailable(f"{what}: the answer does not have the {len(urls)} parts that were asked for.")
    return [(part["httpStatusCode"], part["body"]) for part in parts]


def _object(raw: dict[str, Any]) -> ObjectInfo:
    return ObjectInfo(
        name=raw["name"],
        label=raw["label"],
        createable=raw["createable"],
        updateable=raw["updateable"],
        fields={item["name"]: _field(item) for item in raw["fields"]},
    )


def _field(raw: dict[str, Any]) -> FieldInfo:
    values = (
        frozenset(item["value"] for item in raw["picklistValues"] if item["active"])
        if raw["restrictedPicklist"]
        else None
    )
    return FieldInfo(
        name=raw["name"],
        type=raw["type"],
        label=raw["label"],
        length=raw["length"],
        createable=raw["createable"],
        updateable=raw["updateable"],
        nillable=raw["nillable"],
        defaulted=raw["defaultedOnCreate"],
        external_id=raw["externalId"],
        unique=raw["unique"],
        restricted_values=values,
        reference_to=tuple(raw["referenceTo"]),
        relationship=raw["relationshipName"],
        calculated=raw["calculated"],
    )
