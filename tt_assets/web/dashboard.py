"""The table of contents of the dashboard: which address is made by whom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from starlette.routing import BaseRoute

from tt_assets.assets.report import report_file
from tt_assets.web import episode, home, instrument, partitions, portfolio, quality, trials
from tt_assets.web.site import Maker, Site, routes

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
    return routes(site, PAGES, {"/tt/report": _report})


def _report(site: Site, traded: str) -> Path | None:
    """The HTML file that the asset `report` or `tt report` wrote of `traded`."""
    return report_file(site.settings.home, traded) if traded else None
