"""Deployteq's SOAP API ("Clang", version 1.24), as far as the sync uses it: customers, and what became of the e-mails they were sent.

state.py is what the vendor knows, answers.py what it says of it, faults.py what it refuses, types.py its types.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from emulators.control import Clock
from emulators.vendors.deployteq.answers import Answers
from emulators.vendors.deployteq.faults import check_token
from emulators.vendors.deployteq.state import State
from emulators.vendors.deployteq.types import NAMESPACE, TYPES
from emulators.vendors.vendor import Vendor
from emulators.vendors.wsdl import SoapService
from emulators.wire import Call, Reply, Route

TOKEN = "fake-deployteq-token"
PATH = "/deployteq/app/api/soap/public/index.php"


class Deployteq(Vendor):
    """`calls` counts the calls of each method of Answers; `codes` are what the next calls answer instead of 0, without a fault."""

    system = "deployteq"

    def __init__(self, clock: Clock, *, demo: bool) -> None:
        super().__init__(clock, demo=demo)
        self.calls: Counter[str] = Counter()
        self.codes: list[int] = []
        self.state = State(clock)
        self.answers = Answers(self.state)
        self._lock = threading.Lock()
        self.service = SoapService("clang", NAMESPACE, TYPES, self.answers.operations(self._guarded))

    def _guarded(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*, uuid: str, **arguments: Any) -> Any:
            self.calls[answer.__name__] += 1
            check_token(uuid, known=TOKEN)
            with self._lock:
                return answer(**arguments)

        return checked

    def reset(self) -> None:
        self.calls.clear()
        self.codes.clear()
        self.state.reset()

    def credentials(self, root: str) -> dict[str, Any]:
        return {"api_url": root + PATH, "token": TOKEN}

    def dump(self) -> dict[str, Any]:
        with self._lock:
            return self.state.dump()

    def restore(self, kept: dict[str, Any]) -> None:
        self.state.restore(kept)

    # -- what tests and the demo order ----------------------------------------------------------------------------------------------

    def refuse(self, email_address: str) -> None:
        """A customer with this address is not valid."""
        self.state.refused.add(email_address)

    def send(self, name: str, customers: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """See State.send."""
        return self.state.send(name, customers)

    def behave(self, delivery: dict[str, Any], *kinds: str) -> None:
        """See State.behave."""
        self.state.behave(delivery, *kinds)

    def queue(self, groups: Sequence[int], *, prefix: str, every: int, phone: str) -> int:
        """Makes the groups, and puts every `every`-th customer whose externalId begins so into the first, its phone number changed."""
        for number in groups:
            self.state.groups.setdefault(number, [])
        queued = self.state.groups[groups[0]]
        customers = self.state.customers.values()
        known = [item for item in customers if str(item.get("externalId", "")).startswith(prefix)]
        for customer in known[::every]:
            self.state.change(customer, {"workPhone": phone})
            if customer["id"] not in queued:
                queued.append(customer["id"])
        return len(queued)

    # -- routes -------------------------------------------------------------------------------------------------------------------

    def routes(self) -> tuple[Route, ...]:
        return (Route(("GET",), PATH, self._describe), Route(("POST",), PATH, self._call))

    def _describe(self, call: Call) -> Reply:
        if "wsdl" not in call.query:
            return Reply({"error": "add ?wsdl"}, status=400)
        return self.service.wsdl(f"{call.base_url}{PATH}?version=1.24&type=literal")

    def _call(self, call: Call) -> Reply:
        return self.service.call(call.body, code=self.codes.pop(0) if self.codes else 0)

    def control_routes(self) -> tuple[Route, ...]:
        def refuse(call: Call) -> Reply:
            self.refuse(json.loads(call.body)["email_address"])
            return Reply({})

        def send(call: Call) -> Reply:
            self.state.send_newsletter(json.loads(call.body)["name"])
            return Reply({})

        def queue(call: Call) -> Reply:
            order = json.loads(call.body)
            queued = self.queue(order["groups"], prefix=order["prefix"], every=order["every"], phone=order["phone"])
            return Reply({"queued": queued})

        def groups(_: Call) -> Reply:
            return Reply({str(number): len(found) for number, found in self.state.groups.items()})

        def customers(_: Call) -> Reply:
            return Reply(json.loads(json.dumps(list(self.state.customers.values()))))

        return (
            Route(("POST",), "/_emulator/deployteq/queue", queue),
            Route(("GET",), "/_emulator/deployteq/groups", groups),
            Route(("POST",), "/_emulator/deployteq/refuse", refuse),
            Route(("POST",), "/_emulator/deployteq/mailing", send),
            Route(("GET",), "/_emulator/deployteq/calls", lambda _: Reply(dict(self.calls))),
            Route(("GET",), "/_emulator/deployteq/customers", customers),
        )


EMULATOR = Deployteq
