"""A SOAP service made of two tables, of types and of operations: its WSDL, its requests taken apart, its answers put together.

Document/literal, wrapped, SOAP 1.1; every answer holds `code` and `msg`, as Deployteq's do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from emulators.wire import Reply

_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_SIMPLE: dict[str, Callable[[str], Any]] = {
    "string": str,
    "long": int,
    "integer": int,
    "boolean": lambda text: text in ("true", "1"),
}


class SoapFault(Exception):
    """A refusal: `code` and text of a SOAP fault."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Operation:
    """Parameters by name with their types, the type of `msg`, and what answers: it is given the parameters as keywords."""

    parameters: Mapping[str, str]
    result: str
    answer: Callable[..., Any]


@dataclass(frozen=True)
class SoapService:
    """`types`: elements with their types by type name, in the order of an xsd:sequence. A type `ArrayOfX` is a list of X.

    The WSDL's names are `<name>API` for the service, `<name>Service` for its port type, `<name>Binding` and `<name>Port`.
    """

    name: str
    namespace: str
    types: Mapping[str, Mapping[str, str]]
    operations: Mapping[str, Operation]

    # -- calls --------------------------------------------------------------------------------------------------------------------

    def call(self, body: bytes, *, code: int = 0) -> Reply:
        """The answer to an envelope. A `code` other than 0 is a refusal without a fault: nothing is done, and `msg` is nil."""
        try:
            operation, element = self._operation(body)
            known = self.operations[operation]
            names = [_local(node) for node in element]
            if names != list(known.parameters):
                wanted = ", ".join(known.parameters)
                raise SoapFault("Client", f"{operation} takes {wanted}, in this order, and not {', '.join(names)}")
            kinds = known.parameters.values()
            arguments = {name: self._read(kind, node) for name, kind, node in zip(names, kinds, element, strict=True)}
            result = None if code else known.answer(**arguments)
        except SoapFault as fault:
            inner = f"<soap:Fault><faultcode>{escape(fault.code)}</faultcode><faultstring>{escape(str(fault))}</faultstring></soap:Fault>"
            return _envelope(inner, 500)
        inner = f"<code>{code}</code>{self._write('msg', known.result, result)}"
        return _envelope(f'<{operation}Response xmlns="{self.namespace}">{inner}</{operation}Response>', 200)

    def _operation(self, body: bytes) -> tuple[str, ElementTree.Element]:
        try:
            root = ElementTree.fromstring(body)
        except (ElementTree.ParseError, ValueError) as error:
            raise SoapFault("Client", "Bad Request") from error
        content = next((node for node in root if _local(node) == "Body"), None)
        if content is None or not len(content) or _local(content[0]) not in self.operations:
            raise SoapFault("Client", "Procedure not present")
        return _local(content[0]), content[0]

    def _read(self, kind: str, node: ElementTree.Element) -> Any:
        """A value; of an object, only the fields that are in the message."""
        if node.get("{http://www.w3.org/2001/XMLSchema-instance}nil") in ("true", "1"):
            return None
        if kind.startswith("ArrayOf"):
            return [self._read(_item(kind), child) for child in node]
        if kind in self.types:
            fields = self.types[kind]
            given = [_local(child) for child in node]
            if given != [name for name in fields if name in given]:
                raise SoapFault(
                    "Client",
                    f"{kind}: its elements are not those of the WSDL, or not in that order: {', '.join(given)}",
                )
            return {name: self._read(fields[name], child) for name, child in zip(given, node, strict=True)}
        try:
            return _SIMPLE[kind](node.text or "")
        except ValueError as error:
            raise SoapFault("Client", f"{_local(node)}: not a {kind}") from error

    def _write(self, name: str, kind: str, value: Any) -> str:
        if value is None:
            return f'<{name} xsi:nil="true"/>'
        if kind.startswith("ArrayOf"):
            item = _item(kind)
            return f"<{name}>{''.join(self._write(item, item, one) for one in value)}</{name}>"
        if kind in self.types:
            inner = "".join(
                self._write(field, of, value[field])
                for field, of in self.types[kind].items()
                if value.get(field) is not None
            )
            return f"<{name}>{inner}</{name}>"
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return f"<{name}>{escape(text)}</{name}>"

    # -- the description ----------------------------------------------------------------------------------------------------------

    def wsdl(self, address: str) -> Reply:
        """The service's description, with the address to call."""
        arrays = {kind for fields in self.types.values() for kind in fields.values() if kind.startswith("ArrayOf")}
        for operation in self.operations.values():
            arrays |= {
                kind for kind in (operation.result, *operation.parameters.values()) if kind.startswith("ArrayOf")
            }
        schema = "".join(self._complex(name, fields) for name, fields in self.types.items())
        schema += "".join(self._complex(name, {_item(name): _item(name)}, many=True) for name in sorted(arrays))
        parts = [self._port_parts(name, operation) for name, operation in self.operations.items()]
        schema += "".join(part[0] for part in parts)
        messages, ports, bindings = ("".join(part[number] for part in parts) for number in (1, 2, 3))
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?><wsdl:definitions name="{self.name}API" targetNamespace="{self.namespace}"'
            f' xmlns:tns="{self.namespace}" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"'
            ' xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/">'
            f'<wsdl:types><xsd:schema targetNamespace="{self.namespace}" elementFormDefault="qualified">{schema}</xsd:schema></wsdl:types>'
            f'{messages}<wsdl:portType name="{self.name}Service">{ports}</wsdl:portType>'
            f'<wsdl:binding name="{self.name}Binding" type="tns:{self.name}Service">'
            f'<soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>{bindings}</wsdl:binding>'
            f'<wsdl:service name="{self.name}API"><wsdl:port name="{self.name}Port" binding="tns:{self.name}Binding">'
            f"<soap:address location={quoteattr(address)}/></wsdl:port></wsdl:service></wsdl:definitions>"
        )
        return Reply(text.encode(), content_type="text/xml;charset=UTF-8")

    def _complex(self, name: str, fields: Mapping[str, str], *, many: bool = False) -> str:
        most = "unbounded" if many else "1"
        inner = "".join(
            f'<xsd:element name="{field}" type="{self._type(kind)}" minOccurs="0" maxOccurs="{most}"{_nillable(kind, many)}/>'
            for field, kind in fields.items()
        )
        return f'<xsd:complexType name="{name}"><xsd:sequence>{inner}</xsd:sequence></xsd:complexType>'

    def _port_parts(self, name: str, operation: Operation) -> tuple[str, str, str, str]:
        """(schema elements, messages, port operation, binding operation)"""

        def wrapper(element: str, fields: Mapping[str, str]) -> str:
            inner = "".join(
                f'<xsd:element name="{field}" type="{self._type(kind)}"/>' for field, kind in fields.items()
            )
            return f'<xsd:element name="{element}"><xsd:complexType><xsd:sequence>{inner}</xsd:sequence></xsd:complexType></xsd:element>'

        elements = wrapper(name, operation.parameters) + wrapper(
            f"{name}Response", {"code": "integer", "msg": operation.result}
        )
        messages = "".join(
            f'<wsdl:message name="{name}{end}"><wsdl:part name="parameters" element="tns:{name}{suffix}"/></wsdl:message>'
            for end, suffix in (("Request", ""), ("Response", "Response"))
        )
        ends = f'<wsdl:input message="tns:{name}Request"/><wsdl:output message="tns:{name}Response"/>'
        port = f'<wsdl:operation name="{name}">{ends}</wsdl:operation>'
        body = '<soap:body use="literal"/>'
        binding = (
            f'<wsdl:operation name="{name}"><soap:operation soapAction=""/>'
            f"<wsdl:input>{body}</wsdl:input><wsdl:output>{body}</wsdl:output></wsdl:operation>"
        )
        return elements, messages, port, binding

    def _type(self, kind: str) -> str:
        return f"xsd:{kind}" if kind in _SIMPLE else f"tns:{kind}"


def _item(array: str) -> str:
    """The type of an array's items: ArrayOfString holds the simple type."""
    name = array.removeprefix("ArrayOf")
    return {"String": "string", "Int": "integer"}.get(name, name)


def _nillable(kind: str, many: bool) -> str:
    """The items of a list of texts or numbers are not."""
    return "" if many and kind in _SIMPLE else ' nillable="true"'


def _local(node: ElementTree.Element) -> str:
    return str(node.tag).rpartition("}")[2]


def _envelope(inner: str, status: int) -> Reply:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><soap:Envelope xmlns:soap="{_SOAP}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<soap:Body>{inner}</soap:Body></soap:Envelope>"
    )
    return Reply(text.encode(), status=status, content_type="text/xml;charset=UTF-8")
