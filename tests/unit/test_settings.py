"""The list of Variables, and the checks of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from salesforce_sync.errors import InvalidSetting
from salesforce_sync.hooks.credentials import SalesforceCredentials, credentials_variable
from salesforce_sync.salesforce.signin import ClientCredentials, JwtBearer, UsernamePassword
from salesforce_sync.settings import ALERT_EMAILS, parse_setting
from salesforce_sync.systems import SYSTEMS, all_settings
from salesforce_sync.systems.peerspot.credentials import PeerSpotCredentials
from salesforce_sync.systems.peerspot.settings import RETENTION_DAYS

SETTINGS = all_settings()
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.mark.requirement("PS-19")
@pytest.mark.parametrize(("text", "value"), [("180", 180), ("1", 1), ("999", 999), (" 30 ", 30)])
def test_a_retention_from_1_to_999_is_taken(text: str, value: int) -> None:
    assert parse_setting(RETENTION_DAYS, text) == value


@pytest.mark.requirement("PS-19")
@pytest.mark.parametrize("text", ["0", "1000", "-1", "1.5", "many", "", "१"])
def test_a_retention_outside_the_rule_names_the_variable_and_the_fix(text: str) -> None:
    with pytest.raises(InvalidSetting, match="peerspot_retention_days") as caught:
        parse_setting(RETENTION_DAYS, text)
    assert "it must be a whole number from 1 to 999" in str(caught.value)
    assert "Admin > Variables" in caught.value.fix


@pytest.mark.requirement("PS-19")
def test_the_default_retention_is_180_days() -> None:
    assert parse_setting(RETENTION_DAYS, RETENTION_DAYS.default) == 180


@pytest.mark.parametrize(
    ("text", "addresses"), [("", []), ("a@b.co", ["a@b.co"]), ("a@b.co, c@d.co;e@f.co", ["a@b.co", "c@d.co", "e@f.co"])]
)
def test_alert_addresses_are_a_list(text: str, addresses: list[str]) -> None:
    assert parse_setting(ALERT_EMAILS, text) == addresses


def test_an_alert_address_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="alert_emails"):
        parse_setting(ALERT_EMAILS, "a@b.co, nobody")


@pytest.mark.parametrize("name", [*SETTINGS, *map(credentials_variable, ("salesforce", *SYSTEMS))])
def test_every_variable_is_described_in_the_operations_guide(name: str) -> None:
    assert f"`{name}`" in OPERATIONS.read_text()


@pytest.mark.parametrize("name", SETTINGS)
def test_every_default_keeps_its_own_rule(name: str) -> None:
    parse_setting(SETTINGS[name], SETTINGS[name].default)


# -- credentials ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "way"),
    [
        ({"login_url": "https://x.my.salesforce.com", "consumer_key": "k", "consumer_secret": "s"}, ClientCredentials),
        ({"consumer_key": "k", "private_key": "p", "username": "u"}, JwtBearer),
        ({"username": "u", "password": "p", "security_token": "t"}, UsernamePassword),
    ],
)
def test_the_way_to_sign_in_follows_from_what_is_there(raw: dict[str, Any], way: type) -> None:
    assert isinstance(SalesforceCredentials(**raw).sign_in(), way)


@pytest.mark.parametrize(
    ("more", "audience"),
    [
        ({}, "https://login.salesforce.com"),
        ({"login_url": "https://acme.my.salesforce.com"}, "https://login.salesforce.com"),
        ({"login_url": "https://acme--dev.sandbox.my.salesforce.com"}, "https://test.salesforce.com"),
        ({"login_url": "https://acme.my.salesforce.com", "sandbox": True}, "https://test.salesforce.com"),
        ({"login_url": "https://acme.my.site.com", "audience": "https://acme.my.site.com"}, "https://acme.my.site.com"),
    ],
)
def test_a_jwt_is_for_salesforces_own_sign_in_whatever_the_address(more: dict[str, Any], audience: str) -> None:
    known = SalesforceCredentials(consumer_key="k", private_key="p", username="u", **more)
    assert known.sign_in().audience == audience  # type: ignore[attr-defined]


@pytest.mark.requirement("PS-15", "X-04")
def test_a_sandbox_signs_in_at_test_salesforce_com() -> None:
    raw = {"username": "u", "password": "p", "security_token": "t"}
    assert SalesforceCredentials(**raw, sandbox=True).sign_in().login_url == "https://test.salesforce.com"  # type: ignore[attr-defined]
    assert SalesforceCredentials(**raw).sign_in().login_url == "https://login.salesforce.com"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"consumer_key": "k", "consumer_secret": "s"},
        {"consumer_key": "k", "private_key": "p"},
        {"username": "u"},
        {"username": "u", "password": "p", "surprise": 1},
        {"login_url": "http://x.my.salesforce.com", "consumer_key": "k", "consumer_secret": "s"},
        {"username": "u", "password": "p", "api_version": "latest"},
    ],
)
def test_credentials_that_cannot_work_are_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SalesforceCredentials(**raw)


@pytest.mark.requirement("PS-06")
def test_peerspot_is_spoken_to_over_https_only_but_for_this_machine() -> None:
    with pytest.raises(ValidationError, match="must begin with https://"):
        PeerSpotCredentials(email="a@b.co", token="t", base_url="http://www.peerspot.com")
    assert (
        PeerSpotCredentials(email="a@b.co", token="t", base_url="http://127.0.0.1:8000/").base_url
        == "http://127.0.0.1:8000"
    )
    assert PeerSpotCredentials(email="a@b.co", token="t").base_url == "https://www.peerspot.com"


@pytest.mark.requirement("PS-32")
def test_credentials_do_not_show_their_secrets() -> None:
    assert "open sesame" not in repr(PeerSpotCredentials(email="a@b.co", token="open sesame"))
    known = SalesforceCredentials(username="u", password="open sesame", security_token="and more")
    assert "open sesame" not in repr(known)
    assert "and more" not in repr(known)
    assert known.secrets() == ["open sesame", "and more"]
