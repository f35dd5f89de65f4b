"""Plans wait for people; rejected and undone records are held out; what a reading found of each path is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("plans") as table:
        table.add_column(sa.Column("dag_id", sa.String(250), server_default="", nullable=False))
        table.add_column(sa.Column("run_id", sa.String(250), server_default="", nullable=False))
        table.add_column(sa.Column("question", sa.Text(), nullable=True))
        table.add_column(sa.Column("asked_in", sa.String(250), nullable=True))
        table.add_column(sa.Column("reminded_at", _MOMENT, nullable=True))
        table.add_column(sa.Column("decided_by", sa.String(250), nullable=True))
        table.add_column(sa.Column("decided_at", _MOMENT, nullable=True))
        table.add_column(sa.Column("reason", sa.Text(), nullable=True))
    with op.batch_alter_table("sync_log_sets") as table:
        table.add_column(sa.Column("bucket", sa.Integer(), nullable=True))
        table.create_index("ix_sync_log_sets_bucket", ["bucket"])
    with op.batch_alter_table("inbox") as table:
        table.add_column(sa.Column("filled", sa.Text(), nullable=True))
    with op.batch_alter_table("dead_letters") as table:
        table.add_column(sa.Column("resolved_by", sa.String(250), nullable=True))
        table.add_column(sa.Column("resolution", sa.Text(), nullable=True))
    op.create_table(
        "held_out",
        sa.Column("org", sa.String(18), nullable=False),
        sa.Column("mapping", sa.String(200), nullable=False),
        sa.Column("record_id", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(32), nullable=False),
        sa.Column("origin", sa.String(255), nullable=True),
        sa.Column("plan_id", _ID, nullable=False),
        sa.Column("person", sa.String(250), nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("org", "mapping", "record_id", "fingerprint", name="pk_held_out"),
    )
    op.create_table(
        "seen_paths",
        sa.Column("org", sa.String(18), nullable=False),
        sa.Column("mapping", sa.String(200), nullable=False),
        sa.Column("path", sa.String(255), nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("org", "mapping", "path", name="pk_seen_paths"),
    )
