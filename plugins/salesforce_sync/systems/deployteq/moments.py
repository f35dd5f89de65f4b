"""Contact moments: every e-mail to a Lead or Contact, staged for the mapping of the one or the other.

A mailing is read again only when its counters say that something happened to it. That it was delivered is remembered after both loads are
through, so that a run which dies between is made up for by the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import BatchRef, Collection, Counts, Outcome, RecordResult
from salesforce_sync.staging import Staging
from salesforce_sync.state import links, sync_log, versions
from salesforce_sync.state.engine import reading
from salesforce_sync.steps.context import VendorContext, sync_run
from salesforce_sync.windows import DateWindow

NOT_LINKED = "NOT_LINKED"
PREFIXES = {"Lead": "00Q", "Contact": "003"}  # the first three characters of an id say what it is the id of
ID_LENGTHS = (15, 18)


class CollectionSource(Protocol):
    """A vendor's hook, as far as this step needs it."""

    def collections(self, window: DateWindow) -> list[Collection]: ...

    def read_collection(self, collection: Collection) -> Iterator[list[dict[str, Any]]]: ...


@dataclass
class StagedMoments:
    """`batches` by mapping; `versions` of the mailings that are in them."""

    batches: dict[str, list[BatchRef]]
    versions: dict[str, str] = field(default_factory=dict)


def stage_moments(
    context: VendorContext,
    name: str,
    source: CollectionSource,
    mappings: Mapping[str, tuple[str, MappingFile]],
    links_of: Sequence[str],
    window: DateWindow,
    staging: Staging,
) -> StagedMoments:
    """Stages the moments of the mailings of these days that changed since they were delivered.

    `mappings`: Lead and Contact -> the name and content of the mapping that its moments are loaded by. Whose moment it is, is told by the
    customer's externalId, or else by the links of the mappings in `links_of`. What belongs to nobody is logged as NOT_LINKED.
    """
    with sync_run(context, f"{name}/extract") as run:
        with reading(context.state) as connection:
            delivered = versions.seen(connection, context.org, name)
        changed = [item for item in source.collections(window) if delivered.get(item.id) != item.version]
        writers = {
            kind: staging.writer(
                context.run,
                id_path=mapping.vendor.id,
                paths=mapping.vendor_paths,
                high_cursor=window.last.isoformat(),
                folder=mapping_name,
            )
            for kind, (mapping_name, mapping) in mappings.items()
        }
        unlinked: list[RecordResult] = []
        for page in (page for item in changed for page in source.read_collection(item)):
            for record, owner in zip(page, _owners(context, page, links_of), strict=True):
                kind = next((kind for kind, prefix in PREFIXES.items() if owner and owner.startswith(prefix)), None)
                if kind is None:
                    unlinked.append(RecordResult(record["id"], Outcome.SKIPPED, code=NOT_LINKED))
                else:
                    writers[kind].add(record | {"salesforceId": owner})
        batches = {mapping_name: writers[kind].close() for kind, (mapping_name, _) in mappings.items()}
        staged = sum(ref.count for refs in batches.values() for ref in refs)
        with context.state.begin() as connection:
            sync_log.write(connection, run.id, unlinked)
            run.finish(connection, Counts(read=staged + len(unlinked), skipped=len(unlinked)))
    return StagedMoments(batches, {item.id: item.version for item in changed})


def remember_versions(context: VendorContext, name: str, delivered: Mapping[str, str]) -> None:
    """From now on these mailings count as delivered, until they change."""
    with context.state.begin() as connection:
        versions.remember(connection, context.org, name, delivered)


def _owners(context: VendorContext, page: Sequence[Mapping[str, Any]], links_of: Sequence[str]) -> list[str | None]:
    """The Salesforce id of each record's customer."""
    owners = [salesforce_id(record["customer"]["externalId"]) for record in page]
    unknown = [
        record["customer"]["id"]
        for record, owner in zip(page, owners, strict=True)
        if owner is None and record["customer"]["id"]
    ]
    if not unknown:
        return owners
    with reading(context.state) as connection:
        known = links.by_vendor_id(connection, context.org, links_of, unknown)
    return [owner or known.get(record["customer"]["id"] or "") for record, owner in zip(page, owners, strict=True)]


def salesforce_id(text: str | None) -> str | None:
    """The text, if it is the id of a Lead or a Contact."""
    return text if text and len(text) in ID_LENGTHS and text.startswith(tuple(PREFIXES.values())) else None
