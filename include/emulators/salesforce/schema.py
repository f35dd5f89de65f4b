"""The org's schema: standard objects from standard_objects.yaml, custom ones from an SFDX project or from what was deployed.

All become the same dataclasses, which describe, SOQL and the rules of the org read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

NAMESPACE = "{http://soap.sforce.com/2006/04/metadata}"
STANDARD_OBJECTS = Path(__file__).with_name("standard_objects.yaml")
SFDX_PROJECT = Path(__file__).parents[2] / "salesforce"

TEXT_TYPES = frozenset(
    {"string", "textarea", "email", "phone", "url", "picklist", "multipicklist", "combobox", "encryptedstring"}
)
NUMBER_TYPES = frozenset({"int", "double", "currency", "percent"})

# Type of an SFDX field -> type in describe
_SFDX_TYPES = {
    "Text": "string", "TextArea": "textarea", "LongTextArea": "textarea", "Html": "textarea", "Email": "email", "Phone": "phone",
    "Url": "url", "Picklist": "picklist", "MultiselectPicklist": "multipicklist", "Checkbox": "boolean", "Date": "date",
    "DateTime": "datetime", "Number": "double", "Currency": "currency", "Percent": "percent", "Lookup": "reference",
    "MasterDetail": "reference", "AutoNumber": "string", "Time": "time", "EncryptedText": "encryptedstring", "Summary": "double",
}  # fmt: skip
QUEUE_OR_USER = ("Group", "User")  # who may own Leads, Cases, Tasks and custom objects
_ACTIVITY_OBJECTS = ("Task", "Event")  # custom fields of both are defined on Activity
ADDRESS_PARTS = ("Street", "City", "State", "PostalCode", "Country")
_DEFAULT_LENGTHS = {
    "email": 80,
    "phone": 40,
    "url": 255,
    "picklist": 255,
    "multipicklist": 4099,
    "textarea": 255,
    "reference": 18,
}


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
    formula: str | None = None
    custom: bool = False
    hidden: bool = False  # kept in the table, and nowhere to be seen
    compound: str | None = None  # the compound field that this one is a part of
    parts: tuple[tuple[str, str], ...] = ()  # of a compound field: key in the answer, field

    @property
    def is_compound(self) -> bool:
        return self.type == "address"

    @property
    def is_lookup(self) -> bool:
        """Whether records can be found by this field: upserted by it, or named by it as a parent."""
        return self.external_id or self.type == "id" or self.name in ("Email", "Username")

    @property
    def is_polymorphic(self) -> bool:
        return len(self.reference_to) > 1

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
    deletable: bool = True
    queryable: bool = True
    unique_pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        self._by_lower = {name.lower(): item for name, item in self.fields.items() if not item.hidden}
        self._by_relationship = {item.relationship.lower(): item for item in self.fields.values() if item.relationship}

    def find(self, name: str) -> Field | None:
        """The field of this name in any case, or None."""
        return self._by_lower.get(name.lower())

    def find_relationship(self, name: str) -> Field | None:
        """The reference field whose parent is reached by this relationship name, or None."""
        return self._by_relationship.get(name.lower())

    @property
    def visible(self) -> list[Field]:
        """The fields that there are to see."""
        return [item for item in self.fields.values() if not item.hidden]

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

    def put(self, sobject: SObject) -> None:
        """Adds the object, or puts it in the place of the one with its name."""
        self.objects[sobject.name] = sobject
        self._by_lower[sobject.name.lower()] = sobject

    def adopt(self, other: Schema) -> None:
        """Becomes as the other schema is."""
        self.objects, self._by_lower = dict(other.objects), dict(other._by_lower)

    def remove(self, name: str) -> None:
        del self.objects[name], self._by_lower[name.lower()]

    def free_prefix(self) -> str:
        """The key prefix of the next custom object."""
        taken = {item.prefix for item in self.objects.values()}
        letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        return next(prefix for first in letters for second in letters if (prefix := f"a{first}{second}") not in taken)

    def by_prefix(self, prefix: str) -> SObject | None:
        return next((item for item in self.objects.values() if item.prefix == prefix), None)

    def children_of(self, name: str) -> list[tuple[SObject, Field]]:
        """(child object, its reference field) for every field that points at this object."""
        return [
            (child, item)
            for child in self.objects.values()
            for item in child.fields.values()
            if name in item.reference_to
        ]


def load_schema(sfdx_project: Path | None = SFDX_PROJECT) -> Schema:
    """The baseline of standard objects, with the project's custom objects and fields added; None for a bare org."""
    schema = Schema(standard_objects(STANDARD_OBJECTS))
    if sfdx_project is not None:
        _add_sfdx(schema, sfdx_project)
    return schema


