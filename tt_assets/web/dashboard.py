"""The table of contents of the dashboard: which address is made by whom."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tt_assets.assets.report import report_file
from tt_assets.tables import TABLES
from tt_assets.web import episode, home, instrument, partitions, portfolio, quality, trials
from tt_assets.web.site import LONGEST, Maker, Site, routes

PAGES: Mapping[str, Maker] = {
    "/tt": home.page,
    "/tt/portfolio": portfolio.page,
    "/tt/episode": episode.page,
    "/tt/instrument": instrument.page,
    "/tt/partitions": partitions.page,
    "/tt/partition/{table}": partitions.partition,
    "/tt/quality": quality.page,
    "/tt/trials": trials.page,
}


def dashboard(site: Site) -> list[BaseRoute]:
    """The routes of the dashboard over `site`."""
    return [Route("/tt/make", _make, methods=["GET"]), *routes(site, PAGES, {"/tt/report": _report})]


def _make(request: Request) -> Response:
    """To Dagster's page of a table with partitions chosen: its launch dialog reads them off the address."""
    asked = request.query_params
    table = asked.get("table", "")
    if table not in TABLES:
        return RedirectResponse("/tt", 303)
    chosen = {"view": "partitions"}
    first, last = (_day(asked.get(name, "")) for name in ("from", "to"))
    if first:
        chosen["date_range"] = first if last in (None, first) else f"[{first}...{last}]"
    names = [name.strip() for name in asked.get("instruments", "").split(",") if name.strip().isprintable()]
    if any(names):
        chosen["instrument_range"] = ",".join(filter(None, names))[:LONGEST]
    return RedirectResponse(f"/assets/{table}?{urlencode(chosen)}", 303)


def _day(text: str) -> str | None:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return None


def _report(site: Site, traded: str) -> Path | None:
    """The HTML file that the asset `report` or `tt report` wrote of `traded`."""
    return report_file(site.settings.shown, traded) if traded else None
