"""100,000 records all the way, extract to commit, and again with 2 % of them changed; against the provider's hook and operator."""

from __future__ import annotations

import tempfile

from benchmarks.client import ROUNDS, Runs, replay_server
from benchmarks.end_to_end_task import RECORDS
from benchmarks.result import Result, measured

EVERY = 50  # 2 %
WORK = {"ours": ("ours", 0), "ours_changed": ("ours", EVERY), "peer": ("peer", 0), "peer_changed": ("peer", EVERY)}


def run() -> list[Result]:
    found = {name: Runs() for name in WORK}
    pushes = {name: Runs() for name in WORK}
    sent: dict[str, int] = {}
    with replay_server(1) as url:
        for number in range(ROUNDS + 1):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                for name, (who, changed) in WORK.items():
                    figures = measured("end_to_end_task", who, changed, url, folder, home=folder)
                    sent[name] = int(figures["sent"])
                    if number:  # the first round makes the server's bodies
                        found[name].seconds.append(figures["seconds"])
                        pushes[name].seconds.append(figures["push_seconds"])
                        found[name].megabytes.append(figures["megabytes"])
    for name, runs in found.items():
        push = pushes[name].median
        print(
            f"    {name:<14} {runs.median:6.2f} s  ({runs.range}), of it push {push:.2f} s, {runs.memory:5.0f} MB, {sent[name]:,} rows sent"
        )
    push_full, push_few = pushes["ours"], pushes["ours_changed"]
    full, few, peer = found["ours"], found["ours_changed"], found["peer"]
    return [
        Result(
            f"end to end: {RECORDS:,} records",
            "s",
            full.median,
            f"<= {peer.median * 0.4:.2f}",
            "hook and operator",
            peer.median,
        ),
        Result("end to end: peak memory", "MB", full.memory, None, "hook and operator", peer.memory),
        Result("end to end, 2 % changed: rows sent", "rows", sent["ours_changed"], f"<= {RECORDS // EVERY}"),
        Result(
            "push, 2 % changed",
            "s",
            push_few.median,
            f"<= {push_full.median / 5:.3f}",
            "the full push",
            push_full.median,
        ),
        Result("end to end, 2 % changed", "s", few.median, None, "the full way", full.median),
        Result(
            "end to end, 2 % changed, against the peer's",
            "s",
            few.median,
            None,
            "hook and operator",
            found["peer_changed"].median,
        ),
    ]
