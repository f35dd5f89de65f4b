"""Reading either side of a flow both ways, as far as its merging needs it."""

from __future__ import annotations

from datetime import timedelta

from salesforce_sync.engine.context import Context
from salesforce_sync.engine.from_salesforce import Span, read_changes
from salesforce_sync.engine.from_vendor import ChangesSource, read_vendor_changes
from salesforce_sync.engine.two_way.sides import member_name, salesforce_extras, vendor_paths
from salesforce_sync.mapping.model import MappingFile

PLAIN = Span()


def read_ours(
    context: Context, flow: str, mapping: MappingFile, *, full: bool = False, resend: bool = False, span: Span = PLAIN
) -> int:
    """Registers what changed in Salesforce; gives how many records. See from_salesforce.read_changes."""
    also = salesforce_extras(mapping)
    return read_changes(
        context, member_name(flow, theirs=False), mapping, full=full, resend=resend, span=span, also=also
    )


def read_theirs(
    context: Context,
    flow: str,
    mapping: MappingFile,
    source: ChangesSource,
    *,
    full: bool = False,
    resend: bool = False,
    lookback: timedelta,
    whole_days: int,
) -> int:
    """Registers what changed at the vendor; gives how many records. See from_vendor.read_vendor_changes."""
    return read_vendor_changes(
        context, flow, mapping.vendor.stream, source, vendor_paths(mapping), full=full, resend=resend,
        lookback=lookback, whole_days=whole_days,
    )  # fmt: skip
