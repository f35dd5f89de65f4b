"""What an org refuses and takes where an easier stand-in would do otherwise, each case as orgs were seen to answer."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from emulators.salesforce import bulk
from emulators.salesforce.dml import TRIGGER_ROWS
from support.raw import Raw
from support.world import World

COMPANY = "PeerSpot_Company__c"


def _codes(answer: Any) -> list[str | None]:
    """Of each row, why it was refused; None for one that was written."""
    return [row["errors"][0]["statusCode"] if row["errors"] else None for row in answer[1]]


def _upsert(raw: Raw, *keys: str) -> list[str | None]:
    rows = [{"attributes": {"type": COMPANY}, "Domain__c": key, "Name": key} for key in keys]
    return _codes(raw("PATCH", f"/composite/sobjects/{COMPANY}/Domain__c", {"records": rows}))


def _bulk(raw: Raw, content: str, **job: str) -> list[str]:
    """The `sf__Error` cells of a Bulk job."""
    made = raw("POST", "/jobs/ingest", {"object": "Account", "operation": "insert"} | job)[1]
    path = f"/jobs/ingest/{made['id']}"
    raw("PUT", f"{path}/batches", content.encode(), **{"content-type": "text/csv"})
    raw("PATCH", path, {"state": "UploadComplete"})
    while raw("GET", path)[1]["state"] in ("UploadComplete", "InProgress"):
        time.sleep(0.01)
    lines = raw("GET", f"{path}/failedResults")[1].splitlines()[1:]
    return [line.split('","')[1] for line in lines]


# -- one record twice -----------------------------------------------------------------------------------------------------------


def test_every_row_that_shares_its_key_with_another_one_of_the_call_is_refused(raw: Raw, world: World) -> None:
    assert _upsert(raw, "a.example", "b.example", "A.example") == ["DUPLICATE_VALUE", None, "DUPLICATE_VALUE"]
    assert world.count(COMPANY) == 1


def test_further_apart_than_a_trigger_sees_the_second_row_updates_the_first(raw: Raw, world: World) -> None:
    keys = ["same.example", *(f"d{number}.example" for number in range(TRIGGER_ROWS)), "same.example"]
    lines = "\n".join(f"{key},{number}" for number, key in enumerate(keys))
    errors = _bulk(
        raw, f"Domain__c,Name\n{lines}\n", object=COMPANY, operation="upsert", externalIdFieldName="Domain__c"
    )
    assert errors == []
    found = world.query(f"SELECT Name FROM {COMPANY} WHERE Domain__c = 'same.example'")
    assert found == [{"Name": str(len(keys) - 1)}]


def test_every_row_that_shares_its_id_with_another_one_of_the_call_is_refused(raw: Raw, world: World) -> None:
    first, second = world.insert("Account", {"Name": "A"}, {"Name": "B"})
    rows = [{"attributes": {"type": "Account"}, "Id": each, "Phone": "1"} for each in (first, second, first[:15])]
    answer = raw("PATCH", "/composite/sobjects", {"records": rows})
    assert _codes(answer) == ["DUPLICATE_VALUE", None, "DUPLICATE_VALUE"]
    assert answer[1][0]["errors"][0]["message"] == f"Duplicate id specified: {first}"


def test_a_value_that_another_record_has_names_the_record_and_no_field(raw: Raw, world: World) -> None:
    (known,) = world.insert(COMPANY, {"Domain__c": "a.example", "Name": "A"})
    error = raw("POST", f"/sobjects/{COMPANY}", {"Domain__c": "A.example", "Name": "B"})[1][0]
    message = f"duplicate value found: Domain__c duplicates value on record with id: {known}"
    assert error == {"message": message, "errorCode": "DUPLICATE_VALUE", "fields": []}
    assert _bulk(raw, "Domain__c,Name\na.example,B\n", object=COMPANY) == [f"DUPLICATE_VALUE:{message}:--"]


# -- values ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"ActivityDate": "2024-07-29 22:38:35"}, "JSON_PARSER_ERROR"),
        ({"ActivityDate": "2024-07-29T22:38:35Z"}, "JSON_PARSER_ERROR"),
        ({"ReminderDateTime": "2024-07-29 22:38:35"}, "JSON_PARSER_ERROR"),
        ({"ReminderDateTime": "2024-07-29"}, "JSON_PARSER_ERROR"),
        ({"IsReminderSet": None}, "INVALID_TYPE_ON_FIELD_IN_RECORD"),
        ({"ActivityDate": "2024-07-29", "ReminderDateTime": "2024-07-29T22:38:35.000+0200"}, None),
    ],
)
def test_dates_and_checkboxes_are_taken_in_their_own_form_only(
    raw: Raw, values: dict[str, Any], code: str | None
) -> None:
    answer = raw("POST", "/sobjects/Task", {"Subject": "Call"} | values)[1]
    assert (answer[0]["errorCode"] if isinstance(answer, list) else None) == code


def test_a_bad_cell_of_a_bulk_job_is_named_by_its_column(raw: Raw) -> None:
    content = "Subject,ActivityDate,IsReminderSet\nCall,2024-07-29 22:38:35,true\nCall,2024-07-29,#N/A\nCall,2024-07-29,maybe\n"
    assert _bulk(raw, content, object="Task") == [
        "INVALID_FIELD:Failed to deserialize field at col 1. Due to, '2024-07-29 22:38:35' is not a valid value for the type"
        " xsd:date:ActivityDate --",
        "INVALID_TYPE_ON_FIELD_IN_RECORD:Reminder Set: value not of required type: :IsReminderSet --",
        "INVALID_FIELD:Failed to deserialize field at col 2. Due to, 'maybe' is not a valid value for the type"
        " xsd:boolean:IsReminderSet --",
    ]


def test_a_multi_select_takes_several_of_its_values_and_no_other(raw: Raw, world: World) -> None:
    from dataclasses import replace

    from emulators.salesforce.schema import Field, add_fields

    field = Field(
        "Products__c", "multipicklist", "Products", length=4099, restricted=True, values=("Mail", "Web"), custom=True
    )
    schema = replace(world.org.schema)
    add_fields(schema, "Account", [field])
    world.org.change_schema(schema)
    assert raw("POST", "/sobjects/Account", {"Name": "A", "Products__c": "web;Mail"})[0] == 201
    assert world.query("SELECT Products__c FROM Account") == [{"Products__c": "Web;Mail"}]
    refused = raw("POST", "/sobjects/Account", {"Name": "A", "Products__c": "Web;Fax"})[1][0]
    assert refused["errorCode"] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"


# -- owners ---------------------------------------------------------------------------------------------------------------------


def _user(world: World, *, active: bool) -> str:
    person = {
        "Username": "jan@acme.example", "LastName": "Jansen", "Email": "jan@acme.example", "Alias": "jan", "IsActive": active,
        "ProfileId": world.query("SELECT Id FROM Profile")[0]["Id"], "TimeZoneSidKey": "GMT", "LocaleSidKey": "en_US",
        "LanguageLocaleKey": "en_US", "EmailEncodingKey": "UTF-8",
    }  # fmt: skip
    return world.insert("User", person)[0]


def test_a_queue_may_own_leads_and_tasks_and_no_accounts(raw: Raw, world: World) -> None:
    (queue,) = world.insert("Group", {"Name": "New leads", "Type": "Queue"})
    assert raw("POST", "/sobjects/Lead", {"LastName": "L", "Company": "A", "OwnerId": queue})[0] == 201
    assert raw("POST", "/sobjects/Account", {"Name": "A", "OwnerId": queue})[0] == 400
    fields = {field["name"]: field for field in raw("GET", "/sobjects/Lead/describe")[1]["fields"]}
    assert fields["OwnerId"]["referenceTo"] == ["Group", "User"]
    lead = raw.query("SELECT Owner.Name, Owner.Type FROM Lead")[1]["records"][0]
    assert (lead["Owner"]["Name"], lead["Owner"]["Type"]) == ("New leads", "Group")


def test_somebody_who_left_gets_nothing_new_and_keeps_what_they_had(raw: Raw, world: World) -> None:
    user = _user(world, active=True)
    (account,) = world.insert("Account", {"Name": "A", "OwnerId": user})
    world.update("User", {"Id": user, "IsActive": False})
    assert raw("PATCH", f"/sobjects/Account/{account}", {"Phone": "1"})[0] == 204
    error = raw("POST", "/sobjects/Task", {"Subject": "Call", "WhatId": account, "OwnerId": user})[1][0]
    message = f"operation performed with inactive user [{user[:15]}] as owner of task"
    assert error == {"message": message, "errorCode": "INACTIVE_OWNER_OR_USER", "fields": []}


# -- sessions, sets, and what is gone -------------------------------------------------------------------------------------------


def test_what_says_how_much_was_used_and_what_does_not(raw: Raw) -> None:
    inside, outside = raw.reply("GET", "/sobjects"), raw.reply("GET", f"{raw.url}/services/data")
    assert ("Sforce-Limit-Info" in inside.headers, "Sforce-Limit-Info" in outside.headers) == (True, False)
    void = raw.reply("GET", "/sobjects", authorization="Bearer void")
    assert (void.status, void.headers["WWW-Authenticate"], "Sforce-Limit-Info" in void.headers) == (401, "Token", False)
    assert raw("GET", "/sobjects", authorization="fake")[1][0]["errorCode"] == "INVALID_AUTH_HEADER"


def test_bulk_results_are_cut_by_their_size_whatever_was_asked_for(
    raw: Raw, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_RESULT_BYTES", 2_000)
    world.insert("Account", *({"Name": f"Account {number:04d}"} for number in range(150)))
    job = raw("POST", "/jobs/query", {"operation": "query", "query": "SELECT Id, Name FROM Account"})[1]
    while raw("GET", f"/jobs/query/{job['id']}")[1]["state"] != "JobComplete":
        time.sleep(0.01)
    locator, sizes = "", []
    while locator != "null":
        reply = raw.reply("GET", f"/jobs/query/{job['id']}/results?maxRecords=1000&locator={locator}")
        locator = reply.headers["Sforce-Locator"]
        sizes.append(int(reply.headers["Sforce-NumberOfRecords"]))
    assert sum(sizes) == 150
    assert len(sizes) > 2
    pages = raw("GET", f"/jobs/query/{job['id']}/resultPages")[1]["resultPages"]
    assert len(pages) == min(len(sizes), 5)


@pytest.mark.parametrize(("hard", "hours"), [(True, 24), (False, 15 * 24)])
def test_what_is_deleted_is_found_by_query_all_until_it_is_purged(
    raw: Raw, world: World, *, hard: bool, hours: int
) -> None:
    (account,) = world.insert("Account", {"Name": "A"})
    world.org.dml.delete(world.org.schema.objects["Account"], [account], hard=hard)
    every = f"/queryAll?q={quote('SELECT IsDeleted FROM Account')}"
    assert raw("GET", every)[1]["records"][0]["IsDeleted"] is True
    for session in world.org.sessions.values():  # somebody keeps it alive
        session.expires += timedelta(days=30)
    world.org.clock.shift(hours * 3600 - 60)
    assert raw("GET", every)[1]["totalSize"] == 1
    undeleted = raw("POST", f"{raw.url}/_emulator/records/undelete", {"ids": [account]})[1][0]
    assert undeleted["success"] is not hard
    if not hard:
        assert world.count("Account") == 1
        return
    world.org.clock.shift(120)
    assert raw("GET", every)[1]["totalSize"] == 0


def test_a_merge_moves_what_belongs_to_the_loser_and_names_the_master(raw: Raw, world: World) -> None:
    master, loser = world.insert("Account", {"Name": "Master"}, {"Name": "Loser"})
    (contact,) = world.insert("Contact", {"LastName": "C", "AccountId": loser})
    envelope = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header><s:SessionHeader xmlns:s="urn:partner.soap.sforce.com">'
        f"<s:sessionId>{raw.headers['authorization'].removeprefix('Bearer ')}</s:sessionId></s:SessionHeader></e:Header><e:Body>"
        f'<merge xmlns="urn:partner.soap.sforce.com"><request><masterRecord><type>Account</type><Id>{master}</Id><Phone>1</Phone>'
        f"</masterRecord><recordToMergeIds>{loser}</recordToMergeIds></request></merge></e:Body></e:Envelope>"
    )
    status, text = raw("POST", f"{raw.url}/services/Soap/u/64.0", envelope.encode(), **{"content-type": "text/xml"})
    assert (status, "<success>true</success>" in text) == (200, True)
    assert world.query("SELECT Name, Phone FROM Account") == [{"Name": "Master", "Phone": "1"}]
    assert world.query(f"SELECT AccountId FROM Contact WHERE Id = '{contact}'") == [{"AccountId": master}]
    every = raw("GET", f"/queryAll?q={quote('SELECT MasterRecordId FROM Account WHERE IsDeleted = true')}")[1]
    assert every["records"][0]["MasterRecordId"] == master


# -- empty calls, and all or none around a collection ---------------------------------------------------------------------------


def test_a_collection_without_records_is_refused(raw: Raw) -> None:
    status, errors = raw("POST", "/composite/sobjects", {"records": []})
    assert (status, errors[0]["errorCode"], errors[0]["message"]) == (
        400,
        "REQUIRED_FIELD_MISSING",
        "At least 1 record is required",
    )


def test_a_failed_row_of_a_collection_rolls_back_the_composite_call_around_it(raw: Raw, world: World) -> None:
    rows = [{"attributes": {"type": "Account"}, "Name": name} for name in ("A", "")]
    parts = [
        {"method": "POST", "url": "/services/data/v66.0/sobjects/Account", "referenceId": "one", "body": {"Name": "One"}},
        {"method": "POST", "url": "/services/data/v66.0/composite/sobjects", "referenceId": "many", "body": {"allOrNone": False, "records": rows}},
    ]  # fmt: skip
    answers = raw("POST", "/composite", {"allOrNone": True, "compositeRequest": parts})[1]["compositeResponse"]
    assert [answer["httpStatusCode"] for answer in answers] == [400, 200]
    assert answers[0]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert [row["success"] for row in answers[1]["body"]] == [True, False]
    assert world.count("Account") == 0


@pytest.mark.parametrize(
    "name", ["User", "Group", "Profile", "PermissionSet", "Organization", "RecordType", "UserRole"]
)
def test_what_cannot_be_deleted_has_no_is_deleted(raw: Raw, name: str) -> None:
    assert raw.query(f"SELECT IsDeleted FROM {name}")[1][0]["errorCode"] == "INVALID_FIELD"
    assert "IsDeleted" not in {field["name"] for field in raw("GET", f"/sobjects/{name}/describe")[1]["fields"]}
