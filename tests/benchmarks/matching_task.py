"""One step of the benchmark of matching: python -m benchmarks.matching_task make|match|peers FOLDER SEED WORDS ACCOUNTS LEADS

`make` writes the companies as Parquet files. `match` matches them, by rules that 1,000 simulated decisions have proved, and prints {"seconds",
"megabytes", "f1", "precision", "recall"}. `peers` prints the same of the vendor's own sample: `Name like '%company%'`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from salesforce_sync.matching.companies import Companies, Match, find_matches
from salesforce_sync.matching.rules import ASSOCIATE, NAME, SIMILAR, Candidate, propose, trusted_rules

DECISIONS = 1_000
Truth = Sequence[int | None]


def main(what: str, folder: Path, seed: int, words: int, accounts: int, leads: int) -> None:
    files = [folder / f"{kind}-{seed}.parquet" for kind in ("accounts", "leads")]
    if what == "make":
        _make(files, seed, words, accounts, leads)
        print(json.dumps({"made": accounts}))
        return
    known, wanted = (pq.read_table(file).combine_chunks() for file in files)
    truth: Truth = wanted.column("truth").to_pylist()
    if what == "peers":
        print(json.dumps(_like(known, wanted, truth)))
        return
    started = time.perf_counter()
    index = Companies.of(known.column("name").combine_chunks(), known.column("city").combine_chunks())
    asked = Companies.of(wanted.column("name").combine_chunks(), wanted.column("city").combine_chunks())
    found = find_matches(index, asked)
    seconds = time.perf_counter() - started
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    same = [
        [bool(match.score > 0.9 and index.names.key(match.place) == asked.names.key(place)) for match in matches]
        for place, matches in enumerate(found)
    ]
    print(json.dumps({"seconds": seconds, "megabytes": megabytes} | _judged(found, same, truth)))


def _make(files: Sequence[Path], seed: int, words: int, accounts: int, leads: int) -> None:
    from support.company_names import companies

    for rows, file in zip(companies(accounts, leads, seed=seed, words=words), files, strict=True):
        columns = {name: [getattr(row, name) for row in rows] for name in ("name", "city")}
        truth = pa.array([row.truth for row in rows], pa.int64())
        pq.write_table(pa.table(columns | {"truth": truth}), file)


def _judged(found: Sequence[Sequence[Match]], same: Sequence[Sequence[bool]], truth: Truth) -> dict[str, float]:
    half = len(found) // 2
    thresholds = [float(value) for value in np.arange(0.7, 1.0, 0.01)]
    best = max(thresholds, key=lambda value: _scores(found[:half], truth[:half], value)[2])
    candidates = [
        [
            Candidate(str(match.place), "Account", "", match.score, NAME if is_same else SIMILAR)
            for match, is_same in zip(matches, equal, strict=True)
        ]
        for matches, equal in zip(found, same, strict=True)
    ]
    strict = min(
        (value for value in thresholds if _auto(candidates[:half], truth[:half], value, [NAME, SIMILAR])[0] >= 0.992),
        default=0.99,
    )
    trusted = trusted_rules(_decided(candidates[:DECISIONS], truth[:DECISIONS], strict), 0.95)
    precision, recall = _auto(candidates[half:], truth[half:], strict, trusted)
    return {
        "f1": _scores(found[half:], truth[half:], best)[2],
        "precision": precision,
        "recall": recall,
        "threshold": strict,
    }


def _decided(candidates: Sequence[Sequence[Candidate]], truth: Truth, threshold: float) -> dict[str, tuple[int, int]]:
    """What people who know the truth would have decided of what the rules propose: rule -> agreed, of how many."""
    tally: dict[str, tuple[int, int]] = {}
    for found, right in zip(candidates, truth, strict=True):
        proposal = propose(found, threshold=threshold, trusted=[NAME, SIMILAR])
        if proposal.candidate is not None and proposal.rule is not None:
            agreed, asked = tally.get(proposal.rule, (0, 0))
            tally[proposal.rule] = (agreed + (proposal.candidate.id == str(right)), asked + 1)
    return tally


def _auto(
    candidates: Sequence[Sequence[Candidate]], truth: Truth, threshold: float, trusted: Iterable[str]
) -> tuple[float, float]:
    """Precision and recall of what is associated without a person."""
    rules = list(trusted)
    proposals = [propose(found, threshold=threshold, trusted=rules) for found in candidates]
    done = [
        (proposal.candidate.id if proposal.candidate else None, right)
        for proposal, right in zip(proposals, truth, strict=True)
        if proposal.action == ASSOCIATE
    ]
    good = sum(found == str(right) for found, right in done)
    return good / max(len(done), 1), good / max(sum(right is not None for right in truth), 1)


def _scores(found: Sequence[Sequence[Match]], truth: Truth, threshold: float) -> tuple[float, float, float]:
    chosen = [matches[0].place if matches and matches[0].score >= threshold else None for matches in found]
    return _precision_and_recall(chosen, truth)


def _precision_and_recall(chosen: Sequence[int | None], truth: Truth) -> tuple[float, float, float]:
    good = sum(one is not None and one == right for one, right in zip(chosen, truth, strict=True))
    precision = good / max(sum(one is not None for one in chosen), 1)
    recall = good / max(sum(right is not None for right in truth), 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def _like(known: pa.Table, wanted: pa.Table, truth: Truth) -> dict[str, float]:
    """`Name like '%company%'`, as the vendor's sample asks Salesforce; one that finds several finds none. Of the first 200 leads: each looks
    through all Accounts."""
    names = pc.utf8_lower(known.column("name"))
    started = time.perf_counter()
    chosen: list[int | None] = []
    some = wanted.column("name").to_pylist()[:200]
    for name in some:
        places = np.flatnonzero(pc.match_substring(names, name.lower()).to_numpy())
        chosen.append(int(places[0]) if len(places) == 1 else None)
    seconds = (time.perf_counter() - started) * len(truth) / len(some)
    return {"like_seconds": seconds, "like_f1": _precision_and_recall(chosen, truth[: len(some)])[2]}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
