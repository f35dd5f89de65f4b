"""What Preact makes of the customers that it was told of: metrics that are the same whenever they are asked for on one day."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any


def account_metrics(identity: str, now: datetime) -> dict[str, Any]:
    """The metrics of the account with this external identifier. Its label of health comes with them, that of its activity
    does not."""
    random = Random(f"{identity} {now:%Y-%m-%d}")
    month = random.randrange(0, 200)
    health = random.randrange(20, 100)
    return {
        "preact_account_id": f"pa-{identity}", "active_users_month": month, "active_users_week": month // 3,
        "activity_score": random.randrange(0, 101), "health_score": health, "health_score_label": _health(health),
        "last_activity_at": _day(random, now), "nps_score": random.randrange(0, 11), "nps_response_count": random.randrange(0, 20),
        "nps_updated_at": _day(random, now),
    }  # fmt: skip


def person_metrics(identity: str, now: datetime) -> dict[str, Any]:
    """The metrics of the person with this uid."""
    random = Random(f"{identity} {now:%Y-%m-%d}")
    health = random.randrange(20, 100)
    return {
        "preact_person_id": f"pp-{identity}", "external_identifier": identity, "activity_score": random.randrange(0, 101),
        "health_score": health, "health_score_label": _health(health), "last_activity_at": _day(random, now),
        "nps_score": random.randrange(0, 11), "nps_updated_at": _day(random, now),
    }  # fmt: skip


def _health(score: int) -> str:
    return "Good" if score >= 50 else "Poor"


def _day(random: Random, now: datetime) -> str:
    return (now - timedelta(days=random.randrange(0, 30))).date().isoformat()
