"""Reading: records are staged and registered in the inbox, from where any delivery takes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from salesforce_sync.operators.base import (
    SyncOperator,
    is_about_today,
    is_scheduled,
    log,
    salesforce_context,
    vendor,
    vendor_context,
    window,
)
from salesforce_sync.settings import LOOKBACK_MINUTES, WHOLE_DAYS, Setting, name_of, names_of, read_setting

if TYPE_CHECKING:
    from salesforce_sync.windows import DateWindow

# A vendor that is down for a night is asked until the morning: after 5, 10, 20, ... minutes, at most an hour.
PATIENT: dict[str, Any] = {
    "retries": 12,
    "retry_delay": timedelta(minutes=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(hours=1),
}


class ReadDaysOperator(SyncOperator):
    """Reads the records of the run's days as far as `mapping` reads them; a scheduled run also reads the days that nobody
    read, at most `catch_up` days back. A run that names no day is about the day `days_behind` days before it. Returns how many days
    and records.

    With `keep`, it warns of days that the clean-up will not keep.
    """

    def __init__(
        self, *, system: str, mapping: str, catch_up: Setting, keep: Setting | None = None, days_behind: int = 1, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**(PATIENT | kwargs))
        self.system = system
        self.mapping = mapping
        self.catch_up = catch_up
        self.keep = keep
        self.days_behind = days_behind

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.engine.read_days import Span, listed, read_days
        from salesforce_sync.mapping.loader import load_mapping

        days = window(context, days_behind=self.days_behind)
        hook = vendor(context, self.system)
        span = Span(days, is_scheduled(context), self._oldest(), due=is_about_today(context))
        resend = bool(context["params"].get("resend"))
        with vendor_context(context) as work:
            found = read_days(work, hook, self.mapping, load_mapping(self.mapping), span, resend=resend)
        self._warn_of_retention(days)
        log.info("%s: %d records of %s", self.mapping, found.count, listed(found.days))
        if found.missing:
            log.warning("%s: these days were not read: %s", self.mapping, listed(found.missing))
        if hook.removed:
            log.warning("%s sent personal data that it should not send; taken out: %s", self.system, dict(hook.removed))
        return {"days": len(found.days), "records": found.count, "missing_days": len(found.missing)}

    def _oldest(self) -> Any:
        days = read_setting(self.catch_up)
        if self.keep is not None:
            days = min(days, read_setting(self.keep))
        return datetime.now(UTC).date() - timedelta(days=days)

    def _warn_of_retention(self, days: DateWindow) -> None:
        if self.keep is None:
            return
        kept_from = datetime.now(UTC).date() - timedelta(days=read_setting(self.keep))
        if days.first < kept_from:
            log.warning(
                "Records before %s will be deleted again by this run's clean-up: %s keeps no more.",
                kept_from,
                self.keep.name,
            )


class ReadChangesOperator(SyncOperator):
    """Reads what changed in Salesforce since the last reading, by each of the mappings; returns how many, by mapping. A setting
    instead of a name stands for the mapping that it names now.

    The run parameter `full_sync` reads all records, as does a run that is due to.
    """

    def __init__(self, *, mappings: Sequence[str | Setting], **kwargs: Any) -> None:
        super().__init__(**(PATIENT | kwargs))
        self.mappings = mappings

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.engine.from_salesforce import Span, read_changes
        from salesforce_sync.mapping.loader import load_mapping

        params = context["params"]
        full, resend = bool(params.get("full_sync")), bool(params.get("resend"))
        span = Span(timedelta(minutes=read_setting(LOOKBACK_MINUTES)), read_setting(WHOLE_DAYS))
        counts = {}
        with salesforce_context(context) as work:
            for name in names_of(self.mappings):
                counts[name] = read_changes(work, name, load_mapping(name), full=full, resend=resend, span=span)
                log.info("%s: %d records changed", name, counts[name])
        return counts


class ReadOursOperator(SyncOperator):
    """Reads what changed in Salesforce for the mapping both ways `flow`, or the one that this setting names; returns
    how many records.

    The run parameter `full_sync` reads all records, as does a run that is due to. `shadow` is as in KeepEqualOperator.
    """

    def __init__(self, *, flow: str | Setting, shadow: Setting | None = None, **kwargs: Any) -> None:
        super().__init__(**(PATIENT | kwargs))
        self.flow, self.shadow = flow, shadow

    def run_step(self, context: Any) -> int:
        from salesforce_sync.engine.from_salesforce import Span
        from salesforce_sync.engine.two_way.reading import read_ours
        from salesforce_sync.mapping.loader import load_mapping

        flow, full = name_of(self.flow, self.shadow), bool(context["params"].get("full_sync"))
        mapping = load_mapping(flow)
        span = Span(timedelta(minutes=read_setting(LOOKBACK_MINUTES)), read_setting(WHOLE_DAYS))
        with salesforce_context(context) as work:
            count = read_ours(work, flow, mapping, full=full, span=span)
        log.info("%s: %d records changed in Salesforce", flow, count)
        return count


class ReadTheirsOperator(SyncOperator):
    """Reads what changed at the vendor for the mapping both ways `flow`, or the one that this setting names; returns
    how many records. `lookback` is how many minutes before the last reading it begins.

    The run parameter `full_sync` reads all records, as does a run that is due to. `shadow` is as in KeepEqualOperator.
    """

    def __init__(
        self, *, system: str, flow: str | Setting, lookback: Setting, shadow: Setting | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**(PATIENT | kwargs))
        self.system, self.flow, self.lookback, self.shadow = system, flow, lookback, shadow

    def run_step(self, context: Any) -> int:
        from salesforce_sync.engine.two_way.reading import read_theirs
        from salesforce_sync.mapping.loader import load_mapping

        flow, full = name_of(self.flow, self.shadow), bool(context["params"].get("full_sync"))
        mapping = load_mapping(flow)
        hook, lookback = vendor(context, self.system), timedelta(minutes=read_setting(self.lookback))
        with vendor_context(context) as work:
            whole_days = read_setting(WHOLE_DAYS)
            count = read_theirs(work, flow, mapping, hook, full=full, lookback=lookback, whole_days=whole_days)
        log.info("%s: %d records changed at %s", flow, count, self.system)
        return count
