"""The documents say what is true: requirements have their tests, the compose file is valid, links lead somewhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
REQUIREMENTS = REPOSITORY / "docs" / "requirements.md"
ROW = re.compile(r"^\| ([A-Z]{1,2}-A?\d+) \| (.+) \| (done|partly|not yet) \|$", re.MULTILINE)
TEXTS = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *(REPOSITORY / "docs").rglob("*.md")]


def rows() -> dict[str, str]:
    """State by row id."""
    return {row: state for row, _, state in ROW.findall(REQUIREMENTS.read_text())}


def proven() -> set[str]:
    """The row ids that tests carry in @pytest.mark.requirement."""
    found: set[str] = set()
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "requirement":
                found |= {
                    argument.value
                    for argument in node.args
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                }
    return found


def test_every_row_that_is_not_marked_not_yet_has_a_test() -> None:
    assert {row for row, state in rows().items() if state != "not yet"} - proven() == set()


def test_tests_name_only_rows_that_there_are_and_that_are_begun() -> None:
    assert proven() - {row for row, state in rows().items() if state != "not yet"} == set()


def test_every_line_of_the_table_is_a_row_once() -> None:
    lines = [
        line for line in REQUIREMENTS.read_text().splitlines() if line.startswith("| ") and not line.startswith("| row")
    ]
    assert len(lines) == len(rows()) > 150


@pytest.mark.parametrize("path", TEXTS, ids=[str(path.relative_to(REPOSITORY)) for path in TEXTS])
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_compose_file_is_valid_by_the_specifications_schema() -> None:
    command = [
        str(Path(sys.executable).with_name("check-jsonschema")),
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yaml",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_airflow_service_of_the_compose_file_shares_secrets_and_folders() -> None:
    services = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())["services"]
    parts = {name: service for name, service in services.items() if name != "postgres"}
    assert set(parts) == {"init", "api-server", "scheduler", "dag-processor", "triggerer"}
    for service in parts.values():
        assert {"AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY"} <= set(
            service["environment"]
        )
        assert {volume.split(":")[1].rpartition("/")[2] for volume in service["volumes"]} == {
            "dags",
            "plugins",
            "include",
            "staging",
            "logs",
        }


def test_the_compose_file_installs_the_airflow_that_is_pinned() -> None:
    pinned = re.search(r"^apache-airflow==(\S+)$", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"FROM apache/airflow:{pinned[1]}-" in (REPOSITORY / "docker-compose.yaml").read_text()


@pytest.mark.requirement("PS-13")
def test_what_peerspot_requires_is_documented() -> None:
    text = (REPOSITORY / "docs" / "runbooks" / "peerspot.md").read_text()
    assert "signed-up user of peerspot.com with a company e-mail address" in text


@pytest.mark.requirement("X-03")
def test_the_readme_lists_every_dag() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert [path.stem for path in (REPOSITORY / "dags").glob("*.py") if f"| `{path.stem}` |" not in text] == []
