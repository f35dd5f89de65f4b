"""Metrics out of files and databases, and labels for scores that come without: without Airflow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import create_engine, text

from salesforce_sync.errors import (
    InvalidCredentials,
    InvalidMapping,
    InvalidSetting,
    RequestRejected,
    ServiceUnavailable,
)
from salesforce_sync.mapping.columns import Columns
from salesforce_sync.settings import Setting, parse_setting
from salesforce_sync.systems.preact import settings, sql
from salesforce_sync.systems.preact.credentials import SqlCredentials
from salesforce_sync.systems.preact.files import FileSource
from salesforce_sync.systems.preact.labels import Labelled
from salesforce_sync.systems.preact.sql import SqlSource

PATHS = ["preact_account_id", "external_identifier", "health_score", "last_activity_at"]
VARIABLES = {"accounts": "preact_accounts"}
HEADER = "preact_account_id,external_identifier,health_score,last_activity_at"


def _file(path: Path | None) -> FileSource:
    return FileSource({"accounts": path}, VARIABLES)


def _records(source: Any, paths: Sequence[str] = PATHS) -> list[dict[str, Any]]:
    return [record for columns in source.whole("accounts", paths) for record in columns.records()]


def _csv(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "accounts.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_csv_file_gives_texts_and_what_is_empty_is_nothing(tmp_path: Path) -> None:
    path = _csv(tmp_path, 'pa-1,"C,17",82.50,2026-11-20', "0017,NULL,,", '"pa\n3",C-3,1,2026-01-01')
    assert _records(_file(path)) == [
        {
            "preact_account_id": "pa-1",
            "external_identifier": "C,17",
            "health_score": "82.50",
            "last_activity_at": "2026-11-20",
        },
        {"preact_account_id": "0017", "external_identifier": "NULL"},
        {
            "preact_account_id": "pa\n3",
            "external_identifier": "C-3",
            "health_score": "1",
            "last_activity_at": "2026-01-01",
        },
    ]


def test_a_parquet_file_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "accounts.parquet"
    table = pa.table({
        "preact_account_id": pa.array(["a", "b"]).dictionary_encode(),
        "external_identifier": pa.array([17, 18], pa.int32()),
        "health_score": pa.array([Decimal("82.50"), None], pa.decimal128(5, 2)),
        "last_activity_at": pa.array([date(2026, 11, 20), None]),
        "not_mapped": ["x", "y"],
    })  # fmt: skip
    pq.write_table(table, path)
    assert _records(_file(path)) == [
        {
            "preact_account_id": "a", "external_identifier": 17, "health_score": "82.50",
            "last_activity_at": "2026-11-20",
        },
        {"preact_account_id": "b", "external_identifier": 18},
    ]  # fmt: skip


def test_a_file_larger_than_a_batch_comes_in_batches(tmp_path: Path) -> None:
    path = _csv(tmp_path, *(f"pa-{number},C-{number},1," for number in range(60_000)))
    sizes = [len(columns) for columns in _file(path).whole("accounts", PATHS)]
    assert sizes == [25_000, 25_000, 10_000]


def test_a_column_that_the_mapping_reads_and_the_file_lacks_is_named(tmp_path: Path) -> None:
    path = _csv(tmp_path, "pa-1,1", header="preact_account_id,score")
    with pytest.raises(
        InvalidSetting, match="no column external_identifier, health_score, last_activity_at, which the mapping"
    ):
        _records(_file(path))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = _csv(tmp_path, "1,2,3,4,5", header=f"{HEADER},health_score")
    with pytest.raises(InvalidSetting, match="two columns health_score"):
        _records(_file(path))


def test_a_file_that_is_no_table_is_refused_without_a_word_of_its_content(tmp_path: Path) -> None:
    path = _csv(tmp_path, "pa-1,C-1,1,2026-11-20", "jansen@acme.example,secret")
    with pytest.raises(RequestRejected, match=r"accounts.csv cannot be read") as caught:
        _records(_file(path))
    assert "jansen" not in str(caught.value)
    broken = tmp_path / "accounts.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(RequestRejected, match=r"accounts.parquet cannot be read"):
        _records(_file(broken))


def test_a_file_that_is_not_there_or_of_another_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="is not there"):
        _records(_file(tmp_path / "accounts.csv"))
    with pytest.raises(InvalidSetting, match=r"neither a \.csv nor a \.parquet file"):
        _records(_file(tmp_path / "accounts.xlsx"))
    with pytest.raises(InvalidSetting, match="preact_accounts is empty"):
        _file(None).test()


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = _csv(tmp_path, *(f"pa-{number},C-{number},1," for number in range(60_000)))
    reading = _file(path).whole("accounts", PATHS)
    next(reading)
    with path.open("a") as file:
        file.write("pa-new,C-new,1,\n")
    with pytest.raises(ServiceUnavailable, match="changed while it was read, so nothing was registered"):
        list(reading)


def test_a_file_that_is_replaced_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = _csv(tmp_path, *(f"pa-{number},C-{number},1," for number in range(60_000)))
    reading = _file(path).whole("accounts", PATHS)
    next(reading)
    state = path.stat()
    other = tmp_path / "new.csv"
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.replace(path)
    with pytest.raises(ServiceUnavailable, match="changed while it was read"):
        list(reading)


def test_a_nested_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "accounts.parquet"
    columns = {name: pa.array(["x"]) for name in PATHS} | {"health_score": pa.array([[1, 2]])}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InvalidSetting, match=r"health_score of .* holds list"):
        _records(_file(path))


def test_a_file_without_a_head_shows_nobodys_data(tmp_path: Path) -> None:
    path = _csv(tmp_path, "pa-2,C-2,1,", header="jan@acme.example,Jan Jansen,82,2026-01-01")
    with pytest.raises(InvalidSetting, match="or it has no head") as caught:
        _records(_file(path))
    assert "Jansen" not in str(caught.value)


def test_a_label_and_its_score_may_be_missing(tmp_path: Path) -> None:
    path = _csv(tmp_path, "pa-1,C-1,", header="preact_account_id,external_identifier,health_score_label")
    source = Labelled(_file(path), {"health_score_label": settings.bands("Good 50")})
    wanted = ["preact_account_id", "external_identifier", "health_score_label"]
    assert [columns.records() for columns in source.whole("accounts", wanted)] == [
        [{"preact_account_id": "pa-1", "external_identifier": "C-1"}]
    ]


def test_moments_of_any_year_and_zone_are_texts_in_utc(tmp_path: Path) -> None:
    path = tmp_path / "accounts.parquet"
    moments = pa.array([0, 400_000_000_000_000_000], pa.timestamp("us", tz="Europe/Amsterdam"))
    columns = {name: pa.array(["a", "b"]) for name in PATHS} | {"last_activity_at": moments}
    pq.write_table(pa.table(columns), path)
    found = [record["last_activity_at"] for record in _records(_file(path))]
    assert (found[0], found[1][:5]) == ("1970-01-01 00:00:00.000Z", "14645")


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(4)])
def test_bytes_are_named(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "accounts.parquet"
    columns = {name: pa.array(["x"]) for name in PATHS} | {"health_score": pa.array([b"\xff\xfe\xfd\xfc"], kind)}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InvalidSetting, match="health_score of"):
        _records(_file(path))


def test_a_folder_and_an_unknown_stream_are_named(tmp_path: Path) -> None:
    (tmp_path / "accounts.csv").mkdir()
    with pytest.raises(InvalidSetting, match="is a folder"):
        _file(tmp_path / "accounts.csv").test()
    with pytest.raises(InvalidMapping, match="stream 'customers'"):
        list(_file(tmp_path / "accounts.csv").whole("customers", PATHS))


# -- databases ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(state_url: str) -> Iterator[str]:
    """A database with a table of metrics, once on SQLite and once on PostgreSQL."""
    engine = create_engine(state_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE scores (account TEXT, customer TEXT, health NUMERIC(5, 2), seen DATE)"))
        rows = [{"account": f"pa-{n}", "customer": f"C-{n}", "health": 80.25, "seen": "2026-11-20"} for n in range(3)]
        insert = "INSERT INTO scores VALUES (:account, :customer, :health, CAST(:seen AS DATE))"
        if engine.dialect.name == "sqlite":
            insert = insert.replace("CAST(:seen AS DATE)", ":seen")
        connection.execute(text(insert), rows)
    yield state_url
    engine.dispose()


QUERY = "SELECT account AS preact_account_id, customer AS external_identifier, health AS health_score, seen AS last_activity_at FROM scores"


def _sql(url: str, query: str = QUERY) -> SqlSource:
    return SqlSource(url, {"accounts": query}, VARIABLES)


def test_a_query_gives_its_rows(database: str) -> None:
    found = _records(_sql(database))
    assert [str(record["health_score"]) for record in found] == ["80.25"] * 3
    assert [(record["preact_account_id"], str(record["last_activity_at"])) for record in found[:1]] == [
        ("pa-0", "2026-11-20")
    ]


def test_a_query_is_read_in_batches(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "BATCH_ROWS", 2)
    assert [len(columns) for columns in _sql(database).whole("accounts", PATHS)] == [2, 1]


def test_what_the_query_does_not_give_is_named(database: str) -> None:
    with pytest.raises(InvalidSetting, match="query in preact_accounts gives no column external_identifier"):
        _records(_sql(database, "SELECT account AS preact_account_id FROM scores"))


def test_a_query_that_the_database_refuses_is_named_without_secrets(database: str) -> None:
    with pytest.raises((InvalidSetting, ServiceUnavailable), match="query in preact_accounts") as caught:
        _records(_sql(database, "SELECT nothing FROM nowhere"))
    assert database not in str(caught.value)


def test_a_query_that_fails_in_the_middle_is_an_error(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third row divides by nothing, or is no number, once the first two were given."""
    monkeypatch.setattr(sql, "BATCH_ROWS", 2)
    is_sqlite = database.startswith("sqlite")
    broken = "abs(-9223372036854775807 - 1)" if is_sqlite else "(1 / (length(account) - length(account)))::text"
    query = (
        f"SELECT account AS preact_account_id, CASE WHEN account = 'pa-2' THEN {broken} ELSE customer END AS external_identifier, "
        "health AS health_score, seen AS last_activity_at FROM scores"
    )
    with pytest.raises(ServiceUnavailable, match="The database failed"):
        _records(_sql(database, query))


