"""The gate: what must hold before anybody trades what an agent says, each rule with its figure.

A rule that cannot be asked does not hold, and says why. All must hold; a refusal says by how much it misses and, where
time could settle it, how many sessions more that would take if things go on as they were.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tt_assets.errors import UserError, counted
from tt_assets.trading.judging.accounts import Chain
from tt_assets.trading.judging.deflated import best_of_noise, deflated, fewest_sessions, measured
from tt_assets.trading.judging.gate_config import GateConfig
from tt_assets.trading.judging.judge import AGENT, ENSEMBLE, Judgement, Scenario, compared
from tt_assets.trading.judging.overfitting import FEWEST_TRIALS, probability_of_overfitting
from tt_assets.trading.panel import Floats

YARDSTICKS = (
    "equal_weight_hold",
    "equal_weight_rebalanced",
    "inverse_volatility",
    "momentum",
    "ridge",
    "cash",
)
"""What must be beaten: all of them."""

HARDER = {
    "twice the costs": Scenario(cost_multiple=2.0),
    "a session late": Scenario(delay=1),
}


@dataclass(frozen=True)
class RuleResult:
    """One rule.

    Parameters
    ----------
    name : of the rule.
    held : whether it holds.
    figure, threshold : in words with units; the figure is a dash where the rule could not be asked.
    words : what it says, in one sentence; of a refusal by how much.
    sessions_more : sessions after which it would hold if all goes on as it was; 0 where it holds, None where time alone
        settles nothing.
    """

    name: str
    held: bool
    figure: str
    threshold: str
    words: str
    sessions_more: int | None = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the gate looks at.

    Parameters
    ----------
    judgement : of the subject in all scenarios.
    trials : configurations counted on this portfolio, the subject's included.
    returns : net returns of the latest trial of each configuration that has some, on common sessions (T × N): of those
        judged in windows or of those of sweeps, whichever are more.
    left_out : windows between the first and the last that were not judged, in words.
    unsound : what is wrong with the episodes of its windows, in words.
    initial_cash, capital : with which it was judged, and which is planned, USD.
    """

    judgement: Judgement
    trials: int
    returns: Floats
    left_out: Sequence[str]
    unsound: Sequence[str]
    initial_cash: float
    capital: float


def rule_version(config: GateConfig) -> str:
    """A short text that is another one when a rule or a threshold is."""
    said = f"2026-11 {','.join(YARDSTICKS)} {','.join(HARDER)} {config.model_dump_json()}"
    return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()


def rules(evidence: Evidence, config: GateConfig) -> list[RuleResult]:
    """Every rule, in the order they are told. A rule that cannot be asked does not hold.

    Parameters
    ----------
    evidence : what the gate looks at.
    config : the thresholds.

    Raises
    ------
    UserError : no subject was judged.
    """
    judgement = evidence.judgement
    if (judgement.subject, 0) not in judgement.chains:
        raise UserError("no agent was judged, so there is nothing to promote; train and roll one first.")
    asked: dict[str, Callable[[], RuleResult]] = {
        "sessions": lambda: _sessions(evidence, config),
        "beats every yardstick": lambda: _beats_all(judgement, config),
        "deflated Sharpe ratio": lambda: _deflated(evidence, config),
        "overfitting": lambda: _overfitting(evidence, config),
        **{f"ahead at {name}": _harder(judgement, name, scenario) for name, scenario in HARDER.items()},
        "ahead without its best window": lambda: _without_best(judgement),
        "windows ahead": lambda: _windows_ahead(judgement, config),
        "worst seed": lambda: _worst_seed(judgement),
        "orders fit the market": lambda: _orders(evidence, config),
        "episodes are sound": lambda: _sound(evidence),
    }
    return [_asked(name, rule) for name, rule in asked.items()]


def refusal(results: Sequence[RuleResult]) -> str:
    """What does not hold, in one paragraph; empty where all does."""
    return " ".join(result.words for result in results if not result.held)


