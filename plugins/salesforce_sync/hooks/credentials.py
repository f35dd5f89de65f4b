"""Credentials of every system: from a JSON Variable, or from a Connection named after the system where the Variable is absent.

Every secret is masked before anything else happens, and no message here shows a value.
"""

from __future__ import annotations

import json
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from salesforce_sync.errors import InvalidCredentials
from salesforce_sync.salesforce.session import API_VERSION
from salesforce_sync.salesforce.signin import ClientCredentials, JwtBearer, SignIn, UsernamePassword, is_loopback

PRODUCTION_LOGIN, SANDBOX_LOGIN = "https://login.salesforce.com", "https://test.salesforce.com"
# Airflow's connection types, as SQLAlchemy names them; others have one name in both.
DRIVERS = {"postgres": "postgresql+psycopg", "mysql": "mysql+pymysql", "mssql": "mssql+pymssql"}
Model = TypeVar("Model", bound="SystemCredentials")


def require_https(url: str) -> str:
    """The URL, if it is https, or http to this machine; ValueError otherwise."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        raise ValueError("must begin with https:// (http:// only for this machine)")
    return url.rstrip("/")


def require_zone(name: str) -> str:
    """The name, if it is that of a time zone; ValueError otherwise."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("is no time zone, such as Europe/Amsterdam") from None
    return name


class SystemCredentials(BaseModel):
    """What all systems have in common. A field marked `secret` is masked in logs."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        """Stray characters of a paste are named here, and not by whatever they break later."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if not _is_secret(type(self), name) or not isinstance(value, str) or value.startswith("-----BEGIN"):
                continue
            if value and not value.strip("*"):
                raise ValueError(
                    f"{name} is {value}: that is what Airflow shows in place of a secret; paste the secret itself"
                )
            if value != value.strip():
                raise ValueError(f"{name} begins or ends with a blank or a line break: copy it again, without")
            hidden = next((place for place, sign in enumerate(value) if not sign.isprintable()), None)
            if hidden is not None:
                code = f"U+{ord(value[hidden]):04X}"
                raise ValueError(
                    f"{name} holds a character that cannot be seen ({code}, the {hidden + 1}th): copy it again"
                )
        return self

    def secrets(self) -> list[str]:
        """Every value that must not be seen."""
        return [
            value
            for name in type(self).model_fields
            if _is_secret(type(self), name) and isinstance(value := getattr(self, name), str) and value
        ]


def _is_secret(model: type[BaseModel], name: str) -> bool:
    extra = model.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("secret"))


def secret(default: Any, description: str, **rules: Any) -> Any:
    """A field of credentials that is masked in logs and never shown; `rules` are those of pydantic's Field."""
    return Field(default, description=description, repr=False, json_schema_extra={"secret": True}, **rules)


class SalesforceCredentials(SystemCredentials):
    """One of three ways to sign in, told apart by what is there: consumer key with secret, consumer key with private key, or password."""

    login_url: str = Field("", description="The org's My Domain URL; needed for client credentials.")
    sandbox: bool = Field(False, description="Sign in at test.salesforce.com when login_url is not given.")
    consumer_key: str = secret("", "Consumer key of the External Client App.")
    consumer_secret: str = secret("", "Its consumer secret: client credentials.")
    private_key: str = secret("", "PEM private key of its certificate: JWT bearer, with username.")
    audience: str = Field(
        "",
        description="JWT bearer: the audience of the token. Left out: login.salesforce.com, or for a sandbox test.salesforce.com.",
    )
    username: str = Field("", description="The integration user.")
    password: str = secret("", "Its password, for the SOAP login that Salesforce retires in Summer '27.")
    security_token: str = secret("", "Its security token; a new password voids it.")
    api_version: str = Field(API_VERSION, pattern=r"^\d\d\.0$", description="REST API version.")

    _https = field_validator("login_url")(lambda value: require_https(value) if value else value)

    @model_validator(mode="after")
    def _one_way(self) -> SalesforceCredentials:
        if self.consumer_key and self.private_key and not self.username:
            raise ValueError("JWT bearer (consumer_key and private_key) also needs username")
        if self.consumer_key and self.consumer_secret and not self.private_key and not self.login_url:
            raise ValueError(
                "client credentials (consumer_key and consumer_secret) also need login_url, the org's My Domain"
            )
        if not (self.consumer_key and (self.private_key or self.consumer_secret)) and not (
            self.username and self.password
        ):
            raise ValueError(
                "needs consumer_key and consumer_secret, or consumer_key, private_key and username, or username, password and security_token"
            )
        return self

    def sign_in(self) -> SignIn:
        """The way to sign in."""
        login_url = self.login_url or (SANDBOX_LOGIN if self.sandbox else PRODUCTION_LOGIN)
        if self.consumer_key and self.private_key:
            is_sandbox = self.sandbox or ".sandbox." in login_url or login_url == SANDBOX_LOGIN
            audience = self.audience or (SANDBOX_LOGIN if is_sandbox else PRODUCTION_LOGIN)
            return JwtBearer(login_url, self.consumer_key, self.username, self.private_key, audience)
        if self.consumer_key and self.consumer_secret:
            return ClientCredentials(login_url, self.consumer_key, self.consumer_secret)
        return UsernamePassword(login_url, self.username, self.password, self.security_token)

    @property
    def is_retiring(self) -> bool:
        """Whether the way to sign in is the one that Salesforce retires."""
        return isinstance(self.sign_in(), UsernamePassword)


