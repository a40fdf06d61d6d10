"""How many seats a subscription has, and what was bought beside its plan."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("seats", sa.BigInteger))
    op.add_column("subscriptions", sa.Column("add_ons", sa.JSON))
    op.add_column("subscriptions", sa.Column("add_on_prices", sa.JSON))
