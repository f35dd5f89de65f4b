"""Mapping files: read, checked, applied."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salesforce_sync.errors import InvalidMapping
from salesforce_sync.mapping import describe
from salesforce_sync.mapping.apply import Mapped, Target, apply, apply_to_vendor
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.fingerprint import fingerprints, version_1
from salesforce_sync.mapping.loader import SHIPPED, load_mapping, read_mapping
from salesforce_sync.mapping.model import MappingFile, json_schema
from salesforce_sync.mapping.paths import nested, value_at
from salesforce_sync.mapping.transforms import products_of

HEAD = """\
version: 1
summary: Test.
vendor: {stream: things, id: id}
salesforce: {object: Thing__c, external_id: Key__c}
fields:
"""
SHIPPED_FILES = sorted(SHIPPED.glob("*/*.yaml"))


def _mapping(fields: str) -> MappingFile:
    import yaml

    return MappingFile.model_validate(yaml.safe_load(HEAD + fields))


def _targets(mapping: MappingFile, **kinds: Target) -> dict[str, Target]:
    return {
        name: kinds.get(name.removesuffix("__c"), Target("string", 255))
        for name in (mapping.salesforce.external_id, *mapping.fields)
    }


TEXT = Target("string", 255)


def _one(fields: str, value: Any, target: Target = TEXT) -> Any:
    """The mapped value of A__c, or the problem, for one record {id: 1, a: value}."""
    mapping = _mapping(fields)
    mapped = _apply(mapping, {"id": "1", "a": value}, targets=_targets(mapping, A=target))
    return mapped.problems.get(0) or mapped.table.column("A__c")[0].as_py()


def _apply(mapping: MappingFile, *records: dict[str, Any], targets: dict[str, Target] | None = None) -> Mapped:
    return apply(mapping, Columns.of(records, mapping.vendor_paths), targets or _targets(mapping))


def _apply_to_vendor(mapping: MappingFile, *records: dict[str, Any]) -> Mapped:
    return apply_to_vendor(mapping, Columns.of(records, mapping.salesforce_paths))


# -- the file ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + "  A__c: {vendor: a, requred: true}\n", "6: fields.A__c.requred: unknown key"),
        (HEAD + "  A__c: {vendor: a, transforms: [trimm]}\n", "6: fields.A__c.transforms: unknown transform 'trimm'"),
        (
            HEAD + "  A__c: {vendor: a, transforms: [truncate]}\n",
            "6: fields.A__c.transforms: transform truncate needs an argument of type int",
        ),
        (
            HEAD + "  A__c: {vendor: a, transforms: [{trim: 3}]}\n",
            "6: fields.A__c.transforms: transform trim takes no argument",
        ),
        (
            HEAD + "  A__c: {required: true}\n",
            "6: fields.A__c: needs one of `vendor` (a path), `value` (a constant) and `stamp` (true)",
        ),
        (
            HEAD + "  A__c: {value: x, required: true}\n",
            "6: fields.A__c: a constant, or a stamp, takes no transforms, values or required",
        ),
        (HEAD + "  Key__c: id\n", "1: : fields.Key__c: the external id is filled from vendor.id"),
        (HEAD.replace("version: 1", "version: 2") + "  A__c: a\n", "1: version: Input should be 1"),
        (HEAD.replace("summary: Test.\n", "") + "  A__c: a\n", "1: summary: missing"),
        (HEAD + "  A__c: [a\n", "7: not YAML"),
        ("- a\n", "1: a mapping file holds keys and values"),
    ],
)
def test_a_mistake_is_reported_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InvalidMapping) as caught:
        read_mapping(path)
    assert f"{path}:{problem}" in str(caught.value)


def test_all_mistakes_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(HEAD + "  A__c: {vendor: a, x: 1}\n  B__c: {vendor: b, y: 1}\n")
    with pytest.raises(InvalidMapping) as caught:
        read_mapping(path)
    assert str(caught.value).count("unknown key") == 2


def test_a_name_without_a_file_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SALESFORCE_SYNC_MAPPINGS", str(tmp_path))
    with pytest.raises(InvalidMapping, match=f"no mapping 'peerspot/nothing' in {tmp_path} or "):
        load_mapping("peerspot/nothing")


def test_a_users_own_copy_wins_over_the_shipped_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "peerspot").mkdir()
    (tmp_path / "peerspot" / "activities.yaml").write_text(HEAD + "  A__c: a\n")
    monkeypatch.setenv("SALESFORCE_SYNC_MAPPINGS", str(tmp_path))
    assert load_mapping("peerspot/activities").salesforce.object == "Thing__c"
    assert load_mapping("peerspot/vendor_products").salesforce.object == "PeerSpot_Vendor_Product__c"


@pytest.mark.parametrize("path", SHIPPED_FILES, ids=[str(path.relative_to(SHIPPED)) for path in SHIPPED_FILES])
def test_a_shipped_mapping_is_valid_by_model_and_by_json_schema(path: Path) -> None:
    import jsonschema
    import yaml

    read_mapping(path)
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads((SHIPPED / "mapping.schema.json").read_text()))


def test_the_json_schema_on_disk_is_the_models() -> None:
    """After a change of the model: PYTHONPATH=plugins .venv/bin/python -m salesforce_sync.mapping.schema_file"""
    assert json.loads((SHIPPED / "mapping.schema.json").read_text()) == json_schema()


def test_the_json_schema_finds_the_mistakes_that_an_editor_should_show() -> None:
    import jsonschema
    import yaml

    for fields in ("  A__c: {vendor: a, requred: true}\n", "  A__c: {vendor: a, transforms: [trimm]}\n"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(HEAD + fields), json_schema())


# -- values -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "path", "value"),
    [
        ({"a": {"b": 1}}, "a.b", 1),
        ({"a": None}, "a.b", None),
        ({"a": "text"}, "a.b", None),
        ({}, "a", None),
        ({"a": "  "}, "a", None),
        ({"a": 0}, "a", 0),
        ({"a": False}, "a", False),
    ],
)
def test_a_dotted_path_leads_to_a_value_or_nowhere(record: dict[str, Any], path: str, value: Any) -> None:
    assert value_at(record, path) == value


@pytest.mark.parametrize(
    ("fields", "value", "mapped"),
    [
        ("  A__c: a", " x ", "x"),
        ("  A__c: a", 5, "5"),
        ("  A__c: a", 5.0, "5"),
        ("  A__c: a", 5.25, "5.25"),
        ("  A__c: a", True, "true"),
        ("  A__c: a", "", None),
        ("  A__c: {vendor: a, transforms: [lower]}", "ÄB", "äb"),
        ("  A__c: {vendor: a, transforms: [upper]}", "äb", "ÄB"),
        ("  A__c: {vendor: a, transforms: [trim, {truncate: 3}]}", "  abcdef", "abc"),
        ("  A__c: {vendor: a, transforms: [registrable_domain]}", "https://shop.acme.co.uk/x", "acme.co.uk"),
        ("  A__c: {vendor: a, values: {new: Open, won: Closed}}", "won", "Closed"),
        ("  A__c: {value: fixed}", "ignored", "fixed"),
        ("  A__c: a", {"no": "text"}, "a \"{'no': 'text'}\" is not a valid string for A__c"),
        ("  A__c: {vendor: a, values: {new: Open}}", "old", "a 'old' is not among the mapping's values: new"),
        ("  A__c: {vendor: a, required: true}", None, "a is missing, and A__c requires it"),
    ],
)
def test_a_value_is_mapped_or_refused(fields: str, value: Any, mapped: Any) -> None:
    assert _one(fields, value) == mapped


@pytest.mark.parametrize(
    ("target", "value", "mapped"),
    [
        (Target("double"), "3.5", 3.5),
        (Target("double"), True, "a 'True' is not a valid double for A__c"),
        (Target("double"), "inf", "a 'inf' is not a valid double for A__c"),
        (Target("double"), [1], "a '[1]' is not a valid double for A__c"),
        (Target("int"), "7", 7),
        (Target("int"), 7.5, "a '7.5' is not a valid int for A__c"),
        (Target("boolean"), "Yes", True),
        (Target("boolean"), "maybe", "a 'maybe' is not a valid boolean for A__c"),
        (Target("date"), "2026-11-10", date(2026, 11, 10)),
        (Target("date"), "2026-11-10T23:30:00+02:00", date(2026, 11, 10)),
        (Target("date"), "2026-11-10T23:30:00-02:00", date(2026, 11, 11)),
        (Target("date"), "10/11/2026", "a '10/11/2026' is not a valid date for A__c"),
        (Target("datetime"), "2026-11-10T08:00:00Z", datetime(2026, 11, 10, 8, tzinfo=UTC)),
        (Target("datetime"), "2026-11-10T08:00:00", datetime(2026, 11, 10, 8, tzinfo=UTC)),
        (
            Target("string", 3),
            "abcd",
            "a 'abcd' is longer than 3 characters; truncate it in the mapping if that is meant",
        ),
        (Target("picklist", 255, frozenset({"A", "B"})), "C", "a 'C' is not in the picklist: A, B"),
        (Target("picklist", 255, frozenset({"A", "B"})), "A", "A"),
    ],
)
def test_a_value_takes_the_type_of_its_field_or_is_refused(target: Target, value: Any, mapped: Any) -> None:
    assert _one("  A__c: a", value, target) == mapped


def test_a_refused_record_does_not_hold_up_the_others() -> None:
    mapping = _mapping("  A__c: {vendor: a, required: true}")
    mapped = _apply(mapping, {"id": 1, "a": "x"}, {"id": 2}, {"a": "no id"}, {"id": 4, "a": "y"})
    assert mapped.table.column("Key__c").to_pylist() == ["1", "4"]
    assert mapped.problems == {1: "a is missing, and A__c requires it", 2: "id is missing, and it is the record's id"}
    assert mapped.places.tolist() == [0, 3]


def test_a_mapping_knows_which_fields_an_empty_value_clears() -> None:
    assert _mapping("  A__c: a\n  B__c: {vendor: b, when_empty: keep}\n  C__c: {value: 1}").clears == {"A__c"}


def test_products_are_written_one_a_line_and_read_back() -> None:
    products = [{"id": "2", "name": "Two\n lines"}, {"id": 1, "name": "One"}, {"name": "Without Id"}]
    text = _one("  A__c: {vendor: a, transforms: [product_lines]}", products)
    assert text == "1 | One\n2 | Two lines\nname:without id | Without Id"
    assert products_of(text) == [("1", "One"), ("2", "Two lines"), ("name:without id", "Without Id")]
    assert products_of(None) == []


@pytest.mark.parametrize("products", ["text", [{"id": "1"}], ["x"], [{"id": "a | b", "name": "c"}]])
def test_products_that_are_none_are_refused(products: Any) -> None:
    assert "is not a list of products with a name each" in _one(
        "  A__c: {vendor: a, transforms: [product_lines]}", products
    )


# -- fingerprints -----------------------------------------------------------------------------------------------------------------


def test_fingerprints_tell_any_change_and_nothing_else() -> None:
    mapping = _mapping("  A__c: a\n  B__c: b")

    def prints(*records: dict[str, Any]) -> list[str]:
        return fingerprints(_apply(mapping, *records).table)

    base, same, other, moved = prints(
        {"id": 1, "a": "x", "b": None}, {"id": 1, "b": "", "a": " x"}, {"id": 1, "a": "y"}, {"id": 1, "b": "x"}
    )
    assert base == same
    assert len({base, other, moved}) == 3
    assert all(len(text) == 16 for text in (base, other, moved))


def test_a_fingerprint_changes_with_the_mapping() -> None:
    one, two = _mapping("  A__c: a"), _mapping("  B__c: a")
    record = {"id": 1, "a": "x"}
    assert fingerprints(_apply(one, record).table) != fingerprints(_apply(two, record).table)


def test_fingerprints_tell_apart_what_stands_in_which_column() -> None:
    mapping = _mapping("  A__c: a\n  B__c: b")
    rows = [{"id": 1, "a": "x", "b": "y"}, {"id": 1, "a": "xy"}, {"id": 1, "b": "xy"}, {"id": 1, "a": "y", "b": "x"}]
    assert len(set(fingerprints(_apply(mapping, *rows).table))) == 4


def test_the_fingerprints_of_the_version_before_are_still_made() -> None:
    """Links of before 0005 hold these: if they changed, an upgrade would send every record once more."""
    mapping = _mapping("  A__c: a\n  B__c: b\n  C__c: c\n  D__c: d")
    targets = _targets(mapping) | {"B__c": Target("double"), "C__c": Target("datetime"), "D__c": Target("boolean")}
    record = {"id": 1, "a": "Zoë", "b": 3, "c": "2026-11-21T12:00:00Z", "d": True}
    table = _apply(mapping, record, {"id": 2}, targets=targets).table
    assert version_1(table) == ["943f557ae589fc48", "d0828e62bdccd1ba"]  # as 0004 made them


# -- against the org --------------------------------------------------------------------------------------------------------------


def _field(name: str, **changes: Any) -> SimpleNamespace:
    known = {
        "type": "string", "length": 80, "createable": True, "updateable": True, "nillable": True, "defaulted": False, "external_id": False,
        "unique": False, "restricted_values": None, "reference_to": (), "relationship": None,
    }  # fmt: skip
    return SimpleNamespace(name=name, **(known | changes))


def _object(*fields: SimpleNamespace, name: str = "Thing__c") -> Any:
    by_relationship = {field.relationship: field for field in fields if field.relationship}
    known = {field.name: field for field in fields}
    return SimpleNamespace(name=name, fields=known, find_relationship=by_relationship.get)


KEY = _field("Key__c", external_id=True, unique=True)


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        (None, "the org has no object Thing__c, or hides it from the integration user"),
        (_object(_field("A__c")), "Thing__c has no field Key__c, or hides it from the integration user"),
        (_object(_field("Key__c"), _field("A__c")), "Thing__c.Key__c must be a unique external id"),
        (_object(KEY), "Thing__c has no field A__c, or hides it from the integration user"),
        (_object(KEY, _field("A__c", updateable=False)), "Thing__c.A__c may not be updated by the integration user"),
        (
            _object(KEY, _field("A__c"), _field("B__c", nillable=False)),
            "Thing__c.B__c is required in the org, and the mapping does not fill it",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_the_org_says_where(described: Any, problem: str) -> None:
    assert problem in describe.problems(_mapping("  A__c: a"), described)


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ({"type": "double"}, "Thing__c.Key__c must be a text field: it holds the vendor's ids, and is a double"),
        (
            {"createable": False},
            "Thing__c.Key__c may not be written by the integration user, or numbers its records by itself",
        ),
    ],
)
def test_a_key_that_cannot_hold_the_vendors_ids_is_found(key: dict[str, Any], problem: str) -> None:
    described = _object(_field("Key__c", **({"external_id": True, "unique": True} | key)), _field("A__c"))
    assert describe.problems(_mapping("  A__c: a"), described) == [problem]


OWNER = _field("OwnerId", type="reference", reference_to=("Group", "User"), relationship="Owner")
PARENT = _field("AccountId", type="reference", reference_to=("Account",), relationship="Account")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("MailingAddress", "Contact.MailingAddress is made of several fields: name those"),
        ("Photo", "Contact.Photo holds a file, which is not read"),
        ("Account.Nmae", "Account has no field Nmae, or hides it from the integration user"),
        ("Account.BillingAddress", "Account.BillingAddress is made of several fields: name those"),
        ("Acount.Name", "Contact has no relationship Acount (in Acount.Name)"),
        ("Owner.Division", "Owner.Division: Owner may be of Group or User, of which "),
        ("Owner.Manager.Name", "Owner.Manager.Name: Owner may be of Group or User, of which "),
        ("Account.Owner.Email", ""),
        ("Account.Name", ""),
        ("Owner.Name", ""),
    ],
)
def test_what_a_mapping_to_a_vendor_cannot_read_is_found(path: str, problem: str) -> None:
    account = _object(_field("Name"), _field("BillingAddress", type="address"), OWNER, name="Account")
    contact = _object(
        *(_field(name) for name in ("Id", "Email", "Opt__c")), _field("MailingAddress", type="address"),
        _field("Photo", type="base64"), OWNER, PARENT, name="Contact",
    )  # fmt: skip
    mapping = _to_vendor(f"  {path}: place\n")
    assert describe.unknown_parents(mapping, contact, {}) <= {"Account"}
    found = describe.problems(mapping, contact, {"Account": account})
    assert [sentence[: len(problem)] for sentence in found] == ([problem] if problem else [])


def test_a_parent_that_the_org_hides_is_found() -> None:
    contact = _object(*(_field(name) for name in ("Id", "Email")), PARENT, name="Contact")
    mapping = _to_vendor("  Account.Name: company\n")
    assert "the org has no object Account, or hides it (in Account.Name)" in describe.problems(
        mapping, contact, {"Account": None}
    )


def test_a_parent_of_several_kinds_cannot_be_named_by_its_key() -> None:
    described = _object(KEY, _field("WhatId", type="reference", reference_to=("Account", "Case"), relationship="What"))
    assert describe.problems(_mapping("  What.Key__c: a"), described, {}) == [
        "Thing__c.What.Key__c: the parent may be of Account or Case: map its id to WhatId"
    ]


def test_a_mapping_that_fits_has_no_problems() -> None:
    fitting = _object(KEY, _field("A__c", nillable=False), _field("OwnerId", nillable=False, defaulted=True))
    assert describe.problems(_mapping("  A__c: a"), fitting) == []


def test_a_constant_outside_a_restricted_picklist_is_found() -> None:
    described = _object(KEY, _field("A__c", restricted_values=frozenset({"x"})))
    assert describe.problems(_mapping("  A__c: {value: y}"), described) == [
        "Thing__c.A__c: the constant 'y' is not in its picklist"
    ]


@pytest.mark.parametrize(("kind", "value"), [("multipicklist", "Red;Blue"), ("picklist", "red")])
def test_a_constant_may_be_in_the_picklist_in_parts_and_in_any_case(kind: str, value: str) -> None:
    described = _object(KEY, _field("A__c", type=kind, restricted_values=frozenset({"Red", "Blue"})))
    assert describe.problems(_mapping(f"  A__c: {{value: {value}}}"), described) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parent": "Nope__c"}, "salesforce.parent: Nope__c is not among the fields"),
        (
            {"converted": {"object": "Contact", "fields": {"A__c": "B__c"}}},
            "salesforce.converted: is for Leads and their mapped fields only",
        ),
        (
            {"object": "Lead", "converted": {"object": "Contact", "fields": {"Nope": "B__c"}}},
            "mapped fields only: Nope",
        ),
    ],
)
def test_options_of_the_salesforce_side_name_what_is_mapped(options: dict[str, object], message: str) -> None:
    raw = {
        "version": 1, "summary": "x", "vendor": {"stream": "x", "id": "id"}, "fields": {"A__c": "a"},
        "salesforce": {"object": "X__c", "external_id": "Key__c", **options},
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        MappingFile.model_validate(raw)


# -- to a vendor ------------------------------------------------------------------------------------------------------------------

TO_VENDOR = """\
version: 1
summary: Test.
direction: to_vendor
vendor: {stream: people, id: id, constants: {options.kind: person}}
salesforce: {object: Contact}
fields:
  Email: {vendor: email, unique: true, transforms: [lower]}
  Account.Name: {vendor: options.company}
