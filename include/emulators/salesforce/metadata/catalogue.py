"""What there is: the components of the org as listMetadata, readMetadata and retrieve show them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

from emulators.salesforce.errors import ApiError
from emulators.salesforce.ids import make_id
from emulators.salesforce.metadata.types import BY_NAME, TYPES
from emulators.salesforce.org import MAX_VERSION, Org
from emulators.salesforce.schema import Field, SObject
from emulators.salesforce.store import timestamp

NAMESPACE_URI = "http://soap.sforce.com/2006/04/metadata"
_SFDX_NAMES = {
    "string": "Text", "textarea": "LongTextArea", "email": "Email", "phone": "Phone", "url": "Url", "picklist": "Picklist",
    "multipicklist": "MultiselectPicklist", "boolean": "Checkbox", "date": "Date", "datetime": "DateTime", "double": "Number", "int": "Number",
    "currency": "Currency", "percent": "Percent", "time": "Time", "encryptedstring": "EncryptedText",
}  # fmt: skip


def describe() -> dict[str, Any]:
    """The DescribeMetadataResult."""
    return {
        "metadataObjects": [
            {"childXmlNames": list(item.children), "directoryName": item.folder, "inFolder": item.in_folder, "metaFile": False,
             "suffix": item.suffix, "xmlName": item.name} for item in TYPES
        ],
        "organizationNamespace": "", "partialSaveAllowed": True, "testRequired": False,
    }  # fmt: skip


def names_of(org: Org, kind: str) -> Iterator[str]:
    """The full names of the components of a type."""
    if kind == "CustomObject":
        yield from org.schema.objects
    elif kind == "CustomField":
        for sobject in org.schema.objects.values():
            yield from (f"{sobject.name}.{item.name}" for item in sobject.fields.values() if item.custom)
    else:
        yield from (name for known, name in org.components if known == kind)


def list_metadata(org: Org, kind: str, folder: str | None = None) -> list[dict[str, Any]]:
    """FileProperties of the components of a type, in a folder if one is given."""
    now, known = timestamp(org.schema_changed_at), BY_NAME.get("CustomObject" if kind == "CustomField" else kind)
    if known is None:
        raise ApiError("INVALID_TYPE", f"Unknown type:{kind}")
    listed = []
    for number, name in enumerate(sorted(names_of(org, kind)), 1):
        if folder and not name.startswith(f"{folder}/"):
            continue
        listed.append({
            "createdById": org.user_id, "createdByName": "Integration User", "createdDate": now,
            "fileName": f"{known.folder}/{name.partition('.')[0] if kind == 'CustomField' else name}.{known.suffix}", "fullName": name,
            "id": make_id("00N" if kind == "CustomField" else "01I", number), "lastModifiedById": org.user_id,
            "lastModifiedByName": "Integration User", "lastModifiedDate": now, "manageableState": "unmanaged", "type": kind,
        })  # fmt: skip
    return listed


def component_xml(org: Org, kind: str, name: str) -> str | None:
    """The inner XML of a component; None when the org has none of this name."""
    if kind == "CustomField":
        object_name, _, field_name = name.partition(".")
        sobject = org.schema.find(object_name)
        item = sobject.find(field_name) if sobject else None
        return None if item is None else _field_xml(item, name)
    if kind == "CustomObject":
        sobject = org.schema.find(name)
        return None if sobject is None else _object_xml(sobject)
    stored = org.components.get((kind, name))
    if stored is None:
        return None
    text = stored[1].decode("utf-8", errors="replace")
    start, end = text.find(">", text.find(f"<{kind}")) + 1, text.rfind(f"</{kind}>")
    return f"<fullName>{escape(name)}</fullName>{text[start:end]}"


def retrieve(org: Org, wanted: dict[str, list[str]], version: str) -> tuple[bytes, list[str]]:
    """(zip with the components and package.xml, problems): type -> full names, or ["*"]."""
    problems: list[str] = []
    found: dict[str, list[str]] = {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for kind, names in sorted(wanted.items()):
            known = BY_NAME.get(kind)
            if known is None:
                problems.append(f"Entity type: '{kind}' is unknown")
                continue
            every = [name for name in names_of(org, kind) if kind != "CustomObject" or name.endswith("__c")]
            for name in every if names == ["*"] else names:
                body = component_xml(org, kind, name)
                if body is None:
                    problems.append(f"Entity of type '{kind}' named '{name}' cannot be found")
                    continue
                text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{kind} xmlns="{NAMESPACE_URI}">{body}</{kind}>\n'
                archive.writestr(f"unpackaged/{known.folder}/{name}.{known.suffix}", text)
                found.setdefault(kind, []).append(name)
        archive.writestr("unpackaged/package.xml", _manifest(found, version))
    return buffer.getvalue(), problems


def _manifest(found: dict[str, list[str]], version: str) -> str:
    groups = "".join(
        f"<types>{''.join(f'<members>{escape(name)}</members>' for name in names)}<name>{kind}</name></types>" for kind, names in found.items()
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Package xmlns="{NAMESPACE_URI}">{groups}<version>{version or MAX_VERSION}</version></Package>\n'


def _object_xml(sobject: SObject) -> str:
    fields = "".join(f"<fields>{_field_xml(item, item.name)}</fields>" for item in sobject.fields.values() if item.custom)
    if not sobject.custom:
        return f"<fullName>{sobject.name}</fullName>{fields}<label>{escape(sobject.label)}</label><sharingModel>ReadWrite</sharingModel>"
    name = sobject.fields["Name"]
    shown = f"<label>{escape(name.label)}</label><type>{'AutoNumber' if name.auto_number else 'Text'}</type>"
    if name.auto_number:
        shown = f"<displayFormat>{escape(name.auto_number)}</displayFormat>{shown}"
    return (
        f"<fullName>{sobject.name}</fullName><deploymentStatus>Deployed</deploymentStatus>{fields}<label>{escape(sobject.label)}</label>"
        f"<nameField>{shown}</nameField><pluralLabel>{escape(sobject.plural)}</pluralLabel><sharingModel>ReadWrite</sharingModel>"
    )


def _field_xml(item: Field, full_name: str) -> str:
    kind = "AutoNumber" if item.auto_number else "MasterDetail" if item.cascade_delete else "Lookup" if item.reference_to else _SFDX_NAMES[item.type]
    if kind == "LongTextArea" and item.length <= 255:
        kind = "TextArea"
    values: list[tuple[str, Any]] = [("fullName", full_name)]
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
        values += [("referenceTo", item.reference_to[0]), ("relationshipName", (item.child_relationship or "").removesuffix("__r"))]
    values += [("required", item.required and kind != "MasterDetail"), ("type", kind), ("unique", item.unique)]
    if kind == "LongTextArea":
        values.append(("visibleLines", 3))
    text = "".join(f"<{name}>{str(value).lower() if isinstance(value, bool) else escape(str(value))}</{name}>" for name, value in values)
    if item.values:
        choices = "".join(_choice_xml(value, is_default=value == item.default) for value in item.values)
        definition = f"<valueSetDefinition><sorted>false</sorted>{choices}</valueSetDefinition>"
        text += f"<valueSet><restricted>{str(item.restricted).lower()}</restricted>{definition}</valueSet>"
    return text


def _choice_xml(value: str, *, is_default: bool) -> str:
    text = escape(value)
    return f"<value><fullName>{text}</fullName><default>{str(is_default).lower()}</default><label>{text}</label></value>"
