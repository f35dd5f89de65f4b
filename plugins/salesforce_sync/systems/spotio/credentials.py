"""What the Variable spotio_credentials holds."""

from __future__ import annotations

from pydantic import Field, field_validator

from salesforce_sync.hooks.credentials import SystemCredentials, require_https, require_zone, secret


class SpotioCredentials(SystemCredentials):
    """A key of SPOTIO's API: Settings > Integrations > API Access, for administrators. It may do what its maker may."""

    client_id: str = Field(min_length=1, description="The key's client id.")
    secret: str = secret(..., "The key's secret, which SPOTIO shows once.", min_length=1)
    base_url: str = Field("https://api.spotio2.com", description="Where the API is.")
    requests_per_second: float = Field(
        5.0, gt=0, le=100, description="How fast the API is called. SPOTIO publishes no limit."
    )

    timezone: str = Field("UTC", description="Where the company is: the day of an activity is the day there.")

    _zone = field_validator("timezone")(require_zone)
    _https = field_validator("base_url")(require_https)
