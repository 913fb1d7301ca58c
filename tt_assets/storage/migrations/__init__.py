"""Alembic migrations of the tables: run by `tt_assets.storage.schema`, written out and never edited once released."""
