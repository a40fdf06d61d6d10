"""Another subscription that counts once the time of the recorded one is over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("beneath", sa.JSON))
