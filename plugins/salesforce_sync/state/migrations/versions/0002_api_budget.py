"""What tasks share of one org: its API budget, its open session, the jobs that they began, and the batches that wait for budget."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_budget",
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("allowed", sa.Integer(), nullable=True),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("outstanding", sa.Integer(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hour_calls", sa.Integer(), nullable=False),
        sa.Column("hour_logins", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("org", name=op.f("pk_api_budget")),
    )
    op.create_table(
        "salesforce_sessions",
        sa.Column("credentials", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("credentials", name=op.f("pk_salesforce_sessions")),
    )
    op.create_table(
        "bulk_jobs",
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("content", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=18), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("task", "content", name=op.f("pk_bulk_jobs")),
    )
    op.create_table(
        "backlog",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("mapping", sa.String(length=200), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("high_cursor", sa.String(length=40), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backlog")),
    )
    op.create_index(op.f("ix_backlog_org_mapping"), "backlog", ["org", "mapping"], unique=False)


def downgrade() -> None:
    for table in ("backlog", "bulk_jobs", "salesforce_sessions", "api_budget"):
        op.drop_table(table)
