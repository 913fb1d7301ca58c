"""What a sweep varies: the settings of each learner that shape what it learns, each with where it is looked for.

What an account costs and what ends it are no taste of anybody's, so they are never varied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.errors import ConfigError

DIGITS = 3
"""Significant digits of a number that is tried: what is printed is what was tried, to the last bit."""


@dataclass(frozen=True)
class Varied:
    """One setting of `TradingConfig` and where it is looked for: among `choices`, or from `low` to `high`.

    Parameters
    ----------
    name : of the field.
    low, high : both included; in units of the field.
    log : whether equal ratios are equally likely, where equal differences are otherwise.
    choices : what is tried where it is no span.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"TT_{self.name.upper()}"


ANYBODY = (
    Varied("risk_target", 0.005, 0.03, log=True),
    Varied("observation_window", choices=(1, 2, 5, 10)),
)
REWARDED = (Varied("reward_scheme", choices=("risk_aware", "log_growth", "drawdown_rise")),)
OF_A_NETWORK = (Varied("hidden_units", choices=(8, 16, 32, 64)),)
STEPS = Varied("train_steps", choices=(0, 20_000, 80_000))
OF_PPO = (
    Varied("learning_rate", 3e-4, 5e-3, log=True),
    Varied("discount", 0.0, 0.95),
    Varied("gae_lambda", 0.0, 0.95),
    Varied("weight_decay", 0.1, 10.0, log=True),
    Varied("exploration", 0.3, 2.0, log=True),
    Varied("input_noise", 0.0, 1.0),
    STEPS,
)


def varied_of(config: TradingConfig, names: Sequence[str] = ()) -> tuple[Varied, ...]:
    """What a sweep of the learner that `config` names varies.

    Parameters
    ----------
    config : what is set now lies within what is tried.
    names : fields, or their variables, to vary alone; all there is where empty.

    Returns
    -------
    In the order of the catalogue, whatever that of `names`.

    Raises
    ------
    ConfigError : a name is no setting that this learner's sweep varies; the known ones are listed.
    """
    known = {varied.name: varied for varied in _known(config)}
    asked = [name.strip().lower().removeprefix("tt_") for name in names]
    for name in asked:
        if name not in known:
            raise ConfigError(
                f"a sweep of agent {config.agent} does not vary {name!r}; it varies: {', '.join(sorted(known))}."
            )
    return tuple(_with(one, getattr(config, name)) for name, one in known.items() if not asked or name in asked)


def _with(varied: Varied, current: Any) -> Varied:
    """`varied`, what is set now within it: a sweep begins there."""
    if varied.choices:
        return varied if current in varied.choices else replace(varied, choices=(current, *varied.choices))
    low, high = min(varied.low, current), max(varied.high, current)
    return replace(varied, low=low, high=high, log=varied.log and low > 0.0)


def _known(config: TradingConfig) -> tuple[Varied, ...]:
    """Where the scheme has no use for a target of risk, it is not varied; a regression knows neither reward nor net."""
    anybody = [one for one in ANYBODY if one.name != "risk_target" or config.action_scheme == "volatility_target"]
    if config.agent == "ppo":
        network = OF_A_NETWORK if config.network == "shared" else ()
        return (*anybody, *REWARDED, *network, *OF_PPO)
    if config.agent == "gradient":
        return (*anybody, *OF_A_NETWORK)
    if config.agent == "ridge":
        return tuple(one for one in anybody if one.name != "observation_window")
    return (*anybody, *REWARDED, STEPS)


def tried(varied: Varied, suggest: Callable[[Varied], Any]) -> Any:
    """What one trial tries of one setting.

    Parameters
    ----------
    varied : the setting.
    suggest : says a value of it, as a study does.

    Returns
    -------
    A number is cut to `DIGITS`, so that its text is all of it; anything else as it was said.
    """
    value = suggest(varied)
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def setting_lines(changes: Mapping[str, Any]) -> list[str]:
    """`changes` of fields as an environment or a `.env` has them: `TT_LEARNING_RATE=0.0021`."""
    return [f"{Varied(name).variable}={value}" for name, value in changes.items()]
