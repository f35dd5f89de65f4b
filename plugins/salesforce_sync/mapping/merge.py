"""Merging what two sides have in one field, each against what they last agreed on. No network, no clock.

A side's value is compared in the form in which it would be written to the other side, since that is what the other side
can have of it: the end of a name that the other side has no room for is no difference.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from salesforce_sync.mapping.paths import as_text

MARK_BYTES = 6  # of a value; two different ones share them once in 2^48 times
LENGTHS = frozenset({40, 50, 60, 64, 80, 100, 120, 128, 200, 250, 255, 256, 500, 512, 1000, 1024, 2000, 4000, 4096})
_FEWEST_DIGITS = 7  # of a text that is a telephone number
_PHONE = re.compile(r"[\d\s()+./x-]+")
_SIDES = ("", "s", "v")
_ENTRY = struct.Struct(f"4s{MARK_BYTES}s{MARK_BYTES}sB")


class Decision(StrEnum):
    """What is to be done in one field."""

    NOTHING = "nothing"
    AGREE = "agree"  # they are equal, or as equal as they can be: that is remembered
    TO_SALESFORCE = "to Salesforce"
    TO_VENDOR = "to the vendor"


class Agreed(NamedTuple):
    """What both sides agreed on in one field: a mark of each side's value. `sent` names the side, "s" or "v", that was
    written and not looked at since: it may keep the value in another form, so its mark is `mark_of_sent`."""

    salesforce: bytes
    vendor: bytes
    sent: str = ""


class Seen(NamedTuple):
    """What one side has in one field: `raw` as it is there, as text; `value` as the other side would be given it."""

    raw: str | None
    value: Any
    mark: bytes

    @classmethod
    def of(cls, raw: str | None, value: Any) -> Seen:
        return cls(raw, value, mark_of(value))

    @property
    def is_empty(self) -> bool:
        return self.value is None or self.value == ""


def mark_of(value: Any) -> bytes:
    """Equal for equal values; nothing and an empty text are equal."""
    text = as_text(value) if value is not None else None
    if text is None:
        text = "" if value is None or isinstance(value, str) else str(value)
    return hashlib.blake2b(text.encode(), digest_size=MARK_BYTES).digest()


def decide(
    ours: Seen,
    theirs: Seen,
    agreed: Agreed | None,
    *,
    direction: str,
    salesforce_wins: bool,
) -> tuple[Decision, bool]:
    """What to do in a field, and whether that passes over a change of the other side, a conflict. `ours` is
    Salesforce's."""
    changed_ours = direction != "to_salesforce" and not _is_as_agreed(ours, agreed, "s")
    changed_theirs = direction != "to_vendor" and not _is_as_agreed(theirs, agreed, "v")
    if agreed is not None and changed_ours != changed_theirs:  # shortened: told by what the other side still has
        side, raw, other = ("s", ours.raw, theirs) if changed_ours else ("v", theirs.raw, ours)
        if agreed.sent == side and is_shortened(raw, _text(other.value)):
            return Decision.AGREE, False
    if not changed_ours and not changed_theirs:
        return Decision.NOTHING, False
    if is_equal(ours, theirs, direction):
        return Decision.AGREE, False
    if agreed is None and direction == "both":
        return _at_first(ours, theirs, salesforce_wins=salesforce_wins)
    if changed_ours and changed_theirs:
        return (Decision.TO_VENDOR if salesforce_wins else Decision.TO_SALESFORCE), True
    return (Decision.TO_VENDOR if changed_ours else Decision.TO_SALESFORCE), False


def is_equal(ours: Seen, theirs: Seen, direction: str) -> bool:
    """Whether a write would change nothing: one side has what the other side's value becomes there."""
    if direction != "to_salesforce" and _text(ours.value) == (theirs.raw or ""):
        return True
    return direction != "to_vendor" and _text(theirs.value) == (ours.raw or "")


def _at_first(ours: Seen, theirs: Seen, *, salesforce_wins: bool) -> tuple[Decision, bool]:
    """Of two that never agreed: a value beats none, else the policy decides."""
    if ours.is_empty or theirs.is_empty:
        return (Decision.TO_SALESFORCE if ours.is_empty else Decision.TO_VENDOR), False
    if is_alike(ours.raw, _text(theirs.value)):
        return Decision.AGREE, False
    return (Decision.TO_VENDOR if salesforce_wins else Decision.TO_SALESFORCE), True


def _is_as_agreed(seen: Seen, agreed: Agreed | None, side: str) -> bool:
    """Whether the side has what it had when both agreed, or, if it was only sent that, keeps it in another form."""
    if agreed is None:
        return False
    mark = agreed.salesforce if side == "s" else agreed.vendor
    return (mark_of_sent(seen.raw) if agreed.sent == side else seen.mark) == mark


def mark_of_sent(value: Any) -> bytes:
    """Equal for values that are the same but for letter case, blanks and the format of numbers and times."""
    return mark_of(_normal(_text(value)))


def is_shortened(kept: str | None, sent: str) -> bool:
    """Whether it is the beginning of what was sent, as long as fields are."""
    return bool(kept) and len(kept) < len(sent) and len(kept) in LENGTHS and sent.startswith(kept)  # type: ignore[arg-type]


def is_alike(first: str | None, second: str | None) -> bool:
    """Whether two texts are the same but for letter case, blanks and the format of numbers, telephone numbers and
    times."""
    return _normal(first or "") == _normal(second or "")


def _normal(text: str) -> str:
    plain = " ".join(text.split()).casefold()
    try:
        return repr(float(plain))
    except ValueError:
        pass
    digits = re.sub(r"\D", "", plain)
    if len(digits) >= _FEWEST_DIGITS and _PHONE.fullmatch(plain) and not re.fullmatch(r"\d{4}-\d\d-\d\d", plain):
        return repr(float(digits))
    if ";" in plain:  # several choices, which a side may keep in its own order
        return ";".join(sorted(part.strip() for part in plain.split(";")))
    return re.sub(r"(\d)(?:\.0+)?(?:z|\+00:00)$", r"\1z", plain)


def _text(value: Any) -> str:
    return as_text(value) or ""


# -- what is remembered of a pair --------------------------------------------------------------------------------------


def pack(agreed: Mapping[str, Agreed], keys: Mapping[str, str]) -> bytes:
    """The agreed marks as bytes: 17 for each field. `keys` say what a field is, so that one that is mapped otherwise
    now has agreed on nothing."""
    return b"".join(
        _ENTRY.pack(_name(keys[field]), item.salesforce, item.vendor, _SIDES.index(item.sent))
        for field, item in sorted(agreed.items())
    )


def unpack(content: bytes | None, keys: Mapping[str, str]) -> dict[str, Agreed]:
    """What `pack` made bytes of; what is of no field with one of these keys is left out."""
    names = {_name(key): field for field, key in keys.items()}
    found = {}
    for name, ours, theirs, sent in _ENTRY.iter_unpack(content or b""):
        if name in names:
            found[names[name]] = Agreed(ours, theirs, _SIDES[sent])
    return found


def joined(before: bytes, after: bytes) -> bytes:
    """What was packed before, with what was packed after in place of the same fields."""
    parts = [
        content[start : start + _ENTRY.size]
        for content in (before, after)
        for start in range(0, len(content), _ENTRY.size)
    ]
    return b"".join({part[:4]: part for part in parts}.values())


def _name(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=4).digest()
