"""Mappings both ways: what may be in their files, and what they write to which object."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from salesforce_sync.errors import InvalidMapping
from salesforce_sync.mapping.loader import SHIPPED, read_mapping
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.transforms import TRANSFORMS

ACCOUNTS = """\
version: 1
summary: Accounts with their Contacts.
direction: both
vendor: {stream: Account, id: id}
salesforce:
  object: Contact
  external_id: Key__c
  with_parent: {reference: AccountId, object: Account, external_id: Parent_Key__c}
  also_create:
    object: Opportunity
    external_id: Deal_Key__c
    references: {AccountId: parent}
    fields:
      Name: company
      StageName: {value: Prospecting}
fields:
  Account.Name: company
  LastName: name
  Owner.Email: {vendor: owner, direction: to_vendor}
"""


def _read(tmp_path: Path, text: str) -> MappingFile:
    path = tmp_path / "accounts.yaml"
    path.write_text(text)
    return read_mapping(path)


@pytest.mark.requirement("SP-12", "SP-17")
def test_each_object_gets_a_mapping_of_its_own(tmp_path: Path) -> None:
    parts = _read(tmp_path, ACCOUNTS).one_way("to_salesforce").parts
    assert {prefix: (part.salesforce.object, part.salesforce.external_id, [*part.fields]) for prefix, part in parts.items()} == {
        "Account.": ("Account", "Parent_Key__c", ["Name"]),
        "": ("Contact", "Key__c", ["LastName", "AccountId"]),
        "Opportunity:": ("Opportunity", "Deal_Key__c", ["Name", "StageName", "AccountId"]),
    }  # fmt: skip


def test_what_is_read_of_the_vendor_covers_what_is_created_with_a_record(tmp_path: Path) -> None:
    text = ACCOUNTS.replace("      Name: company\n", "      Name: deal\n")
    assert "deal" in _read(tmp_path, text).vendor_paths


def test_the_way_to_the_vendor_knows_one_object(tmp_path: Path) -> None:
    ours = _read(tmp_path, ACCOUNTS).one_way("to_vendor")
    assert ([*ours.fields], [*ours.parts]) == (["Account.Name", "LastName", "Owner.Email"], [""])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("  Account.Name: company\n", "  Parent.Name: company\n", "unless salesforce.with_parent names the parent"),
        ("  Account.Name: company\n", "  Account.Owner.Name: company\n", "a parent's field can only go to the vendor"),
        ("  LastName: name\n", "  LastName: name\n  AccountId: account\n", "salesforce.with_parent fills it"),
        ("      Name: company\n", "      AccountId: company\n", "it goes to Salesforce once"),
        ("      Name: company\n", "      Name: {vendor: company, unique: true}\n", "it goes to Salesforce once"),
        (
            "  with_parent: {reference: AccountId, object: Account, external_id: Parent_Key__c}\n",
            "",
            "there is no salesforce.with_parent to refer to",
        ),
        ("direction: both\n", "", "are for both"),
    ],
)
def test_what_does_not_fit_is_a_mistake_that_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in ACCOUNTS
    text = ACCOUNTS.replace(old, new)
    if "no salesforce.with_parent" in problem:
        text = text.replace("  Account.Name: company\n", "")
    with pytest.raises(InvalidMapping, match=re.escape(problem)):
        _read(tmp_path, text)


@pytest.mark.parametrize("name", ["spotio/leads", "spotio/accounts"])
def test_what_is_shipped_is_valid(name: str) -> None:
    assert read_mapping(SHIPPED / f"{name}.yaml").direction == "both"


def test_plus_days_takes_dates_only() -> None:
    plus = TRANSFORMS["plus_days"].function
    assert plus("2026-02-27T23:30:00+00:00", 2) == date(2026, 3, 1).isoformat()
    assert not isinstance(plus("soon", 2), str)
    assert not isinstance(plus("9999-12-31", 2), str)
