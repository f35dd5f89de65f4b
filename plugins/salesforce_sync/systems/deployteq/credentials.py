"""What the Variable deployteq_credentials holds."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from salesforce_sync.hooks.credentials import SystemCredentials, require_https, secret


class DeployteqCredentials(SystemCredentials):
    """The token of Deployteq's API, which names the account as well."""

    token: str = secret("", "The API token.")
    wsdl_url: str = Field(
        "https://secure.myclang.com/app/api/soap/public/index.php?wsdl", description="Where the API describes itself."
    )
    bulk_rows: int = Field(
        50, ge=1, le=1_000, description="Customers per call; Deployteq publishes no limit, and its other calls take 50."
    )

    timezone: str = Field("Europe/Amsterdam", description="Of the dates that the API gives, which name none.")
    online_version_url: str = Field(
        "",
        description="Address of an e-mail's online version, with {mailing_id}, {delivery_id} and {customer_id}; the API gives none.",
    )

    _https = field_validator("wsdl_url")(require_https)

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("is no time zone, such as Europe/Amsterdam") from None
        return value

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
