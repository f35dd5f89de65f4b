"""Does a mapping fit the org? Checked against describe before a run, all problems at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from salesforce_sync.mapping.apply import Target, is_listed
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
    @property
    def reference_to(self) -> tuple[str, ...]: ...
    @property
    def calculated(self) -> bool: ...


class ObjectLike(Protocol):
    """What is asked of a described object."""

    @property
    def name(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, FieldLike]: ...
    def find_relationship(self, name: str) -> FieldLike | None: ...


Objects = Mapping[str, ObjectLike | None]
# What an org tells of a record that may be of several objects: fields of its object Name (Object Reference, "Name").
NAME_FIELDS = frozenset({
    "Id", "Name", "FirstName", "LastName", "Email", "Phone", "Title", "Type", "Alias", "Username", "IsActive", "ProfileId", "UserRoleId",
})  # fmt: skip
UNREADABLE = {
    "address": "is made of several fields: name those",
    "location": "is made of several fields: name those",
    "base64": "holds a file, which is not read",
}
FOUND_BY = frozenset({"string", "email", "phone", "url", "int", "double", "picklist"})
KEY_TYPES = frozenset({"string", "email"})  # of the types that may be an external id, those that take any text


def problems(mapping: MappingFile, described: ObjectLike | None, parents: Objects | None = None) -> list[str]:
    """Sentences, one per problem; empty when the mapping fits.

    `parents` are the objects that paths such as `Account.Name` lead to, see `unknown_parents`; without them such paths are not looked at.
    """
    name = mapping.salesforce.object
    if described is None:
        return [f"the org has no object {name}, or hides it from the integration user"]
    if len(parts := mapping.parts) > 1:
        known = parents or {}
        objects = {prefix: known.get(part.salesforce.object) if prefix else described for prefix, part in parts.items()}
        return [problem for prefix, part in parts.items() for problem in problems(part, objects[prefix], parents)]
    paths = _paths(mapping)
    found = []
    if parents is not None:
        followed = [path for path in paths if "." in path and not _parent_problem(mapping, described, path)]
        found = [_Path(described, path, parents).problem for path in followed]
    if mapping.direction == "to_vendor":
        found += [_reading_problem(described, path) for path in paths if "." not in path]
    else:
        found += _writing_problems(mapping, described)
    return [problem for problem in found if problem]


def unknown_parents(mapping: MappingFile, described: ObjectLike, known: Objects) -> set[str]:
    """Objects that the mapping's paths lead to and that are not among the known ones."""
    paths = _paths(mapping)
    wanted = {_Path(described, path, known).missing for path in paths if "." in path}
    beside = {part.salesforce.object for prefix, part in mapping.parts.items() if prefix}
    return {name for name in wanted if name is not None} | (beside - known.keys())


def reads_unstamped(mapping: MappingFile, described: ObjectLike, known: Objects) -> bool:
    """Whether a field that the mapping reads changes without a stamp that a reading looks for: the org computes it, or it is that of a
    parent that may be of several objects."""
    followed = [_Path(described, path, known) for path in mapping.salesforce_paths]
    return any(path.is_of_several or (path.end is not None and path.end.calculated) for path in followed)


def _paths(mapping: MappingFile) -> tuple[str, ...]:
    return mapping.salesforce_paths if mapping.direction == "to_vendor" else tuple(mapping.fields)


class _Path:
    """A path over relationships, followed as far as the objects are known: `problem` is what is wrong with it, `missing` the object that
    would have to be known, `end` the field that it leads to."""

    def __init__(self, described: ObjectLike, path: str, known: Objects) -> None:
        self.problem = ""
        self.end: FieldLike | None = None
        self.is_of_several = False
        self.missing: str | None = None
        self._follow(described, path.split("."), path, known)

    def _follow(self, described: ObjectLike, names: list[str], path: str, known: Objects) -> None:
        *relationships, last = names
        for place, name in enumerate(relationships):
            reference = described.find_relationship(name)
            if reference is None or not reference.reference_to:
                self.problem = f"{described.name} has no relationship {name} (in {path})"
                return
            if len(reference.reference_to) > 1:
                self.is_of_several = True
                if place < len(relationships) - 1 or last not in NAME_FIELDS:
                    several = " or ".join(reference.reference_to)
                    self.problem = (
                        f"{path}: {name} may be of {several}, of which {', '.join(sorted(NAME_FIELDS))} can be read"
                    )
                return
            parent = known.get(target := reference.reference_to[0])
            if parent is None:
                self.missing = None if target in known else target
                self.problem = f"the org has no object {target}, or hides it (in {path})" if target in known else ""
                return
            described = parent
        self.problem = _reading_problem(described, last)
        self.end = described.fields.get(last)


