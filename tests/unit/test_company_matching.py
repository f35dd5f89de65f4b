"""Names of companies as tokens, candidates for one among many, and what the rules may decide."""

from __future__ import annotations

import pytest

from salesforce_sync.matching.companies import Companies, Match, find_matches
from salesforce_sync.matching.names import names_of
from salesforce_sync.matching.rules import (
    ASSOCIATE,
    CREATE,
    DOMAIN,
    NAME,
    SIMILAR,
    Candidate,
    lower_bound,
    propose,
    trusted_rules,
)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("Acme B.V.", "acme"), ("ACME, Inc.", "acme"), ("Acme GmbH & Co. KG", "acme"), ("Novo Nordisk A/S", "novo nordisk"),
        ("BP p.l.c.", "bp"), ("Oy Nokia Ab", "nokia"), ("AB Volvo", "volvo"), ("ООО Газпром", "газпром"), ("Bolt Sp. z o.o.", "bolt"),
        ("Société Générale S.A.", "societe generale"), ("L'Oréal SA", "loreal"), ("Müller & Söhne OHG", "muller sohne"),
        ("I.B.M. Corp", "ibm"), ("AT&T Inc.", "at t"), ("Levi’s", "levis"), ("Amazon.com, Inc.", "amazon"), ("3M Company", "3m"),
        ("Bank of America Corporation", "bank america"), ("Shell UK Ltd", "shell uk"), ("Ærø Straße ApS", "aero strasse"),
        ("Co Ltd", "co ltd"), ("株式会社 日立", "株式会社 日立"), ("", ""), ("?!", ""),
    ],
)  # fmt: skip
def test_a_name_is_its_words_without_legal_form_accents_and_signs(name: str, tokens: str) -> None:
    assert names_of([name]).of(0) == tokens.split()


def test_many_names_are_as_one_by_one() -> None:
    names = ["Acme B.V.", None, "", "B. Inc", "Åhléns AB", "A.B.C. d.o.o", "x" * 300]
    together = names_of(names)
    assert [together.of(place) for place in range(len(names))] == [names_of([name]).of(0) for name in names]
    assert together.key(0) == names_of(["ACME"]).key(0) == "acme"


OTHERS = [f"Company{number} Systems" for number in range(200)]


def _best(
    name: str, *accounts: str, place: str | None = None, places: list[str | None] | None = None
) -> list[tuple[str, Match]]:
    known = [*accounts, *OTHERS]
    towns = None if places is None else [*places, *([None] * len(OTHERS))]
    (found,) = find_matches(Companies.of(known, towns), Companies.of([name], [place]))
    return [(known[match.place], match) for match in found]


@pytest.mark.parametrize(
    ("name", "account", "evidence"),
    [
        ("Zorbin Logistics B.V.", "ZORBIN LOGISTICS", "same rare word 'zorbin'"),
        ("Burlingtom Foods", "Burlington Foods Ltd", "'burlingtom' and 'burlington': one letter differs"),
        ("Brulington Foods", "Burlington Foods Ltd", "'brulington' and 'burlington': one letter differs"),
        ("Zorbin Intl", "Zorbin International", "'intl' is short for 'international'"),
        ("Zorbin Mgmt", "Zorbin Management", "'mgmt' is short for 'management'"),
        ("Zorbinlogistics", "Zorbin Logistics", "'zorbinlogistics' is two words there"),
        ("Zorbin Logistics", "Zorbinlogistics", "'zorbinlogistics' is one word there"),
        ("Logistics Zorbin", "Zorbin Logistics", "same rare word 'logistics'"),
        ("Zørbin", "Zorbin", "same rare word 'zorbin'"),
    ],
)  # fmt: skip
def test_the_account_is_found_and_the_evidence_says_why(name: str, account: str, evidence: str) -> None:
    (found, match), *_ = _best(name, "Quite Another", account)
    assert found == account
    assert match.score > 0.85
    assert evidence in match.evidence


def test_of_a_family_the_one_of_the_same_name_is_the_best() -> None:
    found = [
        name
        for name, _ in _best("Zorbin Nederland BV", "Zorbin", "Zorbin Deutschland", "Zorbin Nederland", "Zorbin France")
    ]
    assert found[0] == "Zorbin Nederland"
    assert set(found[1:]) == {"Zorbin", "Zorbin Deutschland", "Zorbin France"}


def test_the_town_tells_two_of_one_name_apart_and_is_no_more_than_a_hint() -> None:
    found = _best("Zorbin", "Zorbin", "Zorbin", place="delft", places=["Utrecht", "Delft"])
    assert [match.place for _, match in found] == [1, 0]
    assert [match.evidence[-1] for _, match in found] == ["same town", "another town"]
    assert found[1][1].score > 0.9


def test_a_word_that_both_sides_know_is_no_typo() -> None:
    accounts = [*(f"Bolt {number}" for number in range(9)), *(f"Bold {number}" for number in range(9))]
    found = dict(_best("Bolt 3x", *accounts))
    assert all(match.score < 0.7 for name, match in found.items() if name.startswith("Bold"))


def test_nothing_is_like_it() -> None:
    assert _best("Wholly Unknown") == []
    assert find_matches(Companies.of([]), Companies.of(["Acme"])) == [[]]
    assert find_matches(Companies.of(["Acme"]), Companies.of([])) == []


# -- rules -------------------------------------------------------------------------------------------------------------


def _candidate(identity: str = "001A", score: float = 0.97, rule: str = NAME, kind: str = "Account") -> Candidate:
    return Candidate(identity, kind, "Acme", score, rule)


@pytest.mark.parametrize(
    ("candidates", "action"),
    [
        ([], CREATE),
        ([_candidate()], ASSOCIATE),
        ([_candidate(), _candidate("001B", 0.6, SIMILAR)], ASSOCIATE),
        ([_candidate(score=0.9)], None),
        ([_candidate(rule=SIMILAR)], None),
        ([_candidate(), _candidate("001B", 0.96)], None),
        ([_candidate(), _candidate("00QB", 0.9, kind="Lead")], None),
        ([_candidate("00QB", 0.9, kind="Lead")], None),
        ([_candidate(rule=DOMAIN, score=1.0), _candidate("001B", 0.95)], None),
    ],
)  # fmt: skip
def test_what_is_clear_is_decided_and_the_rest_waits(candidates: list[Candidate], action: str | None) -> None:
    assert propose(candidates, threshold=0.92, trusted=[NAME, DOMAIN]).action == action


def test_a_rule_is_trusted_while_its_precision_is_bounded() -> None:
    assert next(count for count in range(1, 200) if lower_bound(count, count) >= 0.95) == 73
    assert trusted_rules({NAME: (73, 73), SIMILAR: (99, 100), DOMAIN: (50, 50)}, 0.95) == {NAME}
    assert trusted_rules({NAME: (73, 74)}, 0.95) == frozenset()
    assert trusted_rules({}, 0.0) == {NAME, DOMAIN, SIMILAR}
