"""SPOTIO's stand-in, as the vendor's own OpenAPI document has it.

The document is not ours to publish: the tests that need it read it where it lies beside the checkout, and skip where it
does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests

from emulators.vendors.spotio import CLIENT_ID, SECRET, Spotio
from emulators.vendors.spotio.workflow import LEAD
from support.openapi import Contract
from support.spotio import DOCUMENT
from support.world import World

COMPANY, FIRST, PHONE, EMAIL, INDUSTRY, EMPLOYEES, PRODUCTS = 1001, 1002, 1004, 1005, 1006, 1007, 1009
Call = Callable[..., requests.Response]


@pytest.fixture
def spotio(world: World) -> Spotio:
    return world.spotio


@pytest.fixture
def call(world: World) -> Iterator[Call]:
    """A call with a token; `json` goes as JSON."""
    root = f"{world.vendors_url}/spotio"
    with requests.Session() as session:
        token = session.post(f"{root}/api/users/apitoken", json={"clientId": CLIENT_ID, "secret": SECRET}).json()
        session.headers["authorization"] = f"Bearer {token['accessToken']}"
        yield lambda method, path, **more: session.request(method, root + path, **more)


def _lead(company: str = "Acme", **fields: str) -> dict[str, Any]:
    values = {COMPANY: company} | {int(name): value for name, value in fields.items()}
    return {"typeId": LEAD, "fields": [{"fieldId": str(number), "value": value} for number, value in values.items()]}


def _create(call: Call, **more: Any) -> dict[str, Any]:
    reply = call("POST", "/api/DataObjects", json={"dataObject": _lead() | more})
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


def _exported(call: Call, **query: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    scroll: str | None = None
    while True:
        page = call(
            "GET", "/api/Exports/dataObjects/data", params=query | ({"scrollId": scroll} if scroll else {})
        ).json()
        items += page["items"]
        scroll = page["scrollId"]
        if scroll is None:
            return items


def test_a_token_is_good_for_thirty_days(world: World, call: Call) -> None:
    assert call("GET", "/api/users").status_code == 200
    world.vendors.clock.shift(timedelta(days=30).total_seconds())
    assert call("GET", "/api/users").status_code == 401


def test_ids_are_numbers_in_an_export_and_texts_in_an_object(call: Call) -> None:
    made = _create(call)
    (item,) = _exported(call)
    assert (made["typeId"], made["stageId"], made["ownerId"], made["fields"][0]["fieldId"]) == ("101", "1", "1", "1001")
    assert (item["typeId"], item["stageId"], item["ownerId"], item["fields"][0]["fieldId"]) == (101, 1, 1, 1001)


def test_two_creates_with_one_external_id_are_two_objects(call: Call) -> None:
    for _ in range(2):
        _create(call, externalDataObjectId="00Q000000000001AAA")
    assert len(_exported(call)) == 2


def test_replacing_the_fields_of_a_patch_empties_those_that_are_not_named(call: Call) -> None:
    made = _create(call, fields=_lead(**{str(PHONE): "030 1234567"})["fields"])
    operations = [{"op": "replace", "path": "/fields", "value": [{"fieldId": str(COMPANY), "value": "Acme"}]}]
    changed = call("PATCH", f"/api/DataObjects/{made['id']}/jsonp", json=operations).json()
    assert [item["fieldId"] for item in changed["fields"]] == [str(COMPANY)]


def test_a_patch_whose_test_fails_changes_nothing(call: Call) -> None:
    made = _create(call)
    operations = [{"op": "test", "path": "/stageId", "value": 2}, {"op": "replace", "path": "/stageId", "value": 3}]
    assert call("PATCH", f"/api/DataObjects/{made['id']}/jsonp", json=operations).status_code == 400
    assert call("GET", f"/api/DataObjects/{made['id']}").json()["stageId"] == "1"


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        (PHONE, "555-123-4567", "(555) 123-4567"),
        (PHONE, "+31 30 1234567", "+31 30 1234567"),
        (EMAIL, "Jo@Example.INVALID", "jo@example.invalid"),
        (EMPLOYEES, "12.0", "12"),
        (FIRST, " Jo ", "Jo"),
    ],
)
def test_some_values_are_kept_in_another_form(call: Call, field: int, value: str, kept: str) -> None:
    made = _create(call, fields=_lead(**{str(field): value})["fields"])
    assert {item["fieldId"]: item["value"] for item in made["fields"]}[str(field)] == kept


@pytest.mark.parametrize(
    ("field", "value"), [(EMAIL, "nobody"), (INDUSTRY, "Alchemy"), (EMPLOYEES, "many"), (999, "x")]
)
def test_what_a_field_does_not_take_is_refused_by_its_id(call: Call, field: int, value: str) -> None:
    reply = call("POST", "/api/DataObjects", json={"dataObject": _lead(**{str(field): value})})
    assert (reply.status_code, list(reply.json()["errors"])) == (400, [str(field)])


def test_what_is_required_can_be_left_out_only_when_it_is_not_checked(call: Call) -> None:
    made = _create(call)
    operations = [{"op": "replace", "path": "/fields", "value": []}]
    place = f"/api/DataObjects/{made['id']}/jsonp"
    assert call("PATCH", place, json=operations).status_code == 400
    assert call("PATCH", place, json=operations, params={"validateRequiredFields": "false"}).status_code == 200


def test_an_export_is_what_it_was_when_it_began(spotio: Spotio, call: Call) -> None:
    for number in range(501):
        spotio.state.create(_lead(f"Company {number}"))
    first = call("GET", "/api/Exports/dataObjects/data").json()
    last = next(reversed(spotio.state.objects))
    spotio.state.change(last, {"stageId": 2})
    second = call("GET", "/api/Exports/dataObjects/data", params={"scrollId": first["scrollId"]}).json()
    assert ([item["stageId"] for item in second["items"]], second["scrollId"]) == ([1], None)


def test_what_was_deleted_permanently_is_in_no_list(call: Call) -> None:
    for permanently in (False, True):
        made = _create(call)
        reply = call("DELETE", f"/api/DataObjects/{made['id']}", json={"mode": "Delete", "permanently": permanently})
        assert reply.status_code == 200
    assert len(call("GET", "/api/DataObjects/deleted").json()["deletedDataObjects"]) == 1


def test_children_go_with_their_parent_or_to_another(call: Call) -> None:
    family = {"dataObject": {"parent": _lead("Parent"), "children": [_lead("Child")]}}
    for mode, left in (("Delete", 0), ("DeleteAndReassign", 1)):
        made = call("POST", "/api/DataObjects/withChildren", json=family).json()
        call("DELETE", f"/api/DataObjects/{made['parent']['id']}", json={"mode": mode})
        assert len(_exported(call)) == left


def test_children_that_are_refused_leave_no_parent(call: Call) -> None:
    family = {"dataObject": {"parent": _lead("Parent"), "children": [_lead("Child", **{str(EMAIL): "nobody"})]}}
    assert call("POST", "/api/DataObjects/withChildren", json=family).status_code == 400
    assert _exported(call) == []


def test_a_job_may_be_complete_and_have_failed_records(call: Call) -> None:
    job = call("POST", "/api/jobs/dataObjects/bulk", json={"operation": "create", "dataObjectTypeId": LEAD}).json()
    place = f"/api/jobs/dataObjects/bulk/{job['id']}"
    lines = "\n".join(json.dumps(item) for item in (_lead("Acme"), _lead("", **{str(EMAIL): "nobody"})))
    assert call("POST", f"{place}/start").status_code == 400  # without a file
    call("PUT", f"{place}/data", data=lines.encode(), headers={"content-type": "application/x-ndjson"})
    call("POST", f"{place}/start")
    assert call("GET", f"{place}/progress").json()["state"] == "JobComplete"
    good = [json.loads(line) for line in call("GET", f"{place}/results/succeeded").text.splitlines()]
    bad = [json.loads(line) for line in call("GET", f"{place}/results/failed").text.splitlines()]
    assert [set(item) for item in (*good, *bad)] == [{"FileId", "DataObjectId", "Data"}, {"FileId", "Error", "Data"}]


def test_a_job_that_patches_leaves_other_fields_alone_and_one_that_updates_does_not(call: Call) -> None:
    made = _create(call, fields=_lead(**{str(PHONE): "030 1234567"})["fields"])
    for operation, count in (("patch", 2), ("update", 1)):
        job = call("POST", "/api/jobs/dataObjects/bulk", json={"operation": operation, "dataObjectTypeId": LEAD}).json()
        place = f"/api/jobs/dataObjects/bulk/{job['id']}"
        record = {"id": made["id"], "typeId": LEAD, "fields": [{"fieldId": str(COMPANY), "value": "Other"}]}
        call("PUT", f"{place}/data", data=json.dumps(record), headers={"content-type": "application/octet-stream"})
        call("POST", f"{place}/start")
        call("GET", f"{place}/progress")
        assert len(call("GET", f"/api/DataObjects/{made['id']}").json()["fields"]) == count


def test_the_feed_has_the_systems_own_events_and_nothing_that_is_still_open(spotio: Spotio, call: Call) -> None:
    made = _create(call)
    spotio.state.change(made["id"], {"stageId": 2})
    spotio.state.add_activity(made["id"], title="Visit")
    spotio.state.plan_activity(made["id"], date="2027-01-04T10:00:00+00:00", title="Later")
    found = call("GET", "/api/v2/activities/feed").json()["items"]
    assert sorted(item["type"] for item in found) == ["Create", "Event", "Transition"]


def test_a_filter_by_change_finds_what_was_dated_back(world: World, spotio: Spotio, call: Call) -> None:
    made = _create(call)
    # A start is within its span, and SPOTIO's stamps are whole milliseconds: the record's own event is a second older.
    world.vendors.clock.shift(1)
    begin = spotio.state.now()
    spotio.state.add_activity(made["id"], title="Last year", date="2025-11-01T10:00:00+00:00")
    spans = {"StartDate": begin}
    assert "Last year" not in [
        item["title"] for item in call("GET", "/api/v2/activities/feed", params=spans).json()["items"]
    ]
    saved = call("POST", "/api/v2/filters", json={"dateField": "ActivityUpdatedAt", "startDate": begin}).json()
    found = call("GET", "/api/v2/activities/feed", params={"FilterId": saved["id"]}).json()["items"]
    assert [item["title"] for item in found] == ["Last year"]


def test_an_appointment_of_a_series_has_a_ghost(spotio: Spotio, call: Call) -> None:
    made = _create(call)
    entry = spotio.state.plan_activity(made["id"], date="2027-01-04T10:00:00+00:00", series=5173, title="Weekly")
    real, ghost = call("GET", f"/api/DataObjects/{made['id']}/appointments/upcoming").json()["items"]
    assert (real["activityId"], ghost["activityId"], ghost["id"].rsplit("-", 1)[0]) == (
        str(entry["activityId"]), None, "0-5173",
    )  # fmt: skip
    assert _exported(call)[0]["nextActivityTime"] == "2027-01-04T10:00:00+00:00"
    spotio.state.finish(entry["id"])
    assert call("GET", f"/api/v2/appointments/{entry['id']}").json()["done"] is True
    assert _exported(call)[0]["nextActivityTime"] is None


def test_a_webhook_is_signed_and_comes_twice(spotio: Spotio, call: Call) -> None:
    order = {"callback": "https://example.invalid/hook", "scopes": ["lead.added"]}
    call("POST", "/api/Webhooks", json=order)
    _create(call)
    first, second = spotio.webhooks.waiting
    assert first == second
    assert first[1]["x-signature"]


def test_the_emulator_keeps_to_the_vendors_document(spotio: Spotio, call: Call) -> None:
    """All operations once; the traffic of all other tests is judged at the end of the session, by conftest.py."""
    if not DOCUMENT.exists():
        pytest.skip("the vendor's document is not beside the checkout")
    spotio.traffic, before = [], spotio.traffic
    made = _create(call)
    spotio.state.plan_activity(made["id"], date="2027-01-04T10:00:00+00:00", series=5173, title="Weekly")
    visit = spotio.state.add_activity(made["id"], title="Visit")
    for path in (
        "/api/workflow/dataObjects/full", "/api/workflow/dataobjects/101/fields", "/api/workflow/dataObjects/101/stages",
        "/api/workflow/activityTemplates", "/api/workflow/dataobjects/fields/1001/integrations", "/api/users",
        "/api/v2/users/list?pageSize=2", "/api/DataObjectsSearch?perPage=1&includeCustomFieldIds=*",
        f"/api/DataObjects/many?dataObjectsIds={made['id']}", f"/api/DataObjects/{made['id']}/duplicatesByAddress",
        f"/api/DataObjects/{made['id']}/activities/historical", f"/api/DataObjects/{made['id']}/appointments/upcoming",
        f"/api/v2/activities/{visit['id']}", "/api/Exports/dataObjects/data", "/api/v2/activities/feed",
        "/api/Webhooks", "/api/Webhooks/scopes", "/api/jobs/dataObjects/bulk/inprogress",
    ):  # fmt: skip
        assert call("GET", path).status_code == 200, path
    call("POST", "/api/Exports/activities/data/flexible", json={})
    for appointment in spotio.state.appointments.values():
        call("GET", f"/api/v2/appointments/{appointment['id']}")
        call("GET", f"/api/v2/appointments/byActivity/{appointment['activityId']}")
    call("DELETE", f"/api/DataObjects/{made['id']}", json={"mode": "Delete"})
    call("GET", "/api/DataObjects/deleted")
    contract = Contract.read(DOCUMENT)
    problems = [problem for entry in spotio.traffic for problem in contract.problems(entry)]
    if before is not None:
        before += spotio.traffic
    spotio.traffic = before
    assert problems == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"answer": b'{"scrollId": 5, "items": []}'}, "scrollId"),
        ({"answer": b'{"scrollId": null, "items": [{"typeId": "101"}]}'}, "typeId"),
        ({"query": {"changedAfter": ["x"]}}, "changedAfter"),
        ({"query": {"updatedAfter": ["yesterday"]}}, "updatedAfter"),
        ({"status": 429}, "429"),
        ({"operation": "GET /api/Exports/everything"}, "no operation"),
    ],
)
def test_a_call_that_is_not_in_the_document_is_found(changes: dict[str, Any], told: str) -> None:
    if not DOCUMENT.exists():
        pytest.skip("the vendor's document is not beside the checkout")
    good = {
        "operation": "GET /api/Exports/dataObjects/data", "query": {}, "body": b"", "content_type": "", "status": 200,
        "answer": b'{"scrollId": null, "items": []}',
    }  # fmt: skip
    contract = Contract.read(DOCUMENT)
    assert list(contract.problems(good)) == []
    assert told in " ".join(contract.problems(good | changes))
