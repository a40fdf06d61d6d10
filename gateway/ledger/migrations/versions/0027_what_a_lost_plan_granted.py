"""What the last good plan granted, and what a planned one is sold at: found also after policy calls them otherwise."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("last_good_tier", sa.Text))
    op.add_column("subscriptions", sa.Column("scheduled_sold_as", sa.Text))
