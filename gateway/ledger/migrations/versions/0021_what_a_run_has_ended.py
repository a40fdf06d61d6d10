"""How many customers a reconciliation has ended: whoever goes on with it counts on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("reconciliation", sa.Column("ended", sa.BigInteger, nullable=False, server_default="0"))