def test_a_database_that_is_not_there_is_an_error_and_a_missing_driver_a_setting() -> None:
    with pytest.raises(ServiceUnavailable, match="The database failed") as caught:
        _sql("postgresql+psycopg://reader:fake-password@127.0.0.1:1/none").test()
    assert "fake-password" not in str(caught.value)
    with pytest.raises(InvalidCredentials, match="no driver"):
        _sql("oracle+nothing://host/db").test()


def test_a_query_is_given_as_it_is(database: str) -> None:
    """Colons and percent signs are the query's own."""
    query = QUERY.replace("customer AS", "'12:30 :name 100%' AS") + " -- :comment"
    assert {record["external_identifier"] for record in _records(_sql(database, query))} == {"12:30 :name 100%"}


def test_two_columns_of_a_query_with_one_name_are_refused(database: str) -> None:
    with pytest.raises(InvalidSetting, match="two columns health_score"):
        _records(_sql(database, QUERY.replace(" FROM", ", 5 AS health_score FROM")))


@pytest.mark.parametrize("query", ["DELETE FROM scores", "CREATE TABLE other (x TEXT)", "DROP TABLE scores"])
def test_a_query_can_only_read(database: str, query: str) -> None:
    with pytest.raises((InvalidSetting, ServiceUnavailable)):
        _records(_sql(database, query))
    assert len(_records(_sql(database))) == 3


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://reader:p@ss:sec-word@127.0.0.1:1/db", "postgresql+psycopg://u:p@sec-word@nohost/db"]
)
def test_no_part_of_a_password_is_shown(url: str) -> None:
    with pytest.raises((InvalidCredentials, ServiceUnavailable)) as caught:
        _sql(url).test()
    assert "sec-word" not in str(caught.value)


