"""What alembic runs around the revisions: they join the transaction of the connection that `schema.upgrade` hands over.

The metadata of `tables.py` is not known here on purpose: a released revision must not change when the tables do.
"""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
