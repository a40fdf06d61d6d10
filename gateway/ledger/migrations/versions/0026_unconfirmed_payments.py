"""Since when a payment waits for the customer to confirm it with the bank."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("unconfirmed_since", sa.BigInteger))
