"""Metrics become fields of the Accounts that they are of: found by id or by another field, written when they changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from emulators.salesforce.schema import Schema
from salesforce_sync.engine.context import Brakes, Timing
from salesforce_sync.errors import CallsMayLand, InvalidMapping, RowLocked, ServiceUnavailable, TooManyRejects
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.state import inbox, links, plans, sync_log, watermarks
from support.flows import Metrics, load_mapping, patiently
from support.world import World

NAME = "preact/account_metrics"
FIELDS = (
    "Preact_Account_Id__c, Preact_Active_Users_Month__c, Preact_Active_Users_Week__c, Preact_Activity_Score_Label__c, "
    "Preact_Activity_Score_Value__c, Preact_Health_Score_Label__c, Preact_Health_Score_Value__c, Preact_Last_Activity_Date__c, "
    "Preact_NPS_Last_Update_Date__c, Preact_NPS_Response_Count__c, Preact_NPS_Score__c"
)


def _account(world: World, name: str = "Acme", **fields: Any) -> str:
    return world.insert("Account", {"Name": name, **fields})[0]


def _metrics(identity: str, number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "preact_account_id": f"pa-{number}", "external_identifier": identity, "active_users_month": 40, "active_users_week": 12,
        "activity_score_label": "High", "activity_score": 78, "health_score_label": "Good", "health_score": 82,
        "last_activity_at": "2026-11-20T09:00:00Z", "nps_updated_at": "2026-11-01", "nps_response_count": 3, "nps_score": 9.5,
    } | changes  # fmt: skip


def _of(account: str, world: World, fields: str = FIELDS) -> dict[str, Any]:
    (found,) = world.query(f"SELECT {fields} FROM Account WHERE Id = '{account}'")
    return found


def _scores(world: World, *accounts: str) -> list[Any]:
    score = "Preact_Health_Score_Value__c"
    return [_of(account, world, score)[score] for account in accounts]


def _found_by(name: str, vendor: str = "external_identifier", missing: str = "refuse", base: str = NAME) -> MappingFile:
    mapping = load_mapping(base)
    raw = mapping.salesforce.model_dump() | {"find_by": {"field": name, "vendor": vendor, "missing": missing}}
    return mapping.model_copy(update={"salesforce": type(mapping.salesforce).model_validate(raw)})


@dataclass
class Records:
    """A source that has these records; it fails after `fails_after` of them."""

    records: list[dict[str, Any]] = field(default_factory=list)
    fails_after: int | None = None
    per_page: int = 3

    def whole(self, stream: str, paths: Sequence[str], *, also: Sequence[str] = ()) -> Iterator[Columns]:
        for start in range(0, len(self.records), self.per_page):
            if self.fails_after is not None and start >= self.fails_after:
                raise ServiceUnavailable("the source broke off")
            yield Columns.of(self.records[start : start + self.per_page], paths)


@pytest.mark.requirement("PR-09")
def test_the_twelve_fields_of_an_account_are_written_once_and_what_changes_later_alone(
    world: World, metrics: Metrics
) -> None:
    account = _account(world)
    world.preact.report("accounts", _metrics(account))
    assert metrics().updated == 1
    assert _of(account, world) == {
        "Preact_Account_Id__c": "pa-1", "Preact_Active_Users_Month__c": 40, "Preact_Active_Users_Week__c": 12,
        "Preact_Activity_Score_Label__c": "High", "Preact_Activity_Score_Value__c": 78, "Preact_Health_Score_Label__c": "Good",
        "Preact_Health_Score_Value__c": 82, "Preact_Last_Activity_Date__c": "2026-11-20",
        "Preact_NPS_Last_Update_Date__c": "2026-11-01", "Preact_NPS_Response_Count__c": 3, "Preact_NPS_Score__c": 9.5,
    }  # fmt: skip
    writes = world.org.usage.by_route.copy()
    again = metrics()
    assert (again.updated, again.unchanged) == (0, 1)
    assert {name for name, count in world.org.usage.by_route.items() if count != writes[name]} <= {
        "POST /services/oauth2/token"
    }
    world.preact.report("accounts", _metrics(account, health_score=30, health_score_label="Poor"))
    assert metrics().updated == 1
    assert _of(account, world, "Preact_Health_Score_Label__c, Preact_Health_Score_Value__c") == {
        "Preact_Health_Score_Label__c": "Poor", "Preact_Health_Score_Value__c": 30,
    }  # fmt: skip


@pytest.mark.requirement("PR-10", "PR-A2")
def test_the_nine_fields_of_a_contact_are_written(world: World, metrics: Metrics) -> None:
    (contact,) = world.insert("Contact", {"LastName": "Vos", "Email": "vos@example.invalid"})
    metrics.name = "preact/person_metrics"
    record = {name: value for name, value in _metrics(contact).items() if not name.startswith(("active_", "preact_"))}
    world.preact.report("people", record | {"preact_person_id": "pp-1", "email": "vos@example.invalid"})
    assert metrics().updated == 1
    names = [name for name in load_mapping(metrics.name).fields if not name.endswith("Sync_Date__c")]
    (found,) = world.query(f"SELECT {', '.join(names)} FROM Contact")
    assert found == {
        "Preact_Person_Id__c": "pp-1", "Preact_Activity_Score_Label__c": "High", "Preact_Activity_Score_Value__c": 78,
        "Preact_Health_Score_Label__c": "Good", "Preact_Health_Score_Value__c": 82, "Preact_Last_Activity_Date__c": "2026-11-20",
        "Preact_NPS_Last_Update_Date__c": "2026-11-01", "Preact_NPS_Score__c": 9.5,
    }  # fmt: skip


@pytest.mark.requirement("PR-A4")
def test_the_sync_date_moves_with_a_change_or_on_a_heartbeat_and_makes_none_itself(
    world: World, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = _account(world)
    world.preact.report("accounts", _metrics(account))

    def synced() -> str:
        return str(_of(account, world, "Preact_Last_Sync_Date__c")["Preact_Last_Sync_Date__c"])

    metrics()
    first = synced()
    assert abs(datetime.fromisoformat(first) - datetime.now(UTC)) < timedelta(minutes=5)
    metrics(heartbeat_days=1)
    assert synced() == first
    org = metrics.world.client().org_id
    with metrics.state.begin() as connection:
        yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        watermarks.take_back(connection, org, f"{NAME}/heartbeat", yesterday)
    with world.org.store.writing() as connection:
        connection.execute("UPDATE \"Account\" SET Preact_Last_Sync_Date__c = '2026-01-01T00:00:00.000Z'")
    assert metrics(heartbeat_days=1).updated == 1
    assert synced() >= first
    assert metrics(heartbeat_days=1).unchanged == 1


@pytest.mark.requirement("PR-12")
def test_accounts_are_found_by_another_field_and_followed_when_it_moves(world: World, metrics: Metrics) -> None:
    metrics.mapping = _found_by("AccountNumber")
    first, second = _account(world, "First", AccountNumber="C-17"), _account(world, "Second")
    world.preact.report("accounts", _metrics("c-17"))
    assert metrics().updated == 1
    assert _of(first, world, "Preact_Health_Score_Value__c")["Preact_Health_Score_Value__c"] == 82
    world.update("Account", {"Id": first, "AccountNumber": None}, {"Id": second, "AccountNumber": "C-17"})
    world.later(600)
    assert metrics().updated == 1  # nothing changed at Preact
    assert _scores(world, first, second) == [82, 82]  # what was there stays, and the log says so
    with metrics.state.connect() as connection:
        ((code, message),) = {
            (row["code"], row["message"]) for row in sync_log.of_record(connection, "pa-1") if row["code"]
        }
    assert (code, message) == ("MOVED", f"it was {first} before, which keeps its last values")
    assert metrics().unchanged == 1


@pytest.mark.requirement("PR-12")
def test_an_id_that_several_accounts_have_is_refused_with_their_ids_also_when_they_come_to_it_later(
    world: World, metrics: Metrics
) -> None:
    metrics.mapping = _found_by("AccountNumber")
    first = _account(world, "First", AccountNumber="C-17")
    world.preact.report("accounts", _metrics("C-17"))
    assert metrics().updated == 1
    second = _account(world, "Second", AccountNumber="c-17")
    world.later(600)
    assert metrics().rejected == 1
    code, message = metrics.refused()["pa-1"]
    assert code == "SEVERAL_MATCHES"
    assert {first, second} <= set(message.replace(",", " ").split())
    world.delete("Account", second)
    world.later(600)
    assert metrics().updated == 1
    assert metrics.refused() == {}


def test_an_id_that_no_account_has_is_refused_or_skipped_and_matched_when_one_has_it(
    world: World, metrics: Metrics
) -> None:
    metrics.mapping = _found_by("AccountNumber")
    world.preact.report("accounts", _metrics("C-17"), _metrics("", 2))
    assert metrics().rejected == 2
    assert {code for code, _ in metrics.refused().values()} == {"NO_MATCH"}
    metrics.mapping = _found_by("AccountNumber", missing="skip")
    assert metrics().skipped == 2
    account = _account(world, AccountNumber="C-17")
    world.later(600)
    counts = metrics()
    assert (counts.updated, counts.skipped) == (1, 1)
    assert _of(account, world, "Preact_Account_Id__c")["Preact_Account_Id__c"] == "pa-1"


def test_two_records_that_name_one_account_are_both_refused_until_one_of_them_is_gone(
    world: World, metrics: Metrics
) -> None:
    account = _account(world)
    source = metrics.source = Records(
        [_metrics(account, 1), *(_metrics(_account(world, f"A{n}"), n) for n in range(2, 8)), _metrics(account[:15], 9)]
    )
    counts = metrics()
    assert (counts.updated, counts.rejected) == (6, 2)
    assert {name: code for name, (code, _) in metrics.refused().items()} == {
        "pa-1": "SEVERAL_RECORDS", "pa-9": "SEVERAL_RECORDS",
    }  # fmt: skip
    assert "pa-9" in metrics.refused()["pa-1"][1]
    source.records.pop()
    assert metrics().updated == 1
    assert metrics.refused() == {}


def test_a_score_that_is_no_number_is_refused_by_itself(world: World, metrics: Metrics) -> None:
    accounts = [_account(world, f"A{number}") for number in range(3)]
    records = [_metrics(account, number) for number, account in enumerate(accounts)]
    metrics.source = Records([*records[:2], records[2] | {"health_score": "n/a"}])
    counts = metrics()
    assert (counts.updated, counts.rejected) == (2, 1)
    assert metrics.refused()["pa-2"] == (
        "UNMAPPABLE", "health_score 'n/a' is not a valid double for Preact_Health_Score_Value__c",
    )  # fmt: skip


def test_a_record_without_an_id_of_its_own_is_refused(world: World, metrics: Metrics) -> None:
    metrics.source = Records([_metrics(_account(world), preact_account_id=None)])
    assert metrics().rejected == 1
    ((code, message),) = metrics.refused().values()
    assert (code, message) == ("UNMAPPABLE", "preact_account_id is missing, and it is the record's id")


def test_a_source_that_breaks_off_leaves_nothing_behind(world: World, metrics: Metrics) -> None:
    accounts = [_account(world, f"A{number}") for number in range(9)]
    source = metrics.source = Records([_metrics(account, number) for number, account in enumerate(accounts)], 6)
    with pytest.raises(ServiceUnavailable):
        metrics()
    with metrics.state.connect() as connection:
        assert inbox.waiting(connection, world.client().org_id, [NAME]) == []
    source.fails_after = None
    assert metrics().updated == 9


def test_a_field_that_the_integration_user_may_not_edit_stops_before_anything_is_written(
    world: World, metrics: Metrics
) -> None:
    account = _account(world)
    world.preact.report("accounts", _metrics(account))
    objects = world.org.schema.objects
    hidden = replace(objects["Account"].fields["Preact_NPS_Score__c"], updateable=False)
    fields = {**objects["Account"].fields, "Preact_NPS_Score__c": hidden}
    world.org.change_schema(Schema({**objects, "Account": replace(objects["Account"], fields=fields)}))
    with pytest.raises(
        InvalidMapping, match=r"Account\.Preact_NPS_Score__c may not be updated by the integration user"
    ):
        metrics()
    assert _of(account, world, "Preact_Account_Id__c")["Preact_Account_Id__c"] is None


def test_a_deleted_account_refuses_its_record_and_the_next_runs_try_it_again(world: World, metrics: Metrics) -> None:
    account = _account(world)
    world.preact.report("accounts", _metrics(account))
    metrics()
    world.delete("Account", account)
    world.preact.report("accounts", _metrics(account, health_score=10))
    assert metrics().rejected == 1
    assert metrics.refused()["pa-1"][0] == "ENTITY_IS_DELETED"
    assert metrics().rejected == 1


def test_more_than_a_hundred_first_records_wait_for_a_person_and_go_when_one_lets_them(
    world: World, metrics: Metrics
) -> None:
    from salesforce_sync.engine.control import decide
    from salesforce_sync.errors import HeldBack

    accounts = world.insert("Account", *({"Name": f"A{number}"} for number in range(120)))
    metrics.source = Records([_metrics(account, number) for number, account in enumerate(accounts)], per_page=50)
    metrics.brakes = Brakes(first_contact=100)
    with pytest.raises(HeldBack):
        metrics()
    with metrics.state.connect() as connection:
        (plan,) = plans.with_status(connection, plans.HELD)
    decide(metrics.context("control", client=False), plan.id, allow=True, person="somebody")
    assert metrics.load().updated == 120


def test_an_approved_plan_is_written_although_its_stamp_is_another_by_then(world: World, metrics: Metrics) -> None:
    from salesforce_sync.engine.control import decide

    account = _account(world)
    world.preact.report("accounts", _metrics(account))
    metrics.brakes = Brakes(approve=True)
    metrics()
    assert _of(account, world, "Preact_Account_Id__c")["Preact_Account_Id__c"] is None
    with metrics.state.connect() as connection:
        (plan,) = plans.with_status(connection, plans.HELD)
    decide(metrics.context("control", client=False), plan.id, allow=True, person="somebody")
    assert metrics.load().updated == 1
    assert _of(account, world, "Preact_Account_Id__c")["Preact_Account_Id__c"] == "pa-1"


def test_a_record_whose_account_is_deleted_for_good_is_looked_at_again(world: World, metrics: Metrics) -> None:
    """With a weekly reading of all Accounts the mirror forgets what no change told of."""
    metrics.mapping = _found_by("AccountNumber")
    first = _account(world, "First", AccountNumber="C-17")
    world.preact.report("accounts", _metrics("C-17"))
    metrics()
    with world.org.store.writing() as connection:
        connection.execute(f"DELETE FROM \"Account\" WHERE Id = '{first}'")
    second = _account(world, "Second", AccountNumber="C-17")
    org = world.client().org_id
    with metrics.state.begin() as connection:
        stream = f"salesforce/{NAME}.AccountNumber.full"
        watermarks.take_back(connection, org, stream, (datetime.now(UTC) - timedelta(days=8)).isoformat())
    assert metrics().updated == 1
    with metrics.state.connect() as connection:
        assert links.find(connection, org, NAME, ["pa-1"])["pa-1"].salesforce_id == second


def test_a_date_is_that_of_utc(world: World, metrics: Metrics) -> None:
    account = _account(world)
    metrics.source = Records([_metrics(account, last_activity_at="2026-11-20T23:30:00-05:00", nps_updated_at=None)])
    metrics()
    found = _of(account, world, "Preact_Last_Activity_Date__c, Preact_NPS_Last_Update_Date__c")
    assert found == {
        "Preact_Last_Activity_Date__c": date(2026, 11, 21).isoformat(),
        "Preact_NPS_Last_Update_Date__c": None,
    }


def test_too_many_refusals_fail_the_run_and_keep_what_was_saved(world: World, metrics: Metrics) -> None:
    accounts = world.insert("Account", *({"Name": f"A{number}"} for number in range(30)))
    records = [_metrics(account, number) for number, account in enumerate(accounts)]
    metrics.source = Records([*records, *(_metrics("none", 100 + number) for number in range(25))])
    with pytest.raises(TooManyRejects):
        metrics()
    found = world.query("SELECT Id FROM Account WHERE Preact_Account_Id__c != null")
    assert len(found) == 30


# -- odd orders of events ----------------------------------------------------------------------------------------------


def test_two_records_swap_their_accounts(world: World, metrics: Metrics) -> None:
    first, second = _account(world, "First"), _account(world, "Second")
    source = metrics.source = Records([_metrics(first, 1, health_score=11), _metrics(second, 2, health_score=22)])
    metrics()
    source.records = [_metrics(second, 1, health_score=11), _metrics(first, 2, health_score=22)]
    assert metrics().updated == 2
    assert _scores(world, first, second) == [22, 11]


def test_a_call_that_may_still_land_keeps_another_record_from_its_account(world: World, metrics: Metrics) -> None:
    """The answer of pa-1's write is lost; by then pa-2 is that Account."""
    account = _account(world)
    source = metrics.source = Records([_metrics(account, 1, health_score=11)])
    metrics.timing = Timing(rest_seconds=600)
    world.salesforce_fault(kind="reset", method="PATCH", path="composite/sobjects", times=10)
    with pytest.raises(ServiceUnavailable):
        metrics()
    world.org.faults.clear()
    source.records = [_metrics(account, 2, health_score=22)]
    metrics.extract()
    with pytest.raises(CallsMayLand):
        metrics.load()
    assert _scores(world, account) == [None]
    patiently(metrics.extra, metrics.load)
    assert _scores(world, account) == [22]


