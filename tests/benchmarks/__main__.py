"""make bench: measurements, printed and written to .bench/results.json as a list of
{name, unit, value, peer, peer_value, ratio, goal, met}."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import client, deployteq, emulator, end_to_end, engine, intent, matching, plans, preact, spotio, state
from benchmarks.result import Result, table

OUTPUT = Path(__file__).parents[2] / ".bench" / "results.json"


def main() -> None:
    results: list[Result] = []
    for module in (client, engine, end_to_end, intent, deployteq, spotio, preact, matching, plans, state, emulator):
        print(f"==> {module.__doc__.splitlines()[0]}", flush=True)
        results += module.run()
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps([result.as_dict() for result in results], indent=2) + "\n")
    print(f"\n{table(results)}\n\nAlso in {OUTPUT.parent.name}/{OUTPUT.name}.")


if __name__ == "__main__":
    main()
