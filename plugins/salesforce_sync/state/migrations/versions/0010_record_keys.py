"""The values by which mappings find the records that they update."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "record_keys",
        sa.Column("org", sa.String(18), nullable=False),
        sa.Column("mapping", sa.String(200), nullable=False),
        sa.Column("salesforce_id", sa.String(18), nullable=False),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("org", "mapping", "salesforce_id", name="pk_record_keys"),
    )
    op.create_index("ix_record_keys_org_mapping_key", "record_keys", ["org", "mapping", "key"])
