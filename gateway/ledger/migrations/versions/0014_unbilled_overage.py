"""Overage of subscriptions that ended at once: what no invoice asks for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("metered_windows", sa.Column("closed_at", sa.BigInteger))
    op.add_column("metered_windows", sa.Column("unbilled", sa.BigInteger))
