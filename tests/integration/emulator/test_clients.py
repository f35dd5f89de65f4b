"""The emulator by clients that nobody here wrote: simple-salesforce, Airflow's hook and bulk operator, and jsforce."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceResourceNotFound,
)

from support.world import World

NODE = Path(__file__).parents[2] / "node"
NODE_MODULES = Path(__file__).parents[3] / ".venv" / "node"


class ToLoopback(HTTPAdapter):
    """simple-salesforce speaks https only: this sends what it means for any https host to the emulator instead."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = urlsplit(url)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        request.headers["Host"] = parts.netloc
        request.headers["X-Forwarded-Proto"] = "https"
        request.url = parts._replace(scheme=self._url.scheme, netloc=self._url.netloc).geturl()
        return super().send(request, *args, **kwargs)


@pytest.fixture
def session(world: World) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount("https://", ToLoopback(world.salesforce_url))
        yield session


@pytest.fixture
def sf(world: World, session: requests.Session) -> Salesforce:
    known = world.org.credentials
    return Salesforce(known.username, known.password, known.security_token, domain="test", session=session)


# -- simple-salesforce ------------------------------------------------------------------------------------------------------------


def test_simple_salesforce_signs_in_in_three_ways(world: World, session: requests.Session, tmp_path: Path) -> None:
    known = world.org.credentials
    by_client = Salesforce(
        consumer_key=known.consumer_key, consumer_secret=known.consumer_secret, domain="acme.my", session=session
    )
    key = tmp_path / "key.pem"
    key.write_text(world.org.private_key)
    by_jwt = Salesforce(
        known.username, consumer_key=known.consumer_key, privatekey_file=str(key), domain="test", session=session
    )
    by_password = Salesforce(known.username, known.password, known.security_token, domain="test", session=session)
    for client in (by_client, by_jwt, by_password):
        assert client.query("SELECT COUNT() FROM Account")["totalSize"] == 0
    with pytest.raises(SalesforceAuthenticationFailed, match="INVALID_LOGIN"):
        Salesforce(known.username, "wrong", "token", domain="test", session=session)


def test_simple_salesforce_reads_and_writes_records(sf: Salesforce, world: World) -> None:
    created = sf.Account.create({"Name": "Acme"})
    assert sf.Account.get(created["id"])["Name"] == "Acme"
    assert sf.Account.update(created["id"], {"Name": "Acme BV"}) == 204
    assert sf.PeerSpot_Vendor_Product__c.upsert("PeerSpot_Product_Id__c/a%2Fb", {"Name": "One"}) == 201
    assert sf.PeerSpot_Vendor_Product__c.upsert("PeerSpot_Product_Id__c/a%2Fb", {"Name": "Uno"}) == 200
    assert sf.PeerSpot_Vendor_Product__c.get_by_custom_id("PeerSpot_Product_Id__c", "a/b")["Name"] == "Uno"
    with pytest.raises(SalesforceMalformedRequest, match="REQUIRED_FIELD_MISSING"):
        sf.Contact.create({})
    assert sf.Account.delete(created["id"]) == 204
    with pytest.raises(SalesforceResourceNotFound):
        sf.Account.get(created["id"])
    visit = {"Date_Visited__c": "2026-11-01", "Account_Domain__c": "acme.com"}
    world.insert(
        "PeerSpot_Activity__c", visit | {"PeerSpot_External_Id__c": "1"}, visit | {"PeerSpot_External_Id__c": "2"}
    )
    with pytest.raises(SalesforceMoreThanOneRecord):
        sf.PeerSpot_Activity__c.get_by_custom_id("Account_Domain__c", "acme.com")


def test_simple_salesforce_queries_searches_and_describes(sf: Salesforce, world: World) -> None:
    world.insert("Account", *({"Name": f"A{number:04}"} for number in range(2_500)))
    assert [row["Name"] for row in sf.query_all_iter("SELECT Name FROM Account ORDER BY Name")] == [
        f"A{number:04}" for number in range(2_500)
    ]
    assert sf.query_all("SELECT Id FROM Account", include_deleted=True)["totalSize"] == 2_500
    with pytest.raises(SalesforceMalformedRequest, match="INVALID_FIELD"):
        sf.query("SELECT Nope FROM Account")
    assert [row["attributes"]["type"] for row in sf.quick_search("A0001")["searchRecords"]] == ["Account"]
    assert sf.Lead.describe()["keyPrefix"] == "00Q"
    assert "Account" in {item["name"] for item in (sf.describe() or {})["sobjects"]}
    assert (sf.limits()["DailyApiRequests"]["Max"], sf.is_sandbox()) == (100_000, True)
    assert sf.oauth2("userinfo")["preferred_username"] == world.org.credentials.username
    assert sf.toolingexecute("query/?q=SELECT+Id+FROM+ApexClass")["totalSize"] == 0


