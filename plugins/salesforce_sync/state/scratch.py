"""A copy of the state database that is thrown away: what a dry run reads and writes instead of the real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Engine, insert, select, update

from salesforce_sync.state.engine import new_engine, reading
from salesforce_sync.state.schema import (
    api_calls_taken,
    bulk_jobs,
    described_objects,
    leases,
    metadata,
    salesforce_sessions,
    sync_log,
    sync_log_lists,
    sync_log_sets,
)

ROWS = 5_000  # copied at a time
# Nothing is planned by these; sessions, budget and descriptions are used in the real database.
_LEFT_OUT = (
    sync_log,
    sync_log_lists,
    sync_log_sets,
    salesforce_sessions,
    described_objects,
    bulk_jobs,
    api_calls_taken,
)


@contextmanager
def scratch(real: Engine) -> Iterator[Engine]:
    """A copy of the state as it is now, in a temporary SQLite file. Nobody holds a lease in it."""
    with TemporaryDirectory(prefix="salesforce-sync-dry-run-") as folder:
        engine = new_engine(f"sqlite:///{Path(folder) / 'state.db'}")
        try:
            metadata.create_all(engine)
            with reading(real) as source, engine.begin() as target:
                _copy(source, target)
            yield engine
        finally:
            engine.dispose()


def _copy(source: Connection, target: Connection) -> None:
    for table in metadata.sorted_tables:
        if table in _LEFT_OUT:
            continue
        found = source.execution_options(yield_per=ROWS).execute(select(table)).mappings()
        for rows in found.partitions(ROWS):
            target.execute(insert(table), [dict(row) for row in rows])
    target.execute(update(leases).values(holder=None))
