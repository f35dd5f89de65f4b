"""The leads API of WOW Analytics, in both of its generations, which differ in how one signs in and in where they are.

Documented by the vendor: the paths, the headers and the page's keys (the original's samples and wiki), and the OAuth password grant
(CommuniGator's specification). Dates are days, both inclusive. Nothing is ever written: no call takes the state of a lead.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from salesforce_sync.errors import AuthenticationFailed, InvalidCredentials, RequestRejected, ServiceUnavailable
from salesforce_sync.hooks.credentials import read_credentials
from salesforce_sync.systems.vendor import TIMEOUT_SECONDS, VendorHook
from salesforce_sync.systems.wow.credentials import WowCredentials
from salesforce_sync.windows import DateWindow

TAKE = 200  # leads of a page
EARLY_SECONDS = 60  # before its end, a token counts as over
PAGE_KEYS = frozenset({"data", "hasNextPage", "totalItemCount"})


class WowHook(VendorHook):
    """Reads the leads that visited within some days, a page at a time."""

    system = "wow"

    def __init__(self) -> None:
        super().__init__()
        self._token, self._token_ends = "", 0.0

    @cached_property
    def credentials(self) -> WowCredentials:
        return read_credentials("wow", WowCredentials)

    @property
    def root_url(self) -> str:
        return self.credentials.address

    @property
    def secrets(self) -> list[str]:
        return [*self.credentials.secrets(), self.credentials.username, self._token]

    @property
    def _headers(self) -> dict[str, str]:
        known = self.credentials
        if known.oauth_client:
            return {"authorization": f"Bearer {self._access_token()}"}
        if known.api_key:
            return {"_apiKey": known.api_key, "api-version": "2"}
        return {"_username": known.username, "_password": known.password, "api-version": "2"}

    def _access_token(self) -> str:
        if time.monotonic() >= self._token_ends:
            answer = self.tried(self._sign_in)
            self._token = str(answer["access_token"])
            self._token_ends = time.monotonic() + float(answer.get("expires_in", 3_600)) - EARLY_SECONDS
        return self._token

    def _get(self, path: str) -> Any:
        """The answer; after a token that is refused before its end, with a new one."""
        try:
            return self.get_json(path, headers=self._headers)
        except AuthenticationFailed:
            if not self._token:
                raise
            self._token_ends = 0.0
            return self.get_json(path, headers=self._headers)

    def _sign_in(self) -> Any:
        known = self.credentials
        pair = b64encode(f"{known.oauth_client}:{known.oauth_secret}".encode()).decode()
        form = {
            "grant_type": "password", "username": known.username, "password": known.password, "scope": "openid GatorLeadsApi",
        }  # fmt: skip
        reply = self.session.post(
            known.token_url, data=form, headers={"authorization": f"Basic {pair}"}, timeout=TIMEOUT_SECONDS, allow_redirects=False,
        )  # fmt: skip
        if reply.status_code in (400, 401):  # what OAuth says of wrong keys, and of a wrong password
            raise self.refused_credentials(str(reply.status_code))
        if not 200 <= reply.status_code < 300:
            raise self._error(reply)
        answer = self.parsed(reply)
        if not isinstance(answer, dict) or not answer.get("access_token"):
            raise ServiceUnavailable("wow signed in and gave no token.")
        return answer

    def test(self) -> str:
        """Asks for the clients of the account."""
        client = self.client
        self._get(f"/client/{client}/leads/types")
        return "You are successfully connected to WOW Analytics"

    @cached_property
    def client(self) -> str:
        """Whose leads are read."""
        answer = self._get("/clients")
        known = (
            {str(item.get("id") or item.get("clientId")): item for item in answer} if isinstance(answer, list) else {}
        )
        wanted = self.credentials.client_id
        if wanted and wanted not in known:
            raise InvalidCredentials(
                f"wow_credentials names the client {wanted}, which the account has not.",
                fix=f"It has: {', '.join(known) or 'none'}.",
            )
        if not wanted and len(known) != 1:
            raise InvalidCredentials(
                f"The account has {len(known)} clients, and wow_credentials names none.",
                fix=f"Set client_id to one of {', '.join(known)}.",
            )
        return wanted or next(iter(known))

    def read(self, kind: str, *, window: DateWindow) -> Iterator[list[dict[str, Any]]]:
        """The leads of this type that visited within the window, a page at a time. ServiceUnavailable for half a page."""
        page, seen, before = 1, 0, None
        while True:
            path = (
                f"/client/{self.client}/leads/{kind}/{window.first.isoformat()}/{window.last.isoformat()}/{page}/{TAKE}"
            )
            try:
                answer = self._get(path)
            except RequestRejected as error:
                if error.code == "404" and page == 1:
                    raise InvalidCredentials(
                        f"WOW Analytics has no leads of the type {kind!r}: it answered 404.",
                        fix="Correct the Variable wow_lead_types, or base_url in wow_credentials.",
                    ) from None
                raise
            if not isinstance(answer, dict) or not set(answer) >= PAGE_KEYS:
                raise ServiceUnavailable(
                    f"wow: page {page} of the leads is none: it lacks {', '.join(sorted(PAGE_KEYS))}."
                )
            data, total = answer["data"], answer["totalItemCount"]
            whole = isinstance(data, list) and all(isinstance(lead, dict) for lead in data) and isinstance(total, int)
            if not whole or (data and data == before):
                raise ServiceUnavailable(
                    f"wow: page {page} of the leads is {'the one before it' if whole else 'no list of leads'}."
                )
            seen, before = seen + len(data), data
            yield data
            if not answer["hasNextPage"]:
                break
            if not data:
                raise ServiceUnavailable(f"wow: page {page} of the leads is empty, and says that there are more.")
            page += 1
        if seen < total:
            raise ServiceUnavailable(f"wow: {total} leads were announced, {seen} came.")
