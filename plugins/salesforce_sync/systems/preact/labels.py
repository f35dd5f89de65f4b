"""Labels of scores, for records that come without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from salesforce_sync.engine.read_whole import WholeSource
from salesforce_sync.mapping.columns import Columns
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

    def whole(self, stream: str, paths: Sequence[str]) -> Iterator[Columns]:
        """See WholeSource. The scores are read whether or not the mapping sends them."""
        wanted = [label for label in SCORES if label in paths]
        also = [SCORES[label] for label in wanted]
        for columns in self.source.whole(stream, list(dict.fromkeys([*paths, *also]))):
            yield self._labelled(columns, wanted)

    def _labelled(self, columns: Columns, wanted: Sequence[str]) -> Columns:
        table = columns.table
        for label in wanted:
            derived = labels(columns, SCORES[label], self.bands[label])
            given = columns.texts(label)
            given = columns.table.column(label) if given is None else given
            if not pa.types.is_string(given.type):
                continue  # something else than texts: the mapping says what it thinks of it
            filled = pa.chunked_array([given.combine_chunks().fill_null("")])
            known = filled.to_numpy() != ""
            values = pa.array(np.where(known, filled.to_numpy(), derived), pa.string())
            table = _with_column(table, label, values)
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
