"""Runs the migrations on the connection that `gateway.ledger.migrate` hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from gateway.ledger.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
