"""The sync of records in the shadow of another connector, whose part the same sync plays here in earnest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from emulators.vendors.spotio.workflow import LEAD
from salesforce_sync.engine.two_way import shadow as rules
from salesforce_sync.engine.two_way.sides import Rules
from salesforce_sync.mapping.loader import SHADOW
from salesforce_sync.state import shadow
from support.flows import LEADS, BothWays
from support.world import World

pytestmark = pytest.mark.airflow
COMPANY, LAST_NAME, TITLE = 1001, 1003, 1012


@pytest.fixture
def connector(both_ways: BothWays) -> BothWays:
    """What the company has at present."""
    return both_ways


@pytest.fixture
def beside(both_ways: BothWays) -> BothWays:
    return replace(both_ways, flow=f"{LEADS}{SHADOW}", rules=Rules(first="all", shadow=True))


@pytest.fixture
def linked(connector: BothWays, beside: BothWays, world: World) -> tuple[str, str]:
    """A Lead and its record in SPOTIO, which both syncs know."""
    (lead_id,) = world.insert("Lead", {"Company": "Acme", "LastName": "Smit", "Title": "Buyer"})
    connector()
    beside()
    (known,) = world.spotio.state.objects.values()
    return lead_id, known["id"]


def outcomes(flow: BothWays, world: World) -> dict[tuple[str, bool], tuple[str, int]]:
    with flow.state.connect() as connection:
        found = shadow.tallies(connection, world.client().org_id, flow.flow)
    return {(item.field, item.at_vendor): (item.outcome, item.records) for item in found}


def edit(world: World, spotio_id: str, field: int, value: str) -> None:
    fields = [{"fieldId": str(field), "value": value}]
    world.spotio.state.change(spotio_id, {"fields": fields}, by=12)


def writes(world: World) -> int:
    changing = [name for name in world.spotio.calls if not name.startswith("GET") and "apitoken" not in name]
    return sum(world.spotio.calls[name] for name in changing)


def test_it_writes_nothing_and_sees_that_the_other_does_the_same(
    connector: BothWays, beside: BothWays, linked: tuple[str, str], world: World
) -> None:
    lead_id, spotio_id = linked
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    edit(world, spotio_id, COMPANY, "Acme N.V.")
    stamps, calls = world.query("SELECT SystemModstamp FROM Lead"), writes(world)
    counts = beside()
    assert (counts.updated, counts.created, counts.rejected) == (0, 0, 0)
    assert (world.query("SELECT SystemModstamp FROM Lead"), writes(world)) == (stamps, calls)
    assert beside.history(lead_id)[0] == ("skipped", "SHADOW")
    assert outcomes(beside, world) == {}
    connector()
    beside()
    assert outcomes(beside, world) == {("Title", True): ("same", 1), ("Company", False): ("same", 1)}


def test_it_says_where_the_other_writes_something_else(beside: BothWays, linked: tuple[str, str], world: World) -> None:
    lead_id, spotio_id = linked
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    beside()
    edit(world, spotio_id, TITLE, "C.F.O. of Acme")
    beside()
    assert outcomes(beside, world) == {("Title", True): ("other", 1)}


def test_it_says_where_the_other_goes_the_opposite_way(beside: BothWays, linked: tuple[str, str], world: World) -> None:
    lead_id, _ = linked
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    beside()
    world.update("Lead", {"Id": lead_id, "Title": "Buyer"})
    beside()
    assert outcomes(beside, world) == {("Title", True): ("opposite", 1)}


def test_it_says_what_the_other_does_not_do(
    beside: BothWays, linked: tuple[str, str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_id, _ = linked
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    beside()
    beside()
    assert outcomes(beside, world) == {}  # it has a day
    with monkeypatch.context() as patched:
        patched.setattr(rules, "PATIENCE", timedelta(0))
        beside()
    assert outcomes(beside, world) == {("Title", True): ("not done", 1)}


def test_what_is_edited_again_is_another_plan(
    connector: BothWays, beside: BothWays, linked: tuple[str, str], world: World
) -> None:
    lead_id, _ = linked
    for title in ("CFO", "CEO"):
        world.update("Lead", {"Id": lead_id, "Title": title})
        beside()
    connector()
    beside()
    assert outcomes(beside, world) == {("Title", True): ("same", 1)}


@pytest.mark.parametrize("at_vendor", [True, False])
def test_a_record_that_the_other_creates_is_found(
    connector: BothWays, beside: BothWays, world: World, *, at_vendor: bool
) -> None:
    if at_vendor:
        world.insert("Lead", {"Company": "Acme", "LastName": "Smit"})
    else:
        body = [{"fieldId": str(COMPANY), "value": "Acme"}, {"fieldId": str(LAST_NAME), "value": "Smit"}]
        world.spotio.state.create({"typeId": LEAD, "fields": body})
    beside()
    assert (world.count("Lead"), len(world.spotio.state.objects)) == ((1, 0) if at_vendor else (0, 1))
    connector()
    beside()
    beside()
    assert outcomes(beside, world) == {("", at_vendor): ("same", 1)}
    assert (world.count("Lead"), len(world.spotio.state.objects)) == (1, 1)


def test_its_pairs_are_its_own(connector: BothWays, beside: BothWays, linked: tuple[str, str], world: World) -> None:
    lead_id, spotio_id = linked
    world.update("Lead", {"Id": lead_id, "Title": "CFO"})
    beside()
    assert connector().updated == 1  # what the shadow read and planned is not done for the other
    assert world.spotio.state.objects[spotio_id]["fields"][TITLE] == "CFO"


def test_what_it_keeps_has_no_values(beside: BothWays, linked: tuple[str, str], world: World) -> None:
    lead_id, _ = linked
    world.update("Lead", {"Id": lead_id, "Title": "Secret"})
    beside()
    with beside.state.connect() as connection:
        found: list[Any] = shadow.planned(connection, world.client().org_id, beside.flow)
    assert len(found) == 1
    assert "Secret" not in repr(found)


def test_a_creation_whose_source_goes_is_held_against_nobody(
    beside: BothWays, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lead_id,) = world.insert("Lead", {"Company": "Acme", "LastName": "Smit"})
    beside()
    world.delete("Lead", lead_id)
    with monkeypatch.context() as patched:
        patched.setattr(rules, "PATIENCE", timedelta(0))
        beside()
    assert outcomes(beside, world) == {}


def test_one_record_is_counted_once_however_often_it_is_planned(
    beside: BothWays, linked: tuple[str, str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_id, _ = linked
    for title in ("CFO", "CEO"):
        world.update("Lead", {"Id": lead_id, "Title": title})
        beside()
        with monkeypatch.context() as patched:
            patched.setattr(rules, "PATIENCE", timedelta(0))
            beside()
    assert outcomes(beside, world) == {("Title", True): ("not done", 1)}
