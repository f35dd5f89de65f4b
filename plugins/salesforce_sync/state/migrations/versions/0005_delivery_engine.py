"""The delivery engine: leases, inbox, coverage, plans with their notes, waits, claims; versions in links and letters.

What waits for API budget becomes the inbox. Coverage begins at the last day that was read. A watermark in the future is
cut to the present, since nothing before it would be read.
"""

from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_INBOX = sa.table(
    "inbox",
    *(sa.column(name) for name in ("org", "mapping", "stream", "path", "status", "dag_id", "run_id")),
    *(sa.column(name, sa.BigInteger()) for name in ("reading", "count")),
    sa.column("resend", sa.Boolean()), sa.column("registered_at", _MOMENT),
)  # fmt: skip
_COVERAGE = sa.table("coverage", sa.column("org"), sa.column("stream"), sa.column("day"), sa.column("reading"))
_KNOWN_ORGS = sa.table("known_orgs", sa.column("org"), sa.column("signed_in_at", _MOMENT))
DATED_STREAM = "peerspot/activities"  # the only stream of 0004 that is read by days


def upgrade() -> None:
    connection = op.get_bind()
    _create_tables()
    with op.batch_alter_table("record_links") as table:
        table.add_column(sa.Column("reading", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("fingerprint_version", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("consent", sa.String(1)))
        table.add_column(sa.Column("gone", sa.Boolean(), nullable=False, server_default=sa.false()))
    connection.execute(sa.text("UPDATE record_links SET version = '' WHERE version IS NULL"))
    with op.batch_alter_table("record_links") as table:
        table.alter_column("version", existing_type=sa.String(40), nullable=False, server_default="")
    with op.batch_alter_table("dead_letters") as table:
        table.add_column(sa.Column("version", sa.String(40), nullable=False, server_default=""))
        table.add_column(sa.Column("reading", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("origin", sa.String(255)))
        table.add_column(sa.Column("due_at", sa.DateTime(timezone=True)))
    with op.batch_alter_table("sync_runs") as table:
        table.add_column(sa.Column("waiting", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("api_budget") as table:
        table.drop_column("outstanding")
    _fill_inbox(connection)
    _cut_watermarks(connection)
    _begin_coverage(connection)
    _remember_org(connection)
    # A letter without its own way back is due by its record's id, where the record comes from Salesforce.
    connection.execute(
        sa.text("UPDATE dead_letters SET due_at = :now WHERE resolved_at IS NULL"), {"now": _now(connection)}
    )
    op.drop_table("backlog")


def _create_tables() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(length=600), nullable=True),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("reading", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("mapping", sa.String(length=200), nullable=False),
        sa.Column("stream", sa.String(length=255), nullable=False),
        sa.Column("reading", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=255), nullable=True),
        sa.Column("paths", sa.Text(), nullable=True),
        sa.Column("read_from", sa.String(length=40), nullable=True),
        sa.Column("resend", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("settled", sa.LargeBinary(), nullable=True),
        sa.Column("counts", sa.Text(), nullable=True),
        sa.Column("dag_id", sa.String(length=250), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
    )
    op.create_index(op.f("ix_inbox_org_mapping_status"), "inbox", ["org", "mapping", "status"], unique=False)
    op.create_index(op.f("ix_inbox_status_ended_at"), "inbox", ["status", "ended_at"], unique=False)
    op.create_table(
        "coverage",
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("stream", sa.String(length=200), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("reading", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org", "stream", "day", name=op.f("pk_coverage")),
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("sync_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
    )
    op.create_index(op.f("ix_plans_org_target_status"), "plans", ["org", "target", "status"], unique=False)
    op.create_table(
        "notes",
        sa.Column("plan_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=True),
        sa.Column("job_id", sa.String(length=18), nullable=True),
        sa.Column("rows", sa.Text(), nullable=True),
        sa.Column("leases", sa.Text(), nullable=False),
        sa.Column("rested", sa.Float(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("plan_id", "chunk", name=op.f("pk_notes")),
    )
    op.create_index(op.f("ix_notes_org_target"), "notes", ["org", "target"], unique=False)
    op.create_table(
        "waits",
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("mapping", sa.String(length=200), nullable=False),
        sa.Column("record_id", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.String(length=80), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("reading", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.String(length=255), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("org", "mapping", "record_id", name=op.f("pk_waits")),
    )
    op.create_index(op.f("ix_waits_org_mapping_key"), "waits", ["org", "mapping", "key"], unique=False)
    op.create_table(
        "claims",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("stream", sa.String(length=200), nullable=False),
        sa.Column("customer", sa.String(length=255), nullable=False),
        sa.Column("record_id", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("rested", sa.Float(), nullable=False),
        sa.Column("reading", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("code", sa.String(length=80), nullable=True),
        sa.Column("limit_told", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claims")),
    )
    op.create_index(op.f("ix_claims_org_stream_record_id"), "claims", ["org", "stream", "record_id"], unique=False)
    op.create_index(op.f("ix_claims_org_stream_status"), "claims", ["org", "stream", "status"], unique=False)
    op.create_table(
        "api_calls_taken",
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("org", "holder", name=op.f("pk_api_calls_taken")),
    )
    op.create_table(
        "known_orgs",
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("signed_in_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("org", name=op.f("pk_known_orgs")),
    )
    op.create_table(
        "sync_log_sets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("sync_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("ids", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sync_run_id"], ["sync_runs.id"], name=op.f("fk_sync_log_sets_sync_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_log_sets")),
    )
    op.create_index(op.f("ix_sync_log_sets_sync_run_id"), "sync_log_sets", ["sync_run_id"], unique=False)


def _now(connection: sa.Connection) -> datetime | str:
    now = datetime.now(UTC)
    return now if connection.dialect.name == "postgresql" else now.strftime("%Y-%m-%d %H:%M:%S.%f")


def _fill_inbox(connection: sa.Connection) -> None:
    rows = connection.execute(sa.text("SELECT org, mapping, path, count FROM backlog ORDER BY id")).all()
    for org, mapping, path, count in rows:
        values = {
            "org": org, "mapping": mapping, "stream": mapping, "reading": 0, "path": path, "count": count,
            "status": "waiting" if count else "done", "resend": False, "dag_id": "", "run_id": "",
            "registered_at": datetime.now(UTC),
        }  # fmt: skip
        connection.execute(_INBOX.insert().values(**values))


def _cut_watermarks(connection: sa.Connection) -> None:
    now = datetime.now(UTC)
    for org, stream, value in connection.execute(sa.text("SELECT org, stream, value FROM watermarks")).all():
        latest = now.date().isoformat() if len(value) == len("2026-01-01") else now.isoformat()
        if value > latest:
            connection.execute(
                sa.text("UPDATE watermarks SET value = :value WHERE org = :org AND stream = :stream"),
                {"value": latest, "org": org, "stream": stream},
            )


def _begin_coverage(connection: sa.Connection) -> None:
    """The watermark of a stream that is read by days is the last day that was read; a run is about D-2 at the latest."""
    query = sa.text("SELECT org, value FROM watermarks WHERE stream = :stream")
    for org, value in connection.execute(query, {"stream": DATED_STREAM}).all():
        day = min(date.fromisoformat(value[:10]), datetime.now(UTC).date() - timedelta(days=2)).isoformat()
        for stream in (DATED_STREAM, f"{DATED_STREAM}#begin"):
            connection.execute(_COVERAGE.insert().values(org=org, stream=stream, day=day, reading=0))


def _remember_org(connection: sa.Connection) -> None:
    latest = connection.execute(sa.text("SELECT org FROM sync_runs WHERE org IS NOT NULL ORDER BY id DESC LIMIT 1"))
    org = latest.scalar()
    if org is not None:
        connection.execute(_KNOWN_ORGS.insert().values(org=org, signed_in_at=datetime.now(UTC)))


def downgrade() -> None:
    raise NotImplementedError("0005 replaces the backlog by the inbox: restore the backup from before the upgrade")
