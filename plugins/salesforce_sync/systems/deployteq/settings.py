"""Deployteq's own Variables."""

from __future__ import annotations

import json

from salesforce_sync.settings import Setting, one_of, whole_number

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


# fmt: off
MOMENTS_DAYS = Setting(
    "deployteq_moments_days", "30", "a whole number from 1 to 365",
    "How long after an e-mail was sent its opens, clicks, bounces and complaints are still looked for.",
    whole_number(1, 365),
)
SYNCHRONIZE = Setting(
    "deployteq_synchronize", "",
    'JSON such as {"contacts": {"queue": 7, "continue": 8, "success": 9, "error": 10, "limit": 11}, "leads": {...}}, every number another '
    "group, all but the queue optional; or empty",
    "The Deployteq groups whose members are sent to Salesforce, and those that are told what became of them.",
    _synchronize,
)
DELETED = Setting(
    "deployteq_deleted", "log", "log or delete",
    "What happens at Deployteq to the customer of a Lead or Contact that is deleted or merged in Salesforce: it is only logged, or the "
    "customer is deleted.",
    one_of("log", "delete"),
)
# fmt: on
SETTINGS = (MOMENTS_DAYS, SYNCHRONIZE, DELETED)
