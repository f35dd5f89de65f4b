"""Delivering: everything that waits in the inbox, whichever run read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from salesforce_sync.operators.base import (
    SyncOperator,
    is_dry,
    log,
    retention,
    run_identity,
    salesforce_context,
    vendor,
    vendor_context,
)
from salesforce_sync.settings import Setting, name_of, names_of, read_setting

if TYPE_CHECKING:
    from salesforce_sync.engine.context import Context
    from salesforce_sync.engine.two_way.sides import Rules
    from salesforce_sync.records import Counts


class DeliverOperator(SyncOperator):
    """Delivers all that waits for `mapping`, or for the one that this setting names, to Salesforce; returns the counts of what its own run read.
    Unchanged records are not sent again, but for those of a run whose parameter `resend` says so. Skipped when the setting names none.

    While another task delivers, it waits: until its own run's batches are done, or until it may go on itself.
    """

    def __init__(self, *, mapping: str | Setting, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mapping = mapping

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.engine.maintain import keep_house
        from salesforce_sync.engine.to_salesforce import deliver_to_salesforce
        from salesforce_sync.errors import LeaseHeld
        from salesforce_sync.mapping.loader import load_mapping

        (name,) = chosen([self.mapping])
        with salesforce_context(context) as work:
            try:
                done = deliver_to_salesforce(work, name, load_mapping(name)).counts
                log.info("%s: delivered in all: %s", name, done[name])
            except LeaseHeld:
                if _waits(work, context, [name]):
                    raise
                done = {}
            keep_house(work, retention())
            counts = done if is_dry(context) else _own_counts(work, context, [name]) or done
        return asdict(counts[name])


class DeliverToVendorOperator(SyncOperator):
    """Delivers all that waits for these mappings to one stream of the system; the first mapping has precedence where
    records want the same place there. A setting instead of a name stands for the mapping that it names now; skipped when
    there is none. Returns the counts of what its own run read, by mapping.

    `deleted` says what happens to records that are deleted in Salesforce: its value is `log` or `delete`. Without it, they
    are logged.
    """

    def __init__(
        self, *, system: str, mappings: Sequence[str | Setting], deleted: Setting | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.system = system
        self.mappings = mappings
        self.deleted = deleted

    def run_step(self, context: Any) -> dict[str, dict[str, int]]:
        from salesforce_sync.engine.maintain import keep_house
        from salesforce_sync.engine.to_vendor import deliver_to_vendor
        from salesforce_sync.errors import LeaseHeld
        from salesforce_sync.mapping.loader import load_mapping

        delete = self.deleted is not None and read_setting(self.deleted) == "delete"
        hook, mappings = vendor(context, self.system), {name: load_mapping(name) for name in chosen(self.mappings)}
        with vendor_context(context) as work:
            try:
                done = deliver_to_vendor(work, self.system, mappings, hook, delete=delete).counts
            except LeaseHeld:
                if _waits(work, context, [*mappings]):
                    raise
                done = {}
            keep_house(work, retention())
            for name, count in done.items():
                log.info("%s: delivered in all: %s", name, count)
            counts = done if is_dry(context) else _own_counts(work, context, [*mappings]) or done
        return {name: asdict(count) for name, count in counts.items()}


class KeepEqualOperator(SyncOperator):
    """Merges all that waits for the mapping both ways `flow`, or for the one that this setting names, and writes both
    sides: the one kind of task that holds the credentials of both. Returns the counts of what its own run read, by
    direction.

    `conflicts`, `first` and `deleted` are the settings behind the rules of engine.two_way: a value of `conflicts` that is
    neither newest nor salesforce_wins lets the vendor win. While the setting `shadow` is on, nothing is written: see
    engine.two_way.shadow.
    """

    def __init__(
        self,
        *,
        system: str,
        flow: str | Setting,
        conflicts: Setting,
        first: Setting,
        deleted: Setting,
        shadow: Setting | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.system, self.flow, self.shadow = system, flow, shadow
        self.conflicts, self.first, self.deleted = conflicts, first, deleted

    def run_step(self, context: Any) -> dict[str, dict[str, int]]:
        from salesforce_sync.engine.maintain import keep_house
        from salesforce_sync.engine.two_way.end import deliver_both_ways, group_of
        from salesforce_sync.errors import LeaseHeld
        from salesforce_sync.mapping.loader import SHADOW, load_mapping

        flow = name_of(self.flow, self.shadow)
        rules = replace(rules_of(self.conflicts, self.first, self.deleted), shadow=flow.endswith(SHADOW))
        hook, mapping = vendor(context, self.system), load_mapping(flow)
        names = group_of(self.system, flow, mapping).names
        with salesforce_context(context) as work:
            try:
                done = deliver_both_ways(work, self.system, flow, mapping, hook, rules).counts
            except LeaseHeld:
                if _waits(work, context, names):
                    raise
                done = {}
            keep_house(work, retention())
            for name, count in done.items():
                log.info("%s: delivered in all: %s", name, count)
            counts = done if is_dry(context) else _own_counts(work, context, names) or done
        return {name: asdict(count) for name, count in counts.items()}


def chosen(mappings: Sequence[str | Setting]) -> list[str]:
    """The names of the mappings; AirflowSkipException when their settings name none."""
    names = names_of(mappings)
    if not names:
        told = ", ".join(item.name for item in mappings if isinstance(item, Setting))
        raise AirflowSkipException(f"The Variable {told} names no mapping.")
    return names


def rules_of(conflicts: Setting, first: Setting, deleted: Setting) -> Rules:
    """The rules of a flow both ways, as these settings have them: see KeepEqualOperator."""
    from salesforce_sync.engine.two_way.sides import Rules

    policy = read_setting(conflicts)
    return Rules(
        conflict=policy if policy in ("newest", "salesforce_wins") else "vendor_wins", first=read_setting(first),
        follow_deletes=read_setting(deleted) == "delete",
    )  # fmt: skip


def _waits(work: Context, context: Any, mappings: Sequence[str]) -> bool:
    """Whether this task has to wait for the one that delivers: not when that one has delivered this run's batches."""
    from salesforce_sync.state import inbox
    from salesforce_sync.state.engine import reading

    with reading(work.state) as connection:
        found = inbox.of_run(connection, run_identity(context), mappings)
    return not found or any(status == inbox.WAITING for _, status in found)


def _own_counts(work: Context, context: Any, mappings: Sequence[str]) -> dict[str, Counts]:
    """What became of the batches that this run read, whichever task delivered them; nothing when it read none."""
    from salesforce_sync.records import Counts
    from salesforce_sync.state import inbox
    from salesforce_sync.state.engine import reading

    with reading(work.state) as connection:
        found = inbox.of_run(connection, run_identity(context), mappings)
    counts = dict.fromkeys(mappings, Counts()) if found else {}
    for batch, _ in found:
        counts[batch.mapping] += Counts(read=sum(batch.counts.values()), **batch.counts)
    for name, count in counts.items():
        log.info("%s: of what this run read: %s", name, count)
    return counts
