"""Brakes: what a run may do without anybody having looked at it."""

from __future__ import annotations

import pytest

from salesforce_sync.engine.brakes import FLOOR, check_deletions
from salesforce_sync.errors import HeldBack


def _check(doomed: int, total: int, percent: int = 10) -> None:
    check_deletions(
        "Things",
        doomed=doomed,
        total=total,
        percent=percent,
        samples=["a", "b", "c", "d"],
        setting="brake",
        cause="the rule",
    )


@pytest.mark.parametrize(
    ("doomed", "total", "percent"),
    [(0, 0, 10), (FLOOR, FLOOR, 10), (10_000, 100_000, 10), (100, 100, 100), (21, 1_000, 3)],
)
def test_few_deletions_pass(doomed: int, total: int, percent: int) -> None:
    _check(doomed, total, percent)


@pytest.mark.parametrize(("doomed", "total", "percent"), [(FLOOR + 1, 100, 10), (10_001, 100_000, 10), (21, 1_000, 0)])
def test_many_deletions_are_held_back(doomed: int, total: int, percent: int) -> None:
    with pytest.raises(HeldBack, match="would be deleted"):
        _check(doomed, total, percent)


def test_the_message_says_how_many_which_and_how_to_let_them_pass() -> None:
    with pytest.raises(HeldBack) as raised:
        _check(5_399, 5_399)
    assert str(raised.value) == (
        "Things: 5,399 of 5,399 records would be deleted, 100 %; up to 10 % are, unasked. Nothing was deleted. Among them: a, b, c. "
        "Fix: Check the rule. To delete them, set the Variable brake to 100, clear this task, and set it back."
    )