def test_an_empty_query_is_named(database: str) -> None:
    with pytest.raises(InvalidSetting, match="preact_accounts is empty"):
        _records(_sql(database, ""))
    assert _sql(database).test() == "You are successfully connected to the database of the metrics"


def test_a_text_that_is_no_database_url_is_no_credentials() -> None:
    with pytest.raises(ValueError, match="is no database URL"):
        SqlCredentials(url="host and password")


# -- labels ------------------------------------------------------------------------------------------------------------


class _Given:
    def __init__(self, *records: dict[str, Any]) -> None:
        self.records = records

    def whole(self, stream: str, paths: Sequence[str], *, also: Sequence[str] = ()) -> Iterator[Columns]:
        yield Columns.of(self.records, [*paths, *also])


def _labels(*records: dict[str, Any], bands: str = "Good 50, Poor 0") -> list[str | None]:
    known = {"health_score_label": settings.bands(bands), "activity_score_label": settings.bands("High 50, Low 0")}
    found = [
        columns.table.column("health_score_label").to_pylist()
        for columns in Labelled(_Given(*records), known).whole("accounts", ["health_score_label"])
    ]
    return found[0]


@pytest.mark.requirement("PR-A3")
def test_a_label_passes_through_and_a_missing_one_follows_the_bands() -> None:
    assert _labels(
        {"health_score": 10, "health_score_label": "Splendid"}, {"health_score": 50}, {"health_score": 49.99}, {"health_score": "82"},
        {"health_score": "n/a"}, {}, {"health_score": -1}, {"health_score": 90, "health_score_label": " "},
    ) == ["Splendid", "Good", "Poor", "Good", None, None, None, "Good"]  # fmt: skip
    assert _labels({"health_score": 75}, bands="Green 80; Amber 60; Red 0") == ["Amber"]
    assert _labels({"health_score": 0}) == ["Poor"]


def test_labels_of_several_kinds_are_texts_and_a_list_is_left_to_the_mapping() -> None:
    assert _labels({"health_score_label": 0}, {"health_score_label": "Good"}, {"health_score": 90}) == [
        "0",
        "Good",
        "Good",
    ]
    assert _labels({"health_score_label": ["a"]}, {"health_score_label": "Good"}) == ['["a"]', '"Good"']


@pytest.mark.requirement("PR-A3")
@pytest.mark.parametrize("wrong", ["", "Good", "50 Good", "Good 50, Fair 50", "Good fifty", "High 50 Low 0"])
def test_bands_that_are_none_are_refused_with_the_rule(wrong: str) -> None:
    with pytest.raises(InvalidSetting, match="preact_health_bands"):
        parse_setting(settings.HEALTH_BANDS, wrong)


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda setting: setting.name)
def test_every_default_obeys_its_rule(setting: Setting) -> None:
    parse_setting(setting, setting.default)
