"""What was tried: the one home of `tt_trial`.

Whoever judges a configuration registers it first, so that nobody can look at a result and leave the try uncounted. A
row is added, closed once with its daily returns (or with the reason why there are none), and never changed after; a
trigger refuses anything else. Trying the same configuration on the same bars again is the same row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tt_assets.errors import UserError
from tt_assets.postgres.database import Database

_LIST = (
    "id, instrument, source, name, configuration, config_json, code, bars, windows, seeds, registered_at, judged_at, "
    "failure, figures_json, sessions, net_returns"
)
SWEEP = "sweep"
"""Who tries, of the trials of `tt sweep`."""


class NoSuchTrial(UserError):
    """A number that no trial has."""


class ReturnsUnfit(UserError):
    """Returns that cannot stand for a trial: none, not finite, or not one a session."""


@dataclass(frozen=True)
class Trial:
    """What is about to be judged.

    Parameters
    ----------
    instrument : traded symbol or portfolio.
    config : every setting that shapes what is judged; values that JSON knows.
    code : version of the code that computes it.
    bars : digest of the bars and channels it is judged on.
    windows : first days of the walk-forward windows; none for a trial without windows (a sweep's validation span).
    seeds : of the agents.
    source : who tries: report, sweep, promote, or a name of one's own.
    name : for people; no part of what makes a trial another one, nor is `source`.
    """

    instrument: str
    config: Mapping[str, Any]
    code: str
    bars: str
    windows: Sequence[date]
    seeds: Sequence[int]
    source: str = "report"
    name: str = ""

    @property
    def config_json(self) -> str:
        """Compact, keys sorted: equal settings have equal text."""
        return json.dumps(self.config, sort_keys=True, separators=(",", ":"), default=str)

    @property
    def configuration(self) -> str:
        """SHA-256 of `config_json`."""
        return hashlib.sha256(self.config_json.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class RegisteredTrial:
    """A row of `tt_trial`.

    Parameters
    ----------
    id : number of the trial.
    instrument, source, name, configuration, config, code, bars, windows, seeds : as of `Trial`.
    registered_at, judged_at : with time zone; `judged_at` is None until there are returns.
    failure : why it came to nothing; empty otherwise.
    figures : for people.
    sessions : judged, ascending (T). returns : close-to-close net returns, fractions (T). Both empty until it is
        judged.
    """

    id: int
    instrument: str
    source: str
    name: str
    configuration: str
    config: Mapping[str, Any]
    code: str
    bars: str
    windows: tuple[date, ...]
    seeds: tuple[int, ...]
    registered_at: datetime
    judged_at: datetime | None
    failure: str
    figures: Mapping[str, Any]
    sessions: npt.NDArray[np.datetime64]
    returns: npt.NDArray[np.float64]

    @property
    def judged(self) -> bool:
        """Whether it has returns."""
        return self.judged_at is not None

    @property
    def state(self) -> str:
        """Judged, or why not, in one sentence."""
        if self.judged:
            return "judged"
        return self.failure or "interrupted: it was registered and never judged; judge it again, it counts all the same"


def register(database: Database, trial: Trial) -> int:
    """Write that a trial is about to be judged, before it is; its number.

    Parameters
    ----------
    database : where it is written.
    trial : the same configuration, code, bars, windows and seeds again are the same trial, with the number it has.
    """
    key = [
        trial.instrument,
        trial.configuration,
        trial.code,
        trial.bars,
        ",".join(f"{day}" for day in sorted(trial.windows)),
        ",".join(map(str, sorted(trial.seeds))),
    ]
    with database.connect() as connection, connection.transaction():
        row = connection.execute(
            "INSERT INTO tt_trial (instrument, configuration, code, bars, windows, seeds, config_json, source, name, "
            "registered_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, now()) ON CONFLICT DO NOTHING RETURNING id",
            [*key, trial.config_json, trial.source, trial.name],
        ).fetchone()
        if row is None:
            row = connection.execute(
                "SELECT id FROM tt_trial WHERE (instrument, configuration, code, bars, windows, seeds) = "
                "(%s, %s, %s, %s, %s, %s)",
                key,
            ).fetchone()
    return int(cast("tuple[int]", row)[0])


def close(
    database: Database,
    number: int,
    sessions: Sequence[Any] | npt.NDArray[np.datetime64],
    returns: Sequence[float] | npt.NDArray[np.float64],
    figures: Mapping[str, Any] | None = None,
) -> bool:
    """Write what a trial came to, once.

    Parameters
    ----------
    database : where it is written.
    number : of the trial.
    sessions : judged, ascending; one a return.
    returns : close-to-close returns after all costs, fractions.
    figures : of the trial, values that JSON knows; for people.

    Returns
    -------
    Whether it was written: a trial that is judged already keeps the returns it has.

    Raises
    ------
    ReturnsUnfit : there are none, one is not finite, or they are not as many as sessions.
    NoSuchTrial : no trial has this number.
    """
    values = np.asarray(returns, dtype=np.float64)
    days = np.asarray(sessions).astype("datetime64[D]")
    if not values.size:
        raise ReturnsUnfit(f"trial {number} has no return: a window of one session decides nothing; judge longer ones.")
    if len(days) != values.size:
        raise ReturnsUnfit(f"trial {number}: {values.size} returns for {len(days)} sessions; give one a session.")
    if not np.isfinite(values).all():
        worst = days[int(np.flatnonzero(~np.isfinite(values))[0])]
        raise ReturnsUnfit(f"trial {number}: the return of {worst} is no number; see the checks of its episode.")
    with database.connect() as connection:
        found = connection.execute(
            "UPDATE tt_trial SET judged_at = now(), failure = NULL, sessions = %s, net_returns = %s, figures_json = %s "
            "WHERE id = %s AND judged_at IS NULL",
            [days.tolist(), values.tolist(), json.dumps(figures or {}, sort_keys=True, default=str), number],
        )
        if found.rowcount:
            return True
    # Judged before, or no such trial: only the second is an error.
    trial_of(database, number)
    return False


def close_in_vain(database: Database, number: int, reason: str) -> None:
    """Write why a trial came to nothing; it may be judged later, and counts all the same.

    Parameters
    ----------
    database : where it is written.
    number : of the trial; nothing happens where it is judged already.
    reason : for people; line breaks become spaces.
    """
    with database.connect() as connection:
        connection.execute(
            "UPDATE tt_trial SET failure = %s WHERE id = %s AND judged_at IS NULL", [" ".join(reason.split()), number]
        )


def trials_of(database: Database, instrument: str | None = None) -> list[RegisteredTrial]:
    """All trials on something traded, or on everything, in the order they were registered.

    Parameters
    ----------
    database : where they are.
    instrument : symbol or portfolio; None: everything.
    """
    where = "WHERE instrument = %s " if instrument else ""
    with database.connect() as connection:
        rows = connection.execute(
            f"SELECT {_LIST} FROM tt_trial {where}ORDER BY id", [instrument] if instrument else []
        ).fetchall()
    return [_registered(row) for row in rows]


def trial_of(database: Database, number: int) -> RegisteredTrial:
    """One trial.

    Parameters
    ----------
    database : where it is.
    number : of the trial.

    Raises
    ------
    NoSuchTrial : no trial has this number.
    """
    with database.connect() as connection:
        row = connection.execute(f"SELECT {_LIST} FROM tt_trial WHERE id = %s", [number]).fetchone()
    if row is None:
        raise NoSuchTrial(f"There is no trial {number}; `tt trials list` has those there are.")
    return _registered(row)


def count(trials: Sequence[RegisteredTrial]) -> int:
    """How many configurations were tried: trials of one configuration, code and set of seeds count once.

    More sessions or restated bars under the same settings are no further try; those that were interrupted are.
    """
    return len({(trial.instrument, trial.configuration, trial.code, trial.seeds) for trial in trials})


def latest(trials: Sequence[RegisteredTrial]) -> list[RegisteredTrial]:
    """Of each configuration that `count` counts the trial judged last, those without returns left out."""
    found: dict[tuple[Any, ...], RegisteredTrial] = {}
    for trial in trials:
        if trial.judged:
            found[trial.instrument, trial.configuration, trial.code, trial.seeds] = trial
    return list(found.values())


def _registered(row: Sequence[Any]) -> RegisteredTrial:
    (
        number, instrument, source, name, configuration, config_json, code, bars, windows, seeds, registered_at,
        judged_at, failure, figures_json, sessions, returns,
    ) = row  # fmt: skip
    return RegisteredTrial(
        id=number,
        instrument=instrument,
        source=source,
        name=name,
        configuration=configuration,
        config=json.loads(config_json),
        code=code,
        bars=bars,
        windows=tuple(date.fromisoformat(day) for day in windows.split(",") if day),
        seeds=tuple(int(seed) for seed in seeds.split(",") if seed),
        registered_at=registered_at,
        judged_at=judged_at,
        failure=failure or "",
        figures=json.loads(figures_json) if figures_json else {},
        sessions=np.array(sessions or [], dtype="datetime64[D]"),
        returns=np.array(returns or [], dtype=np.float64),
    )
