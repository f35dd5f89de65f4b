"""What a record looked like when it was staged, so that one that has not changed need not be mapped; and what the org says of its objects."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("record_links", sa.Column("staged_fingerprint", sa.String(length=16), nullable=True))
    op.create_table(
        "described_objects",
        sa.Column("viewer", sa.String(length=64), nullable=False),
        sa.Column("object", sa.String(length=80), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("described_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("viewer", "object", name=op.f("pk_described_objects")),
    )


def downgrade() -> None:
    op.drop_table("described_objects")
    op.drop_column("record_links", "staged_fingerprint")
