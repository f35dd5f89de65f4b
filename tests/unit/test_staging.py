"""Batches between tasks."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from salesforce_sync import staging as staging_module
from salesforce_sync.errors import StagedDataMissing, StagingFailed
from salesforce_sync.records import BatchRef, RunIdentity
from salesforce_sync.staging import Staging, batches_of

RUN = RunIdentity("dag", "manual__2026-11-21T20:00:00+00:00", "extract")


def _stage(root: Path, records: list[dict[str, Any]]) -> list[BatchRef]:
    return Staging(root).write_records(
        RUN, records, id_path="id", paths=["id", "a", "deep.b"], high_cursor="2026-11-10"
    )


def _read(root: Path, ref: BatchRef) -> list[dict[str, Any]]:
    return [json.loads(text) for text in Staging(root).read(ref).column("record").to_pylist()]


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


def test_nothing_to_stage_is_one_empty_batch_that_tells_the_cursor(tmp_path: Path) -> None:
    (ref,) = _stage(tmp_path, [])
    assert (ref.count, ref.high_cursor) == (0, "2026-11-10")
    assert _read(tmp_path, ref) == []


def test_a_batch_survives_xcom() -> None:
    ref = BatchRef("/x/y.parquet", 3, "2026-11-10")
    assert batches_of([ref.as_xcom()]) == [ref]


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StagingFailed, match=r"could not be written: No space left on device\. Fix: Free space there"):
        _stage(tmp_path, [{"id": "1"}])
    assert list(tmp_path.rglob("*.parquet")) == list(tmp_path.rglob("*.unfinished")) == []


def test_a_batch_that_is_gone_says_what_to_clear(tmp_path: Path) -> None:
    with pytest.raises(StagedDataMissing, match="Clear the task before this one as well"):
        _read(tmp_path, BatchRef(str(tmp_path / "gone.parquet"), 1))


def test_a_batch_that_is_damaged_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(StagingFailed, match="could not be read"):
        _read(tmp_path, BatchRef(str(tmp_path / "bad.parquet"), 1))


def test_old_batches_are_swept_and_young_ones_stay(tmp_path: Path) -> None:
    (ref,) = _stage(tmp_path, [{"id": "1"}])
    assert Staging(tmp_path).sweep("dag") == 0
    assert Staging(tmp_path).sweep("dag", now=datetime.now(UTC) + timedelta(days=8)) == 1
    assert not Path(ref.path).exists()
    assert Staging(tmp_path).sweep("never ran") == 0
