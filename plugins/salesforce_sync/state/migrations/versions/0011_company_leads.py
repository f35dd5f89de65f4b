"""Accounts by name, company leads with what was found of them, and what was decided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "account_names",
        sa.Column("org", sa.String(18), nullable=False),
        sa.Column("account_id", sa.String(18), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("owner_id", sa.String(18), nullable=True),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("org", "account_id", name="pk_account_names"),
    )
    op.create_table(
        "company_leads",
        sa.Column("org", sa.String(18), nullable=False),
        sa.Column("lead_id", sa.String(255), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("domain", sa.String(255), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("mark", sa.String(32), nullable=False),
        sa.Column("visited_on", sa.String(10), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("action", sa.String(10), nullable=True),
        sa.Column("salesforce_id", sa.String(18), nullable=True),
        sa.Column("person", sa.String(250), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("decided_at", _MOMENT, nullable=True),
        sa.Column("checked_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("org", "lead_id", name="pk_company_leads"),
    )
    op.create_index("ix_company_leads_org_state", "company_leads", ["org", "state"])
    op.create_table(
        "lead_decisions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("org", sa.String(18), nullable=False),
        sa.Column("lead_id", sa.String(255), nullable=False),
        sa.Column("action", sa.String(10), nullable=False),
        sa.Column("salesforce_id", sa.String(18), nullable=True),
        sa.Column("person", sa.String(250), nullable=True),
        sa.Column("rule", sa.String(20), nullable=True),
        sa.Column("suggested_id", sa.String(18), nullable=True),
        sa.Column("decided_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lead_decisions"),
    )
    op.create_index("ix_lead_decisions_org_lead_id", "lead_decisions", ["org", "lead_id"])
