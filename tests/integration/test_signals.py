"""Signals: what recent intent does in Salesforce, against the emulator."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from salesforce_sync.errors import TooManyRejects
from salesforce_sync.mapping.loader import load_mapping
from salesforce_sync.records import Counts
from salesforce_sync.state import runs
from salesforce_sync.state.engine import open_state
from salesforce_sync.systems.peerspot.signals import MEMBERS, TASKS, SignalMappings, SignalRules, signals
from support.flows import Intent
from support.world import World, activity

TODAY = date(2026, 11, 21)
MINE, RIVAL = {"id": "101", "name": "Demo Firewall"}, {"id": "102", "name": "Rival Firewall"}


def _signals(pipeline: Intent, *enabled: str, today: date = TODAY, **rules: Any) -> Counts:
    mappings = SignalMappings(load_mapping(TASKS), load_mapping(MEMBERS))
    return signals(pipeline.context("signals"), mappings, SignalRules(frozenset(enabled), today, **rules))


@pytest.fixture
def seen(world: World, pipeline: Intent) -> dict[str, str]:
    """A customer who looks at a competitor, a prospect who looks at us, and a company without an Account. Gives the Accounts' ids."""
    customer, prospect = world.insert(
        "Account",
        {"Name": "Customer Inc", "Website": "customer.com", "Type": "Customer - Direct"},
        {"Name": "Prospect Inc", "Website": "prospect.com", "Type": "Prospect"},
    )
    pipeline.run(
        activity(1, day=date(2026, 11, 18), domain="customer.com", products=[RIVAL]),
        activity(2, day=date(2026, 11, 19), domain="customer.com", products=[MINE]),
        activity(3, day=date(2026, 11, 19), domain="prospect.com", products=[MINE]),
        activity(4, day=date(2026, 11, 19), domain="nobody.com", company_name="=Nobody", products=[RIVAL]),
        activity(5, day=date(2026, 10, 1), domain="prospect.com", products=[RIVAL]),
    )
    for row in world.query("SELECT Id FROM PeerSpot_Vendor_Product__c WHERE PeerSpot_Product_Id__c = '101'"):
        world.update("PeerSpot_Vendor_Product__c", {"Id": row["Id"], "My_Company_Product__c": True})
    return {"customer": customer, "prospect": prospect}


@pytest.mark.requirement("PS-08")
def test_a_customer_who_looks_at_a_competitor_gives_its_owner_a_task_once_a_month(
    world: World, pipeline: Intent, seen: dict[str, str]
) -> None:
    _signals(pipeline, "churn")
    _signals(pipeline, "churn")
    assert world.query("SELECT Subject, Description, WhatId, OwnerId, ActivityDate, Priority, Status FROM Task") == [
        {
            "Subject": "PeerSpot: this customer is looking at the competition",
            "Description": "Customer Inc looked at Rival Firewall; last on 2026-11-19.",
            "WhatId": seen["customer"], "OwnerId": world.org.user_id, "ActivityDate": "2026-11-21", "Priority": "High", "Status": "Not Started",
        }
    ]  # fmt: skip
    _signals(pipeline, "churn", today=date(2026, 12, 1))
    assert world.count("Task") == 2


def test_a_task_that_somebody_has_worked_on_is_not_written_again(
    world: World, pipeline: Intent, seen: dict[str, str]
) -> None:
    _signals(pipeline, "churn")
    world.update(
        "Task",
        {"Id": world.query("SELECT Id FROM Task")[0]["Id"], "Status": "Completed", "Description": "Called them."},
    )
    pipeline.run(
        activity(6, day=date(2026, 11, 20), domain="customer.com", products=[{"id": "103", "name": "Other Firewall"}])
    )
    _signals(pipeline, "churn")
    assert world.query("SELECT Status, Description FROM Task") == [
        {"Status": "Completed", "Description": "Called them."}
    ]


@pytest.mark.requirement("PS-10")
def test_open_opportunities_show_who_is_looking(world: World, pipeline: Intent, seen: dict[str, str]) -> None:
    base = {"AccountId": seen["customer"], "CloseDate": "2026-12-31"}
    world.insert(
        "Opportunity",
        base | {"Name": "Open", "StageName": "Prospecting"},
        base | {"Name": "Won", "StageName": "Closed Won"},
    )
    assert _signals(pipeline, "open_opportunities") == Counts(read=1, updated=1)
    assert world.query(
        "SELECT Name, PeerSpot_Last_Visit__c, PeerSpot_Visits_14d__c FROM Opportunity ORDER BY Name"
    ) == [
        {"Name": "Open", "PeerSpot_Last_Visit__c": "2026-11-19", "PeerSpot_Visits_14d__c": 2.0},
        {"Name": "Won", "PeerSpot_Last_Visit__c": None, "PeerSpot_Visits_14d__c": None},
    ]
    assert _signals(pipeline, "open_opportunities") == Counts()


@pytest.mark.requirement("PS-12")
def test_a_lost_opportunity_whose_account_looks_again_gives_a_task(
    world: World, pipeline: Intent, seen: dict[str, str]
) -> None:
    base = {"AccountId": seen["prospect"], "StageName": "Closed Lost"}
    lost, _ = world.insert(
        "Opportunity",
        base | {"Name": "Lost", "CloseDate": "2026-06-01"},
        base | {"Name": "Long ago", "CloseDate": "2024-01-01"},
    )
    _signals(pipeline, "win_back")
    assert world.query("SELECT WhatId, Subject, Priority FROM Task") == [
        {"WhatId": lost, "Subject": "PeerSpot: this lost opportunity is looking again", "Priority": "Normal"}
    ]


