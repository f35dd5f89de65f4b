"""Where Airflow lives, for code that must not import it."""

from __future__ import annotations

import os
from pathlib import Path


def airflow_home() -> Path:
    """AIRFLOW_HOME, or Airflow's own default of it."""
    return Path(os.environ.get("AIRFLOW_HOME") or Path.home() / "airflow")
