"""The first schema: runs, log, links, watermarks, dead letters, and the index of Accounts by domain."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account_domains",
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("account_id", sa.String(length=18), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("parent_id", sa.String(length=18), nullable=True),
        sa.Column("created_at", sa.String(length=40), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("org", "account_id", name=op.f("pk_account_domains")),
    )
    op.create_index(op.f("ix_account_domains_org_domain"), "account_domains", ["org", "domain"], unique=False)
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("mapping", sa.String(length=200), nullable=False),
        sa.Column("record_id", sa.String(length=255), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("code", sa.String(length=80), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sync_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("first_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
        sa.UniqueConstraint("org", "mapping", "record_id", name=op.f("uq_dead_letters_org_mapping_record_id")),
    )
    op.create_table(
        "open_domains",
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=False),
        sa.Column("recheck", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("org", "domain", name=op.f("pk_open_domains")),
    )
    op.create_table(
        "record_links",
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("mapping", sa.String(length=200), nullable=False),
        sa.Column("record_id", sa.String(length=255), nullable=False),
        sa.Column("salesforce_id", sa.String(length=18), nullable=False),
        sa.Column("fingerprint", sa.String(length=16), nullable=False),
        sa.Column("linked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("org", "mapping", "record_id", name=op.f("pk_record_links")),
    )
    op.create_index(
        op.f("ix_record_links_org_mapping_salesforce_id"),
        "record_links",
        ["org", "mapping", "salesforce_id"],
        unique=False,
    )
    op.create_table(
        "sync_runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("step", sa.String(length=200), nullable=False),
        sa.Column("org", sa.String(length=18), nullable=True),
        sa.Column("dag_id", sa.String(length=250), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("task_id", sa.String(length=250), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created", sa.Integer(), server_default="0", nullable=False),
        sa.Column("updated", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deleted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unchanged", sa.Integer(), server_default="0", nullable=False),
        sa.Column("skipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rejected", sa.Integer(), server_default="0", nullable=False),
        sa.Column("api_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("watermark_from", sa.String(length=40), nullable=True),
        sa.Column("watermark_to", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_runs")),
    )
    op.create_index(op.f("ix_sync_runs_dag_id_run_id"), "sync_runs", ["dag_id", "run_id"], unique=False)
    op.create_index(op.f("ix_sync_runs_started_at"), "sync_runs", ["started_at"], unique=False)
    op.create_table(
        "watermarks",
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("stream", sa.String(length=200), nullable=False),
        sa.Column("value", sa.String(length=40), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("org", "stream", name=op.f("pk_watermarks")),
    )
    op.create_table(
        "sync_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("sync_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("record_id", sa.String(length=255), nullable=False),
        sa.Column("salesforce_id", sa.String(length=18), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("code", sa.String(length=80), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["sync_run_id"], ["sync_runs.id"], name=op.f("fk_sync_log_sync_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_log")),
    )
    op.create_index(op.f("ix_sync_log_record_id"), "sync_log", ["record_id"], unique=False)
    op.create_index(op.f("ix_sync_log_salesforce_id"), "sync_log", ["salesforce_id"], unique=False)
    op.create_index(op.f("ix_sync_log_sync_run_id_outcome"), "sync_log", ["sync_run_id", "outcome"], unique=False)


def downgrade() -> None:
    for table in (
        "sync_log",
        "account_domains",
        "dead_letters",
        "open_domains",
        "record_links",
        "watermarks",
        "sync_runs",
    ):
        op.drop_table(table)
