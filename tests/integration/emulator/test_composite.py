"""Several requests in one: composite with references, graph, batch and tree."""

from __future__ import annotations

from typing import Any

import pytest

from support.raw import Raw
from support.world import World

V = "/services/data/v66.0"


def _create(reference: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"method": "POST", "url": f"{V}/sobjects/{name}", "referenceId": reference, "body": body}


def test_a_part_may_use_what_an_earlier_part_answered(raw: Raw) -> None:
    parts = [
        _create("acme", "Account", {"Name": "Acme"}),
        _create("jan", "Contact", {"LastName": "Jan", "AccountId": "@{acme.id}"}),
        {
            "method": "GET",
            "url": f"{V}/query?q=SELECT+Account.Name+FROM+Contact+WHERE+Id='@{{jan.id}}'",
            "referenceId": "found",
        },
        {"method": "GET", "url": f"{V}/sobjects/Contact/@{{found.records[0].attributes.type}}", "referenceId": "odd"},
    ]
    answers = raw("POST", "/composite", {"compositeRequest": parts})[1]["compositeResponse"]
    assert [(answer["referenceId"], answer["httpStatusCode"]) for answer in answers] == [
        ("acme", 201),
        ("jan", 201),
        ("found", 200),
        ("odd", 404),
    ]
    assert answers[2]["body"]["records"][0]["Account"]["Name"] == "Acme"
    assert answers[0]["httpHeaders"] == {"Location": f"{V}/sobjects/Account/{answers[0]['body']['id']}"}


def test_a_part_that_refers_to_a_failed_one_is_halted(raw: Raw, world: World) -> None:
    parts = [_create("acme", "Account", {}), _create("jan", "Contact", {"LastName": "Jan", "AccountId": "@{acme.id}"})]
    answers = raw("POST", "/composite", {"compositeRequest": parts})[1]["compositeResponse"]
    assert answers[0]["body"][0]["errorCode"] == "REQUIRED_FIELD_MISSING"
    assert (answers[1]["httpStatusCode"], answers[1]["body"][0]["errorCode"]) == (400, "PROCESSING_HALTED")
    assert world.count("Contact") == 0


def test_all_or_none_undoes_the_parts_before_the_failed_one(raw: Raw, world: World) -> None:
    parts = [
        _create("one", "Account", {"Name": "One"}),
        _create("two", "Account", {}),
        _create("three", "Account", {"Name": "Three"}),
    ]
    status, body = raw("POST", "/composite", {"allOrNone": True, "compositeRequest": parts})
    codes = [answer["body"][0]["errorCode"] for answer in body["compositeResponse"]]
    assert (status, codes) == (200, ["PROCESSING_HALTED", "REQUIRED_FIELD_MISSING", "PROCESSING_HALTED"])
    assert world.count("Account") == 0


def test_each_graph_stands_alone(raw: Raw, world: World) -> None:
    good = [_create("a", "Account", {"Name": "A"}), _create("c", "Contact", {"LastName": "C", "AccountId": "@{a.id}"})]
    bad = [_create("a", "Account", {"Name": "B"}), _create("c", "Contact", {})]
    graphs = [{"graphId": "good", "compositeRequest": good}, {"graphId": "bad", "compositeRequest": bad}]
    answered = raw("POST", "/composite/graph", {"graphs": graphs})[1]["graphs"]
    assert [(item["graphId"], item["isSuccessful"]) for item in answered] == [("good", True), ("bad", False)]
    assert world.query("SELECT Name, (SELECT LastName FROM Contacts) FROM Account")[0]["Name"] == "A"
    assert (world.count("Account"), world.count("Contact")) == (1, 1)


def test_after_fifteen_failed_graphs_the_rest_is_not_done(raw: Raw, world: World) -> None:
    bad = [{"method": "POST", "url": f"{V}/sobjects/Account", "referenceId": "one", "body": {}}]
    good = [bad[0] | {"body": {"Name": "Acme"}}]
    graphs = [{"graphId": str(number), "compositeRequest": bad if number < 16 else good} for number in range(20)]
    answered = raw("POST", "/composite/graph", {"graphs": graphs})[1]["graphs"]
    codes = [item["graphResponse"]["compositeResponse"][0]["body"][0]["errorCode"] for item in answered]
    assert codes == ["REQUIRED_FIELD_MISSING"] * 15 + ["PROCESSING_HALTED"] * 5
    assert world.count("Account") == 0


def test_a_graph_takes_records_only(raw: Raw) -> None:
    query = [{"method": "GET", "url": f"{V}/query?q=SELECT+Id+FROM+Account", "referenceId": "one"}]
    assert raw("POST", "/composite/graph", {"graphs": [{"graphId": "1", "compositeRequest": query}]})[0] == 400


def test_a_tree_is_made_whole_or_not_at_all(raw: Raw, world: World) -> None:
    def tree(last_name: str | None) -> dict[str, Any]:
        child = {"attributes": {"type": "Contact", "referenceId": "child"}} | (
            {"LastName": last_name} if last_name else {}
        )
        return {
            "records": [
                {
                    "attributes": {"type": "Account", "referenceId": "top"},
                    "Name": "Top",
                    "Contacts": {"records": [child]},
                }
            ]
        }

    status, body = raw("POST", "/composite/tree/Account", tree("Child"))
    assert (status, body["hasErrors"], [result["referenceId"] for result in body["results"]]) == (
        201,
        False,
        ["top", "child"],
    )
    assert world.query("SELECT Account.Name FROM Contact") == [{"Account": {"Name": "Top"}}]
    status, body = raw("POST", "/composite/tree/Account", tree(None))
    assert (status, body["results"][0]["referenceId"], body["results"][0]["errors"][0]["statusCode"]) == (
        400,
        "child",
        "REQUIRED_FIELD_MISSING",
    )
    assert world.count("Account") == 1


def test_a_batch_stops_after_an_error_when_it_is_told_to(raw: Raw) -> None:
    requests = [{"method": "GET", "url": "v66.0/sobjects/Account/nonsense"}, {"method": "GET", "url": "v66.0/limits"}]
    body = raw("POST", "/composite/batch", {"batchRequests": requests, "haltOnError": True})[1]
    assert (body["hasErrors"], [result["statusCode"] for result in body["results"]]) == (True, [404, 412])
    assert raw("POST", "/composite/batch", {"batchRequests": requests})[1]["results"][1]["statusCode"] == 200


def test_a_collection_of_several_types_is_undone_as_a_whole(raw: Raw, world: World) -> None:
    records = [{"attributes": {"type": "Account"}, "Name": "A"}, {"attributes": {"type": "Contact"}}]
    results = raw("POST", "/composite/sobjects", {"allOrNone": True, "records": records})[1]
    assert [result["errors"][0]["statusCode"] for result in results] == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "REQUIRED_FIELD_MISSING",
    ]
    assert world.count("Account") == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"compositeRequest": []},
        {"compositeRequest": [{"method": "GET", "url": f"{V}/limits"}]},
        {"compositeRequest": [_create("same", "Account", {})] * 2},
    ],
)
def test_a_composite_without_good_references_is_refused(raw: Raw, body: dict[str, Any]) -> None:
    assert raw("POST", "/composite", body)[0] == 400
