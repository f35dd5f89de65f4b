"""The tables. State is kept apart by `org` (the org's 18-character id), so that a sandbox and the production org never mix."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only in an INTEGER key
_Moment = DateTime(timezone=True)

sync_runs = Table(
    "sync_runs", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("step", String(200), nullable=False),  # a mapping's name, or a step's: peerspot/activities, peerspot/process
    Column("org", String(18)),
    Column("dag_id", String(250), nullable=False),
    Column("run_id", String(250), nullable=False),
    Column("task_id", String(250), nullable=False),
    Column("try_number", Integer, nullable=False),
    Column("status", String(20), nullable=False),  # running, success, limited, waiting, failed, interrupted
    Column("message", Text),
    Column("started_at", _Moment, nullable=False),
    Column("ended_at", _Moment),
    *(Column(name, Integer, nullable=False, server_default="0")
      for name in ("read", "created", "updated", "deleted", "unchanged", "skipped", "rejected", "api_calls")),
    Column("watermark_from", String(40)),
    Column("watermark_to", String(40)),
    Index(None, "dag_id", "run_id"),
    Index(None, "started_at"),
)  # fmt: skip

sync_log = Table(
    "sync_log", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("sync_run_id", _Id, ForeignKey("sync_runs.id", ondelete="CASCADE"), nullable=False),
    Column("record_id", String(255), nullable=False),
    Column("salesforce_id", String(18)),
    Column("outcome", String(20), nullable=False),
    Column("code", String(80)),
    Column("message", Text),
    Index(None, "record_id"),
    Index(None, "salesforce_id"),
    Index(None, "sync_run_id", "outcome"),
)  # fmt: skip

record_links = Table(
    "record_links", metadata,
    Column("org", String(18), primary_key=True),
    Column("mapping", String(200), primary_key=True),
    Column("record_id", String(255), primary_key=True),
    Column("salesforce_id", String(18), nullable=False),
    Column("fingerprint", String(16), nullable=False),
    Column("staged_fingerprint", String(16)),  # of the staged record, and what it was mapped by
    Column("vendor_id", String(255)),  # of a record that goes to a vendor; then record_id is its Salesforce id, too
    Column("unique_key", String(64)),  # a hash of the values that make it unique there
    Column("version", String(40)),  # when Salesforce last changed what was sent
    Column("linked_at", _Moment, nullable=False),
    Column("updated_at", _Moment, nullable=False),
    Index(None, "org", "mapping", "salesforce_id"),
    Index(None, "org", "mapping", "unique_key", sqlite_where=text("unique_key IS NOT NULL"), postgresql_where=text("unique_key IS NOT NULL")),
    Index(None, "org", "mapping", "vendor_id", sqlite_where=text("vendor_id IS NOT NULL"), postgresql_where=text("vendor_id IS NOT NULL")),
)  # fmt: skip

watermarks = Table(
    "watermarks", metadata,
    Column("org", String(18), primary_key=True),
    Column("stream", String(200), primary_key=True),
    Column("value", String(40), nullable=False),  # ISO text in UTC: text order is time order
    Column("updated_at", _Moment, nullable=False),
)  # fmt: skip

seen_versions = Table(
    "seen_versions", metadata,
    Column("org", String(18), primary_key=True),
    Column("stream", String(200), primary_key=True),
    Column("item", String(255), primary_key=True),
    Column("version", String(64), nullable=False),
    Column("seen_at", _Moment, nullable=False),
)  # fmt: skip

dead_letters = Table(
    "dead_letters", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("org", String(18), nullable=False),
    Column("mapping", String(200), nullable=False),
    Column("record_id", String(255), nullable=False),
    Column("payload", Text, nullable=False),
    Column("code", String(80), nullable=False),
    Column("message", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("sync_run_id", _Id),
    Column("first_failed_at", _Moment, nullable=False),
    Column("last_failed_at", _Moment, nullable=False),
    Column("resolved_at", _Moment),
    UniqueConstraint("org", "mapping", "record_id"),
)  # fmt: skip

account_domains = Table(
    "account_domains", metadata,
    Column("org", String(18), primary_key=True),
    Column("account_id", String(18), primary_key=True),
    Column("domain", String(255), nullable=False),
    Column("parent_id", String(18)),
    Column("created_at", String(40), nullable=False),
    Column("seen_at", _Moment, nullable=False),
    Index(None, "org", "domain"),
)  # fmt: skip

open_domains = Table(
    "open_domains", metadata,
    Column("org", String(18), primary_key=True),
    Column("domain", String(255), primary_key=True),
    Column("recheck", Boolean, nullable=False),
)  # fmt: skip

api_budget = Table(
    "api_budget", metadata,
    Column("org", String(18), primary_key=True),
    Column("allowed", Integer),  # in 24 hours, as the org last said; unknown at first
    Column("used", Integer, nullable=False),  # of them, by everybody
    Column("outstanding", Integer, nullable=False),  # taken by tasks in advance
    Column("reported_at", _Moment),
    Column("hour", _Moment, nullable=False),  # the clock hour that the next two columns count
    Column("hour_calls", Integer, nullable=False),
    Column("hour_logins", Integer, nullable=False),
)  # fmt: skip

salesforce_sessions = Table(
    "salesforce_sessions", metadata,
    Column("credentials", String(64), primary_key=True),  # a hash of them
    Column("sealed", Text),  # the token and its address, encrypted by a key made from the credentials' secret; null after it was voided
    Column("opened_at", _Moment, nullable=False),
)  # fmt: skip

described_objects = Table(
    "described_objects", metadata,
    Column("viewer", String(64), primary_key=True),  # a hash of org and user: permissions decide what describe shows
    Column("object", String(80), primary_key=True),
    Column("description", Text, nullable=False),  # JSON
    Column("described_at", _Moment, nullable=False),
)  # fmt: skip

bulk_jobs = Table(
    "bulk_jobs", metadata,
    Column("task", String(64), primary_key=True),  # a hash of DAG, run and task: only tries of one task take a job up again
    Column("content", String(64), primary_key=True),
    Column("job_id", String(18), nullable=False),
    Column("began_at", _Moment, nullable=False),
)  # fmt: skip

backlog = Table(
    "backlog", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),  # the order in which batches wait
    Column("org", String(18), nullable=False),
    Column("mapping", String(200), nullable=False),
    Column("path", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("high_cursor", String(40)),
    Column("waiting_since", _Moment, nullable=False),
    Index(None, "org", "mapping"),
)  # fmt: skip
