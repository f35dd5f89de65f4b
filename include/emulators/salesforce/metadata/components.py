"""What deploying a component does to the schema, and the problems that an org finds in it first."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from xml.etree import ElementTree

from emulators.salesforce.metadata.package import NAMESPACE, Component, Problem
from emulators.salesforce.schema import Field, Schema, add_fields, field_of, object_of

# What a custom field of each type must say, beside its label.
_MUST_SAY = {
    "Text": ("length",), "LongTextArea": ("length", "visibleLines"), "Html": ("length", "visibleLines"), "EncryptedText": ("length",),
    "Number": ("precision", "scale"), "Currency": ("precision", "scale"), "Percent": ("precision", "scale"), "Checkbox": ("defaultValue",),
    "Lookup": ("referenceTo",), "MasterDetail": ("referenceTo", "relationshipName"), "MultiselectPicklist": ("visibleLines",),
}  # fmt: skip
LONGEST_TEXT, LONGEST_AREA, LONGEST_NUMBER = 255, 131_072, 18
_API_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*__c")


class ComponentError(Exception):
    """A component that the org refuses; the text is the org's `problem`."""


@dataclass(frozen=True)
class Draft:
    """The schema as it will be, and the permission sets and other components there will be by (type, full name)."""

    schema: Schema
    known: set[tuple[str, str]]


_ORDER = {
    "CustomObject": 0,
    "CustomField": 1,
    "CustomApplication": 7,
    "PermissionSet": 8,
    "Profile": 8,
    "Report": 9,
    "Dashboard": 10,
}


def order_of(component: Component) -> tuple[int, bool]:
    """Objects before fields before whatever may refer to them; folders before what lies in them."""
    return _ORDER.get(component.type, 5), "/" in component.full_name


def apply(draft: Draft, component: Component) -> bool:
    """Puts the component into the draft and gives whether it is new; ComponentError when the org would refuse it."""
    if component.problem is not None and not component.problem.is_warning:
        raise ComponentError(component.problem.text)
    assert component.root is not None
    is_new = (component.type, component.full_name) not in draft.known
    _APPLY.get(component.type, _nothing_more)(draft, component.full_name, component.root)
    draft.known.add((component.type, component.full_name))
    return is_new


def remove(draft: Draft, kind: str, full_name: str) -> Problem | None:
    """Takes a component out of the draft; the problem says when there is none."""
    schema = draft.schema
    if kind == "CustomObject" and any(
        child.name.lower() != full_name.lower() for child, _ in schema.children_of(full_name)
    ):
        users = ", ".join(f"{child.name}.{item.name}" for child, item in schema.children_of(full_name))
        return Problem(f"Cannot delete {full_name}: it is referenced by {users}")
    if kind == "CustomField":
        object_name, _, field_name = full_name.partition(".")
        sobject = schema.find(object_name)
        item = sobject.find(field_name) if sobject else None
        if sobject is None or item is None or not item.custom:
            return Problem(f"No CustomField named: {full_name} found", is_warning=True)
        schema.put(
            replace(sobject, fields={name: other for name, other in sobject.fields.items() if other is not item})
        )
    elif kind == "CustomObject":
        sobject = schema.find(full_name)
        if sobject is None or not sobject.custom:
            return Problem(f"No CustomObject named: {full_name} found", is_warning=True)
        schema.remove(sobject.name)
    elif (kind, full_name) not in draft.known:
        return Problem(f"No {kind} named: {full_name} found", is_warning=True)
    draft.known.discard((kind, full_name))
    return None


# -- objects and fields -----------------------------------------------------------------------------------------------------------


def _object(draft: Draft, name: str, root: ElementTree.Element) -> None:
    existing = draft.schema.find(name)
    if existing is not None or name == "Activity":
        if existing is not None and existing.custom and root.find(f"{NAMESPACE}label") is not None:
            draft.schema.put(
                replace(existing, label=_text(root, "label"), plural=_text(root, "pluralLabel") or existing.plural)
            )
        return
    if not _API_NAME.fullmatch(name):
        raise ComponentError(
            f"Not a valid custom object name: {name}: letters, digits and underscores, beginning with a letter, ending with __c"
        )
    for tag in ("label", "pluralLabel"):
        if not _text(root, tag):
            raise ComponentError(f"Must specify a non-empty {tag} for the CustomObject")
    if root.find(f"{NAMESPACE}nameField") is None:
        raise ComponentError("Must specify a nameField of type Text or AutoNumber for the CustomObject")
    if not _text(root, "sharingModel"):
        raise ComponentError("Must specify a sharingModel for the CustomObject")
    draft.schema.put(object_of(name, root, draft.schema.free_prefix(), []))


