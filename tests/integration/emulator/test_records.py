"""What was updated and deleted, searches, conditional requests, and the Tooling API's view of the schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from support.raw import Raw
from support.world import World

SPAN = "start=2026-11-20T00:00:00%2B00:00&end=2026-11-22T00:00:00%2B00:00"


@pytest.fixture(autouse=True)
def _noon(world: World) -> None:
    world.org.clock.stop_at(datetime(2026, 11, 21, 12, tzinfo=UTC))


def test_updated_and_deleted_give_the_ids_of_a_span(raw: Raw, world: World) -> None:
    kept, gone = world.insert("Account", {"Name": "Kept"}, {"Name": "Gone"})
    world.delete("Account", gone)
    assert raw("GET", f"/sobjects/Account/updated?{SPAN}")[1] == {
        "ids": [kept],
        "latestDateCovered": "2026-11-21T12:00:00.000+0000",
    }
    body = raw("GET", f"/sobjects/Account/deleted/?{SPAN}")[1]
    assert body["deletedRecords"] == [{"id": gone, "deletedDate": "2026-11-21T12:00:00.000+0000"}]
    assert body["earliestDateAvailable"] == "2026-11-06T12:00:00.000+0000"
    early = SPAN.replace("2026-11-20", "2026-09-01")
    assert raw("GET", f"/sobjects/Account/updated?{early}")[1][0]["errorCode"] == "INVALID_REPLICATION_DATE"


def test_a_record_comes_with_the_fields_that_were_asked_for(raw: Raw, world: World) -> None:
    (account,) = world.insert("Account", {"Name": "Acme", "BillingCity": "Utrecht"})
    (contact,) = world.insert("Contact", {"LastName": "Jansen", "AccountId": account})
    record = raw("GET", f"/sobjects/Contact/{contact}?fields=LastName,Account.Name")[1]
    assert (record["LastName"], record["Account"]["Name"], record["Id"], len(record)) == ("Jansen", "Acme", contact, 4)
    address = raw("GET", f"/sobjects/Account/{account}?fields=BillingAddress")[1]["BillingAddress"]
    assert address == {
        "city": "Utrecht", "country": None, "geocodeAccuracy": None, "latitude": None, "longitude": None, "postalCode": None, "state": None,
        "street": None,
    }  # fmt: skip
    assert (
        raw("GET", f"/sobjects/Contact/{contact}?fields=Nope")[1][0]["message"]
        == "No such column 'Nope' on sobject of type Contact"
    )


def test_a_key_that_several_records_share_answers_300_with_their_addresses(raw: Raw, world: World) -> None:
    domain = {"PeerSpot_External_Id__c": "1", "Date_Visited__c": "2026-11-01", "Account_Domain__c": "acme.com"}
    ids = world.insert("PeerSpot_Activity__c", domain, domain | {"PeerSpot_External_Id__c": "2"})
    status, body = raw("GET", "/sobjects/PeerSpot_Activity__c/Account_Domain__c/acme.com")
    assert (status, body) == (
        300,
        [f"/services/data/v66.0/sobjects/PeerSpot_Activity__c/{record_id}" for record_id in ids],
    )


def test_what_did_not_change_since_is_304(raw: Raw, world: World) -> None:
    (account,) = world.insert("Account", {"Name": "Acme"})
    since = {"If-Modified-Since": "Sat, 21 Nov 2026 12:00:00 GMT"}
    assert raw("GET", f"/sobjects/Account/{account}", **since) == (304, "")
    world.org.clock.shift(60)
    world.update("Account", {"Id": account, "Name": "Acme BV"})
    assert raw("GET", f"/sobjects/Account/{account}", **since)[0] == 200
    assert raw("GET", "/sobjects/Account/describe", **{"If-Modified-Since": "Sat, 01 Jan 2050 00:00:00 GMT"})[0] == 304


@pytest.mark.parametrize(
    ("sosl", "found"),
    [
        ("FIND {Acme} RETURNING Account(Name)", ["Acme Holding"]),
        (
            "FIND {acm*} IN NAME FIELDS RETURNING Account(Name WHERE BillingCity = 'Utrecht' ORDER BY Name LIMIT 5), Contact",
            ["Acme Holding"],
        ),
        ('FIND {"Acme Holding"} IN ALL FIELDS RETURNING Account(Id, Name)', ["Acme Holding"]),
        ("FIND {cm} RETURNING Account(Name)", []),
        ("FIND {jan\\-piet} RETURNING Contact(Name)", ["Jan-Piet"]),
        ("FIND {acme.example} IN EMAIL FIELDS RETURNING Contact(Name)", ["Jan-Piet"]),
    ],
)
def test_searches(raw: Raw, world: World, sosl: str, found: list[str]) -> None:
    world.insert(
        "Account",
        {"Name": "Acme Holding", "BillingCity": "Utrecht"},
        {"Name": "Acmeister"} if "acm*" not in sosl else {"Name": "Other"},
    )
    world.insert("Contact", {"LastName": "Jan-Piet", "Email": "jan@acme.example"})
    body = raw("GET", "/search/?" + urlencode({"q": sosl}))[1]
    assert [record["Name"] for record in body["searchRecords"]] == found


@pytest.mark.parametrize(
    ("sosl", "message"),
    [
        ("FIND {a} RETURNING Account", "search term must be longer than one character: a"),
        ("LOOK {acme}", "unexpected token: LOOK"),
        ("FIND {acme} RETURNING Nothing__c", "sObject type 'Nothing__c' is not supported in a search"),
    ],
)
def test_bad_searches_are_refused(raw: Raw, sosl: str, message: str) -> None:
    status, errors = raw("GET", "/search?" + urlencode({"q": sosl}))
    assert (status, errors[0]["message"]) == (400, message)


def test_a_parameterized_search_by_get_and_by_post(raw: Raw, world: World) -> None:
    world.insert("Account", {"Name": "Acme"})
    by_get = raw("GET", "/parameterizedSearch?q=acme&sobject=Account&Account.fields=Name&Account.limit=1")[1]
    by_post = raw("POST", "/parameterizedSearch", {"q": "acme", "fields": ["Name"], "sobjects": [{"name": "Account"}]})[
        1
    ]
    assert [record["Name"] for record in by_get["searchRecords"]] == ["Acme"]
    assert by_post == by_get


def test_the_tooling_api_shows_objects_and_fields(raw: Raw) -> None:
    soql = "SELECT QualifiedApiName, DataType, EntityDefinition.Label FROM FieldDefinition WHERE EntityDefinition.QualifiedApiName = 'Lead'"
    for path in ("/query", "/tooling/query"):
        records = raw("GET", f"{path}?q={quote(soql)}")[1]["records"]
        types = {
            record["QualifiedApiName"]: (record["DataType"], record["EntityDefinition"]["Label"]) for record in records
        }
        assert types["Company"] == ("Text(255)", "Lead")
    assert raw("GET", "/tooling/query?q=SELECT+Id+FROM+ApexClass")[1]["totalSize"] == 0
    assert raw("GET", "/tooling/sobjects/CustomField/describe")[1]["name"] == "CustomField"
    assert raw("GET", "/tooling/query?q=SELECT+Id+FROM+Account")[1][0]["errorCode"] == "INVALID_TYPE"


def test_a_custom_field_made_by_the_tooling_api_takes_values_at_once(raw: Raw, world: World) -> None:
    field: dict[str, Any] = {"FullName": "Account.Tier__c", "Metadata": {"label": "Tier", "type": "Text", "length": 10}}
    assert raw("POST", "/tooling/sobjects/CustomField", field)[0] == 201
    assert raw("POST", "/sobjects/Account", {"Name": "Acme", "Tier__c": "Gold"})[0] == 201
    assert raw("POST", "/tooling/sobjects/CustomField", field)[1][0]["errorCode"] == "DUPLICATE_DEVELOPER_NAME"
    del field["Metadata"]["length"]
    error = raw("POST", "/tooling/sobjects/CustomField", field | {"FullName": "Account.Other__c"})[1][0]
    assert error["message"] == "Must specify 'length' for a CustomField of type Text"


def test_columns_instead_of_records(raw: Raw) -> None:
    body = raw("GET", "/query?" + urlencode({"q": "SELECT Id, Name, AnnualRevenue FROM Account", "columns": "true"}))[1]
    assert [column["columnName"] for column in body["columnMetadata"]] == ["Id", "Name", "AnnualRevenue"]
    assert (body["columnMetadata"][2]["numberType"], body["entityName"], body["idSelected"], body["keyPrefix"]) == (
        True,
        "Account",
        True,
        "001",
    )
