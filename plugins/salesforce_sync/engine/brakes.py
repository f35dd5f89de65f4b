"""Brakes: what a run may do only when a person has looked at it. They are pulled before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from salesforce_sync.engine.context import Brakes
from salesforce_sync.engine.group import Group, Member
from salesforce_sync.engine.plan import Look
from salesforce_sync.records import Reason
from salesforce_sync.state import inbox, links, seen_paths
from salesforce_sync.state.inbox import Batch

log = logging.getLogger(__name__)

APPROVAL, FIRST_CONTACT, EMPTIED, UNKNOWN_PATH, DELETIONS = (
    "approval", "first contact", "emptied field", "unknown path", "deletions",
)  # fmt: skip
FLOOR = 20  # records; fewer are never held back
SHOWN = 3
FEWEST_READ = 50  # records, before a path that none of them has is called unknown
NORMAL = timedelta(days=30)  # what a mapping's readings are compared with
FIRST_SHARE = 10  # so many times as many new records as delivered ones are a first contact, too


def pulled(
    connection: Connection,
    org: str,
    group: Group,
    looks: Mapping[str, Look],
    batches: Sequence[Batch],
    brakes: Brakes,
    *,
    deletions: int,
) -> list[Reason]:
    """The brakes that the changed rows of these batches pull; `deletions` is how many records would be deleted."""
    found = []
    for member in group.members:
        own = [batch for batch in batches if batch.mapping == member.name]
        if brakes.unknown_paths:
            found += list(_unknown_paths(connection, org, member, own))
        if brakes.empty_percent is not None:
            found += list(_emptied(connection, org, member, looks[member.name], own, brakes.empty_percent))
    if brakes.first_contact is not None:
        found += list(_first_contact(connection, org, group, looks, brakes.first_contact))
    if brakes.delete_percent is not None and deletions > FLOOR:
        total = links.count_living(connection, org, group.names)
        what = f"what was delivered by {group.name}"
        found += list(deletion_brake(group.name, what, doomed=deletions, total=total, percent=brakes.delete_percent))
    return found


def deletion_brake(subject: str, what: str, *, doomed: int, total: int, percent: int) -> Iterator[Reason]:
    """Pulled when more than `percent` of `total` records, and more than FLOOR, would be deleted. `what` says which they are."""
    share = 100 * doomed / total if total else 100.0
    if doomed > FLOOR and share > percent:
        text = f"{doomed:,} of {total:,} records would be deleted, {share:.0f} %, of {what}; up to {percent} % are, unasked"
        yield Reason(DELETIONS, "", subject, doomed, total, text)


def _unknown_paths(connection: Connection, org: str, member: Member, batches: Sequence[Batch]) -> Iterator[Reason]:
    """A path that none of FEWEST_READ records has, and none ever had, so that its field would be emptied. What Salesforce
    gives is checked by its descriptions instead, and what is made here has its paths."""
    known = [batch.ref for batch in batches if batch.ref.filled is not None and batch.read_from is None]
    total = sum(ref.count for ref in known)
    if member.mapping.direction != "to_salesforce" or total < FEWEST_READ:
        return
    present = {path for ref in known for path in ref.filled or ()}
    absent = [path for path in member.mapping.vendor_paths if path not in present]
    if absent:
        seen, emptying = seen_paths.seen(connection, org, member.name), set(member.mapping.emptiable.values())
        for path in (path for path in absent if path not in seen):
            text = (
                f"{member.name} reads {path!r}, which is in none of {total:,} records, and never was: is it misspelt?"
            )
            if path in emptying:
                yield Reason(UNKNOWN_PATH, member.name, path, total, total, text)
            else:
                log.warning("%s", text)


def _emptied(
    connection: Connection, org: str, member: Member, look: Look, batches: Sequence[Batch], percent: int
) -> Iterator[Reason]:
    """A field that more than FLOOR records would lose, while its share of empty values among the records read rose by more
    than `percent`."""
    doubtful = {column: count for column, count in look.emptied.items() if count > FLOOR}
    known = [batch.ref for batch in batches if batch.ref.filled is not None]
    total = sum(ref.count for ref in known)
    if not doubtful or not total:
        return
    usual, usually_filled = inbox.filled_since(connection, org, member.name, datetime.now(UTC) - NORMAL)
    for column, count in sorted(doubtful.items()):
        path = member.mapping.emptiable[column]
        filled = sum((ref.filled or {}).get(path, 0) for ref in known)
        rows = usual[path]
        now, before = 100 * (1 - filled / total), 100 * (1 - usually_filled[path] / rows) if rows else 0.0
        if now - before > percent:
            was = f"was in {before:.0f} % over the last {NORMAL.days} days" if rows else "was not read before"
            text = f"{count:,} records would lose their {column}: {path} is empty in {now:.0f} % of {total:,} records read, and {was}"
            yield Reason(EMPTIED, member.name, column, count, total, text)


def _first_contact(
    connection: Connection, org: str, group: Group, looks: Mapping[str, Look], most: int
) -> Iterator[Reason]:
    """Many records go to a vendor, or to a standard object, where hardly any was delivered before."""
    mapping = group.members[0].mapping
    if mapping.direction == "to_salesforce" and mapping.salesforce.object.endswith("__c"):
        return
    new = sum(look.unlinked for look in looks.values())
    if new <= most:
        return
    delivered = links.count_living(connection, org, group.names)
    if new > FIRST_SHARE * delivered:
        where = (
            mapping.salesforce.object if mapping.direction == "to_salesforce" else group.targets[0].partition(".")[0]
        )
        text = f"{new:,} records would go to {where} for the first time, where {delivered:,} were delivered before; up to {most:,} go, unasked"
        yield Reason(FIRST_CONTACT, "", group.name, new, new, text)
