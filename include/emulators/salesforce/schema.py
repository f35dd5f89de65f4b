"""The org's schema: standard objects from standard_objects.yaml, custom ones from an SFDX project.

Both become the same dataclasses, which describe, SOQL and the rules of the org all read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

NAMESPACE = "{http://soap.sforce.com/2006/04/metadata}"
STANDARD_OBJECTS = Path(__file__).with_name("standard_objects.yaml")
SFDX_PROJECT = Path(__file__).parents[2] / "salesforce"

TEXT_TYPES = frozenset({"string", "textarea", "email", "phone", "url", "picklist", "multipicklist", "combobox", "encryptedstring"})
NUMBER_TYPES = frozenset({"int", "double", "currency", "percent"})

# Type of an SFDX field -> type in describe
_SFDX_TYPES = {
    "Text": "string", "TextArea": "textarea", "LongTextArea": "textarea", "Html": "textarea", "Email": "email", "Phone": "phone",
    "Url": "url", "Picklist": "picklist", "MultiselectPicklist": "multipicklist", "Checkbox": "boolean", "Date": "date",
    "DateTime": "datetime", "Number": "double", "Currency": "currency", "Percent": "percent", "Lookup": "reference",
    "MasterDetail": "reference", "AutoNumber": "string",
}  # fmt: skip
_ACTIVITY_KINDS = {"Activity": "Task"}  # custom fields of tasks are defined on Activity
_DEFAULT_LENGTHS = {"email": 80, "phone": 40, "url": 255, "picklist": 255, "multipicklist": 4099, "textarea": 255, "reference": 18}


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    label: str
    length: int = 0
    precision: int = 18
    scale: int = 0
    required: bool = False
    unique: bool = False
    case_sensitive: bool = False
    external_id: bool = False
    createable: bool = True
    updateable: bool = True
    default: Any = None
    restricted: bool = False
    values: tuple[str, ...] = ()
    reference_to: tuple[str, ...] = ()
    relationship: str | None = None
    child_relationship: str | None = None
    cascade_delete: bool = False
    name_field: bool = False
    auto_number: str | None = None
    calculated: bool = False
    custom: bool = False

    @property
    def is_text(self) -> bool:
        return self.type in TEXT_TYPES

    @property
    def is_id(self) -> bool:
        return self.type in ("id", "reference")


@dataclass
class SObject:
    name: str
    label: str
    plural: str
    prefix: str
    fields: dict[str, Field] = field(default_factory=dict)
    custom: bool = False
    createable: bool = True

    def __post_init__(self) -> None:
        self._by_lower = {name.lower(): item for name, item in self.fields.items()}
        self._by_relationship = {item.relationship.lower(): item for item in self.fields.values() if item.relationship}

    def find(self, name: str) -> Field | None:
        """The field of this name in any case, or None."""
        return self._by_lower.get(name.lower())

    def find_relationship(self, name: str) -> Field | None:
        """The reference field whose parent is reached by this relationship name, or None."""
        return self._by_relationship.get(name.lower())

    @property
    def name_field(self) -> Field | None:
        return next((item for item in self.fields.values() if item.name_field), None)


@dataclass
class Schema:
    objects: dict[str, SObject]

    def __post_init__(self) -> None:
        self._by_lower = {name.lower(): item for name, item in self.objects.items()}

    def find(self, name: str) -> SObject | None:
        return self._by_lower.get(name.lower())

    def by_prefix(self, prefix: str) -> SObject | None:
        return next((item for item in self.objects.values() if item.prefix == prefix), None)

    def children_of(self, name: str) -> list[tuple[SObject, Field]]:
        """(child object, its reference field) for every field that points at this object."""
        return [(child, item) for child in self.objects.values() for item in child.fields.values() if name in item.reference_to]


def load_schema(sfdx_project: Path | None = SFDX_PROJECT) -> Schema:
    """The baseline of standard objects, with the project's custom objects and fields added; None for a bare org."""
    raw: dict[str, dict[str, Any]] = yaml.safe_load(STANDARD_OBJECTS.read_text())
    fields = {name: _standard_fields(name, spec) for name, spec in raw.items()}
    objects = {
        name: SObject(name, spec["label"], spec["plural"], spec["prefix"], fields[name], createable=spec.get("createable", True))
        for name, spec in raw.items()
    }
    if sfdx_project is not None:
        _add_sfdx(objects, sfdx_project)
    return Schema(objects)


def _system_fields(owned: bool) -> dict[str, Field]:
    read_only: dict[str, Any] = {"createable": False, "updateable": False}
    items = [
        Field("Id", "id", "Record ID", length=18, **read_only),
        Field("IsDeleted", "boolean", "Deleted", default=False, **read_only),
        Field("CreatedDate", "datetime", "Created Date", **read_only),
        Field("CreatedById", "reference", "Created By ID", length=18, reference_to=("User",), relationship="CreatedBy", **read_only),
        Field("LastModifiedDate", "datetime", "Last Modified Date", **read_only),
        Field("LastModifiedById", "reference", "Last Modified By ID", length=18, reference_to=("User",), relationship="LastModifiedBy",
              **read_only),
        Field("SystemModstamp", "datetime", "System Modstamp", **read_only),
    ]  # fmt: skip
    if owned:
        items.append(Field("OwnerId", "reference", "Owner ID", length=18, reference_to=("User",), relationship="Owner"))
    return {item.name: item for item in items}


