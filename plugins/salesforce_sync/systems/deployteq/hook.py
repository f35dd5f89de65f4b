"""Deployteq's SOAP API, which its documents call Clang.

Known from its WSDL: operations and types. Every call takes the token first and answers `code` and `msg`. Sets are made first, and read in pages
of 50 when they are READY. Known from tests of others against the live service: the faults below, and that a customer who is inserted
without `optIn` is opted in. Not published: limits, the time zone of its dates (a setting here), and what a bulk call does when one of its
customers is not valid. So such a call is cut in half until the bad customer stands alone.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from functools import cached_property
from time import sleep as pause
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import requests
import zeep.exceptions
from urllib3.util import parse_url

from salesforce_sync.errors import RateLimited, RequestRejected, ServiceUnavailable, TransientError
from salesforce_sync.hooks.credentials import read_credentials
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.paths import as_text, value_at
from salesforce_sync.records import MISSING_AT_VENDOR, Collection, VendorResult
from salesforce_sync.systems.deployteq.credentials import DeployteqCredentials
from salesforce_sync.systems.deployteq.soap import connect, customer_elements
from salesforce_sync.systems.vendor import VendorHook
from salesforce_sync.windows import DateWindow

log = logging.getLogger(__name__)

CONNECTED = "You are successfully connected to Deployteq"
WRONG_TOKENS = frozenset({"101", "202"})  # faults: a token that is not known, and one that is malformed
IS_MEMBER, NO_CUSTOMER = "107", "213"  # faults: is in the group already; there is none with this id
OPTIONS, CONSENT = "options", "optIn"
PAGE = 50  # Deployteq's limit: fault 105 above it
PROBES = 5  # customers of a refused call who are sent alone, to learn whether the fault is theirs or the mapping's
RESOURCE_TRIES, LONGEST_RESOURCE_WAIT_SECONDS = 40, 15.0
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
NEVER = "0000-00-00"  # how PHP and MySQL write that there is no date
WORDS_FOR_NOTHING = {"birthday": (NEVER,), "poBox": ("0",), "gender": ("UNKNOWN",), "maritalStatus": ("UNKNOWN",)}
COUNTERS = ("customers", "received", "opens", "clicks", "bounces", "complaints")


class DeployteqHook(VendorHook):
    """Streams: `customers`, plain dicts of the API's field names; `options` holds the customer option fields by name. And `mailings` with
    their `deliveries`: every e-mail to somebody, and what became of it."""

    system = "deployteq"
    requests_per_second = 20.0  # a guess that is easy on a service which publishes no limit
    only_new: ClassVar[frozenset[str]] = frozenset(
        {"status"}
    )  # who is a customer or on the blacklist by now is not to be set back
    defaults: ClassVar[Mapping[str, str]] = {CONSENT: "N"}  # or the service would opt a new customer in

    def __init__(self) -> None:
        super().__init__()
        self._mapping_is_proven = False

    @cached_property
    def credentials(self) -> DeployteqCredentials:
        return read_credentials("deployteq", DeployteqCredentials)

    @property
    def root_url(self) -> str:
        url = parse_url(self.credentials.api_url)
        return f"{url.scheme}://{url.netloc}"

    @property
    def secrets(self) -> list[str]:
        return self.credentials.secrets()

    @cached_property
    def _service(self) -> Any:
        return connect(self, self.credentials.api_url)

    def test(self) -> str:
        """Asks how many customers there are; gives a sentence that says that it works, raises when it does not."""
        self._call("customer_getTotalNumberOfCustomers")
        return CONNECTED

    def _check_stream(self, stream: str) -> None:
        if stream != "customers":
            raise ValueError(f"Deployteq has no stream {stream!r}: there is `customers`")

    def save(self, stream: str, records: Sequence[Mapping[str, Any]], *, unique: Sequence[str]) -> list[VendorResult]:
        """Updates the customers that have the same values in the `unique` paths, and inserts the others; a result for each, in order."""
        self._check_stream(stream)
        fields = [path for path in unique if not path.startswith(f"{OPTIONS}.")]
        options = [path.removeprefix(f"{OPTIONS}.") for path in unique if path.startswith(f"{OPTIONS}.")]
        size = self.credentials.bulk_rows
        groups = [records[start : start + size] for start in range(0, len(records), size)]
        return [result for group in groups for result in self._save(group, fields, options)]

    def _save(self, records: Sequence[Mapping[str, Any]], fields: list[str], options: list[str]) -> list[VendorResult]:
        customers = {"Customer": [_customer(record) for record in records]}
        try:
            unique = {"string": fields}, {"string": options}
            saved = self._change("customer_insertBulkUnique", customers, *unique, again=_repeatable(records))
        except RequestRejected as error:
            if len(records) == 1:
                return [VendorResult(None, error.code, str(error.args[0]))]
            if not self._mapping_is_proven and len(records) > PROBES:
                return self._save_probes_first(records, fields, options)
            middle = len(records) // 2
            return [*self._save(records[:middle], fields, options), *self._save(records[middle:], fields, options)]
        found = saved.Customer if saved is not None else []
        if len(found) != len(records) or not all(customer.id for customer in found):
            raise ServiceUnavailable(f"deployteq: {len(records)} customers were sent, {len(found)} came back.")
        self._mapping_is_proven = True
        return [VendorResult(str(customer.id)) for customer in found]

    def _save_probes_first(
        self, records: Sequence[Mapping[str, Any]], fields: list[str], options: list[str]
    ) -> list[VendorResult]:
        """The first call was refused: a few customers alone tell whether the mapping is at fault, before each of the others is tried.

        They are others at each try: bad customers who happen to be chosen do not stop the rest for ever.
        """
        chosen = sorted(random.sample(range(len(records)), PROBES))
        probed = {place: self._save([records[place]], fields, options)[0] for place in chosen}
        refused = {_without_numbers(str(result.message)) for result in probed.values() if result.vendor_id is None}
        rest = [place for place in range(len(records)) if place not in probed]
        if not self._mapping_is_proven and len(refused) == 1:
            first = probed[chosen[0]]
            unsent = first._replace(
                message=f"not sent alone: {PROBES} others were all refused like this: {first.message}"
            )
            return [probed.get(place, unsent) for place in range(len(records))]
        self._mapping_is_proven = True  # each of the others stands for itself
        others = dict(zip(rest, self._save([records[place] for place in rest], fields, options), strict=True))
        return [(probed | others)[place] for place in range(len(records))]

    @property
    def batch_size(self) -> int:
        """How many customers go in one call of `save`."""
        return self.credentials.bulk_rows

    def update(self, stream: str, vendor_id: str, record: Mapping[str, Any]) -> VendorResult:
        """Updates the customer with this id, its unique fields among them; MISSING_AT_VENDOR when there is none."""
        self._check_stream(stream)
        try:
            customer = _customer(record) | {"id": int(vendor_id)}
            self._change("customer_update", customer, again=_repeatable([record]))
        except RequestRejected as error:
            code = error.code if self._exists(vendor_id) else MISSING_AT_VENDOR
            return VendorResult(None, code, str(error.args[0]))
        return VendorResult(vendor_id)

    def get(self, stream: str, vendor_id: str) -> dict[str, Any] | None:
        """The customer with this id, as `save` takes it, with `id`; None when there is none."""
        self._check_stream(stream)
        try:
            found = self._call("customer_getById", int(vendor_id))
        except RequestRejected as error:
            if error.code == NO_CUSTOMER:
                return None
            raise
        return _record(found) if found is not None and found.id else None

    def problems(self, mapping: MappingFile) -> list[str]:
        """A sentence for each path that no customer has, and for consent that is not marked as such."""
        self._check_stream(mapping.vendor.stream)
        paths = [*(str(item.vendor) for item in mapping.fields.values()), *mapping.vendor.constants]
        plain = [path for path in paths if not path.startswith(f"{OPTIONS}.")]
        found = [
            f"Deployteq's customers have no {path}" for path in plain if path not in customer_elements() - {OPTIONS}
        ]
        if CONSENT in plain and mapping.consent != CONSENT:
            found.append(f"{CONSENT} is a person's consent: map a field to it with `consent: true`, and no constant")
        return found

    def find(
        self,
        stream: str,
        records: Sequence[Mapping[str, Any]],
        *,
        unique: Sequence[str],
        beat: Callable[[], None] = lambda: None,
    ) -> list[Mapping[str, Any] | None]:
        """The customer that has the unique values of each record, None for none; `beat` is called before each call.

        Many records are looked for among all customers, PAGE of them a call, when that takes fewer calls than asking for each, and when
        the API has no call for what makes them unique.
        """
        self._check_stream(stream)
        one_by_one = not {"externalId", "emailAddress"}.isdisjoint(unique)
        if len(records) > 1 or not one_by_one:
            total = int(self._call("customer_getTotalNumberOfCustomers"))
            if not total:
                return [None] * len(records)
            if total / PAGE < len(records) or not one_by_one:
                return self._find_among_all(records, unique, beat)
        found = []
        for record in records:
            beat()
            found.append(self._find_one(record, unique))
        return found

    def _find_among_all(
        self, records: Sequence[Mapping[str, Any]], unique: Sequence[str], beat: Callable[[], None]
    ) -> list[Mapping[str, Any] | None]:
        wanted = [_unique_values(record, unique) for record in records]
        found: dict[tuple[str, ...], Mapping[str, Any] | None] = dict.fromkeys(wanted)
        for page in self._pages(self._call("customer_getAll"), "customerSet_getCustomers", "Customer"):
            beat()
            for customer in map(_record, page):
                values = _unique_values(customer, unique)
                if values in found:
                    found[values] = found[values] or customer
        return [found[values] for values in wanted]

    def _find_one(self, record: Mapping[str, Any], unique: Sequence[str]) -> Mapping[str, Any] | None:
        for path, operation in (
            ("externalId", "customer_getByExternalId"),
            ("emailAddress", "customer_getByEmailAddress"),
        ):
            if path in unique:
                answer = self._call(operation, str(record[path]))
                found = [_record(item) for item in (answer.Customer if answer is not None else [])]
                return next((item for item in found if _has_values(item, record, unique)), None)
        return None

    def delete(self, stream: str, vendor_ids: Iterable[str]) -> None:
        """Deletes the customers; one that is gone already is no error."""
        self._check_stream(stream)
        for vendor_id in vendor_ids:
            try:
                gone = self._change("customer_delete", {"id": int(vendor_id)})
            except RequestRejected:
                if self._exists(vendor_id):
                    raise
            else:
                if not gone and self._exists(vendor_id):
                    raise RequestRejected(f"deployteq did not delete the customer {vendor_id}, and says no reason.")

    def _exists(self, vendor_id: str) -> bool:
        return self.get("customers", vendor_id) is not None

    # -- groups -------------------------------------------------------------------------------------------------------------------

    def members(self, group: int) -> Iterator[list[dict[str, Any]]]:
        """Yields the group's customers a page at a time, as `save` takes them, with `id`."""
        resource = self._call("group_getMembers", group, False)
        for page in self._pages(resource, "customerSet_getCustomers", "Customer"):
            yield [_record(customer) for customer in page]

    def add_members(self, group: int, customer_ids: Sequence[str]) -> None:
        """Adds the customers to the group; those that are members stay what they are."""
        size = self.credentials.bulk_rows
        for start in range(0, len(customer_ids), size):
            self._add_members(group, customer_ids[start : start + size])

    def _add_members(self, group: int, customer_ids: Sequence[str]) -> None:
        members = [{"id": int(customer_id)} for customer_id in customer_ids]
        try:
            self._call("group_addMembersInBulk", {"id": group}, {"Customer": members})
        except RequestRejected as error:
            if error.code != IS_MEMBER:
                raise
            if len(members) > 1:
                middle = len(members) // 2
                self._add_members(group, customer_ids[:middle])
                self._add_members(group, customer_ids[middle:])

    def remove_members(self, group: int, customer_ids: Iterable[str]) -> None:
        """Takes the customers out of the group; one that is no member any more is no error. The API has no bulk call for it."""
        for customer_id in customer_ids:
            try:
                self._call("group_removeMember", {"id": group}, {"id": int(customer_id)})
            except RequestRejected:
                if self._call("group_hasMember", group, int(customer_id), False).isMember:
                    raise

    # -- e-mails ------------------------------------------------------------------------------------------------------------------

    def collections(self, window: DateWindow) -> list[Collection]:
        """The mailings that were begun in these days. A version tells whether anything was sent, opened, clicked, bounced or complained of."""
        first = datetime.combine(window.first, time.min)
        last = datetime.combine(window.last, time.max)
        resource = self._call("mailing_getByDate", first.strftime(DATE_FORMAT), last.strftime(DATE_FORMAT))
        mailings = [mailing for page in self._pages(resource, "mailingSet_getMailings", "Mailing") for mailing in page]
        return [
            Collection(str(mailing.id), "/".join(str(mailing[name] or 0) for name in COUNTERS), mailing)
            for mailing in mailings
        ]

    def read_collection(self, collection: Collection) -> Iterator[list[dict[str, Any]]]:
        """Yields the mailing's deliveries a page at a time; times are ISO texts in UTC."""
        mailing = collection.content
        resource = self._call("mailing_getDeliverySet", {"id": mailing.id})
        for page in self._pages(resource, "deliverySet_getDeliveries", "Delivery"):
            yield [self._moment(mailing, delivery) for delivery in page]

    def _pages(self, resource: int, operation: str, item: str) -> Iterator[list[Any]]:
        """The pages of a set, which is waited for, and freed at the end."""
        size = self._ready(resource)
        for offset in range(0, size, PAGE):
            page = self._call(operation, resource, offset, PAGE)
            found = list(page[item]) if page is not None and page[item] else []
            if len(found) != min(PAGE, size - offset):
                raise ServiceUnavailable(f"deployteq: the set {resource} has {size} items, {offset + len(found)} came.")
            yield found
        try:
            self._call("resource_free", resource)
        except RequestRejected as error:
            log.warning("%s The set %s was read in full.", error, resource)

    def _ready(self, resource: int) -> int:
        """How many items the set has, once it is READY."""
        for attempt in range(RESOURCE_TRIES):
            found = self._call("resource_getById", resource)
            if found.status == "READY":
                return int(found.size or 0)
            if found.status in ("ERROR", "CLOSED"):
                break
            pause(min(LONGEST_RESOURCE_WAIT_SECONDS, 0.5 * 1.5**attempt))
        raise ServiceUnavailable(f"deployteq: the set {resource} is {found.status}.")

    def _moment(self, mailing: Any, delivery: Any) -> dict[str, Any]:
        opens, clicks = (
            (delivery.opens.Open if delivery.opens else []),
            (delivery.clicks.Click if delivery.clicks else []),
        )
        customer, bounce, complaint = delivery.customer, delivery.bounce, delivery.complaint
        customer_id = None if customer is None else str(customer.id)
        state = (
            "Complained"
            if complaint
            else "Bounced"
            if bounce
            else "Clicked"
            if clicks
            else "Opened"
            if opens
            else "Sent"
        )
        return {
            "id": str(delivery.id), "status": state, "sentAt": self._iso(delivery.deliveryDate),
            "mailing": {"id": str(mailing.id), "name": mailing.contentName or mailing.description, "campaign": mailing.campaignName},
            "customer": {"id": customer_id, "externalId": None if customer is None else customer.externalId},
            "opened": bool(opens), "openCount": len(opens), "firstOpenedAt": self._iso(delivery.firstOpenDate),
            "lastOpenedAt": self._iso(delivery.lastOpenDate), "clicked": bool(clicks), "clickCount": len(clicks),
            "firstClickedAt": self._iso(delivery.firstClickDate), "lastClickedAt": self._iso(delivery.lastClickDate),
            "bounced": bool(bounce), "bouncedAt": self._iso(bounce.bouncedAt) if bounce else None,
            "bounceCategory": bounce.category if bounce else None, "bounceReason": bounce.rule if bounce else None, "complained": bool(complaint),
            "complainedAt": self._iso(complaint.complaintAt) if complaint else None,
            "onlineVersion": self._online_version(mailing.id, delivery.id, customer_id),
        }  # fmt: skip

    def _online_version(self, mailing_id: Any, delivery_id: Any, customer_id: str | None) -> str | None:
        template = self.credentials.online_version_url
        return (
            template.format(mailing_id=mailing_id, delivery_id=delivery_id, customer_id=customer_id)
            if template
            else None
        )

    def _iso(self, text: str | None) -> str | None:
        """A time of the API, in any ISO spelling, in UTC; what is none is given in words that the mapping refuses."""
        if not text or text.startswith(NEVER):
            return None
        zone = self.credentials.timezone
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return f"{text} in {zone}"
        if len(text) <= len(NEVER):  # a day, and no time of it
            return f"{text} in {zone}"
        local = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
        return local.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # -- calls --------------------------------------------------------------------------------------------------------------------

    def _call(self, operation: str, *arguments: Any) -> Any:
        """The `msg` of the answer; RequestRejected for a fault, and for a `code` other than 0."""
        return self._asked(operation, arguments, TransientError, changes=False)

    def _change(self, operation: str, *arguments: Any, again: type[TransientError] = TransientError) -> Any:
        """As `_call`, of an operation that changes something; it is tried again after failures of the kind `again`."""
        return self._asked(operation, arguments, again, changes=True)

    def _asked(self, operation: str, arguments: Sequence[Any], again: type[TransientError], *, changes: bool) -> Any:
        send = getattr(self._service, operation)

        def once() -> Any:
            answer = self._translated(lambda: send(self.credentials.token, *arguments))
            if answer is None or answer.code is None:
                raise ServiceUnavailable(f"deployteq: the answer to {operation} has no code.")
            return answer

        answer = self.tried(once, again=again, changes=changes)
        if answer.code:
            raise RequestRejected(
                f"deployteq refused {operation} ({answer.code}), and says no reason.", code=str(answer.code)
            )
        return answer.msg

    def _translated(self, call: Any) -> Any:
        """The call's answer; zeep's errors as ours."""
        try:
            return call()
        except zeep.exceptions.Fault as fault:
            code = str(fault.code).rpartition(":")[2]
            if code in WRONG_TOKENS:
                raise self.refused_credentials(self._shown(str(fault.message))) from None
            raise RequestRejected(
                f"deployteq refused the request ({code}): {self._shown(str(fault.message))}", code=code
            ) from None
        except (requests.RequestException, zeep.exceptions.Error) as error:
            answered = getattr(error, "response", None)  # requests and zeep keep the status in different places
            status = getattr(error, "status_code", None) if answered is None else answered.status_code
            if status and status >= 400:
                raise self._status_error(status, str(error)) from None
            raise ServiceUnavailable(
                f"deployteq gave no answer that can be read ({type(error).__name__}).",
                fix="If it stays so: check api_url in deployteq_credentials, and whether a proxy or a maintenance page answers.",
            ) from None


