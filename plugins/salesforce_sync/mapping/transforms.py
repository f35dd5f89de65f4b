"""Named transforms: a column of vendor values in, a column out, and a mask of the values that could not be transformed.

To add one: a function and a line in TRANSFORMS, and a test. Nulls never reach a transform's function.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd

from salesforce_sync.mapping.paths import as_text
from salesforce_sync.matching.domains import registrable_domain

Values = pd.Series
BAD = object()  # what a function gives for a value that it cannot transform


@dataclass(frozen=True)
class Transform:
    """`problem` completes "<value> ..." in the message of a refused record."""

    function: Callable[[Any, Any], Any]
    problem: str = "cannot be transformed"
    argument: type | None = None


@dataclass(frozen=True)
class TransformCall:
    """A transform as used in a mapping file, with its argument."""

    name: str
    argument: Any = None


def _truncate(value: Any, length: int) -> Any:
    text = _text(value)
    return text[:length] if isinstance(text, str) else text


def _phone(value: Any, length: int) -> Any:
    """A telephone number of at most so many characters: as it is written, or else its first number without blanks and signs, or none.

    A number that is cut, or that has letters in it, would be another one, so none is given.
    """
    text = _text(value)
    if not isinstance(text, str) or len(text) <= length:
        return text
    found = _NUMBER.search(text)
    if found is None:
        return None
    first = _EXTENSION.split(text[found.start() :], maxsplit=1)[0]
    if first.startswith(("+", "00")):
        first = first.replace("(0)", "")
    digits = re.sub(r"[^\d+]", "", first)
    return digits if len(digits) <= length and not re.search(r"[^\W\d_]", first) else None


_NUMBER = re.compile(r"\+?\(?\d")
_EXTENSION = re.compile(r"\s*(?:[xX#;,/]|ext|toestel|tst)")


def _domain(value: Any, _: None) -> Any:
    text = _text(value)
    return registrable_domain(text) if isinstance(text, str) else text


def _text(value: Any) -> Any:
    """The value as a text field would hold it; BAD for what is no text, None for nothing."""
    text = as_text(value)
    is_nothing = isinstance(value, str) or value != value  # blank text, or NaN
    return BAD if text is None and not is_nothing else text


def _product_lines(value: Any, _: None) -> Any:
    """A list of products {id, name} as lines `id | name`, sorted, so that the same products are always the same text."""
    if not isinstance(value, list):
        return BAD
    lines = []
    for item in value:
        if not isinstance(item, dict) or not str(item.get("name") or "").strip():
            return BAD
        name = _one_line(item["name"])
        identity = _one_line(item["id"]) if item.get("id") not in (None, "") else f"name:{name.lower()}"
        if PRODUCT_SEPARATOR in identity:
            return BAD
        lines.append(f"{identity}{PRODUCT_SEPARATOR}{name}")
    return "\n".join(sorted(set(lines))) or None


def _opt_in(value: Any, _: None) -> str:
    """Consent is exactly Y or true; whatever else is there takes it back."""
    return "Y" if str(value).strip().lower() in ("y", "true") else "N"


def _opt_in_only(value: Any, _: None) -> str | None:
    """Consent as in `opt_in`; what takes it back is not passed on."""
    return "Y" if _opt_in(value, None) == "Y" else None


def _plus_days(value: Any, days: int) -> Any:
    """The day that is so many days after that of an ISO date or date-time; BAD for what is none."""
    try:
        return (date.fromisoformat(str(value)[:10]) + timedelta(days=days)).isoformat()
    except (ValueError, OverflowError):
        return BAD


PRODUCT_SEPARATOR = " | "


def _one_line(value: Any) -> str:
    return re.sub(r"\s+", " ", str(value)).strip()


def products_of(lines: str | None) -> list[tuple[str, str]]:
    """(product id, name) of every line that `product_lines` wrote."""
    pairs = (line.split(PRODUCT_SEPARATOR, 1) for line in (lines or "").split("\n") if PRODUCT_SEPARATOR in line)
    return [(identity.strip(), name.strip()) for identity, name in pairs]


TRANSFORMS: dict[str, Transform] = {
    "trim": Transform(lambda value, _: value.strip() if isinstance(value, str) else value),
    "lower": Transform(lambda value, _: value.lower() if isinstance(value, str) else value),
    "upper": Transform(lambda value, _: value.upper() if isinstance(value, str) else value),
    "truncate": Transform(_truncate, argument=int),
    "phone": Transform(_phone, argument=int),
    "registrable_domain": Transform(_domain),
    "plus_days": Transform(_plus_days, "is no date", argument=int),
    "opt_in": Transform(_opt_in),
    "opt_in_only": Transform(_opt_in_only),
    "product_lines": Transform(_product_lines, "is not a list of products with a name each"),
}
CUTTING = frozenset({"truncate", "phone"})  # these leave every text alone that is not longer than their argument


def parse_call(raw: Any) -> TransformCall:
    """`trim`, or a one-key mapping `{truncate: 80}`; ValueError names what is wrong."""
    if isinstance(raw, TransformCall):
        return raw
    name, argument = (
        (raw, None)
        if isinstance(raw, str)
        else next(iter(raw.items()))
        if isinstance(raw, dict) and len(raw) == 1
        else ("", None)
    )
    if name not in TRANSFORMS:
        raise ValueError(f"unknown transform {raw!r}: there are {', '.join(sorted(TRANSFORMS))}")
    wanted = TRANSFORMS[name].argument
    if wanted is None and argument is not None:
        raise ValueError(f"transform {name} takes no argument")
    if wanted is not None and (not isinstance(argument, wanted) or isinstance(argument, bool)):
        raise ValueError(f"transform {name} needs an argument of type {wanted.__name__}: {{{name}: ...}}")
    if isinstance(argument, int) and argument < 1:
        raise ValueError(f"transform {name} needs a number above 0, not {argument}")
    return TransformCall(name, argument)


def run_call(call: TransformCall, values: Values) -> tuple[Values, pd.Series]:
    """The transformed column, and a mask of its bad values (which are null in it). Each distinct text is transformed once."""
    function = TRANSFORMS[call.name].function
    known: dict[Any, Any] = {}

    def one(value: Any) -> Any:
        if isinstance(value, str):
            if value not in known:
                known[value] = function(value, call.argument)
            return known[value]
        return function(value, call.argument)

    result = pd.Series([None if value is None else one(value) for value in values], index=values.index, dtype=object)
    bad = pd.Series([value is BAD for value in result], index=values.index, dtype=bool)
    return result.mask(bad, None) if bad.any() else result, bad
