"""Links of records that go from Salesforce to a vendor: what they are called there, and what makes them unique."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("record_links", sa.Column("vendor_id", sa.String(length=255), nullable=True))
    op.add_column("record_links", sa.Column("unique_key", sa.String(length=64), nullable=True))
    for column in ("unique_key", "vendor_id"):
        filled = sa.text(f"{column} IS NOT NULL")
        name = op.f(f"ix_record_links_org_mapping_{column}")
        op.create_index(name, "record_links", ["org", "mapping", column], unique=False, sqlite_where=filled, postgresql_where=filled)


def downgrade() -> None:
    for column in ("vendor_id", "unique_key"):
        op.drop_index(op.f(f"ix_record_links_org_mapping_{column}"), table_name="record_links")
        op.drop_column("record_links", column)
