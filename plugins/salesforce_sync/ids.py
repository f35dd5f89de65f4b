"""Salesforce record ids: 15 characters and 18 are one id.

The last three characters spell which of the others are upper case, so that ids stay apart where case is lost, as in a spreadsheet.
"""

from __future__ import annotations

import re

_CHECKSUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SHAPE = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-5]{3})?")


def whole_id(text: str | None) -> str | None:
    """The 18-character form; an id whose case is lost gets its own back. None for what is no id."""
    if text is None or not _SHAPE.fullmatch(text):
        return None
    if len(text) == 15:
        return text + _checksum(text)
    own = _in_own_case(text) if text in (text.upper(), text.lower()) else text[:15]
    return own + text[15:].upper() if _checksum(own) == text[15:].upper() else None


def _checksum(own: str) -> str:
    groups = (own[start : start + 5] for start in (0, 5, 10))
    return "".join(
        _CHECKSUM[sum(1 << place for place, char in enumerate(group) if "A" <= char <= "Z")] for group in groups
    )


def _in_own_case(text: str) -> str:
    """The first 15 of 18 characters, as the last three spell them."""
    bits = [_CHECKSUM.index(char) >> place & 1 for char in text[15:].upper() for place in range(5)]
    return "".join(char.upper() if upper else char.lower() for char, upper in zip(text, bits, strict=False))