def test_what_an_earlier_reading_left_does_not_land_over_a_later_one(world: World, metrics: Metrics) -> None:
    account = _account(world)
    source = metrics.source = Records([_metrics(account, 1, health_score=11)])
    world.salesforce_fault(kind="row", path="Account", code="UNABLE_TO_LOCK_ROW", times=9)
    with pytest.raises(RowLocked):
        metrics()
    source.records = [_metrics(account, 2, health_score=22)]
    world.org.faults.clear()
    assert metrics().skipped == 1
    assert _scores(world, account) == [22]
    assert metrics().unchanged == 1


def test_what_was_to_be_sent_again_is_sent_by_the_reading_that_overtakes_it(world: World, metrics: Metrics) -> None:
    account = _account(world)
    metrics.source = Records([_metrics(account, 1)])
    metrics()
    world.update("Account", {"Id": account, "Preact_Health_Score_Value__c": 99})
    metrics.extract(resend=True)
    metrics()
    assert _scores(world, account) == [82]


def test_another_field_to_find_records_by_and_back_again(world: World, metrics: Metrics) -> None:
    first, second = _account(world, "First", AccountNumber="5"), _account(world, "Second", AccountNumber="999", Sic="5")
    world.preact.report("accounts", _metrics("5"))
    for field_name, updated in (("AccountNumber", first), ("Sic", second), ("AccountNumber", first)):
        metrics.mapping = _found_by(field_name)
        metrics()
        with metrics.state.connect() as connection:
            assert links.find(connection, world.client().org_id, NAME, ["pa-1"])["pa-1"].salesforce_id == updated


