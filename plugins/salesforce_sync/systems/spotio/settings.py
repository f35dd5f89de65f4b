"""SPOTIO's own Variables."""

from __future__ import annotations

from salesforce_sync.settings import Setting, one_named, one_of, whole_number

# fmt: off
TARGET = Setting(
    "spotio_target", "lead", "lead or account",
    "What SPOTIO's records are kept equal with: Leads (the mapping spotio/leads), or Accounts with a Contact each (spotio/accounts).",
    one_named({"lead": "spotio/leads", "account": "spotio/accounts"}),
)
INITIAL_IMPORT = Setting(
    "spotio_initial_import", "none", "none, all or selective",
    "Which records that were there before the sync was switched on are created on the other side: none, all, or those that the mapping's "
    "`create` selects. Records that already have a counterpart are kept equal in any case.",
    one_of("none", "all", "selective"),
)
CONFLICTS = Setting(
    "spotio_conflicts", "newest", "newest, salesforce_wins or spotio_wins",
    "Which value stays when a field was changed on both sides since they last agreed. The other one is in the sync log.",
    one_of("newest", "salesforce_wins", "spotio_wins"),
)
DELETED = Setting(
    "spotio_deleted", "log", "log or delete",
    "What happens to the counterpart of a record that was deleted on one side: it is only logged, or the counterpart is deleted, too.",
    one_of("log", "delete"),
)
SHADOW = Setting(
    "spotio_shadow", "off", "off or on",
    "Whether the sync of records writes nothing, and compares what it would write with what your present connector does: see "
    "docs/runbooks/spotio.md.",
    one_of("off", "on"),
)
LOOKBACK = Setting(
    "spotio_lookback_minutes", "5", "a whole number from 1 to 1440",
    "How long before the last reading of SPOTIO the next one begins: longer than its lists may lag behind.",
    whole_number(1, 1440),
)
# fmt: on
SETTINGS = (TARGET, INITIAL_IMPORT, CONFLICTS, DELETED, SHADOW, LOOKBACK)
