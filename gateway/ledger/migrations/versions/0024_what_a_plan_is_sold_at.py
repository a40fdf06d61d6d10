"""By what policy named the price of a plan when it was read: a plan that is called otherwise since is found by it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("sold_as", sa.Text))
