"""THE list: system -> its hook. A new integration is one more line; its own business is in its own room here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from salesforce_sync.hooks.vendor import VendorHook


def vendor_hook(system: str) -> VendorHook:
    """A new hook of this system. Hooks are imported here, not above, so that a DAG file stays quick to parse."""
    from salesforce_sync.hooks.deployteq import DeployteqHook
    from salesforce_sync.hooks.peerspot import PeerSpotHook

    hooks: dict[str, type[VendorHook]] = {"deployteq": DeployteqHook, "peerspot": PeerSpotHook}
    return hooks[system]()
