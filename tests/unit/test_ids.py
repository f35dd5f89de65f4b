"""Salesforce ids: 15 characters, 18, and 18 whose case is lost are one id."""

from __future__ import annotations

import pytest

from emulators.salesforce.ids import make_id
from salesforce_sync.ids import whole_id

ID = "0035g00000AbCdEAAV"


@pytest.mark.parametrize("number", [1, 61, 62 * 36, 9_999_999])
def test_each_spelling_of_an_id_is_the_same_id(number: int) -> None:
    own = make_id("00Q", number)
    assert {whole_id(text) for text in (own, own[:15], own.upper(), own.lower())} == {own}


@pytest.mark.parametrize("text", [None, "", "003", "not an id at all", "003000000000000AAA ", ID[:17], ID[:15] + "ABC"])
def test_what_is_no_id_is_none(text: str | None) -> None:
    assert whole_id(text) is None
