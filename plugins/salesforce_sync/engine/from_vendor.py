"""Reading from a vendor that tells what changed since a moment: staged, under the vendor's own clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Connection

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.read import WHOLE, is_whole_due, mark_first, reading
from salesforce_sync.records import BatchRef
from salesforce_sync.state import dead_letters, pairs, watermarks
from salesforce_sync.state.engine import reading as looking

DELETED, UPDATED = "deleted", "updatedAt"  # paths of a record: whether it is gone there, and when it was changed
LAG = timedelta(seconds=3)  # the vendor's clock tells whole seconds, and lists show records some seconds late


class ChangesSource(Protocol):
    """A vendor's hook, as far as reading its changes needs it. A record has `id`, `updatedAt` and `deleted`."""

    def changed(self, stream: str, paths: Sequence[str], *, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """The records that were changed or deleted since then, or all there are, a page at a time."""

    def look(self, stream: str, paths: Sequence[str], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The records with these ids as they are now; of one that is not there, only that it is `deleted`."""

    def now(self) -> datetime:
        """The time by the vendor's clock; the year 1 when it has told none."""


def read_vendor_changes(
    context: Context,
    flow: str,
    stream: str,
    source: ChangesSource,
    paths: Sequence[str],
    *,
    full: bool = False,
    resend: bool = False,
    lookback: timedelta,
    whole_days: int,
) -> int:
    """Registers the records of the vendor that changed since the watermark of `<flow>/to_salesforce`, deleted ones
    among them; with `full`, and when it is time for it, all records, and those of pairs that are nowhere any more as
    deleted. Refused records that are due are read by their ids. Gives how many."""
    name = f"{flow}/to_salesforce"
    with reading(context, name, name=f"{name}/extract") as work:
        with looking(context.state) as connection:
            watermark = watermarks.get(connection, context.org, name)
            last_whole = watermarks.get(connection, context.org, f"{name}{WHOLE}")
            due = dead_letters.due(connection, context.org, name, datetime.now(UTC))
        began = source.now()
        today = datetime.now(UTC)
        whole = full or watermark is None or is_whole_due(last_whole, today, whole_days)
        since = None if whole else datetime.fromisoformat(str(watermark)) - lookback
        seen: dict[str, str] = {}  # id -> its stamp
        pages = source.changed(stream, paths, since=since)
        refs = _staged(context, work.folder(name), _noted(pages, seen), paths)
        again = [letter.record_id for letter in due if letter.record_id not in seen and letter.origin is None]
        found = list(source.look(stream, paths, again).values()) if again else []
        refs += _staged(context, work.folder(name, "due"), _noted([found], seen), paths) if found else []
        if whole:
            gone = _nowhere(context, flow, stream, source, paths, seen)
            refs += _staged(context, work.folder(name, "gone"), [gone], paths) if gone else []
        count = work.add(name, refs, paths=paths, read_from="" if whole else str(watermark))
        given_up = [record_id for record_id in again if record_id not in seen]
        upper = began - LAG if began.year > 1 else max(map(moment, seen.values()), default=None)

        def mark(connection: Connection) -> None:
            if upper is not None:
                watermarks.advance(
                    connection, context.org, name, upper.astimezone(UTC).isoformat(timespec="milliseconds")
                )
                mark_first(connection, context.org, name, upper + LAG)
            if whole:
                watermarks.advance(connection, context.org, f"{name}{WHOLE}", today.isoformat())
            dead_letters.close(connection, context.org, name, given_up)

        work.register(resend=resend, marks=mark)
    return count


def _staged(
    context: Context, folder: Any, pages: Iterable[Sequence[dict[str, Any]]], paths: Sequence[str]
) -> list[BatchRef]:
    writer = context.staging.records(folder, id_path="id", paths=["id", *paths], stamp_path=UPDATED)
    for page in pages:
        for record in page:
            writer.add(record)
    return writer.close()


def _noted(pages: Iterable[Sequence[dict[str, Any]]], seen: dict[str, str]) -> Iterator[Sequence[dict[str, Any]]]:
    for page in pages:
        seen.update((record["id"], str(record.get(UPDATED) or "")) for record in page)
        yield page


def moment(stamp: str) -> datetime:
    """When that was; of an empty stamp, the year 1."""
    return datetime.fromisoformat(stamp) if stamp else datetime.min.replace(tzinfo=UTC)


def _nowhere(
    context: Context, flow: str, stream: str, source: ChangesSource, paths: Sequence[str], seen: dict[str, str]
) -> list[dict[str, Any]]:
    """Records of living pairs that a reading of all records did not have, and that are not there by their id either."""
    with looking(context.state) as connection:
        known = pairs.living_at_vendor(connection, context.org, flow)
    missing = [record_id for record_id in known if record_id not in seen]
    found = source.look(stream, paths, missing) if missing else {}
    return [record for record in found.values() if record.get(DELETED)]