def _asked(name: str, rule: Callable[[], RuleResult]) -> RuleResult:
    try:
        return rule()
    except UserError as error:
        return RuleResult(name, False, "–", "", f"{name.capitalize()}: it could not be asked; {error}")


def _sessions(evidence: Evidence, config: GateConfig) -> RuleResult:
    found = len(evidence.judgement.chains[evidence.judgement.subject, 0].timestamps)
    short = max(config.sessions - found, 0)
    parts = []
    if short:
        parts.append(f"{found} sessions were judged, {config.sessions} are asked: {short} more")
    if evidence.left_out:
        parts.append(f"windows were left out: {', '.join(evidence.left_out)}")
    if evidence.judgement.subject == AGENT:
        parts.append("there is one seed only, so luck of the draw cannot be told from skill; set TT_SEEDS to 3")
    said = "; ".join(parts) or f"{found} sessions were judged and no window was left out"
    more = short if short and len(parts) == 1 else (None if parts else 0)
    return RuleResult(
        "sessions", not parts, f"{found} sessions", f"at least {config.sessions}, none left out", _sentence(said), more
    )


def _beats_all(judgement: Judgement, config: GateConfig) -> RuleResult:
    name, threshold = "beats every yardstick", f"p of at most {config.level:g}"
    kept = judgement.curves["strategy"].isin([AGENT, ENSEMBLE, *_present(judgement)])
    found = compared(judgement.curves[kept])
    if found.comparison is None:
        raise UserError(found.silence)
    if lacking := [yardstick for yardstick in YARDSTICKS if yardstick not in found.names]:
        raise UserError(f"{', '.join(lacking)} was not judged beside it; see TT_BASELINES.")
    paired = found.comparison
    worst = int(paired.p.argmax())
    against = found.names[worst].replace("_", " ")
    edge, p = 100.0 * float(paired.edge[worst]), paired.p_all
    if p <= config.level:
        return RuleResult(name, True, f"p {p:.3f}", threshold, f"It beats every yardstick, p {p:.3f}.", 0)
    needed = float(paired.sessions_to_settle(config.level)[worst])
    more = int(needed - paired.sessions) if math.isfinite(needed) else None
    visible = 100.0 * float(paired.visible_edge[worst])
    then = (
        f"if that goes on, {max(more, 1):,} sessions more would settle it"
        if more is not None
        else "no number of sessions settles a lead that is not there"
    )
    said = (
        f"over {against} its edge is {edge:+.1f} % a year, p {p:.3f} where at most {config.level:g} is asked; "
        f"these {paired.sessions} sessions could only show an edge above {visible:.1f} % a year; {then}"
    )
    return RuleResult(name, False, f"p {p:.3f}", threshold, _sentence(said), max(more, 1) if more is not None else None)


def _deflated(evidence: Evidence, config: GateConfig) -> RuleResult:
    chain = evidence.judgement.chains[evidence.judgement.subject, 0]
    found = measured(chain.returns - chain.cash_returns)
    ratios = [_ratio(column) for column in evidence.returns.T] if evidence.returns.size else []
    value = deflated(found, evidence.trials, ratios)
    threshold = f"at least {config.deflated_sharpe:g}"
    tries = f"{counted(evidence.trials, 'configuration')} counted"
    if value >= config.deflated_sharpe:
        return RuleResult(
            "deflated Sharpe ratio", True, f"{value:.3f}", threshold, f"Deflated Sharpe ratio {value:.3f}, {tries}.", 0
        )
    # What `deflated` held it against: the sessions that would clear it are told of the same.
    bar = best_of_noise(evidence.trials, max(_variance(ratios), found.spread**2 / (found.sessions - 1)))
    needed = fewest_sessions(found, bar, config.deflated_sharpe)
    more = math.ceil(needed - found.sessions) if math.isfinite(needed) else None
    then = f"{max(more, 1):,} sessions more would settle it" if more is not None else "more sessions do not settle it"
    said = (
        f"the deflated Sharpe ratio is {value:.3f} where {config.deflated_sharpe:g} is asked: a ratio of "
        f"{found.annual:.2f} a year with {tries}, whose best would reach {bar * math.sqrt(252.0):.2f} on noise; {then}"
    )
    return RuleResult(
        "deflated Sharpe ratio", False, f"{value:.3f}", threshold, _sentence(said), max(more, 1) if more else None
    )


