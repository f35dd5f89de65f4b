"""10,000 company leads against 1,000,000 Accounts: how many are right, in how many seconds, in how much memory.

Companies are made up, so that the truth is known: typos on both sides, legal forms, word order, abbreviations, parents and subsidiaries, and
three in ten leads that are nobody's. Thresholds are chosen on the first half of the leads, and the figures are those of the second.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.result import Result, measured

ACCOUNTS, LEADS = 1_000_000, 10_000
SEEDS = ((7, 34_000), (2027, 34_000), (11, 277_000))


def run() -> list[Result]:
    results = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for seed, words in SEEDS:
            measured("matching_task", "make", Path(folder), seed, words, ACCOUNTS, LEADS, home=folder)
            figures = measured("matching_task", "match", Path(folder), seed, words, ACCOUNTS, LEADS, home=folder)
            print(f"    seed {seed}, {words:,} words: {figures}", flush=True)
            results += _results(f"matching: seed {seed}, {words:,} words", figures)
        peers = measured("matching_task", "peers", Path(folder), SEEDS[0][0], SEEDS[0][1], ACCOUNTS, LEADS, home=folder)
    print(f"    peers: {peers}", flush=True)
    return [
        *results,
        Result("matching: like '%name%' instead, F1", "", peers["like_f1"]),
        Result("... s", "s", peers["like_seconds"]),
    ]


def _results(name: str, figures: dict[str, float]) -> list[Result]:
    return [
        Result(name, "s", figures["seconds"], "<= 8"),
        Result("... peak memory", "MB", figures["megabytes"], "<= 800"),
        Result("... F1", "", figures["f1"], ">= 0.95"),
        Result("... precision of what auto mode associates", "", figures["precision"], ">= 0.99"),
        Result("... its recall", "", figures["recall"], ">= 0.85"),
    ]