@pytest.mark.requirement("PS-11")
def test_dormant_leads_of_companies_that_look_join_the_campaign_once(
    world: World, pipeline: Intent, seen: dict[str, str]
) -> None:
    (campaign,) = world.insert("Campaign", {"Name": "Nurture"})
    dormant, member, _ = world.insert(
        "Lead",
        {"LastName": "Dormant", "Company": "prospect inc"},
        {"LastName": "Already in", "Company": "Prospect Inc"},
        {"LastName": "Elsewhere", "Company": "Somebody Else"},
    )
    world.insert("CampaignMember", {"CampaignId": campaign, "LeadId": member})
    for _ in range(2):
        _signals(pipeline, "nurture", campaign_id=campaign)
    members = world.query("SELECT LeadId FROM CampaignMember ORDER BY LeadId")
    assert [row["LeadId"] for row in members] == sorted([dormant, member])


@pytest.mark.requirement("PS-09")
def test_the_prospect_list_has_the_companies_that_look_and_are_no_customers(
    pipeline: Intent, seen: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "lists" / "prospects.csv"
    _signals(pipeline, "prospects", prospects_path=path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [
        (row["company"], row["domain"], row["visits"], row["products"], row["last_visit"], row["account"])
        for row in rows
    ] == [
        ("'=Nobody", "nobody.com", "1", "Rival Firewall", "2026-11-19", ""),
        ("Prospect Inc", "prospect.com", "1", "Demo Firewall", "2026-11-19", seen["prospect"]),
    ]


def test_a_signal_that_was_killed_before_it_was_noted_makes_no_second_task(
    world: World, pipeline: Intent, seen: dict[str, str]
) -> None:
    _signals(pipeline, "churn")
    pipeline.state_url = f"sqlite:///{pipeline.folder / 'new.db'}"
    _signals(pipeline, "churn")
    assert world.count("Task") == 1


def test_while_no_product_is_marked_as_ours_nobody_is_said_to_look_at_the_competition(
    world: World, pipeline: Intent, seen: dict[str, str]
) -> None:
    (mine,) = world.query("SELECT Id FROM PeerSpot_Vendor_Product__c WHERE My_Company_Product__c = true")
    world.update("PeerSpot_Vendor_Product__c", {"Id": mine["Id"], "My_Company_Product__c": False})
    _signals(pipeline, "churn")
    assert world.count("Task") == 0


def test_nothing_is_done_that_is_not_switched_on(world: World, pipeline: Intent, seen: dict[str, str]) -> None:
    assert _signals(pipeline) == Counts()
    assert world.count("Task") == 0


def _25_customers_look_at_a_rival(world: World, pipeline: Intent, **fields: str) -> None:
    """Adds 25 customers with these fields, each with an activity at a rival's product; marks our own product."""
    world.insert(
        "Account",
        *(
            {"Name": f"C{number}", "Website": f"client{number}.com", "Type": "Customer - Direct"} | fields
            for number in range(25)
        ),
    )
    pipeline.run(
        *(
            activity(number, day=date(2026, 11, 18), domain=f"client{number}.com", products=[RIVAL])
            for number in range(25)
        ),
        activity(99, day=date(2026, 11, 18), domain="mine.com", products=[MINE]),
    )
    for row in world.query("SELECT Id FROM PeerSpot_Vendor_Product__c WHERE PeerSpot_Product_Id__c = '101'"):
        world.update("PeerSpot_Vendor_Product__c", {"Id": row["Id"], "My_Company_Product__c": True})


def test_tasks_of_owners_who_left_are_the_integration_users_and_the_other_signals_go_on(
    world: World, pipeline: Intent, tmp_path: Path
) -> None:
    person = {
        "Username": "jan@acme.example", "LastName": "Jansen", "Email": "jan@acme.example", "Alias": "jan", "IsActive": True,
        "ProfileId": world.query("SELECT Id FROM Profile")[0]["Id"], "TimeZoneSidKey": "GMT", "LocaleSidKey": "en_US",
        "LanguageLocaleKey": "en_US", "EmailEncodingKey": "UTF-8",
    }  # fmt: skip
    (user,) = world.insert("User", person)
    _25_customers_look_at_a_rival(world, pipeline, OwnerId=user)
    world.update("User", {"Id": user, "IsActive": False})
    _signals(pipeline, "churn", "prospects", prospects_path=tmp_path / "prospects.csv")
    assert {row["OwnerId"] for row in world.query("SELECT OwnerId FROM Task")} == {world.org.user_id}
    assert (world.count("Task"), (tmp_path / "prospects.csv").exists()) == (25, True)
    with open_state(pipeline.state_url).connect() as connection:
        notes = [str(step["message"]) for step in runs.of_dag_run(connection, "peerspot_intent", "run-1")]
    assert any("25 Tasks are the integration user's" in note for note in notes)


def test_signals_that_are_refused_do_not_stop_the_others(world: World, pipeline: Intent, tmp_path: Path) -> None:
    _25_customers_look_at_a_rival(world, pipeline)
    rule = {"object": "Task", "name": "None", "condition": "Priority = 'High'", "message": "No Tasks today."}
    world.org.policies.add({"validation": [rule]}, world.org.schema)
    with pytest.raises(TooManyRejects, match="25"):
        _signals(pipeline, "churn", "prospects", prospects_path=tmp_path / "prospects.csv")
    assert (tmp_path / "prospects.csv").exists()
