"""The Salesforce emulator by raw HTTP, for what no client of ours sends."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlencode

import urllib3

from support.world import World

HTTP = urllib3.PoolManager()


class Raw:
    """Requests with a valid token; gives (status, parsed body or text)."""

    def __init__(self, world: World) -> None:
        self.url = world.salesforce_url
        self.headers = {"authorization": f"Bearer {world.org.sign_in()}"}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        reply = self.reply(method, path, body, **headers)
        text = reply.data.decode()
        return reply.status, json.loads(text) if "json" in reply.headers.get("content-type", "") and text else text

    def reply(self, method: str, path: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
        url = path if path.startswith("http") else f"{self.url}/services/data/v66.0{path}"
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        return HTTP.request(method, url, body=data, headers=self.headers | headers)

    def query(self, soql: str) -> tuple[int, Any]:
        return self("GET", "/query?" + urlencode({"q": soql}))


def eventually(done: Any, seconds: float = 10) -> Any:
    """What `done` gives as soon as it gives something true; AssertionError when it never does."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)
    return found
