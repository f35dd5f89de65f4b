"""Deployteq's SOAP API as zeep speaks it: by a description of our own, clang.wsdl, and to the configured address alone.

The vendor's description is not read: zeep cannot load it, and an address in it could send the token elsewhere. Ours holds what the sync
uses. It leaves out what the sync must never read, such as passwords.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as Xml
from functools import cache
from pathlib import Path
from typing import Any

import requests
import zeep

from salesforce_sync.systems.vendor import TIMEOUT_SECONDS, VendorHook

WSDL = Path(__file__).with_name("clang.wsdl")
NAMESPACE = "https://secure.myclang.com/app/api/soap/public/index.php"
# Control characters, as they are or as references: one in a customer's name would make the whole answer unreadable.
_FORBIDDEN = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|&#(?:0*(?:[0-8]|1[124-9]|2[0-9]|3[01])|x0*(?:[0-8bcBC]|[eE]|[fF]|1[0-9a-fA-F]));"
)


def connect(hook: VendorHook, address: str) -> Any:
    """The API's operations as methods, each called at the address."""
    to_connect, to_read = TIMEOUT_SECONDS
    transport = _Transport(hook, session=hook.session, timeout=to_connect + to_read, operation_timeout=to_read)
    client = zeep.Client(str(WSDL), transport=transport, plugins=[_AsDescribed()])
    return client.create_service(f"{{{NAMESPACE}}}clangBinding", address)


@cache
def customer_elements() -> frozenset[str]:
    """The names of a customer's elements in clang.wsdl."""
    elements = Xml.parse(WSDL).iterfind(".//{*}complexType[@name='Customer']//{*}element")  # noqa: S314 - our own file
    return frozenset(str(element.get("name")) for element in elements)


class _Transport(zeep.Transport):  # type: ignore[misc]
    """Sends calls, which hold the token, to where they are addressed and nowhere else; takes out of answers what XML forbids."""

    def __init__(self, hook: VendorHook, **options: Any) -> None:
        super().__init__(**options)
        self._hook = hook

    def post(self, address: str, message: Any, headers: Any) -> requests.Response:
        reply: requests.Response = self.session.post(
            address, data=message, headers=headers, timeout=self.operation_timeout, allow_redirects=False
        )
        if reply.is_redirect:
            raise self._hook.moved(reply)
        reply._content = _FORBIDDEN.sub(b"", reply.content)
        return reply


class _AsDescribed(zeep.Plugin):  # type: ignore[misc]
    """Answers as clang.wsdl has them: what it does not name is left out, and the rest is in its order. zeep refuses anything else."""

    def ingress(self, envelope: Any, http_headers: Any, operation: Any) -> tuple[Any, Any]:
        response = operation.output.body
        for node in envelope.iter(response.qname.text):
            _arrange(node, response.type)
        return envelope, http_headers


def _arrange(node: Any, kind: Any) -> None:
    elements = {element.qname.text: element.type for _, element in getattr(kind, "elements", ())}
    if not elements:  # a text or a number
        return
    known = [child for child in node if child.tag in elements]
    order = {tag: place for place, tag in enumerate(elements)}
    node[:] = sorted(known, key=lambda child: order[child.tag])
    for child in known:
        _arrange(child, elements[child.tag])
