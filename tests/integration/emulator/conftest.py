"""Fixtures for the Salesforce emulator's own tests."""

from __future__ import annotations

import pytest

from support.raw import Raw
from support.world import World


@pytest.fixture
def raw(world: World) -> Raw:
    return Raw(world)
