"""Does a mapping fit the org? Checked against describe before a run, all problems at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from salesforce_sync.mapping.apply import Target
from salesforce_sync.mapping.model import MappingFile


class FieldLike(Protocol):
    """What is asked of a described field."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def length(self) -> int: ...
    @property
    def createable(self) -> bool: ...
    @property
    def updateable(self) -> bool: ...
    @property
    def nillable(self) -> bool: ...
    @property
    def defaulted(self) -> bool: ...
    @property
    def external_id(self) -> bool: ...
    @property
    def unique(self) -> bool: ...
    @property
    def restricted_values(self) -> frozenset[str] | None: ...


class ObjectLike(Protocol):
    """What is asked of a described object."""

    @property
    def name(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, FieldLike]: ...


def problems(mapping: MappingFile, described: ObjectLike | None) -> list[str]:
    """Sentences, one per problem; empty when the mapping fits."""
    name = mapping.salesforce.object
    if described is None:
        return [f"the org has no object {name}, or hides it from the integration user"]
    if mapping.direction == "to_vendor":
        direct = [
            field_name for field_name in mapping.salesforce_paths if "." not in field_name
        ]  # Salesforce checks the paths to parents
        hidden = [field_name for field_name in direct if field_name not in described.fields]
        return [f"{name} has no field {field_name}, or hides it from the integration user" for field_name in hidden]
    found = [_external_id_problem(mapping, described)]
    for field_name, item in mapping.fields.items():
        if "." in field_name:
            continue  # a parent by its external id: Salesforce checks it
        info = described.fields.get(field_name)
        if info is None:
            found.append(f"{name} has no field {field_name}, or hides it from the integration user")
        elif not _may_be_written(mapping, info):
            found.append(
                f"{name}.{field_name} may not be {'updated' if info.createable else 'written'} by the integration user"
            )
        elif (
            item.vendor is None
            and info.restricted_values is not None
            and item.value is not None
            and item.value not in info.restricted_values
        ):
            found.append(f"{name}.{field_name}: the constant {item.value!r} is not in its picklist")
    if mapping.is_update_only:
        return [problem for problem in found if problem]
    covered = {
        *mapping.fields,
        mapping.salesforce.external_id,
        *(field_name.split(".")[0].replace("__r", "__c") for field_name in mapping.fields),
    }
    found += [
        f"{name}.{info.name} is required in the org, and the mapping does not fill it"
        for info in described.fields.values()
        if info.createable and not info.nillable and not info.defaulted and info.name not in covered
    ]
    return [problem for problem in found if problem]


def _may_be_written(mapping: MappingFile, info: FieldLike) -> bool:
    if mapping.is_update_only:
        return info.updateable
    return info.createable and (info.updateable or mapping.create_only)


def _external_id_problem(mapping: MappingFile, described: ObjectLike) -> str:
    key = mapping.salesforce.external_id
    if mapping.is_update_only:
        return ""
    info = described.fields.get(key)
    if info is None:
        return f"{mapping.salesforce.object} has no field {key}, or hides it from the integration user"
    if not info.external_id or not info.unique:
        return f"{mapping.salesforce.object}.{key} must be a unique external id"
    return ""


def targets(mapping: MappingFile, described: ObjectLike) -> dict[str, Target]:
    """What each mapped field takes, for `apply`."""
    result = {}
    for name in (mapping.salesforce.external_id, *mapping.fields):
        info = described.fields.get(name)
        result[name] = Target("string") if info is None else Target(info.type, _length(info), info.restricted_values)
    return result


def _length(info: FieldLike) -> int:
    return (
        info.length if info.type not in ("boolean", "int", "double", "currency", "percent", "date", "datetime") else 0
    )
