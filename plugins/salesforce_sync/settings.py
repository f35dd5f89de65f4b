"""Settings are Airflow Variables: name, default, rule and meaning. Here are the kinds, and the settings that all systems share.

What belongs to one system is in `systems/<system>/settings.py`; `systems.all_settings()` lists everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salesforce_sync.errors import InvalidSetting

_EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+")


@dataclass(frozen=True)
class Setting:
    """One Variable. `parse` gives the value or raises ValueError with the rule that the text breaks."""

    name: str
    default: str
    rule: str
    meaning: str
    parse: Callable[[str], Any]


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A whole number in decimal digits, `low` and `high` included."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]+", text.strip()) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return parse


def one_named(names: Mapping[str, str]) -> Callable[[str], str]:
    """What one of these words stands for."""

    def parse(text: str) -> str:
        if text.strip() not in names:
            raise ValueError
        return names[text.strip()]

    return parse


def one_of(*allowed: str) -> Callable[[str], str]:
    """One of these words."""

    def parse(text: str) -> str:
        if text.strip() not in allowed:
            raise ValueError
        return text.strip()

    return parse


def some_of(*allowed: str) -> Callable[[str], list[str]]:
    """Some of these words, or none, separated by commas, semicolons or blanks."""

    def parse(text: str) -> list[str]:
        parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
        if not set(parts) <= set(allowed):
            raise ValueError
        return parts

    return parse


def words(text: str) -> list[str]:
    """Any words, separated by commas, semicolons or blanks."""
    return [part for part in re.split(r"[,;\s]+", text.strip()) if part]


def _addresses(text: str) -> list[str]:
    parts = [part.strip() for part in re.split(r"[,;\s]+", text) if part.strip()]
    if not all(_EMAIL.fullmatch(part) for part in parts):
        raise ValueError
    return parts


# fmt: off
API_RESERVE_PERCENT = Setting(
    "salesforce_api_reserve_percent", "20", "a whole number from 0 to 90",
    "How much of the org's API calls in 24 hours the sync leaves for people and other tools. A run that may not spend more stops, and the "
    "next one goes on where it stopped.",
    whole_number(0, 90),
)
CALLS_PER_HOUR = Setting(
    "salesforce_calls_per_hour", "0", "a whole number from 0 to 1000000; 0 for no limit",
    "How many API calls all DAGs together may make within a clock hour.",
    whole_number(0, 1_000_000),
)
LOOKBACK_MINUTES = Setting(
    "salesforce_lookback_minutes", "5", "a whole number from 1 to 1440",
    "How long before the last reading the next one begins: longer than the org's longest transactions, whose records show late. What is "
    "read again and has not changed costs nothing but the reading.",
    whole_number(1, 1440),
)
WHOLE_DAYS = Setting(
    "salesforce_whole_reading_days", "7", "a whole number from 0 to 365; 0 for never",
    "After how many days a reading is of all records: it finds what was deleted for good, and formula fields, which change without a "
    "stamp. A mapping that reads a formula field is read whole every day, unless this is 0.",
    whole_number(0, 365),
)
DELETE_PERCENT = Setting(
    "brake_delete_percent", "10", "a whole number from 0 to 100; 100 lets everything pass",
    "Which share of an object's records a clean-up, and of the delivered ones a delivery, may delete without a person: more than 20 records "
    "and more than this wait for one.",
    whole_number(0, 100),
)
FIRST_CONTACT = Setting(
    "brake_first_contact_records", "100", "a whole number from 0 to 100000000",
    "How many records may go to a vendor, or to a standard object, for the first time without a person, where hardly any was delivered "
    "before.",
    whole_number(0, 100_000_000),
)
EMPTY_PERCENT = Setting(
    "brake_empty_percent", "10", "a whole number from 0 to 100; 100 lets everything pass",
    "By how many points the share of empty values of a field may rise above that of the mapping's last 30 days, before a person is asked "
    "whether more than 20 records may lose their value.",
    whole_number(0, 100),
)
APPROVE_DAGS = Setting(
    "approve_dags", "", "DAG ids separated by commas, or empty",
    "The DAGs whose plans all wait for a person: see docs/plans.md.",
    words,
)
REST_MINUTES = Setting(
    "delivery_rest_minutes", "10", "a whole number from 0 to 120",
    "How long a record rests after a call without an answer, before it is sent again: longer than the other side may still be at work "
    "on the call.",
    whole_number(0, 120),
)
LETTER_DAYS = Setting(
    "dead_letter_retention_days", "30", "a whole number from 1 to 3650",
    "How long a refused record is kept with its content, and read and sent again when it is due.",
    whole_number(1, 3650),
)
PLAN_DAYS = Setting(
    "plan_retention_days", "30", "a whole number from 1 to 365",
    "How long plans are kept: files beside the staged batches, with the values that were written.",
    whole_number(1, 365),
)
LOG_DAYS = Setting(
    "sync_log_retention_days", "90", "a whole number from 1 to 3650",
    "How long the sync log keeps what became of each record. The counts of every run stay.",
    whole_number(1, 3650),
)
ALERT_EMAILS = Setting(
    "alert_emails", "", "e-mail addresses separated by commas, or empty",
    "Who is told when a task has failed for good. Empty: nobody. Mail goes through the Connection `smtp_default`.",
    _addresses,
)
STAGING_PATH = Setting(
    "staging_path", "", "a folder or an object-storage URL that every worker reaches, or empty",
    "Where batches wait between tasks. Empty: the folder `staging` in AIRFLOW_HOME, right when all workers share one machine.",
    str.strip,
)
# fmt: on
SHARED = (
    API_RESERVE_PERCENT,
    CALLS_PER_HOUR,
    LOOKBACK_MINUTES,
    WHOLE_DAYS,
    DELETE_PERCENT,
    FIRST_CONTACT,
    EMPTY_PERCENT,
    APPROVE_DAGS,
    REST_MINUTES,
    LETTER_DAYS,
    PLAN_DAYS,
    LOG_DAYS,
    ALERT_EMAILS,
    STAGING_PATH,
)


def read_setting(setting: Setting) -> Any:
    """The value that the setting's Variable has now; InvalidSetting names the Variable and its rule when the text breaks it."""
    from airflow.sdk import Variable

    return parse_setting(setting, str(Variable.get(setting.name, default=setting.default)))


def name_of(flow: str | Setting, shadow: Setting | None = None) -> str:
    """The flow's name: as it is, or what the setting's Variable says now; that of its shadow when `shadow` says so."""
    from salesforce_sync.mapping.loader import SHADOW

    name = flow if isinstance(flow, str) else str(read_setting(flow))
    return f"{name}{SHADOW}" if shadow is not None and read_setting(shadow) == "on" else name


def names_of(flows: Sequence[str | Setting]) -> list[str]:
    """The names of the flows, as they are or as their settings' Variables say now; without those that a setting leaves
    empty."""
    return [name for name in map(name_of, flows) if name]


def parse_setting(setting: Setting, text: str) -> Any:
    """The value of this text under the setting's rule."""
    try:
        return setting.parse(text)
    except ValueError:
        raise InvalidSetting(
            f"The Variable {setting.name} is {text!r}; it must be {setting.rule}.",
            fix=f"Set {setting.name} under Admin > Variables, or delete it to have the default ({setting.default or 'empty'}).",
        ) from None
