"""What the Variable deployteq_credentials holds."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import AliasChoices, Field, field_validator

from salesforce_sync.hooks.credentials import SystemCredentials, require_https, require_zone, secret

CALLED_WITH = {"version": "1.24", "type": "literal"}  # as clang.wsdl describes the API


class DeployteqCredentials(SystemCredentials):
    """The token of Deployteq's API, which names the account as well."""

    token: str = secret("", "The API token.")
    api_url: str = Field(
        f"https://secure.myclang.com/app/api/soap/public/index.php?{urlencode(CALLED_WITH)}",
        description="Where the API is; `version` is that of its answers. wsdl_url, the older name, is taken as well.",
        validation_alias=AliasChoices("api_url", "wsdl_url"),
    )
    bulk_rows: int = Field(
        50, ge=1, le=1_000, description="Customers per call; Deployteq publishes no limit, and its other calls take 50."
    )

    timezone: str = Field("Europe/Amsterdam", description="Of the dates that the API gives, which name none.")
    online_version_url: str = Field(
        "",
        description="Address of an e-mail's online version, with {mailing_id}, {delivery_id} and {customer_id}; the API gives none.",
    )

    _https = field_validator("api_url")(require_https)

    @field_validator("api_url")
    @classmethod
    def _calls_a_version(cls, value: str) -> str:
        """The address of the description is that of the API with `wsdl` among its parameters; without a version, ours is added."""
        url = urlsplit(value)
        given = {name: value for name, value in parse_qsl(url.query) if name != "wsdl"}
        return url._replace(query=urlencode(CALLED_WITH | given)).geturl()

    _zone = field_validator("timezone")(require_zone)

    @field_validator("online_version_url")
    @classmethod
    def _is_template(cls, value: str) -> str:
        try:
            value.format(mailing_id="", delivery_id="", customer_id="")
        except (KeyError, IndexError, ValueError):
            raise ValueError("may hold {mailing_id}, {delivery_id} and {customer_id}, and no other braces") from None
        return value

    @field_validator("token")
    @classmethod
    def _given(cls, value: str) -> str:
        if not value:
            raise ValueError("missing")
        return value
