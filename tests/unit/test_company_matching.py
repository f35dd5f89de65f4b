"""Names of companies as tokens, candidates for one among many, and what the rules may decide."""

from __future__ import annotations

from collections import defaultdict

import pytest
from pytickersymbols.indices_data import INDICES

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
        ("Co Ltd", "co"), ("SES S.A.", "ses"), ("The Company", "company"), ("The Of", "the of"), ("K+S AG", "k s"),
        ("SAP SE", "sap"), ("PG&E Corporation", "pg e"), ("Rossi e Figli S.p.A.", "rossi figli"), ("H&M AB", "h m"),
        ("株式会社 日立", "株式会社 日立"), ("", ""), ("?!", ""),
    ],
)  # fmt: skip
def test_a_name_is_its_words_without_legal_form_accents_and_signs(name: str, tokens: str) -> None:
    assert names_of([name]).of(0) == tokens.split()


def test_many_names_are_as_one_by_one() -> None:
    names = ["Acme B.V.", None, "", "B. Inc", "Åhléns AB", "A.B.C. d.o.o", "x" * 300]
    together = names_of(names)
    assert [together.of(place) for place in range(len(names))] == [names_of([name]).of(0) for name in names]
    assert together.key(0) == names_of(["ACME"]).key(0) == "acme"


# -- the companies of 30 stock indices: real names ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_names() -> list[str]:
    names = {company["name"] for index in INDICES.values() for company in index["companies"]}
    return sorted(name for name in names if "(" not in name)  # a class of shares is no part of a company's name


@pytest.mark.parametrize(
    "form", ["Inc.", "S.A.", "GmbH & Co. KG", "N.V.", "plc", "Pty Ltd", "SE", "AB", "K.K.", "Co., Ltd."]
)
def test_a_real_name_is_the_same_with_another_legal_form_and_in_capitals(real_names: list[str], form: str) -> None:
    plain, formal = names_of(real_names), names_of([f"{name.upper()} {form}" for name in real_names])
    assert len(real_names) > 1_500
    assert [name for place, name in enumerate(real_names) if plain.key(place) != formal.key(place)] == []


def test_real_companies_of_which_one_is_not_another_have_names_of_their_own(real_names: list[str]) -> None:
    names, by_key = names_of(real_names), defaultdict[str, set[str]](set)
    for place, name in enumerate(real_names):
        by_key[names.key(place)].add(name.casefold())
    same = {"/".join(sorted(found)) for found in by_key.values() if len(found) > 1}
    # Two that are written in two ways, and two companies that differ in nothing but their legal form.
    assert same <= {"inter parfums, inc./interparfums", "stabilus/stabilus se", "eqt ab/eqt corporation"}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("JB Hunt", "J.B. Hunt"), ("J. B. Hunt Inc", "J.B. Hunt"), ("CH Robinson", "C.H. Robinson"), ("EON SE", "E.ON"), ("H & M", "H&M"),
        ("DR Horton, Inc.", "D. R. Horton"), ("MERCEDES BENZ GROUP AG", "Mercedes-Benz Group"),
        ("Loreal", "L'Oréal"), ("Hermes", "Hermès"), ("The Walt Disney Co.", "The Walt Disney Company"), ("PG & E Corp", "PG&E"),
    ],
)  # fmt: skip
def test_initials_accents_and_signs_of_real_names_may_be_written_otherwise(
    real_names: list[str], written: str, name: str
) -> None:
    assert name in real_names
    (found,) = find_matches(Companies.of(real_names), Companies.of([written]))
    assert real_names[found[0].place] == name
    assert names_of([written]).key(0) == names_of([name]).key(0)


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
