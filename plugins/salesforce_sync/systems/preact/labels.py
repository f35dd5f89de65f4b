"""Labels of scores, for records that come without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from salesforce_sync.engine.read_whole import WholeSource
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.paths import as_text
from salesforce_sync.systems.preact.settings import Bands

SCORES = {
    "activity_score_label": "activity_score",
    "health_score_label": "health_score",
}  # path of the label -> of its score


@dataclass(frozen=True)
class Labelled:
    """A source whose records all have their labels, as far as they have scores. `bands`: path of the label -> its bands."""

    source: WholeSource
    bands: Mapping[str, Bands]

    def whole(self, stream: str, paths: Sequence[str], *, also: Sequence[str] = ()) -> Iterator[Columns]:
        """See WholeSource. A label may be missing in the source, and so may a score that the mapping does not send."""
        wanted = [label for label in SCORES if label in paths]
        needed = [path for path in paths if path not in SCORES]
        more = [*wanted, *(SCORES[label] for label in wanted), *also]
        for columns in self.source.whole(
            stream, needed, also=[path for path in dict.fromkeys(more) if path not in needed]
        ):
            yield self._labelled(columns, wanted)

    def _labelled(self, columns: Columns, wanted: Sequence[str]) -> Columns:
        table = columns.table
        for label in wanted:
            given = columns.distinct(label)
            texts = [as_text(value) for value in given.values]
            if any(text is None and value is not None for text, value in zip(texts, given.values, strict=True)):
                continue  # a list, say: the mapping says what it thinks of it
            own = np.array([*texts, None], dtype=object)[np.where(given.places < 0, len(texts), given.places)]
            derived = labels(columns, SCORES[label], self.bands[label])
            missing = np.array([text is None for text in own], dtype=bool)
            table = _with_column(table, label, pa.array(np.where(missing, derived, own), pa.string()))
        return Columns(table)


def labels(columns: Columns, score: str, bands: Bands) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """The label of each record's score, None for a score that is none, or is below all bands."""
    distinct = columns.distinct(score)
    numbers = pd.to_numeric(pd.Series(distinct.values, dtype=object), errors="coerce")
    found = [next((label for label, start in bands if number >= start), None) for number in numbers]
    return np.array([*found, None], dtype=object)[np.where(distinct.places < 0, len(found), distinct.places)]


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, values)
    return table.append_column(name, values)
