"""Records that are found by a field and updated, and fields that get the moment of their delivery."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from salesforce_sync.mapping import describe
from salesforce_sync.mapping.apply import NO_MATCH, RIVALS, SEVERAL_MATCHES, SEVERAL_RECORDS, Mapped, Target, apply
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.salesforce.metadata import FieldInfo, ObjectInfo

ID_15, ID_18 = "0015g0000000001", "0015g0000000001AAA"
OTHER = "0015g0000000002AAA"


def _mapping(field: str = "Id", fields: str = "", missing: str = "refuse", more: str = "") -> MappingFile:
    text = f"""
version: 1
summary: x
vendor: {{stream: accounts, id: id}}
salesforce: {{object: Account, find_by: {{field: {field}, vendor: crm, missing: {missing}}}{more}}}
fields:
  Score__c: score
{fields}"""
    return MappingFile.model_validate(yaml.safe_load(text))


def _apply(mapping: MappingFile, *records: dict[str, Any], **options: Any) -> Mapped:
    targets = {name: Target("double") for name in ("Score__c", "Synced__c")} | {"Id": Target("id", 18)}
    return apply(mapping, Columns.of(records, [*mapping.vendor_paths, RIVALS]), targets, **options)


def test_an_id_of_15_letters_becomes_the_whole_one() -> None:
    mapped = _apply(_mapping(), {"id": "a", "crm": ID_15, "score": 1}, {"id": "b", "crm": OTHER, "score": 2})
    assert mapped.table.to_pylist() == [{"Id": ID_18, "Score__c": 1.0}, {"Id": OTHER, "Score__c": 2.0}]


def test_a_value_is_found_in_any_case_of_letters() -> None:
    mapped = _apply(_mapping("Key__c"), {"id": "a", "crm": " c-17 ", "score": 1}, found={"c-17": [ID_18]})
    assert mapped.table.column("Id").to_pylist() == [ID_18]


@pytest.mark.parametrize(
    ("field", "value", "code", "message"),
    [
        ("Id", "C-17", NO_MATCH, "crm 'C-17' is no Salesforce id"),
        ("Id", None, NO_MATCH, "crm is missing, by which its Account is found"),
        ("Key__c", "C-18", NO_MATCH, "crm 'C-18': no Account has it in Key__c"),
        ("Key__c", "C-17", SEVERAL_MATCHES, f"crm 'C-17': 2 Account records have it in Key__c: {ID_18}, {OTHER}"),
    ],
)
def test_what_is_not_found_has_its_reason_whatever_else_is_wrong(
    field: str, value: str | None, code: str, message: str
) -> None:
    mapped = _apply(_mapping(field), {"id": "a", "crm": value, "score": "n/a"}, found={"c-17": [ID_18, OTHER]})
    assert (mapped.table.num_rows, mapped.problems) == (0, {})
    assert [(why.code, why.message, why.skipped) for why in mapped.unmatched.values()] == [(code, message, False)]


def test_what_nobody_has_is_skipped_where_the_mapping_says_so_and_what_several_have_never() -> None:
    mapping = _mapping("Key__c", missing="skip")
    found = {"c-17": [ID_18, OTHER]}
    mapped = _apply(mapping, *({"id": name, "crm": name} for name in ("C-18", "C-17")), found=found)
    assert [why.skipped for why in mapped.unmatched.values()] == [True, False]


def test_records_that_name_one_record_are_all_left_out() -> None:
    mapped = _apply(_mapping(), {"id": "a", "crm": ID_15, RIVALS: "b"}, {"id": "c", "crm": OTHER})
    assert [(place, why.code) for place, why in mapped.unmatched.items()] == [(0, SEVERAL_RECORDS)]
    assert mapped.places.tolist() == [1]


def test_a_stamp_is_no_part_of_what_is_compared() -> None:
    mapping = _mapping(fields="  Synced__c: {stamp: true}")
    assert _apply(mapping, {"id": "a", "crm": ID_18, "score": 1}).table.column_names == ["Id", "Score__c"]
    assert (mapping.stamps, mapping.vendor_paths) == (("Synced__c",), ("id", "crm", "score"))


@pytest.mark.parametrize(
    ("fields", "more", "problem"),
    [
        ("  A__c: {stamp: true, required: true}", "", "a constant, or a stamp, takes no transforms"),
        ("  A__c: {stamp: true, value: 1}", "", "needs one of"),
        ("  Id: other", "", "do not list it"),
        ("", ", external_id: Key__c", "an upsert key, or find_by, and not both"),
    ],
)
def test_what_contradicts_itself_is_a_mistake(fields: str, more: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        _mapping(fields=fields, more=more)


def test_a_mapping_to_the_vendor_finds_and_stamps_nothing() -> None:
    raw = {
        "version": 1, "summary": "x", "direction": "to_vendor", "vendor": {"stream": "s", "id": "id"}, "salesforce": {"object": "Account"},
    }  # fmt: skip
    fields: dict[str, Any] = {"Name": {"vendor": "name", "unique": True}}
    for changed in (
        {"fields": fields | {"A__c": {"stamp": True}}},
        {"fields": fields, "salesforce": {"object": "Account", "find_by": {"field": "Id", "vendor": "crm"}}},
    ):
        with pytest.raises(ValueError, match="`find_by` and `stamp` are for to_salesforce"):
            MappingFile.model_validate(raw | changed)


def _field(name: str, kind: str = "string", **changes: Any) -> FieldInfo:
    known: dict[str, Any] = {
        "label": name, "length": 40, "createable": True, "updateable": True, "nillable": True, "defaulted": False, "external_id": False,
        "unique": False, "restricted_values": None, "reference_to": (), "relationship": None,
    }  # fmt: skip
    return FieldInfo(name, kind, **known | changes)


@pytest.mark.parametrize(
    ("field", "kind", "problem"),
    [
        ("Id", "string", []),
        ("Key__c", "string", []),
        ("Key__c", "email", []),
        (
            "Key__c",
            "textarea",
            ["Account.Key__c is a textarea, by which no record is found: use an id, a text, an address or a number"],
        ),
        ("Other__c", "string", ["Account has no field Other__c, or hides it from the integration user"]),
    ],
)
def test_the_field_that_records_are_found_by_is_checked_against_the_org(
    field: str, kind: str, problem: list[str]
) -> None:
    required = _field("Name", nillable=False)  # nothing is created, so it need not be filled
    fields = [_field("Id", "id"), _field("Key__c", kind), _field("Score__c", "double"), required]
    described = ObjectInfo("Account", "Account", True, True, {item.name: item for item in fields})
    assert describe.problems(_mapping(field), described, {}) == problem


def test_a_stamp_needs_a_date() -> None:
    fields = [_field("Id", "id"), _field("Score__c", "double"), _field("Synced__c")]
    described = ObjectInfo("Account", "Account", True, True, {item.name: item for item in fields})
    mapping = _mapping(fields="  Synced__c: {stamp: true}")
    assert describe.problems(mapping, described, {}) == [
        "Account.Synced__c is a string, and a stamp needs a date or a date and time"
    ]
