"""The dashboard under /tt: one request, one look at the tables, one page.

Every page is a function of a `Look` that returns a `Page`; what goes wrong on the way is a page, too. Pages change
nothing: they are asked by GET, over a connection that only reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import dagster as dg
import jinja2
import pandas as pd
import psycopg
from psycopg import sql
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from tt_assets.errors import UserError
from tt_assets.postgres.database import Database, DatabaseUnreachable
from tt_assets.postgres.reader import looking
from tt_assets.report.charts import LIBRARY, NOTICE, SCRIPT, Chart
from tt_assets.settings import Settings
from tt_assets.web.headers import DASHBOARD_POLICY, POLICY

MENU = (
    ("/tt", "Home"),
    ("/tt/portfolio", "Portfolio"),
    ("/tt/instrument", "Instrument"),
    ("/tt/partitions", "Partitions"),
    ("/tt/quality", "Data quality"),
    ("/tt/trials", "Trials"),
)
OLD_SCHEMA = "The schema of the tables is older than this page: run `tt db upgrade`."
LONGEST = 200
"""Characters of a parameter; no name is longer."""
NAMES_TOLD = 20
"""Names that a page offers for one that is not there."""
OWN = Path(__file__).parent / "static"
FILES = {file.name: file for file in (SCRIPT, OWN / "tt.css", OWN / "theme.js", OWN / "matrix.js")} | {
    "lightweight-charts.js": LIBRARY
}


class NotThere(UserError):
    """What was asked for does not exist; the page that says so answers 404."""


@dataclass(frozen=True)
class Health:
    """How the processes of `tt up` are: name, state and since when of each, and when and why which died last."""

    children: Sequence[tuple[str, str, str]] = ()
    deaths: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class Site:
    """What the pages are made from.

    Parameters
    ----------
    settings : of the platform. database : its tables, for a login that reads. instance : Dagster's, for runs.
    health : how the processes are now.
    """

    settings: Settings
    database: Database
    instance: dg.DagsterInstance
    health: Callable[[], Health] = Health


@dataclass(frozen=True)
class Page:
    """What a page shows: `template` with `values`, and the charts that `?csv=` gives as CSV."""

    template: str
    title: str
    values: Mapping[str, Any]
    charts: Sequence[Chart] = ()


@dataclass(frozen=True)
class Choice:
    """A field of a form that changes what a page shows."""

    name: str
    label: str
    value: str
    options: Sequence[tuple[str, str]] | None = None
    kind: str = "text"


@dataclass(frozen=True)
class Look:
    """One request: its parameters, and the connection that the whole page is read over."""

    site: Site
    connection: psycopg.Connection[Any]
    parameters: Mapping[str, str] = field(default_factory=dict)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that a statement answers; `values` are bound to its %s."""
        return self.connection.execute(statement, values).fetchall()

    def frames(self, queries: Sequence[sql.Composed]) -> list[pd.DataFrame]:
        """The results of `queries` as frames, over the page's connection."""
        found = []
        for query in queries:
            cursor = self.connection.execute(query)
            columns = [column.name for column in cursor.description or ()]
            found.append(pd.DataFrame(cursor.fetchall(), columns=columns))
        return found

    def text(self, name: str, default: str = "") -> str:
        """A parameter. Raises NotThere where no name or number could look like that."""
        value = self.parameters.get(name, "") or default
        if len(value) > LONGEST or not value.isprintable():
            raise NotThere(f"Nothing is called what the parameter {name} says.")
        return value

    def one_of(self, name: str, known: Sequence[str], default: str | None = None, *, what: str = "") -> str:
        """A parameter that has to be one of `known`; without it `default`, or the first.

        Raises NotThere, which calls it `what` it is, or by its own name.
        """
        value = self.text(name, default if default is not None else (known[0] if known else ""))
        if value not in known:
            raise NotThere(_unknown(what or name, value, known))
        return value


def _unknown(what: str, value: str, known: Sequence[str]) -> str:
    if not known:
        return f"There is no {what} yet."
    rest = f" and {len(known) - NAMES_TOLD:,} more" if len(known) > NAMES_TOLD else ""
    others = f"{', '.join(known[:NAMES_TOLD])}{rest}"
    return f'There is no {what} "{value}" here. There {"is" if len(known) == 1 else "are"}: {others}.'


Maker = Callable[[Look], Page]


