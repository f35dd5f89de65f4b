"""The ways to sign in to Salesforce. Each is a value; `open_session` turns it into an access token and the org's address."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import urllib3

from salesforce_sync.errors import (
    AuthenticationFailed,
    InvalidCredentials,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
)
from salesforce_sync.ids import whole_id
from salesforce_sync.salesforce.http import Http
from salesforce_sync.salesforce.wire_errors import PASSING_STATUSES, RETRYABLE_CODES, moved, read_error

LOGIN_SECONDS = 30
JWT_LIFETIME_SECONDS = 120  # Salesforce takes at most three minutes
SOAP_VERSION = "59.0"  # login() is gone from 65.0 on
# What the token endpoint says when the credentials, or what they may do, are wrong; anything else is no word on them.
REFUSALS = frozenset({
    "invalid_client", "invalid_client_id", "invalid_client_credentials", "invalid_grant", "unauthorized_client", "inactive_user", "inactive_org",
    "invalid_app_access", "app_not_found", "unsupported_grant_type", "invalid_request", "invalid_assertion", "access_denied", "OAUTH_APP_BLOCKED",
})  # fmt: skip
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class OpenSession:
    """An access token and the address that it is valid at; `org_id` has 18 characters."""

    token: str = field(repr=False)
    instance_url: str
    org_id: str


class SignIn(Protocol):
    """One way to sign in; its `secrets` are never shown."""

    @property
    def secrets(self) -> tuple[str, ...]: ...

    def open_session(self, http: Http) -> OpenSession: ...


@dataclass(frozen=True)
class ClientCredentials:
    """OAuth 2.0 client credentials of an External Client App; `login_url` must be the org's My Domain."""

    login_url: str
    consumer_key: str
    consumer_secret: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.consumer_secret, self.consumer_key

    def open_session(self, http: Http) -> OpenSession:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.consumer_key,
            "client_secret": self.consumer_secret,
        }
        return _oauth(http, self.login_url, form)


