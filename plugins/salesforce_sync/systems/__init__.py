"""THE list: every system that the package connects Salesforce with. A new one is one more line; the rest of it is in its own room here.

A room holds `hook.py` with the class that the list names, `credentials.py`, `settings.py` with a tuple SETTINGS, and whatever else only
this system needs. docs/adding-an-integration.md builds one from nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from salesforce_sync.settings import SHARED, Setting

if TYPE_CHECKING:
    from salesforce_sync.systems.vendor import VendorHook

SYSTEMS = {
    "deployteq": "DeployteqHook",
    "peerspot": "PeerSpotHook",
    "preact": "PreactHook",
    "spotio": "SpotioHook",
    "wow": "WowHook",
}


def vendor_hook(system: str) -> VendorHook:
    """A new hook of this system. Rooms are imported here, not above, so that a DAG file stays quick to parse."""
    hook: type[VendorHook] = getattr(_part(system, "hook"), SYSTEMS[system])
    return hook()


def all_settings() -> dict[str, Setting]:
    """Every setting of the package by the name of its Variable."""
    own = [setting for system in SYSTEMS for setting in _part(system, "settings").SETTINGS]
    return {setting.name: setting for setting in (*SHARED, *own)}


def _part(system: str, name: str) -> Any:
    return import_module(f"{__name__}.{system}.{name}")
