"""The state database: its migrations, its locking, its clear errors."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from salesforce_sync.errors import InvalidSetting, ServiceUnavailable
from salesforce_sync.records import Outcome, RecordResult, RunIdentity
from salesforce_sync.state import account_domains, dead_letters, engine, links, runs, schema, sync_log, watermarks
from salesforce_sync.state.engine import open_state
from salesforce_sync.state.schema import metadata

ORG = "00D5g0000000001EAA"
RUN = RunIdentity("dag", "run", "task")


def test_the_migrations_make_exactly_the_tables_of_the_schema(state_url: str) -> None:
    with open_state(state_url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert [change for change in compare_metadata(context, metadata) if "alembic_version" not in str(change)] == []


def test_the_newest_migration_is_the_one_that_open_state_looks_for() -> None:
    folder = ScriptDirectory(str(Path(engine.__file__).with_name("migrations")))
    assert folder.get_current_head() == engine.HEAD


def test_several_workers_may_open_a_new_database_at_once(state_url: str) -> None:
    failures: list[Exception] = []

    def work() -> None:
        try:
            engine._open.__wrapped__(state_url)
        except Exception as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("url", ["not a url", "nosuchdatabase://x/y"])
def test_a_url_that_cannot_be_right_is_a_clear_error(url: str) -> None:
    with pytest.raises(InvalidSetting, match="SALESFORCE_SYNC_STATE_URL is not a database URL"):
        open_state(url)


def test_a_database_that_is_not_there_is_a_clear_error_without_the_password() -> None:
    with pytest.raises(ServiceUnavailable, match="cannot be opened") as caught:
        open_state("postgresql+psycopg://user:open-sesame@127.0.0.1:9/nothing")
    assert "sesame" not in str(caught.value)


def test_an_error_of_the_database_shows_no_record(sqlite_url: str) -> None:
    with (
        pytest.raises(DBAPIError, match="SQL parameters hidden") as caught,
        open_state(sqlite_url).begin() as connection,
    ):
        connection.execute(text("INSERT INTO nothing VALUES (:a)"), {"a": "open sesame"})
    assert "open sesame" not in str(caught.value)


def test_a_transaction_that_fails_leaves_nothing(state_url: str) -> None:
    state = open_state(state_url)
    with pytest.raises(ZeroDivisionError), state.begin() as connection:
        watermarks.advance(connection, ORG, "stream", "2026-01-01")
        raise ZeroDivisionError
    with state.connect() as connection:
        assert watermarks.get(connection, ORG, "stream") is None


def test_a_watermark_never_moves_back(state_url: str) -> None:
    with open_state(state_url).begin() as connection:
        assert watermarks.advance(connection, ORG, "stream", "2026-01-02") == "2026-01-02"
        assert watermarks.advance(connection, ORG, "stream", "2026-01-01") == "2026-01-02"
        assert watermarks.advance(connection, ORG, "stream", "2026-01-03") == "2026-01-03"


def test_rows_that_differ_from_what_was_delivered_are_found(state_url: str) -> None:
    saved = RecordResult("a", Outcome.CREATED, "001", fingerprint="f", staged_fingerprint="m", version="b", reading=5)
    with open_state(state_url).begin() as connection:
        links.save(connection, ORG, "m", [saved, saved._replace(record_id="gone", gone=True)])
        asked: list[tuple[tuple[str | None, str, str], bool]] = [
            (("a", "m", "b"), False),
            (("a", "other", "b"), True),
            (("a", "m", "a"), True),  # older than what was delivered
            (("a", "m", "B"), True),  # by code points, whatever the database's own order
            (("a", "m", "c"), False),
            (("gone", "m", "b"), True),
            (("new", "m", "b"), True),
            ((None, "m", "b"), True),
        ]
        rows = [row for row, _ in asked]
        found = links.differing(connection, ORG, "m", rows, reading=5)
        assert sorted(found) == [place for place, (_, differs) in enumerate(asked) if differs]
        assert sorted(links.differing(connection, ORG, "m", rows[:1], reading=4)) == [0]


def test_writers_wait_for_each_other_and_nothing_is_lost(state_url: str) -> None:
    state = open_state(state_url)

    def work(worker: int) -> None:
        for number in range(20):
            with state.begin() as connection:
                links.save(
                    connection, ORG, "m", [RecordResult(f"{worker}-{number}", Outcome.CREATED, "001", fingerprint="f")]
                )

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with state.connect() as connection:
        found = links.find(connection, ORG, "m", [f"{worker}-{number}" for worker in range(4) for number in range(20)])
    assert len(found) == 80


def test_many_rows_of_every_kind_are_written_and_found(state_url: str) -> None:
    results = [RecordResult(f"r{number}", Outcome.CREATED, f"id{number}", fingerprint="f") for number in range(2_500)]
    refused = [
        RecordResult(f"r{number}", Outcome.REJECTED, code="C", message="m", payload="{}") for number in range(1_500)
    ]
    with open_state(state_url).begin() as connection:
        run = runs.begin(connection, RUN, "m", org=ORG)
        sync_log.write(connection, run, results)
        links.save(connection, ORG, "m", results)
        dead_letters.record(connection, ORG, "m", run, refused)
        assert len(links.find(connection, ORG, "m", [result.record_id for result in results])) == 2_500
        assert len(dead_letters.unresolved(connection, mapping="m")) == 1_500
        dead_letters.record(connection, ORG, "m", run, results)
        assert dead_letters.unresolved(connection, mapping="m") == []
        links.bury(connection, ORG, "m", [f"id{number}" for number in range(2_400)])
        assert len(links.living(connection, ORG, "m")) == 100
        links.purge(connection, before=datetime.now(UTC) + timedelta(minutes=1))
        assert len(links.find(connection, ORG, "m", [result.record_id for result in results])) == 100


def test_many_records_with_one_outcome_are_a_list_in_which_each_is_found_by_both_of_its_ids(state_url: str) -> None:
    many = [RecordResult(f"r{number}", Outcome.CREATED, f"id{number}") for number in range(sync_log.LISTED_FROM)]
    odd = RecordResult("tab\tand\nline", Outcome.CREATED, "id of the odd one")
    told = RecordResult("told", Outcome.CREATED, "id of the told one", "CODE", "why")
    with open_state(state_url).begin() as connection:
        run = runs.begin(connection, RUN, "m", org=ORG)
        sync_log.write(connection, run, [*many, odd, told, RecordResult("one", Outcome.UPDATED, "id1x")])
        assert connection.execute(select(func.count()).select_from(schema.sync_log)).scalar_one() == 2
        for name in ("r1", "id1", "r999", "id0"):
            (row,) = sync_log.of_record(connection, name)
            assert name in (row["record_id"], row["salesforce_id"])
            assert (row["outcome"], row["sync_run_id"], row["step"]) == ("created", run, "m")
        assert [row["salesforce_id"] for row in sync_log.of_record(connection, odd.record_id)] == ["id of the odd one"]
        assert [row["code"] for row in sync_log.of_record(connection, "told")] == ["CODE"]
        assert sync_log.of_record(connection, "r") == sync_log.of_record(connection, "d1") == []
        sync_log.purge(connection, before=datetime.now(UTC) + timedelta(minutes=1))
        assert sync_log.of_record(connection, "r1") == []


def test_a_dead_letter_that_was_resolved_begins_anew(state_url: str) -> None:
    bad = RecordResult("r", Outcome.REJECTED, code="C", message="m", payload="{}")
    with open_state(state_url).begin() as connection:
        for result in (bad, bad, RecordResult("r", Outcome.UPDATED, "id"), bad):
            dead_letters.record(connection, ORG, "m", 1, [result])
        assert [letter["attempts"] for letter in dead_letters.unresolved(connection)] == [1]


def test_open_domains_are_offered_again_when_an_account_appears_or_goes(state_url: str) -> None:
    def change(domain: str | None) -> account_domains.AccountChange:
        return account_domains.AccountChange("001A", domain, None, "2026-01-01")

    now = datetime.now(UTC)
    with open_state(state_url).begin() as connection:
        account_domains.keep_open(connection, ORG, ["acme.com"])
        assert account_domains.to_recheck(connection, ORG) == []
        account_domains.refresh(connection, ORG, [change("acme.com")], seen_at=now)
        assert account_domains.to_recheck(connection, ORG) == ["acme.com"]
        account_domains.settle(connection, ORG, checked=["acme.com"], unmatched=[])
        assert account_domains.to_recheck(connection, ORG) == []
        account_domains.refresh(connection, ORG, [change(None)], seen_at=now)
        assert account_domains.to_recheck(connection, ORG) == ["acme.com"]
        account_domains.settle(connection, ORG, checked=["acme.com"], unmatched=["acme.com"])
        assert account_domains.to_recheck(connection, ORG) == []
