"""Trials are registered before they are judged, closed once, counted by configuration, and never lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import psycopg
import pytest

from tt_assets.postgres.database import Database
from tt_assets.postgres.trials import (
    NoSuchTrial,
    ReturnsUnfit,
    Trial,
    close,
    close_in_vain,
    count,
    latest,
    register,
    trial_of,
    trials_of,
)

TRIAL = Trial("FAANG", {"agent": "ppo", "seeds": 3}, "1", "abc", [date(2012, 7, 1), date(2012, 4, 1)], [1, 0], name="a")
SESSIONS = np.array(["2012-07-03", "2012-07-05"], dtype="datetime64[D]")


def test_the_same_try_again_is_the_same_trial(empty_tables: Database) -> None:
    first = register(empty_tables, TRIAL)
    assert (
        register(empty_tables, replace(TRIAL, name="b", source="sweep", config={"seeds": 3, "agent": "ppo"})) == first
    )
    assert register(empty_tables, replace(TRIAL, bars="abd")) != first
    assert len(trials_of(empty_tables, "FAANG")) == 2
    assert trials_of(empty_tables, "AAPL") == []


def test_a_trial_counts_once_for_its_settings_and_code_however_many_bars_follow(empty_tables: Database) -> None:
    for changed in ({"bars": "later"}, {"windows": [date(2012, 10, 1)]}, {}, {"config": {"agent": "ridge"}}):
        register(empty_tables, replace(TRIAL, **changed))
    assert count(trials_of(empty_tables)) == 2
    register(empty_tables, replace(TRIAL, seeds=[0, 1, 2]))
    register(empty_tables, replace(TRIAL, code="2"))
    assert count(trials_of(empty_tables)) == 4


def test_a_trial_is_closed_once_and_reads_back_what_was_written(empty_tables: Database) -> None:
    number = register(empty_tables, TRIAL)
    assert "interrupted" in trial_of(empty_tables, number).state
    assert close(empty_tables, number, SESSIONS, [0.1 + 0.2, -1e-17], {"sharpe": 1.5})
    assert not close(empty_tables, number, SESSIONS, [0.0, 0.0])
    found = trial_of(empty_tables, number)
    assert found.returns.tolist() == [0.1 + 0.2, -1e-17]
    assert found.sessions.tolist() == SESSIONS.tolist()
    assert (found.figures, found.windows, found.seeds) == (
        {"sharpe": 1.5},
        (date(2012, 4, 1), date(2012, 7, 1)),
        (0, 1),
    )
    assert latest(trials_of(empty_tables))[0].id == number


def test_an_interrupted_trial_counts_and_says_so(empty_tables: Database) -> None:
    number = register(empty_tables, TRIAL)
    close_in_vain(empty_tables, number, "the window\nhas no bar.")
    assert trial_of(empty_tables, number).state == "the window has no bar."
    assert count(trials_of(empty_tables)) == 1
    assert latest(trials_of(empty_tables)) == []
    assert close(empty_tables, number, SESSIONS, [0.0, 0.1])
    assert trial_of(empty_tables, number).state == "judged"


@pytest.mark.parametrize(
    ("sessions", "returns", "said"),
    [
        (SESSIONS[:0], [], "has no return"),
        (SESSIONS, [0.1], "1 returns for 2 sessions"),
        (SESSIONS, [0.1, float("nan")], "2012-07-05 is no number"),
    ],
)
def test_returns_that_are_none_are_a_sentence(empty_tables: Database, sessions, returns, said) -> None:
    number = register(empty_tables, TRIAL)
    with pytest.raises(ReturnsUnfit, match=said):
        close(empty_tables, number, sessions, returns)
    assert not trial_of(empty_tables, number).judged


def test_a_number_without_a_trial_is_said(empty_tables: Database) -> None:
    for ask in (lambda: trial_of(empty_tables, 7), lambda: close(empty_tables, 7, SESSIONS, [0.0, 0.0])):
        with pytest.raises(NoSuchTrial, match="no trial 7"):
            ask()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM tt_trial",
        "UPDATE tt_trial SET net_returns = '{0,0}'",
        "UPDATE tt_trial SET configuration = 'x'",
        "DELETE FROM tt_promotion",
        "UPDATE tt_promotion SET promoted = true",
    ],
)
def test_neither_trials_nor_promotions_can_be_rewritten(empty_tables: Database, statement: str) -> None:
    number = register(empty_tables, TRIAL)
    close(empty_tables, number, SESSIONS, [0.1, 0.2])
    with empty_tables.connect() as connection:
        connection.execute(
            "INSERT INTO tt_promotion (instrument, trial_id, decided_at, promoted, rule_version, rules_json, "
            "agents_json, bars, last_session, expires) VALUES ('FAANG', %s, now(), false, '1', '{}', '{}', 'b', "
            "'2012-09-28', '2012-12-28')",
            [number],
        )
    with empty_tables.connect() as connection, pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        connection.execute(statement)