def routes(
    site: Site, pages: Mapping[str, Maker], files: Mapping[str, Callable[[Site, str], Path | None]]
) -> list[BaseRoute]:
    """The routes of the dashboard: `pages` by address, `files` (address → the file that `?of=` names)."""
    pressed = [Middleware(GZipMiddleware, minimum_size=600)]
    found: list[BaseRoute] = [
        Route(address, _endpoint(site, address, make), methods=["GET"], middleware=pressed)
        for address, make in pages.items()
    ]
    found += [Route(address, _file(site, find), methods=["GET"]) for address, find in files.items()]
    found.append(Route("/tt/static/{name}", _static, methods=["GET"], middleware=pressed))
    # The rest is ours too: Dagster's page for everything would answer it otherwise.
    found.append(Route("/tt/{rest:path}", _endpoint(site, "", _nothing), methods=["GET"]))
    return found


def address(path: str, **parameters: Any) -> str:
    """An address of the dashboard with its parameters; those that are None are left out."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _endpoint(site: Site, here: str, make: Maker) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        parameters = {**request.query_params, **request.path_params}
        try:
            with looking(site.database) as connection:
                look = Look(site, connection, {name: str(value) for name, value in parameters.items()})
                page = make(look)
                wanted = look.text("csv")
            return _csv(page, wanted) if wanted else _html(site, here, page, 200)
        except (UserError, psycopg.Error) as error:
            status, title, text = _excuse(error)
            return _html(site, here, Page("problem.html", title, {"text": text}), status)

    return answer


def _excuse(error: UserError | psycopg.Error) -> tuple[int, str, str]:
    """Status, title and words of the page that says why there is no other. Raises what is nobody's mistake."""
    own = str(error)
    for kind, status, title, text in (
        (NotThere, 404, "Not found", own),
        (DatabaseUnreachable, 503, "No database", own),
        (UserError, 503, "Not ready", own),
        (psycopg.errors.DataError, 404, "Not found", "No name or number looks like that."),
        (
            psycopg.errors.QueryCanceled,
            503,
            "Too long",
            "The tables did not answer in time; choose less, or try again.",
        ),
        (psycopg.errors.UndefinedTable, 503, "Not ready", OLD_SCHEMA),
        (psycopg.errors.UndefinedColumn, 503, "Not ready", OLD_SCHEMA),
        (psycopg.OperationalError, 503, "No database", "The database went away; try again in a moment."),
    ):
        if isinstance(error, kind):
            return status, title, text
    raise error


def _nothing(_: Look) -> Page:
    raise NotThere("There is no such page.")


def _html(site: Site, here: str, page: Page, status: int) -> Response:
    body = (
        _templates()
        .get_template(page.template)
        .render(
            title=page.title,
            menu=MENU,
            here=here,
            version=_version(),
            currency=site.settings.currency,
            notice=NOTICE,
            charts=page.charts,
            **page.values,
        )
    )
    return HTMLResponse(body, status, {POLICY: DASHBOARD_POLICY, "cache-control": "no-store"})


def _csv(page: Page, wanted: str) -> Response:
    chart = next((chart for chart in page.charts if chart.key == wanted), None)
    if chart is None:
        raise NotThere(f'This page has no chart "{wanted}".')
    headers = {"content-disposition": f'attachment; filename="{chart.key}.csv"', "cache-control": "no-store"}
    return Response(chart.csv(), media_type="text/csv; charset=utf-8", headers=headers)


def _static(request: Request) -> Response:
    file = FILES.get(request.path_params["name"])
    if file is None:
        return Response("No such file.\n", 404, media_type="text/plain")
    # Its address has the version of its content, so a browser may keep it.
    return FileResponse(file, headers={"cache-control": "public, max-age=31536000, immutable"})


def _file(site: Site, find: Callable[[Site, str], Path | None]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        named = request.query_params.get("of", "")
        file = find(site, named) if len(named) <= LONGEST and named.isprintable() else None
        if file is None or not file.is_file():
            text = "There is no report of that name yet: run `tt report`."
            return _html(site, "", Page("problem.html", "Not found", {"text": text}), 404)
        return FileResponse(file, media_type="text/html", headers={POLICY: REPORT_POLICY, "cache-control": "no-store"})

    return answer


REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
"""Of a report file, whose own policy is stricter: it names the script it was made with."""


@cache
def _version() -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in FILES.values())).hexdigest()[:12]


@cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("tt_assets.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["address"] = address
    return made
