"""The intent timetable: which day a run is about, and when it starts."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from salesforce_sync.errors import InvalidSetting

pytestmark = pytest.mark.airflow


def _timetable(at: str = "03:30") -> Any:
    from salesforce_sync.systems.peerspot.timetable import IntentTimetable

    return IntentTimetable(at)


def _moment(text: str) -> Any:
    import pendulum

    return pendulum.parse(text)


def _next(
    timetable: Any,
    *,
    after: str | None = None,
    earliest: str = "2026-01-01",
    latest: str | None = None,
    catchup: bool = True,
) -> Any:
    from airflow.timetables.base import DataInterval, TimeRestriction

    last = None if after is None else DataInterval(_moment(after), _moment(after).add(days=1))
    restriction = TimeRestriction(_moment(earliest), None if latest is None else _moment(latest), catchup)
    return timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)


@pytest.mark.requirement("PS-20", "PS-22", "PS-A2")
def test_the_run_of_a_day_covers_it_and_starts_two_days_later_at_half_past_three() -> None:
    info = _next(_timetable(), after="2026-11-09")
    assert str(info.data_interval.start) == "2026-11-10 00:00:00+00:00"
    assert str(info.data_interval.end) == "2026-11-11 00:00:00+00:00"
    assert str(info.run_after) == "2026-11-12 03:30:00+00:00"
    assert info.logical_date == info.data_interval.start


@pytest.mark.requirement("PS-21", "PS-A1")
def test_there_are_sixteen_slots_from_one_to_a_quarter_to_five() -> None:
    from salesforce_sync.systems.peerspot.timetable import SLOTS

    assert (len(SLOTS), SLOTS[0], SLOTS[1], SLOTS[-1]) == (16, "01:00", "01:15", "04:45")
    assert str(_next(_timetable("04:45"), after="2026-11-09").run_after) == "2026-11-12 04:45:00+00:00"


@pytest.mark.requirement("PS-21")
@pytest.mark.parametrize("slot", ["05:00", "03:20", "3:30", "", "noon"])
def test_another_slot_is_refused(slot: str) -> None:
    with pytest.raises(InvalidSetting, match="SALESFORCE_SYNC_PEERSPOT_SLOT"):
        _timetable(slot)


def test_the_slot_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from salesforce_sync.systems.peerspot.settings import peerspot_slot

    assert peerspot_slot() == "03:30"
    monkeypatch.setenv("SALESFORCE_SYNC_PEERSPOT_SLOT", "01:15")
    assert peerspot_slot() == "01:15"


@pytest.mark.parametrize(
    ("now", "day"),
    [("2026-11-21T20:00", "2026-11-19"), ("2026-11-21T03:30", "2026-11-19"), ("2026-11-21T03:29", "2026-11-18")],
)
def test_without_catchup_the_newest_day_that_is_due_comes_first(
    monkeypatch: pytest.MonkeyPatch, now: str, day: str
) -> None:
    from salesforce_sync.systems.peerspot import timetable

    class Now(timetable.DateTime):  # type: ignore[misc]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return _moment(now)

    monkeypatch.setattr(timetable, "DateTime", Now)
    assert str(_next(_timetable(), catchup=False).data_interval.start)[:10] == day


def test_a_start_date_in_the_middle_of_a_day_begins_with_the_next() -> None:
    assert str(_next(_timetable(), earliest="2026-11-10T12:00").data_interval.start)[:10] == "2026-11-11"


def test_nothing_is_due_after_the_end_date_or_before_a_start_date_is_known() -> None:
    from airflow.timetables.base import TimeRestriction

    assert _next(_timetable(), after="2026-11-10", latest="2026-11-10") is None
    assert (
        _timetable().next_dagrun_info(last_automated_data_interval=None, restriction=TimeRestriction(None, None, True))
        is None
    )


def test_the_timetable_survives_being_stored() -> None:
    stored = _timetable("01:15").serialize()
    assert _timetable().deserialize(stored).at == "01:15"


@pytest.mark.requirement("PS-23", "X-02")
@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Amsterdam", "America/New_York", "Asia/Tokyo", "Pacific/Honolulu", "Pacific/Auckland"]
)
def test_a_backfill_runs_exactly_the_days_that_were_chosen(zone: str) -> None:
    """Airflow's form gives the midnights of the days in the time zone that its pages are shown in."""
    first, last = (f"{day}T00:00:00{_offset(zone)}" for day in ("2026-11-10", "2026-11-12"))
    days, after = [], None
    while info := _next(_timetable(), after=after, earliest=first, latest=last):
        after = str(info.data_interval.start)
        days.append(after[:10])
    assert days == ["2026-11-10", "2026-11-11", "2026-11-12"]


def _offset(zone: str) -> str:
    return f"{datetime(2026, 11, 11, tzinfo=ZoneInfo(zone)):%z}"
