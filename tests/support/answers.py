"""A server that gives the answers that a test has put together, headers and all, and keeps what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answers:
    """`given` are (status, headers, body), the last one again and again; `asked` are (headers, body)."""

    given: list[tuple[int, dict[str, str], bytes]]
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def served(self) -> Iterator[Answers]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.asked.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status, headers, content = outer.given[min(len(outer.asked), len(outer.given)) - 1]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(b"" if status == 204 else content)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - the names that the standard library calls

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
