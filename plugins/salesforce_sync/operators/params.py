"""Run parameters that every DAG of the package has."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param


def dry_run() -> dict[str, Any]:
    """The parameter `dry_run`."""
    return {
        "dry_run": Param(
            False, type="boolean", title="Dry run",
            description="Make the plans, log what they would do, and write nothing. See docs/plans.md.",
        )
    }  # fmt: skip
