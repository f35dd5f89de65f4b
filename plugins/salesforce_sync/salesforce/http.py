"""Connections to Salesforce: pools that threads share, through the proxy and with the CA bundle that the environment names.

The variables are those that requests reads, so that every client of the package goes the same way: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY,
NO_PROXY; REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, a file or a folder.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import urllib3
from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy

from salesforce_sync.errors import InvalidSetting

CONNECTIONS = 8  # kept open to one host


class Http:
    """`request` takes what urllib3's PoolManager takes."""

    def __init__(self) -> None:
        self._pools: dict[str | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def request(self, method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse:
        proxy = select_proxy(url, get_environ_proxies(url, no_proxy=None))
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = _pool(proxy)
        return self._pools[proxy].request(method, url, **options)


def _pool(proxy: str | None) -> urllib3.PoolManager:
    options: dict[str, Any] = {"num_pools": 4, "maxsize": CONNECTIONS, "block": False, **_ca_certificates()}
    if proxy is None:
        return urllib3.PoolManager(**options)
    address = proxy if "://" in proxy else f"http://{proxy}"
    if not address.startswith(("http://", "https://")):
        raise InvalidSetting(
            f"The environment names {address.partition('://')[0]}:// as proxy; Salesforce is reached through http:// and https:// ones.",
            fix="Set HTTPS_PROXY to an http:// address, or name Salesforce's hosts in NO_PROXY.",
        )
    user, password = get_auth_from_url(address)
    headers = urllib3.make_headers(proxy_basic_auth=f"{user}:{password}") if user else {}
    return urllib3.ProxyManager(address, proxy_headers=headers, **options)


def _ca_certificates() -> dict[str, str]:
    name = next((name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name)), None)
    if name is None:
        return {}
    path = os.environ[name]
    if not os.path.exists(path):
        raise InvalidSetting(f"The CA bundle {path}, which {name} names, is not there.", fix=f"Correct {name}.")
    return {"ca_cert_dir" if os.path.isdir(path) else "ca_certs": path}