def _standard_fields(object_name: str, spec: dict[str, Any]) -> dict[str, Field]:
    result = _system_fields(owned=spec.get("owned", True))
    for name, definition in spec["fields"].items():
        options = dict(definition)
        if options.pop("read_only", False):
            options |= {"createable": False, "updateable": False}
        options["values"] = tuple(options.get("values", ()))
        options["reference_to"] = tuple(options.get("reference_to", ()))
        if options["type"] == "reference" and "relationship" not in options:
            options["relationship"] = name.removesuffix("Id")
        options.setdefault("length", _DEFAULT_LENGTHS.get(options["type"], 0))
        options.setdefault("label", _spaced(name))
        result[name] = Field(name=name, **options)
    return result


def _spaced(name: str) -> str:
    words = "".join(f" {char}" if char.isupper() and index else char for index, char in enumerate(name))
    return words.removesuffix(" Id") + (" ID" if name.endswith("Id") else "")


def _add_sfdx(objects: dict[str, SObject], project: Path) -> None:
    folders = sorted(project.glob("**/objects/*"))
    next_prefix = iter(f"a0{digit}" for digit in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    for folder in folders:
        meta = folder / f"{folder.name}.object-meta.xml"
        custom_fields = [_sfdx_field(path) for path in sorted(folder.glob("fields/*.field-meta.xml"))]
        target = _ACTIVITY_KINDS.get(folder.name, folder.name)
        if target in objects:
            base = objects[target]
            added = {item.name: item for item in custom_fields}
            objects[target] = SObject(base.name, base.label, base.plural, base.prefix, base.fields | added, createable=base.createable)
        elif meta.exists():
            objects[folder.name] = _sfdx_object(meta, custom_fields, next(next_prefix))
        else:
            raise ValueError(f"{folder}: an object that is not in the org needs {meta.name}")


def _sfdx_object(meta: Path, custom_fields: list[Field], prefix: str) -> SObject:
    root = ElementTree.parse(meta).getroot()
    name_node = root.find(f"{NAMESPACE}nameField")
    label = _text(root, "label")
    display_format = _text(name_node, "displayFormat") if name_node is not None else ""
    is_auto = name_node is not None and _text(name_node, "type") == "AutoNumber"
    name_label = _text(name_node, "label") if name_node is not None else "Name"
    name_field = Field(
        "Name", "string", name_label, length=80, required=not is_auto, name_field=True,
        auto_number=display_format if is_auto else None, createable=not is_auto, updateable=not is_auto,
    )  # fmt: skip
    owned = not any(item.cascade_delete for item in custom_fields)  # the detail side of a master-detail has no owner
    fields = _system_fields(owned) | {"Name": name_field} | {item.name: item for item in custom_fields}
    api_name = meta.name.removesuffix(".object-meta.xml")
    return SObject(api_name, label, _text(root, "pluralLabel") or label, prefix, fields, custom=True)


def _sfdx_field(path: Path) -> Field:
    root = ElementTree.parse(path).getroot()
    sfdx_type = _text(root, "type")
    if sfdx_type not in _SFDX_TYPES:
        raise ValueError(f"{path}: field type {sfdx_type!r} is not one that this emulator knows")
    name, kind = _text(root, "fullName"), _SFDX_TYPES[sfdx_type]
    scale = int(_text(root, "scale") or 0)
    value_set = root.find(f"{NAMESPACE}valueSet")
    values = [_text(node, "fullName") for node in root.iter(f"{NAMESPACE}value") if node.find(f"{NAMESPACE}fullName") is not None]
    default = _text(root, "defaultValue")
    target = _text(root, "referenceTo")
    return Field(
        name=name,
        type=kind,
        label=_text(root, "label"),
        length=int(_text(root, "length") or _DEFAULT_LENGTHS.get(kind, 0)),
        precision=int(_text(root, "precision") or 18),
        scale=scale,
        required=_text(root, "required") == "true" or sfdx_type == "MasterDetail",
        unique=_text(root, "unique") == "true",
        case_sensitive=_text(root, "caseSensitive") == "true",
        external_id=_text(root, "externalId") == "true",
        default=(default == "true") if kind == "boolean" else None,
        restricted=value_set is not None and _text(value_set, "restricted") == "true",
        values=tuple(values),
        reference_to=(target,) if target else (),
        relationship=f"{name.removesuffix('__c')}__r" if target else None,
        child_relationship=f"{_text(root, 'relationshipName')}__r" if target else None,
        cascade_delete=sfdx_type == "MasterDetail",
        updateable=sfdx_type != "MasterDetail" or _text(root, "reparentableMasterDetail") == "true",
        auto_number=_text(root, "displayFormat") or None,
        custom=True,
    )


def _text(node: ElementTree.Element | None, tag: str) -> str:
    found = None if node is None else node.find(f"{NAMESPACE}{tag}")
    return (found.text or "").strip() if found is not None else ""
