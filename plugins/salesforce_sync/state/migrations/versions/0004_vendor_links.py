"""Links of records that go from Salesforce to a vendor: what they are called there, and what makes them unique. And which version of
a vendor's collection was delivered."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("record_links", sa.Column("vendor_id", sa.String(length=255), nullable=True))
    op.add_column("record_links", sa.Column("unique_key", sa.String(length=64), nullable=True))
    op.add_column("record_links", sa.Column("version", sa.String(length=40), nullable=True))
    for column in ("unique_key", "vendor_id"):
        filled = sa.text(f"{column} IS NOT NULL")
        name = op.f(f"ix_record_links_org_mapping_{column}")
        op.create_index(
            name, "record_links", ["org", "mapping", column], unique=False, sqlite_where=filled, postgresql_where=filled
        )
    op.create_table(
        "seen_versions",
        sa.Column("org", sa.String(length=18), nullable=False),
        sa.Column("stream", sa.String(length=200), nullable=False),
        sa.Column("item", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("org", "stream", "item", name=op.f("pk_seen_versions")),
    )


def downgrade() -> None:
    op.drop_table("seen_versions")
    op.drop_column("record_links", "version")
    for column in ("vendor_id", "unique_key"):
        op.drop_index(op.f(f"ix_record_links_org_mapping_{column}"), table_name="record_links")
        op.drop_column("record_links", column)
