"""Open events are found by what they are about, so that one sync serves all of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("inbox", sa.Column("about", IDENTIFIER))
    is_open = sa.text("status IN ('pending', 'claimed')")
    op.create_index(
        "ix_inbox_open_about",
        "inbox",
        ["about", "position"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
