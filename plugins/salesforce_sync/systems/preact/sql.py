"""Metrics out of a database: a query for accounts, and one for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    ResourceClosedError,
    SQLAlchemyError,
)

from salesforce_sync.errors import InvalidCredentials, InvalidSetting, ServiceUnavailable
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.privacy import hide, mask_text
from salesforce_sync.staging import BATCH_ROWS
from salesforce_sync.systems.preact.columns import of_stream, require_columns

SHOWN_CHARACTERS = 200
# What keeps a transaction from writing, by database.
_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "SET TRANSACTION READ ONLY",
}


class SqlSource:
    """`queries` are by stream; `variables` name the Variable that each stands in."""

    def __init__(self, url: str, queries: Mapping[str, str], variables: Mapping[str, str]) -> None:
        self._url, self._queries, self._variables = url, queries, variables

    def test(self) -> str:
        """A sentence that says that the database answers; raises when it does not."""
        with self._connection("preact_sql_credentials") as connection:
            connection.exec_driver_sql("SELECT 1").fetchall()
        return "You are successfully connected to the database of the metrics"

    def whole(self, stream: str, paths: Sequence[str], *, also: Sequence[str] = ()) -> Iterator[Columns]:
        """All rows of the stream's query, BATCH_ROWS at a time: see WholeSource. The query is given to the database as it
        is; it can only read, and its transaction is rolled back."""
        variable = of_stream(self._variables, stream)
        if not self._queries[stream]:
            raise InvalidSetting(
                f"The Variable {variable} is empty.", fix="Write the query into it that gives the records."
            )
        with self._connection(f"the query in {variable}") as connection:
            if (only := _READ_ONLY.get(connection.dialect.name)) is not None:
                connection.exec_driver_sql(only)
            reading = connection.execution_options(
                stream_results=True, max_row_buffer=BATCH_ROWS, no_parameters=True
            )  # fmt: skip
            found = reading.exec_driver_sql(self._queries[stream])
            names = list(found.keys())
            require_columns(names, paths, where=f"The query in {variable}")
            wanted = [(path, names.index(path)) for path in dict.fromkeys([*paths, *also]) if path in names]
            for rows in found.partitions(BATCH_ROWS):
                yield Columns.of(
                    [{path: _plain(row[place]) for path, place in wanted} for row in rows], [*paths, *also]
                )

    @contextmanager
    def _connection(self, what: str) -> Iterator[Connection]:
        try:
            engine = create_engine(self._url, hide_parameters=True, pool_pre_ping=True)
        except ValueError:
            raise InvalidCredentials(
                "The address in preact_sql_credentials is no database URL.",
                fix="Write signs such as @, : and / in user and password as %40, %3A and %2F.",
            ) from None
        except (NoSuchModuleError, ImportError) as error:
            raise InvalidCredentials(
                f"This installation has no driver for the database in preact_sql_credentials: {error}.",
                fix="Install the driver's package on every worker, or name another driver in the URL.",
            ) from None
        try:
            with engine.connect() as connection:
                yield connection
        except (OperationalError, InterfaceError) as error:
            raise ServiceUnavailable(
                f"The database failed ({what}): {self._told(error)}.",
                fix="Nothing was registered. If it stays so, check preact_sql_credentials, and the query in the database's own tool.",
            ) from None
        except ResourceClosedError:
            raise InvalidSetting(f"There are no rows in {what}.", fix="It has to be one SELECT.") from None
        except ProgrammingError as error:
            raise InvalidSetting(
                f"The database refuses {what}: {self._told(error)}.", fix="Try the query in the database's own tool."
            ) from None
        except SQLAlchemyError as error:
            raise ServiceUnavailable(f"The database failed ({what}): {self._told(error)}.") from None
        finally:
            engine.dispose()

    def _told(self, error: SQLAlchemyError) -> str:
        """What the database said, without our secrets and people's data: no part of the address is shown."""
        said = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
        parts = [part for part in re.split(r"[:/@?&=]+", self._url.partition("://")[2]) if len(part) > 3]
        return mask_text(hide(" ".join(said.split()), [self._url, *parts]))[:SHOWN_CHARACTERS]


def _plain(value: Any) -> Any:
    """What databases give and mappings do not know, as text; a decimal keeps its digits."""
    return str(value) if isinstance(value, (Decimal, UUID)) else value
