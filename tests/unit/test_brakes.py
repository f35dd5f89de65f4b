"""Brakes: what a run may do without anybody having looked at it. What they hold is in
tests/integration/test_held_plans.py."""

from __future__ import annotations

import pytest

from salesforce_sync.engine.brakes import FLOOR, deletion_brake
from salesforce_sync.records import Reason


def _check(doomed: int, total: int, percent: int = 10) -> list[Reason]:
    return list(deletion_brake("clean", "Things before 2026-01-01", doomed=doomed, total=total, percent=percent))


@pytest.mark.parametrize(
    ("doomed", "total", "percent"),
    [(0, 0, 10), (FLOOR, FLOOR, 10), (10_000, 100_000, 10), (100, 100, 100), (21, 1_000, 3)],
)
def test_few_deletions_pass(doomed: int, total: int, percent: int) -> None:
    assert _check(doomed, total, percent) == []


@pytest.mark.parametrize(("doomed", "total", "percent"), [(FLOOR + 1, 100, 10), (10_001, 100_000, 10), (21, 1_000, 0)])
def test_many_deletions_are_held_back(doomed: int, total: int, percent: int) -> None:
    assert len(_check(doomed, total, percent)) == 1


def test_the_question_says_how_many_of_what() -> None:
    (reason,) = _check(5_399, 5_399)
    assert (reason.affected, reason.total) == (5_399, 5_399)
    assert reason.text == (
        "5,399 of 5,399 records would be deleted, 100 %, of Things before 2026-01-01; up to 10 % are, unasked"
    )
