"""How the nine episode tables hang together, for everybody who reads them.

A row belongs to an episode by `episode_id`, or in tt_holdings by its row of tt_portfolio, whose session it shares. In
every query composed here `e` is the row of tt_episode, `p` that of tt_portfolio and `t` that of the table in question;
of tt_episode itself there is only `e`.
"""

from __future__ import annotations

from typing import LiteralString

from psycopg import sql
from sqlalchemy import Table, Text

from tt_assets.tables import EPISODE_TABLES, TABLES, content_columns, key_columns

SURROGATES = ("episode_id", "portfolio_id")
"""Keys that say where a row belongs; they differ from one writing of the same content to the next."""

_CHILD: LiteralString = "{} AS t JOIN tt_episode AS e ON e.id = t.episode_id"
_SOURCES: dict[str, LiteralString] = {
    "tt_episode": "{} AS e",
    "tt_holdings": "{} AS t JOIN tt_portfolio AS p ON p.id = t.portfolio_id "
    "JOIN tt_episode AS e ON e.id = p.episode_id",
}


def joined_source(table: str) -> sql.Composed:
    """What to read FROM: the episode table joined to its episodes; any other table as `t`."""
    text = _SOURCES.get(table, _CHILD) if table in EPISODE_TABLES else "{} AS t"
    return sql.SQL(text).format(sql.Identifier(table))


def alias_of(table: str) -> str:
    """The name that the rows of the table itself have in a query."""
    return "e" if table == "tt_episode" else "t"


def column_of(table: str, name: str) -> sql.Identifier:
    """Where a query finds a column; tt_holdings has episode and session of its portfolio row.

    Parameters
    ----------
    table : any table; the query is composed on `joined_source` of it.
    name : of the column.
    """
    if table == "tt_holdings" and name in ("episode_id", "timestamp"):
        return sql.Identifier("p", name)
    return sql.Identifier(alias_of(table), name)


def own_columns(table: str) -> list[str]:
    """The columns that say something of the episode, without the keys by which a row belongs to it."""
    return [name for name in content_columns(TABLES[table]) if name not in SURROGATES]


def session_order(table: str) -> list[sql.Composable]:
    """The order of the rows within one episode: by session, then by instrument."""
    if table == "tt_episode":
        return []
    first: list[sql.Composable] = [column_of(table, "timestamp")]
    return first + [by_code_point(TABLES[table], name) for name in key_columns(TABLES[table]) if name == "instrument"]


def by_code_point(table: Table, name: str) -> sql.Composable:
    """A column as a term of ORDER BY: text by code point, whatever the collation of the database is.

    Parameters
    ----------
    table : in a query on `joined_source` of its name.
    name : of the column.
    """
    place = column_of(table.name, name)
    return sql.SQL('{} COLLATE "C"').format(place) if isinstance(table.columns[name].type, Text) else place
