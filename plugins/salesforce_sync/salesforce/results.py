"""Files of results of Bulk jobs, as CSV: whole or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.csv
import urllib3

from salesforce_sync.errors import ServiceUnavailable
from salesforce_sync.salesforce.session import Session

TRIES = 3


def read_whole(
    session: Session,
    url: str,
    *,
    what: str,
    options: pa.csv.ConvertOptions,
    names: list[str] | None = None,
    rows: Callable[[urllib3.BaseHTTPResponse], int],
    reply: urllib3.BaseHTTPResponse | None = None,
) -> pa.Table:
    """The file's table; one that breaks off, or has not as many rows as it should, is read again, TRIES times in all.

    `rows` says how many it should have; `names` replaces the names in its first line; `reply` is an answer that has begun already.
    """
    problem = ""
    for _ in range(TRIES):
        reply = reply or session.stream(url, what=what)
        try:
            expected = rows(reply)
            table = _read(reply, options, names)
            if table.num_rows == expected:
                return table
            problem = f"{expected} rows were announced, {table.num_rows} came"
        except (urllib3.exceptions.HTTPError, pa.ArrowInvalid, OSError) as error:
            problem = f"it broke off ({type(error).__name__})"
        finally:
            reply.close()
        reply = None
    raise ServiceUnavailable(f"{what}: a file of results could not be read in {TRIES} tries: {problem}.")


def _read(reply: urllib3.BaseHTTPResponse, options: pa.csv.ConvertOptions, names: list[str] | None) -> pa.Table:
    read = pa.csv.ReadOptions() if names is None else pa.csv.ReadOptions(column_names=names, skip_rows=1)
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    try:
        return pa.csv.read_csv(
            pa.PythonFile(reply, mode="r"), read_options=read, parse_options=parse, convert_options=options
        )
    except pa.ArrowInvalid as error:
        if names is not None and "Empty CSV" in str(error):  # nothing below the first line
            return pa.table({name: pa.array([], options.column_types[name]) for name in names})
        raise
