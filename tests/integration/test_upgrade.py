"""A state database of the version before is upgraded: nothing is forgotten, and nothing is sent once more."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from salesforce_sync.errors import ConfigurationError, InvalidSetting
from salesforce_sync.mapping.apply import apply_to_vendor
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.mapping.fingerprint import version_1
from salesforce_sync.mapping.loader import load_mapping
from salesforce_sync.records import Counts
from salesforce_sync.state import coverage, dead_letters, engine, inbox, links, orgs, watermarks
from salesforce_sync.state.engine import open_state, reading
from support.flows import ACTIVITIES, Intent, Poll
from support.world import World

ORG = "00D5g0000000001EAA"
CONTACTS, CUSTOMERS = "deployteq/contacts", 25_000
NOW = "2026-11-21 12:00:00"


def _at_0004(url: str) -> sa.Engine:
    """A database as the version before left it."""
    config = Config()
    config.set_main_option("script_location", str(Path(engine.__file__).with_name("migrations")))
    state = create_engine(url)
    with state.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
    return state


def _insert(state: sa.Engine, table: str, rows: list[dict[str, Any]]) -> None:
    columns = ", ".join(rows[0])
    marks = ", ".join(f":{name}" for name in rows[0])
    with state.begin() as connection:
        connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({marks})"), rows)


def _contacts(count: int) -> list[dict[str, Any]]:
    """Contacts as Salesforce gives them."""
    return [
        {"Id": f"003{number:015d}", "Email": f"p{number}@acme.example", "LastName": f"P{number}", "MailingCity": "Utrecht",
         "Deployteq_Opt_In__c": number % 2 == 0, "SystemModstamp": datetime(2026, 11, 1, tzinfo=UTC), "IsDeleted": False}
        for number in range(count)
    ]  # fmt: skip


def _fill_links(state: sa.Engine, contacts: list[dict[str, Any]]) -> None:
    mapping = load_mapping(CONTACTS)
    made = version_1(apply_to_vendor(mapping, Columns.of(contacts, mapping.salesforce_paths)).table)
    stamp = "2026-11-01 00:00:00+00:00"
    rows = [
        {"org": ORG, "mapping": CONTACTS, "record_id": record["Id"], "salesforce_id": record["Id"], "fingerprint": mark,
         "staged_fingerprint": "0" * 16, "vendor_id": str(number), "unique_key": f"{number:064d}", "version": stamp,
         "linked_at": NOW, "updated_at": NOW}
        for number, (record, mark) in enumerate(zip(contacts, made, strict=True))
    ]  # fmt: skip
    _insert(state, "record_links", rows)


def test_many_customers_send_nothing_after_an_upgrade(world: World, state_url: str, tmp_path: Path) -> None:
    contacts = _contacts(CUSTOMERS)
    _fill_links(_at_0004(state_url), contacts)
    state = open_state(state_url)

    class Nobody:
        """A vendor that must not be called."""

        batch_size = 50

        def problems(self, *_: Any) -> list[str]:
            return []

    poll = Poll(world, state, tmp_path, Nobody(), {CONTACTS: load_mapping(CONTACTS)})
    from salesforce_sync.engine.read import reading as begin

    paths = [*load_mapping(CONTACTS).salesforce_paths, "SystemModstamp", "IsDeleted"]
    with begin(poll.context("extract", client=False), CONTACTS) as work:
        folder = work.folder(CONTACTS)
        writer = work.context.staging.records(folder, id_path="Id", paths=paths, stamp_path="SystemModstamp")
        for record in contacts:
            writer.add(record)
        work.add(CONTACTS, writer.close(), paths=paths, read_from="")
        work.register()
    assert poll.push()[CONTACTS] == Counts(read=CUSTOMERS, unchanged=CUSTOMERS)
    with reading(state) as connection:
        found = links.find(connection, ORG, CONTACTS, [contacts[0]["Id"], contacts[1]["Id"]])
    assert [(link.fingerprint_version, link.consent) for link in found.values()] == [(2, "Y"), (2, "N")]


def test_what_waited_is_delivered_and_days_are_counted_from_the_last_good_one(
    world: World, state_url: str, tmp_path: Path
) -> None:
    state = _at_0004(state_url)
    old = tmp_path / "old.parquet"
    record = '{"id":"act-1","date_visited":"2026-11-10","company_name":"Acme","products":[{"id":"1","name":"P"}]}'
    pq.write_table(pa.table({"id": ["act-1"], "record": [record]}), old)
    waiting = {"org": ORG, "mapping": ACTIVITIES, "path": str(old), "count": 1, "waiting_since": NOW}
    _insert(state, "backlog", [waiting])
    _insert(state, "watermarks", [
        {"org": ORG, "stream": ACTIVITIES, "value": "2026-11-10", "updated_at": NOW},
        {"org": ORG, "stream": CONTACTS, "value": "2199-01-01T00:00:00+00:00", "updated_at": NOW},
    ])  # fmt: skip
    run = {"step": "x", "org": ORG, "dag_id": "d", "run_id": "r", "task_id": "t", "try_number": 1, "status": "success"}
    _insert(state, "sync_runs", [run | {"started_at": NOW}])
    letter = {
        "org": ORG, "mapping": CONTACTS, "record_id": "003x", "payload": "{}", "code": "C", "message": "m",
        "attempts": 1, "first_failed_at": NOW, "last_failed_at": NOW,
    }  # fmt: skip
    _insert(state, "dead_letters", [letter])
    intent = Intent(world, state_url, tmp_path)
    assert intent.load().total == Counts(read=1, created=1)
    with reading(open_state(state_url)) as connection:
        assert orgs.latest(connection) == ORG
        assert inbox.waiting(connection, ORG, [ACTIVITIES]) == []
        missing = coverage.missing(connection, ORG, ACTIVITIES, first=date.min, last=date(2026, 11, 13))
        assert missing == [date(2026, 11, 11), date(2026, 11, 12), date(2026, 11, 13)]
        assert str(watermarks.get(connection, ORG, CONTACTS)) <= datetime.now(UTC).isoformat()
        (due,) = dead_letters.due(connection, ORG, CONTACTS, datetime.now(UTC) + timedelta(minutes=1))
    assert due.record_id == "003x"


def test_a_database_of_a_newer_version_is_a_clear_error(state_url: str) -> None:
    with open_state(state_url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine._open.cache_clear()
    with pytest.raises(InvalidSetting, match=r"is newer \(9999\) than this version of the package"):
        open_state(state_url)
    with sa.create_engine(state_url).begin() as connection:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{engine.HEAD}'"))


@pytest.mark.airflow
def test_a_task_that_the_version_before_deferred_says_what_to_clear() -> None:
    from salesforce_sync.operators.deliver import DeliverOperator

    task = DeliverOperator(task_id="load", mapping=ACTIVITIES)
    with pytest.raises(ConfigurationError, match=r"deferred by an earlier version.*Clear the whole run"):
        task.resume(SimpleNamespace(), "JobComplete")
