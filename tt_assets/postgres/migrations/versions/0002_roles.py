"""Roles with least privilege: tt_owner changes the schema, tt_writer changes rows, tt_reader reads them.

Roles belong to the whole server, not to one database, and not every user may create them. So each step is allowed to
find its work done or forbidden: without the roles the tables work for the user who made them, and an administrator can
create them (`CREATE ROLE tt_reader NOLOGIN`) and repeat the grants later.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = (
    "tt_prices",
    "tt_features",
    "tt_signal_scores",
    "tt_policy",
    "tt_episode",
    "tt_observation",
    "tt_action",
    "tt_target_weights",
    "tt_order",
    "tt_portfolio",
    "tt_holdings",
    "tt_reward",
    "tt_equity_curve",
)
_ROLES = ("tt_owner", "tt_writer", "tt_reader")
_ROWS = {
    "tt_owner": "ALL",
    "tt_writer": "SELECT, INSERT, UPDATE, DELETE",
    "tt_reader": "SELECT",
}
_SEQUENCES = {"tt_owner": "ALL", "tt_writer": "USAGE, SELECT", "tt_reader": "SELECT"}
_SCHEMA = {"tt_owner": "USAGE, CREATE", "tt_writer": "USAGE", "tt_reader": "USAGE"}


def upgrade() -> None:
    for role in _ROLES:
        # Two databases of one server may be upgraded at once: the loser of that race sees a unique violation.
        _attempt(f"CREATE ROLE {role} NOLOGIN", forgiving="duplicate_object OR unique_violation")
    for role in _ROLES:
        _attempt(f"GRANT CONNECT ON DATABASE %I TO {role}", "current_database()")
        _attempt(f"GRANT {_SCHEMA[role]} ON SCHEMA %I TO {role}", "current_schema()")
    # A user who would lose the tables by giving them away keeps them.
    question = "SELECT pg_has_role(current_user, oid, 'USAGE') FROM pg_roles WHERE rolname = 'tt_owner'"
    if op.get_bind().scalar(sa.text(question)):
        for table in (*_TABLES, "alembic_version"):
            _attempt(f"ALTER TABLE {table} OWNER TO tt_owner")
    for role in _ROLES:
        for table in _TABLES:
            _attempt(f"GRANT {_ROWS[role]} ON {table} TO {role}")
            _attempt(f"GRANT {_SEQUENCES[role]} ON SEQUENCE {table}_id_seq TO {role}")
        # Everyone may ask which revision the schema has; only the owner's migrations change it.
        _attempt(f"GRANT {'ALL' if role == 'tt_owner' else 'SELECT'} ON alembic_version TO {role}")
        for maker in ("", "FOR ROLE tt_owner "):
            defaults = f"ALTER DEFAULT PRIVILEGES {maker}IN SCHEMA %I"
            _attempt(f"{defaults} GRANT {_ROWS[role]} ON TABLES TO {role}", "current_schema()")
            _attempt(f"{defaults} GRANT {_SEQUENCES[role]} ON SEQUENCES TO {role}", "current_schema()")


def downgrade() -> None:
    for table in (*_TABLES, "alembic_version"):
        _attempt(f"ALTER TABLE {table} OWNER TO CURRENT_USER")
    # The roles stay: they belong to the server, and another database or a person's login may depend on them.
    for role in _ROLES:
        for maker in ("", "FOR ROLE tt_owner "):
            defaults = f"ALTER DEFAULT PRIVILEGES {maker}IN SCHEMA %I"
            _attempt(f"{defaults} REVOKE ALL ON TABLES FROM {role}", "current_schema()")
            _attempt(f"{defaults} REVOKE ALL ON SEQUENCES FROM {role}", "current_schema()")
        for table in _TABLES:
            _attempt(f"REVOKE ALL ON SEQUENCE {table}_id_seq FROM {role}")
            _attempt(f"REVOKE ALL ON {table} FROM {role}")
        _attempt(f"REVOKE ALL ON alembic_version FROM {role}")
        _attempt(f"REVOKE ALL ON SCHEMA %I FROM {role}", "current_schema()")
        _attempt(f"REVOKE ALL ON DATABASE %I FROM {role}", "current_database()")


def _attempt(statement: str, name: str = "NULL", *, forgiving: str = "undefined_object") -> None:
    """Run `statement`, its %I filled with `name`; a missing role or a missing permission is a notice, not an error."""
    notice = f"tt_assets: skipped {statement.replace('%I', 'it')}: %s"
    op.execute(
        f"""
        DO $attempt$ BEGIN
            EXECUTE format('{statement}', {name});
        EXCEPTION WHEN insufficient_privilege OR {forgiving} THEN
            RAISE NOTICE '%', format('{notice}', SQLERRM);
        END $attempt$
        """,
    )
