"""docs/adding-an-integration.md works: the package, with exactly the guide's files and its one line, runs the guide's own tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.dags import REPOSITORY

pytestmark = [pytest.mark.airflow, pytest.mark.system]
GUIDE = (REPOSITORY / "docs" / "adding-an-integration.md").read_text()
FILE = re.compile(r"^`([^`\n]+)`\n\n```(?:python|yaml|xml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^In `([^`]+)`.*?^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _with_the_line(text: str, difference: str) -> str:
    """The text after the guide's one line was added."""
    before = "".join(line[1:] for line in difference.splitlines(keepends=True) if not line.startswith("+"))
    after = "".join(line[1:] for line in difference.splitlines(keepends=True))
    assert text.count(before) == 1
    assert sum(line.startswith("+") for line in difference.splitlines()) == 1
    assert not any(line.startswith("-") for line in difference.splitlines())
    return text.replace(before, after)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository with the guide's system."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for folder in ("dags", "plugins", "include", "tests/support"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=unwanted)
    for name in ("pyproject.toml", "tests/conftest.py", "tests/system/conftest.py", "tests/system/test_dag_policy.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    files = FILE.findall(GUIDE)
    assert len(files) > 10
    for name, text in files:
        path = tmp_path / name
        assert not path.exists(), f"the guide would overwrite {name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    ((name, difference),) = LINE.findall(GUIDE)
    path = tmp_path / name
    path.write_text(_with_the_line(path.read_text(), difference))
    return tmp_path


def _run(copy: Path, *command: str) -> str:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "SALESFORCE_SYNC"))
    }
    done = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        cwd=copy,
        env=environment | {"PYTHONPATH": "include:plugins"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_guides_system_runs_and_keeps_the_houses_rules(copy: Path) -> None:
    names = [name for name, _ in FILE.findall(GUIDE) if name.endswith(".py")]
    _run(copy, "ruff", "check", *names)
    _run(copy, "ruff", "format", "--check", *names)
    _run(copy, "lint-imports", "--no-cache")
    tests = ["tests/system/test_helpdesk.py", "tests/system/test_dag_policy.py"]
    options = ["-p", "no:cacheprovider", "-rA", "-k", "helpdesk"]
    said = _run(copy, "python", "-m", "pytest", *options, *tests)
    assert "5 passed" in said, said  # the guide's three, and the policy of its two DAGs
