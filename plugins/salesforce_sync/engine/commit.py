"""Committing: what became of rows, in one fenced transaction with the links, letters, waits, claims and the inbox."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import Connection

from salesforce_sync.engine.context import SyncRun
from salesforce_sync.engine.plan import Places
from salesforce_sync.records import SUPERSEDED, Counts, Outcome, PairChange, RecordResult
from salesforce_sync.state import claims, dead_letters, held_out, inbox, links, pairs, sync_log, waits
from salesforce_sync.state.waits import Wait

LINKED = frozenset(
    {Outcome.CREATED, Outcome.UPDATED, Outcome.DELETED, Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.WAITING}
)


def commit(
    connection: Connection,
    run: SyncRun,
    mapping: str,
    results: Sequence[RecordResult],
    *,
    unchanged: Sequence[tuple[int, Places, list[str]]] = (),
    streams: Mapping[int, tuple[str, int]] | None = None,
) -> Counts:
    """T4: writes the results of a mapping's rows; `unchanged` are rows by batch whose record needs nothing at all.

    `streams` names the stream and the reading of each batch, for the claims that wait for a result. Gives the counts.
    """
    org = run.context.org
    _log(connection, run, results, unchanged)
    links.save(connection, org, mapping, [item for item in results if item.outcome in LINKED])
    _keep_pairs(connection, org, [item.pair for item in results if item.pair is not None])
    dead_letters.record(connection, org, mapping, run.id, results)
    dead_letters.close(connection, org, mapping, [record_id for _, _, ids in unchanged for record_id in ids])
    _wait(connection, org, mapping, results)
    _settle_batches(connection, results, unchanged)
    _settle_claims(connection, org, results, unchanged, streams or {})
    _let_in(connection, org, mapping, results)
    tally = Counter(result.outcome for result in results if result.batch)  # the others are no outcome of a row
    tally[Outcome.UNCHANGED] += sum(len(ids) for _, _, ids in unchanged)
    counts = Counts(read=sum(tally.values()), **{str(outcome): count for outcome, count in tally.items()})
    run.counts += counts
    return counts


def _keep_pairs(connection: Connection, org: str, changes: Sequence[PairChange]) -> None:
    """The pairs as they are now. Of a record that was written, what was read before tells nothing any more: somebody who
    sets it back makes it look as it did then."""
    pairs.save(connection, org, changes)
    for name in sorted({change.written for change in changes if change.written}):
        written = [change for change in changes if change.written == name]
        at_vendor = name.endswith("/to_salesforce")
        ids = [change.vendor_id if at_vendor else change.salesforce_id for change in written]
        links.forget_staged(connection, org, name, ids)


def _let_in(connection: Connection, org: str, mapping: str, results: Sequence[RecordResult]) -> None:
    """What was held out of a record is over once something else is written."""
    if held_out.any_of(connection, org, mapping):
        written = [item.record_id for item in results if item.outcome in (Outcome.CREATED, Outcome.UPDATED)]
        held_out.remove(connection, org, mapping, written)


def _log(
    connection: Connection,
    run: SyncRun,
    results: Sequence[RecordResult],
    unchanged: Sequence[tuple[int, Places, list[str]]],
) -> None:
    same = [record_id for _, _, ids in unchanged for record_id in ids]
    same += [item.record_id for item in results if item.outcome is Outcome.UNCHANGED and item.code is None]
    sync_log.write_unchanged(connection, run.id, same)
    told = [item for item in results if item.outcome is not Outcome.UNCHANGED or item.code is not None]
    sync_log.write(connection, run.id, told)


def _wait(connection: Connection, org: str, mapping: str, results: Sequence[RecordResult]) -> None:
    waiting = [
        Wait(mapping, item.record_id, item.code or "", item.key or "", item.version or "", item.reading, item.origin)
        for item in results
        if item.outcome is Outcome.WAITING
    ]
    if waits.counts(connection, org, [mapping]):
        over = [item.record_id for item in results if item.outcome is not Outcome.WAITING and item.code != SUPERSEDED]
        waits.remove(connection, org, mapping, over)
    if waiting:
        waits.add(connection, org, waiting)


def _settle_batches(
    connection: Connection, results: Sequence[RecordResult], unchanged: Sequence[tuple[int, Places, list[str]]]
) -> None:
    rows: dict[int, list[int]] = defaultdict(list)
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for item in results:
        if item.batch:
            rows[item.batch].append(item.row)
    for (batch, outcome), count in Counter((item.batch, item.outcome) for item in results if item.batch).items():
        counts[batch][str(outcome)] += count
    for batch, places, ids in unchanged:
        rows[batch] += np.asarray(places).tolist()
        counts[batch][str(Outcome.UNCHANGED)] += len(ids)
    inbox.settle(connection, {batch: (rows[batch], counts[batch]) for batch in rows})


def _settle_claims(
    connection: Connection,
    org: str,
    results: Sequence[RecordResult],
    unchanged: Sequence[tuple[int, Places, list[str]]],
    streams: Mapping[int, tuple[str, int]],
) -> None:
    nothing = ("", 0)
    for stream in sorted({stream for stream, _ in streams.values()}):
        if claims.any_read(connection, org, stream):
            told = [
                item for item in results if streams.get(item.batch, nothing)[0] == stream and item.code != SUPERSEDED
            ]
            told += [
                RecordResult(record_id, Outcome.UNCHANGED, reading=streams[batch][1])
                for batch, _, ids in unchanged
                if streams.get(batch, nothing)[0] == stream
                for record_id in ids
            ]
            claims.deliver(connection, org, stream, told)
