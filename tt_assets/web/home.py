"""The first page: what each portfolio's agents are worth, what to hold next, how fresh everything is, what failed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from tt_assets.assets.recorded_holdings import recorded_holdings
from tt_assets.errors import UserError
from tt_assets.grid.bars_files import followed
from tt_assets.grid.keys import CellKey
from tt_assets.report.holdings import held_by
from tt_assets.report.labels import percent
from tt_assets.report.verdict import YARDSTICK, yardstick_name
from tt_assets.tables import LEDGER, TABLES
from tt_assets.trading.episodes.holdings import Holdings
from tt_assets.trading.judging.judge import AGENT, ENSEMBLE
from tt_assets.web.equity import curves_of, traded_names
from tt_assets.web.site import Look, Page, Site, address

RUNS_SHOWN = 8
PORTFOLIOS_SHOWN = 12
KINDS_SHOWN = 12
POSITIONS_SHOWN = 12
TABLES_TOLD = 3


def page(look: Look) -> Page:
    """Verdict, promotion, holdings, freshness, failures, runs and health."""
    names = traded_names(look)
    health = look.site.health()
    return Page(
        "home.html",
        "Home",
        {
            "portfolios": [_portfolio(look, name) for name in names[:PORTFOLIOS_SHOWN]],
            "more": names[PORTFOLIOS_SHOWN:],
            "tables": _tables(look),
            "table_names": list(TABLES),
            "failures": _failures(look),
            "runs": _runs(look.site),
            "health": health,
            "now": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        },
    )


def _portfolio(look: Look, traded: str) -> dict[str, Any]:
    curves = curves_of(look, traded)
    agent = curves.of(AGENT)
    total = float(agent.iloc[-1]) - 1.0
    other = curves.yardstick
    held = float(curves.of(other).iloc[-1]) - 1.0 if other else None
    conclusion, verdict = _judged(look.site, traded)
    seeds = len(curves.seeds(AGENT))
    lead = None if held is None else total - held
    return {
        "name": traded,
        "address": address("/tt/portfolio", of=traded),
        "report": address("/tt/report", of=traded),
        "conclusion": conclusion,
        "verdict": verdict,
        "total": percent(total, signed=True),
        "up": total >= 0,
        "lead": None if lead is None else percent(lead, signed=True),
        "yardstick": yardstick_name(other or YARDSTICK),
        "span": f"{curves.times[0]} to {curves.times[-1]}",
        "seeds": f"{'mean action' if curves.subject == ENSEMBLE else 'mean'} of {seeds} agents"
        if seeds > 1
        else "one agent",
        "promotion": _promotion(look, traded),
        "holdings": _holdings(look, traded),
    }


def _judged(site: Site, traded: str) -> tuple[str, str]:
    """The conclusion of the latest report and the rest of its verdict, as they stand on the page of its asset.

    Reports of before there were conclusions have none, and their verdicts begin with something else.
    """
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("report"), asset_partitions=[traded])
    for record in site.instance.fetch_materializations(wanted, limit=1).records:
        made = record.asset_materialization
        if made is not None and "verdict" in made.metadata:
            verdict = str(made.metadata["verdict"].value)
            conclusion = str(made.metadata["conclusion"].value) if "conclusion" in made.metadata else ""
            return conclusion, verdict.removeprefix(conclusion).strip()
    return "", "Not judged yet: run `tt report`."


def _promotion(look: Look, traded: str) -> dict[str, str]:
    rows = look.rows(
        "SELECT promoted, decided_at, expires FROM tt_promotion WHERE instrument = %s ORDER BY id DESC LIMIT 1", traded
    )
    if not rows:
        return {"word": "never judged for promotion", "tone": "warn"}
    ((promoted, decided, expires),) = rows
    if not promoted:
        return {"word": f"not promoted, {decided:%Y-%m-%d}", "tone": "bad"}
    return {"word": f"promoted until {expires}", "tone": "good"}


def _holdings(look: Look, traded: str) -> dict[str, Any]:
    """The newest recorded decision as `tt holdings` gives it; where that says nothing, why."""
    listed = followed(look.site.settings).watchlist
    symbols = listed.members(traded) if traded in listed.traded else ()
    try:
        found = recorded_holdings(look.frames, traded, symbols, None, look.site.settings.trading.initial_cash)
    except UserError as error:
        return {"session": "", "held_by": "", "rows": [], "said": str(error)}
    ((newest,),) = look.rows("SELECT max(timestamp)::date FROM tt_prices WHERE instrument = ANY(%s)", list(symbols))
    late = f"There are bars up to {newest}: `tt backfill tt_episode` decides on them." if _later(newest, found) else ""
    shown = sorted(found.positions, key=lambda own: -own.weight)[:POSITIONS_SHOWN]
    return {
        "session": f"{found.session}",
        "held_by": held_by(found),
        "rows": [
            {
                "name": own.instrument,
                "weight": percent(own.weight),
                "change": percent(own.weight - own.weight_before, signed=True),
                "why": own.reason,
            }
            for own in shown
        ],
        "said": late,
    }


def _later(newest: date | None, found: Holdings) -> bool:
    return newest is not None and newest > found.session


def _tables(look: Look) -> list[dict[str, Any]]:
    known = {
        name: rest
        for name, *rest in look.rows(
            f"SELECT table_name, max(date) FILTER (WHERE rows > 0), max(written_at), count(*) FILTER (WHERE rows > 0), "
            f"count(failure), sum(rows) FROM {LEDGER.name} GROUP BY 1"
        )
    }
    rows = []
    for name in TABLES:
        newest, written, filled, failed, count = known.get(name, (None, None, 0, 0, 0))
        rows.append(
            {
                "name": name,
                "address": address("/tt/partitions", table=name),
                "newest": f"{newest or '–'}",
                "written": f"{written:%Y-%m-%d %H:%M}" if written else "–",
                "filled": f"{filled:,}",
                "failed": int(failed),
                "rows": f"{int(count or 0):,}",
            }
        )
    return rows


def _failures(look: Look) -> list[dict[str, Any]]:
    rows = look.rows(
        f"""
        SELECT table_name, coalesce(failure ->> 'reason', failure::text), count(*), max(date), max(instrument)
        FROM {LEDGER.name} WHERE failure IS NOT NULL GROUP BY 1, 2 ORDER BY 3 DESC LIMIT %s
        """,
        KINDS_SHOWN,
    )
    return [
        {
            "table": table,
            "reason": str(reason)[:240],
            "count": count,
            "address": address(f"/tt/partition/{table}", key=str(CellKey(str(day), instrument))),
        }
        for table, reason, count, day, instrument in rows
    ]


def _made(run: dg.DagsterRun) -> str:
    """The first tables that a run makes, in the order they are made in, and how many more."""
    names = {key.path[-1] for key in run.asset_selection or ()}
    order = sorted(names, key=lambda name: (list(TABLES).index(name) if name in TABLES else len(TABLES), name))
    rest = f" and {len(order) - TABLES_TOLD} more" if len(order) > TABLES_TOLD else ""
    return ", ".join(order[:TABLES_TOLD]) + rest


def _runs(site: Site) -> list[dict[str, str]]:
    rows = []
    for record in site.instance.get_run_records(limit=RUNS_SHOWN):
        run = record.dagster_run
        begun = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC)
        seconds = (record.end_time - record.start_time) if record.end_time and record.start_time else None
        made = _made(run)
        status = run.status.value.lower().replace("_", " ")
        rows.append(
            {
                "id": run.run_id[:8],
                "address": f"/runs/{run.run_id}",
                "what": made or run.job_name.strip("_"),
                "status": status,
                "tone": {"success": "good", "failure": "bad"}.get(status, ""),
                "begun": f"{begun:%Y-%m-%d %H:%M}",
                "took": f"{seconds:,.0f} s" if seconds is not None else "",
            }
        )
    return rows
