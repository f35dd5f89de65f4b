"""The intent DAG's steps against the emulators: what lands in Salesforce, and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from emulators.salesforce.schema import Field, Schema
from salesforce_sync import staging
from salesforce_sync.engine.deliver import Delivered
from salesforce_sync.engine.group import Group
from salesforce_sync.engine.lease import hold
from salesforce_sync.engine.to_salesforce import deliver_made
from salesforce_sync.errors import RowLocked, TooManyRejects
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.mapping.transforms import TransformCall
from salesforce_sync.records import Counts
from salesforce_sync.salesforce.soql import in_lists
from salesforce_sync.state import account_domains, dead_letters, links, runs, sync_log, watermarks
from salesforce_sync.state.engine import open_state
from support.flows import ACTIVITIES, Intent
from support.world import World, activity

DOMAIN_NOT_FOUND = "PS Activities Error: Domain not Found"


@pytest.mark.requirement("PS-01", "PS-04", "PS-26", "PS-31")
def test_an_activity_becomes_a_record_on_the_account_with_its_domain(world: World, pipeline_on_both: Intent) -> None:
    (account,) = world.insert("Account", {"Name": "Acme Inc", "Website": "https://www.ACME.com/about"})
    pipeline_on_both.run(activity())
    fields = "Name, PeerSpot_External_Id__c, Date_Visited__c, Company_Name__c, Domain__c, Country__c, State__c, City__c, Partial_IP__c"
    assert world.query(f"SELECT {fields}, Activity__c, Pages_Visited__c, Account__c, Error__c, Processed__c FROM PeerSpot_Activity__c") == [
        {
            "Name": "PR-0001", "PeerSpot_External_Id__c": "act-1", "Date_Visited__c": "2026-11-10", "Company_Name__c": "Acme",
            "Domain__c": "www.acme.com", "Country__c": "Netherlands", "State__c": "Utrecht", "City__c": "Utrecht",
            "Partial_IP__c": "192.0.2.x", "Activity__c": "Visited 3 Pages", "Pages_Visited__c": 3.0, "Account__c": account,
            "Error__c": None, "Processed__c": True,
        }
    ]  # fmt: skip


@pytest.mark.requirement("PS-A8", "PS-26")
def test_a_second_run_of_the_same_day_changes_nothing(world: World, pipeline_on_both: Intent) -> None:
    pipeline_on_both.run(activity(1), activity(2))
    stamps = world.query("SELECT Id, SystemModstamp FROM PeerSpot_Activity__c")
    calls = world.org.usage.used
    pipeline_on_both.run_id = "run-2"
    loaded = pipeline_on_both.run(activity(1), activity(2))
    assert loaded.total == Counts(read=2, unchanged=2)
    assert world.query("SELECT Id, SystemModstamp FROM PeerSpot_Activity__c") == stamps
    assert world.org.usage.used - calls == 4  # load: describe; process: describe, Accounts, unprocessed activities


def test_a_changed_activity_is_updated_and_processed_again(world: World, pipeline: Intent) -> None:
    world.insert("Account", {"Name": "Acme", "Website": "acme.com"}, {"Name": "Other", "Website": "other.com"})
    pipeline.run(activity())
    loaded = pipeline.run(activity(domain="other.com", pages_visited=9))
    assert loaded.total == Counts(read=1, updated=1)
    assert world.query("SELECT Account__r.Name, Pages_Visited__c, Processed__c FROM PeerSpot_Activity__c") == [
        {"Account__r": {"Name": "Other"}, "Pages_Visited__c": 9.0, "Processed__c": True}
    ]


def test_a_record_that_has_not_changed_is_not_even_mapped(
    world: World, pipeline: Intent, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salesforce_sync.engine import to_salesforce

    mapped: list[int] = []
    apply = to_salesforce.apply
    monkeypatch.setattr(
        to_salesforce,
        "apply",
        lambda mapping, records, targets, **more: (
            mapped.append(len(records)) or apply(mapping, records, targets, **more)
        ),
    )
    pipeline.take([activity(1), activity(2)])
    pipeline.take([activity(1), activity(2, city="Gouda")])
    assert mapped == [2, 1]


def test_a_changed_mapping_maps_every_record_again_and_sends_what_differs(world: World, pipeline: Intent) -> None:
    records = [activity(1, city="Utrecht"), activity(2, city=None)]
    pipeline.take(records)
    city = pipeline.mapping.fields["City__c"].model_copy(update={"transforms": (TransformCall("truncate", 3),)})
    shorter = pipeline.mapping.model_copy(update={"fields": pipeline.mapping.fields | {"City__c": city}})
    for expected in (Counts(read=2, updated=1, unchanged=1), Counts(read=2, unchanged=2)):
        pipeline.extract(records)
        assert pipeline.load(shorter).total == expected
    cities = world.query("SELECT City__c FROM PeerSpot_Activity__c ORDER BY PeerSpot_External_Id__c")
    assert [row["City__c"] for row in cities] == ["Utr", None]


@pytest.mark.parametrize("batch_rows", [2, 1])
def test_a_record_that_changed_and_changed_back_ends_as_it_was(
    world: World, pipeline: Intent, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    pipeline.take([activity(city="Utrecht")])
    monkeypatch.setattr(staging, "BATCH_ROWS", batch_rows)
    pipeline.take([activity(city="Gouda"), activity(city="Utrecht")])
    assert world.query("SELECT City__c FROM PeerSpot_Activity__c") == [{"City__c": "Utrecht"}]


def test_a_value_that_the_vendor_took_back_is_cleared_in_salesforce(world: World, pipeline: Intent) -> None:
    pipeline.run(activity(city="Utrecht"))
    pipeline.run(activity(city=None))
    assert world.query("SELECT City__c FROM PeerSpot_Activity__c") == [{"City__c": None}]


def test_resend_writes_what_somebody_deleted_in_salesforce(world: World, pipeline: Intent) -> None:
    pipeline.run(activity())
    world.delete("PeerSpot_Activity__c", world.query("SELECT Id FROM PeerSpot_Activity__c")[0]["Id"])
    assert pipeline.take([activity()]).total == Counts(read=1, unchanged=1)
    assert pipeline.take([activity()], resend=True).total == Counts(read=1, created=1)
    assert world.count("PeerSpot_Activity__c") == 1


# -- the processor ----------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("PS-25", "PS-30")
def test_the_processor_creates_vendor_products_and_ties_the_activity_to_each(world: World, pipeline: Intent) -> None:
    pipeline.run(activity(products=[{"id": "101", "name": "Demo Firewall"}, {"id": "102", "name": "Rival Firewall"}]))
    assert world.query(
        "SELECT Name, PeerSpot_Product_Id__c, My_Company_Product__c FROM PeerSpot_Vendor_Product__c ORDER BY Name"
    ) == [
        {"Name": "Demo Firewall", "PeerSpot_Product_Id__c": "101", "My_Company_Product__c": False},
        {"Name": "Rival Firewall", "PeerSpot_Product_Id__c": "102", "My_Company_Product__c": False},
    ]
    ties = world.query(
        "SELECT Activity__r.PeerSpot_External_Id__c, Vendor_Product__r.Name FROM PeerSpot_Activity_Product__c ORDER BY Name"
    )
    assert [(tie["Activity__r"]["PeerSpot_External_Id__c"], tie["Vendor_Product__r"]["Name"]) for tie in ties] == [
        ("act-1", "Demo Firewall"),
        ("act-1", "Rival Firewall"),
    ]


@pytest.mark.requirement("PS-29", "PS-30")
def test_the_processor_never_touches_my_company_product(world: World, pipeline: Intent) -> None:
    pipeline.run(activity())
    (product,) = world.query("SELECT Id FROM PeerSpot_Vendor_Product__c")
    world.update("PeerSpot_Vendor_Product__c", {"Id": product["Id"], "My_Company_Product__c": True})
    pipeline.run(activity(2, products=[{"id": "101", "name": "Demo Firewall, renamed"}]))
    assert world.query("SELECT Name, My_Company_Product__c FROM PeerSpot_Vendor_Product__c") == [
        {"Name": "Demo Firewall, renamed", "My_Company_Product__c": True}
    ]


@pytest.mark.requirement("PS-25", "PS-26")
def test_the_processor_runs_alone_on_what_an_earlier_extract_left(world: World, pipeline: Intent) -> None:
    pipeline.take([activity(1), activity(2)])
    assert world.query("SELECT Processed__c FROM PeerSpot_Activity__c") == [
        {"Processed__c": False},
        {"Processed__c": False},
    ]
    pipeline.run_id = "processor alone"
    assert pipeline.process() == Counts(read=2, updated=2)
    assert pipeline.process() == Counts()


@pytest.mark.requirement("PS-35")
def test_an_activity_without_an_account_is_kept_with_the_error(world: World, pipeline: Intent) -> None:
    pipeline.run(activity(domain="nobody.example.com"))
    assert world.query("SELECT Account__c, Error__c, Processed__c FROM PeerSpot_Activity__c") == [
        {"Account__c": None, "Error__c": DOMAIN_NOT_FOUND, "Processed__c": True}
    ]


@pytest.mark.requirement("PS-35")
def test_an_activity_is_matched_on_a_later_run_when_an_account_appears(world: World, pipeline_on_both: Intent) -> None:
    pipeline_on_both.run(activity(1, domain="late.com"), activity(2, domain="never.com"))
    (account,) = world.insert("Account", {"Name": "Late", "Website": "http://late.com"})
    pipeline_on_both.run_id = "run-2"
    assert pipeline_on_both.process() == Counts(read=1, updated=1)
    assert world.query(
        "SELECT PeerSpot_External_Id__c, Account__c, Error__c FROM PeerSpot_Activity__c ORDER BY PeerSpot_External_Id__c"
    ) == [
        {"PeerSpot_External_Id__c": "act-1", "Account__c": account, "Error__c": None},
        {"PeerSpot_External_Id__c": "act-2", "Account__c": None, "Error__c": DOMAIN_NOT_FOUND},
    ]
    assert pipeline_on_both.process() == Counts()


def test_an_account_whose_website_is_filled_in_later_is_found(world: World, pipeline: Intent) -> None:
    (account,) = world.insert("Account", {"Name": "Acme"})
    pipeline.run(activity())
    world.update("Account", {"Id": account, "Website": "acme.com"})
    pipeline.process()
    assert world.query("SELECT Account__c FROM PeerSpot_Activity__c") == [{"Account__c": account}]


def test_an_activity_whose_account_is_deleted_is_matched_again(world: World, pipeline: Intent) -> None:
    first, second = world.insert(
        "Account", {"Name": "Acme", "Website": "acme.com"}, {"Name": "Acme BV", "Website": "acme.com"}
    )
    pipeline.run(activity())
    world.delete("Account", first)
    pipeline.process()
    assert world.query("SELECT Account__c, Error__c FROM PeerSpot_Activity__c") == [
        {"Account__c": second, "Error__c": None}
    ]
    world.delete("Account", second)
    pipeline.process()
    assert world.query("SELECT Account__c, Error__c FROM PeerSpot_Activity__c") == [
        {"Account__c": None, "Error__c": DOMAIN_NOT_FOUND}
    ]


@pytest.mark.requirement("PS-A9")
def test_several_accounts_on_one_domain_are_chosen_by_the_rule_and_logged(world: World, pipeline: Intent) -> None:
    (parent,) = world.insert("Account", {"Name": "Holding", "Website": "holding.com"})
    child, top = world.insert(
        "Account",
        {"Name": "Acme Child", "Website": "acme.com", "ParentId": parent},
        {"Name": "Acme", "Website": "www.acme.com"},
    )
    pipeline.run(activity())
    assert world.query("SELECT Account__c FROM PeerSpot_Activity__c") == [{"Account__c": top}]
    with open_state(pipeline.state_url).connect() as connection:
        entry = sync_log.of_record(connection, "act-1")[0]
    assert (entry["outcome"], entry["code"]) == ("updated", "AMBIGUOUS_DOMAIN")
    assert entry["message"] == f"acme.com is on several Accounts: {top} was chosen, not {child}"


def test_the_rule_oldest_takes_the_oldest_account_even_if_it_has_a_parent(world: World, pipeline: Intent) -> None:
    (parent,) = world.insert("Account", {"Name": "Holding", "Website": "holding.com"})
    child, _ = world.insert(
        "Account", {"Name": "A", "Website": "acme.com", "ParentId": parent}, {"Name": "B", "Website": "acme.com"}
    )
    pipeline.take([activity()])
    pipeline.process(account_choice="oldest")
    assert world.query("SELECT Account__c FROM PeerSpot_Activity__c") == [{"Account__c": child}]


@pytest.mark.requirement("PS-A10")
@pytest.mark.parametrize(
    ("domain", "matches"),
    [
        ("acme.com", True),
        ("www.acme.com", True),
        ("VPN.ACME.COM", True),
        ("https://acme.com:443/x", True),
        ("acme.co", False),
        ("notacme.com", False),
        ("gmail.com", False),
    ],
)
def test_domains_match_by_what_a_company_registers(world: World, pipeline: Intent, domain: str, matches: bool) -> None:
    (account,) = world.insert("Account", {"Name": "Acme", "Website": "shop.acme.com"})
    world.insert("Account", {"Name": "Mail", "Website": "gmail.com"})
    pipeline.run(activity(domain=domain))
    assert world.query("SELECT Account__c FROM PeerSpot_Activity__c") == [{"Account__c": account if matches else None}]


def test_an_activity_whose_products_are_refused_is_not_marked_processed_and_is_tried_again(
    world: World, pipeline: Intent
) -> None:
    pipeline.take([activity()])
    world.salesforce_fault(
        kind="row",
        path="PeerSpot_Activity_Product__c",
        code="FIELD_CUSTOM_VALIDATION_EXCEPTION",
        message="no ties",
        times=2,
    )
    assert pipeline.process() == Counts(read=1, rejected=1)
    assert world.query("SELECT Processed__c FROM PeerSpot_Activity__c") == [{"Processed__c": False}]
    assert pipeline.process() == Counts(read=1, updated=1)
    with open_state(pipeline.state_url).connect() as connection:
        assert dead_letters.unresolved(connection) == []


def test_a_vendor_product_that_somebody_deleted_is_created_again(world: World, pipeline: Intent) -> None:
    pipeline.run(activity(1))
    world.delete("PeerSpot_Vendor_Product__c", world.query("SELECT Id FROM PeerSpot_Vendor_Product__c")[0]["Id"])
    pipeline.take([activity(2)])
    assert pipeline.process() == Counts(read=1, updated=1)
    ties = world.query(
        "SELECT PeerSpot_External_Id__c FROM PeerSpot_Activity_Product__c WHERE Vendor_Product__r.Name = 'Demo Firewall'"
    )
    assert ties == [{"PeerSpot_External_Id__c": "act-2:101"}]


def test_ties_to_products_that_an_activity_no_longer_names_are_deleted(world: World, pipeline: Intent) -> None:
    pipeline.run(activity(products=[{"id": "101", "name": "Demo Firewall"}, {"id": "102", "name": "Rival Firewall"}]))
    pipeline.run(activity(products=[{"id": "102", "name": "Rival Firewall"}]))
    assert world.query("SELECT PeerSpot_External_Id__c FROM PeerSpot_Activity_Product__c") == [
        {"PeerSpot_External_Id__c": "act-1:102"}
    ]


def test_a_refused_match_is_tried_again_on_the_next_run(world: World, pipeline: Intent) -> None:
    pipeline.run(activity(domain="late.com"))
    (account,) = world.insert("Account", {"Name": "Late", "Website": "late.com"})
    world.salesforce_fault(
        kind="row", path="PeerSpot_Activity__c", code="FIELD_CUSTOM_VALIDATION_EXCEPTION", message="closed for today"
    )
    assert pipeline.process() == Counts(read=1, rejected=1)
    assert pipeline.process() == Counts(read=1, updated=1)
    assert world.query("SELECT Account__c FROM PeerSpot_Activity__c") == [{"Account__c": account}]


def test_an_account_that_vanished_without_a_trace_is_not_offered_again(world: World, pipeline: Intent) -> None:
    (account,) = world.insert("Account", {"Name": "Acme", "Website": "acme.com"})
    pipeline.process()
    world.org.dml.delete(world.org.schema.objects["Account"], [account], hard=True)
    world.org.clock.shift(25 * 3_600)  # an org shows it no more
    pipeline.take([activity()])
    assert pipeline.process() == Counts(read=1, rejected=1)
    assert pipeline.process().updated == 1
    assert world.query("SELECT Account__c, Error__c FROM PeerSpot_Activity__c") == [
        {"Account__c": None, "Error__c": DOMAIN_NOT_FOUND}
    ]


def test_all_accounts_are_read_again_every_week(
    world: World, pipeline: Intent, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = world.insert("Account", {"Name": "Acme", "Website": "acme.com"})
    pipeline.run(activity())
    world.org.dml.delete(world.org.schema.objects["Account"], [account], hard=True)
    world.org.clock.shift(25 * 3_600)  # an org shows it no more
    monkeypatch.setattr("salesforce_sync.engine.mirror.FULL_EVERY", timedelta(0))
    assert pipeline.process() == Counts(read=1, updated=1)
    assert world.query("SELECT Error__c FROM PeerSpot_Activity__c") == [{"Error__c": DOMAIN_NOT_FOUND}]


def test_a_new_state_database_still_matches_what_an_earlier_one_left_unmatched(
    world: World, pipeline: Intent, tmp_path: Path
) -> None:
    pipeline.run(activity(domain="late.com"))
    pipeline.state_url = f"sqlite:///{tmp_path / 'another.db'}"
    pipeline.process()
    (account,) = world.insert("Account", {"Name": "Late", "Website": "late.com"})
    pipeline.process()
    assert world.query("SELECT Account__c FROM PeerSpot_Activity__c") == [{"Account__c": account}]


@pytest.mark.requirement("PS-29")
def test_a_run_says_when_no_product_is_marked_as_ones_own(world: World, pipeline: Intent) -> None:
    pipeline.run(activity(1))
    world.update(
        "PeerSpot_Vendor_Product__c",
        world.query("SELECT Id FROM PeerSpot_Vendor_Product__c")[0] | {"My_Company_Product__c": True},
    )
    pipeline.run_id = "run-2"
    pipeline.run(activity(2))
    with open_state(pipeline.state_url).connect() as connection:
        messages = [
            [
                step["message"]
                for step in runs.of_dag_run(connection, "peerspot_intent", run_id)
                if step["step"] == "peerspot/process"
            ]
            for run_id in ("run-1", "run-2")
        ]
    assert "No Vendor Product is marked as My Company Product" in messages[0][0]
    assert "No Vendor Product" not in messages[1][0]


def test_long_lists_of_domains_go_in_several_queries() -> None:
    lists = list(in_lists([f"{'d' * 50}{number}.com" for number in range(300)]))
    assert sum(listed.count(".com'") for listed in lists) == 300
    assert max(len(quote(listed)) for listed in lists) <= 8_000
    assert list(in_lists([])) == []


# -- the cleaner ------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("PS-27")
def test_the_cleaner_deletes_what_is_strictly_older_than_the_retention(world: World, pipeline_on_both: Intent) -> None:
    pipeline_on_both.run(
        activity(1, day=date(2026, 5, 24)),  # 181 days before 21 November
        activity(2, day=date(2026, 5, 25)),  # 180 days
        activity(3, day=date(2026, 11, 20)),
    )
    assert pipeline_on_both.clean(days=180) == Counts(read=1, deleted=1)
    kept = world.query("SELECT PeerSpot_External_Id__c FROM PeerSpot_Activity__c ORDER BY PeerSpot_External_Id__c")
    assert [row["PeerSpot_External_Id__c"] for row in kept] == ["act-2", "act-3"]
    assert world.count("PeerSpot_Activity_Product__c") == 2


def test_a_cleaned_activity_that_is_extracted_again_is_created_again(world: World, pipeline: Intent) -> None:
    pipeline.run(activity(1, day=date(2026, 1, 1)))
    pipeline.clean()
    assert pipeline.run(activity(1, day=date(2026, 1, 1))).total == Counts(read=1, created=1)


def test_every_dag_keeps_the_sync_logs_retention(world: World, pipeline: Intent) -> None:
    pipeline.run(activity())
    now = datetime.now(UTC)
    assert pipeline.keep_house(now=now, log_days=1)
    with open_state(pipeline.state_url).connect() as connection:
        assert len(sync_log.of_record(connection, "act-1")) == 2
    assert not pipeline.keep_house(now=now + timedelta(minutes=59), log_days=1)
    assert pipeline.keep_house(now=now + timedelta(days=3), log_days=1)
    with open_state(pipeline.state_url).connect() as connection:
        assert sync_log.of_record(connection, "act-1") == []
        assert len(runs.of_dag_run(connection, "peerspot_intent", "run-1")) > 0


# -- refused records --------------------------------------------------------------------------------------------------------------


def test_one_malformed_record_among_many_is_dead_lettered_and_the_others_land(
    world: World, pipeline_on_both: Intent
) -> None:
    records = [activity(number) for number in range(1, 200)] + [activity(200, pages_visited="many")]
    assert pipeline_on_both.run(*records).total == Counts(read=200, created=199, rejected=1)
    with open_state(pipeline_on_both.state_url).connect() as connection:
        (letter,) = dead_letters.unresolved(connection)
    assert (letter["record_id"], letter["code"], letter["attempts"]) == ("act-200", "UNMAPPABLE", 1)
    assert letter["message"] == "pages_visited 'many' is not a valid double for Pages_Visited__c"
    assert '"pages_visited":"many"' in letter["payload"]


def test_a_dead_letter_counts_its_attempts_and_is_resolved_when_the_record_is_delivered(
    world: World, pipeline_on_both: Intent
) -> None:
    for run_id in ("run-1", "run-2"):
        pipeline_on_both.run_id = run_id
        pipeline_on_both.run(activity(pages_visited="many"))
    with open_state(pipeline_on_both.state_url).connect() as connection:
        assert [letter["attempts"] for letter in dead_letters.unresolved(connection)] == [2]
    pipeline_on_both.run(activity())
    with open_state(pipeline_on_both.state_url).connect() as connection:
        assert dead_letters.unresolved(connection) == []


def test_a_record_that_salesforce_refuses_is_dead_lettered_with_its_content(world: World, pipeline: Intent) -> None:
    world.salesforce_fault(
        kind="row",
        path="PeerSpot_Activity__c",
        share=0.5,
        code="FIELD_CUSTOM_VALIDATION_EXCEPTION",
        message="Not on Sundays",
    )
    loaded = pipeline.take([activity(number) for number in range(4)])
    assert loaded.total == Counts(read=4, created=2, rejected=2)
    with open_state(pipeline.state_url).connect() as connection:
        letters = dead_letters.unresolved(connection)
    assert [(letter["record_id"], letter["code"], letter["message"]) for letter in letters] == [
        ("act-0", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Not on Sundays"),
        ("act-2", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Not on Sundays"),
    ]
    assert '"company_name":"Acme"' in letters[0]["payload"]


def test_more_refused_records_than_the_limit_fail_the_run_after_the_others_are_saved(
    world: World, pipeline: Intent
) -> None:
    records = [activity(number, pages_visited="many" if number < 21 else 1) for number in range(100)]
    with pytest.raises(TooManyRejects, match=r"21 of 100 records were refused \(the limit is 20\)"):
        pipeline.take(records)
    assert world.count("PeerSpot_Activity__c") == 79
    with open_state(pipeline.state_url).connect() as connection:
        assert len(dead_letters.unresolved(connection)) == 21
        assert watermarks.get(connection, world.client().org_id, ACTIVITIES) == "2026-11-10"


def test_a_malformed_record_that_comes_twice_is_dead_lettered_once(world: World, pipeline_on_both: Intent) -> None:
    bad = activity(pages_visited="many")
    assert pipeline_on_both.run(bad, bad, activity(2)).total == Counts(read=3, created=1, skipped=1, rejected=1)
    with open_state(pipeline_on_both.state_url).connect() as connection:
        assert len(dead_letters.unresolved(connection)) == 1


def test_texts_that_a_database_cannot_hold_are_cleaned(world: World, pipeline_on_both: Intent) -> None:
    odd = activity(1, id="a\0b", domain="ac\0me.com", company_name="Half a pair \ud800", city="\0")
    assert pipeline_on_both.run(odd, activity(2, id=None)).total == Counts(read=2, created=1, rejected=1)
    assert world.query("SELECT PeerSpot_External_Id__c, Company_Name__c, City__c FROM PeerSpot_Activity__c") == [
        {"PeerSpot_External_Id__c": "ab", "Company_Name__c": "Half a pair ?", "City__c": None}
    ]


def test_rows_that_stay_locked_make_the_task_try_again_and_only_they_are_sent(world: World, pipeline: Intent) -> None:
    pipeline.extract([activity(1), activity(2)])
    world.salesforce_fault(kind="row", path="PeerSpot_Activity__c", code="UNABLE_TO_LOCK_ROW", share=0.5, times=3)
    with pytest.raises(RowLocked, match="1 records were refused because Salesforce had them locked"):
        pipeline.load()
    assert world.count("PeerSpot_Activity__c") == 1
    assert pipeline.load().total == Counts(read=1, created=1)


def test_a_record_that_comes_twice_is_written_once_with_its_last_content(world: World, pipeline: Intent) -> None:
    loaded = pipeline.run(activity(1, city="first"), activity(1, city="second"))
    assert loaded.total == Counts(read=2, created=1, skipped=1)
    assert world.query("SELECT City__c FROM PeerSpot_Activity__c") == [{"City__c": "second"}]


def test_a_record_that_comes_again_in_a_later_batch_is_written_with_its_last_content(
    world: World, pipeline: Intent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salesforce_sync.staging.BATCH_ROWS", 2)
    loaded = pipeline.run(activity(1, city="first"), activity(2), activity(1, city="second"), activity(3))
    assert loaded.total == Counts(read=4, created=3, skipped=1)
    assert world.query("SELECT City__c FROM PeerSpot_Activity__c WHERE PeerSpot_External_Id__c = 'act-1'") == [
        {"City__c": "second"}
    ]


def test_ids_that_differ_in_case_only_are_different_records(world: World, pipeline: Intent) -> None:
    assert pipeline.run(activity(1, id="aB"), activity(1, id="Ab")).total == Counts(read=2, created=2)


# -- what is remembered -----------------------------------------------------------------------------------------------------------


def test_every_records_fate_can_be_looked_up(world: World, pipeline_on_both: Intent) -> None:
    pipeline_on_both.run(activity(1), activity(2, pages_visited="many"))
    with open_state(pipeline_on_both.state_url).connect() as connection:
        first = [(entry["step"], entry["outcome"]) for entry in sync_log.of_record(connection, "act-1")]
        second = [(entry["step"], entry["outcome"]) for entry in sync_log.of_record(connection, "act-2")]
    assert first == [("peerspot/process", "updated"), (ACTIVITIES, "created")]
    assert second == [(ACTIVITIES, "rejected")]


def test_an_empty_day_moves_the_watermark_and_costs_one_call(world: World, pipeline: Intent) -> None:
    assert pipeline.take([]).total == Counts()
    assert world.org.usage.used == 1
    with open_state(pipeline.state_url).connect() as connection:
        assert watermarks.get(connection, world.client().org_id, ACTIVITIES) == "2026-11-10"


def test_a_backfill_of_older_days_does_not_move_the_watermark_back(world: World, pipeline: Intent) -> None:
    pipeline.take([activity()], last=date(2026, 11, 10))
    pipeline.take([activity(2)], last=date(2026, 10, 1))
    with open_state(pipeline.state_url).connect() as connection:
        assert watermarks.get(connection, world.client().org_id, ACTIVITIES) == "2026-11-10"


def test_the_state_of_two_orgs_is_kept_apart(pipeline: Intent) -> None:
    engine = open_state(pipeline.state_url)
    pipeline.run(activity())
    org = pipeline.world.client().org_id
    with engine.connect() as connection:
        assert set(links.find(connection, org, ACTIVITIES, ["act-1"])) == {"act-1"}
        assert links.find(connection, "00D000000000001AAA", ACTIVITIES, ["act-1"]) == {}
        assert account_domains.to_recheck(connection, "00D000000000001AAA") == []


def test_runs_count_the_api_calls_that_the_server_counted(world: World, pipeline: Intent) -> None:
    pipeline.run(activity())
    pipeline.clean()
    with open_state(pipeline.state_url).connect() as connection:
        steps = runs.of_dag_run(connection, "peerspot_intent", "run-1")
    assert sum(step["api_calls"] for step in steps) == world.org.usage.used


def test_a_mapping_may_say_where_changes_of_a_converted_lead_go(world: World, pipeline: Intent) -> None:
    from emulators.salesforce.conversion import Conversion, convert_lead

    world.org.change_schema(_with_vendor_id(world))
    mapping = MappingFile.model_validate({
        "version": 1, "summary": "Leads.", "vendor": {"stream": "leads", "id": "id"},
        "salesforce": {"object": "Lead", "external_id": "Vendor_Id__c", "converted": {"object": "Contact", "fields": {"Phone": "Phone"}}},
        "fields": {"LastName": "name", "Company": "company", "Phone": "phone"},
    })  # fmt: skip
    record = {"id": "1", "name": "Jansen", "company": "Acme", "phone": "1"}
    _deliver(pipeline, "test/leads", mapping, record)
    (lead,) = world.query("SELECT Id FROM Lead")
    convert_lead(world.org, Conversion(lead["Id"]))
    loaded = _deliver(pipeline, "test/leads", mapping, record | {"phone": "2"})
    assert loaded.total == Counts(read=1, updated=1)
    assert world.query("SELECT Phone FROM Contact") == [{"Phone": "2"}]


def _deliver(pipeline: Intent, name: str, mapping: MappingFile, *records: dict[str, object]) -> Delivered:
    context = pipeline.context("load")
    with hold(context, Group.to_salesforce(name, mapping).targets) as lease:
        return deliver_made(context, lease, name, mapping, records)


def _with_vendor_id(world: World) -> Schema:
    lead = world.org.schema.objects["Lead"]
    key = Field("Vendor_Id__c", "string", "Vendor Id", length=20, unique=True, external_id=True, custom=True)
    return Schema(world.org.schema.objects | {"Lead": replace(lead, fields=lead.fields | {key.name: key})})
