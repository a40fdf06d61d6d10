"""Overage that is on no invoice, and that somebody has seen to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    is_unbilled = sa.text("unbilled > 0")
    op.add_column("metered_windows", sa.Column("acknowledged_at", sa.BigInteger))
    op.create_index(
        "ix_metered_windows_unbilled",
        "metered_windows",
        ["closed_at"],
        sqlite_where=is_unbilled,
        postgresql_where=is_unbilled,
    )
