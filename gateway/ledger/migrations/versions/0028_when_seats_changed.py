"""When the seats and add-ons of a subscription changed, and what there was before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("extras_changes", sa.JSON))
