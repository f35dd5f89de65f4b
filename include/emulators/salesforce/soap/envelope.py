"""SOAP messages: an operation with its arguments out of an envelope, results and faults into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from emulators.salesforce.errors import ApiError
from emulators.wire import Reply

_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
XSI_TYPE = f"{{{_XSI}}}type"


@dataclass(frozen=True)
class Request:
    """One call: the operation's element, and the headers' texts by local name."""

    operation: str
    element: ElementTree.Element
    headers: dict[str, str]

    @property
    def session_id(self) -> str | None:
        return self.headers.get("sessionId")

    def text(self, name: str) -> str | None:
        """The text of the first element of this name below the operation."""
        found = next((node for node in self.element.iter() if local_name(node) == name), None)
        return None if found is None else (found.text or "").strip()


def local_name(node: ElementTree.Element) -> str:
    return str(node.tag).rpartition("}")[2]


def read_request(body: bytes) -> Request:
    """The call in an envelope; ApiError when it is not one."""
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ApiError("UNKNOWN_EXCEPTION", f"The message is not well-formed XML: {error}", status=500) from error
    parts = {local_name(node): node for node in root}
    operation = next(iter(parts["Body"]), None) if "Body" in parts else None
    if operation is None:
        raise ApiError("UNKNOWN_EXCEPTION", "The message has no operation in its Body", status=500)
    headers = (
        {local_name(node): (node.text or "").strip() for node in parts["Header"].iter()} if "Header" in parts else {}
    )
    return Request(local_name(operation), operation, headers)


def result_reply(operation: str, namespace: str, results: Sequence[Any]) -> Reply:
    """`<OPERATIONResponse>` with a `<result>` for each of the results; dicts become elements, lists repeat them, None leaves them out."""
    inner = "".join(element("result", result) for result in results)
    body = f'<{operation}Response xmlns="{namespace}">{inner}</{operation}Response>'
    return _reply(body, 200)


def element(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(element(name, item) for item in value)
    if isinstance(value, dict):
        kind = value.get("xsi:type")
        attribute = f' xsi:type="{kind}"' if kind else ""
        return f"<{name}{attribute}>{''.join(element(key, item) for key, item in value.items() if key != 'xsi:type')}</{name}>"
    if isinstance(value, Xml):
        return f"<{name}{value.attributes}>{value.content}</{name}>"
    text = str(value).lower() if isinstance(value, bool) else escape(str(value))
    return f"<{name}>{text}</{name}>"


@dataclass(frozen=True)
class Xml:
    """Content that is XML already."""

    content: str
    attributes: str = ""


def fault_reply(error: ApiError, namespace: str, *, kind: str = "ApiFault") -> Reply:
    """A SOAP fault, which an org sends with status 500."""
    code, text = error.code, escape(error.message)
    body = (
        f"<soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: {text}</faultstring><detail>"
        f'<sf:{kind} xsi:type="sf:{kind}"><sf:exceptionCode>{code}</sf:exceptionCode><sf:exceptionMessage>{text}</sf:exceptionMessage>'
        f"</sf:{kind}></detail></soapenv:Fault>"
    )
    return _reply(body, 500, f' xmlns:sf="{namespace}"')


def _reply(body: str, status: int, more_namespaces: str = "") -> Reply:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="{_ENVELOPE}" xmlns:xsi="{_XSI}"{more_namespaces}>'
        f"<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    )
    return Reply(text, status=status, content_type="text/xml;charset=UTF-8")
