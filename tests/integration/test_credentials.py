"""Credentials from Variables and Connections: clear errors, no value shown, secrets masked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from salesforce_sync.errors import InvalidCredentials
from support.airflow import variables

pytestmark = pytest.mark.airflow
GOOD = {"email": "a@b.co", "token": "open sesame"}


def _read() -> object:
    from salesforce_sync.hooks.credentials import read_credentials
    from salesforce_sync.systems.peerspot.credentials import PeerSpotCredentials

    return read_credentials("peerspot", PeerSpotCredentials)


@pytest.mark.requirement("X-01", "PS-14")
def test_credentials_come_from_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    variables(monkeypatch, peerspot_credentials=json.dumps(GOOD))
    assert _read().token == "open sesame"  # type: ignore[attr-defined]


@pytest.mark.requirement("X-01")
def test_credentials_come_from_a_connection_when_there_is_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import BaseHook, Connection

    variables(monkeypatch)
    connection = Connection(
        conn_id="peerspot", conn_type="http", login="a@b.co", password="open sesame", extra='{"per_page": 100}'
    )
    monkeypatch.setattr(BaseHook, "get_connection", lambda _: connection)
    found = _read()
    assert (found.email, found.token, found.per_page) == ("a@b.co", "open sesame", 100)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            None,
            "There are no credentials for peerspot: neither the Variable peerspot_credentials nor a Connection peerspot exists",
        ),
        ('{"email": "a@b.co", "token": "open sesame"', "The Variable peerspot_credentials is not JSON: line 1"),
        ('["open sesame"]', "The Variable peerspot_credentials must be a JSON object"),
        ('{"email": "a@b.co"}', "The Variable peerspot_credentials is not complete: token: missing"),
        ('{"email": "a@b.co", "token": "open sesame", "tokn": "x"}', "tokn: unknown key"),
        (
            '{"email": "a@b.co", "token": "open sesame", "base_url": "http://open.sesame"}',
            "base_url: must begin with https://",
        ),
        ('{"email": "a@b.co", "token": {"open sesame": 1}}', "token: Input should be a valid string"),
        ('{"email": "a@b.co", "token": "sesame\\n"}', "token begins or ends with a blank or a line break"),
        (
            '{"email": "a@b.co", "token": "open\\u200bsesame"}',
            "token holds a character that cannot be seen (U+200B, the 5th)",
        ),
        ('{"email": "a@b.co", "token": "***"}', "token is ***: that is what Airflow shows in place of a secret"),
    ],
)
def test_bad_credentials_say_what_is_wrong_and_show_no_value(
    monkeypatch: pytest.MonkeyPatch, text: str | None, said: str
) -> None:
    variables(monkeypatch, **({} if text is None else {"peerspot_credentials": text}))
    with pytest.raises(InvalidCredentials) as caught:
        _read()
    assert said in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert caught.value.fix


@pytest.mark.requirement("PS-32")
def test_secrets_are_masked_before_they_are_even_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow.sdk.log.mask_secret", masked.append)
    variables(monkeypatch, peerspot_credentials=json.dumps(GOOD | {"unknown": 1}))
    with pytest.raises(InvalidCredentials):
        _read()
    assert masked == ["open sesame"]


def test_the_hook_gives_airflows_own_client_on_the_same_session(monkeypatch: pytest.MonkeyPatch, world: object) -> None:
    from salesforce_sync.hooks.salesforce import SalesforceSyncHook

    variables(monkeypatch, salesforce_credentials=json.dumps(world.salesforce_credentials))  # type: ignore[attr-defined]
    hook = SalesforceSyncHook()
    conn = hook.get_conn()
    assert conn.session_id == hook.client.session.opened.token


@pytest.mark.parametrize(
    ("parts", "address"),
    [
        ({"host": "https://test.example/app?wsdl"}, "https://test.example/app?version=1.24&type=literal"),
        (
            {"host": "test.example", "port": 8443},
            "https://test.example:8443/app/api/soap/public/index.php?version=1.24&type=literal",
        ),
        (
            {"host": "127.0.0.1", "schema": "http", "port": 8080},
            "http://127.0.0.1:8080/app/api/soap/public/index.php?version=1.24&type=literal",
        ),
        ({}, "https://secure.myclang.com/app/api/soap/public/index.php?version=1.24&type=literal"),
    ],
)
def test_a_connection_counts_with_all_its_parts(
    monkeypatch: pytest.MonkeyPatch, parts: dict[str, Any], address: str
) -> None:
    from airflow.sdk import BaseHook, Connection

    from salesforce_sync.hooks.credentials import read_credentials
    from salesforce_sync.systems.deployteq.credentials import DeployteqCredentials

    variables(monkeypatch)
    connection = Connection(conn_id="deployteq", conn_type="http", password="fake-token", **parts)
    monkeypatch.setattr(BaseHook, "get_connection", lambda _: connection)
    assert read_credentials("deployteq", DeployteqCredentials).api_url == address
