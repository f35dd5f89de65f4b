"""A whole Airflow in a temporary home: its database, the DAG folder, the plugin, Variables by environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.dags import DagRunner
from support.mail import MailSink
from support.world import World


@pytest.fixture(scope="session")
def airflow() -> None:
    """Airflow's database, made once."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def mail() -> Iterator[MailSink]:
    """An SMTP server that keeps what it is sent."""
    sink = MailSink()
    with sink.running():
        yield sink


@pytest.fixture
def dags(airflow: None, world: World, mail: MailSink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DagRunner:
    """Runs the package's DAGs against the emulators, with an alert address set."""
    from salesforce_sync.operators import base

    monkeypatch.setattr(base, "ORG_SECONDS", 0.0)  # tasks run one by one here: nothing runs beside a reading
    runner = DagRunner(monkeypatch, tmp_path)
    runner.set_variable("salesforce_credentials", json.dumps(world.salesforce_credentials))
    for system, credentials in world.vendors.credentials(world.vendors_url).items():
        runner.set_variable(f"{system}_credentials", json.dumps(credentials))
    runner.set_variable("alert_emails", "on-call@example.invalid")
    runner.set_variable("staging_path", str(tmp_path / "staging"))
    monkeypatch.setenv("SALESFORCE_SYNC_STATE_URL", f"sqlite:///{tmp_path / 'state.db'}")
    smtp: dict[str, Any] = {
        "conn_type": "smtp", "host": "127.0.0.1", "port": mail.port,
        "extra": {"from_email": "airflow@example.invalid", "disable_ssl": True, "disable_tls": True, "retry_limit": 1},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(smtp))
    return runner
