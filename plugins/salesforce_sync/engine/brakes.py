"""Brakes: what a run may do only when somebody has looked at it. They are pulled before anything is done."""

from __future__ import annotations

from collections.abc import Sequence

from salesforce_sync.errors import HeldBack

FLOOR = 20  # records; fewer are never held back
SHOWN = 3


def check_deletions(
    what: str, *, doomed: int, total: int, percent: int, samples: Sequence[str], setting: str, cause: str
) -> None:
    """HeldBack when more than `percent` of `total` records, and more than FLOOR, would be deleted.

    `setting` is the Variable that holds the percentage; `cause` says what decides how many go.
    """
    share = 100 * doomed / total if total else 0
    if doomed <= FLOOR or share <= percent:
        return
    raise HeldBack(
        f"{what}: {doomed:,} of {total:,} records would be deleted, {share:.0f} %; up to {percent} % are, unasked. Nothing was deleted. "
        f"Among them: {', '.join(samples[:SHOWN])}.",
        fix=f"Check {cause}. To delete them, set the Variable {setting} to {min(100, int(share) + 1)}, clear this task, and set it back.",
    )
