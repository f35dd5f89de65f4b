"""What tasks share of one org: its session, its API budget, and what waits when the budget is spent."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from emulators.salesforce.schema import Field, Schema
from salesforce_sync.engine.deliver import Delivered
from salesforce_sync.engine.group import Group
from salesforce_sync.engine.lease import hold
from salesforce_sync.engine.to_salesforce import deliver_made, deliver_to_salesforce
from salesforce_sync.errors import (
    AuthenticationFailed,
    BudgetExhausted,
    RateLimited,
    RequestRejected,
)
from salesforce_sync.mapping.model import MappingFile
from salesforce_sync.records import RunIdentity
from salesforce_sync.salesforce.client import SalesforceClient
from salesforce_sync.salesforce.session import Session
from salesforce_sync.salesforce.signin import ClientCredentials
from salesforce_sync.state import api_budget, bulk_jobs, described_objects, inbox
from salesforce_sync.state.api_budget import BudgetRule, UsageReport
from salesforce_sync.state.engine import open_state, reading
from salesforce_sync.state.schema import api_budget as budget_table
from salesforce_sync.state.schema import salesforce_sessions, sync_runs
from salesforce_sync.state.sharing import SharedBudget, SharedDescriptions, SharedSession, TaskJobs
from support.flows import ACTIVITIES, Intent
from support.world import World, activity

ORG = "00D5g0000000001EAA"
NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
FREE = BudgetRule(0, 0)


@pytest.fixture
def state(state_url: str) -> Engine:
    return open_state(state_url)


def _sign_in(world: World) -> ClientCredentials:
    known = world.org.credentials
    return ClientCredentials(world.salesforce_url, known.consumer_key, known.consumer_secret)


def _client(
    world: World, state: Engine, *, rule: BudgetRule = FREE, secret: str = "secret"
) -> tuple[SalesforceClient, SharedBudget]:
    budget = SharedBudget(state, rule)
    session = Session(_sign_in(world), store=SharedSession(state, secret), budget=budget, sleep=lambda _: None)
    return SalesforceClient(session), budget


# -- the session ------------------------------------------------------------------------------------------------------------------


def test_many_tasks_sign_in_once(world: World, state: Engine) -> None:
    clients = [_client(world, state)[0] for _ in range(6)]
    threads = [threading.Thread(target=client.count, args=("Account",)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (world.org.usage.logins, world.org.usage.used) == (1, 6)


def test_a_session_that_expired_is_renewed_once_for_all(world: World, state: Engine) -> None:
    first, second = _client(world, state)[0], _client(world, state)[0]
    first.count("Account"), second.count("Account")
    world.org.expire_sessions()
    first.count("Account"), second.count("Account")
    assert world.org.usage.logins == 2


def test_the_stored_session_is_of_no_use_without_the_credentials(world: World, state: Engine) -> None:
    client = _client(world, state)[0]
    client.count("Account")
    with reading(state) as connection:
        sealed = connection.execute(select(salesforce_sessions.c.sealed)).scalar_one()
    assert client.session.opened.token not in sealed
    assert "instance_url" not in sealed
    _client(world, state, secret="other")[0].count("Account")
    assert world.org.usage.logins == 2


def test_other_credentials_do_not_get_a_session_by_mistake(world: World, state: Engine) -> None:
    _client(world, state)[0].count("Account")
    wrong = ClientCredentials(world.salesforce_url, world.org.credentials.consumer_key, "wrong")
    with pytest.raises(AuthenticationFailed):
        SalesforceClient(Session(wrong, store=SharedSession(state, "wrong"))).count("Account")


def test_too_many_logins_within_an_hour_wait(world: World, state: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_budget, "LOGINS_PER_HOUR", 1)
    _client(world, state)[0].count("Account")
    world.org.expire_sessions()
    with pytest.raises(RateLimited):
        _client(world, state)[0].count("Account")


# -- the budget -------------------------------------------------------------------------------------------------------------------


def test_a_reserve_is_left_for_people(state: Engine) -> None:
    with state.begin() as connection:
        api_budget.settle(connection, ORG, made=0, unused=0, report=UsageReport(75, 100, NOW), now=NOW)
        assert api_budget.take(connection, ORG, 10, BudgetRule(20, 0), NOW) == 5
        assert api_budget.take(connection, ORG, 10, BudgetRule(20, 0), NOW) == 0
        assert api_budget.take(connection, ORG, 10, BudgetRule(0, 0), NOW) == 10


@pytest.mark.requirement("DQ-09", "DQ-A2")
def test_an_hour_has_its_own_limit_and_a_new_hour_begins_at_nothing(state: Engine) -> None:
    with state.begin() as connection:
        assert api_budget.take(connection, ORG, 10, BudgetRule(0, 15), NOW) == 1  # nothing is known of the org yet
        api_budget.settle(connection, ORG, made=1, unused=0, report=UsageReport(1, 1_000, NOW), now=NOW)
        assert api_budget.take(connection, ORG, 9, BudgetRule(0, 15), NOW) == 9
        assert api_budget.take(connection, ORG, 10, BudgetRule(0, 15), NOW) == 5
        assert api_budget.take(connection, ORG, 10, BudgetRule(0, 15), NOW + timedelta(minutes=29)) == 0
        assert api_budget.take(connection, ORG, 10, BudgetRule(0, 15), NOW + timedelta(minutes=30)) == 10


def test_what_was_taken_and_not_used_comes_back(world: World, state: Engine) -> None:
    client, budget = _client(world, state, rule=BudgetRule(0, 20))
    client.count("Account")
    budget.close()
    with reading(state) as connection:
        assert connection.execute(select(budget_table.c.used, budget_table.c.hour_calls)).one() == (1, 1)


def test_no_call_is_made_above_the_budget_by_all_tasks_together(world: World, state: Engine) -> None:
    world.org.usage.limit = 100
    made = []

    def work() -> None:
        client, budget = _client(world, state, rule=BudgetRule(50, 0))
        try:
            for _ in range(60):
                client.count("Account")
                made.append(1)
        except BudgetExhausted:
            budget.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) <= 50
    assert len(made) >= 20


def test_a_task_with_a_share_of_the_budget_leaves_the_rest_to_others(state: Engine) -> None:
    with state.begin() as connection:
        api_budget.settle(connection, ORG, made=0, unused=0, report=UsageReport(0, 1_000, NOW), now=NOW)
        assert api_budget.take(connection, ORG, 500, BudgetRule(50, 0, share_percent=80), NOW) == 400
        assert api_budget.take(connection, ORG, 1, BudgetRule(50, 0, share_percent=80), NOW) == 0
        assert api_budget.take(connection, ORG, 500, BudgetRule(50, 0), NOW) == 100


# -- descriptions -----------------------------------------------------------------------------------------------------------------


def _describing(world: World, state: Engine, secret: str = "secret") -> SalesforceClient:
    return SalesforceClient(Session(_sign_in(world)), descriptions=SharedDescriptions(state, secret))


def test_an_object_is_described_once_for_all_tasks(world: World, state: Engine) -> None:
    first = _describing(world, state).describe(["Account", "Lead", "Nothing__c"])
    second = _describing(world, state)
    assert second.describe(["Lead", "Account"]) == {"Account": first["Account"], "Lead": first["Lead"]}
    assert second.calls == 0
    assert second.describe(["Nothing__c"]) == {"Nothing__c": None}
    assert second.calls == 1  # what is not there is asked for again


def test_other_credentials_see_their_own_descriptions(world: World, state: Engine) -> None:
    _describing(world, state).describe(["Account"])
    other = _describing(world, state, "other")
    other.describe(["Account"])
    assert other.calls == 1


def test_a_description_is_believed_for_an_hour(world: World, state: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    _describing(world, state).describe(["Account"])
    monkeypatch.setattr(described_objects, "BELIEVED", timedelta(0))
    later = _describing(world, state)
    later.describe(["Account"])
    assert later.calls == 1


def test_a_field_that_is_new_to_what_was_stored_is_asked_for(world: World, state: Engine) -> None:
    _describing(world, state).describe(["Account"])
    new = Field("New__c", "string", "New", length=20, custom=True)
    objects = world.org.schema.objects
    account = objects["Account"]
    world.org.change_schema(
        Schema({**objects, "Account": dataclasses.replace(account, fields={**account.fields, "New__c": new})})
    )
    world.insert("Account", {"Name": "Acme", "New__c": "x"})
    client = _describing(world, state)
    assert [row["New__c"] for table in client.read("SELECT New__c FROM Account") for row in table.to_pylist()] == ["x"]
    with pytest.raises(RequestRejected, match="no field 'Missing__c'"):
        list(client.read("SELECT Missing__c FROM Account"))


def _with_tiers(world: World, *tiers: str) -> None:
    """Accounts get a key of a vendor, and a picklist of these values that takes no other."""
    objects = world.org.schema.objects
    added = {
        "Tier__c": Field("Tier__c", "picklist", "Tier", length=40, restricted=True, values=tiers, custom=True),
        "Vendor_Id__c": Field(
            "Vendor_Id__c", "string", "Vendor", length=20, external_id=True, unique=True, custom=True
        ),
    }
    account = dataclasses.replace(objects["Account"], fields={**objects["Account"].fields, **added})
    world.org.change_schema(Schema({**objects, "Account": account}))


def test_a_picklist_value_that_was_added_within_the_hour_is_not_refused(
    world: World, state_url: str, tmp_path: Path
) -> None:
    pipeline, name = Intent(world, state_url, tmp_path), "test/accounts"
    mapping = MappingFile.model_validate({
        "version": 1, "summary": "Accounts.", "vendor": {"stream": "accounts", "id": "id"},
        "salesforce": {"object": "Account", "external_id": "Vendor_Id__c"}, "fields": {"Name": "name", "Tier__c": "tier"},
    })  # fmt: skip

    def deliver(number: int, tier: str) -> Delivered:
        context = dataclasses.replace(pipeline.context("load"), client=_describing(world, open_state(state_url)))
        record = {"id": str(number), "name": "Acme", "tier": tier}
        with hold(context, Group.to_salesforce(name, mapping).targets) as lease:
            return deliver_made(context, lease, name, mapping, [record])

    _with_tiers(world, "Gold")
    assert deliver(1, "Gold").total.created == 1
    _with_tiers(world, "Gold", "Silver")
    assert deliver(2, "silver").total.created == 1
    assert {row["Tier__c"] for row in world.query("SELECT Tier__c FROM Account")} == {"Gold", "Silver"}
    before = world.org.usage.by_route["POST /composite"]
    assert deliver(3, "Bronze").total.rejected == 1
    assert world.org.usage.by_route["POST /composite"] == before + 1  # the org was asked once more


# -- what waits -------------------------------------------------------------------------------------------------------


def _load(pipeline: Intent, records: list[dict[str, object]], *, run_id: str, per_hour: int) -> Delivered:
    pipeline.run_id = run_id
    pipeline.extract(records)
    state = open_state(pipeline.state_url)
    client, budget = _client(pipeline.world, state, rule=BudgetRule(0, per_hour))
    context = dataclasses.replace(pipeline.context("load"), client=client)
    try:
        return deliver_to_salesforce(context, ACTIVITIES, pipeline.mapping)
    finally:
        budget.close()


def _waiting(state_url: str) -> int:
    """How many rows have no outcome yet."""
    with reading(open_state(state_url)) as connection:
        return sum(int(batch.open_rows.sum()) for batch in inbox.waiting(connection, ORG, [ACTIVITIES]))


def test_what_the_budget_does_not_cover_waits_and_is_loaded_by_later_runs_in_order(
    world: World, state_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Intent(world, state_url, tmp_path)
    monkeypatch.setattr("salesforce_sync.staging.BATCH_ROWS", 100)
    monkeypatch.setattr("salesforce_sync.salesforce.rows.JOB_ROWS", 100)
    _load(pipeline, [activity(number) for number in range(500)], run_id="run-1", per_hour=3)
    assert (_waiting(state_url), world.count("PeerSpot_Activity__c")) == (300, 200)  # one call describes, two write
    _load(pipeline, [activity(number) for number in range(500, 600)], run_id="run-2", per_hour=3)
    assert _waiting(state_url) == 400  # nothing is left of this hour
    with open_state(state_url).begin() as connection:
        connection.execute(budget_table.update().values(hour=NOW - timedelta(days=1)))
    _load(pipeline, [], run_id="run-3", per_hour=100)
    assert (_waiting(state_url), world.count("PeerSpot_Activity__c")) == (0, 600)
    with reading(open_state(state_url)) as connection:
        query = select(sync_runs.c.run_id, sync_runs.c.status).where(sync_runs.c.task_id == "load")
        statuses = connection.execute(query.order_by(sync_runs.c.id)).all()
    assert statuses == [("run-1", "limited"), ("run-2", "limited"), ("run-3", "success")]


def test_batches_that_wait_are_not_swept(pipeline: Intent) -> None:
    pipeline.extract([activity(1)])
    with reading(open_state(pipeline.state_url)) as connection:
        (kept,) = inbox.paths_in_use(connection)
    pipeline.load()
    pipeline.extract([activity(2)])
    with reading(open_state(pipeline.state_url)) as connection:
        (waiting,) = inbox.paths_in_use(connection)
    assert pipeline.keep_house(now=datetime.now(UTC) + timedelta(days=8))
    assert (Path(kept).exists(), Path(waiting).exists()) == (False, True)


# -- jobs -------------------------------------------------------------------------------------------------------------------------


def test_a_job_is_taken_up_by_the_same_task_only_and_not_for_ever(
    state: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunIdentity("dag", "run-1", "load")
    TaskJobs(state, run).remember("content", "750000000000001AAA")
    assert TaskJobs(state, RunIdentity("dag", "run-1", "load", 2)).find("content") == "750000000000001AAA"
    assert TaskJobs(state, RunIdentity("dag", "run-2", "load")).find("content") is None
    monkeypatch.setattr(bulk_jobs, "KEPT", timedelta(seconds=-1))
    assert TaskJobs(state, run).find("content") is None


def test_rows_that_one_try_sends_twice_are_sent_twice(state: Engine) -> None:
    jobs = TaskJobs(state, RunIdentity("dag", "run-1", "load"))
    jobs.remember("content", "750000000000001AAA")
    assert jobs.find("content") is None
    retry = TaskJobs(state, RunIdentity("dag", "run-1", "load", 2))
    assert [retry.find("content"), retry.find("content")] == ["750000000000001AAA", None]
