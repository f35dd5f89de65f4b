"""Fixtures for steps against the emulators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from salesforce_sync.state.engine import open_state
from support.flows import BothWays, FieldActivities, Intent, Metrics, Poll
from support.world import World


@pytest.fixture
def pipeline(world: World, sqlite_url: str, tmp_path: Path) -> Intent:
    """The intent DAG's steps on SQLite."""
    return Intent(world, sqlite_url, tmp_path)


@pytest.fixture
def pipeline_on_both(world: World, state_url: str, tmp_path: Path) -> Intent:
    """The intent DAG's steps, once on SQLite and once on PostgreSQL."""
    return Intent(world, state_url, tmp_path)


@pytest.fixture
def deployteq_hook(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Deployteq's hook with the emulator's credentials, which waits for nothing."""
    from salesforce_sync.systems import vendor
    from salesforce_sync.systems.deployteq.hook import DeployteqHook
    from support.airflow import variables

    monkeypatch.setattr(vendor.time, "sleep", lambda _: None)
    monkeypatch.setattr(DeployteqHook, "requests_per_second", 10_000.0)
    variables(monkeypatch, deployteq_credentials=json.dumps(world.deployteq_credentials))
    return DeployteqHook()


@pytest.fixture
def poll(world: World, state_url: str, tmp_path: Path, deployteq_hook: Any) -> Poll:
    """The contact poll's steps, once on SQLite and once on PostgreSQL."""
    return Poll(world, open_state(state_url), tmp_path / "staging", deployteq_hook)


@pytest.fixture
def preact_hook(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes Preact's hooks, with the emulator's credentials, which wait for nothing."""
    from salesforce_sync.systems import vendor
    from salesforce_sync.systems.preact.hook import PreactHook
    from support.airflow import variables

    monkeypatch.setattr(vendor.time, "sleep", lambda _: None)
    monkeypatch.setattr(vendor.VendorHook, "_pace", lambda _: None)
    variables(monkeypatch, preact_credentials=json.dumps(world.preact_credentials))
    return PreactHook


@pytest.fixture
def metrics(world: World, state_url: str, tmp_path: Path, preact_hook: Any) -> Metrics:
    """The push of account metrics out of Preact, once on SQLite and once on PostgreSQL."""
    return Metrics(world, open_state(state_url), tmp_path / "staging", preact_hook())


@pytest.fixture
def spotio_hook(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes SPOTIO's hooks, with the emulator's credentials, which wait for nothing."""
    from salesforce_sync.systems import vendor
    from salesforce_sync.systems.spotio import hook
    from support.airflow import variables

    monkeypatch.setattr(vendor.time, "sleep", lambda _: None)
    monkeypatch.setattr(hook, "FIRST_LOOK_SECONDS", 0.0)
    credentials = world.spotio_credentials | {"requests_per_second": 100.0}
    variables(monkeypatch, spotio_credentials=json.dumps(credentials))
    monkeypatch.setattr(hook.SpotioHook, "_pace", lambda _: None)
    return hook.SpotioHook


@pytest.fixture
def both_ways(world: World, state_url: str, tmp_path: Path, spotio_hook: Any) -> BothWays:
    """The sync of records with SPOTIO, once on SQLite and once on PostgreSQL."""
    return BothWays(world, open_state(state_url), tmp_path / "staging", spotio_hook)


@pytest.fixture
def activities(both_ways: BothWays) -> FieldActivities:
    """The sync of activities, beside that of records."""
    return FieldActivities(both_ways)