def test_simple_salesforce_by_both_bulk_apis(sf: Salesforce, world: World) -> None:
    rows = [{"LastName": "Good", "Email": "good@acme.example"}, {"LastName": "Bad", "Email": "bad"}]
    first = sf.bulk.Contact.insert(rows, batch_size=1, use_serial=True)
    assert [result["success"] for result in first] == [True, False]
    assert first[1]["errors"][0]["statusCode"] == "INVALID_EMAIL_ADDRESS"
    queried = sf.bulk.Contact.query("SELECT LastName, CreatedDate FROM Contact", wait=0)
    assert (queried[0]["LastName"], type(queried[0]["CreatedDate"])) == ("Good", int)
    loaded = sf.bulk2.Contact.insert(records=rows, wait=0)
    assert [(job["numberRecordsProcessed"], job["numberRecordsFailed"]) for job in loaded] == [(2, 1)]
    assert "INVALID_EMAIL_ADDRESS" in sf.bulk2.Contact.get_failed_records(loaded[0]["job_id"])
    assert "".join(sf.bulk2.Contact.query("SELECT LastName FROM Contact", wait=0)).splitlines() == [
        '"LastName"',
        '"Good"',
        '"Good"',
    ]
    ids = [{"Id": row["Id"]} for row in world.query("SELECT Id FROM Contact")]
    assert sf.bulk2.Contact.delete(records=ids, wait=0)[0]["numberRecordsFailed"] == 0
    assert world.count("Contact") == 0


# -- Airflow ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.airflow
def test_airflows_hook_and_bulk_operator(
    world: World, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.salesforce.hooks.salesforce import SalesforceHook
    from airflow.providers.salesforce.operators.bulk import SalesforceBulkOperator

    known = world.org.credentials
    extra = {"security_token": known.security_token, "domain": "test"}
    connection = {"conn_type": "salesforce", "login": known.username, "password": known.password, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SALESFORCE_TEST", json.dumps(connection))
    rows = [{"LastName": "Good"}, {"FirstName": "nameless"}]
    monkeypatch.setattr(
        "airflow.providers.salesforce.operators.bulk.SalesforceHook",
        lambda **options: SalesforceHook(**options, session=session),
    )
    operator = SalesforceBulkOperator(
        task_id="load", operation="insert", object_name="Contact", payload=rows, salesforce_conn_id="salesforce_test",
    )  # fmt: skip
    results = operator.execute({})
    assert [result["success"] for result in results] == [True, False]
    hook = SalesforceHook(salesforce_conn_id="salesforce_test", session=session)
    frame = hook.object_to_df(hook.make_query("SELECT LastName, CreatedDate FROM Contact")["records"])
    assert frame["lastname"].tolist() == ["Good"]
    assert "Company" in hook.get_available_fields("Lead")


# -- jsforce ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    shutil.which("node") is None or not (NODE_MODULES / "node_modules" / "jsforce").exists(),
    reason="needs Node, and npm to install jsforce",
)
def test_jsforce(world: World) -> None:
    known = {"url": world.salesforce_url, **asdict(world.org.credentials)}
    command = ["node", str(NODE / "trial.cjs"), str(NODE_MODULES), json.dumps(known)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "login": ["00D5g0000000001EAA", world.salesforce_url],
        "wrongLogin": ["Error", "INVALID_LOGIN: Invalid username, password, security token; or user locked out."],
        "identity": world.org.credentials.username,
        "collection": [True, True, True, "REQUIRED_FIELD_MISSING"],
        "upsert": [[True, True], [True, False]],
        "query": [1, 3, "Integration User"],
        "find": ["Contact 0", "Contact 1"],
        "badQuery": "INVALID_FIELD",
        "missing": "NOT_FOUND",
        "describe": False,
        "search": ["Acme"],
        "tooling": 1,
        "bulk1": [True, True, False],
        "bulk2": [2, ["REQUIRED_FIELD_MISSING"], 0],
        "bulk2Query": 4,
        "metadata": True,
        "metadataRead": "Tier",
        "newField": True,
        "convert": True,
        "converted": "CANNOT_UPDATE_CONVERTED_LEAD",
        "refresh": [1, 1],
        "limitInfo": 100_000,
        "afterLogout": "INVALID_SESSION_ID",
    }
