"""HTTP without a framework in the handlers: a Call goes in, a Reply comes out, a Router finds the handler.

Handlers are plain functions, run in a thread. The ASGI side (bodies, gzip, faults of the transport) is in one place, here.
"""

from __future__ import annotations

import gzip
import json
import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from emulators.control import Fault, Faults

GZIP_FROM_BYTES = 1_000
OWN_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
SALESFORCE_DOMAIN = (
    ".salesforce.com"  # clients that are led here keep the name of the org; nobody else can make a name below it
)


@dataclass(frozen=True)
class Call:
    """One request; `path` has its doubled and trailing slashes removed and is percent-decoded."""

    method: str
    path: str
    raw_path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str
    target: str = ""  # path and query as they came

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.text, keep_blank_values=True))


@dataclass
class Reply:
    """One answer; `body` is sent as JSON unless it is bytes or text."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json;charset=UTF-8"

    def encoded(self) -> bytes:
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


Handler = Callable[..., Reply]


@dataclass(frozen=True)
class Route:
    """`template` has `{name}` for one path segment and `{name...}` for the rest of the path."""

    methods: tuple[str, ...]
    template: str
    handler: Handler

    @property
    def pattern(self) -> re.Pattern[str]:
        parts = re.split(r"(\{[a-z_]+(?:\.\.\.)?\})", self.template)
        body = "".join(
            f"(?P<{part.strip('{}.')}>{'.+' if part.endswith('...}') else '[^/]+'})"
            if part.startswith("{")
            else re.escape(part)
            for part in parts
        )
        return re.compile(body, re.IGNORECASE)


class Router:
    """The first route whose template fits; `find` tells an unknown path (None) from a method that is not allowed (its methods)."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(route, route.pattern) for route in routes]

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]] | tuple[str, ...] | None:
        allowed: list[str] = []
        for route, pattern in self._routes:
            match = pattern.fullmatch(path)
            if not match:
                continue
            if method in route.methods or (method == "HEAD" and "GET" in route.methods):
                return route.handler, {name: unquote(value) for name, value in match.groupdict().items()}
            allowed += route.methods
        return tuple(allowed) or None


Answer = Callable[[Call], Reply]


class Application:
    """The ASGI application around one `answer` function."""

    def __init__(self, answer: Answer, faults: Faults, fault_reply: Callable[[Fault], Reply]) -> None:
        self._answer, self._faults, self._fault_reply = answer, faults, fault_reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        if not _is_of_this_machine(request):
            await _send_refusal(send, 403, "Only this machine's own tools are answered, and no web page.")
            return
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        if request.headers.get("content-encoding", "").lower() in ("gzip", "x-gzip"):
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError, zlib.error):
                await _send_refusal(send, 400, "The body is not gzip")
                return
        call = Call(
            method=request.method,
            path=re.sub(r"/{2,}", "/", scope["path"]).rstrip("/") or "/",
            raw_path=re.sub(r"/{2,}", "/", scope["raw_path"].decode("latin-1")).rstrip("/") or "/",
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            headers=request.headers,
            body=body,
            base_url=_base_url(request),
            target=scope["raw_path"].decode("latin-1") + "?" + scope["query_string"].decode("latin-1"),
        )
        reply, cut = await run_in_threadpool(self._with_faults, call)
        await _send(call, reply, cut, send)

    def _with_faults(self, call: Call) -> tuple[Reply, Fault | None]:
        if call.path.startswith("/_emulator"):
            return self._answer(call), None
        slow = self._faults.take("slow", path=call.path, method=call.method)
        if slow:
            time.sleep(slow.seconds)
        instead = self._faults.take("status", "reset", path=call.path, method=call.method, body=call.body)
        if instead:
            return self._fault_reply(instead), instead if instead.kind == "reset" else None
        reply = self._answer(call)
        after = self._faults.take("after", path=call.path, method=call.method)
        if after:
            return self._fault_reply(after), None
        return reply, self._faults.take("truncate", path=call.path, method=call.method)


def _is_of_this_machine(request: Request) -> bool:
    """Whether the request names this machine as its host, and comes from no web page: a page of anybody's could reset or read the
    emulators, by its address or by a name of its own that leads here."""
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:  # no host at all
        return False
    return "origin" not in request.headers and (host in OWN_NAMES or host.endswith(SALESFORCE_DOMAIN))


async def _send_refusal(send: Send, status: int, message: str) -> None:
    body = json.dumps([{"message": message, "errorCode": "INVALID_INPUT"}]).encode()
    headers = [(b"content-type", b"application/json;charset=UTF-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _base_url(request: Request) -> str:
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    return f"{scheme}://{request.headers.get('host', request.url.netloc)}"


def _takes_gzip(accepted: str) -> bool:
    parts = (part.replace(" ", "").lower().partition(";q=") for part in accepted.split(","))
    return any(name in ("gzip", "*") and quality not in ("0", "0.0") for name, _, quality in parts)


async def _send(call: Call, reply: Reply, cut: Fault | None, send: Send) -> None:
    body = reply.encoded()
    headers = {"content-type": reply.content_type, **reply.headers}
    if len(body) >= GZIP_FROM_BYTES and _takes_gzip(call.headers.get("accept-encoding", "")):
        body = gzip.compress(body, compresslevel=1)
        headers["content-encoding"] = "gzip"
    if cut is not None and cut.kind == "truncate":
        body = body[: len(body) // 2]
        headers.pop("content-encoding", None)
        body = reply.encoded()[: len(reply.encoded()) // 2]
    if reply.status in (204, 304):
        body = b""
        headers.pop("content-type")
    else:
        # A promised length that never comes makes uvicorn drop the connection: the client sees a reset.
        headers["content-length"] = str(len(body) + (1_000 if cut is not None and cut.kind == "reset" else 0))
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if call.method == "HEAD" else body})
