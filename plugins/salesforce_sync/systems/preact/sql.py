"""Metrics out of a database: a query for accounts, and one for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from salesforce_sync.errors import InvalidCredentials, InvalidSetting, ServiceUnavailable
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.privacy import hide, mask_text
from salesforce_sync.staging import BATCH_ROWS
from salesforce_sync.systems.preact.columns import require_columns

SHOWN_CHARACTERS = 200


class SqlSource:
    """`queries` are by stream; `variables` name the Variable that each stands in."""

    def __init__(self, url: str, queries: Mapping[str, str], variables: Mapping[str, str]) -> None:
        self._url, self._queries, self._variables = url, queries, variables

    def test(self) -> str:
        """A sentence that says that the database answers; raises when it does not."""
        with self._connection("preact_sql_credentials") as connection:
            connection.execute(text("SELECT 1")).fetchall()
        return "You are successfully connected to the database of the metrics"

    def whole(self, stream: str, paths: Sequence[str]) -> Iterator[Columns]:
        """All rows of the stream's query, BATCH_ROWS at a time: see WholeSource. The transaction is rolled back."""
        variable = self._variables[stream]
        if not self._queries[stream]:
            raise InvalidSetting(
                f"The Variable {variable} is empty.", fix="Write the query into it that gives the records."
            )
        with self._connection(f"the query in {variable}") as connection:
            streamed = connection.execution_options(stream_results=True, max_row_buffer=BATCH_ROWS)
            found = streamed.execute(text(self._queries[stream]))
            require_columns(list(found.keys()), paths, where=f"The query in {variable}")
            for rows in found.mappings().partitions(BATCH_ROWS):
                yield Columns.of([{name: _plain(row.get(name)) for name in paths} for row in rows], paths)

    @contextmanager
    def _connection(self, what: str) -> Iterator[Connection]:
        try:
            engine = create_engine(self._url, hide_parameters=True, pool_pre_ping=True)
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
        except ProgrammingError as error:
            raise InvalidSetting(
                f"The database refuses {what}: {self._told(error)}.", fix="Try the query in the database's own tool."
            ) from None
        except SQLAlchemyError as error:
            raise ServiceUnavailable(f"The database failed ({what}): {self._told(error)}.") from None
        finally:
            engine.dispose()

    def _told(self, error: SQLAlchemyError) -> str:
        """What the database said, without our secrets and people's data."""
        said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        return mask_text(hide(" ".join(said.split()), [self._url]))[:SHOWN_CHARACTERS]


def _plain(value: Any) -> Any:
    """What databases give and mappings do not know, as text; a decimal keeps its digits."""
    return str(value) if isinstance(value, (Decimal, UUID)) else value
