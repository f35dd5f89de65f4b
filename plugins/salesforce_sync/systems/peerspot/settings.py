"""PeerSpot's own Variables, and the environment variable that dates its daily run."""

from __future__ import annotations

import os
import re

from salesforce_sync.settings import Setting, one_of, some_of, whole_number


def _campaign_id(text: str) -> str:
    if text.strip() and not re.fullmatch(r"701[A-Za-z0-9]{12}([A-Za-z0-9]{3})?", text.strip()):
        raise ValueError
    return text.strip()


# fmt: off
RETENTION_DAYS = Setting(
    "peerspot_retention_days", "180", "a whole number from 1 to 999",
    "PeerSpot activities whose Date Visited is more than this many days ago are deleted from Salesforce by the task `clean`.",
    whole_number(1, 999),
)
CATCH_UP_DAYS = Setting(
    "peerspot_catch_up_days", "30", "a whole number from 1 to 365",
    "How many days back a scheduled run looks for days that nobody read, because the scheduler was down, say.",
    whole_number(1, 365),
)
ACCOUNT_CHOICE = Setting(
    "peerspot_account_choice", "parentless_oldest", "parentless_oldest or oldest",
    "Which Account gets an activity when several have its domain: the oldest, or the oldest of those without a parent Account.",
    one_of("parentless_oldest", "oldest"),
)
SIGNALS = Setting(
    "peerspot_signals", "", "some of churn, open_opportunities, win_back, nurture, prospects, separated by commas, or empty",
    "What recent intent does in Salesforce besides being recorded; docs/runbooks/peerspot.md describes each signal.",
    some_of("churn", "open_opportunities", "win_back", "nurture", "prospects"),
)
NURTURE_CAMPAIGN = Setting(
    "peerspot_nurture_campaign", "", "the id of a Campaign, 15 or 18 characters, or empty",
    "The Campaign that the signal nurture adds dormant Leads to.",
    _campaign_id,
)
PROSPECTS_PATH = Setting(
    "peerspot_prospects_path", "", "a file that the worker can write, or empty",
    "The CSV file that the signal prospects writes.",
    str.strip,
)
# fmt: on
SETTINGS = (RETENTION_DAYS, CATCH_UP_DAYS, ACCOUNT_CHOICE, SIGNALS, NURTURE_CAMPAIGN, PROSPECTS_PATH)

# Environment variables, for what has to be known when a DAG file is parsed: reading a Variable there would cost a query every 30 seconds.
SLOT = "SALESFORCE_SYNC_PEERSPOT_SLOT"


def peerspot_slot() -> str:
    """When the daily PeerSpot run starts, HH:MM in UTC: the environment's choice, or 03:30."""
    return os.environ.get(SLOT, "03:30")
