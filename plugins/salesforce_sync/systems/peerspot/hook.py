"""PeerSpot's intent API, read only.

PeerSpot publishes no reference of it. Known from its Salesforce guide: https, an e-mail address with a token, activities by day. Proposed
by us, and all of it to be changed in the credentials Variable: path, header names, paging and field names (see PeerSpotCredentials).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from salesforce_sync.errors import RequestRejected
from salesforce_sync.hooks.credentials import read_credentials
from salesforce_sync.mapping.paths import value_at
from salesforce_sync.privacy import Scrubber, mask_emails, mask_text
from salesforce_sync.systems.peerspot.credentials import PeerSpotCredentials
from salesforce_sync.systems.vendor import VendorHook
from salesforce_sync.windows import DateWindow

CONNECTED = "You are successfully connected to PeerSpot"
FIELDS = (
    "id",
    "date_visited",
    "company_name",
    "domain",
    "country",
    "state",
    "city",
    "partial_ip",
    "activity",
    "pages_visited",
    "products",
    "category",
)
IDENTIFYING = (
    "date_visited",
    "domain",
    "products",
    "activity",
    "partial_ip",
)  # what tells activities apart that come without an id


class PeerSpotHook(VendorHook):
    """Streams: `activities`, plain dicts with the keys of FIELDS and without personal data; `removed` counts what was taken out."""

    system = "peerspot"
    requests_per_second = 20.0  # a guess that a small service can bear; PeerSpot publishes no limit

    def __init__(self) -> None:
        super().__init__()
        self._scrubber = Scrubber()
        self._ordinals: Counter[str] = Counter()

    @cached_property
    def credentials(self) -> PeerSpotCredentials:
        return read_credentials("peerspot", PeerSpotCredentials)

    @property
    def root_url(self) -> str:
        return self.credentials.base_url

    @property
    def secrets(self) -> list[str]:
        return [*self.credentials.secrets(), self.credentials.email]

    @property
    def removed(self) -> Counter[str]:
        return self._scrubber.removed

    def test(self) -> str:
        """Asks for one record; gives PeerSpot's own sentence when that works, raises when it does not."""
        self._page(DateWindow.today(), page=1, per_page=1)
        return CONNECTED

    def read(self, stream: str, *, window: DateWindow) -> Iterator[list[dict[str, Any]]]:
        """Yields the window's activities a page at a time. An activity without an id gets one made of its content."""
        if stream != "activities":
            raise ValueError(f"PeerSpot has no stream {stream!r}: there is `activities`")
        self._ordinals.clear()
        page: int | None = 1
        seen: set[bytes] = set()  # a digest of each page
        while page is not None:
            items, following = self._page(window, page=page, per_page=self.credentials.per_page)
            digest = hashlib.blake2b(json.dumps(items, sort_keys=True).encode(), digest_size=8).digest()
            if items and digest in seen:
                raise RequestRejected(
                    f"peerspot: page {page} is the same as a page before it.",
                    fix="The service does not turn pages by `page`: ask the vendor, and see docs/runbooks/peerspot.md.",
                )
            seen.add(digest)
            yield [self._record(item) for item in items]
            if following is not None and following <= page:
                raise RequestRejected(
                    f"peerspot: page {page} names {following} as the next page.",
                    fix="Check next_page_path in peerspot_credentials.",
                )
            page = following

    def _page(self, window: DateWindow, *, page: int, per_page: int) -> tuple[list[Any], int | None]:
        known = self.credentials
        params = {
            "start_date": window.first.isoformat(),
            "end_date": window.last.isoformat(),
            "page": page,
            "per_page": per_page,
        }
        headers, more = self._auth()
        answer = self.get_json(known.path, params=params | more, headers=headers)
        if answer is None:  # 204: nothing on these days
            return [], None
        if isinstance(answer, list):
            return answer, page + 1 if answer else None  # a bare list tells no end: an empty page is the end
        items = _at(answer, known.items_path)
        if not isinstance(items, list):
            raise RequestRejected(
                f"peerspot: the answer has no list at {known.items_path!r}: {self._shown(json.dumps(answer))}",
                fix="If the answer says why, do as it says; else set items_path in peerspot_credentials to where the list is.",
            )
        return items, self._following(answer)

    def _following(self, answer: dict[str, Any]) -> int | None:
        """The number of the next page; only a null that is there means that there is none."""
        path = self.credentials.next_page_path
        *parents, name = path.split(".")
        node = _at(answer, ".".join(parents)) if parents else answer
        if not isinstance(node, dict) or name not in node:
            raise RequestRejected(
                f"peerspot: the answer has no {path!r}.", fix="Set next_page_path in peerspot_credentials."
            )
        following = node[name]
        if following is None or following is False:
            return None
        if not str(following).isdigit():
            raise RequestRejected(
                f"peerspot: {path!r} is not the number of a page.", fix="Check next_page_path in peerspot_credentials."
            )
        return int(following)

    def _auth(self) -> tuple[dict[str, str], dict[str, str]]:
        """(headers, query parameters) that carry e-mail and token."""
        known = self.credentials
        if known.auth == "header_pair":
            return {"X-User-Email": known.email, "X-User-Token": known.token}, {}
        if known.auth == "bearer":
            return {"Authorization": f"Bearer {known.token}"}, {}
        if known.auth == "basic":
            pair = base64.b64encode(f"{known.email}:{known.token}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}, {}
        return {}, {"email": known.email, "token": known.token}

    def _record(self, item: Any) -> dict[str, Any]:
        """The record under our names and without personal data. An item that is no object becomes a record that no mapping accepts."""
        raw = item if isinstance(item, Mapping) else {"activity": f"an item of type {type(item).__name__}"}
        names = self.credentials.fields
        renamed = {name: raw.get(names.get(name, name)) for name in FIELDS}
        rest = {key: value for key, value in raw.items() if key not in names.values() and key not in renamed}
        scrubbed = self._scrubber.scrub(renamed | rest)
        scrubbed["products"] = _products(renamed["products"])
        identity = raw.get(names.get("id", "id"))
        if identity in (None, "") and isinstance(item, Mapping):
            scrubbed["id"] = self._made_id(scrubbed)
        elif identity not in (None, "") and mask_text(str(identity)) != str(identity):
            scrubbed["id"] = _digest(
                str(identity)
            )  # an id with personal data in it stays an id, and stops being personal data
        return scrubbed

    def _made_id(self, record: Mapping[str, Any]) -> str:
        """The same id every time that the same day is read: a hash of the content, and which of the equal ones of that day it is."""
        digest = _digest(json.dumps([record.get(name) for name in IDENTIFYING], sort_keys=True, default=str))
        self._ordinals[digest] += 1
        return f"{digest}-{self._ordinals[digest]}"


def _products(value: Any) -> Any:
    """Id and name of each product, and nothing else that may be there."""
    if not isinstance(value, list):
        return value if value is None else "not a list"
    return [
        {"id": _without_email(item.get("id")), "name": _without_email(item.get("name"))}
        if isinstance(item, Mapping)
        else "not an object"
        for item in value
    ]


def _without_email(value: Any) -> Any:
    """A product's id or name. Its digits are no telephone number and its version is no address, whatever they look like."""
    return mask_emails(value) if isinstance(value, str) else value


def _digest(text: str) -> str:
    return "sha-" + hashlib.sha256(text.encode()).hexdigest()[:40]


def _at(answer: Any, path: str) -> Any:
    return value_at(answer, path) if isinstance(answer, Mapping) else None