def _overfitting(evidence: Evidence, config: GateConfig) -> RuleResult:
    threshold = f"at most {config.overfitting:g} from {FEWEST_TRIALS} trials on"
    if evidence.trials < FEWEST_TRIALS:
        tries = f"{counted(evidence.trials, 'configuration')} tried"
        said = f"{tries}; overfitting is asked from {FEWEST_TRIALS} on."
        return RuleResult("overfitting", True, "not asked", threshold, said, 0)
    value = probability_of_overfitting(evidence.returns)
    held = value <= config.overfitting
    said = (
        f"The best of {evidence.returns.shape[1]} tries falls behind on other sessions {100 * value:.0f} % of the time"
    )
    said += "." if held else f", where {100 * config.overfitting:.0f} % is the most."
    return RuleResult("overfitting", held, f"{value:.2f}", threshold, said, 0 if held else None)


def _harder(judgement: Judgement, name: str, scenario: Scenario) -> Callable[[], RuleResult]:
    def rule() -> RuleResult:
        rows = judgement.contestants
        own = rows[(rows["cost_multiple"] == scenario.cost_multiple) & (rows["delay"] == scenario.delay)]
        if own.empty:
            raise UserError("the scenario was not judged.")
        gains = own.set_index("strategy")["total_return"]
        leads = {other: float(gains[judgement.subject] - gains[other]) for other in _present(judgement)}
        return _led(f"ahead at {name}", f"at {name}", leads)

    return rule


def _without_best(judgement: Judgement) -> RuleResult:
    leads = {}
    for other, gains in _window_leads(judgement).items():
        if len(gains) < 2:
            raise UserError("one window is all there is, and without it nothing is left.")
        leads[other] = float(gains.sum() - gains.max())
    return _led("ahead without its best window", "without its best window", leads)


def _windows_ahead(judgement: Judgement, config: GateConfig) -> RuleResult:
    shares = {other: float((gains > 0.0).mean()) for other, gains in _window_leads(judgement).items()}
    worst = min(shares, key=lambda other: shares[other])
    held = shares[worst] >= config.windows_ahead
    said = (
        f"{100 * shares[worst]:.0f} % of its windows are ahead of {worst.replace('_', ' ')}"
        f"{'' if held else f', where {100 * config.windows_ahead:.0f} % are asked'}."
    )
    threshold = f"at least {100 * config.windows_ahead:.0f} % ahead of each"
    return RuleResult("windows ahead", held, f"{100 * shares[worst]:.0f} %", threshold, said, 0 if held else None)


def _worst_seed(judgement: Judgement) -> RuleResult:
    seeds = {seed: float(chain.wealth[-1]) - 1.0 for (name, seed), chain in judgement.chains.items() if name == AGENT}
    cash = judgement.chains.get(("cash", 0))
    if cash is None:
        raise UserError("cash was not judged beside it; see TT_BASELINES.")
    worst, floor = min(seeds, key=lambda seed: seeds[seed]), float(cash.wealth[-1]) - 1.0
    held = seeds[worst] >= floor
    said = (
        f"The worst seed ({worst}) made {100 * seeds[worst]:+.1f} %, cash {100 * floor:+.1f} %"
        f"{'' if held else f': {100 * (floor - seeds[worst]):.1f} points short'}."
    )
    figure = f"{100 * seeds[worst]:+.1f} %"
    return RuleResult("worst seed", held, figure, f"at least cash, {100 * floor:+.1f} %", said, 0 if held else None)


