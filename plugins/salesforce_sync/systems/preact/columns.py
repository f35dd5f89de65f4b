"""Which columns a table of metrics must have."""

from __future__ import annotations

from collections.abc import Sequence

from salesforce_sync.errors import InvalidSetting
from salesforce_sync.systems.preact.labels import SCORES


def require_columns(there: Sequence[str], paths: Sequence[str], *, where: str) -> None:
    """InvalidSetting when a column that the mapping reads is missing: its values would all be emptied in Salesforce. A label may be
    missing, since scores tell it."""
    missing = [path for path in paths if path not in there and path not in SCORES]
    if missing:
        raise InvalidSetting(
            f"{where} gives no column {', '.join(missing)}, which the mapping reads. It gives: {', '.join(there)}.",
            fix="Name the column as the mapping does, or take it out of the mapping.",
        )
