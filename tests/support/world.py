"""The emulators in this process: real HTTP, with their insides at hand for what a test has to arrange or to look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from emulators.control import Fault
from emulators.salesforce.app import create_app as salesforce_app
from emulators.salesforce.org import Org
from emulators.salesforce.soql.parser import parse
from emulators.salesforce.soql.results import shaper
from emulators.serving import serve
from emulators.vendors.app import Vendors
from emulators.vendors.app import create_app as vendors_app
from emulators.vendors.deployteq import Deployteq
from emulators.vendors.peerspot import PeerSpot
from emulators.vendors.preact import Preact
from emulators.vendors.spotio import Spotio
from emulators.vendors.wow import Wow
from salesforce_sync.salesforce.client import SalesforceClient
from salesforce_sync.salesforce.metadata import DescriptionStore
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.signin import ClientCredentials


@dataclass
class World:
    org: Org
    vendors: Vendors
    salesforce_url: str
    vendors_url: str

    @classmethod
    @contextmanager
    def start(cls, folder: Path) -> Iterator[World]:
        org, vendors = Org(folder), Vendors(with_demo_data=False)
        with serve(salesforce_app(org, {"empty": None})) as salesforce_url, serve(vendors_app(vendors)) as vendors_url:
            yield cls(org, vendors, salesforce_url, vendors_url)

    def reset(self) -> None:
        self.org.reset()
        self.vendors.reset()

    def later(self, seconds: float) -> None:
        """Time passes, on every side."""
        self.org.clock.shift(seconds)
        self.vendors.clock.shift(seconds)

    # -- Salesforce ---------------------------------------------------------------------------------------------------------------

    def client(self, descriptions: DescriptionStore | None = None) -> SalesforceClient:
        """A client that waits for nothing: retries follow each other at once."""
        known = self.org.credentials
        sign_in = ClientCredentials(self.salesforce_url, known.consumer_key, known.consumer_secret)
        return SalesforceClient(Session(sign_in, sleep=lambda _: None), descriptions=descriptions)

    def insert(self, object_name: str, *rows: dict[str, Any]) -> list[str]:
        """Records put into the org past all HTTP, by the org's own rules; gives their ids."""
        results = self.org.dml.insert(self.org.schema.objects[object_name], rows)
        assert [str(result.error) for result in results if result.error] == []
        return [str(result.id) for result in results]

    def update(self, object_name: str, *rows: dict[str, Any]) -> None:
        results = self.org.dml.update(self.org.schema.objects[object_name], rows)
        assert [str(result.error) for result in results if result.error] == []

    def delete(self, object_name: str, *ids: str) -> None:
        results = self.org.dml.delete(self.org.schema.objects[object_name], ids)
        assert [str(result.error) for result in results if result.error] == []

    def query(self, soql: str) -> list[dict[str, Any]]:
        """The org's records, read past all HTTP, without any `attributes`."""
        compiled = self.org.compiler.compile(parse(soql), soql)
        shape = shaper(compiled, "66.0", self.org.schema)
        rows = self.org.store.reader.execute(compiled.sql, compiled.parameters).fetchall()
        return [_plain(shape(row)) for row in rows]

    def count(self, object_name: str) -> int:
        return self.org.store.count(self.org.schema.objects[object_name])

    def salesforce_fault(self, **options: Any) -> None:
        self.org.faults.add(Fault(**options))

    # -- vendors ------------------------------------------------------------------------------------------------------------------

    @property
    def peerspot(self) -> PeerSpot:
        return self.vendors.systems["peerspot"]

    @property
    def deployteq(self) -> Deployteq:
        return self.vendors.systems["deployteq"]

    @property
    def preact(self) -> Preact:
        return self.vendors.systems["preact"]

    @property
    def spotio(self) -> Spotio:
        return self.vendors.systems["spotio"]

    @property
    def wow(self) -> Wow:
        return self.vendors.systems["wow"]

    def add_activities(self, *records: dict[str, Any]) -> None:
        self.peerspot.order({"add": list(records)})

    def vendor_fault(self, **options: Any) -> None:
        self.vendors.faults.add(Fault(**options))

    @property
    def salesforce_credentials(self) -> dict[str, Any]:
        known = self.org.credentials
        return {
            "login_url": self.salesforce_url,
            "consumer_key": known.consumer_key,
            "consumer_secret": known.consumer_secret,
        }

    @property
    def peerspot_credentials(self) -> dict[str, Any]:
        return self.peerspot.credentials(self.vendors_url)

    @property
    def deployteq_credentials(self) -> dict[str, Any]:
        return self.deployteq.credentials(self.vendors_url)

    @property
    def preact_credentials(self) -> dict[str, Any]:
        return self.preact.credentials(self.vendors_url)

    @property
    def spotio_credentials(self) -> dict[str, Any]:
        return self.spotio.credentials(self.vendors_url)

    def add_customer(self, values: dict[str, Any]) -> None:
        """A customer that Deployteq has from elsewhere."""
        self.deployteq.state.change(self.deployteq.state.add(), values)

    @property
    def customers(self) -> list[dict[str, Any]]:
        """Deployteq's customers, without what it adds to them."""
        hidden = {"id", "createdAt", "modifiedAt", "smsOptIn", "mailStatus"}
        return [
            {name: value for name, value in customer.items() if name not in hidden}
            for customer in self.deployteq.state.customers.values()
        ]


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _plain(value) if isinstance(value, dict) else value for key, value in record.items() if key != "attributes"
    }


def activity(number: int = 1, *, day: date = date(2026, 11, 10), **changes: Any) -> dict[str, Any]:
    """An activity as PeerSpot gives it."""
    record = {
        "id": f"act-{number}",
        "date_visited": day.isoformat(),
        "company_name": "Acme",
        "domain": "www.acme.com",
        "country": "Netherlands",
        "state": "Utrecht",
        "city": "Utrecht",
        "partial_ip": "192.0.2.x",
        "activity": "Visited 3 Pages",
        "pages_visited": 3,
        "products": [{"id": "101", "name": "Demo Firewall"}],
        "category": "Firewalls",
    }
    return record | changes
