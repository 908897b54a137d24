"""Alembic's entry: runs on the connection that Database.migrate hands over."""

from __future__ import annotations

from alembic import context

from bmid.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
