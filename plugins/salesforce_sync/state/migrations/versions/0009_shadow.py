"""What a flow in the shadow would write, as marks, and how each came out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "shadow_writes",
        sa.Column("org", sa.String(18), nullable=False),
        sa.Column("flow", sa.String(200), nullable=False),
        sa.Column("salesforce_id", sa.String(18), nullable=False),
        sa.Column("vendor_id", sa.String(255), nullable=False),
        sa.Column("field", sa.String(255), nullable=False),
        sa.Column("at_vendor", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(24), nullable=False),
        sa.Column("target", sa.String(24), nullable=False),
        sa.Column("planned_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint(
            "org", "flow", "salesforce_id", "vendor_id", "field", "at_vendor", name="pk_shadow_writes"
        ),
    )
    op.create_table(
        "shadow_results",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("org", sa.String(18), nullable=False),
        sa.Column("flow", sa.String(200), nullable=False),
        sa.Column("field", sa.String(255), nullable=False),
        sa.Column("at_vendor", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("salesforce_id", sa.String(18), nullable=False),
        sa.Column("vendor_id", sa.String(255), nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_shadow_results"),
    )
    op.create_index("ix_shadow_results_org_flow_field", "shadow_results", ["org", "flow", "field"])
