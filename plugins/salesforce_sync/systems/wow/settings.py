"""WOW Analytics' own Variables."""

from __future__ import annotations

from salesforce_sync.settings import Setting, one_of, whole_number, words


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise ValueError
    return value


# fmt: off
MODE = Setting(
    "wow_mode", "review", "review or auto",
    "Who decides about company leads: people, or, where it is clear, the rules that have proved themselves.",
    one_of("review", "auto"),
)
THRESHOLD = Setting(
    "wow_threshold", "0.92", "a number from 0 to 1",
    "How well a company lead has to agree with an Account to be it without a person.",
    share,
)
PRECISION = Setting(
    "wow_precision", "0.95", "a number from 0 to 1; 0 for no proof",
    "How right a rule has to be, by what people decided and with 95 % confidence, before it associates by itself.",
    share,
)
LEAD_TYPES = Setting(
    "wow_lead_types", "Lead", "types of leads separated by commas",
    "The types of leads that are read: Customer, Supplier, Partner, Self and the like are left out.",
    words,
)
LAST_NAME = Setting(
    "wow_last_name", "contact", "contact or company",
    "What is the last name of a created Lead, which Salesforce requires: that of the company's contact, or the company's name where there is "
    "none; or always the company's name.",
    one_of("contact", "company"),
)
CATCH_UP_DAYS = Setting(
    "wow_catch_up_days", "30", "a whole number from 1 to 365",
    "How many days back a run looks for days that nobody read.",
    whole_number(1, 365),
)
RETENTION_DAYS = Setting(
    "wow_retention_days", "365", "a whole number from 1 to 3650",
    "How long after its last visit a company lead is kept, with its candidates and what was decided.",
    whole_number(1, 3650),
)
# fmt: on
SETTINGS = (MODE, THRESHOLD, PRECISION, LEAD_TYPES, LAST_NAME, CATCH_UP_DAYS, RETENTION_DAYS)
