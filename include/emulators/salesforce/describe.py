"""The schema as the describe calls show it."""

from __future__ import annotations

from typing import Any

from emulators.salesforce.schema import NUMBER_TYPES, Field, Schema, SObject

_SOAP_TYPES = {
    "boolean": "xsd:boolean", "int": "xsd:int", "double": "xsd:double", "currency": "xsd:double", "percent": "xsd:double",
    "date": "xsd:date", "datetime": "xsd:dateTime", "id": "tns:ID", "reference": "tns:ID",
}  # fmt: skip


def describe_global(schema: Schema, version: str) -> dict[str, Any]:
    """GET /sobjects."""
    return {
        "encoding": "UTF-8",
        "maxBatchSize": 200,
        "sobjects": [_summary(item, version) for item in schema.objects.values()],
    }


def describe_object(schema: Schema, sobject: SObject, version: str) -> dict[str, Any]:
    """GET /sobjects/X/describe."""
    children: list[dict[str, Any]] = [
        {
            "childSObject": child.name, "field": item.name, "relationshipName": item.child_relationship, "cascadeDelete": item.cascade_delete,
            "restrictedDelete": False, "deprecatedAndHidden": False, "junctionIdListNames": [], "junctionReferenceTo": [],
        }
        for child, item in schema.children_of(sobject.name)
    ]  # fmt: skip
    master = {"name": "Master", "recordTypeId": "012000000000000AAA", "developerName": "Master", "active": True, "available": True,
              "defaultRecordTypeMapping": True, "master": True}  # fmt: skip
    return _summary(sobject, version) | {
        "fields": [_field(item) for item in sobject.visible],
        "childRelationships": children,
        "recordTypeInfos": [master],
        "namedLayoutInfos": [],
        "actionOverrides": [],
        "supportedScopes": [],
        "searchLayoutable": True,
        "compactLayoutable": True,
    }


def _summary(sobject: SObject, version: str) -> dict[str, Any]:
    root = f"/services/data/v{version}/sobjects/{sobject.name}"
    return {
        "name": sobject.name, "label": sobject.label, "labelPlural": sobject.plural, "keyPrefix": sobject.prefix, "custom": sobject.custom,
        "activateable": False, "createable": sobject.createable, "updateable": sobject.createable, "deletable": sobject.deletable,
        "queryable": True, "retrieveable": True, "searchable": True, "replicateable": True, "triggerable": True, "undeletable": True,
        "mergeable": sobject.name in ("Account", "Contact", "Lead"), "layoutable": True, "feedEnabled": False, "customSetting": False,
        "deprecatedAndHidden": False, "hasSubtypes": False, "isInterface": False, "isSubtype": False, "mruEnabled": True,
        "urls": {"sobject": root, "describe": f"{root}/describe", "rowTemplate": f"{root}/{{ID}}"},
    }  # fmt: skip


def _field(item: Field) -> dict[str, Any]:
    is_number = item.type in NUMBER_TYPES
    whole = item.type == "int"
    return {
        "name": item.name, "label": item.label, "type": item.type, "length": item.length,
        "byteLength": item.length * (1 if item.is_id else 3),
        "digits": item.precision if whole else 0, "precision": item.precision if is_number and not whole else 0, "scale": item.scale,
        "soapType": _SOAP_TYPES.get(item.type, "xsd:string"), "nillable": not item.required and item.type not in ("boolean", "id"),
        "createable": item.createable, "updateable": item.updateable,
        "defaultedOnCreate": item.default is not None or item.auto_number is not None or item.type == "boolean" or item.name in ("Id", "OwnerId"),
        "defaultValue": item.default if item.default is not None else (False if item.type == "boolean" else None), "defaultValueFormula": None,
        "calculated": item.calculated, "calculatedFormula": None, "custom": item.custom, "externalId": item.external_id,
        "idLookup": item.is_lookup, "unique": item.unique,
        "caseSensitive": item.case_sensitive, "compoundFieldName": None, "nameField": item.name_field, "namePointing": len(item.reference_to) > 1,
        "autoNumber": item.auto_number is not None, "filterable": not (item.type == "textarea" and item.length > 255),
        "sortable": not (item.type == "textarea" and item.length > 255), "groupable": item.type not in ("double", "currency", "percent", "textarea"),
        "aggregatable": item.type != "boolean", "permissionable": item.custom and not item.required,
        "restrictedPicklist": item.restricted, "picklistValues": [_picklist_value(value, item.default) for value in item.values],
        "referenceTo": list(item.reference_to), "relationshipName": item.relationship, "relationshipOrder": None,
        "cascadeDelete": item.cascade_delete, "restrictedDelete": False, "writeRequiresMasterRead": False,
        "polymorphicForeignKey": len(item.reference_to) > 1,
        "queryByDistance": False, "deprecatedAndHidden": False, "htmlFormatted": False, "dependentPicklist": False, "controllerName": None,
        "encrypted": False, "extraTypeInfo": "plaintextarea" if item.type == "textarea" else None, "inlineHelpText": None, "mask": None,
        "maskType": None, "highScaleNumber": False, "displayLocationInDecimal": False, "formulaTreatNullNumberAsZero": False,
        "aiPredictionField": False, "searchPrefilterable": item.is_id, "filteredLookupInfo": None, "referenceTargetField": None,
    }  # fmt: skip


def _picklist_value(value: str, default: Any) -> dict[str, Any]:
    return {"active": True, "defaultValue": value == default, "label": value, "validFor": None, "value": value}
