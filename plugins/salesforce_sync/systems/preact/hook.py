"""Preact's API, version 2.

Documented by the vendor: POST /events, /people, /accounts, /metrics and /metrics/bulk with JSON, Basic authentication by project code and API
secret; answers {"success": true or false, "error": ...}. The vendor's own sample code reads GET /reports/{id}/list?limit= on another host,
which answers {"results": [...]} with `external_identifier`. Assumed: further keys as the mappings name them, and `offset` for the next page.
No call deletes anything, and none gives a single record.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from salesforce_sync.errors import InvalidCredentials, RequestRejected, ServiceUnavailable, SyncError
from salesforce_sync.hooks.credentials import read_credentials
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import VendorResult
from salesforce_sync.staging import BATCH_ROWS
from salesforce_sync.systems.preact.credentials import PreactCredentials
from salesforce_sync.systems.vendor import VendorHook

PAGE_ROWS = 5_000  # of a report's page: what the vendor's sample code asks for
ACCOUNTS, PEOPLE = "accounts", "people"
KINDS = {ACCOUNTS: "account", PEOPLE: "person"}  # stream -> the key under which a record is sent
REFUSED = "REFUSED_BY_PREACT"
EXTERNAL, EMAIL = "external_identifier", "email"


class PreactHook(VendorHook):
    """Streams: `accounts` are known by `external_identifier`, `people` by `email`. What is written to one that is there changes it."""

    system = "preact"
    batch_size = 1  # records in a call of `save`: the API has no bulk call for them

    @cached_property
    def credentials(self) -> PreactCredentials:
        return read_credentials("preact", PreactCredentials)

    @property
    def root_url(self) -> str:
        return self.credentials.base_url

    @property
    def secrets(self) -> list[str]:
        return [*self.credentials.secrets(), self.credentials.project_code]

    @property
    def _headers(self) -> dict[str, str]:
        joined = f"{self.credentials.project_code}:{self.credentials.api_secret}"
        return {"authorization": f"Basic {b64encode(joined.encode()).decode()}", "accept": "application/json"}

    def test(self) -> str:
        """Tries the keys by sending no metrics, which changes nothing, and each report by its first record."""
        self._sent("/metrics/bulk", {"data": []})
        for stream in KINDS:
            if self._report(stream):
                self._page(stream, limit=1, offset=0)
        return "You are successfully connected to Preact"

    def problems(self, mapping: MappingFile) -> list[str]:
        paths = {item.vendor for item in mapping.fields.values()}
        if mapping.vendor.stream not in KINDS:
            return [f"vendor.stream {mapping.vendor.stream!r}: there are {' and '.join(KINDS)}"]
        wanted = EXTERNAL if mapping.vendor.stream == ACCOUNTS else EMAIL
        return [] if wanted in paths else [f"a record of {mapping.vendor.stream} needs {wanted}"]

    # -- out of Preact -------------------------------------------------------------------------------------------------

    def whole(self, stream: str, paths: Sequence[str], *, also: Sequence[str] = ()) -> Iterator[Columns]:
        """All records of the stream's report: see engine.read_whole.WholeSource."""
        if not self._report(stream):
            raise InvalidCredentials(
                f"preact_credentials names no {self._report_name(stream)}, so the metrics of {stream} cannot be read.",
                fix="Make a report in Preact that lists all of them, and set the id in its address; docs/runbooks/preact.md.",
            )
        waiting: list[dict[str, Any]] = []
        for page in self._pages(stream):
            waiting += page
            if len(waiting) >= BATCH_ROWS:
                yield Columns.of(waiting, [*paths, *also])
                waiting = []
        if waiting:
            yield Columns.of(waiting, [*paths, *also])

    def _pages(self, stream: str) -> Iterator[list[dict[str, Any]]]:
        """Until a page is empty: Preact may give less than it is asked for. A report that knows no `offset` gives one page
        again and again; then that page is all, unless it is full."""
        offset, before = 0, b""
        while page := self._page(stream, limit=PAGE_ROWS, offset=offset):
            content = hashlib.blake2b(json.dumps(page).encode()).digest()
            if content == before:
                if len(page) < PAGE_ROWS:
                    return
                raise ServiceUnavailable(
                    f"The report {self._report(stream)} gives one page again and again, and nobody knows what it leaves out.",
                    fix=f"Preact gives {PAGE_ROWS:,} rows at most then: make the report smaller, or read the metrics elsewhere (preact_source).",
                )
            yield page
            offset, before = offset + len(page), content

    def _page(self, stream: str, *, limit: int, offset: int) -> list[dict[str, Any]]:
        report = self._report(stream)
        params = {"limit": limit, "offset": offset}
        try:
            answer = self._reports.get_json(f"/reports/{report}/list", params=params, headers=self._headers)
        except RequestRejected as error:
            if error.code != "404":
                raise
            raise InvalidCredentials(
                f"Preact has no report {report}, which preact_credentials names as {self._report_name(stream)}.",
                fix="Open the report in Preact: its id is in the address.",
            ) from None
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list) or not all(isinstance(item, dict) for item in results):
            raise ServiceUnavailable(f"The report {report} answered without a list of `results`.")
        return results

    def _report(self, stream: str) -> str:
        known = {ACCOUNTS: self.credentials.accounts_report, PEOPLE: self.credentials.people_report}
        if stream not in known:
            raise InvalidCredentials(
                f"Preact has no stream {stream!r}.", fix=f"Set vendor.stream of the mapping to {' or '.join(known)}."
            )
        return known[stream]

    def _report_name(self, stream: str) -> str:
        return "accounts_report" if stream == ACCOUNTS else "people_report"

    @cached_property
    def _reports(self) -> _Reports:
        return _Reports(self.credentials)

    # -- into Preact ---------------------------------------------------------------------------------------------------

    def save(self, stream: str, records: Sequence[Mapping[str, Any]], *, unique: Sequence[str]) -> list[VendorResult]:
        """See VendorTarget. A record that Preact has already is changed by the same call, so it can be repeated."""
        return [self._write(stream, record) for record in records]

    def update(self, stream: str, vendor_id: str, record: Mapping[str, Any]) -> VendorResult:
        """See VendorTarget. The call that makes a record changes it, too; it needs what the record is known by."""
        if stream == ACCOUNTS:
            return self._write(stream, {EXTERNAL: vendor_id, **record})
        if EMAIL not in record:
            known = self.get(stream, vendor_id)
            if known is None or not known.get(EMAIL):
                return VendorResult(None, REFUSED, f"Preact's report of people has no e-mail address of {vendor_id}")
            record = {EMAIL: known[EMAIL], **record}
        return self._write(stream, record)

    def _write(self, stream: str, record: Mapping[str, Any]) -> VendorResult:
        self._looked_up.clear()
        try:
            self._sent(f"/{stream}", {KINDS[stream]: record})
        except RequestRejected as error:
            return VendorResult(None, error.code, str(error.args[0]))
        return VendorResult(id_of(stream, record))

    def _sent(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer; RequestRejected for one that says that it was no success."""
        answer = self.send_json("POST", path, body={**body, "format": "json"}, headers=self._headers)
        if isinstance(answer, dict) and answer.get("success") is False:
            raise RequestRejected(
                f"preact refused the request: {self._shown(str(answer.get('error') or ''))}", code=REFUSED
            )
        return answer

    def _status_error(self, status: int, text: str, *, retry_after: float | None = None) -> SyncError:
        """In the vendor's own words, where the answer has them."""
        try:
            told = json.loads(text).get("error")
        except (ValueError, AttributeError):
            told = None
        return super()._status_error(status, str(told or text), retry_after=retry_after)

    def find(
        self,
        stream: str,
        records: Sequence[Mapping[str, Any]],
        *,
        unique: Sequence[str],
        beat: Callable[[], None] = lambda: None,
    ) -> list[Mapping[str, Any] | None]:
        """See VendorTarget. Nothing hangs on who was there before, and Preact finds its records itself: None for each."""
        return [None] * len(records)

    def get(self, stream: str, vendor_id: str) -> Mapping[str, Any] | None:
        """See VendorTarget. The whole report is read once for it, and kept until something is written."""
        if stream not in self._looked_up:
            if not self._report(stream):
                raise InvalidCredentials(
                    f"What Preact has of {stream} is not known: preact_credentials names no {self._report_name(stream)}.",
                    fix="Make a report that lists them with what the mapping sends, and set its id in preact_credentials.",
                )
            found: dict[str, bytes] = {}
            for page in self._pages(stream):
                found |= {name: json.dumps(item).encode() for item in page if (name := id_of(stream, item))}
            self._looked_up[stream] = found
        text = self._looked_up[stream].get(vendor_id)
        return None if text is None else json.loads(text)

    @cached_property
    def _looked_up(self) -> dict[str, dict[str, bytes]]:
        return {}

    def delete(self, stream: str, vendor_ids: Iterable[str]) -> None:
        """See VendorTarget. RequestRejected: Preact has no call for it."""
        if list(vendor_ids):
            raise RequestRejected("Preact's API deletes nothing: delete the record in Preact itself.", code=REFUSED)


class _Reports(VendorHook):
    """The host that reports are read from."""

    system = "preact"

    def __init__(self, credentials: PreactCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    @property
    def root_url(self) -> str:
        return self._credentials.reports_url

    @property
    def secrets(self) -> list[str]:
        return [*self._credentials.secrets(), self._credentials.project_code]


def id_of(stream: str, record: Mapping[str, Any]) -> str:
    """By what a record is linked: an account's external identifier, or a hash of a person's e-mail address, which is personal
    data; "" for a record that has none. Two Contacts with one address are one person there."""
    if stream == ACCOUNTS:
        return str(record.get(EXTERNAL) or "")
    email = str(record.get(EMAIL) or "").lower()
    return hashlib.blake2b(email.encode(), digest_size=16).hexdigest() if email else ""
