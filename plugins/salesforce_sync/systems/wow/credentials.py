"""What the Variable wow_credentials holds."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from salesforce_sync.hooks.credentials import SystemCredentials, require_https, secret

WOW, COMMUNIGATOR = "https://api.wowanalytics.co.uk", "https://api.communigator.co.uk/leads"


class WowCredentials(SystemCredentials):
    """One of three ways to sign in, told apart by what is there: the original API's key, its user name and password, or, with
    oauth_client, CommuniGator's."""

    api_key: str = secret("", "The key of the original API.")
    username: str = Field("", description="The user name.")
    password: str = secret("", "Its password.")
    oauth_client: str = Field("", description="CommuniGator's API: the id of the client that signs in.")
    oauth_secret: str = secret("", "Its secret.")
    client_id: str = Field("", description="Whose leads: left out when the account has one client.")
    base_url: str = Field("", description=f"Where the API is; left out: {WOW}, or with oauth_client {COMMUNIGATOR}.")
    token_url: str = Field(
        "https://oauth.communigator.co.uk/core/connect/token", description="Where CommuniGator signs in."
    )

    _https = field_validator("base_url", "token_url")(lambda value: require_https(value) if value else value)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.oauth_client and not (self.oauth_secret and self.username and self.password):
            raise ValueError("oauth_client also needs oauth_secret, username and password")
        if not self.oauth_client and not self.api_key and not (self.username and self.password):
            raise ValueError(
                "needs api_key, or username and password, or oauth_client with oauth_secret, username and password"
            )
        return self

    @property
    def address(self) -> str:
        """Where the API is."""
        return self.base_url or (COMMUNIGATOR if self.oauth_client else WOW)
