"""Keeps personal data out: what a vendor's record may hold, and what is taken out of it before anything else sees it.

PeerSpot says that it sends no personal data. This is what makes sure that none is kept if it does.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote

# Keys that name a person, in any spelling: compared without case, `_`, `-` and blanks.
PERSONAL_KEYS = frozenset({
    "email", "emailaddress", "mail", "firstname", "givenname", "lastname", "surname", "familyname", "fullname", "username", "user", "userid",
    "person", "visitor", "visitorname", "contact", "contactname", "phone", "phonenumber", "mobile", "mobilephone", "telephone", "linkedin",
    "linkedinurl", "ip", "ipaddress", "fullip", "clientip", "remoteip", "useragent", "cookie", "deviceid", "birthdate", "dateofbirth", "gender",
})  # fmt: skip
_EMAIL = re.compile(r"[\w.+'-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+")
# Candidates, taken widely: ipaddress decides. A name made of an address (c-73-158-12-34.isp.net) is as good as the address.
_IPV4 = re.compile(r"(?<!\d)(\d{1,3})([.-])(\d{1,3})\2(\d{1,3})\2(\d{1,3})(?!\d)")
_IPV6 = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{0,4}:){2,8}[0-9A-Fa-f]{0,4}(?![0-9A-Fa-f])")
_PHONE = re.compile(
    r"(?<![\w.])(?:\+|00)\d[\d ()/.-]{6,18}\d(?!\w)"  # with the country's code
    r"|(?<![\w.-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])"  # as in North America
    r"|(?<![\w.-])\(?0\d{1,3}\)?[ -]?\d{3,4}[ -]?\d{3,4}(?![\w-])"  # with a nought before the area, as in most of Europe
)
_SUSPECT = re.compile(
    r"@|%40|\d[.-]\d|:[0-9A-Fa-f:]|\+\d|(?<!\d)0\d|\d\)? \d"
)  # nothing below can match a text without one of these
LARGEST_OCTET = 255
SHORTEST_HIDDEN = 6  # fewer signs would be found everywhere
REMOVED_EMAIL, REMOVED_PHONE = "[e-mail removed]", "[phone removed]"


@dataclass
class Scrubber:
    """Takes personal data out of records and counts, by key, what it took: the counts may be logged, the data may not."""

    removed: Counter[str] = field(default_factory=Counter)

    def scrub(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record without personal keys, with e-mail addresses, phone numbers and full IP addresses masked in every text."""
        result = {}
        for key, value in record.items():
            if _is_personal(str(key)):
                self.removed[str(key)] += 1
            else:
                result[str(key)] = self._value(str(key), value)
        return result

    def _value(self, key: str, value: Any) -> Any:
        if isinstance(value, str):
            masked = mask_text(value)
            if masked != value:
                self.removed[f"{key} (masked)"] += 1
            return masked
        if isinstance(value, Mapping):
            return self.scrub(value)
        if isinstance(value, list):
            return [self._value(key, item) for item in value]
        return value


# Parts of field names that hold a person's data: what a plan shows of them is masked.
_PERSONAL_PARTS = (
    "firstname", "lastname", "middlename", "fullname", "surname", "familyname", "givenname", "nickname", "username", "salutation", "mail",
    "phone", "mobile", "fax", "street", "address", "zip", "postal", "housenumber", "birth", "gender", "iban", "linkedin", "prefix", "description",
)  # fmt: skip
_PEOPLE = frozenset({"Lead", "Contact", "User", "Task"})


def shown_value(field_name: str, value: Any, object_name: str = "") -> Any:
    """The value as a plan may show it: how long it is, where the field holds a person's data; texts without
    addresses."""
    if value is None or value == "":
        return None
    plain = re.sub(r"[_\-\s.]", "", field_name).lower()
    is_name = plain == "name" and object_name in _PEOPLE
    if is_name or any(part in plain for part in _PERSONAL_PARTS):
        return f"[personal, {len(str(value))} characters]"
    return mask_text(value) if isinstance(value, str) else value


@lru_cache(maxsize=10_000)
def _is_personal(key: str) -> bool:
    return re.sub(r"[_\-\s]", "", key).lower() in PERSONAL_KEYS


def mask_text(text: str) -> str:
    """The text with every e-mail address and international phone number removed and every full IP address made partial."""
    if not _SUSPECT.search(text):
        return text
    text = _EMAIL.sub(REMOVED_EMAIL, text)
    text = _IPV4.sub(_mask_ipv4, text)
    text = _IPV6.sub(_mask_ipv6, text)
    return _PHONE.sub(REMOVED_PHONE, text)


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets, should a server have echoed them: as they are, for URLs, and in Base64."""
    for secret in secrets:
        if len(secret) >= SHORTEST_HIDDEN:
            for form in (secret, quote(secret, safe=""), quote(secret), *_in_base64(secret)):
                text = text.replace(form, "***")
    return text


def _in_base64(secret: str) -> Iterator[str]:
    """What of the secret stands in Base64 whatever is around it: its three possible places, without what the neighbours share."""
    content = secret.encode()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + content).decode().rstrip("=")
        inner = encoded[(before * 8 + 5) // 6 : (before + len(content)) * 8 // 6]
        if len(inner) >= SHORTEST_HIDDEN:
            yield inner


def mask_emails(text: str) -> str:
    """The text with every e-mail address removed, and whatever looks like a number of something left as it is."""
    return _EMAIL.sub(REMOVED_EMAIL, text)


def _mask_ipv4(match: re.Match[str]) -> str:
    octets = (match[1], match[3], match[4], match[5])
    if any(int(octet) > LARGEST_OCTET for octet in octets):
        return match[0]
    return match[2].join((*octets[:3], "x"))


def _mask_ipv6(match: re.Match[str]) -> str:
    text = match[0]
    label = ":" if text.startswith(":") and not text.startswith("::") else ""  # `from:2001:db8::1`
    try:
        address = ipaddress.IPv6Address(text.removeprefix(label))
    except ValueError:
        return text  # a time of day, say
    return label + ":".join(address.exploded.split(":")[:3]) + ":x"


def spreadsheet_text(text: str) -> str:
    """Text that a spreadsheet does not take for a formula, also after blanks and line breaks."""
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@", "|") or text[:1].isspace() else text


def plain_text(text: str) -> str:
    """What `spreadsheet_text` made of a text, as it was."""
    return text[1:] if text[:1] == "'" and spreadsheet_text(text[1:]) == text else text