def standard_objects(path: Path) -> dict[str, SObject]:
    """The objects of a YAML file."""
    raw: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())
    return {
        name: SObject(
            name,
            spec["label"],
            spec["plural"],
            spec["prefix"],
            _standard_fields(spec),
            createable=spec.get("createable", True),
            deletable=spec.get("deletable", spec.get("createable", True)),
            unique_pairs=tuple(map(tuple, spec.get("unique_pairs", ()))),
        )
        for name, spec in raw.items()
    }


def _system_fields(*, owners: tuple[str, ...], recycled: bool = True) -> dict[str, Field]:
    """`owners`: which objects may own a record; none for one without owner. `recycled`: whether it has IsDeleted."""
    read_only: dict[str, Any] = {"createable": False, "updateable": False}
    items = [
        Field("Id", "id", "Record ID", length=18, **read_only),
        Field("IsDeleted", "boolean", "Deleted", default=False, hidden=not recycled, **read_only),
        Field("CreatedDate", "datetime", "Created Date", **read_only),
        Field("CreatedById", "reference", "Created By ID", length=18, reference_to=("User",), relationship="CreatedBy", **read_only),
        Field("LastModifiedDate", "datetime", "Last Modified Date", **read_only),
        Field("LastModifiedById", "reference", "Last Modified By ID", length=18, reference_to=("User",), relationship="LastModifiedBy",
              **read_only),
        Field("SystemModstamp", "datetime", "System Modstamp", **read_only),
    ]  # fmt: skip
    if owners:
        items.append(Field("OwnerId", "reference", "Owner ID", length=18, reference_to=owners, relationship="Owner"))
    return {item.name: item for item in items}


def _standard_fields(spec: dict[str, Any]) -> dict[str, Field]:
    owners = tuple(spec.get("owners", ("User",))) if spec.get("owned", True) else ()
    result = _system_fields(owners=owners, recycled=spec.get("recycled", True))
    for name, definition in spec["fields"].items():
        options = dict(definition)
        if options.pop("read_only", False):
            options |= {"createable": False, "updateable": False}
        options["values"] = tuple(options.get("values", ()))
        options["reference_to"] = tuple(options.get("reference_to", ()))
        if options["type"] == "reference" and "relationship" not in options:
            options["relationship"] = name.removesuffix("Id")
        if options["type"] == "address":
            prefix = name.removesuffix("Address")
            options["parts"] = tuple((part[0].lower() + part[1:], f"{prefix}{part}") for part in ADDRESS_PARTS)
            options |= {"createable": False, "updateable": False}
        options.setdefault("length", _DEFAULT_LENGTHS.get(options["type"], 0))
        options.setdefault("label", _spaced(name))
        result[name] = Field(name=name, **options)
    return {name: replace(item, compound=_compound_of(name, result)) for name, item in result.items()}


def _compound_of(name: str, fields: dict[str, Field]) -> str | None:
    if name in ("FirstName", "LastName", "Salutation") and "FirstName" in fields:
        return "Name"
    return next((item.name for item in fields.values() if name in dict(item.parts).values()), None)


def _spaced(name: str) -> str:
    words = "".join(f" {char}" if char.isupper() and index else char for index, char in enumerate(name))
    return words.removesuffix(" Id") + (" ID" if name.endswith("Id") else "")


def _add_sfdx(schema: Schema, project: Path) -> None:
    for folder in sorted(project.glob("**/objects/*")):
        meta = folder / f"{folder.name}.object-meta.xml"
        fields = [
            field_of(ElementTree.parse(path).getroot()) for path in sorted(folder.glob("fields/*.field-meta.xml"))
        ]
        if schema.find(folder.name) is None and folder.name != "Activity":
            if not meta.exists():
                raise ValueError(f"{folder}: an object that is not in the org needs {meta.name}")
            schema.put(object_of(folder.name, ElementTree.parse(meta).getroot(), schema.free_prefix(), fields))
        else:
            add_fields(schema, folder.name, fields)


