"""The tables. State is kept apart by `org` (the org's 18-character id), so that a sandbox and the production org never mix."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
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
    Column("status", String(20), nullable=False),  # running, success, held, limited, waiting, failed, interrupted, dry run
    Column("message", Text),
    Column("started_at", _Moment, nullable=False),
    Column("ended_at", _Moment),
    *(Column(name, Integer, nullable=False, server_default="0")
      for name in ("read", "created", "updated", "deleted", "unchanged", "skipped", "rejected", "waiting", "api_calls")),
    Column("watermark_from", String(40)),
    Column("watermark_to", String(40)),
    Index(None, "dag_id", "run_id"),
    Index(None, "started_at"),
)  # fmt: skip

sync_log = Table(
    "sync_log", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("sync_run_id", _Id, nullable=False),  # no foreign key: PostgreSQL would look up the same run for each row
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
    Column("version", String(40), nullable=False, server_default=""),  # the source's stamp of what was delivered, or ""
    Column("reading", BigInteger, nullable=False, server_default="0"),  # the number of the reading that it came with
    Column("fingerprint_version", Integer, nullable=False, server_default="1"),  # see mapping/fingerprint.py
    Column("consent", String(1)),  # Y or N: the consent that was last delivered for this record
    Column("gone", Boolean, nullable=False, server_default=false()),  # a tombstone: the record is gone, its version counts
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
    Column("version", String(40), nullable=False, server_default=""),
    Column("reading", BigInteger, nullable=False, server_default="0"),
    Column("origin", String(255)),  # where the record can be read again: a day, a mailing; null: by its id
    Column("due_at", _Moment),  # when it is read and sent again; null once it is resolved or given up
    Column("first_failed_at", _Moment, nullable=False),
    Column("last_failed_at", _Moment, nullable=False),
    Column("resolved_at", _Moment),
    Column("resolved_by", String(250)),  # a person who gave it up, for a reason
    Column("resolution", Text),
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

record_keys = Table(
    "record_keys", metadata,
    Column("org", String(18), primary_key=True),
    Column("mapping", String(200), primary_key=True),
    Column("salesforce_id", String(18), primary_key=True),
    Column("key", String(32), nullable=False),  # a hash of the value by which the mapping finds the record
    Column("seen_at", _Moment, nullable=False),
    Index(None, "org", "mapping", "key"),
)  # fmt: skip

account_names = Table(
    "account_names", metadata,
    Column("org", String(18), primary_key=True),
    Column("account_id", String(18), primary_key=True),
    Column("name", Text, nullable=False),
    Column("city", Text),
    Column("address", Text),  # street, postal code, city and country, as people are shown it
    Column("phone", Text),
    Column("owner_id", String(18)),
    Column("seen_at", _Moment, nullable=False),
)  # fmt: skip

company_leads = Table(
    "company_leads", metadata,
    Column("org", String(18), primary_key=True),
    Column("lead_id", String(255), primary_key=True),
    Column("name", Text, nullable=False),
    Column("domain", String(255)),
    Column("city", Text),
    Column("content", Text, nullable=False),  # JSON: what a created Lead is made of
    Column("mark", String(32), nullable=False),  # a hash of what is matched by
    Column("visited_on", String(10), nullable=False),  # the day of its last visit
    Column("state", String(20), nullable=False),  # not_checked, checked_no_action, lead_created, associated
    Column("evidence", Text, nullable=False, server_default="[]"),  # JSON: its candidates, the best first
    Column("action", String(10)),  # create, associate or ignore: what was decided, and the last decision counts
    Column("salesforce_id", String(18)),  # the Account that it is associated with, or the Lead that was created
    Column("person", String(250)),  # who decided; null: a rule
    Column("reason", Text),
    Column("decided_at", _Moment),
    Column("checked_at", _Moment),
    Index(None, "org", "state"),
)  # fmt: skip

lead_decisions = Table(
    "lead_decisions", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("org", String(18), nullable=False),
    Column("lead_id", String(255), nullable=False),
    Column("action", String(10), nullable=False),
    Column("salesforce_id", String(18)),
    Column("person", String(250)),
    Column("rule", String(20)),  # of the best candidate when it was decided
    Column("suggested_id", String(18)),  # that candidate
    Column("decided_at", _Moment, nullable=False),
    Index(None, "org", "lead_id"),
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

leases = Table(
    "leases", metadata,
    Column("name", String(255), primary_key=True),  # an org and what is written or read there
    Column("epoch", BigInteger, nullable=False),  # grows with every taking
    Column("holder", String(600)),  # which try of which task; null: free
    Column("beat", BigInteger, nullable=False),  # grows with every transaction of the holder
    Column("reading", BigInteger, nullable=False),  # the number of the last reading
)  # fmt: skip

inbox = Table(
    "inbox", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),  # the order in which batches were registered
    Column("org", String(18), nullable=False),
    Column("mapping", String(200), nullable=False),
    Column("stream", String(255), nullable=False),
    Column("reading", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("digest", String(64)),  # of the file; null: staged before there were digests
    Column("count", Integer, nullable=False),
    Column("origin", String(255)),  # the day or the mailing that the records are of
    Column("paths", Text),  # JSON: the paths that were staged; null: unknown
    Column("read_from", String(40)),  # the watermark before; "": none; null: the stream has no watermark
    Column("resend", Boolean, nullable=False, server_default=false()),
    Column("filled", Text),  # JSON: path -> rows with a value; a path that is in no record is left out; null: unknown
    Column("status", String(10), nullable=False),  # waiting, done, lost
    Column("settled", LargeBinary),  # which rows have their outcome: one bit a row, compressed
    Column("counts", Text),  # JSON: rows by outcome
    Column("dag_id", String(250), nullable=False),
    Column("run_id", String(250), nullable=False),
    Column("registered_at", _Moment, nullable=False),
    Column("ended_at", _Moment),
    Index(None, "org", "mapping", "status"),
    Index(None, "status", "ended_at"),
)  # fmt: skip

coverage = Table(
    "coverage", metadata,
    Column("org", String(18), primary_key=True),
    Column("stream", String(200), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("reading", BigInteger, nullable=False),
)  # fmt: skip

plans = Table(
    "plans", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("org", String(18), nullable=False),
    Column("target", String(255), nullable=False),  # the group's name
    Column("epoch", BigInteger, nullable=False),
    Column("path", Text, nullable=False),  # a folder: one Parquet file for each chunk
    Column("status", String(10), nullable=False),  # made, held, allowed, rejected, under way, done, replaced, dry run
    Column("chunks", Integer, nullable=False),
    Column("counts", Text, nullable=False),  # JSON: rows by action
    Column("sync_run_id", _Id),
    Column("dag_id", String(250), nullable=False, server_default=""),
    Column("run_id", String(250), nullable=False, server_default=""),
    Column("question", Text),  # JSON: why the plan waits for a person
    Column("asked_in", String(250)),  # the run of sync_control that put it into Airflow's Required Actions
    Column("reminded_at", _Moment),
    Column("decided_by", String(250)),
    Column("decided_at", _Moment),
    Column("reason", Text),  # what that person said
    Column("made_at", _Moment, nullable=False),
    Column("ended_at", _Moment),
    Index(None, "org", "target", "status"),
)  # fmt: skip

notes = Table(
    "notes", metadata,
    Column("plan_id", _Id, primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("org", String(18), nullable=False),
    Column("target", String(255), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("content", String(64)),  # of a Bulk job: a hash of its rows
    Column("job_id", String(80)),  # of a vendor's job, with "vendor:" before it
    Column("rows", Text),  # JSON: the rows of the chunk whose outcome is not known; null: all of them
    Column("leases", Text, nullable=False),  # JSON: what the sender held, and so may have written
    Column("rested", Float, nullable=False),  # seconds that the chunk has rested since its sender's term ended
    Column("tries", Integer, nullable=False),
    Column("noted_at", _Moment, nullable=False),
    Index(None, "org", "target"),
)  # fmt: skip

waits = Table(
    "waits", metadata,
    Column("org", String(18), primary_key=True),
    Column("mapping", String(200), primary_key=True),
    Column("record_id", String(255), primary_key=True),
    Column("reason", String(80), nullable=False),
    Column("key", String(255), nullable=False),  # what is missing, or held by another
    Column("version", String(40), nullable=False),
    Column("reading", BigInteger, nullable=False),
    Column("origin", String(255)),
    Column("since", _Moment, nullable=False),
    Index(None, "org", "mapping", "key"),
)  # fmt: skip

pairs = Table(
    "pairs", metadata,
    Column("org", String(18), primary_key=True),
    Column("flow", String(200), primary_key=True),  # the name of a mapping both ways
    Column("salesforce_id", String(18), primary_key=True),
    Column("vendor_id", String(255), nullable=False),
    Column("agreed", LargeBinary, nullable=False),  # marks of what both sides agreed on, by field: see mapping/merge.py
    Column("ended", String(40)),  # why the pair is one no more; null: it is one
    Column("paired_at", _Moment, nullable=False),
    Column("updated_at", _Moment, nullable=False),
    Index(None, "org", "flow", "vendor_id"),
)  # fmt: skip

shadow_writes = Table(  # what a flow in the shadow would write; marks, and no values
    "shadow_writes", metadata,
    Column("org", String(18), primary_key=True),
    Column("flow", String(200), primary_key=True),
    Column("salesforce_id", String(18), primary_key=True),  # "": the record is to be created in Salesforce
    Column("vendor_id", String(255), primary_key=True),  # "": it is to be created at the vendor
    Column("field", String(255), primary_key=True),  # "": the record itself is to be created or deleted
    Column("at_vendor", Boolean, primary_key=True),
    Column("source", String(24), nullable=False),  # what the side has that the value comes from
    Column("target", String(24), nullable=False),  # what the other side has, before it
    Column("planned_at", _Moment, nullable=False),
)  # fmt: skip

shadow_results = Table(
    "shadow_results", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("org", String(18), nullable=False),
    Column("flow", String(200), nullable=False),
    Column("field", String(255), nullable=False),
    Column("at_vendor", Boolean, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("salesforce_id", String(18), nullable=False),
    Column("vendor_id", String(255), nullable=False),
    Column("seen_at", _Moment, nullable=False),
    Index(None, "org", "flow", "field"),
)  # fmt: skip

held_out = Table(
    "held_out", metadata,
    Column("org", String(18), primary_key=True),
    Column("mapping", String(200), primary_key=True),
    Column("record_id", String(255), primary_key=True),
    Column("fingerprint", String(32), primary_key=True),  # of the values that are not to be written
    Column("origin", String(255)),
    Column("plan_id", _Id, nullable=False),  # the plan that was rejected, or that undid the record
    Column("person", String(250), nullable=False),
    Column("since", _Moment, nullable=False),
)  # fmt: skip

seen_paths = Table(
    "seen_paths", metadata,
    Column("org", String(18), primary_key=True),
    Column("mapping", String(200), primary_key=True),
    Column("path", String(255), primary_key=True),
    Column("seen_at", _Moment, nullable=False),
)  # fmt: skip

claims = Table(
    "claims", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("org", String(18), nullable=False),
    Column("stream", String(200), nullable=False),
    Column("customer", String(255), nullable=False),
    Column("record_id", String(255)),  # what the customer's values are delivered as
    Column("status", String(10), nullable=False),  # listed, removed, read, delivered, told
    Column("epoch", BigInteger, nullable=False),  # of the reading that listed it
    Column("rested", Float, nullable=False),  # seconds since a removal whose answer is not known
    Column("reading", BigInteger, nullable=False),  # the reading that its values came with
    Column("outcome", String(20)),
    Column("code", String(80)),
    Column("limit_told", Boolean, nullable=False, server_default=false()),
    Column("claimed_at", _Moment, nullable=False),
    Column("ended_at", _Moment),
    Index(None, "org", "stream", "status"),
    Index(None, "org", "stream", "record_id"),
)  # fmt: skip

api_calls_taken = Table(
    "api_calls_taken", metadata,
    Column("org", String(18), primary_key=True),
    Column("holder", String(64), primary_key=True),  # who took them in advance; freed by its end or by who takes over
    Column("calls", Integer, nullable=False),
    Column("taken_at", _Moment, nullable=False),
)  # fmt: skip

known_orgs = Table(
    "known_orgs", metadata,
    Column("org", String(18), primary_key=True),
    Column("signed_in_at", _Moment, nullable=False),
)  # fmt: skip

sync_log_sets = Table(
    "sync_log_sets", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("sync_run_id", _Id, ForeignKey("sync_runs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("outcome", String(20), nullable=False),
    Column("count", Integer, nullable=False),
    Column("bucket", Integer, index=True),  # the first byte of the hashes in it; null: of all
    Column("ids", LargeBinary, nullable=False),  # sorted 8-byte hashes of the records' ids, compressed
)  # fmt: skip

sync_log_lists = Table(
    "sync_log_lists", metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("sync_run_id", _Id, ForeignKey("sync_runs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("outcome", String(20), nullable=False),
    Column("count", Integer, nullable=False),
    Column("ids", LargeBinary, nullable=False),  # a line for each record, compressed: its id, a tab, its Salesforce id
)  # fmt: skip
