"""Extract: a vendor's records of some days, staged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import BatchRef, RunIdentity
from salesforce_sync.staging import Staging
from salesforce_sync.steps.context import at_work
from salesforce_sync.windows import DateWindow


class WindowedSource(Protocol):
    """A vendor's hook, as far as extract needs it. `removed` counts, by key, the personal data that it took out."""

    @property
    def removed(self) -> Counter[str]: ...

    def read(self, stream: str, *, window: DateWindow) -> Iterator[Sequence[Mapping[str, Any]]]: ...


def extract(
    source: WindowedSource, mapping: MappingFile, window: DateWindow, staging: Staging, run: RunIdentity
) -> list[BatchRef]:
    """Reads the window page by page and stages what the mapping needs of each record. A second call replaces what the first one staged."""
    records = (record for page in source.read(mapping.vendor.stream, window=window) for record in page)
    with at_work():
        return staging.write_records(
            run, records, id_path=mapping.vendor.id, paths=mapping.vendor_paths, high_cursor=window.last.isoformat()
        )
