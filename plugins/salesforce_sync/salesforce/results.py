"""Files of results of Bulk jobs, as CSV: whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pyarrow as pa
import pyarrow.csv
import urllib3

from salesforce_sync.errors import ServiceUnavailable
from salesforce_sync.salesforce.session import Session

TRIES = 3
FIRST_BYTES = 4_096  # read at a time until the first line is there


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

    `rows` says how many it should have; `names` are those that its columns are given, in whatever case and order it has them; `reply` is
    an answer that has begun already.
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
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    if names is None:
        return pa.csv.read_csv(pa.PythonFile(reply, mode="r"), parse_options=parse, convert_options=options)
    content = _BehindFirstLine(reply)
    found = _columns(content.first_line.decode("utf-8-sig"), names)
    read = pa.csv.ReadOptions(column_names=found)
    try:
        table = pa.csv.read_csv(
            pa.PythonFile(content, mode="r"), read_options=read, parse_options=parse, convert_options=options
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            raise
        table = pa.table(
            {name: pa.array([], options.column_types[name]) for name in found}
        )  # nothing below the first line
    return table.select(names)


class _BehindFirstLine:
    """A body as a file, from its second line on."""

    closed = False

    def __init__(self, reply: urllib3.BaseHTTPResponse) -> None:
        self._reply, read = reply, b""
        while b"\n" not in read and (more := reply.read(FIRST_BYTES)):
            read += more
        self.first_line, _, self._left = read.partition(b"\n")

    def read(self, size: int = -1) -> bytes:
        left, self._left = self._left, b""
        return left or self._reply.read(size)


def _columns(line: str, names: list[str]) -> list[str]:
    """The file's columns by these names; ArrowInvalid when they are others."""
    in_any_case = {name.lower(): name for name in names}
    found = [in_any_case.get(name.lower(), "") for name in next(csv.reader([line]), [])]
    if sorted(found) != sorted(names):
        raise pa.ArrowInvalid(f"its columns are {line.strip()[:200]}")
    return found