def _orders(evidence: Evidence, config: GateConfig) -> RuleResult:
    chain = evidence.judgement.chains[evidence.judgement.subject, 0]
    # Sizes grow with the account, so what was planned for is taken in proportion.
    largest = float(chain.joined("participation").max(initial=0.0)) * evidence.capital / evidence.initial_cash
    held = largest <= config.volume
    said = f"At {evidence.capital:,.0f} USD its largest order is {100 * largest:.3g} % of the usual volume"
    fits = evidence.capital * config.volume / largest if largest else math.inf
    said += "." if held else f", where {100 * config.volume:g} % is the most: {fits:,.0f} USD would fit."
    threshold = f"at most {100 * config.volume:g} % of usual volume"
    return RuleResult("orders fit the market", held, f"{100 * largest:.3g} %", threshold, said, 0 if held else None)


def _sound(evidence: Evidence) -> RuleResult:
    held = not evidence.unsound
    said = "All episodes are closed, their checks hold, on the bars there are now."
    if not held:
        more = f" and {len(evidence.unsound) - 3} more" if len(evidence.unsound) > 3 else ""
        said = f"Episodes are not sound: {'; '.join(evidence.unsound[:3])}{more}."
    figure = "all" if held else f"{len(evidence.unsound)} are not"
    return RuleResult("episodes are sound", held, figure, "all checks green", said, 0 if held else None)


def _led(name: str, where: str, leads: dict[str, float]) -> RuleResult:
    worst = min(leads, key=lambda other: leads[other])
    held = leads[worst] > 0.0
    figure = f"{100.0 * leads[worst]:+.1f} points"
    standing, points = "Ahead of" if held else "Behind", abs(100.0 * leads[worst])
    said = f"{standing} {worst.replace('_', ' ')} by {points:.1f} points {where}."
    return RuleResult(name, held, figure, "ahead of each yardstick", said, 0 if held else None)


def _present(judgement: Judgement) -> list[str]:
    found = [name for name in YARDSTICKS if (name, 0) in judgement.chains]
    if not found:
        raise UserError("no yardstick was judged beside it; see TT_BASELINES.")
    return found


def _window_leads(judgement: Judgement) -> dict[str, Floats]:
    """Of each yardstick the log growth of the subject over it, window by window."""
    growth = _log_growth(judgement.chains[judgement.subject, 0])
    return {name: growth - _log_growth(judgement.chains[name, 0]) for name in _present(judgement)}


def _log_growth(chain: Chain) -> Floats:
    last: Floats = np.array([part.growth[-1] for part in chain.accounts])
    logs: Floats = np.log(np.maximum(last, 1e-12))
    return logs


def _ratio(returns: Floats) -> float:
    sigma = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return float(returns.mean()) / sigma if sigma > 0.0 else math.nan


def _variance(ratios: Sequence[float]) -> float:
    known = [ratio for ratio in ratios if math.isfinite(ratio)]
    return float(np.var(known, ddof=1)) if len(known) > 1 else 0.0


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def most_in_common(
    windowed: Sequence[tuple[npt.NDArray[np.datetime64], Floats]],
    swept: Sequence[tuple[npt.NDArray[np.datetime64], Floats]],
) -> Floats:
    """The larger of two sets of trials, which have no session in common with each other.

    Parameters
    ----------
    windowed : sessions and returns of the trials that were judged in windows.
    swept : of those that a sweep validated before them.

    Returns
    -------
    Returns on the sessions that all trials of the set have (T × N), fractions; T is 0 where there is none.
    """
    return common_sessions(swept if len(swept) > len(windowed) else windowed)


def common_sessions(parts: Sequence[tuple[npt.NDArray[np.datetime64], Floats]]) -> Floats:
    """Returns of several trials on the sessions that all of them have (T × N); T is 0 where there is none."""
    frames = [pd.Series(returns, index=pd.DatetimeIndex(sessions)) for sessions, returns in parts]
    if not frames:
        return np.empty((0, 0))
    joined = pd.concat([frame[~frame.index.duplicated()] for frame in frames], axis=1, join="inner")
    return joined.to_numpy(np.float64)
