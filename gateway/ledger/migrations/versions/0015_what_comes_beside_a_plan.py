"""Seats and add-ons of a change of plan that comes later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("scheduled_seats", sa.BigInteger))
    op.add_column("subscriptions", sa.Column("scheduled_add_ons", sa.JSON))
