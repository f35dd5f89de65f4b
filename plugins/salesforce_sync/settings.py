"""THE list of Airflow Variables: name, kind, default, range and meaning. docs/operations.md and the checks are made from it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
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


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]+", text.strip()) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return parse


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip() not in allowed:
            raise ValueError
        return text.strip()

    return parse


def _some_of(*allowed: str) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
        if not set(parts) <= set(allowed):
            raise ValueError
        return parts

    return parse


def _campaign_id(text: str) -> str:
    if text.strip() and not re.fullmatch(r"701[A-Za-z0-9]{12}([A-Za-z0-9]{3})?", text.strip()):
        raise ValueError
    return text.strip()


def _addresses(text: str) -> list[str]:
    parts = [part.strip() for part in re.split(r"[,;\s]+", text) if part.strip()]
    if not all(_EMAIL.fullmatch(part) for part in parts):
        raise ValueError
    return parts


OUTPUTS = ("continue", "success", "error", "limit")  # of a Synchronize object


def _synchronize(text: str) -> dict[str, dict[str, int]]:
    found = json.loads(text) if text.strip() else {}
    if not isinstance(found, dict) or not set(found) <= {"contacts", "leads"}:
        raise ValueError
    for groups in found.values():
        if not isinstance(groups, dict) or "queue" not in groups or not set(groups) <= {"queue", *OUTPUTS}:
            raise ValueError
        if not all(type(number) is int for number in groups.values()) or len(set(groups.values())) < len(groups):
            raise ValueError
    return found


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            "peerspot_retention_days", "180", "a whole number from 1 to 999",
            "PeerSpot activities whose Date Visited is more than this many days ago are deleted from Salesforce by the task `clean`.",
            _whole_number(1, 999),
        ),
        Setting(
            "peerspot_catch_up_days", "30", "a whole number from 1 to 365",
            "How many days back a scheduled run looks for days that nobody read, because the scheduler was down, say.",
            _whole_number(1, 365),
        ),
        Setting(
            "peerspot_account_choice", "parentless_oldest", "parentless_oldest or oldest",
            "Which Account gets an activity when several have its domain: the oldest, or the oldest of those without a parent Account.",
            _one_of("parentless_oldest", "oldest"),
        ),
        Setting(
            "peerspot_signals", "", "some of churn, open_opportunities, win_back, nurture, prospects, separated by commas, or empty",
            "What recent intent does in Salesforce besides being recorded; docs/runbooks/peerspot.md describes each signal.",
            _some_of("churn", "open_opportunities", "win_back", "nurture", "prospects"),
        ),
        Setting(
            "peerspot_nurture_campaign", "", "the id of a Campaign, 15 or 18 characters, or empty",
            "The Campaign that the signal nurture adds dormant Leads to.",
            _campaign_id,
        ),
        Setting(
            "peerspot_prospects_path", "", "a file that the worker can write, or empty",
            "The CSV file that the signal prospects writes.",
            str.strip,
        ),
        Setting(
            "deployteq_moments_days", "30", "a whole number from 1 to 365",
            "How long after an e-mail was sent its opens, clicks, bounces and complaints are still looked for.",
            _whole_number(1, 365),
        ),
        Setting(
            "deployteq_synchronize", "",
            'JSON such as {"contacts": {"queue": 7, "continue": 8, "success": 9, "error": 10, "limit": 11}, "leads": {...}}, every number another '
            "group, all but the queue optional; or empty",
            "The Deployteq groups whose members are sent to Salesforce, and those that are told what became of them.",
            _synchronize,
        ),
        Setting(
            "deployteq_deleted", "log", "log or delete",
            "What happens at Deployteq to the customer of a Lead or Contact that is deleted or merged in Salesforce: it is only logged, or the "
            "customer is deleted.",
            _one_of("log", "delete"),
        ),
        Setting(
            "salesforce_api_reserve_percent", "20", "a whole number from 0 to 90",
            "How much of the org's API calls in 24 hours the sync leaves for people and other tools. A run that may not spend more stops, and the "
            "next one goes on where it stopped.",
            _whole_number(0, 90),
        ),
        Setting(
            "salesforce_calls_per_hour", "0", "a whole number from 0 to 1000000; 0 for no limit",
            "How many API calls all DAGs together may make within a clock hour.",
            _whole_number(0, 1_000_000),
        ),
        Setting(
            "delivery_rest_minutes", "10", "a whole number from 0 to 120",
            "How long a record rests after a call without an answer, before it is sent again: longer than the other side may still be at work "
            "on the call.",
            _whole_number(0, 120),
        ),
        Setting(
            "dead_letter_retention_days", "30", "a whole number from 1 to 3650",
            "How long a refused record is kept with its content, and read and sent again when it is due.",
            _whole_number(1, 3650),
        ),
        Setting(
            "plan_retention_days", "30", "a whole number from 1 to 365",
            "How long plans are kept: files beside the staged batches, with the values that were written.",
            _whole_number(1, 365),
        ),
        Setting(
            "sync_log_retention_days", "90", "a whole number from 1 to 3650",
            "How long the sync log keeps what became of each record. The counts of every run stay.",
            _whole_number(1, 3650),
        ),
        Setting(
            "alert_emails", "", "e-mail addresses separated by commas, or empty",
            "Who is told when a task has failed for good. Empty: nobody. Mail goes through the Connection `smtp_default`.",
            _addresses,
        ),
        Setting(
            "staging_path", "", "a folder or an object-storage URL that every worker reaches, or empty",
            "Where batches wait between tasks. Empty: the folder `staging` in AIRFLOW_HOME, right when all workers share one machine.",
            str.strip,
        ),
    )
}  # fmt: skip

# Credentials: one JSON Variable per system; docs/operations.md shows what each holds.
CREDENTIALS = {
    "salesforce": "salesforce_credentials",
    "peerspot": "peerspot_credentials",
    "deployteq": "deployteq_credentials",
}


def read_setting(name: str) -> Any:
    """The value of a setting; InvalidSetting names the Variable and its rule when the text breaks it."""
    from airflow.sdk import Variable

    setting = SETTINGS[name]
    text = str(Variable.get(name, default=setting.default))
    return parse_setting(setting, text)


def parse_setting(setting: Setting, text: str) -> Any:
    """The value of this text under the setting's rule."""
    try:
        return setting.parse(text)
    except ValueError:
        raise InvalidSetting(
            f"The Variable {setting.name} is {text!r}; it must be {setting.rule}.",
            fix=f"Set {setting.name} under Admin > Variables, or delete it to have the default ({setting.default or 'empty'}).",
        ) from None


# Environment variables, for what has to be known when a DAG file is parsed: reading a Variable there would cost a query every 30 seconds.
PEERSPOT_SLOT = "SALESFORCE_SYNC_PEERSPOT_SLOT"


def peerspot_slot() -> str:
    """When the daily PeerSpot run starts, HH:MM in UTC: the environment's choice, or 03:30."""
    return os.environ.get(PEERSPOT_SLOT, "03:30")
