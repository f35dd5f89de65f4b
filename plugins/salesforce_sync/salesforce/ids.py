"""Salesforce record ids."""

from __future__ import annotations

_CHECKSUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def to_18(value: str) -> str:
    """The 18-character form of an id of 15 or 18 characters; anything else comes back as it is.

    Each of the last three characters spells which of five characters are upper case, so that ids stay apart where case is lost.
    """
    if len(value) != 15:
        return value
    groups = (value[start : start + 5] for start in (0, 5, 10))
    return value + "".join(
        _CHECKSUM[sum(1 << place for place, char in enumerate(group) if "A" <= char <= "Z")] for group in groups
    )
