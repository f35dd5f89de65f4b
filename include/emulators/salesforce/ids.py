"""Record ids: a three-character prefix, a base-62 counter, and the checksum that makes 18 characters of 15."""

from __future__ import annotations

import re

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECKSUM_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
INSTANCE = "5g00"  # characters 4 to 7 of every id: the instance that an id was made on
_SHAPE = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")


def checksum(id15: str) -> str:
    """The three characters that spell which of the 15 are upper case, five to a character."""
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(1 << offset for offset, char in enumerate(id15[start : start + 5]) if "A" <= char <= "Z")
        suffix += CHECKSUM_ALPHABET[bits]
    return suffix


def make_id(prefix: str, number: int) -> str:
    """The 18-character id of the `number`th record with this key prefix."""
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    id15 = prefix + INSTANCE + digits.rjust(8, "0")
    return id15 + checksum(id15)


def looks_like_id(value: str) -> bool:
    return _SHAPE.fullmatch(value) is not None


def to_18(value: str) -> str:
    """The 18-character form; a wrong checksum is corrected from the first 15 characters, as an org does."""
    return value[:15] + checksum(value[:15])