def _reading_problem(described: ObjectLike, name: str) -> str:
    if name not in described.fields:
        return f"{described.name} has no field {name}, or hides it from the integration user"
    info = described.fields.get(name)
    why = UNREADABLE.get(info.type) if info is not None else None
    return f"{described.name}.{name} {why}" if why else ""


def _writing_problems(mapping: MappingFile, described: ObjectLike) -> list[str]:
    name = mapping.salesforce.object
    found = [_external_id_problem(mapping, described)]
    for field_name, item in mapping.fields.items():
        if "." in field_name:
            found.append(_parent_problem(mapping, described, field_name))
            continue
        info = described.fields.get(field_name)
        if info is None:
            found.append(f"{name} has no field {field_name}, or hides it from the integration user")
        elif info.type in UNREADABLE:
            found.append(f"{name}.{field_name} {UNREADABLE[info.type]}")
        elif not _may_be_written(mapping, info):
            found.append(
                f"{name}.{field_name} may not be {'updated' if info.createable else 'written'} by the integration user"
            )
        elif item.stamp and info.type not in ("date", "datetime"):
            found.append(f"{name}.{field_name} is a {info.type}, and a stamp needs a date or a date and time")
        elif (
            item.vendor is None
            and info.restricted_values is not None
            and item.value is not None
            and not is_listed(str(item.value), info.restricted_values, several=info.type == "multipicklist")
        ):
            found.append(f"{name}.{field_name}: the constant {item.value!r} is not in its picklist")
    if mapping.is_update_only:
        return found
    covered = {
        *mapping.fields,
        mapping.key,
        *(field_name.split(".")[0].replace("__r", "__c") for field_name in mapping.fields),
    }
    return found + [
        f"{name}.{info.name} is required in the org, and the mapping does not fill it"
        for info in described.fields.values()
        if info.createable and not info.nillable and not info.defaulted and info.name not in covered
    ]


def _parent_problem(mapping: MappingFile, described: ObjectLike, path: str) -> str:
    """A parent that is named by its external id, which is written, has to be of one object."""
    if mapping.direction == "to_vendor":
        return ""
    reference = described.find_relationship(path.partition(".")[0])
    if reference is not None and len(reference.reference_to) > 1:
        several = " or ".join(reference.reference_to)
        return f"{described.name}.{path}: the parent may be of {several}: map its id to {reference.name}"
    return ""


def _may_be_written(mapping: MappingFile, info: FieldLike) -> bool:
    if mapping.is_update_only:
        return info.updateable
    return info.createable and (info.updateable or mapping.create_only)


def _external_id_problem(mapping: MappingFile, described: ObjectLike) -> str:
    key = mapping.salesforce.external_id
    if mapping.is_update_only:
        return _find_by_problem(mapping, described)
    info = described.fields.get(key)
    if info is None:
        return f"{mapping.salesforce.object} has no field {key}, or hides it from the integration user"
    if not info.external_id or not info.unique:
        return f"{mapping.salesforce.object}.{key} must be a unique external id"
    if info.type not in KEY_TYPES:
        return (
            f"{mapping.salesforce.object}.{key} must be a text field: it holds the vendor's ids, and is a {info.type}"
        )
    if not info.createable:
        return f"{mapping.salesforce.object}.{key} may not be written by the integration user, or numbers its records by itself"
    return ""


def _find_by_problem(mapping: MappingFile, described: ObjectLike) -> str:
    find_by, name = mapping.salesforce.find_by, mapping.salesforce.object
    if find_by is None or find_by.field == "Id":
        return ""
    info = described.fields.get(find_by.field)
    if info is None:
        return f"{name} has no field {find_by.field}, or hides it from the integration user"
    if info.calculated:
        return f"{name}.{find_by.field} is computed by the org, and no stamp tells when it changes: name a field that is filled"
    if info.type in UNREADABLE or info.type not in FOUND_BY:
        return f"{name}.{find_by.field} is a {info.type}, by which no record is found: use an id, a text, an address or a number"
    return ""


def targets(mapping: MappingFile, described: ObjectLike, known: Objects | None = None) -> dict[str, Target]:
    """What each mapped field takes, for `apply`. `known` are the objects that are written beside the mapping's own."""
    result = {}
    for prefix, part in mapping.parts.items():
        owner = (known or {}).get(part.salesforce.object) if prefix else described
        for name in (part.key, *part.fields):
            info = owner.fields.get(name) if owner else None
            target = Target("string") if info is None else Target(info.type, _length(info), info.restricted_values)
            result[f"{prefix}{name}"] = target
    return result


def _length(info: FieldLike) -> int:
    return (
        info.length if info.type not in ("boolean", "int", "double", "currency", "percent", "date", "datetime") else 0
    )
