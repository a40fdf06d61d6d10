"""Old checkout sessions are found, to be forgotten."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_index("ix_checkouts_created_at", "checkouts", ["created_at"])
