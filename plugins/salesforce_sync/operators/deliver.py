"""Delivering: everything that waits in the inbox, whichever run read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from salesforce_sync.operators.base import (
    SyncOperator,
    log,
    retention,
    run_identity,
    salesforce_context,
    vendor_context,
)

if TYPE_CHECKING:
    from salesforce_sync.engine.context import Context
    from salesforce_sync.errors import LeaseHeld
    from salesforce_sync.records import Counts


class DeliverOperator(SyncOperator):
    """Delivers all that waits for `mapping` to Salesforce; returns the counts. Unchanged records are not sent again, but
    for those of a run whose parameter `resend` says so.

    While another task delivers, it waits: until its own run's batches are done, or until it may go on itself.
    """

    def __init__(self, *, mapping: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mapping = mapping

    def run_step(self, context: Any) -> dict[str, int]:
        from salesforce_sync.engine.maintain import keep_house
        from salesforce_sync.engine.to_salesforce import deliver_to_salesforce
        from salesforce_sync.errors import LeaseHeld
        from salesforce_sync.mapping.loader import load_mapping

        with salesforce_context(context) as work:
            try:
                counts = deliver_to_salesforce(work, self.mapping, load_mapping(self.mapping)).total
            except LeaseHeld as held:
                counts = _done_by_another(work, context, [self.mapping], held)[self.mapping]
            keep_house(work, retention())
        log.info("%s: %s", self.mapping, counts)
        return asdict(counts)


class DeliverToVendorOperator(SyncOperator):
    """Delivers all that waits for these mappings to one stream of the system; the first mapping has precedence where
    records want the same place there. Returns the counts by mapping.

    `deleted` names the Variable that says what happens to records that are deleted in Salesforce: `log` or `delete`.
    """

    def __init__(self, *, system: str, mappings: Sequence[str], deleted: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.system = system
        self.mappings = mappings
        self.deleted = deleted

    def run_step(self, context: Any) -> dict[str, dict[str, int]]:
        from salesforce_sync.engine.maintain import keep_house
        from salesforce_sync.engine.to_vendor import deliver_to_vendor
        from salesforce_sync.errors import LeaseHeld
        from salesforce_sync.mapping.loader import load_mapping
        from salesforce_sync.settings import read_setting
        from salesforce_sync.systems import vendor_hook

        hook, work = vendor_hook(self.system), vendor_context(context)
        delete = read_setting(self.deleted) == "delete"
        mappings = {name: load_mapping(name) for name in self.mappings}
        try:
            counts = deliver_to_vendor(work, self.system, mappings, hook, delete=delete).counts
        except LeaseHeld as held:
            counts = _done_by_another(work, context, self.mappings, held)
        keep_house(work, retention())
        for name, count in counts.items():
            log.info("%s: %s", name, count)
        return {name: asdict(count) for name, count in counts.items()}


def _done_by_another(work: Context, context: Any, mappings: Sequence[str], held: LeaseHeld) -> dict[str, Counts]:
    """What became of this run's batches, which another task delivered; raises `held` again while some still wait."""
    from salesforce_sync.records import Counts
    from salesforce_sync.state import inbox
    from salesforce_sync.state.engine import reading

    with reading(work.state) as connection:
        found = inbox.of_run(connection, run_identity(context), mappings)
    if not found or any(status == inbox.WAITING for _, status in found):
        raise held
    log.info("Another task has delivered this run's batches.")
    counts = dict.fromkeys(mappings, Counts())
    for batch, _ in found:
        counts[batch.mapping] += Counts(read=batch.ref.count, **batch.counts)
    return counts
