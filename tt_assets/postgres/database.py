"""Where the tables and Dagster's own storage are, and the only place that opens connections to them.

A connection that fails is a person's problem, so it always becomes one line that names the server, the
reason and the remedy. No password can be in it: errors are raised afresh, never chained to the driver's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr
from sqlalchemy import Engine, NullPool, create_engine

from tt_assets.errors import UserError
from tt_assets.postgres import dagster_database
from tt_assets.postgres.database_url import (
    DAGSTER_DATABASE,
    TABLES_DATABASE,
    dagster_name,
    describe,
    libpq_uri,
    parse_url,
    split_secrets,
    sqlalchemy_url,
)
from tt_assets.postgres.logins import DAGSTER_LOGIN, PLATFORM_LOGIN, hand_over, make_logins
from tt_assets.postgres.patience import WAITS_NO_LONGER, current_watch
from tt_assets.postgres.server.embedded import EmbeddedServer

OLDEST_SERVER = 150_000
"""PostgreSQL 15, as the server counts its versions."""

_DEFAULTS = {
    # PGAPPNAME says what of ours it is: see `called`.
    "fallback_application_name": "tt_assets",
    "connect_timeout": "10",
    # A peer that vanished without a word is noticed within a minute, whether we wait for it or send to it.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
SEARCH_PATH = "-c search_path=public"
"""The `options` of libpq of every connection: no schema named like the user, or set for it, comes before the tables."""
_PLACE_IN_MESSAGE = re.compile(r'^.*?(?:port \d+|socket "[^"]*") failed: ', re.DOTALL)


class DatabaseUnreachable(UserError):
    """No usable connection to the database."""


class AccessRefused(DatabaseUnreachable):
    """The server answers but does not let this user in."""


class NoSuchDatabase(DatabaseUnreachable):
    """The server answers but has no database of that name."""


class ServerTooOld(DatabaseUnreachable):
    """The server is older than PostgreSQL 15."""


class NoConnectionLeft(DatabaseUnreachable):
    """The server, the database or the user has as many connections as it may have."""


class NotReadyYet(DatabaseUnreachable):
    """The server is starting, stopping or recovering."""


class MayNotCreate(UserError):
    """The user may not create a missing database."""


@dataclass(frozen=True)
class Database:
    """One database of one server; the only place that opens connections to it.

    Equal parts make equal databases; `repr` and `str` show no secret.

    Parameters
    ----------
    parameters : libpq's, without secrets.
    secrets : libpq's that are secret.
    embedded : whether the server is the one we start ourselves; it only changes the remedies in errors.
    """

    parameters: tuple[tuple[str, str], ...]
    secrets: tuple[tuple[str, SecretStr], ...] = ()
    embedded: bool = False

    @classmethod
    def at(
        cls,
        url: SecretStr | None,
        home: Path,
        pg_bin: Path | None,
        *,
        start: bool = False,
        tcp_port: int | None = None,
        owner: bool = False,
    ) -> Database:
        """The database that a URL names, else `tt` of the embedded server for the login that works there.

        Parameters
        ----------
        url : `postgresql://` with user, password, host, port, name and libpq's options, or None.
        home : folder in which the embedded server has its cluster.
        pg_bin : folder of that server's programs, None for those that are found.
        start : have the embedded server running, and that login there, before it returns; nothing for a server of the
            user's.
        tcp_port : port of 127.0.0.1 on which a server that is started lets readers in; None: nowhere.
        owner : for the embedded server's superuser, who changes the schema, dumps and makes roles.

        Raises
        ------
        DatabaseUrlError : the URL cannot be read.
        EmbeddedServerError : the embedded server was to be started and did not.
        """
        if url is not None:
            return cls.of(parse_url(url.get_secret_value()))
        server = EmbeddedServer(home, pg_bin, tcp_port)
        if start:
            server.ensure()
        database = cls.on(server)
        if owner:
            return database
        if start:
            database.let_platform_in()
        return database.for_work()

    @classmethod
    def on(cls, server: EmbeddedServer, name: str = TABLES_DATABASE) -> Database:
        """A database of an embedded server, for its superuser.

        Parameters
        ----------
        server : running or not; its address is known before it listens there.
        name : of the database, there or not yet.
        """
        url = server.url(name)
        address = server.address
        parameters = {"host": address.host, "port": str(address.port), "user": str(url.username), "dbname": name}
        if address.password is not None:
            parameters["password"] = address.password
        return replace(cls.of(parameters), embedded=True)

    @classmethod
    def of(cls, parameters: dict[str, str]) -> Database:
        """The database that libpq's `parameters` (`dbname` among them) name."""
        given = parameters.get("options", "").removesuffix(SEARCH_PATH).strip()
        parameters = parameters | {"options": f"{given} {SEARCH_PATH}".strip()}
        shown, secrets = split_secrets(_DEFAULTS | parameters)
        return cls(tuple(shown.items()), tuple((name, SecretStr(value)) for name, value in secrets.items()))

    @property
    def name(self) -> str:
        """The database's own name."""
        return dict(self.parameters)["dbname"]

    def named(self, name: str) -> Database:
        """Another database of the same server, for the same user."""
        return replace(self, parameters=tuple((dict(self.parameters) | {"dbname": name}).items()))

    def dagster(self) -> Database:
        """The database of Dagster's own storage, named after this one, for the login that works there."""
        beside = self.named(dagster_name(self.name))
        works = self.embedded and ("user", PLATFORM_LOGIN) in self.parameters
        return beside._as(DAGSTER_LOGIN) if works else beside  # noqa: SLF001 - of this class

    def for_work(self) -> Database:
        """This database for the login that works on the embedded server, the same one on a server of the user's.

        Where the embedded server asks for passwords (on Windows) the superuser works there.
        """
        return self if not self.embedded or self.secrets else self._as(PLATFORM_LOGIN)

    def let_platform_in(self) -> None:
        """Have the logins of `for_work` there, and Dagster's database theirs; this one is the superuser's.

        Cheap where all is done. Nothing on a server of the user's, whose administrator makes the logins.
        """
        if self.for_work() == self:
            return
        for database in (self.dagster(), self.named("postgres")):
            try:
                connection = database.connect()
            except NoSuchDatabase:
                continue
            with connection:
                make_logins(connection)
                if database.name != "postgres":
                    hand_over(connection)
            return

    def connect(self, *, watched: bool = True, **options: Any) -> psycopg.Connection[Any]:
        """A connection; within `patiently` it waits for a lock for some seconds only, elsewhere for a minute.

        Parameters
        ----------
        watched : whether work that is done `patiently` keeps an eye on it.
        **options : go to `psycopg.connect` (autocommit, row_factory, ...).

        Returns
        -------
        Of psycopg 3, to a server that is new enough, in UTF-8; whoever asked for it closes it.

        Raises
        ------
        DatabaseUnreachable : or one of its kinds, AccessRefused, NoSuchDatabase, ServerTooOld; one line without a
            secret.
        """
        failure: DatabaseUnreachable
        watch = current_watch() if watched else None
        parameters = self._all() | {"client_encoding": "UTF8"}
        limit = watch.server_options if watch is not None else WAITS_NO_LONGER
        parameters["options"] = f"{parameters.get('options', '')} {limit}".strip()
        try:
            connection = psycopg.connect(make_conninfo(**parameters), **options)
        except psycopg.Error as error:
            failure = self._explain(str(error))
        else:
            if (version := connection.info.server_version) >= OLDEST_SERVER:
                if watch is not None:
                    watch.add(connection.info.backend_pid, connection.fileno())
                return connection
            connection.close()
            failure = ServerTooOld(
                f"The server at {self._place} is PostgreSQL {version // 10_000}, {OLDEST_SERVER // 10_000} or newer is "
                "needed: upgrade it, or name another in TT_DATABASE_URL."
            )
        raise failure  # outside the handler, so that the driver's error is not even its context

    def engine(self) -> Engine:
        """A SQLAlchemy engine (psycopg 3) that keeps no connection open between uses."""
        url = sqlalchemy_url("postgresql+psycopg", dict(self.parameters))
        return create_engine(url, creator=self.connect, poolclass=NullPool)

    def adbc_uri(self) -> str:
        """libpq URI for ADBC and psql. Holds the password: not to be shown."""
        return libpq_uri(self._all())

    def dagster_url(self) -> str:
        """SQLAlchemy URL of Dagster's own database, for `dagster.yaml`. Holds the password: not to be shown.

        The driver is named because SQLAlchemy 2.1 takes psycopg 3 for a plain URL, which breaks Dagster's event log.
        """
        url = sqlalchemy_url("postgresql+psycopg2", self.dagster()._all())  # noqa: SLF001 - of this class
        return url.render_as_string(hide_password=False)

    def masked(self) -> str:
        """The URL for people: no secret, none of the technical parameters."""
        shown = {name: value for name, value in self.parameters if name in ("host", "port", "user", "dbname")}
        if any(name == "password" for name, _ in self.secrets):
            shown["password"] = "***"  # noqa: S105
        return libpq_uri(shown)

    def shared_uri(self) -> str:
        """The URI to hand to other programs: host, port, user, password and name. Holds the password."""
        return libpq_uri({k: v for k, v in self._all().items() if k in ("host", "port", "user", "password", "dbname")})

    def create_databases(self) -> None:
        """Create this database and Dagster's where they are absent; any number of processes may do it at once.

        Raises
        ------
        MayNotCreate : with the statement an administrator has to run.
        DagsterDatabaseTaken : Dagster's belongs to the tables of another database.
        DatabaseUnreachable : the server cannot be reached.
        """
        with self._maintenance() as connection:
            present = {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}
            if dagster_database.may_be_of_older_version(connection, self.name, present) and self._shared_before():
                dagster_database.rename_older(connection, self.name)
                present.add(dagster_name(self.name))
            for name in (self.name, dagster_name(self.name)):
                if name not in present:
                    self._create(connection, name)
            dagster_database.refuse_taken(connection, self.name)
            dagster_database.mark(connection, self.name)

    def check_dagster(self) -> None:
        """Raise a `UserError` unless Dagster's database is there, lets this user in and belongs to these tables."""
        with self.dagster().connect() as connection:
            dagster_database.refuse_taken(connection, self.name)

    def _shared_before(self) -> bool:
        """Whether the unmarked `dagster` of the server has a history of our tables, from a version that shared it."""
        try:
            with self.named(DAGSTER_DATABASE).connect() as inside:
                return dagster_database.is_of_older_version(inside)
        except DatabaseUnreachable:
            return False

    def _create(self, connection: psycopg.Connection[Any], name: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
        try:
            connection.execute(statement)
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return  # another process was faster
        except psycopg.errors.InsufficientPrivilege:
            user = connection.info.user
        else:
            return
        raise MayNotCreate(
            f'The user "{user}" may not create the database "{name}" at {self._place}: '
            f'have an administrator run CREATE DATABASE "{name}" OWNER "{user}" ENCODING \'UTF8\' TEMPLATE template0.'
        )

    def _maintenance(self) -> psycopg.Connection[Any]:
        """A connection to any database of the server, this one first: a plain user may be let into no other."""
        refusal: DatabaseUnreachable | None = None
        for name in (self.name, "postgres", "template1"):
            try:
                return self.named(name).connect(autocommit=True)
            except (NoSuchDatabase, AccessRefused) as error:
                refusal = refusal if isinstance(refusal, AccessRefused) else error
        assert refusal is not None  # noqa: S101 - the loop has run
        raise refusal

    def _as(self, user: str) -> Database:
        return replace(self, parameters=tuple((dict(self.parameters) | {"user": user}).items()))

    @property
    def _place(self) -> str:
        return describe(dict(self.parameters))

    def _all(self) -> dict[str, str]:
        return dict(self.parameters) | {name: secret.get_secret_value() for name, secret in self.secrets}

    def _explain(self, message: str) -> DatabaseUnreachable:
        """The error for libpq's message about a failed connection: server messages have no code at this stage."""
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        reason = _PLACE_IN_MESSAGE.sub("", lines[0]) if lines else "no reason given"
        reason = re.sub(r"^FATAL:\s*", "", reason)
        for secret in (secret.get_secret_value() for _, secret in self.secrets):
            reason = reason.replace(secret, "***")
        user = dict(self.parameters).get("user", "")
        if "password" in reason:
            return AccessRefused(
                f'The server at {self._place} refused the password of user "{user}" ({reason}): correct it in '
                "TT_DATABASE_URL, special characters percent-encoded."
            )
        if re.search(r'database "[^"]*" does not exist', reason):
            return NoSuchDatabase(f'The server at {self._place} has no database "{self.name}": run `tt db upgrade`.')
        if busy := self._busy(reason):
            return busy
        if "FATAL:" in message or self._ping() is not pq.Ping.NO_RESPONSE:
            remedy = "correct user and database in TT_DATABASE_URL, or the server's pg_hba.conf"
            if self.embedded:  # its cluster is of a version that worked as the superuser
                remedy = "run `tt db upgrade`, which makes its logins"
            return AccessRefused(
                f'The server at {self._place} refused user "{user}" the database "{self.name}" ({reason}): {remedy}.'
            )
        if self.embedded:
            return DatabaseUnreachable(
                f"The embedded server at {self._place} does not run: start it with `tt db start`."
            )
        return DatabaseUnreachable(
            f"No PostgreSQL answers at {self._place} ({reason}): start the server, or correct host and port in "
            "TT_DATABASE_URL."
        )

    def _busy(self, reason: str) -> DatabaseUnreachable | None:
        """The error for a server that is there and will let this user in at another time; None for any other."""
        if re.search("too many (clients|connections)|connection slots", reason):
            return NoConnectionLeft(
                f"The server at {self._place} has no connection left for us ({reason}): end sessions that nobody needs "
                "(they are in pg_stat_activity), or raise max_connections of the server, or the limit of the user or "
                "database, then run this again."
            )
        if "the database system is" in reason:
            return NotReadyYet(f"The server at {self._place} is not ready ({reason}): run this again in a moment.")
        return None

    def answers(self) -> bool:
        """Whether the server accepts connections, asked within two seconds and without a login."""
        return self._ping() is pq.Ping.OK

    def _ping(self) -> pq.Ping:
        """What a server says in a way that needs no login and no English."""
        question = make_conninfo(**(self._all() | {"connect_timeout": "2"}))
        return pq.Ping(pq.PGconn.ping(question.encode()))