"""


def _to_vendor(more: str = "") -> MappingFile:
    import yaml

    return MappingFile.model_validate(yaml.safe_load(TO_VENDOR + more))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TO_VENDOR.replace(", unique: true", ""), "one of them has to be `unique`"),
        (TO_VENDOR.replace("object: Contact", "object: Contact, external_id: Key__c"), "`external_id`, `parent`"),
        (
            TO_VENDOR + "  Kind__c: {value: x}\n",
            "fields.Kind__c: a constant of the vendor's side belongs into vendor.constants",
        ),
        (
            TO_VENDOR.replace("to_vendor", "to_salesforce"),
            "salesforce.external_id: a mapping to Salesforce needs an upsert key, or find_by",
        ),
        (HEAD + "  A__c: {vendor: a, unique: true}\n", "are for to_vendor"),
    ],
)
def test_what_does_not_fit_the_direction_is_a_mistake(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(InvalidMapping, match=re.escape(problem)):
        read_mapping(path)


def test_salesforce_records_become_the_vendors() -> None:
    records = [{"Id": "003a", "Email": " A@B.co ", "Account": {"Name": "Acme"}}, {"Id": "003b", "Email": "c@d.co"}]
    mapped = _apply_to_vendor(_to_vendor(), *records)
    assert [nested(row) for row in mapped.table.to_pylist()] == [
        {"email": "a@b.co", "options": {"company": "Acme", "kind": "person"}},
        {"email": "c@d.co", "options": {"company": "", "kind": "person"}},
    ]


def test_a_field_that_is_kept_when_empty_is_not_sent() -> None:
    mapping = _to_vendor("  City: {vendor: city, when_empty: keep}\n")
    (row,) = _apply_to_vendor(mapping, {"Id": "003a", "Email": "a@b.co", "City": None}).table.to_pylist()
    assert "city" not in nested(row)


def test_a_salesforce_record_that_lacks_what_is_required_is_refused() -> None:
    mapping = _to_vendor("  LastName: {vendor: name, required: true}\n")
    mapped = _apply_to_vendor(mapping, {"Id": "003a", "Email": "a@b.co"})
    assert mapped.problems == {0: "LastName is missing, and name requires it"}
    assert mapped.table.num_rows == 0


@pytest.mark.requirement("DQ-15")
@pytest.mark.parametrize(
    ("value", "consent"),
    [("Y", "Y"), ("y", "Y"), (True, "Y"), ("TRUE", "Y"), (False, "N"), ("N", "N"), ("yes", "N"), ("1", "N"), (1, "N")],
)
def test_consent_is_y_or_true_and_nothing_else(value: Any, consent: str) -> None:
    mapping = _to_vendor("  Opt__c: {vendor: optIn, transforms: [opt_in]}\n")
    (row,) = _apply_to_vendor(mapping, {"Id": "003a", "Email": "a@b.co", "Opt__c": value}).table.to_pylist()
    assert row["optIn"] == consent


def test_a_mapping_to_a_vendor_needs_only_fields_that_can_be_read() -> None:
    described = SimpleNamespace(name="Contact", fields={"Id": None})
    assert describe.problems(_to_vendor(), described) == [
        "Contact has no field Email, or hides it from the integration user"
    ]


# -- texts that stay in Arrow ------------------------------------------------------------------------------------------------------

ODD_TEXTS = [
    "",
    " ",
    "\u2003",
    "\x1c",
    " a ",
    "\u00a0b",
    "c\0d",
    "\ud800",
    "é",
    "x" * 300,
    "New",
    "new",
    "0012",
    "1e3",
    "NaN",
]
ODD_VALUES = [None, *ODD_TEXTS, 0, -7, 2**63, 1.5, 3.0, float("nan"), True, False, ["a"], {"a": 1}, []]


@pytest.mark.parametrize("kinds", [ODD_TEXTS, [None, *ODD_TEXTS[:6]], [1, 2, None], [1.0, 2.5], ODD_VALUES], ids=repr)
@pytest.mark.parametrize(
    "fields",
    ["  A__c: a\n", "  A__c: {vendor: a, required: true}\n", "  A__c: {vendor: a, when_empty: keep}\n"],
)
@pytest.mark.parametrize(
    "target", [Target("string", 5), Target("picklist", 40, frozenset({"New", "1"})), Target("double")]
)
def test_a_column_comes_out_the_same_whether_its_texts_stay_in_arrow_or_not(
    monkeypatch: pytest.MonkeyPatch, kinds: list[Any], fields: str, target: Target
) -> None:
    mapping = _mapping(fields)
    records = Columns.of([{"id": value, "a": value} for value in kinds], mapping.vendor_paths)
    targets = _targets(mapping, A=target)
    fast = apply(mapping, records, targets)
    monkeypatch.setattr(Columns, "texts", lambda self, path: None)
    slow = apply(mapping, records, targets)
    assert fast.problems == slow.problems
    assert fast.table.to_pylist() == slow.table.to_pylist()
    assert fast.table.schema == slow.table.schema


def test_blank_texts_are_nothing_also_beside_other_kinds_of_values() -> None:
    records = Columns.of([{"a": " "}, {"a": ""}, {"a": 1}, {"a": ["x"]}], ["a"])
    assert records.records() == [{}, {}, {"a": 1}, {"a": ["x"]}]


# -- values that are not what they should be --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "came_out"),
    [
        ("Kade\x0b3", "Kade 3"),
        ("a\x08b\ufffec", "abc"),
        ("a\x1f", "a"),
        ("one\ntwo\tthree", "one\ntwo\tthree"),
        ("é\x00", "é"),
    ],
)
def test_what_xml_forbids_is_taken_out_of_texts_in_both_directions(value: str, came_out: str) -> None:
    assert _one("  A__c: a\n", value) == came_out
    assert _one("  A__c: {vendor: a, transforms: [trim]}\n", value) == came_out
    mapping = _to_vendor("  Name: {vendor: name}\n  Id: {vendor: id, unique: true}\n")
    mapped = apply_to_vendor(mapping, Columns.of([{"Id": "1", "Name": value}], mapping.salesforce_paths))
    assert mapped.table.column("name")[0].as_py() == came_out


@pytest.mark.parametrize("transform", ["{truncate: 20}", "registrable_domain"])
@pytest.mark.parametrize("value", [{"name": "acme.com"}, ["acme.com"], []])
def test_a_transform_of_texts_refuses_what_is_none(transform: str, value: Any) -> None:
    assert "cannot be transformed" in _one(f"  A__c: {{vendor: a, transforms: [{transform}]}}\n", value)


@pytest.mark.parametrize(("value", "came_out"), [(float("nan"), None), (True, "true"), (5.0, "5"), (12, "12")])
def test_truncate_takes_a_value_as_the_field_would_hold_it(value: Any, came_out: str | None) -> None:
    assert _one("  A__c: {vendor: a, transforms: [{truncate: 20}]}\n", value) == came_out


@pytest.mark.parametrize("value", ["today", "now", "2026", "2026-11", "202611", "21.11.2026", 2026])
@pytest.mark.parametrize("kind", ["date", "datetime"])
def test_a_date_is_never_completed(kind: str, value: Any) -> None:
    assert "is not a valid" in _one("  A__c: a\n", value, Target(kind))


def test_a_far_date_stands_beside_a_fine_one() -> None:
    mapping = _mapping("  A__c: a\n")
    records = [{"id": str(place), "a": value} for place, value in enumerate(("9999-12-31", "2026-11-21", "0001-01-01"))]
    mapped = _apply(mapping, *records, targets=_targets(mapping, A=Target("date")))
    assert mapped.table.column("A__c").to_pylist() == [date(9999, 12, 31), date(2026, 11, 21), date(1, 1, 1)]


# -- mapping files as people write them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", ["NO", "On", "yes", "0123", "12:30:00", "1.10", "2026-11-21", "2026-02-30", "1e3", "0x1f", "1_000"]
)
def test_a_plain_text_is_taken_as_it_is_written(tmp_path: Path, written: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"{HEAD}  A__c: {{value: {written}}}\n  B__c: {{vendor: b, values: {{x: {written}}}}}\n")
    mapping = read_mapping(path)
    assert mapping.fields["A__c"].value == written
    assert mapping.fields["B__c"].values == {"x": written}
    assert _apply(mapping, {"id": "1", "b": "x"}).table.to_pylist()[0] == {
        "Key__c": "1",
        "A__c": written,
        "B__c": written,
    }


def test_a_key_that_stands_twice_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"{HEAD}  A__c: a\n  B__c: b\n  A__c: c\n")
    with pytest.raises(InvalidMapping, match=re.escape(f"{path}:8: A__c: is here twice")):
        read_mapping(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (HEAD.encode() + "  A__c: {value: caf\xe9}\n".encode("latin-1"), ":6: not UTF-8"),
        (HEAD.encode("utf-16"), ":1: not UTF-8"),
        (HEAD.encode() + b"  A__c: {value: a\x08}\n", ":6: not YAML: a character that no text file should hold"),
    ],
)
def test_a_file_that_cannot_be_decoded_is_named_with_the_line(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidMapping, match=re.escape(f"{path}{problem}")):
        read_mapping(path)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"{HEAD}  A__c: a\n", encoding="utf-8-sig")
    assert read_mapping(path).fields["A__c"].vendor == "a"


@pytest.mark.parametrize(
    ("value", "came_out"),
    [
        ("020 123 45 67", "020 123 45 67"),
        ("+31 (0)20 - 123 45 67", "+31201234567"),
        ("020-1234567 ext. 1234567", "0201234567"),
        ("0201234567 / 0612345678", "0201234567"),
        ("+31 20 123 45 67 89 01 23", None),
        ("ask for Jan at reception", None),
        ("Tel: +31 20 123 4567", "+31201234567"),
        ("0031 (0)20-123 45 67", "0031201234567"),
        ("(0)20 7946 0958 in the morning", None),
        ("+1 (800) FLOWERS now", None),
        (201234567, "201234567"),
        (None, None),
    ],
)
def test_a_telephone_number_is_made_shorter_and_never_another_one(value: Any, came_out: str | None) -> None:
    assert _one("  A__c: {vendor: a, transforms: [{phone: 16}]}\n", value) == came_out


def test_texts_that_are_short_enough_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Columns, "distinct", lambda *_: pytest.fail("a column was taken apart"))
    mapping = _mapping("  A__c: {vendor: a, transforms: [{truncate: 9}, {phone: 7}]}\n")
    assert _apply(mapping, {"id": "1", "a": "1234567"}).table.column("A__c").to_pylist() == ["1234567"]


def test_salesforces_own_ids_are_whole_whatever_their_spelling() -> None:
    mapping = MappingFile.model_validate({
        "version": 1, "summary": "Test.", "vendor": {"stream": "things", "id": "id"},
        "salesforce": {"object": "Lead", "external_id": "Id"}, "fields": {"Phone": "phone"},
    })  # fmt: skip
    whole = "0035g00000AbCdEAAV"
    spelt = [whole, whole[:15], whole.upper(), "no id", None]
    mapped = _apply(mapping, *({"id": text, "phone": "1"} for text in spelt), targets=_targets(mapping))
    assert mapped.table.column("Id").to_pylist() == [whole] * 3
    assert mapped.problems == {3: "id 'no id' is no Salesforce id", 4: "id is missing, and it is the record's id"}


PRODUCTS = Target("multipicklist", 4099, frozenset({"Firewalls", "Mail"}))


@pytest.mark.parametrize(
    ("value", "came_out"),
    [
        ("Firewalls;Mail", "Firewalls;Mail"),
        ("mail; FIREWALLS", "Mail;Firewalls"),
        (["Mail", "Firewalls"], "Mail;Firewalls"),
        ("Mail;", "Mail"),
        ("Firewalls;Fax", "a 'Firewalls;Fax' is not in the picklist: Firewalls, Mail"),
        ([], "a '[]' is not a valid multipicklist for A__c"),
        (["Mail", ["Fax"]], "a \"['Mail', ['Fax']]\" is not a valid multipicklist for A__c"),
    ],
)
def test_each_part_of_a_multi_select_has_to_be_in_its_picklist(value: Any, came_out: str) -> None:
    assert _one("  A__c: a\n", value, PRODUCTS) == came_out


def test_a_value_keeps_its_spelling_where_the_picklist_has_several() -> None:
    target = Target("picklist", 255, frozenset({"US", "us"}))
    assert [_one("  A__c: a\n", value, target) for value in ("us", "US")] == ["us", "US"]


@pytest.mark.parametrize("extra", ["unique: true", "consent: true"])
def test_what_is_unique_and_consent_are_texts(extra: str) -> None:
    with pytest.raises(ValueError, match="leave `type` out"):
        _to_vendor(f"  A__c: {{vendor: a, type: boolean, {extra}}}\n")


@pytest.mark.parametrize("transform", ["{truncate: 0}", "{phone: -3}"])
def test_a_length_is_above_nothing(transform: str) -> None:
    with pytest.raises(ValueError, match="needs a number above 0"):
        _mapping(f"  A__c: {{vendor: a, transforms: [{transform}]}}\n")


def test_a_picklist_ignores_case_as_salesforce_does() -> None:
    assert _one("  A__c: a\n", "mail", Target("picklist", 255, frozenset({"Mail"}))) == "Mail"


@pytest.mark.parametrize(
    ("kind", "value", "came_out"),
    [
        ("number", 250.0, 250.0),
        ("number", "2.5", 2.5),
        ("number", None, None),
        ("number", "many", "A__c 'many' is no number, which a is"),
        ("boolean", True, True),
        ("boolean", "yes", True),
        ("text", 250.0, "250"),
        ("text", True, "true"),
        ("text", date(2026, 11, 21), "2026-11-21"),
        ("text", datetime(2026, 11, 21, 12, tzinfo=UTC), "2026-11-21T12:00:00Z"),
    ],
)
def test_a_vendor_gets_the_type_that_it_wants(kind: str, value: Any, came_out: Any) -> None:
    mapping = _to_vendor(f"  A__c: {{vendor: a, type: {kind}}}\n")
    mapped = _apply_to_vendor(mapping, {"Id": "003a", "Email": "a@b.co", "A__c": value})
    assert (mapped.problems.get(0) or mapped.table.column("a")[0].as_py()) == came_out


def test_a_type_is_for_vendors_only() -> None:
    with pytest.raises(ValueError, match=r"fields.A__c: `type` is for to_vendor"):
        _mapping("  A__c: {vendor: a, type: number}\n")


@pytest.mark.parametrize(("value", "came_out"), [(True, "Yes"), (False, "No"), ("true", "Yes")])
def test_values_of_a_checkbox_are_named_as_yaml_writes_them(value: Any, came_out: str) -> None:
    mapping = _to_vendor("  A__c: {vendor: a, values: {'true': 'Yes', 'false': 'No'}}\n")
    (row,) = _apply_to_vendor(mapping, {"Id": "003a", "Email": "a@b.co", "A__c": value}).table.to_pylist()
    assert row["a"] == came_out


@pytest.mark.parametrize(
    "odd",
    [{"a": {"b": 1}}, {"a": "text"}, {"a": [1]}, {"a": {"b": ["x"]}}, {"a": {"b": "\ud800"}}, {"a": {"b": True}}, {}, {"a": None}],
)  # fmt: skip
def test_texts_of_records_come_out_the_same_whatever_a_later_record_holds(odd: dict[str, Any]) -> None:
    plain: list[dict[str, Any]] = [
        {"a": {"b": f" x{number}"}, "c": " " if number % 2 else None} for number in range(60)
    ]
    paths = ["a.b", "c"]
    together = Columns.of([*plain, odd], paths)
    assert Columns.of(plain, paths).distinct("a.b").values == [f" x{number}" for number in range(60)]
    assert together.distinct("a.b").values[:60] == [f" x{number}" for number in range(60)]
    assert together.distinct("c").values == []
    assert len(together) == 61
