"""The engine a notebook holds, and the database behind an engine.

Any engine on psycopg will do, not only `get_engine`'s. What the bulk paths need to know of its database
is asked of one of its connections, so an engine made with a `creator` or with connection arguments works too.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Engine

from tt_assets.errors import UserError
from tt_assets.postgres.database import Database, DatabaseUnreachable
from tt_assets.postgres.database_url import parse_url
from tt_assets.runtime.current import current_settings
from tt_assets.settings import database_of as settings_database

_databases: WeakKeyDictionary[Engine, Database] = WeakKeyDictionary()


def get_engine(url: str | URL | None = None) -> Engine:
    """A SQLAlchemy engine on the `tt` database, the embedded server started where it is the settings'.

    It keeps no connection open between uses. Makes Dagster's environment that of the platform, so that what is written
    can be reported.

    Parameters
    ----------
    url : `postgresql://` with user, password, host, port and name as libpq reads them, and any driver named in it;
        None: the database of the settings. What is written to another database than that of the settings is reported
        to nobody.

    Raises
    ------
    DatabaseUrlError : the URL cannot be read; the error does not quote it.
    DatabaseUnreachable, SchemaError, WatchlistError : the one-line errors of every `tt` command.
    """
    from tt_assets.postgres import schema
    from tt_assets.runtime.platform import attach

    settings = current_settings()
    if url is None:
        database = attach(settings).database
    else:
        text = _as_libpq_reads(url) if isinstance(url, URL) else str(url)
        database = Database.of(parse_url(text))
        schema.check(database)
        if same_database(database, settings_database(settings)):
            attach(settings)
    engine = database.engine()
    _databases[engine] = database
    return engine


def database_of(engine: Engine) -> Database:
    """The database that an engine connects to.

    Raises
    ------
    UserError : it is no engine, or not one on PostgreSQL.
    """
    if not isinstance(engine, Engine) or engine.dialect.name != "postgresql":
        what = engine.dialect.name if isinstance(engine, Engine) else type(engine).__name__
        raise UserError(f"The engine is {what}, not a SQLAlchemy engine on PostgreSQL; make one with get_engine().")
    # Once per engine: asking takes a connection.
    if engine not in _databases:
        _databases[engine] = _asked(engine)
    return _databases[engine]


def same_database(one: Database, other: Database) -> bool:
    """Whether both name one database of one running server, however they reach it.

    Parameters
    ----------
    one, other : in any order; where one does not answer they are not the same.
    """
    if one == other:
        return True
    try:
        return _identity(one) == _identity(other)
    except DatabaseUnreachable:
        return False


def _asked(engine: Engine) -> Database:
    failure: str
    try:
        connection = engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as error:  # the driver's own: a pool connects below SQLAlchemy's wrapping
        failure = str(error).splitlines()[0]
    else:
        try:
            # psycopg 3 and psycopg2 tell the same under different names; neither lists the password with the rest.
            info: Any = connection.dbapi_connection.info  # type: ignore[union-attr]
            parameters = info.get_parameters() if hasattr(info, "get_parameters") else dict(info.dsn_parameters)
            parameters |= {"host": info.host, "port": str(info.port), "user": info.user, "dbname": info.dbname}
            return Database.of(parameters | ({"password": info.password} if info.password else {}))
        finally:
            connection.close()
    raise DatabaseUnreachable(f"No connection to {engine.url!r} ({failure}); correct its URL, or use get_engine().")


def _identity(database: Database) -> tuple[Any, ...]:
    # Two servers started in the same microsecond would have to be told apart otherwise.
    question = "SELECT pg_postmaster_start_time(), oid FROM pg_database WHERE datname = current_database()"
    with database.connect() as connection:
        return tuple(connection.execute(question).fetchone() or ())


def _as_libpq_reads(url: URL) -> str:
    """`url` as text. SQLAlchemy writes a space in the query as `+`, which is a plus to libpq."""
    place, mark, query = url.render_as_string(hide_password=False).partition("?")
    return place + mark + query.replace("+", "%20")
