"""Pictures of what a run put into the market tables.

A run draws a handful of pictures, however many partitions it has, and they hang on the partitions of its last date, the
ones that a person opens first; of the runs of one load the last one draws. What was stored before is drawn along, so
that one new session is seen with the months before it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta

import dagster as dg
import pandas as pd

from tt_assets.assets.pictures import Pictures, Shown, picture
from tt_assets.grid.run_tags import DRAWN_LATER
from tt_assets.market.calendar import sessions
from tt_assets.postgres.slices import Selection
from tt_assets.research.panel import BAR_FIELDS
from tt_assets.research.registry import Feature
from tt_assets.runs.market_reader import MarketReader
from tt_assets.tables import TABLES, key_columns

SHORT_RUN = 130
"""Sessions drawn with a run of no more than these."""

DRAWN = 252
"""Sessions drawn with a longer run, its last ones."""

ROWS = 30
"""Instruments of a heat map."""


class View:
    """The sessions and instruments a run draws, and where the pictures go; of `most` 0 partitions nothing is drawn."""

    def __init__(self, selection: Selection, market: MarketReader, most: int, tags: Mapping[str, str]) -> None:
        """Of a run with `tags`."""
        self.selection, self.market = selection, market
        most = 0 if DRAWN_LATER in tags else most
        last = _last_of_each(selection)
        newest = selection.starts.max() if len(selection) else None
        self.latest = {name: cell for name, cell in last.items() if selection.starts[cell] == newest}
        kept = [*list(self.latest)[: max(most - 1, 0)], *list(self.latest)[-1:]]
        self.shown = list(dict.fromkeys(kept)) if most else []

    @property
    def rows(self) -> list[str]:
        """Instruments of a heat map: those of the run, `ROWS` at most."""
        return sorted(set(self.selection.instruments))[:ROWS]

    def span(self) -> pd.DatetimeIndex:
        """The sessions drawn, up to the run's last."""
        first = pd.Timestamp(self.selection.starts.min()).date()
        last = (pd.Timestamp(self.selection.ends.max()) - pd.Timedelta(days=1)).date()
        count = SHORT_RUN if len(sessions(first, last)) <= SHORT_RUN else DRAWN
        return sessions(_before(last, count), last)[-count:]

    def with_stored(self, table: str, new: pd.DataFrame, instruments: Iterable[str]) -> pd.DataFrame:
        """Rows of `instruments` in the span: those of the run, and those stored outside its partitions."""
        names, span = list(instruments), self.span()
        if not len(span):
            return new.iloc[:0]
        stored = self.market.read(table, names, span[0].date(), span[-1].date())
        outside = stored[self.selection.cell_of(stored["instrument"], stored["timestamp"]) < 0]
        own = new[new["instrument"].isin(names) & (new["timestamp"] >= span[0])]
        both = pd.concat([frame for frame in (outside, own) if len(frame)] or [own], ignore_index=True)
        return both.sort_values(list(key_columns(TABLES[table])), ignore_index=True)

    def on_each(self, pictures: Pictures) -> Shown:
        """`pictures` on the latest partition of every shown instrument, and for the run."""
        return Shown({self.selection.keys[self.latest[name]]: pictures for name in self.shown}, pictures)


def price_pictures(view: View, bars: pd.DataFrame, currency: str = "USD") -> Shown:
    """Candles (in `currency`) and volume of single instruments, and the daily returns of all."""
    from tt_assets.report.heat_maps import heat_maps_plot
    from tt_assets.report.market_plots import bars_plot

    span = view.span()
    rows = view.with_stored("tt_prices", bars, {*view.rows, *view.shown})
    closes = rows[rows["instrument"].isin(view.rows)]
    returns = closes.pivot_table(values="close", index="timestamp", columns="instrument").reindex(span)
    overview: Pictures = {}
    if len(view.rows) > 1 and returns.notna().sum().max() > 1:
        moves = 100.0 * returns.pct_change(fill_method=None)
        title = "Daily returns; a session without a bar is blank"
        overview["returns"] = picture(title, heat_maps_plot({"": moves}, title, "% a session", 5.0))
    charts: dict[str, Pictures] = {}
    for name in view.shown:
        own = rows[rows["instrument"] == name]
        chart: Pictures = (
            {"chart": picture(f"Daily bars of {name}", bars_plot(own, span, name, currency))} if len(own) else {}
        )
        charts[view.selection.keys[view.latest[name]]] = {**chart, **overview}
    return Shown(charts, next((own for own in charts.values() if "chart" in own), overview))


def feature_pictures(view: View, values: pd.DataFrame, features: Iterable[Feature]) -> Shown:
    """Every feature over instruments × sessions."""
    from tt_assets.report.heat_maps import heat_maps_plot

    rows = view.with_stored("tt_features", values, view.rows)
    panels = {
        f"{item.name} ({item.unit})" if len(item.unit) <= 12 else item.name: _standardised(
            _panel(rows[rows["feature"] == item.name], "value", view)
        )
        for item in features
    }
    known = {name: panel for name, panel in panels.items() if panel.notna().any(axis=None)}
    if not known:
        return Shown()
    title = "Features over instruments and sessions"
    return view.on_each(
        {"heat_map": picture(title, heat_maps_plot(known, title, "standard deviations from its mean here", 3.0))}
    )


def score_pictures(view: View, scores: pd.DataFrame) -> Shown:
    """Every signal over instruments × sessions, and what it said about the returns after it."""
    from tt_assets.report.heat_maps import heat_maps_plot
    from tt_assets.report.market_plots import information_plot
    from tt_assets.research.information import information_coefficients

    rows = view.with_stored("tt_signal_scores", scores, view.rows)
    if rows.empty:
        return Shown()
    panels = {str(name): _panel(own, "score", view) for name, own in rows.groupby("signal_name")}
    title = "Signal scores over instruments and sessions"
    shown: Pictures = {"heat_map": picture(title, heat_maps_plot(panels, title, "score: -1 short, +1 long", 1.0))}
    span = view.span()
    bars = view.market.read("tt_prices", view.rows, span[0].date(), span[-1].date())
    coefficients = information_coefficients(rows, bars[["instrument", "timestamp", *BAR_FIELDS]])
    if coefficients["coefficient"].notna().any():
        shown["ic"] = picture("Information coefficient", information_plot(coefficients))
    return view.on_each(shown)


def drawn(log: dg.DagsterLogManager, view: View, draw: Callable[[], Shown]) -> Shown:
    """What `draw` gives; a picture that cannot be drawn is said in the log and costs nothing else."""
    if not view.shown:
        return Shown()
    try:
        return draw()
    except Exception:  # noqa: BLE001 - a picture is no reason to lose a run
        log.warning(f"The pictures could not be drawn: {traceback.format_exc()}")
        return Shown()


def _panel(rows: pd.DataFrame, value: str, view: View) -> pd.DataFrame:
    panel = rows.pivot_table(values=value, index="timestamp", columns="instrument", dropna=False)
    return panel.reindex(index=view.span(), columns=view.rows)


def _standardised(panel: pd.DataFrame) -> pd.DataFrame:
    values = panel.to_numpy(dtype=float)
    return (panel - pd.Series(values.ravel()).mean()) / (pd.Series(values.ravel()).std() or 1.0)


def _last_of_each(selection: Selection) -> dict[str, int]:
    """Instrument → position of its last cell."""
    return {str(name): cell for cell, name in enumerate(selection.instruments)}


def _before(last: date, count: int) -> date:
    # Five sessions take a week, and no closure of the exchange has lasted a fortnight.
    return last - timedelta(days=count * 7 // 5 + 28)