@dataclass(frozen=True)
class JwtBearer:
    """OAuth 2.0 JWT bearer: no secret travels, the app's certificate signs. `private_key` is PEM."""

    login_url: str
    consumer_key: str
    username: str
    private_key: str = field(repr=False)
    audience: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.private_key, self.consumer_key

    def open_session(self, http: Http) -> OpenSession:
        import jwt

        claims = {
            "iss": self.consumer_key,
            "sub": self.username,
            "aud": self.audience or self.login_url,
            "exp": int(time.time()) + JWT_LIFETIME_SECONDS,
        }
        try:
            assertion = jwt.encode(claims, self.private_key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise InvalidCredentials(
                "salesforce_credentials: private_key is not a PEM private key.",
                fix="Paste the whole key file, with its BEGIN and END lines.",
            ) from error
        return _oauth(
            http, self.login_url, {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        )


@dataclass(frozen=True)
class UsernamePassword:
    """SOAP login with username, password and security token: supported until Salesforce retires it in Summer '27."""

    login_url: str
    username: str
    password: str = field(repr=False)
    security_token: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.password + self.security_token, self.password, self.security_token

    def open_session(self, http: Http) -> OpenSession:  # noqa: ARG002 - simple-salesforce brings its own
        import requests
        from simple_salesforce.exceptions import SalesforceAuthenticationFailed
        from simple_salesforce.login import SalesforceLogin

        session = requests.Session()
        session.mount("https://", _fixed_target(self.login_url))
        try:
            token, instance = SalesforceLogin(
                username=self.username, password=self.password, security_token=self.security_token, sf_version=SOAP_VERSION, session=session,
                domain="login",
            )  # fmt: skip
        except SalesforceAuthenticationFailed as error:
            if error.code in RETRYABLE_CODES or "RATE_EXCEEDED" in str(error.code):
                raise ServiceUnavailable(f"Salesforce sign-in at {self.login_url} answered {error.code}.") from error
            raise AuthenticationFailed(
                f"Salesforce refused the sign-in of {self.username}: {error.message}",
                fix="Check username, password and security token (a new password voids the token), or move to client credentials or JWT.",
            ) from error
        except requests.RequestException as error:
            raise ServiceUnavailable(
                f"Salesforce sign-in at {self.login_url} gave no answer: {type(error).__name__}."
            ) from error
        local = is_loopback(self.login_url)
        return OpenSession(
            token, self.login_url.rstrip("/") if local else f"https://{instance}", _org_id(token.partition("!")[0])
        )


def _fixed_target(login_url: str) -> Any:
    """A requests adapter that sends every request to `login_url`, with a time-out: simple-salesforce knows neither."""
    from requests import ConnectionError, PreparedRequest, Response
    from requests.adapters import HTTPAdapter

    target = urlsplit(login_url)

    class FixedTarget(HTTPAdapter):
        def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
            request.url = urlsplit(str(request.url))._replace(scheme=target.scheme, netloc=target.netloc).geturl()
            reply = super().send(request, *args, **(kwargs | {"timeout": LOGIN_SECONDS}))
            if b"loginResponse" not in reply.content and b"faultcode" not in reply.content:
                raise ConnectionError(f"{reply.status_code}, and no answer of Salesforce's", response=reply)
            return reply

    return FixedTarget()


def is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in LOOPBACK


def _oauth(http: Http, login_url: str, form: dict[str, str]) -> OpenSession:
    url = f"{login_url.rstrip('/')}/services/oauth2/token"
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    try:
        reply = http.request(
            "POST", url, body=urlencode(form), headers=headers, timeout=LOGIN_SECONDS, retries=False, redirect=False
        )
    except urllib3.exceptions.HTTPError as error:
        raise ServiceUnavailable(
            f"Salesforce sign-in at {login_url} gave no answer: {type(error).__name__}."
        ) from error
    if reply.status >= 500 or reply.status in PASSING_STATUSES:
        raise ServiceUnavailable(f"Salesforce sign-in at {login_url} answered {reply.status}.")
    if reply.status != 200:
        said = read_error(reply.status, reply.data)
        if "rate exceeded" in said.message:
            raise RateLimited("Salesforce sign-in")
        if 300 <= reply.status < 400:
            raise moved(reply.status, reply.headers.get("location", ""), f"sign-in at {login_url}")
        if said.code == "unknown_error":  # "retry your request"
            raise ServiceUnavailable(f"Salesforce sign-in at {login_url} answered {reply.status}: {said.message}.")
        if said.code not in REFUSALS and reply.status not in (401, 403):
            raise RequestRejected(
                f"There is no sign-in at {login_url}: it answered {reply.status} {said.code} {said.message}.",
                code=str(reply.status),
                fix="Check login_url in salesforce_credentials: the org's My Domain, such as https://acme.my.salesforce.com.",
            )
        raise AuthenticationFailed(
            f"Salesforce refused the sign-in at {login_url}: {said.code}: {said.message}.",
            fix="Check the Variable salesforce_credentials: login_url (My Domain, not login.salesforce.com, for client credentials), consumer key "
            "and secret or private key, and that the integration user is allowed to use the app.",
        )
    try:
        answer = json.loads(reply.data)
        token, instance = answer["access_token"], answer["instance_url"].rstrip("/")
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceUnavailable(
            f"Salesforce sign-in at {login_url} gave half an answer ({type(error).__name__})."
        ) from error
    if not instance.startswith("https://") and not (is_loopback(instance) and is_loopback(login_url)):
        raise RequestRejected(
            f"Salesforce's sign-in at {login_url} named {instance} as the org's address: the token goes to https only."
        )
    # The identity URL ends in /id/<org>/<user>. The token itself need not tell the org: some are JWTs.
    return OpenSession(token, instance, _org_id(str(answer.get("id", "")).split("/")[-2:][0]))


def _org_id(text: str) -> str:
    """The org's id with 18 characters. State is kept apart by it, so nothing else may pass for one."""
    org_id = whole_id(text)
    if org_id is None or not org_id.startswith("00D"):
        raise RequestRejected("Salesforce's sign-in did not say which org it is.", code="NO_ORG_ID")
    return org_id