def _field(draft: Draft, full_name: str, root: ElementTree.Element) -> None:
    object_name, _, name = full_name.partition(".")
    owner = draft.schema.find("Task" if object_name == "Activity" else object_name)
    if owner is None:
        raise ComponentError(f"Parent entity failed to deploy: no CustomObject named {object_name} found")
    existing = owner.find(name)
    if existing is not None and not existing.custom:
        return  # a standard field's settings: nothing that data depends on
    if not _API_NAME.fullmatch(name):
        raise ComponentError(
            "The Field API Name can only contain underscores and alphanumeric characters. It must be unique, begin with a letter, not include "
            f"spaces, not end with an underscore, not contain two consecutive underscores, and end with __c: {name}"
        )
    item = _checked_field(draft, root, name)
    for parent in item.reference_to:
        taken = {
            (child.name, other.name): other.child_relationship for child, other in draft.schema.children_of(parent)
        }
        if item.child_relationship != "__r" and item.child_relationship in {
            relationship for place, relationship in taken.items() if place != (owner.name, name)
        }:
            raise ComponentError(f"There is already a Child Relationship named {item.child_relationship} on {parent}.")
    if existing is not None and existing.type != item.type and not (existing.is_text and item.is_text):
        raise ComponentError(f"Cannot change the type of {full_name} from {existing.type} to {item.type}")
    if item.cascade_delete and existing is None and owner.custom:
        draft.schema.put(replace(owner, fields={key: other for key, other in owner.fields.items() if key != "OwnerId"}))
    add_fields(draft.schema, object_name, [item])
    draft.known.add(("CustomField", full_name))


def _checked_field(draft: Draft, root: ElementTree.Element, name: str) -> Field:
    kind = _text(root, "type")
    if not kind:
        raise ComponentError(f"Must specify a type for the CustomField {name}")
    if not _text(root, "label"):
        raise ComponentError("Must specify a non-empty label for the CustomField")
    is_formula = root.find(f"{NAMESPACE}formula") is not None
    for tag in () if is_formula else _MUST_SAY.get(kind, ()):
        if not _text(root, tag):
            raise ComponentError(f"Must specify '{tag}' for a CustomField of type {kind}")
    if kind in ("Picklist", "MultiselectPicklist") and root.find(f"{NAMESPACE}valueSet") is None:
        raise ComponentError(f"Must specify 'valueSet' for a CustomField of type {kind}")
    for tag, most in (("length", LONGEST_AREA), ("precision", LONGEST_NUMBER), ("scale", LONGEST_NUMBER)):
        text = _text(root, tag)
        if text and (
            not re.fullmatch("[0-9]{1,6}", text)
            or int(text) > (LONGEST_TEXT if (kind, tag) == ("Text", "length") else most)
        ):
            raise ComponentError(f"{tag} of {name} must be a number and not greater than {most}")
    if int(_text(root, "scale") or 0) > int(_text(root, "precision") or LONGEST_NUMBER):
        raise ComponentError(f"scale of {name} must not be greater than its precision")
    target = draft.schema.find(_text(root, "referenceTo"))
    if _text(root, "referenceTo") and target is None:
        raise ComponentError(
            f"referenceTo value of '{_text(root, 'referenceTo')}' does not resolve to a valid sObject type"
        )
    try:
        return replace(field_of(root), name=name, reference_to=(target.name,) if target else ())
    except ValueError:
        raise ComponentError(f"'{kind}' is not a valid value for the enum 'FieldType'") from None


# -- what refers to them ----------------------------------------------------------------------------------------------------------


def _permission_set(draft: Draft, name: str, root: ElementTree.Element) -> None:
    if not _text(root, "label"):
        raise ComponentError("Required field is missing: label")
    _grants(draft, name, root)


