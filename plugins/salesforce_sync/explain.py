"""python -m salesforce_sync.explain ID: a record's history on both sides, in plain words.

ID is the vendor's id or the Salesforce id, of 15 or 18 characters. Reads the state database that SALESFORCE_SYNC_STATE_URL names.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from salesforce_sync.errors import StagedDataMissing
from salesforce_sync.ids import whole_id
from salesforce_sync.staging import ID, Staging, file_name
from salesforce_sync.state import claims, dead_letters, held_out, inbox, links, pairs, plans, sync_log, waits
from salesforce_sync.state.engine import open_state, reading
from salesforce_sync.state.links import Linked
from salesforce_sync.state.pairs import Pair

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
    spellings = {record_id, whole_id(record_id) or record_id}  # a vendor's id may look like one of Salesforce's
    known = [linked for name in sorted(spellings) for linked in links.of_record(connection, name)]
    paired = {item for name in sorted(spellings) for item in pairs.of_record(connection, name)}
    names = {*spellings, *(name for linked in known for name in _names(linked))}
    names |= {name for _, pair in paired for name in (pair.salesforce_id, pair.vendor_id)}
    rows = {(row["sync_run_id"], row["id"], row["record_id"], row["step"]): row for row in _logged(connection, names)}
    lines = [_event(row) for row in sorted(rows.values(), key=lambda row: (row["sync_run_id"], row["id"] or 0))]
    lines += [_link(connection, linked) for linked in known]
    lines += [_pair(flow, pair) for flow, pair in sorted(paired)]
    lines += [*_in_inbox(connection, names), *_in_plans(connection, names)]
    for name in sorted(names):
        lines += [_letter(letter) for letter in dead_letters.of_record(connection, name)]
        lines += [
            f"{wait.mapping}: waits since reading {wait.reading}: {wait.reason}"
            for wait in waits.of_record(connection, name)
        ]
        lines += [
            f"{item.mapping}: held out since plan {item.plan_id}, by {item.person}: it is written when something else is to be written"
            for item in held_out.of_record(connection, name)
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


def _in_inbox(connection: Connection, names: set[str]) -> Iterator[str]:
    """Where the record was read, and has no outcome yet."""
    for batch, registered in inbox.all_waiting(connection):
        try:
            ids, _ = _staging_of(batch.ref.path).versions(batch.ref)
        except StagedDataMissing:
            continue
        if any(name in names and is_open for name, is_open in zip(ids, batch.open_rows, strict=True)):
            yield (
                f"{batch.mapping}: it was read at {registered.at:%Y-%m-%d %H:%M:%S} by {registered.run} (reading {batch.reading}), and "
                "waits for the next delivery"
            )


def _in_plans(connection: Connection, names: set[str]) -> Iterator[str]:
    """Where writing the record is planned and not done."""
    for plan in (*plans.with_status(connection, plans.HELD), *plans.with_status(connection, plans.ALLOWED)):
        if any(names & ids for _, ids in _ids_of(plan.path, plan.chunks)):
            what = (
                f"{plan.decided_by} let it pass, and the next run writes it"
                if plan.decided_by
                else "it waits for a person"
            )
            yield f"plan {plan.id} of {plan.made_at:%Y-%m-%d %H:%M:%S} has it: {what}"
    for plan_id, folder, chunks, made_at in plans.unfinished(connection):
        sent = plans.noted_chunks(connection, plan_id)
        for number, ids in _ids_of(folder, chunks):
            if names & ids:
                what = (
                    "it was sent, and nobody knows with what outcome: its rest is waited for, then it is sent again"
                    if number in sent
                    else "it is written already, or planned again by the next delivery"
                )
                yield f"plan {plan_id} of {made_at:%Y-%m-%d %H:%M:%S}, which was not written to its end, has it: {what}"


def _ids_of(folder: str, chunks: int) -> Iterator[tuple[int, set[str]]]:
    """The records of each chunk of a plan whose file is there."""
    for number in range(chunks):
        path = f"{folder}/{file_name(number)}"
        try:
            yield number, set(_staging_of(path).read_table(path, columns=[ID]).column(ID).to_pylist())
        except StagedDataMissing:
            continue


def _staging_of(path: str) -> Staging:
    """A Staging that reads this file, on this machine or in an object store."""
    if "://" not in path:
        return Staging(Path(path).parent)
    from airflow.sdk import ObjectStoragePath

    return Staging(ObjectStoragePath(path).parent)


def _link(connection: Connection, linked: Linked) -> str:
    link = linked.link
    ids = f"{linked.record_id} is {link.salesforce_id} in Salesforce"
    if link.vendor_id:
        ids += f" and {link.vendor_id} at the vendor"
    if link.gone:
        ids += "; it is gone, and nothing older brings it back"
    stamp = f"of {link.version}, " if link.version else ""
    registered = inbox.registered(connection, linked.org, linked.mapping, link.reading)
    read = f", which {registered.run} read at {registered.at:%Y-%m-%d %H:%M:%S}" if registered else ""
    return f"{linked.mapping}: {ids}; delivered is the version {stamp}of reading {link.reading}{read}"


def _pair(flow: str, pair: Pair) -> str:
    said = f"{flow}: {pair.salesforce_id} in Salesforce and {pair.vendor_id} at the vendor are kept equal"
    return said if pair.ended is None else f"{said} no more: {pair.ended}"


def _letter(letter: dict[str, Any]) -> str:
    said = f"{letter['mapping']}: a dead letter, {letter['attempts']} attempts: {letter['code']} {letter['message']}"
    if letter["resolved_by"] is not None:
        return f"{said}; {letter['resolved_by']} gave it up: {letter['resolution']}"
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
