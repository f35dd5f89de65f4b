"""Comparing: both sides of a mapping are read, and each difference gets its reason."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from salesforce_sync.operators.base import SyncOperator, log, salesforce_context
from salesforce_sync.settings import WHOLE_DAYS, Setting, name_of, names_of, read_setting

if TYPE_CHECKING:
    from salesforce_sync.engine.compare import Comparison
    from salesforce_sync.engine.context import Context
    from salesforce_sync.engine.deliver import Delivered
    from salesforce_sync.mapping.model import MappingFile


class CompareOperator(SyncOperator):
    """Compares the mappings' two sides; returns the counts by why records differ. Fails when something differs that
    nothing explains.

    Skipped in a run whose parameter `mapping` names another one, and while the system has no credentials.
    """

    def __init__(self, *, system: str, mappings: Sequence[str | Setting], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.system = system
        self.mappings = mappings

    def run_step(self, context: Any) -> dict[str, Any]:
        from salesforce_sync.engine.compare import FILE, judge, save
        from salesforce_sync.engine.dry import pretended, rehearsal
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.systems import vendor_hook

        wanted, names = context["params"].get("mapping"), self.names()
        if wanted and wanted not in names:
            raise AirflowSkipException(f"This run compares {wanted}.")
        if not wanted and not self.is_set_up():
            raise AirflowSkipException(f"There are no credentials for {self.system}.")
        if not names:
            raise AirflowSkipException("The settings name no mapping.")
        mappings = {name: load_mapping(name) for name in names}
        with salesforce_context(context, dry=False) as real:
            real.salesforce.read_only = True
            with rehearsal(real, look_at_all=True) as work:
                delivered = self.rehearse(context, work, mappings, pretended(vendor_hook(self.system)))
                if delivered.rehearsed is None:
                    log.info("There is nothing to compare: neither side has a record of %s.", ", ".join(names))
                    return {"same": 0}
                found = self.compared(work, mappings, delivered, real)
                save(work, found)
        for line in found.lines():
            log.info("%s", line)
        log.info("The figures are in %s", found.folder / FILE)
        judge(found)
        return {"same": found.same, **found.counts}

    def names(self) -> Sequence[str]:
        """The mappings that are compared."""
        return names_of(self.mappings)

    def is_set_up(self) -> bool:
        """Whether there is anything to compare with."""
        from salesforce_sync.hooks.credentials import is_set_up

        return is_set_up(self.system)

    def compared(
        self, work: Context, mappings: dict[str, MappingFile], delivered: Delivered, real: Context
    ) -> Comparison:
        from salesforce_sync.engine.compare import compare

        return compare(work, mappings, delivered, real)

    def rehearse(self, context: Any, work: Context, mappings: dict[str, MappingFile], hook: Any) -> Delivered:
        """A dry run of everything that the mappings are about."""
        raise NotImplementedError


class CompareDaysOperator(CompareOperator):
    """For a mapping to Salesforce whose vendor is read by days: those of the last `days` (the run's parameter), but for
    the last `days_behind`."""

    def __init__(self, *, mapping: str, days_behind: int = 1, **kwargs: Any) -> None:
        super().__init__(mappings=[mapping], **kwargs)
        self.days_behind = days_behind

    def rehearse(self, context: Any, work: Context, mappings: dict[str, MappingFile], hook: Any) -> Delivered:
        from salesforce_sync.engine.read_days import Span, read_days
        from salesforce_sync.engine.to_salesforce import deliver_to_salesforce
        from salesforce_sync.windows import DateWindow

        ((name, mapping),) = mappings.items()
        last = datetime.now(UTC).date() - timedelta(days=self.days_behind)
        window = DateWindow(last - timedelta(days=int(context["params"]["days"]) - 1), last)
        read_days(work, hook, name, mapping, Span(window), resend=True)
        return deliver_to_salesforce(work, name, mapping)


class CompareWithVendorOperator(CompareOperator):
    """For mappings to one stream of a vendor."""

    def __init__(self, *, deleted: Setting | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deleted = deleted

    def rehearse(self, context: Any, work: Context, mappings: dict[str, MappingFile], hook: Any) -> Delivered:
        from salesforce_sync.engine.from_salesforce import read_changes
        from salesforce_sync.engine.to_vendor import deliver_to_vendor

        for name, mapping in mappings.items():
            read_changes(work, name, mapping, full=True, resend=True)
        delete = self.deleted is not None and read_setting(self.deleted) == "delete"
        return deliver_to_vendor(work, self.system, mappings, hook, delete=delete)


class CompareBothWaysOperator(CompareOperator):
    """For the mapping both ways `flow`, or the one that this setting names. The other settings are as in
    KeepEqualOperator."""

    def __init__(
        self, *, flow: str | Setting, conflicts: Setting, first: Setting, deleted: Setting, **kwargs: Any
    ) -> None:
        super().__init__(mappings=[], **kwargs)
        self.flow, self.conflicts, self.first, self.deleted = flow, conflicts, first, deleted

    def names(self) -> Sequence[str]:
        return [name_of(self.flow)]

    def compared(
        self, work: Context, mappings: dict[str, MappingFile], delivered: Delivered, real: Context
    ) -> Comparison:
        from salesforce_sync.engine.two_way.comparing import compare_both_ways

        ((flow, mapping),) = mappings.items()
        return compare_both_ways(work, flow, mapping, delivered, real)

    def rehearse(self, context: Any, work: Context, mappings: dict[str, MappingFile], hook: Any) -> Delivered:
        from salesforce_sync.engine.two_way.end import deliver_both_ways
        from salesforce_sync.engine.two_way.reading import read_ours, read_theirs
        from salesforce_sync.operators.deliver import rules_of

        ((flow, mapping),) = mappings.items()
        read_ours(work, flow, mapping, full=True, resend=True)
        read_theirs(
            work, flow, mapping, hook, full=True, resend=True, lookback=timedelta(0), whole_days=read_setting(WHOLE_DAYS)
        )  # fmt: skip
        rules = rules_of(self.conflicts, self.first, self.deleted)
        return deliver_both_ways(work, self.system, flow, mapping, hook, rules)
