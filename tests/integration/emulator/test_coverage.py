"""The emulator's README says what is built: its tables and the routes agree, and what it calls not built is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulators.salesforce import app
from emulators.salesforce.routes import bulk1
from emulators.salesforce.soap import metadata as soap_metadata
from support.raw import Raw

README = (Path(app.__file__).parent / "README.md").read_text()
ROOT = "/services/data/v{version}"
OUTSIDE_THE_ROUTER = {
    "/services/oauth2/token", "/services/oauth2/revoke", "/services/oauth2/introspect", "/services/oauth2/userinfo", "/id/{org}/{user}",
    "/services/Soap/u/{version}", "/services/Soap/c/{version}", "/services/Soap/m/{version}",
}  # fmt: skip


def _listed() -> set[str]:
    """The paths of the table of resources, whole."""
    rows = re.findall(r"^\| (`/.+?`) \| (?:full|partly) \|", README, re.MULTILINE)
    paths = {path for row in rows for path in re.findall(r"`([^`]+)`", row)}
    return {path if path.startswith(("/services", "/id")) else f"{ROOT}{path}".rstrip("/") for path in paths}


def test_every_route_is_listed_and_every_listed_resource_has_a_route() -> None:
    assert _listed() == {route.template for route in (*app.DATA_ROUTES, *bulk1.ROUTES)} | OUTSIDE_THE_ROUTER


@pytest.mark.parametrize(
    "path", re.findall(r"`(/[^`]+)`", README.partition("Not built, and answered")[2].partition("## What")[0])
)
def test_what_is_not_built_answers_as_an_unknown_resource(raw: Raw, path: str) -> None:
    status, errors = raw("GET", path)
    assert (status, errors[0]["errorCode"]) == (404, "NOT_FOUND")


def test_the_metadata_operations_are_those_that_the_readme_names() -> None:
    row = next(line for line in README.splitlines() if "/services/Soap/m/" in line)
    short = {name.removesuffix("Metadata") for name in soap_metadata.OPERATIONS}
    assert all(name in row for name in short)
