"""All vendors on one server, with the same control API as the Salesforce emulator."""

from __future__ import annotations

import json
import pkgutil
from dataclasses import asdict
from datetime import datetime
from importlib import import_module
from typing import Any

from emulators import vendors as rooms
from emulators.control import Clock, Fault, Faults
from emulators.vendors.vendor import Vendor
from emulators.wire import Application, Call, Reply, Route, Router


class Vendors:
    """Every vendor's state by its system, one clock and one set of faults. A module of this package is a vendor when it has EMULATOR."""

    def __init__(self, *, with_demo_data: bool = True) -> None:
        self.clock, self.faults = Clock(), Faults()
        modules = (import_module(f"{rooms.__name__}.{info.name}") for info in pkgutil.iter_modules(rooms.__path__))
        found: list[Vendor] = [
            module.EMULATOR(self.clock, demo=with_demo_data) for module in modules if hasattr(module, "EMULATOR")
        ]
        self.systems = {vendor.system: vendor for vendor in found}

    def reset(self) -> None:
        self.faults.clear()
        self.clock.reset()
        for vendor in self.systems.values():
            vendor.reset()

    def credentials(self, root: str) -> dict[str, dict[str, Any]]:
        """What each system's credentials are, at the server's address `root`."""
        return {system: vendor.credentials(root) for system, vendor in self.systems.items()}

    def dump(self) -> dict[str, Any]:
        """What is kept between two starts, as JSON takes it."""
        return {system: vendor.dump() for system, vendor in self.systems.items()}

    def restore(self, kept: dict[str, Any]) -> None:
        """Becomes what was dumped."""
        for system, state in kept.items():
            if system in self.systems and state is not None:
                self.systems[system].restore(state)


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
        *(route for vendor in vendors.systems.values() for route in (*vendor.control_routes(), *vendor.routes())),
    ))  # fmt: skip

    def answer(call: Call) -> Reply:
        found = router.find(call.method, call.path)
        if found is None:
            return Reply({"error": "not found"}, status=404)
        if not callable(found[0]):
            return Reply({"error": "method not allowed"}, status=405)
        handler, values = found
        return handler(call, **values)

    def fault_reply(ordered: Fault) -> Reply:
        return Reply(
            ordered.body or {"error": ordered.message or "ordered fault"},
            status=ordered.status,
            content_type=ordered.content_type,
        )

    return Application(answer, vendors.faults, fault_reply)
