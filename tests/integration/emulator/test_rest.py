"""The Salesforce emulator by raw HTTP: it answers as an org does, also to what no client of ours sends."""

from __future__ import annotations

from typing import Any

import pytest

from emulators.salesforce.ids import checksum, make_id
from support.raw import HTTP, Raw
from support.world import World

# -- transport, versions, sessions ------------------------------------------------------------------------------------------------


def test_a_request_without_a_valid_token_is_401(world: World) -> None:
    reply = HTTP.request(
        "GET", f"{world.salesforce_url}/services/data/v66.0/limits", headers={"authorization": "Bearer nothing"}
    )
    assert (reply.status, reply.json()) == (
        401,
        [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}],
    )


@pytest.mark.parametrize(("version", "status"), [("30.0", 410), ("31.0", 200), ("68.0", 200), ("69.0", 404)])
def test_versions_are_served_from_31_to_68(raw: Raw, world: World, version: str, status: int) -> None:
    assert raw("GET", f"{world.salesforce_url}/services/data/v{version}/limits")[0] == status


@pytest.mark.parametrize("path", ["/limits/", "//limits", "/limits"])
def test_doubled_and_trailing_slashes_do_not_matter(raw: Raw, path: str) -> None:
    assert raw("GET", path)[0] == 200


def test_what_is_not_built_is_not_found_and_a_wrong_method_is_named(raw: Raw) -> None:
    assert raw("GET", "/nonsense") == (
        404,
        [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}],
    )
    assert raw("PUT", "/limits")[1][0]["errorCode"] == "METHOD_NOT_ALLOWED"


def test_every_call_is_counted_and_reported(raw: Raw, world: World) -> None:
    assert raw.reply("GET", "/limits").headers["sforce-limit-info"] == "api-usage=1/100000"
    assert world.org.usage.used == 1


def test_a_body_that_is_not_json_is_refused(raw: Raw) -> None:
    assert raw("POST", "/sobjects/Account", b"{nonsense")[1][0]["errorCode"] == "JSON_PARSER_ERROR"


def test_parts_of_a_composite_count_once_and_parts_of_a_batch_each(raw: Raw, world: World) -> None:
    parts = [
        {"method": "GET", "url": "/services/data/v66.0/limits", "referenceId": f"r{number}"} for number in range(3)
    ]
    raw("POST", "/composite", {"compositeRequest": parts})
    assert world.org.usage.used == 1
    raw("POST", "/composite/batch", {"batchRequests": [{"method": "GET", "url": "v66.0/limits"}] * 3})
    assert world.org.usage.used == 4


# -- records ----------------------------------------------------------------------------------------------------------------------


def test_a_record_is_created_read_changed_and_deleted(raw: Raw) -> None:
    status, created = raw("POST", "/sobjects/Account/", {"Name": "Acme"})
    assert (status, created["success"], created["errors"]) == (201, True, [])
    path = f"/sobjects/Account/{created['id']}"
    assert raw("PATCH", path, {"Name": "Acme BV"})[0] == 204
    assert raw("GET", f"{path}?fields=Name")[1]["Name"] == "Acme BV"
    assert raw("DELETE", path)[0] == 204
    assert raw("GET", path)[0] == 404
    assert raw("DELETE", path)[1][0] == {"message": "entity is deleted", "errorCode": "ENTITY_IS_DELETED", "fields": []}


ACTIVITY = "/sobjects/PeerSpot_Activity__c/PeerSpot_External_Id__c"


def test_an_upsert_says_whether_it_created(raw: Raw, world: World) -> None:
    body = {"Date_Visited__c": "2026-11-10"}
    status, created = raw("PATCH", f"{ACTIVITY}/a%2Fb", body)
    assert (status, created["created"]) == (201, True)
    assert raw("PATCH", f"{ACTIVITY}/a%2Fb", body)[1]["created"] is False
    old = f"{world.salesforce_url}/services/data/v45.0{ACTIVITY}/a%2Fb"
    assert raw("PATCH", old, body)[0] == 204
    assert raw("GET", f"{ACTIVITY}/a%2Fb")[1]["Id"] == created["id"]
    assert raw("PATCH", f"{ACTIVITY}/new?updateOnly=true", body)[0] == 404
    assert raw("PATCH", "/sobjects/Account/Phone/1", {})[1][0]["errorCode"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("record", "code", "message"),
    [
        ({}, "REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName, Company]"),
        (
            {"LastName": "x" * 81, "Company": "c"},
            "STRING_TOO_LONG",
            f"Last Name: data value too large: {'x' * 81} (max length=80)",
        ),
        (
            {"LastName": "x", "Company": "c", "Email": "nobody"},
            "INVALID_EMAIL_ADDRESS",
            "Email: invalid email address: nobody",
        ),
        (
            {"LastName": "x", "Company": "c", "Nope": 1},
            "INVALID_FIELD",
            "No such column 'Nope' on sobject of type Lead",
        ),
        (
            {"LastName": "x", "Company": "c", "OwnerId": "nonsense"},
            "MALFORMED_ID",
            "Owner ID: id value of incorrect type: nonsense",
        ),
        (
            {"LastName": "x", "Company": "c", "OwnerId": make_id("005", 99)},
            "INVALID_CROSS_REFERENCE_KEY",
            "invalid cross reference id",
        ),
        (
            {"LastName": 5, "Company": "c"},
            "JSON_PARSER_ERROR",
            "Cannot deserialize instance of string from VALUE_NUMBER_INT value 5",
        ),
    ],
)
def test_a_record_that_breaks_a_rule_is_refused_in_the_orgs_words(
    raw: Raw, record: dict[str, Any], code: str, message: str
) -> None:
    status, errors = raw("POST", "/sobjects/Lead", record)
    assert (status, errors[0]["errorCode"]) == (400, code)
    assert errors[0]["message"].startswith(message)


def test_read_only_fields_are_refused(raw: Raw) -> None:
    errors = raw("POST", "/sobjects/Lead", {"LastName": "x", "Company": "c", "IsConverted": True})[1]
    assert errors[0]["errorCode"] == "INVALID_FIELD_FOR_INSERT_UPDATE"


def test_a_unique_value_is_given_once(raw: Raw) -> None:
    body = {"PeerSpot_Product_Id__c": "1", "Name": "One"}
    first = raw("POST", "/sobjects/PeerSpot_Vendor_Product__c", body)[1]["id"]
    errors = raw("POST", "/sobjects/PeerSpot_Vendor_Product__c", body)[1]
    assert (
        errors[0]["message"]
        == f"duplicate value found: PeerSpot_Product_Id__c duplicates value on record with id: {first}"
    )


def test_ids_carry_the_checksum_of_their_letter_case() -> None:
    assert checksum("0015g00000abcDE") == "AAY"
    assert make_id("001", 1) == "0015g0000000001AAA"


def test_a_collection_keeps_its_order_and_rolls_back_on_demand(raw: Raw, world: World) -> None:
    records = [{"attributes": {"type": "Account"}, "Name": "A"}, {"attributes": {"type": "Account"}}]
    results = raw("POST", "/composite/sobjects", {"records": records})[1]
    assert [result["success"] for result in results] == [True, False]
    assert results[1]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    strict = raw("POST", "/composite/sobjects", {"allOrNone": True, "records": records})[1]
    assert [result["errors"][0]["statusCode"] for result in strict] == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "REQUIRED_FIELD_MISSING",
    ]
    assert world.count("Account") == 1
    assert raw("POST", "/composite/sobjects", {"records": records * 101})[1][0]["errorCode"] == "EXCEEDED_ID_LIMIT"
