"""Which columns a table of metrics must have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from salesforce_sync.errors import InvalidMapping, InvalidSetting

_NAME = re.compile(r"[A-Za-z_][\w. -]{0,80}")
SHOWN = 30


def require_columns(there: Sequence[str], paths: Sequence[str], *, where: str) -> None:
    """InvalidSetting when a column that the mapping reads is missing, since its values would all be emptied in Salesforce, or is
    there twice."""
    missing = [path for path in paths if path not in there]
    if missing:
        raise InvalidSetting(
            f"{where} gives no column {', '.join(missing)}, which the mapping reads. {_told(there)}",
            fix="Name the column as the mapping does, or take it out of the mapping.",
        )
    doubled = sorted({name for name in there if list(there).count(name) > 1})
    if doubled:
        raise InvalidSetting(f"{where} gives two columns {', '.join(doubled)}.", fix="Name each column once.")


def of_stream(variables: Mapping[str, str], stream: str) -> str:
    """The Variable that says where the stream is; InvalidMapping for a stream that there is not."""
    if stream not in variables:
        raise InvalidMapping(
            f"A mapping reads the stream {stream!r}, and there is {' and '.join(variables) or 'none'}.",
            fix="Set its vendor.stream to accounts or people, as the setting is called that names the mapping.",
        )
    return variables[stream]


def _told(there: Sequence[str]) -> str:
    """The names of the columns; not those of a table without a head, whose first row would be taken for names."""
    if not all(_NAME.fullmatch(name) for name in there):
        return f"Its {len(there)} columns have other names, or it has no head."
    return f"It gives: {', '.join(there[:SHOWN])}."
