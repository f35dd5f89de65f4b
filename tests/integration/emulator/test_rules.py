"""What an administrator has set up, and what the web server in front of the API does."""

from __future__ import annotations

import gzip
import http.client
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.raw import Raw
from support.world import World


def _rules(raw: Raw, **rules: list[dict[str, Any]]) -> None:
    assert raw("POST", f"{raw.url}/_emulator/seed", {"rules": rules})[0] == 200


def test_a_validation_rule_refuses_with_the_administrators_words(raw: Raw) -> None:
    rule = {
        "object": "Account",
        "name": "Phone",
        "condition": "Type = 'Prospect' AND Phone = null",
        "message": "Prospects need a phone.",
        "field": "Phone",
    }
    _rules(raw, validation=[rule])
    error = raw("POST", "/sobjects/Account", {"Name": "Acme", "Type": "Prospect"})[1][0]
    assert error == {
        "message": "Prospects need a phone.",
        "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "fields": ["Phone"],
    }
    created = raw("POST", "/sobjects/Account", {"Name": "Acme", "Type": "Prospect", "Phone": "1"})[1]["id"]
    assert raw("PATCH", f"/sobjects/Account/{created}", {"Phone": None})[0] == 400
    assert raw("PATCH", f"/sobjects/Account/{created}", {"Phone": None, "Type": "Other"})[0] == 204


def test_a_duplicate_is_reported_and_can_be_saved_when_the_rule_only_alerts(raw: Raw) -> None:
    _rules(raw, duplicate=[{"object": "Lead", "name": "Same_Email", "match": ["Email"], "action": "alert"}])
    lead = {"LastName": "Jansen", "Company": "Acme", "Email": "J@acme.example"}
    first = raw("POST", "/sobjects/Lead", lead)[1]["id"]
    status, errors = raw("POST", "/sobjects/Lead", lead | {"Email": "j@ACME.example"})
    result = errors[0]["duplicateResut"]  # spelt so by the org
    assert (status, errors[0]["errorCode"], errors[0]["message"]) == (
        400,
        "DUPLICATES_DETECTED",
        "Use one of these records?",
    )
    assert (
        result["allowSave"],
        result["duplicateRule"],
        result["matchResults"][0]["matchRecords"][0]["record"]["Id"],
    ) == (True, "Same_Email", first)
    assert (
        raw(
            "POST",
            "/sobjects/Lead",
            lead,
            **{"Sforce-Duplicate-Rule-Header": "allowSave=true; includeRecordDetails=false"},
        )[0]
        == 201
    )


def test_a_blocking_duplicate_rule_cannot_be_overridden(raw: Raw) -> None:
    _rules(raw, duplicate=[{"object": "Lead", "name": "Same_Email", "match": ["Email"], "action": "block"}])
    lead = {"LastName": "Jansen", "Company": "Acme", "Email": "j@acme.example"}
    raw("POST", "/sobjects/Lead", lead)
    assert raw("POST", "/sobjects/Lead", lead, **{"Sforce-Duplicate-Rule-Header": "allowSave=true"})[0] == 400


def test_assignment_is_on_unless_the_caller_switches_it_off(raw: Raw, world: World) -> None:
    profile = world.query("SELECT Id FROM Profile")[0]["Id"]
    user = {
        "Username": "q@example.invalid",
        "LastName": "Queue",
        "Email": "q@example.invalid",
        "Alias": "queue",
        "ProfileId": profile,
    }
    (owner,) = world.insert("User", user)
    _rules(raw, assignment=[{"object": "Lead", "owner": owner}])
    lead = {"LastName": "Jansen", "Company": "Acme"}
    assigned = raw("POST", "/sobjects/Lead", lead)[1]["id"]
    kept = raw("POST", "/sobjects/Lead", lead, **{"Sforce-Auto-Assign": "FALSE"})[1]["id"]
    owners = {row["Id"]: row["OwnerId"] for row in world.query("SELECT Id, OwnerId FROM Lead")}
    assert owners == {assigned: owner, kept: world.org.user_id}


def test_too_many_requests_at_a_time_are_refused(raw: Raw, world: World) -> None:
    raw("POST", f"{raw.url}/_emulator/usage", {"concurrent_limit": 1})
    with world.org.usage.request():
        status, errors = raw("GET", "/limits")
    assert (status, errors[0]["message"]) == (403, "ConcurrentRequests (Concurrent API Requests) Limit exceeded.")
    assert raw("GET", "/limits")[0] == 200


def test_the_daily_limit(raw: Raw) -> None:
    raw("POST", f"{raw.url}/_emulator/usage", {"limit": 5, "api_calls": 4})
    assert raw("GET", "/limits")[0] == 200
    status, errors = raw("GET", "/limits")
    assert (status, errors) == (
        403,
        [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}],
    )


def test_a_name_changes_with_its_parts(raw: Raw) -> None:
    contact = raw("POST", "/sobjects/Contact", {"FirstName": "Jan", "LastName": "Jansen"})[1]["id"]
    raw("PATCH", f"/sobjects/Contact/{contact}", {"LastName": "Pieters"})
    assert raw("GET", f"/sobjects/Contact/{contact}?fields=Name")[1]["Name"] == "Jan Pieters"


# -- transport --------------------------------------------------------------------------------------------------------------------


def test_an_address_that_is_too_long_is_answered_in_html(raw: Raw) -> None:
    status, text = raw("GET", "/query?q=" + "x" * 17_000)
    assert (status, text) == (414, "<h1>Bad Message 414</h1><pre>reason: URI Too Long</pre>")
    status, text = raw("GET", "/query?q=" + "x" * 10_000, **{"x-long": "y" * 8_000})
    assert (status, text[:24]) == (431, "<h1>Bad Message 431</h1>")


def test_bodies_come_chunked_and_zipped_and_answers_go_zipped(raw: Raw, world: World) -> None:
    zipped = gzip.compress(b'{"Name": "Zipped"}')
    assert raw("POST", "/sobjects/Account", zipped, **{"content-encoding": "gzip"})[0] == 201
    assert raw("POST", "/sobjects/Account", b"no gzip", **{"content-encoding": "gzip"})[0] == 400
    address = urlsplit(raw.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    headers = raw.headers | {"content-type": "application/json", "accept-encoding": "gzip", "expect": "100-continue"}
    for name in ("Chunked", "Again"):  # on one connection: it is kept alive
        connection.request(
            "POST",
            "/services/data/v66.0/sobjects/Account",
            iter([b'{"Na', f'me": "{name}"}}'.encode()]),
            headers,
            encode_chunked=True,
        )
        assert (connection.getresponse().read() or b"")[:6] == b'{"id":'
    connection.request("HEAD", "/services/data/v66.0/sobjects", headers=raw.headers)
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (200, b"")
    connection.request("GET", "/services/data/v66.0/sobjects", headers=headers)
    reply = connection.getresponse()
    assert (reply.headers["content-encoding"], gzip.decompress(reply.read())[:1]) == ("gzip", b"{")
    assert {row["Name"] for row in world.query("SELECT Name FROM Account")} == {"Zipped", "Chunked", "Again"}


@pytest.mark.parametrize(
    "order", [{"nonsense": [{}]}, {"Account": [{}]}, {"rules": {"validation": [{"object": "Account"}]}}, {"Account": 5}]
)
def test_a_bad_order_to_the_control_api_says_what_is_wrong(raw: Raw, order: dict[str, Any]) -> None:
    status, body = raw("POST", f"{raw.url}/_emulator/seed", order)
    assert (status, bool(body["error"])) == (400, True)
