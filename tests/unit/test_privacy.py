"""Personal data stays out."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from salesforce_sync.privacy import Scrubber, hide, mask_text


@pytest.mark.requirement("PS-05")
@pytest.mark.parametrize(
    "key",
    ["email", "E-Mail", "first_name", "LastName", "full name", "phone", "ip", "ipAddress", "USER_AGENT", "visitor"],
)
def test_a_key_that_names_a_person_is_taken_out_and_counted(key: str) -> None:
    scrubber = Scrubber()
    assert scrubber.scrub({"id": "1", key: "x"}) == {"id": "1"}
    assert scrubber.removed == {key: 1}


@pytest.mark.requirement("PS-04", "PS-05")
@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("192.0.2.17", "192.0.2.x"),
        ("from 192.0.2.17, 198.51.100.1:443", "from 192.0.2.x, 198.51.100.x:443"),
        ("host.198.51.100.23", "host.198.51.100.x"),
        ("198.51.100.23.5", "198.51.100.x.5"),
        ("c-73-158-12-34.isp.net", "c-73-158-12-x.isp.net"),
        ("192.0.2.x", "192.0.2.x"),
        ("999.1.2.3", "999.1.2.3"),
        ("version 1.2.3", "version 1.2.3"),
        ("2001:db8::ff00:42:8329", "2001:0db8:0000:x"),
        ("from:2001:db8:85a3::8a2e:370:7334", "from:2001:0db8:85a3:x"),
        ("IP:2001:db8::1", "IP:2001:0db8:0000:x"),
        ("2001:0db8:85a3:0000:0000:8a2e:0370:7334", "2001:0db8:85a3:x"),
        ("::1", "0000:0000:0000:x"),
        ("at 10:30:45", "at 10:30:45"),
        ("2026-11-10", "2026-11-10"),
        ("a.b+c@mail.example.com wrote", "[e-mail removed] wrote"),
        ("call +1 555 010 0199 now", "call [phone removed] now"),
        ("call 0031 30 123 4567", "call [phone removed]"),
        ("(555) 010-0199", "[phone removed]"),
        ("bel 06-12345678", "bel [phone removed]"),
        ("0612345678", "[phone removed]"),
        ("(020) 1234567 of (030) 123 4567", "[phone removed] of [phone removed]"),
        ("030 12345678", "[phone removed]"),
        ("jan%40acme.nl", "[e-mail removed]"),
        ("Windows 2022, 05 June", "Windows 2022, 05 June"),
        ("Visited 12 Pages", "Visited 12 Pages"),
    ],
)
def test_personal_data_inside_a_text_is_masked(text: str, masked: str) -> None:
    assert mask_text(text) == masked


def test_nested_records_and_lists_are_scrubbed_too() -> None:
    scrubber = Scrubber()
    record = {"visit": {"email": "a@b.co", "note": "by a@b.co"}, "products": [{"name": "x", "phone": "1"}, "192.0.2.1"]}
    assert scrubber.scrub(record) == {
        "visit": {"note": "by [e-mail removed]"},
        "products": [{"name": "x"}, "192.0.2.x"],
    }
    assert scrubber.removed == {"email": 1, "note (masked)": 1, "phone": 1, "products (masked)": 1}


@pytest.mark.parametrize("around", ["", "a", "ab", "abc"])
def test_a_secret_is_hidden_in_every_form_in_which_a_server_may_echo_it(around: str) -> None:
    secret = "fake secret/with+signs"
    for form in (secret, quote(secret), quote(secret, safe="")):
        assert hide(f"you sent {form}.", [secret]) == "you sent ***."
    encoded = base64.b64encode(f"{around}{secret}:x".encode()).decode()
    told = hide(f"you sent {encoded}.", [secret])
    assert (
        len(told) - len("you sent .") < len(encoded) / 2
    )  # what is left is of the neighbours, and of the signs that they share
    assert hide("nothing of it", [secret, "", "of"]) == "nothing of it"