def add_fields(schema: Schema, object_name: str, fields: Iterable[Field]) -> None:
    """Adds the fields to an object of the org, or replaces those with their names."""
    for name in _ACTIVITY_OBJECTS if object_name == "Activity" else (object_name,):
        base = schema.objects[name]
        schema.put(replace(base, fields=base.fields | {item.name: item for item in fields}))


def object_of(api_name: str, root: ElementTree.Element, prefix: str, custom_fields: Iterable[Field]) -> SObject:
    """A custom object by its CustomObject element."""
    custom_fields = list(custom_fields)
    name_node = root.find(f"{NAMESPACE}nameField")
    display_format = _text(name_node, "displayFormat")
    is_auto = _text(name_node, "type") == "AutoNumber"
    name_field = Field(
        "Name", "string", _text(name_node, "label") or "Name", length=80, required=not is_auto, name_field=True,
        auto_number=(display_format or "{0}") if is_auto else None, createable=not is_auto, updateable=not is_auto,
    )  # fmt: skip
    owned = not any(item.cascade_delete for item in custom_fields)  # the detail side of a master-detail has no owner
    fields = (
        _system_fields(owners=QUEUE_OR_USER if owned else ())
        | {"Name": name_field}
        | {item.name: item for item in custom_fields}
    )
    label = _text(root, "label")
    return SObject(api_name, label, _text(root, "pluralLabel") or label, prefix, fields, custom=True)


def field_of(root: ElementTree.Element) -> Field:
    """A custom field by its CustomField element; ValueError for a type that there is not."""
    sfdx_type = _text(root, "type")
    if sfdx_type not in _SFDX_TYPES:
        raise ValueError(f"Unknown field type {sfdx_type!r} of {_text(root, 'fullName')}")
    name, kind = _text(root, "fullName").rpartition(".")[2], _SFDX_TYPES[sfdx_type]
    scale = int(_text(root, "scale") or 0)
    value_set = root.find(f"{NAMESPACE}valueSet")
    values = [
        _text(node, "fullName")
        for node in root.iter(f"{NAMESPACE}value")
        if node.find(f"{NAMESPACE}fullName") is not None
    ]
    target = _text(root, "referenceTo")
    formula = _text(root, "formula") or None
    calculated = formula is not None or sfdx_type == "Summary"
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
        default=None if calculated else _default_of(root, kind),
        restricted=value_set is not None and _text(value_set, "restricted") == "true",
        values=tuple(values),
        reference_to=(target,) if target else (),
        relationship=f"{name.removesuffix('__c')}__r" if target else None,
        child_relationship=f"{_text(root, 'relationshipName')}__r" if target else None,
        cascade_delete=sfdx_type == "MasterDetail",
        createable=not calculated and sfdx_type != "AutoNumber",
        updateable=not calculated
        and sfdx_type != "AutoNumber"
        and (sfdx_type != "MasterDetail" or _text(root, "reparentableMasterDetail") == "true"),
        auto_number=(_text(root, "displayFormat") or "{0}") if sfdx_type == "AutoNumber" else None,
        calculated=calculated,
        formula=formula,
        custom=True,
    )


def _default_of(root: ElementTree.Element, kind: str) -> Any:
    """The default of new records; a formula that is more than a number or a quoted text is not computed."""
    chosen = (node for node in root.iter(f"{NAMESPACE}value") if _text(node, "default") == "true")
    if kind in ("picklist", "multipicklist"):
        return next((_text(node, "fullName") for node in chosen), None)
    text = _text(root, "defaultValue")
    if kind == "boolean":
        return text == "true"
    if kind in NUMBER_TYPES:
        return float(text) if text.lstrip("-").replace(".", "", 1).isdigit() else None
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else None


def _text(node: ElementTree.Element | None, tag: str) -> str:
    found = None if node is None else node.find(f"{NAMESPACE}{tag}")
    return (found.text or "").strip() if found is not None else ""
