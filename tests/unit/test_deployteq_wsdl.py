"""Deployteq's service as our description, its stand-in and the vendor's own description have it.

The vendor's file is not ours to publish: these tests read it where it lies beside the checkout, and skip where it does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from emulators.control import Clock
from emulators.vendors.deployteq import Deployteq
from salesforce_sync.systems.deployteq import soap

ROOT = Path(__file__).parents[2]
VENDORS = ROOT.parent / "shared" / "vendors" / "clang-wsdl-1.24.xml"
XSD, WSDL = "{http://www.w3.org/2001/XMLSchema}", "{http://schemas.xmlsoap.org/wsdl/}"
LEFT_OUT = {"accounts", "userName", "password", "links", "link", "browserInformation"}  # of our description, on purpose


def _emulators() -> ElementTree.Element:
    body = Deployteq(Clock(), demo=False).service.wsdl("https://deployteq.example").body
    return ElementTree.fromstring(body)


def _vendors() -> ElementTree.Element:
    if not VENDORS.exists():
        pytest.skip(f"the vendor's description is not at {VENDORS.relative_to(ROOT.parent)}, beside the checkout")
    return ElementTree.parse(VENDORS).getroot()


def _elements(node: ElementTree.Element) -> list[tuple[Any, ...]]:
    """(name, type, whether it may be nil, how many) of each element, in order."""
    return [
        (item.get("name"), str(item.get("type")).partition(":")[2], item.get("nillable"), item.get("maxOccurs", "1"))
        for item in node.iter(f"{XSD}element")
        if item is not node
    ]


def _schema(root: ElementTree.Element) -> ElementTree.Element:
    return next(schema for schema in root.iter(f"{XSD}schema") if schema.get("targetNamespace") == soap.NAMESPACE)


def _named(root: ElementTree.Element, kind: str) -> dict[str, list[tuple[Any, ...]]]:
    """The schema's complex types, or its elements, by name."""
    return {str(node.get("name")): _elements(node) for node in _schema(root).findall(f"{XSD}{kind}")}


def _names(root: ElementTree.Element) -> list[Any]:
    """What the parts of the service are called: service, port, binding, port type, and the messages of one operation."""
    operations = root.findall(f"{WSDL}portType/{WSDL}operation")
    (ends,) = [item for item in operations if item.get("name") == "customer_getById"]
    parts = ("service", "service/{0}port", "binding", "portType")
    return [
        *(next(root.iterfind(f"{WSDL}{part.format(WSDL)}")).get("name") for part in parts),
        *(str(end.get("message")).partition(":")[2] for end in ends),
    ]


def test_the_stand_ins_types_and_operations_are_the_vendors() -> None:
    emulators, vendors = _emulators(), _vendors()
    assert _names(emulators) == _names(vendors)
    for kind in ("complexType", "element"):
        ours, theirs = _named(emulators, kind), _named(vendors, kind)
        assert {name: theirs.get(name) for name in ours} == ours


@pytest.mark.parametrize("other", [_emulators, _vendors])
def test_our_description_is_a_part_of_theirs_in_their_order(other: Any) -> None:
    ours, theirs = ElementTree.parse(soap.WSDL).getroot(), other()
    assert _names(ours) == _names(theirs)
    for kind in ("complexType", "element"):
        all_of_theirs = _named(theirs, kind)
        for name, elements in _named(ours, kind).items():
            known = [item[:2] for item in all_of_theirs[name] if item[0] not in LEFT_OUT]
            assert [item[:2] for item in elements] == known, name


def test_our_description_has_no_passwords() -> None:
    assert not {"password", "userName"} & soap.customer_elements()
