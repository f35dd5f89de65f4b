"""The Tooling API's view of the org: its objects and fields as records, made anew whenever the schema has changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from emulators.control import Clock
from emulators.salesforce.ids import make_id
from emulators.salesforce.schema import Field, Schema, SObject, standard_objects
from emulators.salesforce.soql.compiler import Compiler
from emulators.salesforce.store import Store, quoted, timestamp

OBJECTS = Path(__file__).with_name("tooling_objects.yaml")
IN_DATA_API = frozenset({"entitydefinition", "fielddefinition"})  # queries outside /tooling know these two as well
_DATA_TYPES = {
    "string": "Text({0})", "textarea": "Long Text Area({0})", "picklist": "Picklist", "multipicklist": "Picklist (Multi-Select)", "email": "Email",
    "phone": "Phone", "url": "URL({0})", "boolean": "Checkbox", "date": "Date", "datetime": "Date/Time", "double": "Number({1}, {2})",
    "int": "Number({1}, 0)", "currency": "Currency({1}, {2})", "percent": "Percent({1}, {2})", "reference": "Lookup({3})", "id": "Lookup()",
    "address": "Address", "combobox": "Picklist",
}  # fmt: skip


class Tooling:
    """A schema, a store and a compiler of their own. `refresh` brings the records up to date."""

    def __init__(self, data: Path, clock: Clock) -> None:
        path = data / "tooling.sqlite"
        for leftover in data.glob("tooling.sqlite*"):
            leftover.unlink()
        self.schema = Schema(standard_objects(OBJECTS))
        self.store = Store(path, self.schema)
        self.compiler = Compiler(self.schema, clock.now, self.store)
        self._made_for: tuple[datetime, int] | None = None
        self._lock = threading.Lock()

    def refresh(self, org_schema: Schema, changed_at: datetime, user_id: str) -> None:
        """Makes the records of this schema, unless they are those of it already."""
        with self._lock:
            if self._made_for == (changed_at, id(org_schema.objects)):
                return
            self.store.clear()
            now = timestamp(changed_at)
            stamps = {
                "IsDeleted": 0, "CreatedDate": now, "CreatedById": user_id, "LastModifiedDate": now, "LastModifiedById": user_id,
                "SystemModstamp": now,
            }  # fmt: skip
            with self.store.writing() as connection:
                for name, row in _rows(org_schema):
                    values = row | stamps
                    marks = ",".join("?" * len(values))
                    connection.execute(
                        f"INSERT INTO {quoted(name)} ({', '.join(map(quoted, values))}) VALUES ({marks})",
                        list(values.values()),
                    )
            self._made_for = (changed_at, id(org_schema.objects))


def _rows(schema: Schema) -> Iterator[tuple[str, dict[str, Any]]]:
    field_number = 0
    for number, sobject in enumerate(schema.objects.values(), 1):
        durable_id = make_id("01I", number)[:15] if sobject.custom else sobject.name
        developer_name = sobject.name.removesuffix("__c")
        yield "EntityDefinition", {
            "Id": durable_id, "DurableId": durable_id, "QualifiedApiName": sobject.name, "DeveloperName": developer_name, "Label": sobject.label,
            "PluralLabel": sobject.plural, "MasterLabel": sobject.label, "KeyPrefix": sobject.prefix, "IsQueryable": 1, "IsCustomizable": 1,
            "IsCustomSetting": 0, "IsDeprecatedAndHidden": 0,
        }  # fmt: skip
        if sobject.custom:
            yield "CustomObject", {"Id": make_id("01I", number), "DeveloperName": developer_name}
        for item in sobject.visible:
            field_number += 1
            yield "FieldDefinition", _field_row(sobject, durable_id, item, field_number)
            if item.custom:
                yield "CustomField", {
                    "Id": make_id("00N", field_number), "DeveloperName": item.name.removesuffix("__c"), "TableEnumOrId": durable_id,
                    "EntityDefinitionId": durable_id,
                }  # fmt: skip


def _field_row(sobject: SObject, durable_id: str, item: Field, number: int) -> dict[str, Any]:
    shown = _DATA_TYPES.get(item.type, item.type).format(
        item.length, item.precision - item.scale, item.scale, ",".join(item.reference_to)
    )
    last = (
        make_id("00N", number)[:15] if item.custom else item.name.removesuffix("Id") if item.reference_to else item.name
    )
    return {
        "Id": f"{durable_id}.{last}", "DurableId": f"{durable_id}.{last}", "EntityDefinitionId": durable_id, "QualifiedApiName": item.name,
        "DeveloperName": item.name.removesuffix("__c"), "Label": item.label, "MasterLabel": item.label,
        "DataType": "Auto Number" if item.auto_number else shown, "RelationshipName": item.relationship, "Length": item.length,
        "Precision": item.precision, "Scale": item.scale, "IsCalculated": int(item.calculated),
        "IsIndexed": int(item.external_id or item.unique or item.is_id or item.name_field), "IsNillable": int(not item.required),
    }  # fmt: skip
