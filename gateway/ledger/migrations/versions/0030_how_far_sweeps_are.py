"""How far the sweeps for events that did not arrive are, and who has them in hand."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0030"
down_revision = "0029"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("name", IDENTIFIER, nullable=False),
        sa.Column("place", sa.JSON),
        sa.Column("swept_to", sa.BigInteger),
        sa.Column("types", sa.JSON, nullable=False),
        sa.Column("claimed_by", sa.Text, nullable=False),
        sa.Column("claimed_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_sweeps"),
    )
