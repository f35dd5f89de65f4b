"""Fixtures for steps against the emulators."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.flows import Intent
from support.world import World


@pytest.fixture
def pipeline(world: World, sqlite_url: str, tmp_path: Path) -> Intent:
    """The intent DAG's steps on SQLite."""
    return Intent(world, sqlite_url, tmp_path)


@pytest.fixture
def pipeline_on_both(world: World, state_url: str, tmp_path: Path) -> Intent:
    """The intent DAG's steps, once on SQLite and once on PostgreSQL."""
    return Intent(world, state_url, tmp_path)
