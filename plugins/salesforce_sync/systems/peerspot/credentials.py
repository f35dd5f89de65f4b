"""What the Variable peerspot_credentials holds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from salesforce_sync.hooks.credentials import SystemCredentials, require_https, secret


class PeerSpotCredentials(SystemCredentials):
    """E-mail and token that PeerSpot's customer success manager gives out. The other keys fit the hook to an account that differs."""

    email: str = Field(min_length=3, description="The e-mail address that the token was given out for.")
    token: str = secret(..., "The token.", min_length=1)
    base_url: str = Field("https://www.peerspot.com", description="Where the API is.")
    path: str = Field("/api/v1/intent/activities", description="Path of the activities.")
    auth: Literal["header_pair", "bearer", "basic", "query"] = Field(
        "header_pair", description="How e-mail and token are sent."
    )
    items_path: str = Field(
        "activities", description="Dotted path of the list in the answer, unless the answer is the list."
    )
    next_page_path: str = Field("next_page", description="Dotted path of the next page's number in the answer.")
    per_page: int = Field(500, ge=1, le=1000, description="Records per page.")
    fields: dict[str, str] = Field(
        default_factory=dict, description="Our name of a field -> the vendor's, where they differ."
    )

    _https = field_validator("base_url")(require_https)
