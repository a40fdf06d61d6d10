"""Open events are found by what they are not, which SQLite's planner follows.

It took `status IN ('pending', 'claimed')` for rare and read every open event to claim a few: with 20,000 waiting,
a claim held the write lock for a tenth of a second.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    is_open = sa.text("(status NOT IN ('done', 'dead'))")
    for name, instead, columns in (
        ("ix_inbox_open", "ix_inbox_waiting", ["position", "due_at"]),
        ("ix_inbox_open_about", "ix_inbox_waiting_about", ["about", "position"]),
    ):
        op.create_index(instead, "inbox", columns, sqlite_where=is_open, postgresql_where=is_open)
        op.drop_index(name, table_name="inbox")
