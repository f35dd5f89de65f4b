"""Who may come in: grants, rotation, revocation, the rate of logins, and who a session belongs to."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from support.raw import HTTP, Raw
from support.world import World

SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
PARTNER = "{urn:partner.soap.sforce.com}"


def _token(world: World, **form: str) -> tuple[int, Any]:
    known = world.org.credentials
    body = urlencode({"client_id": known.consumer_key, "client_secret": known.consumer_secret} | form)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    reply = HTTP.request("POST", f"{world.salesforce_url}/services/oauth2/token", body=body, headers=headers)
    return reply.status, reply.json()


def _works(world: World, token: str) -> bool:
    reply = HTTP.request(
        "GET", f"{world.salesforce_url}/services/data/v66.0/limits", headers={"authorization": f"Bearer {token}"}
    )
    return reply.status == 200


def _soap(
    raw: Raw, operation: str, *, flavour: str = "u/59.0", session: str | None = None
) -> tuple[int, ElementTree.Element]:
    header = f"<SessionHeader><sessionId>{session}</sessionId></SessionHeader>" if session else ""
    envelope = (
        f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:partner.soap.sforce.com"><s:Header>{header}</s:Header>'
        f"<s:Body>{operation}</s:Body></s:Envelope>"
    )
    status, text = raw("POST", f"{raw.url}/services/Soap/{flavour}", envelope.encode(), SOAPAction="x")
    return status, ElementTree.fromstring(text)


def _login(username: str, password: str) -> str:
    return f"<login><username>{username}</username><password>{password}</password></login>"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "nonsense"}, ("unsupported_grant_type", "grant type not supported")),
        ({"grant_type": "client_credentials", "client_id": "x"}, ("invalid_client_id", "client identifier invalid")),
        ({"grant_type": "client_credentials", "client_secret": "x"}, ("invalid_client", "invalid client credentials")),
        ({"grant_type": "password", "username": "x", "password": "y"}, ("invalid_grant", "authentication failure")),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, ("invalid_grant", "expired access/refresh token")),
        (
            {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "x"},
            ("invalid_grant", "invalid assertion"),
        ),
    ],
)
def test_a_refused_grant_is_an_object_with_error_and_description(
    world: World, form: dict[str, str], error: tuple[str, str]
) -> None:
    status, body = _token(world, **form)
    assert (status >= 400, (body["error"], body["error_description"])) == (True, error)


def test_refresh_tokens_rotate_when_that_is_ordered_and_reuse_ends_the_grant(world: World) -> None:
    first = world.org.credentials.refresh_token
    assert "refresh_token" not in _token(world, grant_type="refresh_token", refresh_token=first)[1]
    world.org.sign_in_rules.rotate_refresh_tokens = True
    rotated = _token(world, grant_type="refresh_token", refresh_token=first)[1]
    assert _works(world, rotated["access_token"])
    again = _token(world, grant_type="refresh_token", refresh_token=rotated["refresh_token"])[1]
    assert _works(world, again["access_token"])
    assert _token(world, grant_type="refresh_token", refresh_token=first)[0] == 400
    assert not _works(world, again["access_token"])
    assert _token(world, grant_type="refresh_token", refresh_token=again["refresh_token"])[0] == 400


def test_a_revoked_token_is_void(world: World) -> None:
    token = world.org.sign_in()
    url = f"{world.salesforce_url}/services/oauth2/revoke"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert HTTP.request("POST", url, body=urlencode({"token": token}), headers=headers).status == 200
    assert not _works(world, token)
    assert HTTP.request("POST", url, body=urlencode({"token": token}), headers=headers).status == 400


def test_too_many_logins_within_an_hour_are_refused(raw: Raw, world: World) -> None:
    order = f"{raw.url}/_emulator/sign-in"
    raw("POST", order, {"logins_per_hour": len(world.org.login_times) + 1})
    assert _token(world, grant_type="client_credentials")[0] == 200
    assert _token(world, grant_type="client_credentials")[1] == {
        "error": "invalid_grant",
        "error_description": "login rate exceeded",
    }
    known = world.org.credentials
    status, root = _soap(raw, _login(known.username, known.password + known.security_token))
    assert (status, root.findtext(f".//{SOAP}Fault/faultcode")) == (500, "sf:LOGIN_RATE_EXCEEDED")
    world.org.clock.shift(3_601)
    assert _token(world, grant_type="client_credentials")[0] == 200


def test_userinfo_and_identity_say_who_it_is(raw: Raw, world: World) -> None:
    about = raw("GET", f"{raw.url}/services/oauth2/userinfo")[1]
    assert set(about) == {
        "sub", "user_id", "organization_id", "preferred_username", "nickname", "name", "email", "email_verified", "given_name", "family_name",
        "zoneinfo", "photos", "profile", "picture", "address", "urls", "active", "user_type", "language", "locale", "utcOffset", "updated_at",
        "is_app_installed",
    }  # fmt: skip
    token = raw.headers["authorization"].removeprefix("Bearer ")
    reply = HTTP.request("GET", f"{about['sub']}?format=json&oauth_token={token}")
    assert (reply.status, reply.json()["username"], reply.json()["organization_id"]) == (
        200,
        world.org.credentials.username,
        about["organization_id"],
    )
    assert HTTP.request("GET", f"{raw.url}/services/oauth2/userinfo").status == 403


def test_addresses_are_built_from_host_and_forwarded_proto(raw: Raw, world: World) -> None:
    headers = {
        "host": "acme.my.salesforce.com",
        "x-forwarded-proto": "https",
        "content-type": "application/x-www-form-urlencoded",
    }
    known = world.org.credentials
    form = urlencode(
        {"grant_type": "client_credentials", "client_id": known.consumer_key, "client_secret": known.consumer_secret}
    )
    body = HTTP.request("POST", f"{raw.url}/services/oauth2/token", body=form, headers=headers).json()
    assert (body["instance_url"], body["id"].startswith("https://acme.my.salesforce.com/id/")) == (
        "https://acme.my.salesforce.com",
        True,
    )
    login = HTTP.request(
        "POST", f"{raw.url}/services/oauth2/token", body=form, headers=headers | {"host": "login.salesforce.com"}
    ).json()
    assert login["error_description"] == "request not supported on this domain"


def test_soap_signs_in_says_who_and_signs_out(raw: Raw, world: World) -> None:
    known = world.org.credentials
    status, root = _soap(raw, _login(known.username, known.password + known.security_token))
    session = root.findtext(f".//{PARTNER}sessionId") or ""
    assert (status, _works(world, session)) == (200, True)
    assert root.findtext(f".//{PARTNER}serverUrl", "").endswith("/services/Soap/u/59.0/00D5g0000000001")
    assert _soap(raw, "<getUserInfo/>", session=session)[1].findtext(f".//{PARTNER}userName") == known.username
    assert (_soap(raw, "<getServerTimestamp/>", session=session)[1].findtext(f".//{PARTNER}timestamp") or "").endswith(
        ".000Z"
    )
    assert _soap(raw, "<logout/>", session=session)[0] == 200
    status, root = _soap(raw, "<getUserInfo/>", session=session)
    assert (status, root.findtext(f".//{SOAP}Fault/faultcode")) == (500, "sf:INVALID_SESSION_ID")


@pytest.mark.parametrize(
    ("flavour", "operation", "code"),
    [
        ("u/59.0", _login("x", "y"), "INVALID_LOGIN"),
        ("c/59.0", _login("x", "y"), "INVALID_LOGIN"),
        ("u/65.0", _login("x", "y"), "UNSUPPORTED_API_VERSION"),
        ("u/30.0", _login("x", "y"), "UNSUPPORTED_API_VERSION"),
    ],
)
def test_soap_faults(raw: Raw, flavour: str, operation: str, code: str) -> None:
    status, root = _soap(raw, operation, flavour=flavour)
    kind = "partner" if flavour.startswith("u") else "enterprise"
    found = root.findtext(f".//{{urn:fault.{kind}.soap.sforce.com}}exceptionCode")
    assert (status, found, root.findtext(f".//{SOAP}Fault/faultcode")) == (500, code, f"sf:{code}")


def test_a_lead_is_converted_by_soap_and_then_refuses_changes(raw: Raw, world: World) -> None:
    (lead,) = world.insert("Lead", {"LastName": "Jansen", "Company": "Acme", "Email": "j@acme.example"})
    session = raw.headers["authorization"].removeprefix("Bearer ")
    order = f"<convertLead><leadConverts><convertedStatus>Closed - Converted</convertedStatus><leadId>{lead}</leadId></leadConverts></convertLead>"
    root = _soap(raw, order, session=session)[1]
    assert root.findtext(f".//{PARTNER}success") == "true"
    contact = root.findtext(f".//{PARTNER}contactId")
    fields = "IsConverted, Status, ConvertedContactId, ConvertedAccount.Name, ConvertedOpportunity.Name"
    assert world.query(f"SELECT {fields} FROM Lead") == [
        {"IsConverted": True, "Status": "Closed - Converted", "ConvertedContactId": contact, "ConvertedAccount": {"Name": "Acme"},
         "ConvertedOpportunity": {"Name": "Acme"}}
    ]  # fmt: skip
    error = raw("PATCH", f"/sobjects/Lead/{lead}", {"Phone": "1"})[1][0]
    assert (error["errorCode"], error["message"]) == ("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
    again = _soap(raw, order, session=session)[1]
    assert (again.findtext(f".//{PARTNER}success"), again.findtext(f".//{PARTNER}statusCode")) == (
        "false",
        "CANNOT_UPDATE_CONVERTED_LEAD",
    )


def test_a_lead_is_converted_by_the_control_api_into_records_that_there_are(raw: Raw, world: World) -> None:
    (lead,) = world.insert("Lead", {"LastName": "Jansen", "Company": "Acme"})
    (account,) = world.insert("Account", {"Name": "Known"})
    body = raw(
        "POST",
        f"{raw.url}/_emulator/leads/convert",
        {"lead_id": lead, "account_id": account, "with_opportunity": False},
    )[1]
    assert (body["accountId"], body["opportunityId"]) == (account, None)
    assert world.query("SELECT LastName, AccountId FROM Contact") == [{"LastName": "Jansen", "AccountId": account}]
