"""The report pack: the companies that it stands on, and what each report shows, asked of the emulator by the report's own filter."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from salesforce_sync.records import Counts
from support.flows import Intent
from support.reports import report_files, soql
from support.world import World, activity

MINE, RIVAL = {"id": "101", "name": "Demo Firewall"}, {"id": "102", "name": "Rival Firewall"}
TODAY = date(2026, 11, 21)


def days_ago(days: int) -> date:
    return TODAY - timedelta(days=days)


@pytest.fixture(autouse=True)
def _noon(world: World) -> None:
    world.org.clock.stop_at(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture
def seen(world: World, pipeline: Intent) -> None:
    """A customer, a prospect, an Account with an open Opportunity, and companies without an Account."""
    _, _, busy = world.insert(
        "Account",
        {"Name": "Customer Inc", "Website": "customer.com", "Type": "Customer - Direct"},
        {"Name": "Prospect Inc", "Website": "prospect.com", "Type": "Prospect"},
        {"Name": "Busy Inc", "Website": "busy.com"},
    )
    deal = {"AccountId": busy, "CloseDate": "2026-12-31"}
    world.insert(
        "Opportunity",
        deal | {"Name": "Open", "StageName": "Prospecting"},
        deal | {"Name": "Won", "StageName": "Closed Won"},
    )
    rows = [
        ("customer.com", 3, [RIVAL]), ("customer.com", 20, [MINE]),
        ("prospect.com", 2, [MINE, RIVAL]),
        ("busy.com", 10, []),
        ("nobody.com", 14, [RIVAL]), ("nobody.com", 15, [MINE]),
        ("often.com", 20, []), ("often.com", 21, []), ("often.com", 22, []), ("often.com", 60, []), ("often.com", 23, []),
        ("seldom.com", 20, []), ("seldom.com", 21, []), ("seldom.com", 22, []), ("seldom.com", 23, []), ("seldom.com", 61, []),
        ("gone.com", 61, [RIVAL]),
        ("gmail.com", 1, [RIVAL]),
    ]  # fmt: skip
    pipeline.run(*(
        activity(number, day=days_ago(age), domain=f"www.{domain}", company_name=domain, products=products, pages_visited=2)
        for number, (domain, age, products) in enumerate(rows)
    ))  # fmt: skip
    for row in world.query("SELECT Id FROM PeerSpot_Vendor_Product__c WHERE PeerSpot_Product_Id__c = '101'"):
        world.update("PeerSpot_Vendor_Product__c", {"Id": row["Id"], "My_Company_Product__c": True})
    pipeline.companies()


@pytest.mark.requirement("PS-07", "PS-09")
def test_a_company_record_holds_what_its_visits_say(world: World, pipeline: Intent, seen: None) -> None:
    fields = (
        "Name, Account__r.Name, Country__c, Products__c, Visits__c, Pages_Visited__c, Last_Visit__c, Fifth_Latest_Visit__c,"
        " My_Product_Visit__c, Competitor_Visit__c, Open_Opportunity__c"
    )
    (company,) = world.query(f"SELECT {fields} FROM PeerSpot_Company__c WHERE Domain__c = 'customer.com'")
    assert company | {"Account__r": company["Account__r"]["Name"]} == {
        "Name": "customer.com", "Account__r": "Customer Inc", "Country__c": "Netherlands", "Products__c": "Demo Firewall, Rival Firewall",
        "Visits__c": 2.0, "Pages_Visited__c": 4.0, "Last_Visit__c": "2026-11-18", "Fifth_Latest_Visit__c": None,
        "My_Product_Visit__c": "2026-11-01", "Competitor_Visit__c": "2026-11-18", "Open_Opportunity__c": False,
    }  # fmt: skip


def test_only_companies_that_changed_are_written_again(world: World, pipeline: Intent, seen: None) -> None:
    assert pipeline.companies() == Counts(read=6, unchanged=6)
    pipeline.run(activity(90, day=days_ago(1), domain="busy.com"))
    assert pipeline.companies() == Counts(read=6, updated=1, unchanged=5)


def test_a_product_that_is_marked_as_ours_later_counts_from_the_next_run_on(
    world: World, pipeline: Intent, seen: None
) -> None:
    (rival,) = world.query("SELECT Id FROM PeerSpot_Vendor_Product__c WHERE PeerSpot_Product_Id__c = '102'")
    world.update("PeerSpot_Vendor_Product__c", {"Id": rival["Id"], "My_Company_Product__c": True})
    pipeline.companies()
    assert world.query("SELECT Name FROM PeerSpot_Company__c WHERE Competitor_Visit__c != null") == []
    visits = world.query("SELECT My_Product_Visit__c FROM PeerSpot_Company__c WHERE Domain__c = 'customer.com'")
    assert visits == [{"My_Product_Visit__c": "2026-11-18"}]


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        pytest.param(
            "PeerSpot - PeerIntent Prospecting Report", ["nobody.com", "often.com", "prospect.com", "seldom.com"],
            marks=pytest.mark.requirement("PS-51", "PS-09"),
        ),
        pytest.param("Companies last 14d visited My Product", ["prospect.com"], marks=pytest.mark.requirement("PS-52")),
        pytest.param(
            "Companies last 14d NOT visited MyProduct", ["busy.com", "customer.com", "nobody.com"], marks=pytest.mark.requirement("PS-53"),
        ),
        pytest.param(
            "Active companies last 14 days by country", ["busy.com", "customer.com", "nobody.com", "prospect.com"],
            marks=pytest.mark.requirement("PS-54"),
        ),
        pytest.param("Companies related to open opps", ["busy.com"], marks=pytest.mark.requirement("PS-55")),
        pytest.param("Companies with > 4 activities last 60d", ["often.com"], marks=pytest.mark.requirement("PS-56")),
        pytest.param("Account visiting Competitor in last 30d", ["customer.com", "prospect.com"], marks=pytest.mark.requirement("PS-57")),
    ],
)  # fmt: skip
def test_a_report_on_companies_shows(world: World, seen: None, label: str, shown: list[str]) -> None:
    assert sorted(row["Name"] for row in world.query(soql(report_files()[label]))) == shown


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        pytest.param("PeerSpot Activities (My Products)", ["act-1", "act-2", "act-5"], marks=pytest.mark.requirement("PS-58")),
        pytest.param(
            "PeerSpot Activities (Competitor_Views)", ["act-0", "act-16", "act-17", "act-2", "act-4"], marks=pytest.mark.requirement("PS-59"),
        ),
    ],
)  # fmt: skip
def test_a_report_on_products_shows(world: World, seen: None, label: str, shown: list[str]) -> None:
    rows = world.query(soql(report_files()[label]))
    assert sorted(row["Activity__r"]["PeerSpot_External_Id__c"] for row in rows) == shown


@pytest.mark.requirement("PS-60")
def test_the_error_report_shows_the_activities_without_an_account(world: World, seen: None) -> None:
    shown = {
        row["PeerSpot_External_Id__c"]
        for row in world.query(soql(report_files()["PS Activities Error: Domain not Found"]))
    }
    assert shown == {f"act-{number}" for number in range(4, 18)}
