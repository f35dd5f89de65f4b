"""Pairs of records that are kept equal both ways, and notes that can hold the id of a vendor's job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "pairs",
        sa.Column("org", sa.String(18), nullable=False),
        sa.Column("flow", sa.String(200), nullable=False),
        sa.Column("salesforce_id", sa.String(18), nullable=False),
        sa.Column("vendor_id", sa.String(255), nullable=False),
        sa.Column("agreed", sa.LargeBinary(), nullable=False),
        sa.Column("ended", sa.String(40), nullable=True),
        sa.Column("paired_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("org", "flow", "salesforce_id", name="pk_pairs"),
    )
    op.create_index("ix_pairs_org_flow_vendor_id", "pairs", ["org", "flow", "vendor_id"])
    with op.batch_alter_table("notes") as table:
        table.alter_column("job_id", existing_type=sa.String(18), type_=sa.String(80), existing_nullable=True)
