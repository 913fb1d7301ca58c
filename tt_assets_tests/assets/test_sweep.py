"""A sweep tries on sessions that nobody judges, counts what it tries, and goes on where it was cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from tt_assets.assets import sweep as sweeping
from tt_assets.assets.gate import chosen_on
from tt_assets.assets.sweep import Swept, sweep
from tt_assets.assets.sweep_grounds import NothingToValidateOn, Request, first_judged, grounds
from tt_assets.errors import UserError
from tt_assets.grid.blueprint import blueprint
from tt_assets.grid.partitions import Window
from tt_assets.market.watchlist import Watchlist
from tt_assets.market.watchlist_format import Instrument
from tt_assets.postgres.database import Database
from tt_assets.postgres.sweeps import SCHEMA, SweepRunning, one_sweep
from tt_assets.postgres.trials import count, trials_of
from tt_assets.runs.market_reader import MarketReader
from tt_assets.settings import Settings
from tt_assets.trading.errors import NotFinite
from tt_assets_tests.assets.sample_window import fill_market
from tt_assets_tests.conftest import empty, settings_of_a_test
from tt_assets_tests.dagster_runs import query

BEFORE = date(2012, 7, 1)
MEMBERS = ("AAPL", "IBM", "MSFT")
WATCHLIST = Watchlist(tuple(Instrument(name) for name in MEMBERS), {"three": MEMBERS})
REQUEST = Request("three", trials=4, folds=2, before=BEFORE, vary=("risk_target",))


QUICK = {"TT_AGENT": "ridge", "TT_SEEDS": "1", "TT_TRAIN_WINDOWS": "2", "TT_TRAIN_WORKERS": "1"}


@dataclass(frozen=True)
class Watched(MarketReader):
    """A reader that keeps the last day of whatever is read."""

    ends: list[date] = field(default_factory=list)

    def read(self, table, instruments, first, last):
        self.ends.append(last)
        return super().read(table, instruments, first, last)

    def read_with_digests(self, table, instruments, first, last):
        self.ends.append(last)
        return super().read_with_digests(table, instruments, first, last)


@pytest.fixture(scope="module")
def market(postgres: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The market tables of two years and a half, the settings of a quick learner."""
    home: Path = tmp_path_factory.mktemp("sweep")
    empty(postgres)
    with settings_of_a_test(home, TT_DATABASE_URL=postgres.adbc_uri(), **QUICK):
        postgres.create_databases()
        fill_market(postgres, "2010-06-01", "2012-12-31")
        yield Watched(postgres)
    empty(postgres)


@pytest.fixture(autouse=True)
def _settings(market: Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TT_DATABASE_URL", market.database.adbc_uri())
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)


def swept(market: Watched, request: Request = REQUEST, tell=None) -> Swept:
    return sweep(grounds(request, market, WATCHLIST, blueprint(Settings())), market, tell)


@pytest.fixture(scope="module")
def whole(market: Watched) -> Swept:
    """A sweep that nobody interrupted."""
    return swept(market, replace(REQUEST, study="whole"))


def said(found: Swept) -> list[tuple[object, ...]]:
    return [(one.settings, one.sharpe, one.state) for one in found.tried]


def test_nothing_is_read_of_what_is_judged(market: Watched, whole: Swept):
    assert market.ends
    assert max(market.ends) < BEFORE
    assert whole.quarters == (date(2012, 1, 1), date(2012, 4, 1))
    sessions = {day for trial in trials_of(market.database, "three") for day in trial.sessions.tolist()}
    assert min(sessions) >= date(2012, 1, 1)
    assert max(sessions) < BEFORE


def test_every_trial_is_registered_and_counted(market: Watched, whole: Swept):
    trials = [one for one in trials_of(market.database, "three") if one.name.startswith("whole ")]
    assert len(trials) == count(trials) == len(whole.tried) == REQUEST.trials
    assert {trial.source for trial in trials} == {"sweep"}
    assert [trial.windows for trial in trials] == [()] * len(trials)
    assert [trial.id for trial in trials] == [one.trial for one in whole.tried]
    for trial, one in zip(trials, whole.tried, strict=True):
        assert trial.judged is (one.sharpe is not None)
        (agent,) = trial.config["agents"]
        assert {name: agent[name] for name in one.settings} == one.settings


def test_the_first_trial_is_the_settings_as_they_are_and_the_best_is_no_worse(whole: Swept):
    first, base = whole.tried[0], Settings().trading
    assert first.settings == {name: getattr(base, name) for name in first.settings}
    assert whole.best.sharpe >= first.sharpe
    assert whole.lines == [f"TT_{name.upper()}={value}" for name, value in whole.best.settings.items()]


def test_an_interrupted_sweep_ends_as_if_nothing_had_happened(market: Watched, whole: Swept):
    request = replace(REQUEST, study="cut off")

    def interrupt(place: int, of: int, note: str) -> None:
        if place == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(market, request, interrupt)
    assert said(swept(market, replace(request, trials=2))) == said(whole)[:2]
    assert said(swept(market, request)) == said(whole)


