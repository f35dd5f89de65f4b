"""The choice among several Accounts that share a domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class AccountCandidate:
    """An Account on a domain; `created_at` is ISO text in UTC."""

    account_id: str
    parent_id: str | None
    created_at: str


# Setting `peerspot_account_choice` -> the order of preference. The id comes last, so that the choice is always the same.
CHOICES: dict[str, Callable[[AccountCandidate], tuple[object, ...]]] = {
    "parentless_oldest": lambda account: (account.parent_id is not None, account.created_at, account.account_id),
    "oldest": lambda account: (account.created_at, account.account_id),
}


def choose(candidates: Sequence[AccountCandidate], rule: str) -> AccountCandidate:
    """The Account that the rule prefers; there must be at least one candidate."""
    return min(candidates, key=CHOICES[rule])
