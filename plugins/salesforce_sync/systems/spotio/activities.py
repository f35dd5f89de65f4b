"""SPOTIO's activities on their way to Tasks: those of people, made after the switch-on, on records that have a
counterpart.

What is done is read from the activity feed by the moment of its last change, so that what was dated back, or edited
later, is found. What is still planned is in no feed: it is asked for at each record that has something planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Connection

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.read import FIRST, mark_first, reading
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import Counts, Outcome, RecordResult
from salesforce_sync.state import dead_letters, pairs, sync_log, waits, watermarks
from salesforce_sync.state.engine import reading as looking
from salesforce_sync.state.waits import Wait

NOT_LINKED, BEFORE_SWITCH_ON, COUNTERPART_GONE = "NOT_LINKED", "BEFORE_SWITCH_ON", "COUNTERPART_GONE"
LAG = timedelta(seconds=3)


class ActivitySource(Protocol):
    """SPOTIO's hook, as far as this step needs it. An activity is a record: id, objectId, createdAt, updatedAt, and
    more."""

    def activities(self, *, since: datetime) -> Iterator[list[dict[str, Any]]]: ...

    def activities_by_id(self, ids: Sequence[str]) -> list[dict[str, Any]]: ...

    def now(self) -> datetime: ...


@dataclass
class _Sorted:
    """The activities of a reading: those that have a counterpart to hang on, and the results of the others."""

    linked: list[dict[str, Any]] = field(default_factory=list)
    results: list[RecordResult] = field(default_factory=list)
    waiting: list[tuple[str, str]] = field(default_factory=list)  # activity, object


def read_activities(
    context: Context,
    name: str,
    mapping: MappingFile,
    source: ActivitySource,
    *,
    flow: str,
    lookback: timedelta,
    resend: bool = False,
) -> int:
    """Registers the activities that changed since the last reading; gives how many. The first reading only keeps the
    moment: what was made before it does not become a Task. An activity of a record that has no counterpart in the flow
    waits."""
    with reading(context, name) as work:
        with looking(context.state) as connection:
            watermark = watermarks.get(connection, context.org, name)
            first = watermarks.get(connection, context.org, f"{name}{FIRST}")
            due = _due(connection, context.org, name, flow)
        began = source.now()
        sorted_out = _Sorted()
        writer = work.writer(name, mapping)
        if watermark is not None and first is not None:
            since = datetime.fromisoformat(watermark) - lookback
            seen: set[str] = set()
            pages = source.activities(since=since)
            for page in (*pages, source.activities_by_id(due)) if due else pages:
                fresh = [item for item in page if item["id"] not in seen]
                seen.update(item["id"] for item in fresh)
                _sort(context, flow, fresh, datetime.fromisoformat(first), sorted_out)
                for record in sorted_out.linked:
                    writer.add(record)
                sorted_out.linked.clear()
        refs = [ref for ref in writer.close() if ref.count]
        count = work.add(name, refs, paths=mapping.vendor_paths, read_from=watermark or "")

        def mark(connection: Connection) -> None:
            upper = (began - LAG).astimezone(UTC).isoformat(timespec="milliseconds")
            watermarks.advance(connection, context.org, name, upper)
            mark_first(connection, context.org, name, began)
            sync_log.write(connection, work.run.id, sorted_out.results)
            waits.remove(connection, context.org, name, due)
            waits.add(
                connection,
                context.org,
                [Wait(name, item, NOT_LINKED, key, "", work.number, None) for item, key in sorted_out.waiting],
            )
            work.run.counts += Counts.of([result.outcome for result in sorted_out.results])

        work.register(resend=resend, marks=mark)
    return count


def _due(connection: Connection, org: str, name: str, flow: str) -> list[str]:
    """The activities to be read again: refused ones whose time it is, and those whose record has a counterpart by
    now."""
    letters = [letter.record_id for letter in dead_letters.due(connection, org, name, datetime.now(UTC))]
    waiting = waits.of_mappings(connection, org, [name])
    known = pairs.of_vendor(connection, org, flow, sorted({wait.key for wait in waiting}))
    return list(dict.fromkeys([*letters, *(wait.record_id for wait in waiting if wait.key in known)]))


def _sort(
    context: Context, flow: str, page: Sequence[Mapping[str, Any]], switched_on: datetime, found: _Sorted
) -> None:
    with looking(context.state) as connection:
        known = pairs.of_vendor(connection, context.org, flow, sorted({str(item["objectId"]) for item in page}))
    for item in page:
        pair = known.get(str(item["objectId"]))
        created = item.get("createdAt")
        if created and datetime.fromisoformat(str(created)) < switched_on:
            found.results.append(RecordResult(item["id"], Outcome.SKIPPED, code=BEFORE_SWITCH_ON))
        elif pair is None:
            found.results.append(RecordResult(item["id"], Outcome.WAITING, code=NOT_LINKED))
            found.waiting.append((item["id"], str(item["objectId"])))
        elif pair.ended is not None:
            found.results.append(RecordResult(item["id"], Outcome.SKIPPED, pair.salesforce_id, COUNTERPART_GONE))
        else:
            found.linked.append({**item, "salesforceId": pair.salesforce_id})
