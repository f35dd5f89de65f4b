"""Preact's own Variables."""

from __future__ import annotations

import re

from salesforce_sync.settings import Setting, one_of, whole_number

PREACT, SQL, FILE = "preact", "sql", "file"  # where the metrics are read
Bands = tuple[tuple[str, float], ...]
_BAND = re.compile(r"(?P<label>[^\W\d][^\d,;]*?)\s+(?P<start>-?\d+(?:\.\d+)?)")


def bands(text: str) -> Bands:
    """Labels, each with the score from which it counts, the highest first."""
    found = [_BAND.fullmatch(part.strip()) for part in re.split(r"[,;]", text)]
    if not all(found):
        raise ValueError
    pairs = [(match["label"].strip(), float(match["start"])) for match in found if match]
    if len({start for _, start in pairs}) < len(pairs):
        raise ValueError
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))


def mapping_name(text: str) -> str:
    """The name of a mapping, or nothing."""
    name = text.strip()
    if name and not re.fullmatch(r"[\w-]+(?:/[\w-]+)+", name):
        raise ValueError
    return name


_NAME = "the name of a mapping, such as preact/account_metrics, or empty"
# fmt: off
SOURCE = Setting(
    "preact_source", PREACT, "preact, sql or file",
    "Where the metrics are read: in Preact's reports, in a database, or in files.",
    one_of(PREACT, SQL, FILE),
)
ACCOUNTS = Setting(
    "preact_accounts", "", "a SQL query, or a .csv or .parquet file",
    "The query or the file that gives the accounts, when `preact_source` is sql or file. Its columns are the paths of the mapping.",
    str.strip,
)
PEOPLE = Setting(
    "preact_people", "", "a SQL query, or a .csv or .parquet file",
    "The same for people.",
    str.strip,
)
ACCOUNT_METRICS = Setting(
    "preact_account_metrics", "preact/account_metrics", _NAME,
    "The mapping by which account metrics go to Salesforce. Empty: they do not.",
    mapping_name,
)
PERSON_METRICS = Setting(
    "preact_person_metrics", "preact/person_metrics", _NAME,
    "The mapping by which the metrics of people go to Salesforce. Empty: they do not.",
    mapping_name,
)
ACCOUNT_DATA = Setting(
    "preact_account_data", "preact/account_data", _NAME,
    "The mapping by which account data goes to Preact. Empty: it does not.",
    mapping_name,
)
PERSON_DATA = Setting(
    "preact_person_data", "preact/person_data", _NAME,
    "The mapping by which the data of people goes to Preact. Empty: it does not.",
    mapping_name,
)
ACTIVITY_BANDS = Setting(
    "preact_activity_bands", "High 50, Low 0", "labels, each with the score from which it counts, separated by commas",
    "The Activity Score Label of a record that comes without one.",
    bands,
)
HEALTH_BANDS = Setting(
    "preact_health_bands", "Good 50, Poor 0", "labels, each with the score from which it counts, separated by commas",
    "The Health Score Label of a record that comes without one.",
    bands,
)
HEARTBEAT_DAYS = Setting(
    "preact_heartbeat_days", "0", "a whole number from 0 to 365; 0 for never",
    "After how many days all metrics are sent, changed or not, so that Preact Last Sync Date is never older.",
    whole_number(0, 365),
)
# fmt: on
SETTINGS = (
    SOURCE,
    ACCOUNTS,
    PEOPLE,
    ACCOUNT_METRICS,
    PERSON_METRICS,
    ACCOUNT_DATA,
    PERSON_DATA,
    ACTIVITY_BANDS,
    HEALTH_BANDS,
    HEARTBEAT_DAYS,
)  # fmt: skip
