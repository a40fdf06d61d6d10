"""When the plan of a subscription changed, and what it was before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("plan_changes", sa.JSON))
