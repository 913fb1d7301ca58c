"""Reading a PostgreSQL URL, and writing one for each driver.

Libpq reads the URL, because libpq is who connects; nothing that goes wrong here quotes the URL, which may
hold a password anywhere once its special characters were not encoded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL

from tt_assets.errors import UserError

TABLES_DATABASE = "tt"
DAGSTER_DATABASE = "dagster"
"""Dagster's own storage beside the tables in `tt`; see `dagster_name` for others."""
LONGEST_NAME = 63
"""Bytes of a name that PostgreSQL keeps."""
_SCHEME = re.compile(r"^(postgres|postgresql)(\+\w+)?://")
_IN_AUTHORITY = ("host", "port", "user", "password", "dbname")
_SECRETS = ("password", "sslpassword")


class DatabaseUrlError(UserError):
    """TT_DATABASE_URL cannot be understood."""


def parse_url(url: str) -> dict[str, str]:
    """libpq's parameters of `postgres://`, `postgresql://` or `postgresql+driver://`; `dbname` is `tt` if not given.

    Raises
    ------
    DatabaseUrlError : libpq cannot read it, or it names a database that is for Dagster; never quotes the URL.
    """
    if not _SCHEME.match(url := url.strip()):
        raise DatabaseUrlError(
            "TT_DATABASE_URL does not begin with postgresql://; write postgresql://user@host:5432/tt."
        )
    try:
        found = conninfo_to_dict(_SCHEME.sub("postgresql://", url))
    except psycopg.Error:
        found = {}
    parameters = {name: str(value) for name, value in found.items() if value is not None and value != ""}
    # What is left of a password that held @, / or # ends up in these.
    misread = "@" in parameters.get("host", "") + parameters.get("dbname", "")
    if not found or misread or not re.fullmatch(r"[\d,]*", parameters.get("port", "")):
        raise DatabaseUrlError(
            "TT_DATABASE_URL is not a URL that libpq can read: write postgresql://USER@HOST:5432/tt, the password "
            "behind the user after a colon, with special characters of user and password percent-encoded (@ is %40, "
            "/ is %2F, # is %23, % is %25)."
        )
    parameters.setdefault("dbname", TABLES_DATABASE)
    name = parameters["dbname"]
    if name == DAGSTER_DATABASE or name.endswith(f"_{DAGSTER_DATABASE}"):
        raise DatabaseUrlError(
            f'TT_DATABASE_URL names the database "{name}", which is for Dagster\'s own storage on the same '
            f'server: name another one for the tables, such as "{TABLES_DATABASE}".'
        )
    return parameters


def dagster_name(tables: str) -> str:
    """Name of Dagster's own database beside the tables in `tables`: `dagster` for `tt`, `X_dagster` for any other X."""
    if tables == TABLES_DATABASE:
        return DAGSTER_DATABASE
    name = f"{tables}_{DAGSTER_DATABASE}"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    # The server would cut it off behind the name of the tables' database, or to that very name.
    digest = hashlib.sha256(tables.encode()).hexdigest()[:16]
    return f"{tables.encode()[:38].decode(errors='ignore')}_{digest}_{DAGSTER_DATABASE}"


def split_secrets(parameters: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What may be shown of `parameters`, and the passwords among them."""
    secrets = {name: value for name, value in parameters.items() if name in _SECRETS}
    return {name: value for name, value in parameters.items() if name not in _SECRETS}, secrets


def libpq_uri(parameters: Mapping[str, str]) -> str:
    """The `postgresql://` URI of `parameters`, as psql, ADBC and libpq take it. A password in it is readable."""
    user = quote(parameters.get("user", ""), safe="")
    if "password" in parameters:
        user += ":" + quote(parameters["password"], safe="*")
    place, query = _place(parameters)
    return f"postgresql://{user}{'@' if user else ''}{place}/{quote(parameters['dbname'], safe='')}" + (
        f"?{urlencode(query, quote_via=quote)}" if query else ""
    )


def sqlalchemy_url(drivername: str, parameters: Mapping[str, str]) -> URL:
    """The SQLAlchemy URL for a driver over libpq; its `repr` hides the password.

    Parameters
    ----------
    drivername : such as `postgresql+psycopg`.
    parameters : libpq's, `dbname` among them.
    """
    host, port = parameters.get("host", ""), parameters.get("port", "")
    query = {name: value for name, value in parameters.items() if name not in _IN_AUTHORITY}
    plain = _is_one_name(host, port)
    if not plain:  # a socket folder, or several hosts
        query |= {name: parameters[name] for name in ("host", "port") if name in parameters}
    return URL.create(
        drivername,
        username=parameters.get("user"),
        password=parameters.get("password"),
        host=host or None if plain else None,
        port=int(port) if plain and port else None,
        database=parameters["dbname"],
        query=query,
    )


def describe(parameters: Mapping[str, str]) -> str:
    """Where a server is, for a sentence: `host:port`, or its socket folder."""
    host = parameters.get("host") or parameters.get("hostaddr")
    if not host:
        return "the default socket"
    return host if host.startswith("/") else f"{host}:{parameters.get('port', '5432')}"


def _place(parameters: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    host, port = parameters.get("host", ""), parameters.get("port", "")
    query = {name: value for name, value in parameters.items() if name not in _IN_AUTHORITY}
    if not _is_one_name(host, port):
        return "", {name: parameters[name] for name in ("host", "port") if name in parameters} | query
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed + (f":{port}" if port else ""), query


def _is_one_name(host: str, port: str) -> bool:
    return bool(host) and "," not in host + port and not host.startswith(("/", "@"))