def test_what_a_killed_sweep_left_open_is_tried_again(market: Watched, whole: Swept, monkeypatch):
    request = replace(REQUEST, study="killed", trials=2)
    swept(market, replace(request, trials=1))

    def die(place: int, of: int, note: str) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "_cut_off", lambda study, number: None)  # as if it had not come to it
        with pytest.raises(SystemExit):
            swept(market, request, die)
    assert said(swept(market, request)) == said(whole)[:2]


def test_a_trial_in_vain_counts_and_says_why(market: Watched, monkeypatch):
    real, calls = sweeping.validated, []

    def third_time_unlucky(fold, config, how, report=None):
        calls.append(fold)
        if len(calls) == 3:
            raise NotFinite("a weight is no number.")
        return real(fold, config, how, report)

    monkeypatch.setattr(sweeping, "validated", third_time_unlucky)
    found = swept(market, replace(REQUEST, study="in vain", trials=2, seed=1))
    assert found.tried[1].state == "a weight is no number."
    assert found.tried[1].sharpe is None
    assert found.best is found.tried[0]
    assert {one.id: one for one in trials_of(market.database)}[found.tried[1].trial].state == "a weight is no number."


def test_settings_that_cannot_be_trained_with_stop_the_sweep_at_once(market: Watched, monkeypatch):
    monkeypatch.setenv("TT_AGENT", "gradient")
    monkeypatch.setenv("TT_ACTION_SCHEME", "discrete")
    with pytest.raises(UserError, match="agent gradient needs a scheme"):
        swept(market, replace(REQUEST, vary=("hidden_units",)))


def test_a_study_goes_on_under_its_own_settings_only(market: Watched, whole: Swept, monkeypatch):
    monkeypatch.setenv("TT_COMMISSION_BPS", "20")
    with pytest.raises(UserError, match='The study "whole" was begun with other settings'):
        swept(market, replace(REQUEST, study="whole"))


def test_two_do_not_work_on_one_study(market: Watched, whole: Swept):
    with one_sweep(market.database, "whole"), pytest.raises(SweepRunning, match='on the study "whole"'):
        swept(market, replace(REQUEST, study="whole"))


def test_studies_are_tables_apart(market: Watched, whole: Swept):
    where = "SELECT table_schema FROM information_schema.tables WHERE table_name = 'trial_params'"
    assert query(market.database, where) == []
    assert query(market.database.dagster(), where) == [(SCHEMA,)]


def test_what_will_be_judged_has_to_be_known(market: Watched):
    with pytest.raises(NothingToValidateOn, match="No window of three was rolled yet"):
        swept(market, replace(REQUEST, before=None))
    with pytest.raises(NothingToValidateOn, match=r"Before 2005-04-01 there are 0 whole quarters"):
        swept(market, replace(REQUEST, before=date(2005, 4, 1)))


def test_no_sweep_reaches_into_a_window_that_was_rolled(market: Watched):
    with market.database.connect() as connection:
        connection.execute(
            "INSERT INTO tt_episode (start_time, window_start, instrument, config_json, strategy, seed) "
            "VALUES ('2012-04-02', '2012-04-01', 'three', '{}', 'cash', 0)"
        )
    try:
        assert first_judged(market.database, "three") == date(2012, 4, 1)
        with pytest.raises(NothingToValidateOn, match=r"the window 2012-04-01 .* the latest is --before 2012-04-01"):
            swept(market, REQUEST)
        ground = grounds(replace(REQUEST, before=None), market, WATCHLIST, blueprint(Settings()))
        assert (ground.before, ground.quarters) == (date(2012, 4, 1), (date(2011, 10, 1), date(2012, 1, 1)))
    finally:
        with market.database.connect() as connection:
            connection.execute("DELETE FROM tt_episode")


def test_where_history_is_short_one_quarter_validates_on_what_is_before_it(market: Watched, monkeypatch):
    monkeypatch.setenv("TT_START_DATE", "2011-10-01")
    monkeypatch.setenv("TT_TRAIN_WINDOWS", "3")
    ground = grounds(REQUEST, market, WATCHLIST, blueprint(Settings()))
    assert ground.quarters == (date(2012, 4, 1),)
    training = ground.folds[0].training
    assert f"{training.sessions[training.start]}"[:10] == "2011-10-03"
    assert f"{training.sessions[-1]}"[:10] == "2012-03-30"


def test_a_window_that_a_sweep_chose_on_judges_nothing(market: Watched, whole: Swept):
    windows = {Window(day, "three"): None for day in (date(2012, 4, 1), BEFORE)}
    found = list(chosen_on(SimpleNamespace(rows=windows), trials_of(market.database, "three")))
    assert found == ["2012-04-01 is among what a sweep chose on"]