@pytest.mark.parametrize("change", [str.upper, str.lower])
def test_an_id_that_lost_its_case_is_the_same_one(world: World, metrics: Metrics, change: Any) -> None:
    account = _account(world)
    metrics.source = Records([_metrics(account, 1), _metrics(change(account), 2)])
    assert metrics().rejected == 2
    assert {code for code, _ in metrics.refused().values()} == {"SEVERAL_RECORDS"}


def test_texts_beyond_ascii_are_compared_in_any_case_too(world: World, metrics: Metrics) -> None:
    metrics.mapping = _found_by("AccountNumber")
    _account(world, AccountNumber="ÅRE")
    metrics.source = Records([_metrics("åre", 1), _metrics("Åre", 2), _metrics("Are", 3)])
    counts = metrics()
    assert counts.rejected == 3
    assert {name: code for name, (code, _) in metrics.refused().items()} == {
        "pa-1": "SEVERAL_RECORDS", "pa-2": "SEVERAL_RECORDS", "pa-3": "NO_MATCH",
    }  # fmt: skip


def test_one_record_that_names_two_accounts_in_one_reading_is_refused(world: World, metrics: Metrics) -> None:
    first, second = _account(world, "First"), _account(world, "Second")
    metrics.source = Records([_metrics(first, 1), _metrics(second, 1)])
    counts = metrics()
    assert (counts.updated, counts.rejected) == (0, 1)
    assert metrics.refused()["pa-1"][0] == "SEVERAL_RECORDS"
    metrics.source = Records([_metrics(first, 1), _metrics(first, 1)])  # a page that shifts repeats a record
    assert metrics().updated == 1


