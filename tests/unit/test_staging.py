"""Batches between tasks."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from salesforce_sync import staging as staging_module
from salesforce_sync.errors import StagedDataMissing, StagingFailed
from salesforce_sync.records import BatchRef
from salesforce_sync.staging import Staging


def _stage(root: Path, records: list[dict[str, Any]], number: str = "1") -> list[BatchRef]:
    staging = Staging(root)
    folder = staging.folder("org", "stream", number)
    writer = staging.records(folder, id_path="id", paths=["id", "a", "deep.b"], origin="2026-11-10")
    for record in records:
        writer.add(record)
    return writer.close()


def _read(root: Path, ref: BatchRef) -> list[dict[str, Any]]:
    return Staging(root).read(ref).columns.records()


@pytest.mark.requirement("PS-05")
def test_only_what_is_mapped_is_written_down(tmp_path: Path) -> None:
    (ref,) = _stage(tmp_path, [{"id": "1", "a": "x", "deep": {"b": 2, "secret": 3}, "email": "a@b.co"}])
    assert _read(tmp_path, ref) == [{"id": "1", "a": "x", "deep": {"b": 2}}]
    assert b"a@b.co" not in Path(ref.path).read_bytes()


def test_records_go_in_batches_and_come_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging_module, "BATCH_ROWS", 2)
    refs = _stage(tmp_path, [{"id": str(number)} for number in range(5)])
    assert [ref.count for ref in refs] == [2, 2, 1]
    assert [record["id"] for ref in refs for record in _read(tmp_path, ref)] == ["0", "1", "2", "3", "4"]


def test_nothing_to_stage_is_one_empty_batch_that_tells_its_day(tmp_path: Path) -> None:
    (ref,) = _stage(tmp_path, [])
    assert (ref.count, ref.origin) == (0, "2026-11-10")
    assert _read(tmp_path, ref) == []


def test_columns_keep_the_types_of_their_values_and_several_kinds_come_back_as_they_were(tmp_path: Path) -> None:
    records = [{"id": "1", "a": 5, "deep": {"b": [1, {"c": "x"}]}}, {"id": "2", "a": "five"}, {"id": "3", "a": 2**70}]
    (ref,) = _stage(tmp_path, records)
    assert _read(tmp_path, ref) == records


def test_two_readings_never_share_a_file_whatever_they_are_called(tmp_path: Path) -> None:
    names = ["a/b", "a_b", "a.b", "..", "a%2Fb"]
    refs = [_stage(tmp_path, [{"id": name}], number=name)[0] for name in names]
    assert [_read(tmp_path, ref)[0]["id"] for ref in refs] == names
    assert all(Path(ref.path).resolve().is_relative_to(tmp_path / "org" / "stream") for ref in refs)


def test_a_batch_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    old = {"id": ["1", None], "record": ['{"id":"1","deep":{"b":2}}', '{"a":"x\\u0000"}']}
    pq.write_table(pa.table(old), tmp_path / "old.parquet")
    rows = Staging(tmp_path).read(BatchRef(str(tmp_path / "old.parquet"), 2))
    assert (rows.ids, rows.stamps) == (["1", None], ["", ""])
    assert rows.columns.records() == [{"id": "1", "deep": {"b": 2}}, {"a": "x"}]


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StagingFailed, match=r"could not be written: No space left on device\. Fix: Free space there"):
        _stage(tmp_path, [{"id": "1"}])
    assert list(tmp_path.rglob("*.parquet")) == list(tmp_path.rglob("*.unfinished")) == []


def test_a_batch_that_is_gone_or_another_is_never_taken_for_the_one_that_was_staged(tmp_path: Path) -> None:
    (ref,) = _stage(tmp_path, [{"id": "1"}])
    with pytest.raises(StagedDataMissing, match="is gone"):
        _read(tmp_path, BatchRef(str(tmp_path / "gone.parquet"), 1))
    content = Path(ref.path).read_bytes()
    for wrong in (content[:-1], content[:40] + b"x" + content[41:], b"PAR1 not really", b""):
        Path(ref.path).write_bytes(wrong)
        with pytest.raises(StagedDataMissing, match="is not the one that was written"):
            _read(tmp_path, ref)


def test_old_batches_are_swept_and_young_ones_stay(tmp_path: Path) -> None:
    (ref,) = _stage(tmp_path, [{"id": "1"}])
    assert Staging(tmp_path).sweep() == 0
    assert Staging(tmp_path).sweep(now=datetime.now(UTC) + timedelta(days=8)) == 1
    assert not Path(ref.path).exists()
    assert Staging(tmp_path / "never ran").sweep() == 0


@pytest.mark.parametrize(
    ("stamp", "goes"),
    [
        (datetime(2020, 1, 1), True),
        (datetime(2020, 1, 1, tzinfo=UTC), True),
        (1_577_836_800.0, True),
        (0, False),
        (None, False),
    ],
)
def test_a_store_may_say_in_its_own_way_or_not_at_all_when_a_file_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stamp: Any, goes: bool
) -> None:
    (tmp_path / "old.parquet").touch()
    kept = Path.stat
    told = SimpleNamespace(st_mtime=stamp)
    monkeypatch.setattr(Path, "stat", lambda self, **more: told if self.name == "old.parquet" else kept(self, **more))
    monkeypatch.setattr(Path, "is_dir", lambda self: self == tmp_path)
    assert Staging(tmp_path).sweep() == int(goes)
