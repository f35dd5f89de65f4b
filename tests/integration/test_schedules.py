"""A few schedules of `make soak` with fixed seeds, and proof that they would see what goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from soak.__main__ import Databases, soak

WRONG = ("lost", "doubled", "stale", "unbalanced")


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[Databases]:
    logging.disable(logging.CRITICAL)
    yield Databases(tmp_path, None)
    logging.disable(logging.NOTSET)


def test_nothing_is_lost_doubled_or_set_back_in_any_schedule(databases: Databases) -> None:
    found = soak(16, 2026, "", databases, postgresql=False)
    assert {name: found.get(name, 0) for name in WRONG} == dict.fromkeys(WRONG, 0)
    assert found["faults"] > 10


def test_a_schedule_sees_what_a_broken_guard_lets_through(databases: Databases) -> None:
    found = soak(6, 2027, "done-by-id", databases, postgresql=False)
    assert sum(found.get(name, 0) for name in WRONG) > 0
