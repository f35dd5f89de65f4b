"""A schedule whose tasks are processes of their own, against the emulator over HTTP, each ended by SIGKILL at some moment."""

from __future__ import annotations

import random
from pathlib import Path

from salesforce_sync.state import inbox
from salesforce_sync.state.engine import open_state, reading
from soak.schedule import KEYS, Verdict
from support.flows import Intent
from support.kills import run_until_killed
from support.world import World, activity

RUNS, MOMENTS = 3, 60  # a run has about so many moments


def run_killed(seed: int, world: World, folder: Path) -> Verdict:
    """Each run brings new versions of all activities and is killed on its way; the last one comes to its end."""
    chance = random.Random(seed)
    world.reset()
    url = f"sqlite:///{folder / 'state.db'}"
    verdict = Verdict(records=KEYS)
    for attempt in range(1, RUNS + 1):
        records = [activity(number, city=f"v{attempt}") for number in range(1, KEYS + 1)]
        moment = chance.randrange(1, MOMENTS)
        verdict.faults += run_until_killed(world, url, folder, records, moment=moment, attempt=attempt)
    Intent(world, url, folder, attempt=RUNS + 1, patient=True).run(*records)
    rows = world.query("SELECT PeerSpot_External_Id__c, City__c FROM PeerSpot_Activity__c")
    cities = {row["PeerSpot_External_Id__c"]: row["City__c"] for row in rows}
    verdict.lost = [f"{record['id']} is nowhere" for record in records if record["id"] not in cities]
    verdict.doubled = [f"{len(rows)} activities of {len(cities)}"] if len(rows) > len(cities) else []
    verdict.stale = [f"{name} is {city}" for name, city in cities.items() if city != f"v{RUNS}"]
    with reading(open_state(url)) as connection:
        verdict.unbalanced = [f"batch {number}" for number in inbox.unbalanced(connection, world.client().org_id)]
    return verdict
