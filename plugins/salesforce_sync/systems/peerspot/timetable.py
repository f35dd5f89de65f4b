"""The intent timetable: a run is dated with the day that its data is about, and starts when the vendor has that day complete."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable
from pendulum import UTC, Date, DateTime

from salesforce_sync.errors import InvalidSetting
from salesforce_sync.systems.peerspot.settings import SLOT

# 01:00 to 04:45 in steps of 15 minutes, as PeerSpot's guide gives them.
SLOTS = tuple(f"{hour:02d}:{minute:02d}" for hour in range(1, 5) for minute in (0, 15, 30, 45))
DAYS_BEHIND = 2  # a daily run is about the day before yesterday: PeerSpot needs a day to complete a day
ONE_DAY = timedelta(days=1)


class IntentTimetable(Timetable):
    """The run of day D covers [D 00:00, D+1 00:00) UTC and starts on D+2 at the slot.

    The logical date is the midnight of the day that the data is about, so a backfill from the 10th to the 12th in the UI runs exactly the
    10th, 11th and 12th. `at` is one of SLOTS; another time raises InvalidSetting when the DAG is parsed.
    """

    def __init__(self, at: str = "03:30") -> None:
        if at not in SLOTS:
            raise InvalidSetting(
                f"The PeerSpot slot {at!r} is not one of {SLOTS[0]}, {SLOTS[1]}, ... {SLOTS[-1]}.",
                fix=f"Set the environment variable {SLOT} to one of them.",
            )
        self.at = at
        self.description = f"Daily at {at} UTC, for the day before yesterday"

    @property
    def summary(self) -> str:
        return f"daily {self.at}, D-{DAYS_BEHIND}"

    def serialize(self) -> dict[str, Any]:
        return {"at": self.at}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> IntentTimetable:
        return cls(data["at"])

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """The day that contains the logical date of a manual run or a backfill."""
        return self._interval(run_after.in_timezone(UTC).date())

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        if last_automated_data_interval is not None:
            day = last_automated_data_interval.end.in_timezone(UTC).date()
        elif restriction.earliest is not None:
            day = _day_that_begins_at(restriction.earliest)
        else:
            return None
        if not restriction.catchup:
            day = max(day, self._newest_due())
        if restriction.latest is not None and day > _day_that_begins_at(restriction.latest):
            return None
        return DagRunInfo(run_after=self._run_after(day), data_interval=self._interval(day))

    def _newest_due(self) -> Date:
        """The latest day whose run is due by now."""
        now = DateTime.now(UTC)
        day = now.date().subtract(days=DAYS_BEHIND)
        return day if self._run_after(day) <= now else day.subtract(days=1)

    def _run_after(self, day: Date) -> DateTime:
        hour, minute = map(int, re.split(":", self.at))
        return self._midnight(day.add(days=DAYS_BEHIND)).add(hours=hour, minutes=minute)

    def _interval(self, day: Date) -> DataInterval:
        start = self._midnight(day)
        return DataInterval(start, start + ONE_DAY)

    @staticmethod
    def _midnight(day: Date) -> DateTime:
        return DateTime(day.year, day.month, day.day, tzinfo=UTC)


def _day_that_begins_at(moment: DateTime) -> Date:
    """The day whose local midnight this moment is: Airflow's form gives the midnights of a backfill in the time zone of its pages.

    Right for all zones from 10 hours behind UTC to 13 hours before it.
    """
    return moment.in_timezone(UTC).add(hours=13).date()
