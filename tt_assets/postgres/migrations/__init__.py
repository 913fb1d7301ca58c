"""Alembic migrations of the tables: run by `tt_assets.postgres.schema`, written out and never edited once released."""
