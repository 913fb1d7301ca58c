"""Every knob of the platform, typed, from `TT_*` environment variables or a `.env` file.

An empty setting means "the sensible thing", and the sensible thing is worked out here, once, so that no
other module asks the environment. What belongs to the configuration of trading or of Interactive Brokers is declared in
`TradingConfig` and `IbkrConfig`, which are nested here; the environment has them flat, as it has all others.
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
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from tt_assets.errors import UserError
from tt_assets.grain import DateGrain
from tt_assets.market.ibkr_config import IbkrConfig
from tt_assets.market.layouts.options import BarsOptions
from tt_assets.market.source_names import is_source_name
from tt_assets.settings.environment import FlatDotEnv, FlatEnvironment
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.judging.gate_config import GateConfig

if TYPE_CHECKING:
    from tt_assets.postgres.database import Database

PACKAGE = Path(__file__).resolve().parents[1]
SAMPLE_BARS = PACKAGE / "sample" / "daily_bars_2005_2013.csv"
SAMPLE_WATCHLIST = PACKAGE / "sample" / "watchlist.csv"
OWN_INSTRUMENTS = Path("cache", "instruments_of_the_bars.csv")
SAMPLE_FIRST_SESSION = date(2005, 3, 1)
SAMPLE_LAST_SESSION = date(2013, 3, 1)

SHORTEST_TOKEN = 16
"""Characters of TT_UI_TOKEN; fewer can be guessed over a network."""


def checkout() -> Path | None:
    """The top of the source tree this package was imported from, or None for an installed package."""
    top = PACKAGE.parent
    return top if (top / "workspace.yaml").exists() and (top / "setup.py").exists() else None


def shared_file(name: str) -> Path:
    """`dagster.yaml` or `workspace.yaml`: from the checkout's top, or from where the installed package put it."""
    top = checkout()
    return top / name if top else Path(sys.prefix) / "share" / "tt_assets" / name


class PriceSourceName(StrEnum):
    """Where `tt_prices` comes from."""

    FILE = "file"
    IBKR = "ibkr"


MOST_SLOTS = 1_000
"""Runs of one pool at once, which Dagster bounds."""


class RunLauncherName(StrEnum):
    """What carries out queued runs."""

    LOCAL = "local"
    RAY = "ray"
    K8S = "k8s"


