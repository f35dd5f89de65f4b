"""What the Variables preact_credentials and preact_sql_credentials hold."""

from __future__ import annotations

from pydantic import Field, field_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from salesforce_sync.hooks.credentials import SystemCredentials, require_https, secret


class PreactCredentials(SystemCredentials):
    """The project's keys (Preact, Settings > API), and the reports that list accounts and people."""

    project_code: str = Field(description="The project code.")
    api_secret: str = secret(..., "The API secret.")
    accounts_report: str = Field(
        "", description="The id of the report that lists accounts with their metrics: it is in its address."
    )
    people_report: str = Field("", description="The id of the report that lists people.")
    base_url: str = Field("https://api.preact.io/api/v2", description="Where accounts and people are written.")
    reports_url: str = Field("https://secure.preact.com/api/v2", description="Where reports are read.")

    _https = field_validator("base_url", "reports_url")(require_https)


class SqlCredentials(SystemCredentials):
    """How to reach the database that `preact_source` sql queries: a login that can only read."""

    url: str = secret(..., "An SQLAlchemy URL, such as postgresql+psycopg://reader:password@host/database.")

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        try:
            make_url(value)
        except ArgumentError:
            raise ValueError("is no database URL, such as postgresql+psycopg://reader:password@host/database") from None
        return value
