"""Fingerprints: 16 hexadecimal digits for each row, equal when, and (but for one chance in 2^64) only when, all of its
values and their columns are equal.

Links remember which version of the function made theirs. Version 1 stays until no link has it: without it, an upgrade
would send every record once more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

NULL, SEPARATOR = "\0\1", "\0"  # no clean text holds NUL


def fingerprints(table: pa.Table, *, key: str = "") -> list[str]:
    """A fingerprint of each row, by version 2. With other columns, or another `key`, all are others."""
    if not table.num_rows:
        return []
    texts = [pc.fill_null(_text(table.column(name)), NULL) for name in table.column_names]
    joined = pc.binary_join_element_wise(*texts, SEPARATOR).cast(pa.binary()).to_pylist()
    seed = hashlib.blake2b(f"{','.join(table.column_names)}\n{key}".encode(), digest_size=16).digest()
    hashed = hashlib.blake2b
    return [hashed(text, digest_size=8, key=seed).hexdigest() for text in joined]


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def version_1(table: pa.Table) -> list[str]:
    """Fingerprints by the function that made those of links with version 1: a hash over the values' Python texts."""
    key = hashlib.blake2b(",".join(table.column_names).encode(), digest_size=8).hexdigest()
    texts = pd.DataFrame({name: _python_texts(table.column(name).to_pylist()) for name in table.column_names})
    hashed = pd.util.hash_pandas_object(texts, index=False, hash_key=key, categorize=False)
    return [f"{number:016x}" for number in hashed.tolist()]


def _python_texts(values: Sequence[object]) -> pd.Series:
    return pd.Series(["\0" if value is None or value != value else str(value) for value in values], dtype=object)