def _has_values(customer: Mapping[str, Any], record: Mapping[str, Any], unique: Sequence[str]) -> bool:
    return _unique_values(customer, unique) == _unique_values(record, unique)


def _unique_values(record: Mapping[str, Any], unique: Sequence[str]) -> tuple[str, ...]:
    """The values by which a customer is known; letters' case makes no difference."""
    return tuple(str(value_at(record, path)).lower() for path in unique)


def _repeatable(records: Sequence[Mapping[str, Any]]) -> type[TransientError]:
    """After which failures a call with these customers may be sent again at once. With a yes, only when it was refused as one too many:
    after a lost answer the person may have said no. The engine looks before it sends that one again."""
    return RateLimited if any(record.get(CONSENT) == "Y" for record in records) else TransientError


def _customer(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as the API's type: option fields become a list of names and values. All values are texts, and "" empties one."""
    options = [{"name": name, "value": _text(value)} for name, value in record.get(OPTIONS, {}).items()]
    plain = {name: _text(value) for name, value in record.items() if name != OPTIONS}
    return plain | ({OPTIONS: {"CustomerOption": options}} if options else {})


def _text(value: Any) -> str:
    return "" if value is None else as_text(value) or ""


def _record(customer: Any) -> dict[str, Any]:
    """The API's type as a record: what it has, and its option fields by name. The service's words for nothing are nothing."""
    options = customer[OPTIONS].CustomerOption if customer[OPTIONS] else []
    plain = {name: customer[name] for name in customer if name != OPTIONS and customer[name] not in (None, "")}
    known = {name: value for name, value in plain.items() if str(value) not in WORDS_FOR_NOTHING.get(name, ())}
    return known | {OPTIONS: {option.name: option.value for option in options}}


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "", text)