class Settings(BaseSettings):
    """Settings from `TT_*` variables; `tt settings` prints them with their meaning."""

    model_config = SettingsConfigDict(
        env_prefix="TT_",
        env_file=(str((checkout() or Path.home()) / ".env"), ".env"),
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What was given by hand, then the environment, then the `.env` files."""
        given = dotenv_settings.env_file if isinstance(dotenv_settings, DotEnvSettingsSource) else None
        return init_settings, FlatEnvironment(settings_cls), FlatDotEnv(settings_cls, env_file=given)

    home: Path = Field(
        default_factory=lambda: (checkout() / ".tt") if checkout() else Path.home() / ".tt_assets",  # type: ignore[operator]
        description="Folder of the embedded server, Dagster's files and the watchlist in force.",
    )
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL 15 or newer, e.g. postgresql://user@host:5432/tt."
    )
    pg_bin: Path | None = Field(None, description="Folder with initdb, pg_ctl and postgres for the embedded server.")

    pg_port: int | None = Field(
        None,
        ge=1024,
        le=65535,
        description="Port of 127.0.0.1 on which the embedded server lets the login of `tt db url --read-only` in.",
    )

    start_date: date | None = Field(None, description="First date of the market partitions.")
    end_date: date | None = Field(None, description="Last date of the market partitions.")
    date_grain: DateGrain = Field(
        DateGrain.SESSION, description="Width of a market date partition: session, month or year."
    )
    price_source: PriceSourceName | str = Field(
        PriceSourceName.FILE,
        union_mode="left_to_right",
        description="file, ibkr, package.module:Class, or the name of an installed source.",
    )
    bars_path: Path = Field(
        SAMPLE_BARS, description="File, folder or glob of daily bars; `tt bars list` shows the layouts that are read."
    )
    calendar: str = Field(
        "XNYS", description="Whose trading sessions: XNYS, any code of exchange_calendars (XLON, XTKS, ...), or 24/7."
    )
    currency: str = Field("USD", min_length=1, description="What prices and cash are called; nothing is converted.")
    bars_columns: str = Field("", description="Which column is what where its header does not say: close=Last,...")
    bars_date_format: str = Field("", description="How the bars write dates where they do not tell: %d/%m/%Y.")
    bars_adjust: str = Field("", description="Header of the adjusted close that scales all four prices.")
    watchlist: Path = Field(SAMPLE_WATCHLIST, description="CSV of instruments and portfolios.")

    automation: bool = Field(True, description="Whether sensors and schedules start switched on.")
    sensor_interval: int = Field(30, ge=1, description="Between two ticks of a sensor, seconds.")
    gap_tries: int = Field(
        8, ge=1, description="How often a partition that does not land is asked for again before it is given up."
    )
    jump_sigmas: float = Field(
        10.0, gt=0, description="A close this many standard deviations from the one before is called a jump."
    )

    run_launcher: RunLauncherName = Field(
        RunLauncherName.LOCAL,
        description="What carries out queued runs: local (processes of this machine), ray, or k8s (docs/scaling.md).",
    )
    max_runs: int = Field(2, ge=1, description="Queued runs carried out at once, over all machines.")
    train_slots: int = Field(1, ge=1, le=MOST_SLOTS, description="Runs that train agents at once, over all machines.")
    ray_address: str = Field(
        "http://127.0.0.1:8265", description="Where the head of Ray takes jobs; with TT_RUN_LAUNCHER=ray."
    )
    k8s_launcher: Path | None = Field(
        None, description="YAML file with the configuration of Dagster's K8sRunLauncher; with TT_RUN_LAUNCHER=k8s."
    )
    shared_folder: Path | None = Field(
        None, description="Folder that all machines see, for logs of runs, pictures and reports."
    )
    worker: bool = Field(
        False,
        description="This machine carries out runs of another's queue: schema, pools and queue are not its affair.",
    )

    pictures: int = Field(
        3, ge=0, description="Partitions of its last date whose pictures a run draws; 0: no pictures at all."
    )

    ibkr: Annotated[IbkrConfig, NoDecode] = Field(
        default_factory=IbkrConfig, description="How TWS or IB Gateway is reached and treated."
    )

    feature_modules: Annotated[tuple[str, ...], NoDecode] = Field((), description="Modules with features of your own.")
    signal_modules: Annotated[tuple[str, ...], NoDecode] = Field((), description="Modules with signals of your own.")

    train_windows: int = Field(3, ge=1, description="Quarters an agent trains on before the quarter it trades.")
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
    benchmark: str = Field(
        "", description="Symbol of the benchmark that agents are held against and that nobody trades, e.g. SPY."
    )
    cash_rate: str = Field(
        "0",
        description="What cash earns in judging: a fraction a year (0.03), or a CSV of dates and rates.",
    )
    trading: Annotated[TradingConfig, NoDecode] = Field(
        default_factory=TradingConfig, description="How an account trades and its agent is trained."
    )

    portfolio_agents: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Learners of single portfolios or symbols, growth=ridge,AAPL=gradient; TT_AGENT trains all others.",
    )

    ui_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="More names the UI answers to, e.g. tt.example.com; this machine's own are known."
    )
    ui_token: SecretStr | None = Field(
        None, description="What the UI asks its callers for, 16 characters or more; needed where --host is no loopback."
    )
    gate: Annotated[GateConfig, NoDecode] = Field(
        default_factory=GateConfig, description="What must hold before agents are promoted."
    )

    alert_webhook: SecretStr | None = Field(
        None, description="Slack-compatible webhook for alerts, e.g. https://hooks.slack.com/services/..."
    )
    alert_interval: float = Field(
        900.0, ge=0, description="Least time between two messages of a kind to the webhook, seconds; the log has all."
    )
    stale_after: float = Field(
        6.0, gt=0, description="How long the latest session may be missing before that is an alert, hours."
    )
    prune_after: int = Field(
        90,
        ge=1,
        description="How old a run and its events must be before `tt db prune` removes what nothing shows, days.",
    )

    @field_validator("feature_modules", "signal_modules", "baselines", "portfolio_agents", "ui_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("bars_columns", "bars_date_format", "bars_adjust")
    @classmethod
    def _bars_options(cls, value: str, about: ValidationInfo) -> str:
        try:
            BarsOptions.parse(**{str(about.field_name).removeprefix("bars_"): value})
        except UserError as error:
            raise ValueError(str(error).partition(": ")[2] or str(error)) from None
        return value

    @field_validator("portfolio_agents")
    @classmethod
    def _name_and_learner(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        pairs = [tuple(part.strip() for part in entry.rpartition("=")) for entry in value]
        for entry, (name, _, learner) in zip(value, pairs, strict=True):
            if not name or not learner:
                raise ValueError(f'"{entry}" is not NAME=LEARNER; write it as growth=ridge,AAPL=gradient')
        names = [name for name, _, _ in pairs]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f'"{twice}" is there twice; give it one learner')
        return tuple(f"{name}={learner}" for name, _, learner in pairs)

    @field_validator("ui_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?", name):
                raise ValueError(f'"{name}" is no host name; write it as tt.example.com or tt.example.com:8443')
        return value

    @field_validator("ui_token")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr | None) -> SecretStr | None:
        if value and len(value.get_secret_value()) < SHORTEST_TOKEN:
            raise ValueError(f"it has fewer than {SHORTEST_TOKEN} characters; `openssl rand -hex 16` makes a good one")
        return value

    @field_validator("alert_webhook")
    @classmethod
    def _reachable(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.match(r"https?://[^\s/]+", value.get_secret_value()):
            raise ValueError("it is no address that begins with https:// or http://")
        return value

    @field_validator("price_source")
    @classmethod
    def _known_source(cls, value: PriceSourceName | str) -> PriceSourceName | str:
        if value == "files":
            return PriceSourceName.FILE
        if not isinstance(value, PriceSourceName) and not is_source_name(value):
            raise ValueError(
                "it is neither file nor ibkr, no package.module:Class, and no installed source has that name"
            )
        return value

    @field_validator("ray_address")
    @classmethod
    def _of_a_head(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/]+/?", value):
            raise ValueError(f'"{value}" is no address of a head; write it as http://head:8265')
        return value

    @field_validator("home", "watchlist", "bars_path", "pg_bin", "k8s_launcher", "shared_folder")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        if "\0" in str(value):
            raise ValueError("a path cannot hold the character NUL")
        try:
            return Path(os.path.abspath(value.expanduser()))  # noqa: PTH100 - keeps symlinks
        except RuntimeError:
            raise ValueError(
                f"this machine knows no home of {value.parts[0]}; write the path out, or ./ before it"
            ) from None

    @field_validator("shared_folder")
    @classmethod
    def _folder(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        try:
            there = next(path for path in (value, *value.parents) if path.exists())
            is_folder = there.is_dir()
        except OSError as error:
            raise ValueError(
                f"it cannot be looked for ({error.strerror}); mend that, or name a folder that every machine sees"
            ) from None
        if not is_folder:
            raise ValueError(f"{there} is no folder; name one that every machine sees, or one that can be made")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Settings:
        if self.start_date and self.end_date and self.end_date < self.start_date:
            raise ValueError(f"TT_END_DATE {self.end_date} lies before TT_START_DATE {self.start_date}; swap them.")
        return self

    @model_validator(mode="after")
    def _shared_database(self) -> Settings:
        if self.several_machines and self.database_url is None:
            said = "TT_WORKER=true" if self.worker else f"TT_RUN_LAUNCHER={self.run_launcher}"
            raise ValueError(f"{said} needs a PostgreSQL that every machine reaches; set TT_DATABASE_URL.")
        if self.run_launcher is RunLauncherName.K8S and self.k8s_launcher is None and not self.worker:
            raise ValueError("TT_RUN_LAUNCHER=k8s needs TT_K8S_LAUNCHER; the chart in deploy/ sets it.")
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
    def several_machines(self) -> bool:
        """Whether other machines carry out runs, or this one those of another."""
        return self.worker or self.run_launcher is not RunLauncherName.LOCAL

    @property
    def is_sample(self) -> bool:
        """Whether prices come from the bundled sample, whose history is closed."""
        return self.price_source is PriceSourceName.FILE and self.bars_path == SAMPLE_BARS

    @property
    def watchlist_is_of_bars(self) -> bool:
        """Whether nobody named a watchlist, so that the instruments of the bars files are it."""
        return self.watchlist == self.home / OWN_INSTRUMENTS

    @property
    def agents(self) -> dict[str, str]:
        """Portfolio or symbol → the learner that TT_PORTFOLIO_AGENTS gives it."""
        return {name: learner for name, _, learner in (entry.rpartition("=") for entry in self.portfolio_agents)}

    @property
    def bars_options(self) -> BarsOptions:
        """What a person says about the bars files beyond what is recognised."""
        return BarsOptions.parse(self.bars_columns, self.bars_date_format, self.bars_adjust)

    @property
    def shown(self) -> Path:
        """Where lies what runs leave for people to see: logs, pictures and reports."""
        return self.shared_folder or self.home

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


def database_of(settings: Settings, *, start: bool = False, owner: bool = False) -> Database:
    """The `tt` database of the settings, for the login that works there or for the `owner` of the embedded server.

    `start` has an embedded server running on return. Raises as `Database.at`.
    """
    from tt_assets.postgres.database import Database

    return Database.at(
        settings.database_url,
        settings.home,
        settings.pg_bin,
        start=start,
        tcp_port=settings.pg_port,
        owner=owner,
    )
