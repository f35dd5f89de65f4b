"""Shared fixtures. Nothing here imports Airflow; what does lives in tests/system and in integration tests marked `airflow`.

Airflow reads its environment when it is first imported, so the environment is made clean here, before any test module is.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

for name in [name for name in os.environ if name.startswith(("AIRFLOW", "SALESFORCE_SYNC"))]:
    del os.environ[name]
AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="salesforce-sync-tests-"))
REPOSITORY = Path(__file__).parents[1]
os.environ |= {
    "AIRFLOW_HOME": str(AIRFLOW_HOME),
    "AIRFLOW__API__BASE_URL": "http://127.0.0.1:8080",
    "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{AIRFLOW_HOME / 'airflow.db'}",
}

from support.databases import open_folder, postgres_server  # noqa: E402
from support.spotio import DOCUMENT, judge  # noqa: E402
from support.world import World  # noqa: E402 - after the environment is clean


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World.start(tmp_path_factory.mktemp("emulators")) as world:
        world.spotio.traffic = [] if DOCUMENT.exists() else None
        yield world
        if world.spotio.traffic:
            judge(world.spotio)


@pytest.fixture
def world(_world: World) -> World:
    """The emulators, empty: an org without records and a PeerSpot without activities."""
    _world.reset()
    return _world


@pytest.fixture(scope="session")
def _postgres() -> Iterator[str]:
    with open_folder("postgres-") as folder, postgres_server(folder) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'state.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def state_url(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[str]:
    """A new, empty state database on each of the two kinds of server; its connections are closed at the end."""
    url = sqlite_url
    if request.param == "postgresql":
        from support.databases import new_database

        url = new_database(request.getfixturevalue("_postgres"))
    yield url
    from salesforce_sync.state.engine import open_state

    open_state(url).dispose()
