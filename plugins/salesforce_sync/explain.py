"""python -m salesforce_sync.explain ID: a record's history on both sides, in plain words.

ID is the vendor's id or the Salesforce id. Reads the state database that SALESFORCE_SYNC_STATE_URL names.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from salesforce_sync.state import claims, dead_letters, links, sync_log, waits
from salesforce_sync.state.engine import open_state, reading
from salesforce_sync.state.links import Linked

VERBS = {
    "created": "was created",
    "updated": "was updated",
    "deleted": "was deleted",
    "unchanged": "was looked at and had not changed",
    "skipped": "was not sent",
    "rejected": "was refused",
    "waiting": "has to wait",
}


def explain(connection: Connection, record_id: str) -> list[str]:
    """The record's history as lines of text, the oldest event first, and below it what is true of it now."""
    known = links.of_record(connection, record_id)
    names = {record_id, *(name for linked in known for name in _names(linked))}
    rows = {(row["sync_run_id"], row["id"], row["record_id"], row["step"]): row for row in _logged(connection, names)}
    lines = [_event(row) for row in sorted(rows.values(), key=lambda row: (row["sync_run_id"], row["id"] or 0))]
    lines += [_link(linked) for linked in known]
    for name in sorted(names):
        lines += [_letter(letter) for letter in dead_letters.of_record(connection, name)]
        lines += [
            f"{wait.mapping}: waits since reading {wait.reading}: {wait.reason}"
            for wait in waits.of_record(connection, name)
        ]
        lines += [
            f"{stream}: claim {claim.id} is {claim.status}" + (f", {claim.outcome}" if claim.outcome else "")
            for stream, claim in claims.of_record(connection, name)
        ]
    return lines or [f"Nothing is known of {record_id}: it was never read, or its log is past its retention."]


def _names(linked: Linked) -> Iterator[str]:
    yield linked.record_id
    yield linked.link.salesforce_id
    if linked.link.vendor_id:
        yield linked.link.vendor_id


def _logged(connection: Connection, names: set[str]) -> Iterator[dict[str, Any]]:
    for name in sorted(names):
        yield from sync_log.of_record(connection, name)


def _event(row: dict[str, Any]) -> str:
    when = row["ended_at"]
    moment = f"{when:%Y-%m-%d %H:%M:%S}" if isinstance(when, datetime) else "in a run that has not ended"
    why = ": ".join(text for text in (row["code"], row["message"]) if text)
    said = f"{moment}  {row['step']}: {row['record_id']} {VERBS.get(row['outcome'], row['outcome'])}"
    return said + (f" ({why})" if why else "") + f", in {row['dag_id']} {row['run_id']}"


def _link(linked: Linked) -> str:
    link = linked.link
    ids = f"{linked.record_id} is {link.salesforce_id} in Salesforce"
    if link.vendor_id:
        ids += f" and {link.vendor_id} at the vendor"
    if link.gone:
        ids += "; it is gone, and nothing older brings it back"
    stamp = f"of {link.version}, " if link.version else ""
    return f"{linked.mapping}: {ids}; delivered is the version {stamp}of reading {link.reading}"


def _letter(letter: dict[str, Any]) -> str:
    said = f"{letter['mapping']}: a dead letter, {letter['attempts']} attempts: {letter['code']} {letter['message']}"
    if letter["resolved_at"] is not None:
        return f"{said}; answered"
    return f"{said}; it is read and sent again" + (
        f" from {letter['due_at']:%Y-%m-%d %H:%M} on" if letter["due_at"] else ""
    )


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m salesforce_sync.explain ID")
    with reading(open_state()) as connection:
        print("\n".join(explain(connection, sys.argv[1])))  # noqa: T201 - this is what the command is for


if __name__ == "__main__":
    main()
