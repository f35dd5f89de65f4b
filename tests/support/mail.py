"""An SMTP server on loopback that keeps what it is sent."""

from __future__ import annotations

import email
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller


class MailSink:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.messages.append(email.message_from_bytes(envelope.content))
        return "250 OK"

    @contextmanager
    def running(self) -> Iterator[None]:
        controller = Controller(self, hostname="127.0.0.1", port=self.port)
        controller.start()
        try:
            yield
        finally:
            controller.stop()

    @property
    def texts(self) -> list[str]:
        """Subject and decoded body of every message."""
        return [f"{message['subject']}\n{_body(message)}" for message in self.messages]


def _body(message: Message) -> str:
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    return "\n".join(part.get_payload(decode=True).decode() for part in parts)  # type: ignore[union-attr]
