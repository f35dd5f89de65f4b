"""The delivery engine: leases, inbox, coverage, plans with their notes, waits, claims; versions in links and letters.

What waits for API budget becomes the inbox. Coverage begins at the last day that was read. A watermark in the future is
cut to the present, since nothing before it would be read.
"""

from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from alembic import op

from salesforce_sync.state import schema

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NEW = (
    "leases", "inbox", "coverage", "plans", "notes", "waits", "claims", "api_calls_taken", "known_orgs", "sync_log_sets",
)  # fmt: skip
DATED_STREAM = "peerspot/activities"  # the only stream of 0004 that is read by days


def upgrade() -> None:
    connection = op.get_bind()
    for name in NEW:
        schema.metadata.tables[name].create(connection)
    with op.batch_alter_table("record_links") as table:
        table.add_column(sa.Column("reading", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("fingerprint_version", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("consent", sa.String(1)))
        table.add_column(sa.Column("gone", sa.Boolean(), nullable=False, server_default=sa.false()))
    connection.execute(sa.text("UPDATE record_links SET version = '' WHERE version IS NULL"))
    with op.batch_alter_table("record_links") as table:
        table.alter_column("version", existing_type=sa.String(40), nullable=False, server_default="")
    with op.batch_alter_table("dead_letters") as table:
        table.add_column(sa.Column("version", sa.String(40), nullable=False, server_default=""))
        table.add_column(sa.Column("reading", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("origin", sa.String(255)))
        table.add_column(sa.Column("due_at", sa.DateTime(timezone=True)))
    with op.batch_alter_table("sync_runs") as table:
        table.add_column(sa.Column("waiting", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("api_budget") as table:
        table.drop_column("outstanding")
    _fill_inbox(connection)
    _cut_watermarks(connection)
    _begin_coverage(connection)
    _remember_org(connection)
    # A letter without its own way back is due by its record's id, where the record comes from Salesforce.
    connection.execute(
        sa.text("UPDATE dead_letters SET due_at = :now WHERE resolved_at IS NULL"), {"now": _now(connection)}
    )
    op.drop_table("backlog")


def _now(connection: sa.Connection) -> datetime | str:
    now = datetime.now(UTC)
    return now if connection.dialect.name == "postgresql" else now.strftime("%Y-%m-%d %H:%M:%S.%f")


def _fill_inbox(connection: sa.Connection) -> None:
    rows = connection.execute(sa.text("SELECT org, mapping, path, count FROM backlog ORDER BY id")).all()
    for org, mapping, path, count in rows:
        values = {
            "org": org, "mapping": mapping, "stream": mapping, "reading": 0, "path": path, "count": count,
            "status": "waiting" if count else "done", "resend": False, "dag_id": "", "run_id": "",
            "registered_at": datetime.now(UTC),
        }  # fmt: skip
        connection.execute(schema.inbox.insert().values(**values))


def _cut_watermarks(connection: sa.Connection) -> None:
    now = datetime.now(UTC)
    for org, stream, value in connection.execute(sa.text("SELECT org, stream, value FROM watermarks")).all():
        latest = now.date().isoformat() if len(value) == len("2026-01-01") else now.isoformat()
        if value > latest:
            connection.execute(
                sa.text("UPDATE watermarks SET value = :value WHERE org = :org AND stream = :stream"),
                {"value": latest, "org": org, "stream": stream},
            )


def _begin_coverage(connection: sa.Connection) -> None:
    """The watermark of a stream that is read by days is the last day that was read; a run is about D-2 at the latest."""
    query = sa.text("SELECT org, value FROM watermarks WHERE stream = :stream")
    for org, value in connection.execute(query, {"stream": DATED_STREAM}).all():
        day = min(date.fromisoformat(value[:10]), datetime.now(UTC).date() - timedelta(days=2)).isoformat()
        for stream in (DATED_STREAM, f"{DATED_STREAM}#begin"):
            connection.execute(schema.coverage.insert().values(org=org, stream=stream, day=day, reading=0))


def _remember_org(connection: sa.Connection) -> None:
    latest = connection.execute(sa.text("SELECT org FROM sync_runs WHERE org IS NOT NULL ORDER BY id DESC LIMIT 1"))
    org = latest.scalar()
    if org is not None:
        connection.execute(schema.known_orgs.insert().values(org=org, signed_in_at=datetime.now(UTC)))


def downgrade() -> None:
    raise NotImplementedError("0005 replaces the backlog by the inbox: restore the backup from before the upgrade")
