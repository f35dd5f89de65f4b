"""The import contracts can fail: each is shown a package that breaks it. The shared rooms name no vendor."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "plugins" / "salesforce_sync"
CONTRACTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
BREAKS = {
    "Layers": ("salesforce_sync/records.py", "import salesforce_sync.salesforce.client"),
    "The pure core knows no Airflow, database or network": ("salesforce_sync/windows.py", "import sqlalchemy"),
    "The client knows no mapping and no database": (
        "salesforce_sync/salesforce/rows.py",
        "import salesforce_sync.mapping.model",
    ),
    "The client, the state and the engine know no Airflow": ("salesforce_sync/staging.py", "import airflow"),
    "The emulators know nothing of the package": ("emulators/control.py", "import salesforce_sync.errors"),
}


@pytest.mark.parametrize("contract", [contract["name"] for contract in CONTRACTS])
def test_a_contract_fails_when_it_is_broken(contract: str, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(
        REPOSITORY / "plugins" / "salesforce_sync",
        tmp_path / "salesforce_sync",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copytree(
        REPOSITORY / "include" / "emulators", tmp_path / "emulators", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    name, line = BREAKS[contract]
    path = tmp_path / name
    path.write_text(path.read_text() + f"\n{line}\n")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{contract} BROKEN" in done.stdout


@pytest.mark.parametrize("room", ["engine", "state", "mapping", "salesforce", "matching", "operators"])
def test_a_shared_room_runs_no_code_that_names_a_vendor(room: str) -> None:
    """Migrations may: they carry over what an earlier version wrote. Docstrings and comments may give an example."""
    vendors = [path.name for path in (PACKAGE / "systems").iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert vendors
    for path in (PACKAGE / room).rglob("*.py"):
        if "migrations" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ) and ast.get_docstring(node):
                node.body = node.body[1:] or [ast.Pass()]
        # TwoWay names none, and ReadWow would.
        code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", ast.unparse(tree)).lower()
        assert not [
            vendor for vendor in vendors if re.search(rf"(?<![a-z]){vendor}", code.replace("peer_spot", "peerspot"))
        ], path