def _grants(draft: Draft, _: str, root: ElementTree.Element) -> None:
    for node in root.iter(f"{NAMESPACE}objectPermissions"):
        _require_object(draft, _text(node, "object"), "object")
    for node in root.iter(f"{NAMESPACE}fieldPermissions"):
        item = _require_field(draft, _text(node, "field"))
        if item.required and item.custom:
            raise ComponentError(f"You cannot deploy to a required field: {_text(node, 'field')}")
    for node in root.iter(f"{NAMESPACE}tabSettings"):
        tab = _text(node, "tab")
        if not tab.startswith("standard-") and ("CustomTab", tab) not in draft.known:
            raise ComponentError(f"In field: tab - no CustomTab named {tab} found")


def _tab(draft: Draft, name: str, root: ElementTree.Element) -> None:
    if _text(root, "customObject") == "true":
        _require_object(draft, name, "customObject")


def _application(draft: Draft, name: str, root: ElementTree.Element) -> None:
    for node in root.iter(f"{NAMESPACE}tabs"):
        tab = (node.text or "").strip()
        if not tab.startswith("standard-") and ("CustomTab", tab) not in draft.known:
            raise ComponentError(f"In field: tabs - no CustomTab named {tab} found")


def _layout(draft: Draft, name: str, root: ElementTree.Element) -> None:
    object_name = name.partition("-")[0]
    _require_object(draft, object_name, "layout")
    for node in root.iter(f"{NAMESPACE}layoutItems"):
        field_name = _text(node, "field")
        if field_name.endswith("__c"):
            _require_field(draft, f"{object_name}.{field_name}")


def _quick_action(draft: Draft, name: str, root: ElementTree.Element) -> None:
    if "." in name:
        _require_object(draft, name.partition(".")[0], "object")
    if _text(root, "targetObject"):
        _require_object(draft, _text(root, "targetObject"), "targetObject")


def _report_type(draft: Draft, name: str, root: ElementTree.Element) -> None:
    _require_object(draft, _text(root, "baseObject"), "baseObject")


def _report(draft: Draft, name: str, root: ElementTree.Element) -> None:
    if str(root.tag) == f"{NAMESPACE}ReportFolder":
        return
    wanted = _text(root, "reportType")
    if wanted.endswith("__c") and ("ReportType", wanted.removesuffix("__c")) not in draft.known:
        raise ComponentError(f"reportType: no ReportType named {wanted} found")
    if name.rpartition("/")[0] not in {full_name for kind, full_name in draft.known if kind == "Report"}:
        raise ComponentError(f"Cannot find folder: {name.rpartition('/')[0]}")


def _dashboard(draft: Draft, name: str, root: ElementTree.Element) -> None:
    for node in root.iter(f"{NAMESPACE}report"):
        if ("Report", (node.text or "").strip()) not in draft.known:
            raise ComponentError(f"In field: report - no Report named {node.text} found")


def _nothing_more(draft: Draft, name: str, root: ElementTree.Element) -> None:
    """Kept as it is: nothing that data depends on."""


_APPLY: dict[str, Callable[[Draft, str, ElementTree.Element], None]] = {
    "CustomObject": _object, "CustomField": _field, "PermissionSet": _permission_set, "Profile": _grants, "CustomTab": _tab,
    "CustomApplication": _application, "Layout": _layout, "QuickAction": _quick_action, "ReportType": _report_type, "Report": _report,
    "Dashboard": _dashboard,
}  # fmt: skip


def _require_object(draft: Draft, name: str, tag: str) -> None:
    if draft.schema.find(name) is None and name not in ("Activity", "Global"):
        raise ComponentError(f"In field: {tag} - no CustomObject named {name} found")


def _require_field(draft: Draft, full_name: str) -> Field:
    object_name, _, name = full_name.partition(".")
    sobject = draft.schema.find("Task" if object_name == "Activity" else object_name)
    item = sobject.find(name) if sobject else None
    if item is None:
        raise ComponentError(f"In field: field - no CustomField named {full_name} found")
    return item


def _text(node: ElementTree.Element, tag: str) -> str:
    return (node.findtext(f"{NAMESPACE}{tag}") or "").strip()
