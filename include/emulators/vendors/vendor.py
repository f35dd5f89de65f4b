"""What every vendor's stand-in has, so that app.py can serve it without knowing it."""

from __future__ import annotations

from typing import Any

from emulators.control import Clock
from emulators.wire import Route


class Vendor:
    """A subclass names its `system`, its state and its routes. `demo` says whether it begins with demo data."""

    system: str

    def __init__(self, clock: Clock, *, demo: bool) -> None:
        self.clock, self.demo = clock, demo

    def credentials(self, root: str) -> dict[str, Any]:
        """What the Variable `<system>_credentials` holds for this stand-in; `root` is the server's address."""
        raise NotImplementedError

    def routes(self) -> tuple[Route, ...]:
        """The vendor's API, under `/<system>`."""
        raise NotImplementedError

    def control_routes(self) -> tuple[Route, ...]:
        """What tests and the demo order, under `/_emulator/<system>`."""
        return ()

    def reset(self) -> None:
        """Forgets everything."""

    def dump(self) -> Any:
        """What is kept between two starts, as JSON takes it; None for nothing."""
        return None

    def restore(self, kept: Any) -> None:
        """Becomes what was dumped."""
