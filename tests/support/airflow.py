"""Airflow in tests: Variables without a database, and a home with a database for whole DAGs."""

from __future__ import annotations

from typing import Any

import pytest


def variables(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Makes these the only Variables that there are; there are no Connections."""
    from airflow.exceptions import AirflowNotFoundException
    from airflow.sdk import BaseHook, Variable

    def get(key: str, default: Any = None, deserialize_json: bool = False) -> Any:
        return values.get(key, default)

    def no_connection(conn_id: str) -> Any:
        raise AirflowNotFoundException(f"no Connection {conn_id}")

    monkeypatch.setattr(Variable, "get", get)
    monkeypatch.setattr(BaseHook, "get_connection", no_connection)
