"""Contact moments: every e-mail to a Lead or Contact, staged for the mapping of the one or the other.

A mailing is read again when its counters say that something happened to it, when a customer of it that nobody knew is
linked by now, or when a refused moment of it is due.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import Connection

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.read import Reading, reading
from salesforce_sync.ids import whole_id
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import Collection, Counts, Outcome, RecordResult
from salesforce_sync.state import dead_letters, links, sync_log, versions, waits
from salesforce_sync.state.engine import reading as looking
from salesforce_sync.state.waits import Wait
from salesforce_sync.windows import DateWindow

NOT_LINKED = "NOT_LINKED"
PREFIXES = {"Lead": "00Q", "Contact": "003"}  # the first three characters of an id say what it is the id of


class CollectionSource(Protocol):
    """A vendor's hook, as far as this step needs it."""

    def collections(self, window: DateWindow) -> list[Collection]: ...

    def read_collection(self, collection: Collection) -> Iterator[list[dict[str, Any]]]: ...


@dataclass(frozen=True)
class MomentFlow:
    """`mappings`: Lead and Contact -> the name and content of the mapping that their moments are delivered by. Whose
    moment it is, is told by the customer's externalId, or else by the links of the mappings in `links_of`."""

    name: str
    mappings: Mapping[str, tuple[str, MappingFile]]
    links_of: Sequence[str]


@dataclass
class _Found:
    """What a reading found beside the staged moments."""

    unlinked: list[tuple[str, str | None, str]] = field(default_factory=list)  # moment, customer, mailing
    linked: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def read_moments(
    context: Context, flow: MomentFlow, source: CollectionSource, window: DateWindow, *, resend: bool = False
) -> dict[str, int]:
    """Registers the moments of the mailings of these days that changed; gives how many, by mapping.

    A moment of a customer that nobody knows waits for its link.
    """
    with reading(context, flow.name) as work:
        with looking(context.state) as connection:
            registered = versions.seen(connection, context.org, flow.name)
            due = _due(connection, context.org, flow)
        changed = [
            item
            for item in source.collections(window)
            if resend or item.id in due or registered.get(item.id) != item.version
        ]
        found = _Found(counts=dict.fromkeys((name for name, _ in flow.mappings.values()), 0))
        for item in changed:
            _stage(work, flow, source, item, found)

        def mark(connection: Connection) -> None:
            versions.remember(connection, context.org, flow.name, {item.id: item.version for item in changed})
            _keep_waits(connection, work, flow, found)

        work.register(resend=resend, marks=mark)
    return found.counts


def _due(connection: Connection, org: str, flow: MomentFlow) -> set[str]:
    """The mailings to be read again: of waiting moments whose customer is linked by now, and of refused ones."""
    now = datetime.now(UTC)
    letters = [letter for name, _ in flow.mappings.values() for letter in dead_letters.due(connection, org, name, now)]
    waiting = waits.of_mappings(connection, org, [flow.name])
    known = links.by_vendor_id(connection, org, flow.links_of, sorted({wait.key for wait in waiting if wait.key}))
    origins = {wait.origin for wait in waiting if wait.key in known}
    return {origin for origin in (*origins, *(letter.origin for letter in letters)) if origin}


def _stage(work: Reading, flow: MomentFlow, source: CollectionSource, item: Collection, found: _Found) -> None:
    writers = {kind: work.writer(name, mapping, origin=item.id) for kind, (name, mapping) in flow.mappings.items()}
    for page in source.read_collection(item):
        for record, owner in zip(page, _owners(work.context, page, flow.links_of), strict=True):
            kind = next((kind for kind, prefix in PREFIXES.items() if owner and owner.startswith(prefix)), None)
            if kind is None:
                found.unlinked.append((record["id"], record["customer"]["id"], item.id))
            else:
                writers[kind].add(record | {"salesforceId": owner})
                found.linked.append(record["id"])
    for kind, (name, mapping) in flow.mappings.items():
        refs = [ref for ref in writers[kind].close() if ref.count]
        found.counts[name] += work.add(name, refs, paths=mapping.vendor_paths)


def _keep_waits(connection: Connection, work: Reading, flow: MomentFlow, found: _Found) -> None:
    org = work.context.org
    results = [RecordResult(moment, Outcome.WAITING, code=NOT_LINKED) for moment, _, _ in found.unlinked]
    sync_log.write(connection, work.run.id, results)
    work.run.counts += Counts(read=len(results), waiting=len(results))
    if waits.counts(connection, org, [flow.name]):
        waits.remove(connection, org, flow.name, found.linked)
    waits.add(
        connection,
        org,
        [
            Wait(flow.name, moment, NOT_LINKED, customer or "", "", work.number, mailing)
            for moment, customer, mailing in found.unlinked
        ],
    )


def _owners(context: Context, page: Sequence[Mapping[str, Any]], links_of: Sequence[str]) -> list[str | None]:
    """The Salesforce id of each record's customer."""
    owners = [salesforce_id(record["customer"]["externalId"]) for record in page]
    named = sorted({owner for owner in owners if owner})
    unknown = [
        record["customer"]["id"]
        for record, owner in zip(page, owners, strict=True)
        if owner is None and record["customer"]["id"]
    ]
    with looking(context.state) as connection:
        masters = links.merged_into(connection, context.org, links_of, named)
        known = links.by_vendor_id(connection, context.org, links_of, unknown) if unknown else {}
    return [
        masters.get(owner, owner) if owner else known.get(record["customer"]["id"] or "")
        for record, owner in zip(page, owners, strict=True)
    ]


def salesforce_id(text: str | None) -> str | None:
    """The text's id of a Lead or a Contact, with 18 characters; None when it is none."""
    found = whole_id(text)
    return found if found and found.startswith(tuple(PREFIXES.values())) else None
