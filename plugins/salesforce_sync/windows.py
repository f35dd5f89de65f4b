"""Which days a run is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from salesforce_sync.errors import InvalidParameter


@dataclass(frozen=True)
class DateWindow:
    """Calendar days in UTC, both inclusive."""

    first: date
    last: date

    @classmethod
    def today(cls) -> DateWindow:
        day = datetime.now(UTC).date()
        return cls(day, day)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


def resolve_window(
    *,
    start_date: str | None,
    end_date: str | None,
    interval_start: datetime | None,
    interval_end: datetime | None,
    run_after: datetime,
    days_behind: int,
) -> DateWindow:
    """The run's days: its Start and End Date if it was given both, else its data interval, else the day `days_behind` days before it runs.

    A manual run has no data interval unless it was triggered with a logical date, and an interval that is not over yet does not count.
    InvalidParameter for one date alone, dates in the wrong order, or text that is no date.
    """
    if start_date or end_date:
        if not (start_date and end_date):
            raise InvalidParameter(
                "Only one of Start Date and End Date is given.",
                fix="Give both (the same day twice for one day), or neither.",
            )
        window = DateWindow(_day("start_date", start_date), _day("end_date", end_date))
        if window.first > window.last:
            raise InvalidParameter(
                f"Start Date {window.first} is after End Date {window.last}.",
                fix="Trigger the run again with the dates swapped.",
            )
        return window
    # The UI's trigger form fills in the present moment as logical date, which makes today the interval: a day that is not over is not meant.
    if interval_start is not None and interval_end is not None and interval_start < interval_end <= run_after:
        last = interval_end.astimezone(UTC) - timedelta(microseconds=1)
        return DateWindow(interval_start.astimezone(UTC).date(), last.date())
    day = run_after.astimezone(UTC).date() - timedelta(days=days_behind)
    return DateWindow(day, day)


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidParameter(f"{name} {text!r} is not a date.", fix="Write it as YYYY-MM-DD.") from None