def credentials_variable(system: str) -> str:
    """The Variable that holds the system's credentials as JSON; docs/operations.md shows what is in it."""
    return f"{system}_credentials"


def is_set_up(system: str) -> bool:
    """Whether there are credentials for the system, be they right or wrong."""
    return _from_variable(credentials_variable(system)) is not None or _connection(system) is not None


def read_credentials(system: str, model: type[Model]) -> Model:
    """The system's credentials, masked. InvalidCredentials names the Variable and what is wrong, without showing any value."""
    variable = credentials_variable(system)
    raw = _from_variable(variable)
    source = f"The Variable {variable}"
    if raw is None:
        raw, source = _from_connection(system, model), f"The Connection {system}"
    if raw is None:
        raise InvalidCredentials(
            f"There are no credentials for {system}: neither the Variable {variable} nor a Connection {system} exists.",
            fix=f"Create the Variable {variable} under Admin > Variables; docs/operations.md shows its JSON.",
        )
    _mask(value for key, value in raw.items() if key in model.model_fields and _is_secret(model, key))
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(
            _problem(item) for item in error.errors(include_input=False, include_context=False, include_url=False)
        )
        raise InvalidCredentials(
            f"{source} is not complete: {problems}.",
            fix="docs/operations.md shows the JSON of every credentials Variable.",
        ) from None


def _problem(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"])
    message = {"extra_forbidden": "unknown key", "missing": "missing"}.get(
        item["type"], item["msg"].removeprefix("Value error, ")
    )
    return f"{place}: {message}" if place else message


def _from_variable(name: str) -> dict[str, Any] | None:
    from airflow.sdk import Variable

    text = Variable.get(name, default=None)
    if text is None:
        return None
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except ValueError as error:
        position = f"line {getattr(error, 'lineno', '?')}, column {getattr(error, 'colno', '?')}"
        raise InvalidCredentials(
            f"The Variable {name} is not JSON: {position}.",
            fix="Write it as a JSON object: quotes around keys and values.",
        ) from None
    if not isinstance(value, dict):
        raise InvalidCredentials(
            f"The Variable {name} must be a JSON object.", fix='Write it as {"key": "value", ...}.'
        )
    return value


def _from_connection(system: str, model: type[BaseModel]) -> dict[str, Any] | None:
    """Login is the username or e-mail, password the password or token; schema, host and port are the address; everything else is in extra."""
    connection = _connection(system)
    if connection is None:
        return None
    known = model.model_fields
    secret = "token" if "token" in known else "password"
    address = _address(connection)
    found = {"username": connection.login, "email": connection.login, secret: connection.password}
    found |= dict.fromkeys(("login_url", "base_url"), address)
    if (
        address and "api_url" in known and "wsdl_url" not in connection.extra_dejson
    ):  # where the host alone is given, the API is where it usually is
        given = urlsplit(address)
        found["api_url"] = given._replace(path=given.path or urlsplit(str(known["api_url"].default)).path).geturl()
    if "url" in known:  # of a database
        found["url"] = _database_url(connection)
    values: dict[str, Any] = {name: value for name, value in found.items() if name in known and value}
    return values | dict(connection.extra_dejson)


def _database_url(connection: Any) -> str:
    """The SQLAlchemy URL of a Connection; its extra `url` overrides it whole, for a driver that Airflow has no type for."""
    from sqlalchemy import URL

    url = URL.create(
        DRIVERS.get(connection.conn_type, connection.conn_type), connection.login, connection.password,
        connection.host or None, connection.port, connection.schema or None,
    )  # fmt: skip
    return url.render_as_string(hide_password=False)


def _connection(system: str) -> Any:
    from airflow.exceptions import AirflowNotFoundException
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowRuntimeError

    try:
        return BaseHook.get_connection(system)
    except (AirflowNotFoundException, AirflowRuntimeError):
        return None


def _address(connection: Any) -> str:
    """The URL that the Connection's parts make; https unless its schema or its host say otherwise."""
    host = (connection.host or "").rstrip("/")
    if not host:
        return ""
    parts = urlsplit(host if "://" in host else f"{connection.schema or 'https'}://{host}")
    if connection.port and parts.port is None:
        parts = parts._replace(netloc=f"{parts.netloc}:{connection.port}")
    return parts.geturl()


def _mask(values: Any) -> None:
    from airflow.sdk.log import mask_secret

    for value in values:
        if isinstance(value, str) and value:
            mask_secret(value)
