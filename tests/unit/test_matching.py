"""Domains and the choice among Accounts."""

from __future__ import annotations

import pytest

from salesforce_sync.matching.accounts import AccountCandidate, choose
from salesforce_sync.matching.domains import registrable_domain


@pytest.mark.requirement("PS-A10")
@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("acme.com", "acme.com"),
        ("https://www.ACME.com/about?x=1", "acme.com"),
        ("//acme.com/", "acme.com"),
        ("http://user@shop.acme.co.uk:8080", "acme.co.uk"),
        ("acme.com.", "acme.com"),
        ("someone@acme.nl", "acme.nl"),
        ("bücher.de", "xn--bcher-kva.de"),
        ("xn--bcher-kva.de", "xn--bcher-kva.de"),
        ("faß.de", "xn--fa-hia.de"),
        ("ｗｗｗ．ａｃｍｅ．ｃｏｍ", "acme.com"),
        ("acme.github.io", "acme.github.io"),
        ("acme.uk.com", "acme.uk.com"),
        ("other.uk.com", "other.uk.com"),
        ("uk.com", None),
        ("acme.com/login?next=https://other.com", "acme.com"),
        ("www.acme.com//home", "acme.com"),
        ("http://http://acme.com", "acme.com"),
        ("http:/acme.com", "acme.com"),
        ("https:acme.com", "acme.com"),
        ("http//acme.com", "acme.com"),
        ("www.acme.com, www.acme.nl", "acme.com"),
        ("www.acme.com (NL)", "acme.com"),
        ("Website: www.acme.com", "acme.com"),
        ("http://acme.com\\", "acme.com"),
        ("my_shop.acme.com", "acme.com"),
        ("my_shop.com", None),
        ("acme.com:8080", "acme.com"),
        ("https://www.facebook.com/acmebakery", None),
        ("https://www.linkedin.com/company/acme/", None),
        ("https://sites.google.com/view/acme", None),
        ("sites.google.com", None),
        ("https://www.facebook.com/", "facebook.com"),
        ("corp.facebook.com", "facebook.com"),
        ("someone@google.com", "google.com"),
        ("rossi@yahoo.it", None),
        ("hotmail.de", None),
        ("home.nl", None),
        ("telenet.be", None),
        ("pm.me", None),
        ("gmail.com", None),
        ("mail.web.de", None),
        ("co.uk", None),
        ("localhost", None),
        ("192.0.2.1", None),
        ("http://[2001:db8::1]/", None),
        ("http://[broken", None),
        ("not a domain", None),
        ("a\0b.com", None),
        ("", None),
    ],
)
def test_a_text_gives_the_domain_that_a_company_registers_or_none(text: str, domain: str | None) -> None:
    assert registrable_domain(text) == domain


OLD_CHILD = AccountCandidate("001A", "001P", "2020-01-01T00:00:00.000+00:00")
YOUNG_TOP = AccountCandidate("001B", None, "2024-01-01T00:00:00.000+00:00")
YOUNGER_TOP = AccountCandidate("001C", None, "2025-01-01T00:00:00.000+00:00")


@pytest.mark.requirement("PS-A9")
@pytest.mark.parametrize(("rule", "chosen"), [("parentless_oldest", YOUNG_TOP), ("oldest", OLD_CHILD)])
def test_the_rule_chooses_whatever_the_order(rule: str, chosen: AccountCandidate) -> None:
    assert choose([YOUNGER_TOP, OLD_CHILD, YOUNG_TOP], rule) == chosen
    assert choose([YOUNG_TOP, YOUNGER_TOP, OLD_CHILD], rule) == chosen
