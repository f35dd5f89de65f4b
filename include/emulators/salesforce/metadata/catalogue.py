"""What there is: the components of the org as listMetadata, readMetadata and retrieve show them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from emulators.salesforce.errors import ApiError
from emulators.salesforce.ids import make_id
from emulators.salesforce.metadata.types import BY_NAME, OBJECT_CHILDREN, TYPES, MetadataType
from emulators.salesforce.org import MAX_VERSION, Org
from emulators.salesforce.schema import Field, SObject
from emulators.salesforce.store import timestamp

NAMESPACE_URI = "http://soap.sforce.com/2006/04/metadata"
_PREFIXES = {
    "CustomField": "00N",
    "Report": "00O",
    "Dashboard": "01Z",
    "ReportFolder": "00l",
    "DashboardFolder": "00l",
    "PermissionSet": "0PS",
}
_SFDX_NAMES = {
    "string": "Text", "textarea": "LongTextArea", "email": "Email", "phone": "Phone", "url": "Url", "picklist": "Picklist",
    "multipicklist": "MultiselectPicklist", "boolean": "Checkbox", "date": "Date", "datetime": "DateTime", "double": "Number", "int": "Number",
    "currency": "Currency", "percent": "Percent", "time": "Time", "encryptedstring": "EncryptedText",
}  # fmt: skip


@dataclass
class Retrieved:
    """A finished retrieval: the zip, the FileProperties of what is in it, and why something is not."""

    content: bytes = b""
    files: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def describe() -> dict[str, Any]:
    """The DescribeMetadataResult."""
    return {
        "metadataObjects": [
            {"childXmlNames": list(item.children), "directoryName": item.folder, "inFolder": item.in_folder, "metaFile": False,
             "suffix": item.suffix, "xmlName": item.name} for item in TYPES
        ],
        "organizationNamespace": "", "partialSaveAllowed": True, "testRequired": False,
    }  # fmt: skip


_FOLDER_TYPES = {"ReportFolder": "Report", "DashboardFolder": "Dashboard"}


def names_of(org: Org, kind: str) -> Iterator[str]:
    """The full names of the components of a type; the folders of reports and dashboards are types of their own."""
    if kind == "CustomObject":
        yield from ("Activity", *org.schema.objects)
    elif kind == "CustomField":
        owners = {"Task": "Activity", "Event": "Activity"}
        names = [
            f"{owners.get(sobject.name, sobject.name)}.{item.name}"
            for sobject in org.schema.objects.values() for item in sobject.fields.values() if item.custom
        ]  # fmt: skip
        yield from dict.fromkeys(names)
    elif kind in _FOLDER_TYPES:
        yield from (name for known, name in org.components if known == _FOLDER_TYPES[kind] and "/" not in name)
    else:
        yield from (
            name for known, name in org.components if known == kind and ("/" in name or not BY_NAME[kind].in_folder)
        )


def list_metadata(org: Org, kind: str, folder: str | None = None) -> list[dict[str, Any]]:
    """FileProperties of the components of a type, in a folder if one is given."""
    known = _type_of(kind)
    if known is None:
        raise ApiError("INVALID_TYPE", f"Unknown type:{kind}")
    names = [name for name in sorted(names_of(org, kind)) if not folder or name.startswith(f"{folder}/")]
    return [properties(org, kind, name, _file_name(known, kind, name), number) for number, name in enumerate(names, 1)]


def _type_of(kind: str) -> MetadataType | None:
    return BY_NAME.get({"CustomField": "CustomObject", **_FOLDER_TYPES}.get(kind, kind))


def _file_name(known: MetadataType, kind: str, name: str) -> str:
    if known.in_folder and "/" not in name:
        return f"{known.folder}/{name}-meta.xml"
    return f"{known.folder}/{name.partition('.')[0] if kind == 'CustomField' else name}.{known.suffix}"


def properties(org: Org, kind: str, name: str, file_name: str, number: int) -> dict[str, Any]:
    """The FileProperties of a component."""
    now = timestamp(org.schema_changed_at)
    return {
        "createdById": org.user_id, "createdByName": "Integration User", "createdDate": now, "fileName": file_name, "fullName": name,
        "id": make_id(_PREFIXES.get(kind, "01I"), number), "lastModifiedById": org.user_id, "lastModifiedByName": "Integration User",
        "lastModifiedDate": now, "manageableState": "unmanaged", "type": kind,
    }  # fmt: skip


def component_xml(org: Org, kind: str, name: str) -> str | None:
    """What is in the element of a component, without its full name; None when the org has none of this name."""
    if kind == "CustomField":
        object_name, _, field_name = name.partition(".")
        sobject = org.schema.find("Task" if object_name == "Activity" else object_name)
        item = sobject.find(field_name) if sobject else None
        stored = org.components.get((kind, name))
        return None if item is None or not item.custom else stored[1] if stored else _field_xml(item)
    if kind == "CustomObject":
        return _object_xml(org, name)
    stored = org.components.get((kind, name))
    return stored[1] if stored else None


def retrieve(org: Org, wanted: dict[str, list[str]], version: str, *, single: bool) -> Retrieved:
    """The components wanted: type -> full names, or ["*"]. A `single` package lies at the top of the zip, else in `unpackaged/`."""
    base = "" if single else "unpackaged/"
    retrieved = Retrieved()
    found: dict[str, list[str]] = {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for kind, names in sorted(wanted.items()):
            known = _type_of(kind)
            if known is None or kind == "CustomField":
                retrieved.problems.append(f"Entity type: '{kind}' is unknown or comes with its object")
                continue
            every = [name for name in names_of(org, kind) if kind != "CustomObject" or name.endswith("__c")]
            for name in every if names == ["*"] else [name.rstrip("/") for name in names]:
                body = component_xml(org, kind, name)
                if body is None:
                    retrieved.problems.append(f"Entity of type '{kind}' named '{name}' cannot be found")
                    continue
                tag = org.components.get((kind, name), (kind, ""))[0]
                path = f"{base}{_file_name(known, kind, name)}"
                archive.writestr(
                    path, f'<?xml version="1.0" encoding="UTF-8"?>\n<{tag} xmlns="{NAMESPACE_URI}">{body}</{tag}>\n'
                )
                retrieved.files.append(properties(org, kind, name, path, len(retrieved.files) + 1))
                found.setdefault(kind, []).append(name)
        archive.writestr(f"{base}package.xml", _manifest(found, version))
    retrieved.content = buffer.getvalue()
    return retrieved


def _manifest(found: dict[str, list[str]], version: str) -> str:
    groups = "".join(
        f"<types>{''.join(f'<members>{escape(name)}</members>' for name in names)}<name>{kind}</name></types>"
        for kind, names in found.items()
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Package xmlns="{NAMESPACE_URI}">{groups}<version>{version or MAX_VERSION}</version></Package>\n'


def _object_xml(org: Org, name: str) -> str | None:
    """An object as it was deployed, or as the schema has it, with its fields and whatever else belongs to it."""
    sobject = org.schema.find("Task" if name == "Activity" else name)
    if sobject is None:
        return None
    parts = []
    for tag, kind in OBJECT_CHILDREN.items():
        names = [
            known
            for known in (names_of(org, kind) if kind == "CustomField" else _children(org, kind))
            if known.partition(".")[0] == name
        ]
        parts += [
            f"<{tag}><fullName>{known.partition('.')[2]}</fullName>{component_xml(org, kind, known)}</{tag}>"
            for known in names
        ]
    stored = org.components.get(("CustomObject", name))
    return "".join(parts) + (stored[1] if stored else _header_xml(sobject))


def _children(org: Org, kind: str) -> Iterator[str]:
    yield from (name for known, name in org.components if known == kind)


def _header_xml(sobject: SObject) -> str:
    if not sobject.custom:
        return f"<label>{escape(sobject.label)}</label><sharingModel>ReadWrite</sharingModel>"
    name = sobject.fields["Name"]
    shown = f"<label>{escape(name.label)}</label><type>{'AutoNumber' if name.auto_number else 'Text'}</type>"
    if name.auto_number:
        shown = f"<displayFormat>{escape(name.auto_number)}</displayFormat>{shown}"
    return (
        f"<deploymentStatus>Deployed</deploymentStatus><label>{escape(sobject.label)}</label>"
        f"<nameField>{shown}</nameField><pluralLabel>{escape(sobject.plural)}</pluralLabel><sharingModel>ReadWrite</sharingModel>"
    )


def _field_xml(item: Field) -> str:
    kind = (
        "AutoNumber"
        if item.auto_number
        else "MasterDetail"
        if item.cascade_delete
        else "Lookup"
        if item.reference_to
        else _SFDX_NAMES[item.type]
    )
    if kind == "LongTextArea" and item.length <= 255:
        kind = "TextArea"
    values: list[tuple[str, Any]] = []
    if item.auto_number:
        values.append(("displayFormat", item.auto_number))
    if kind == "Checkbox":
        values.append(("defaultValue", bool(item.default)))
    values += [("externalId", item.external_id), ("label", item.label)]
    if kind in ("Text", "LongTextArea", "EncryptedText"):
        values.append(("length", item.length))
    if kind in ("Number", "Currency", "Percent"):
        values += [("precision", item.precision), ("scale", item.scale)]
    if item.reference_to:
        values += [
            ("referenceTo", item.reference_to[0]),
            ("relationshipName", (item.child_relationship or "").removesuffix("__r")),
        ]
    values += [("required", item.required and kind != "MasterDetail"), ("type", kind), ("unique", item.unique)]
    if kind == "LongTextArea":
        values.append(("visibleLines", 3))
    text = "".join(
        f"<{name}>{str(value).lower() if isinstance(value, bool) else escape(str(value))}</{name}>"
        for name, value in values
    )
    if item.values:
        choices = "".join(_choice_xml(value, is_default=value == item.default) for value in item.values)
        definition = f"<valueSetDefinition><sorted>false</sorted>{choices}</valueSetDefinition>"
        text += f"<valueSet><restricted>{str(item.restricted).lower()}</restricted>{definition}</valueSet>"
    return text


def _choice_xml(value: str, *, is_default: bool) -> str:
    text = escape(value)
    return (
        f"<value><fullName>{text}</fullName><default>{str(is_default).lower()}</default><label>{text}</label></value>"
    )
