"""The small equity curve: short enough to be shown in place, and true to the judgement."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from tt_assets.report.scenarios import CONFIGURED, NothingToReport, rows_of
from tt_assets.report.sparkline import SHOWN_IN_PLACE, WIDTH, equity_sparkline
from tt_assets.trading.judge import AGENT, Judgement

SVG = "{http://www.w3.org/2000/svg}"


def drawing(markdown: str) -> ElementTree.Element:
    found = re.fullmatch(r"!\[net worth\]\(data:image/svg\+xml,([^\s()<>]+)\)", markdown)
    assert found, markdown
    return ElementTree.fromstring(unquote(found[1]))


def points(path: str) -> np.ndarray:
    """Where a path of relative steps goes."""
    start, steps = path.removeprefix("M").split("l")
    origin = np.array([float(number) for number in start.split(",")])
    numbers = np.array([float(number) for number in re.findall(r"-?\d+", steps)]).reshape(-1, 2)
    return np.vstack([origin, origin + numbers.cumsum(axis=0)])


def test_both_lines_follow_the_net_worth_of_the_judgement(judgement: Judgement):
    paths = [path.attrib["d"] for path in drawing(equity_sparkline(judgement)).iter(f"{SVG}path")]
    bands = rows_of(judgement.bands, CONFIGURED)
    lines = {name: points(path) for name, path in zip((AGENT, "equal_weight_hold"), paths[1:], strict=True)}
    height, wealth = [], []
    for name, line in lines.items():
        median = bands.loc[bands["strategy"] == name, "median"].to_numpy()
        assert (line[0, 0], line[-1, 0]) == (0, WIDTH)
        at = np.rint(line[:, 0] / WIDTH * (len(median) - 1)).astype(int)
        height.append(line[[0, -1], 1])
        wealth.append(median[[0, -1]])
        assert np.corrcoef(-line[:, 1], median[at])[0, 1] > 0.98
    # One scale for both lines, one pixel of rounding each.
    slope = np.polyfit(np.concatenate(wealth), np.concatenate(height), 1)
    assert np.abs(np.polyval(slope, np.concatenate(wealth)) - np.concatenate(height)).max() < 1.5


def test_the_legend_says_what_became_of_the_start_and_over_which_sessions(judgement: Judgement):
    words = [text.text for text in drawing(equity_sparkline(judgement)).iter(f"{SVG}text")]
    returns = rows_of(judgement.table, CONFIGURED).set_index("strategy")["total_return"]
    days = judgement.bands["timestamp"]
    assert words == [
        f"Agent {100 * returns[AGENT]:+.1f} %",
        f"Equal weight, held {100 * returns['equal_weight_hold']:+.1f} %",
        f"{days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}",
    ]


@pytest.mark.parametrize("sessions", [2, 30, 1_000, 5_000])
@pytest.mark.parametrize("swing", [0.0, 1e-9, 0.3, 3.0])
def test_it_is_short_enough_to_be_shown_in_place_however_long_and_wild_the_curve(sessions: int, swing: float):
    draws = np.random.default_rng(sessions)
    days = pd.bdate_range("1995-01-02", periods=sessions)
    bands = pd.concat(
        pd.DataFrame(
            {
                "strategy": name,
                "cost_multiple": 1.0,
                "delay": 0,
                "timestamp": days,
                "median": np.exp(swing * draws.standard_normal(sessions)),
            }
        )
        for name in (AGENT, "equal_weight_hold")
    )
    table = bands[["strategy", "cost_multiple", "delay"]].drop_duplicates()
    markdown = equity_sparkline(Judgement(curves=bands, bands=bands, table=table))
    assert len(markdown) < SHOWN_IN_PLACE
    drawing(markdown)


def test_a_judgement_without_the_configured_costs_is_refused(judgement: Judgement):
    only_costly = dataclasses.replace(judgement, table=judgement.table[judgement.table["cost_multiple"] > 1.0])
    with pytest.raises(NothingToReport, match="judge at 1× costs"):
        equity_sparkline(only_costly)
