"""Every error that the package raises on purpose, by what the caller should do.

    SyncError
    + ConfigurationError   fail now, no retry        InvalidMapping, InvalidCredentials, InvalidSetting, InvalidParameter, MissingMetadata
    + TransientError       retry                     RateLimited(retry_after), ServiceUnavailable, RowLocked, StagingFailed, LeaseLost
    + PermanentError       fail now, alert           AuthenticationFailed, RequestRejected, TooManyRejects, HeldBack,
                                                     Differs, StagedDataMissing
    + BudgetExhausted      stop, no alert            the rest waits for the next run, which goes on where this one stopped
    + MustWait             wait elsewhere            for a Bulk job, a lease, or a call that may still land; then the same call again

A record that cannot be delivered is no exception but a result: see records.Outcome.REJECTED.

Each error carries `fix`: one sentence that tells a person what to do, shown in the log and in the alert.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SyncError(Exception):
    """What went wrong, in one sentence that names the thing; `fix` says what to do about it."""

    fix: str = ""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix or self.fix

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} Fix: {self.fix}" if self.fix else message


class ConfigurationError(SyncError):
    """Somebody has to change a setting; trying again cannot help."""


class InvalidMapping(ConfigurationError):
    """A mapping file is wrong, or does not fit the org."""


class InvalidCredentials(ConfigurationError):
    """A credentials Variable is missing or not of the shape that its system needs."""


class InvalidSetting(ConfigurationError):
    """A Variable holds a value that its setting does not allow."""


class InvalidParameter(ConfigurationError):
    """A run was triggered with parameters that contradict each other."""


class MissingMetadata(ConfigurationError):
    """The org lacks an object or field that the sync writes."""

    fix = "Deploy include/salesforce to the org (docs/operations.md, 'Preparing a Salesforce org') and give the integration user the permission set."


class TransientError(SyncError):
    """Likely to pass by itself: the task is retried."""


class RateLimited(TransientError):
    """The other side asks to wait; `retry_after` is in seconds, None when it did not say."""

    def __init__(self, system: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{system} limits the rate of requests.", fix="Nothing: the task waits and tries again.")
        self.retry_after = retry_after


class ServiceUnavailable(TransientError):
    """The other side does not answer, or answers with a fault of its own: then it was `answered`, with this `code`."""

    def __init__(self, message: str, *, code: str = "", answered: bool = False, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.code, self.answered = code, answered


class RowLocked(TransientError):
    """Salesforce could not lock a record in time."""


class LeaseLost(TransientError):
    """Another task took the target over, because this one gave no sign of life: what it had not committed is planned again."""


class StagingFailed(TransientError):
    """A batch could not be written to or read from the staging folder."""


class PermanentError(SyncError):
    """Trying again gives the same answer; a person has to look."""


class AuthenticationFailed(PermanentError):
    """The other side refused the credentials."""


class RequestRejected(PermanentError):
    """The other side refused a request as a whole; `code` is its error code."""

    def __init__(self, message: str, *, code: str = "", fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.code = code


class TooManyRejects(PermanentError):
    """More records were refused than the run's threshold allows; everything else is committed."""


class HeldBack(PermanentError):
    """A run would do more than a brake lets pass without a person; nothing of it was done."""


class Differs(PermanentError):
    """The two sides of a mapping differ, and nothing explains it."""


class StagedDataMissing(PermanentError):
    """A staged batch that this task should read is gone."""

    fix = "Nothing: the records count as not read, so that the next run reads them again."


class BudgetExhausted(SyncError):
    """The sync may make no more API calls for now: what is left of the org's allocation is kept for people."""

    fix = (
        "Nothing: the next run goes on where this one stopped. To spend more, lower salesforce_api_reserve_percent or raise "
        "salesforce_calls_per_hour."
    )


class MustWait(SyncError):
    """The task cannot go on yet; a worker should not wait for it. The same call again goes on."""


class JobUnderWay(MustWait):
    """A Bulk job takes longer than a worker should wait for; `path` is where Salesforce tells its state."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Salesforce is still at work on the Bulk job {path.rpartition('/')[2]}.")
        self.path = path


class LeaseHeld(MustWait):
    """Another task writes to the same target, or reads the same stream. `held` is its lease as it was seen."""

    def __init__(self, held: Any) -> None:
        super().__init__(f"{held.name} is in the hands of another task.")
        self.held = held


class CallsMayLand(MustWait):
    """Calls of a task that died, or that gave no answer, may still arrive: their records rest before they are sent again.

    `notes` say which sendings of which chunks: (plan, chunk, epoch, tries); `seconds` is how long they still have to rest.
    `after` is what makes the task fail all the same, once it has waited.
    """

    def __init__(self, notes: Sequence[tuple[int, int, int, int]], seconds: float, *, after: str = "") -> None:
        super().__init__(f"Calls without an answer may still arrive; their records rest for {seconds:.0f} s.")
        self.notes, self.seconds, self.after = list(notes), seconds, after
