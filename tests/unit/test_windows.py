"""Which days a run is about."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from salesforce_sync.errors import InvalidParameter
from salesforce_sync.windows import DateWindow, resolve_window

NOW = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)


def _window(**changes: Any) -> DateWindow:
    known: dict[str, Any] = {
        "start_date": None,
        "end_date": None,
        "interval_start": None,
        "interval_end": None,
        "run_after": NOW,
        "days_behind": 2,
    }
    return resolve_window(**(known | changes))


@pytest.mark.requirement("PS-22", "PS-24")
def test_a_run_without_dates_is_about_the_day_before_yesterday() -> None:
    assert _window() == DateWindow(date(2026, 11, 19), date(2026, 11, 19))


@pytest.mark.requirement("PS-24")
def test_the_present_moment_that_the_trigger_form_fills_in_as_logical_date_means_no_date() -> None:
    today = {"interval_start": datetime(2026, 11, 21, tzinfo=UTC), "interval_end": datetime(2026, 11, 22, tzinfo=UTC)}
    assert _window(**today) == DateWindow(date(2026, 11, 19), date(2026, 11, 19))


@pytest.mark.requirement("PS-22")
def test_a_scheduled_or_backfilled_run_is_about_its_interval() -> None:
    interval = {
        "interval_start": datetime(2026, 11, 10, tzinfo=UTC),
        "interval_end": datetime(2026, 11, 11, tzinfo=UTC),
    }
    assert _window(**interval) == DateWindow(date(2026, 11, 10), date(2026, 11, 10))


@pytest.mark.requirement("PS-23")
def test_start_and_end_date_win_and_are_inclusive() -> None:
    interval = {
        "interval_start": datetime(2026, 11, 10, tzinfo=UTC),
        "interval_end": datetime(2026, 11, 11, tzinfo=UTC),
    }
    window = _window(start_date="2026-10-01", end_date="2026-10-31", **interval)
    assert (window.first, window.last, window.days) == (date(2026, 10, 1), date(2026, 10, 31), 31)


@pytest.mark.parametrize(
    ("dates", "problem"),
    [
        ({"start_date": "2026-10-02", "end_date": "2026-10-01"}, "Start Date 2026-10-02 is after End Date 2026-10-01"),
        ({"start_date": "2026-10-02"}, "Only one of Start Date and End Date is given"),
        ({"start_date": "soon", "end_date": "2026-10-01"}, "start_date 'soon' is not a date"),
    ],
)
def test_dates_that_make_no_sense_are_refused(dates: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidParameter, match=problem):
        _window(**dates)
