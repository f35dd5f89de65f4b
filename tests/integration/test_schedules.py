"""A few schedules of `make soak` with fixed seeds, and proof that they would see what goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soak.__main__ import WRONG, Databases, judge, soak
from soak.schedule import make
from support.world import World

YES = {"Deployteq_Opt_In__c": True}
LEFT = [("person", 0, {"IsDeleted": True}), ("person", 2, {"IsDeleted": True})]
# A whole reading that is older than what was read before it.
LATE_READINGS = {
    "of a record that was deleted before it was delivered": [("person", 0, YES), *LEFT, ("poll", "whole", ()), ("behind", 3)],
    "of a customer that was deleted": [
        ("customers are deleted",), ("person", 0, YES), ("poll", "both", ()), *LEFT, ("poll", "both", ()), ("behind", 2),
    ],
}  # fmt: skip


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Databases]:
    logging.disable(logging.CRITICAL)
    yield Databases(tmp_path, None)
    logging.disable(logging.NOTSET)


def test_nothing_is_lost_doubled_or_set_back_in_any_schedule(databases: Databases) -> None:
    found = soak(16, 2026, "", databases)
    assert {name: found.get(name, 0) for name in WRONG} == dict.fromkeys(WRONG, 0)
    assert found["faults"] > 10


def test_a_schedule_of_processes_that_are_killed_comes_to_its_end(databases: Databases, world: World) -> None:
    found = soak(1, 50, "", databases, world=world)
    assert {name: found.get(name, 0) for name in WRONG} == dict.fromkeys(WRONG, 0)
    assert found["faults"] > 0


def test_a_schedule_sees_what_a_broken_guard_lets_through(databases: Databases) -> None:
    assert any(judge(make(number), "done-by-id", databases).bad for number in range(2027, 2047))


@pytest.mark.parametrize("events", LATE_READINGS.values(), ids=LATE_READINGS)
def test_a_late_reading_brings_nobody_back(databases: Databases, events: list[Any]) -> None:
    assert judge(events, "", databases).bad == []


def test_without_tombstones_a_late_reading_would_bring_a_customer_back(databases: Databases) -> None:
    assert judge(LATE_READINGS["of a customer that was deleted"], "tombstone", databases).bad != []


APPROVED_LATER = [
    ("activity", 0, "v1"), ("intent", "both", ()), ("approval", True), ("activity", 0, "v2"), ("intent", "both", ()), ("intent", "both", ()),
]  # fmt: skip
UNDONE = [
    ("activity", 0, "v1"), ("intent", "both", ()), ("activity", 0, "v2"), ("intent", "both", ()), ("undo", False), ("intent", "again", ()),
]  # fmt: skip
EDITED = [*UNDONE[:4], ("person there", 0, "p1"), ("undo", False)]


@pytest.mark.parametrize(
    ("guard", "events"), [("approval", APPROVED_LATER), ("held-out", UNDONE), ("look", EDITED)],
)  # fmt: skip
def test_what_people_decide_is_kept_and_a_schedule_sees_when_it_is_not(
    databases: Databases, guard: str, events: list[Any]
) -> None:
    assert judge(events, "", databases).bad == []
    assert judge(events, guard, databases).bad != []