def test_a_computed_field_finds_nobody(world: World, metrics: Metrics) -> None:
    objects = world.org.schema.objects
    computed = replace(objects["Account"].fields["AccountNumber"], calculated=True)
    fields = {**objects["Account"].fields, "AccountNumber": computed}
    world.org.change_schema(Schema({**objects, "Account": replace(objects["Account"], fields=fields)}))
    metrics.mapping = _found_by("AccountNumber")
    world.preact.report("accounts", _metrics("C-17"))
    with pytest.raises(InvalidMapping, match=r"AccountNumber is computed by the org"):
        metrics()


def test_addresses_of_people_reach_no_message_of_the_run(world: World, metrics: Metrics) -> None:
    metrics.name = "preact/person_metrics"
    metrics.mapping = _found_by("Email", "email", base=metrics.name)
    metrics.source = Records([{"preact_person_id": f"pp-{n}", "email": f"person{n}@acme.example"} for n in range(30)])
    with pytest.raises(TooManyRejects) as caught:
        metrics()
    assert "@acme.example" not in str(caught.value)
    with metrics.state.connect() as connection:
        kept = connection.exec_driver_sql("SELECT * FROM record_links").fetchall()
    assert "@" not in str(kept)


def test_many_records_with_one_placeholder_cost_no_more_than_others(world: World, metrics: Metrics) -> None:
    metrics.source = Records([_metrics("0", number) for number in range(5_000)], per_page=2_500)
    assert metrics.extract() == 5_000
    with pytest.raises(TooManyRejects):
        metrics.load()
