"""SOQL's date literals as intervals: TODAY, LAST_N_DAYS:7, THIS_QUARTER and the like."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from emulators.salesforce.errors import ApiError

_SPANS = ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR")


def interval(name: str, count: int | None, today: date) -> tuple[date, date]:
    """[first day, day after the last) of a date literal; weeks start on Sunday, as in an org's US locale."""
    try:
        return _interval(name, count, today)
    except (OverflowError, ValueError):
        raise ApiError("MALFORMED_QUERY", f"the date literal {name}:{count} leads out of the calendar") from None


def _interval(name: str, count: int | None, today: date) -> tuple[date, date]:
    name = name.replace("FISCAL_", "")  # the fiscal year is the calendar year
    if name in ("TODAY", "YESTERDAY", "TOMORROW"):
        first = today + timedelta(days={"YESTERDAY": -1, "TODAY": 0, "TOMORROW": 1}[name])
        return first, first + timedelta(days=1)
    if name == "LAST_90_DAYS":
        return today - timedelta(days=90), today + timedelta(days=1)
    if name == "NEXT_90_DAYS":
        return today + timedelta(days=1), today + timedelta(days=91)
    word, _, rest = name.partition("_")
    if word in ("THIS", "LAST", "NEXT") and rest in _SPANS:
        step = {"THIS": 0, "LAST": -1, "NEXT": 1}[word]
        return _start(rest, today, step), _start(rest, today, step + 1)
    if count is not None and rest.startswith("N_") and word in ("LAST", "NEXT"):
        return _counted(word, rest.removeprefix("N_"), count, today)
    if count is not None and name.startswith("N_") and name.endswith("_AGO"):
        span = name.removeprefix("N_").removesuffix("S_AGO")
        if span in _SPANS:
            return _start(span, today, -count), _start(span, today, -count + 1)
    raise ApiError("MALFORMED_QUERY", f"unexpected token: '{name}'")


def _counted(word: str, plural: str, count: int, today: date) -> tuple[date, date]:
    span = plural.removesuffix("S")
    if span not in _SPANS:
        raise ApiError("MALFORMED_QUERY", f"unexpected token: '{word}_N_{plural}'")
    if word == "LAST":
        last = today + timedelta(days=1) if span == "DAY" else _start(span, today, 0)
        return _start(span, today, -count), last
    return _start(span, today, 1), _start(span, today, count + 1)


def _start(span: str, today: date, step: int) -> date:
    """The first day of the span that lies `step` spans from today's."""
    if span == "DAY":
        return today + timedelta(days=step)
    if span == "WEEK":
        return today - timedelta(days=(today.weekday() + 1) % 7) + timedelta(weeks=step)
    months = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}[span]
    index = today.year * 12 + (today.month - 1)
    index = (index // months + step) * months
    return date(index // 12, index % 12 + 1, 1)


def midnight(day: date) -> str:
    """The day's first moment as a date-time is stored."""
    return datetime.combine(day, time()).strftime("%Y-%m-%dT%H:%M:%S.000Z")
