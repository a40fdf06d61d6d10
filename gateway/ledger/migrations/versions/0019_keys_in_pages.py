"""The keys of a customer in the order in which they are listed: a page of many is read without sorting all of them."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_index("ix_api_keys_customer_id_created_at_key_id", "api_keys", ["customer_id", "created_at", "key_id"])
    op.drop_index("ix_api_keys_customer_id", "api_keys")
