"""SOQL by the emulator: what an org answers, and what it refuses in which words."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import pytest

from support.raw import Raw
from support.world import World


@pytest.fixture
def accounts(world: World) -> list[str]:
    return world.insert(
        "Account",
        {"Name": "Alpha", "Type": "Prospect", "AnnualRevenue": 10, "Website": "alpha.com"},
        {"Name": "beta", "Type": "Prospect", "AnnualRevenue": 30},
        {"Name": "O'Hara 100%", "Type": "Other"},
    )


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("Name = 'ALPHA'", ["Alpha"]),
        ("Name LIKE 'a%' OR Name LIKE '%et_'", ["Alpha", "beta"]),
        ("Name = 'O\\'Hara 100%'", ["O'Hara 100%"]),
        ("Name LIKE '%100\\%'", ["O'Hara 100%"]),
        ("Name IN ('alpha', 'Beta')", ["Alpha", "beta"]),
        ("Name NOT IN ('alpha')", ["beta", "O'Hara 100%"]),
        ("Website = null", ["beta", "O'Hara 100%"]),
        ("AnnualRevenue > 10", ["beta"]),
        ("AnnualRevenue != 10", ["beta", "O'Hara 100%"]),
        ("(NOT Type = 'Prospect') AND IsDeleted = false", ["O'Hara 100%"]),
        ("CreatedDate = TODAY AND CreatedDate >= LAST_N_DAYS:2", ["Alpha", "beta", "O'Hara 100%"]),
        ("CreatedDate < YESTERDAY", []),
        ("Owner.Name = 'integration user' AND Type = 'Other'", ["O'Hara 100%"]),
    ],
)
def test_conditions(raw: Raw, accounts: list[str], condition: str, names: list[str]) -> None:
    status, body = raw.query(f"SELECT Name FROM Account WHERE {condition} ORDER BY Name")
    assert (status, [record["Name"] for record in body["records"]]) == (200, names)


def test_aggregates_children_and_parents(raw: Raw, accounts: list[str], world: World) -> None:
    world.insert("Contact", {"LastName": "Contact", "AccountId": accounts[0]})
    assert raw.query("SELECT COUNT() FROM Account")[1] == {"totalSize": 3, "done": True, "records": []}
    groups = raw.query("SELECT Type, COUNT(Id) n, MAX(AnnualRevenue) FROM Account GROUP BY Type ORDER BY Type")[1][
        "records"
    ]
    assert [(group["Type"], group["n"], group["expr0"]) for group in groups] == [
        ("Other", 1, None),
        ("Prospect", 2, 30.0),
    ]
    parents = raw.query(
        "SELECT Name, (SELECT LastName FROM Contacts), Owner.Name, Parent.Name FROM Account WHERE Name = 'Alpha'"
    )[1]["records"]
    assert parents[0]["Contacts"]["records"][0]["LastName"] == "Contact"
    assert (parents[0]["Owner"]["Name"], parents[0]["Parent"]) == ("Integration User", None)


@pytest.mark.parametrize(
    ("soql", "code", "message"),
    [
        ("SELEKT Id FROM Account", "MALFORMED_QUERY", "unexpected token: SELEKT"),
        ("SELECT Id FROM", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id FROM Nothing__c", "INVALID_TYPE", "sObject type 'Nothing__c' is not supported."),
        (
            "SELECT aId FROM Account",
            "INVALID_FIELD",
            "\nSELECT aId FROM Account\n       ^\nERROR at Row:1:Column:8\nNo such column 'aId' on entity",
        ),
        ("SELECT Id FROM Account WHERE Nope.Name = 'x'", "INVALID_FIELD", "\nSELECT Id FROM Account WHERE Nope.Name"),
        (
            "SELECT Id FROM Account WHERE AnnualRevenue = 'x'",
            "INVALID_FIELD",
            "value of filter criterion for field 'AnnualRevenue'",
        ),
        ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"),
        (
            "SELECT Id FROM Account WHERE Name = 'a' AND Name = 'b' OR Name = 'c'",
            "MALFORMED_QUERY",
            "\nSELECT Id FROM Account WHERE",
        ),
    ],
)
def test_a_bad_statement_is_refused_in_the_orgs_words(raw: Raw, soql: str, code: str, message: str) -> None:
    status, errors = raw.query(soql)
    assert (status, errors[0]["errorCode"]) == (400, code)
    assert errors[0]["message"].startswith(message)


def test_a_long_result_comes_in_pages_of_the_size_that_was_asked_for(raw: Raw, world: World) -> None:
    world.insert("Account", *({"Name": f"A{number}"} for number in range(450)))
    path = "/query?" + urlencode({"q": "SELECT Name FROM Account"})
    page = raw("GET", path, **{"Sforce-Query-Options": "batchSize=200"})[1]
    names = [record["Name"] for record in page["records"]]
    while not page["done"]:
        page = raw("GET", page["nextRecordsUrl"].removeprefix("/services/data/v66.0"))[1]
        names += [record["Name"] for record in page["records"]]
    assert names == [f"A{number}" for number in range(450)]
    assert raw("GET", "/query/0r8nonsense-2000")[1][0]["errorCode"] == "INVALID_QUERY_LOCATOR"


def test_statements_made_at_random_never_break_the_server(raw: Raw, accounts: list[str]) -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as some

    words = some.sampled_from([
        "SELECT", "FROM", "WHERE", "Id", "Name", "Account", "AND", "OR", "NOT", "(", ")", ",", "=", "!=", "<", "LIKE", "IN", "'a'", "'x\\'y'", "5",
        "-1.5", "null", "true", "TODAY", "LAST_N_DAYS:3", "2026-01-01", "2026-01-01T00:00:00Z", "GROUP", "BY", "ORDER", "LIMIT", "OFFSET",
        "COUNT()", "COUNT(Id)", "Owner.Name", "Contacts", "ASC", "NULLS", "LAST", "HAVING", ".", ";", "%", "é",
    ])  # fmt: skip

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(some.lists(words, max_size=14))
    def never_500(tokens: list[str]) -> None:
        assert raw.query(" ".join(["SELECT Id FROM Account", *tokens]))[0] in (200, 400)
        assert raw.query(" ".join(tokens))[0] in (200, 400)

    never_500()


# -- the wider language -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def activities(world: World) -> dict[str, str]:
    """A Task about an Account with a Contact, one about an Opportunity with a Lead, and one about nothing. Gives the ids."""
    (account,) = world.insert("Account", {"Name": "Acme", "Phone": "030"})
    (contact,) = world.insert("Contact", {"LastName": "Jansen", "Email": "j@acme.example"})
    (lead,) = world.insert("Lead", {"LastName": "Pieters", "Company": "Beta"})
    (deal,) = world.insert(
        "Opportunity", {"Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-12-31", "Amount": 5}
    )
    world.insert(
        "Task",
        {"Subject": "1", "WhoId": contact, "WhatId": account}, {"Subject": "2", "WhoId": lead, "WhatId": deal}, {"Subject": "3"},
    )  # fmt: skip
    return {"account": account, "contact": contact, "lead": lead, "deal": deal}


def test_who_and_what_are_reached_whatever_they_are(raw: Raw, activities: dict[str, str]) -> None:
    records = raw.query("SELECT Who.Name, Who.Type, Who.Email, What.Name, What.Type FROM Task ORDER BY Subject")[1][
        "records"
    ]
    assert records[0]["Who"] == {
        "attributes": {"type": "Name", "url": f"/services/data/v66.0/sobjects/Contact/{activities['contact']}"},
        "Name": "Jansen", "Type": "Contact", "Email": "j@acme.example",
    }  # fmt: skip
    assert [record["What"] and (record["What"]["Name"], record["What"]["Type"]) for record in records] == [
        ("Acme", "Account"), ("Deal", "Opportunity"), None,
    ]  # fmt: skip
    assert raw.query("SELECT Subject FROM Task WHERE What.Type = 'Account'")[1]["totalSize"] == 1
    assert raw.query("SELECT What.Phone2 FROM Task")[1][0]["message"].endswith("appropriate names.")


def test_typeof_gives_each_kind_its_own_fields(raw: Raw, activities: dict[str, str]) -> None:
    soql = "SELECT Subject, TYPEOF What WHEN Account THEN Name, Phone WHEN Opportunity THEN Amount ELSE Name END FROM Task ORDER BY Subject"
    what = [record["What"] for record in raw.query(soql)[1]["records"]]
    assert what == [
        {
            "attributes": {"type": "Account", "url": f"/services/data/v66.0/sobjects/Account/{activities['account']}"},
            "Name": "Acme",
            "Phone": "030",
        },
        {
            "attributes": {
                "type": "Opportunity",
                "url": f"/services/data/v66.0/sobjects/Opportunity/{activities['deal']}",
            },
            "Amount": 5.0,
        },
        None,
    ]
    assert raw.query("SELECT TYPEOF What WHEN User THEN Name END FROM Task")[1][0]["errorCode"] == "INVALID_TYPE"


def test_a_parent_without_values_is_an_object_and_no_parent_is_null(raw: Raw, world: World) -> None:
    (account,) = world.insert("Account", {"Name": "Acme"})
    world.insert("Contact", {"LastName": "With", "AccountId": account}, {"LastName": "Without"})
    records = raw.query("SELECT Account.Phone, Account.Parent.Name FROM Contact ORDER BY LastName")[1]["records"]
    assert records[0]["Account"] == {
        "attributes": {"type": "Account", "url": f"/services/data/v66.0/sobjects/Account/{account}"}, "Phone": None, "Parent": None,
    }  # fmt: skip
    assert records[1]["Account"] is None


def test_subtotals(raw: Raw, accounts: list[str]) -> None:
    rows = raw.query("SELECT Type, COUNT(Id) n, GROUPING(Type) g FROM Account GROUP BY ROLLUP(Type)")[1]["records"]
    assert [(row["Type"], row["n"], row["g"]) for row in rows] == [("Other", 1, 0), ("Prospect", 2, 0), (None, 3, 1)]
    cube = raw.query("SELECT Type, Rating, COUNT(Id) FROM Account GROUP BY CUBE(Type, Rating)")[1]["records"]
    assert len(cube) == 2 + 2 + 1 + 1


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("CALENDAR_QUARTER(CloseDate)", 4), ("FISCAL_YEAR(CloseDate)", 2026), ("CALENDAR_MONTH(CloseDate)", 11), ("DAY_IN_MONTH(CloseDate)", 15),
        ("DAY_IN_WEEK(CloseDate)", 1), ("WEEK_IN_MONTH(CloseDate)", 3), ("DAY_IN_YEAR(CloseDate)", 319),
    ],
)  # fmt: skip
def test_date_functions(raw: Raw, world: World, expression: str, value: int) -> None:
    world.insert("Opportunity", {"Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-11-15"})
    records = raw.query(f"SELECT {expression} part, COUNT(Id) FROM Opportunity GROUP BY {expression}")[1]["records"]
    assert records[0]["part"] == value


@pytest.mark.parametrize(
    ("soql", "code", "message"),
    [
        ("SELECT Name, COUNT(Id) FROM Account", "MALFORMED_QUERY", "Field must be grouped or aggregated: Name"),
        (
            "SELECT Id FROM Account WHERE Description = 'x'",
            "INVALID_FIELD",
            "field 'Description' can not be filtered in a query call",
        ),
        (
            "SELECT Id FROM Account ORDER BY Description",
            "INVALID_FIELD",
            "field 'Description' can not be sorted in a query call",
        ),
        (
            "SELECT COUNT(Id) FROM Account GROUP BY AnnualRevenue",
            "INVALID_FIELD",
            "field 'AnnualRevenue' can not be grouped in a query call",
        ),
        (
            "SELECT Id FROM Account WHERE BillingAddress = 'x'",
            "INVALID_FIELD",
            "field 'BillingAddress' can not be filtered in a query call",
        ),
        ("SELECT Name, Name FROM Account", "INVALID_FIELD", "duplicate field selected: Name"),
        ("SELECT SUM() FROM Account", "MALFORMED_QUERY", "unexpected token: 'SUM'"),
        ("SELECT Id FROM Account LIMIT 99999999999", "MALFORMED_QUERY", "unexpected token: '99999999999'"),
    ],
)
def test_what_the_language_does_not_allow(raw: Raw, soql: str, code: str, message: str) -> None:
    status, errors = raw.query(soql)
    assert (status, errors[0]["errorCode"]) == (400, code)
    assert errors[0]["message"].endswith(message)


def test_a_condition_nested_too_deep_is_refused_and_not_a_crash(raw: Raw) -> None:
    soql = f"SELECT Id FROM Account WHERE {'(' * 3_000}Name = 'a'{')' * 3_000}"
    assert raw("POST", "/jobs/query", {"operation": "query", "query": soql})[0] in (200, 400)


def test_more_children_than_a_page_come_by_their_own_cursor(raw: Raw, world: World) -> None:
    (account,) = world.insert("Account", {"Name": "Acme"})
    world.insert("Contact", *({"LastName": f"C{number}", "AccountId": account} for number in range(2_001)))
    children = raw.query("SELECT (SELECT LastName FROM Contacts) FROM Account")[1]["records"][0]["Contacts"]
    assert (children["totalSize"], children["done"], len(children["records"])) == (2_001, False, 2_000)
    rest = raw("GET", children["nextRecordsUrl"].removeprefix("/services/data/v66.0"))[1]
    assert [record["LastName"] for record in rest["records"]] == ["C2000"]


def test_a_cursor_lives_two_days_and_no_longer_than_its_session(raw: Raw, world: World) -> None:
    world.insert("Account", *({"Name": f"A{number}"} for number in range(201)))
    page = raw("GET", "/query?q=SELECT+Id+FROM+Account", **{"Sforce-Query-Options": "batchSize=200"})[1]
    path = page["nextRecordsUrl"].removeprefix("/services/data/v66.0")
    for session in world.org.sessions.values():  # somebody keeps it alive
        session.expires += timedelta(days=3)
    assert Raw(world)("GET", path)[1][0]["errorCode"] == "INVALID_QUERY_LOCATOR"
    world.org.clock.shift(47 * 3600)
    assert raw("GET", path)[0] == 200
    world.org.clock.shift(2 * 3600)
    assert raw("GET", path)[1][0]["errorCode"] == "INVALID_QUERY_LOCATOR"


def test_rows_that_become_visible_late(raw: Raw, world: World) -> None:
    world.salesforce_fault(kind="late", path="Account", seconds=3)
    world.insert("Account", {"Name": "Late"})
    world.insert("Account", {"Name": "At once"})
    assert [record["Name"] for record in raw.query("SELECT Name FROM Account")[1]["records"]] == ["At once"]
    world.org.clock.shift(4)
    assert raw.query("SELECT Name FROM Account WHERE SystemModstamp <= TODAY")[1]["totalSize"] == 2
