"""All vendors on one server, with the same control API as the Salesforce emulator."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

from emulators.control import Clock, Fault, Faults
from emulators.vendors.deployteq import Deployteq
from emulators.vendors.peerspot import PeerSpot
from emulators.wire import Application, Call, Reply, Route, Router


class Vendors:
    """Every vendor's state, one clock and one set of faults."""

    def __init__(self, *, with_demo_data: bool = True) -> None:
        self.clock, self.faults = Clock(), Faults()
        self.peerspot = PeerSpot(self.clock) if with_demo_data else PeerSpot(self.clock, per_day=0)
        self.deployteq = Deployteq(self.clock)

    def reset(self) -> None:
        self.faults.clear()
        self.clock.reset()
        self.peerspot.reset()
        self.deployteq.reset()


def create_app(vendors: Vendors) -> Application:
    def reset(call: Call) -> Reply:
        vendors.reset()
        return Reply({})

    def fault(call: Call) -> Reply:
        ordered = Fault(**json.loads(call.body))
        vendors.faults.add(ordered)
        return Reply({"ordered": asdict(ordered)})

    def clear_faults(call: Call) -> Reply:
        vendors.faults.clear()
        return Reply({})

    def clock(call: Call) -> Reply:
        vendors.clock.stop_at(datetime.fromisoformat(json.loads(call.body)["at"]))
        return Reply({"now": vendors.clock.now().isoformat()})

    router = Router((
        Route(("POST",), "/_emulator/reset", reset),
        Route(("POST",), "/_emulator/faults", fault),
        Route(("DELETE",), "/_emulator/faults", clear_faults),
        Route(("POST",), "/_emulator/clock", clock),
        *vendors.peerspot.control_routes(),
        *vendors.peerspot.routes(),
        *vendors.deployteq.control_routes(),
        *vendors.deployteq.routes(),
    ))  # fmt: skip

    def answer(call: Call) -> Reply:
        found = router.find(call.method, call.path)
        if found is None:
            return Reply({"error": "not found"}, status=404)
        if not callable(found[0]):
            return Reply({"error": "method not allowed"}, status=405)
        return found[0](call)

    def fault_reply(ordered: Fault) -> Reply:
        return Reply(
            ordered.body or {"error": ordered.message or "ordered fault"},
            status=ordered.status,
            content_type=ordered.content_type,
        )

    return Application(answer, vendors.faults, fault_reply)
