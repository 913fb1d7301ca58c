"""The tables in flow order: columns, units, keys and constraints. The one schema.

The DDL, the migration drift test, `dagster/column_schema`, the check of a frame before a write and the key columns of
the IO managers are all read from here; nothing lists a table's columns a second time.

Every `timestamp` is `TIMESTAMP` without time zone and holds market time: the date of the New York session at 00:00.
Wall-clock time belongs to run metadata, so writing the same content twice gives the same rows.

Features and scores are read and written in long form, a row a value, and stored as a row a bar (see `BarForm`): the
long form is a view.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

_NAMES = {
    "pk": "%(table_name)s_pkey",
    "uq": "%(table_name)s_key",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "ix": "%(table_name)s_%(column_0_name)s_idx",
}
metadata = MetaData(naming_convention=_NAMES)
"""What the server has as tables."""

_long_forms = MetaData(naming_convention=_NAMES)
"""What the server has as views over tables of another form; declared as they read."""


class Layer(StrEnum):
    """Where an asset stands in the flow; also its group in the Dagster UI, which sorts groups by name."""

    MARKET = "1_market"
    RESEARCH = "2_research"
    AGENT = "3_agent"
    EPISODES = "4_episodes"
    REPORT = "5_report"


def _id() -> Column[Any]:
    return Column(
        "id", BigInteger, Identity(always=False), primary_key=True, comment="Surrogate key, not part of the content."
    )


def _timestamp(meaning: str = "Session date, New York, at 00:00.") -> Column[Any]:
    return Column("timestamp", DateTime, nullable=False, comment=meaning)


def _instrument(meaning: str = "Symbol as Interactive Brokers writes it.") -> Column[Any]:
    return Column("instrument", Text, nullable=False, comment=meaning)


def _number(name: str, meaning: str, unit: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Double, nullable=nullable, comment=meaning, info={"unit": unit})


def _text(name: str, meaning: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Text, nullable=nullable, comment=meaning)


def _episode_id() -> Column[Any]:
    return Column(
        "episode_id",
        BigInteger,
        ForeignKey("tt_episode.id", ondelete="CASCADE"),
        nullable=False,
        comment="The episode this row belongs to.",
    )


def _finite_and_positive(column: str) -> str:
    # PostgreSQL sorts NaN above infinity, so the upper bound refuses both.
    return f"{column} > 0 AND {column} < 'Infinity'"


def _is_json_object(column: str) -> str:
    # `IS JSON` came with PostgreSQL 16; the cast refuses what is not JSON on 15 too.
    return f"json_typeof({column}::json) = 'object'"


tt_prices = Table(
    "tt_prices",
    metadata,
    _id(),
    _instrument(),
    _timestamp(),
    _number("open", "First trade of the regular session, split-adjusted.", "USD"),
    _number("high", "Highest trade of the regular session, split-adjusted.", "USD"),
    _number("low", "Lowest trade of the regular session, split-adjusted.", "USD"),
    _number("close", "Last trade of the regular session, split-adjusted; known at the close.", "USD"),
    _number("volume", "Traded volume of the regular session.", "shares"),
    UniqueConstraint("instrument", "timestamp"),
    CheckConstraint(" AND ".join(map(_finite_and_positive, ("open", "high", "low", "close"))), name="finite"),
    CheckConstraint("low <= LEAST(open, close) AND high >= GREATEST(open, close)", name="order"),
    CheckConstraint("volume >= 0 AND volume < 'Infinity'", name="volume"),
    comment="Daily bars, split-adjusted, one row per instrument and trading session.",
    info={"layer": Layer.MARKET, "kinds": ("postgres", "pandas")},
)


@dataclass(frozen=True)
class BarForm:
    """How a long table of values, a row a value, is stored: a row a bar.

    A bar's row holds the numbers of all its values and, in the same order, the ids that their names have in a catalog.
    What has no value stands in neither. The rows of a catalog are never changed or deleted.

    Parameters
    ----------
    bars : instrument, timestamp, `names` (ids) and `numbers`, arrays of the same length.
    catalog : id and the columns of the long table that say what a number is.
    number : the column of the long table that holds it.
    """

    bars: Table
    catalog: Table
    number: str

    @property
    def named_by(self) -> tuple[str, ...]:
        """The columns of the long table that the catalog holds."""
        return tuple(column.name for column in self.catalog.columns if column.name != "id")


def _catalog_id(kind: type[SmallInteger | Integer]) -> Column[Any]:
    return Column(
        "id", kind, Identity(always=False), primary_key=True, comment="Stands for it in the rows of the bars."
    )


def _bars(name: str, kind: type[SmallInteger | Integer], known: str, catalog: str, bound: str, comment: str) -> Table:
    return Table(
        name,
        metadata,
        Column(
            "id", BigInteger, Identity(always=False), nullable=False, comment="Number of the row, for `id` of the view."
        ),
        _instrument(),
        _timestamp(known),
        Column("names", ARRAY(kind), nullable=False, comment=f"What each number is: `id` in {catalog}."),
        Column(
            "numbers",
            ARRAY(Double),
            nullable=False,
            comment="The values, in the order of their names.",
            info={"unit": "of each"},
        ),
        PrimaryKeyConstraint("instrument", "timestamp"),
        CheckConstraint(bound, name="bounds"),
        CheckConstraint(
            "cardinality(names) > 0 AND cardinality(names) = cardinality(numbers) "
            "AND array_position(names, NULL) IS NULL AND array_position(numbers, NULL) IS NULL",
            name="whole",
        ),
        comment=comment,
    )


tt_feature_name = Table(
    "tt_feature_name",
    metadata,
    _catalog_id(SmallInteger),
    _text("feature", "Name in the feature registry."),
    UniqueConstraint("feature"),
    comment="The features that have or had values. Rows are added, never changed or deleted.",
)

tt_feature_bar = _bars(
    "tt_feature_bar",
    SmallInteger,
    "Session at whose close the values are known.",
    "tt_feature_name",
    "'-Infinity' < ALL (numbers) AND 'Infinity' > ALL (numbers)",
    "The features of each bar, one row per instrument and session; tt_features shows them one by one.",
)

tt_signal_name = Table(
    "tt_signal_name",
    metadata,
    _catalog_id(Integer),
    _text("signal_name", "Name in the signal registry."),
    _text("meta_json", "JSON: lookback in sessions, inputs, method."),
    Index("tt_signal_name_key", "signal_name", text("md5(meta_json)"), unique=True),
    CheckConstraint(_is_json_object("meta_json"), name="meta_json"),
    comment="The signals that have or had scores, with what is said of them. Rows are added, never changed or deleted.",
)

tt_signal_bar = _bars(
    "tt_signal_bar",
    Integer,
    "Session at whose close the scores are known.",
    "tt_signal_name",
    "-1 <= ALL (numbers) AND 1 >= ALL (numbers)",
    "The signal scores of each bar, one row per instrument and session; tt_signal_scores shows them one by one.",
)

tt_features = Table(
    "tt_features",
    _long_forms,
    _id(),
    _instrument(),
    _timestamp("Session at whose close the value is known."),
    _text("feature", "Name in the feature registry."),
    _number("value", "Value of the feature; an undefined value (warm-up) is no row.", "as the feature says"),
    UniqueConstraint("instrument", "timestamp", "feature"),
    CheckConstraint("value > '-Infinity' AND value < 'Infinity'", name="value"),
    comment="Technical features in long form, one row per instrument, session and feature.",
    info={
        "layer": Layer.RESEARCH,
        "kinds": ("postgres", "pandas"),
        "bars": BarForm(tt_feature_bar, tt_feature_name, "value"),
    },
)

tt_signal_scores = Table(
    "tt_signal_scores",
    _long_forms,
    _id(),
    _instrument(),
    _timestamp("Session at whose close the score is known."),
    _text("signal_name", "Name in the signal registry."),
    _number("score", "Conviction: -1 strongly short, +1 strongly long.", "[-1, 1]"),
    _text("meta_json", "JSON: lookback in sessions, inputs, method."),
    UniqueConstraint("instrument", "timestamp", "signal_name"),
    CheckConstraint("score BETWEEN -1 AND 1", name="score"),
    CheckConstraint(_is_json_object("meta_json"), name="meta_json"),
    comment="Signal scores in [-1, 1], one row per instrument, session and signal.",
    info={
        "layer": Layer.RESEARCH,
        "kinds": ("postgres", "pandas"),
        "bars": BarForm(tt_signal_bar, tt_signal_name, "score"),
    },
)

tt_policy = Table(
    "tt_policy",
    metadata,
    _id(),
    Column("window_start", Date, nullable=False, comment="First day of the walk-forward quarter the agent trades."),
    _instrument("What the agent trades: one symbol or the name of a portfolio."),
    Column("seed", Integer, nullable=False, comment="Seed of every random draw of the training."),
    Column("weights", LargeBinary, nullable=False, comment="Network weights as safetensors."),
    _text("config_json", "JSON: everything needed to rebuild the agent from the weights."),
    _text("sha256", "SHA-256 of the weights followed by config_json, hexadecimal."),
    Column(
        "superseded_at",
        DateTime(timezone=True),
        nullable=True,
        comment="When another agent of the same key took its place; NULL while it is in force.",
        info={"content": False},
    ),
    Index(
        "tt_policy_in_force",
        "window_start",
        "instrument",
        "seed",
        unique=True,
        postgresql_where=text("superseded_at IS NULL"),
    ),
    CheckConstraint(_is_json_object("config_json"), name="config_json"),
    comment="Trained agents: one in force per walk-forward window, traded instrument or portfolio, and seed; earlier "
    "ones stay, with their episodes, until they are pruned.",
    info={
        "layer": Layer.AGENT,
        "kinds": ("postgres", "stablebaselines3"),
        "kept_if_equal": "sha256",
        "current": "superseded_at IS NULL",
    },
)

tt_episode = Table(
    "tt_episode",
    metadata,
    _id(),
    Column("window_start", Date, nullable=False, comment="First day of the walk-forward quarter the episode trades."),
    _instrument("What the episode trades: one symbol or the name of a portfolio."),
    Column(
        "policy_id",
        BigInteger,
        ForeignKey("tt_policy.id", ondelete="CASCADE"),
        nullable=True,
        comment="The agent that acted; NULL for a baseline.",
    ),
    Column("start_time", DateTime, nullable=False, comment="First session of the episode."),
    Column("end_time", DateTime, nullable=True, comment="Last session of the episode; NULL while it is unfinished."),
    _text(
        "stop_reason",
        "evaluation_complete, terminated, truncated, reset_called or env_closed; NULL while unfinished.",
        nullable=True,
    ),
    _number("max_drawdown", "Largest fall of net worth from its peak.", "fraction of the peak, [0, 1]", nullable=True),
    _number(
        "sharpe_ratio", "Mean over standard deviation of close-to-close returns, times sqrt(252).", "1", nullable=True
    ),
    _number("turnover", "Mean over steps and instruments of the absolute change of target weight.", "1", nullable=True),
    _text("config_json", "JSON: settings of the episode and the sha256 of its agent."),
    _text(
        "strategy", "Who acted: agent, old agent (one that another took the place of), the name of a baseline, or hand."
    ),
    Column("seed", Integer, nullable=False, comment="Seed of the agent, or of a baseline that draws; 0 otherwise."),
    Index(
        "tt_episode_in_force",
        "window_start",
        "instrument",
        "strategy",
        "seed",
        unique=True,
        postgresql_where=text("strategy <> 'old agent'"),
    ),
    CheckConstraint(
        "stop_reason IN ('evaluation_complete', 'terminated', 'truncated', 'reset_called', 'env_closed')",
        name="stop_reason",
    ),
    CheckConstraint("(end_time IS NULL) = (stop_reason IS NULL)", name="finished"),
    CheckConstraint("max_drawdown BETWEEN 0 AND 1", name="max_drawdown"),
    CheckConstraint(_is_json_object("config_json"), name="config_json"),
    Index(None, "policy_id"),
    comment="Evaluation episodes. A row without end_time was interrupted; running its partition again replaces it.",
    info={"layer": Layer.EPISODES, "kinds": ("postgres", "tensortrade")},
)

_EPISODE_TABLE = {"layer": Layer.EPISODES, "kinds": ("postgres", "tensortrade")}

tt_observation = Table(
    "tt_observation",
    metadata,
    _id(),
    _episode_id(),
    _timestamp("Session at whose close the agent saw this."),
    _text("features", "JSON object of what the agent saw, named values after scaling."),
    UniqueConstraint("episode_id", "timestamp"),
    CheckConstraint(_is_json_object("features"), name="features"),
    comment="What the agent saw at the close of each session it decided on.",
    info=_EPISODE_TABLE,
)

tt_action = Table(
    "tt_action",
    metadata,
    _id(),
    _episode_id(),
    _timestamp("Session at whose close the agent decided."),
    _instrument(),
    _number("action_value", "Raw output of the agent for the instrument, before the action scheme.", "1"),
    UniqueConstraint("episode_id", "timestamp", "instrument"),
    comment="The agent's raw output, one row per decision and instrument.",
    info=_EPISODE_TABLE,
)

tt_target_weights = Table(
    "tt_target_weights",
    metadata,
    _id(),
    _episode_id(),
    _timestamp("Session at whose close the target was set."),
    _instrument("Symbol, or CASH for what is left."),
    _number("target_weight", "Share of net worth; the rows of a session sum to 1.", "fraction of net worth"),
    _text("strategy", "The action scheme that made the weight."),
    _text("rationale", "Why, in words and figures."),
    UniqueConstraint("episode_id", "timestamp", "instrument"),
    comment="What the action scheme made of the agent's output, with a CASH row.",
    info=_EPISODE_TABLE,
)

tt_order = Table(
    "tt_order",
    metadata,
    _id(),
    _episode_id(),
    _timestamp("Session in which the order was filled."),
    _instrument(),
    _text(
        "order_type",
        "buy or sell; delisted_sell and delisted_buy closed the position in a delisted instrument at its last close.",
    ),
    _number("size", "Quantity filled.", "shares"),
    _number("price", "Fill price, slippage included.", "USD per share"),
    _number("commission", "Commission charged.", "USD"),
    UniqueConstraint("episode_id", "timestamp", "instrument"),
    CheckConstraint("order_type IN ('buy', 'sell', 'delisted_sell', 'delisted_buy')", name="order_type"),
    CheckConstraint("size > 0 AND price > 0 AND commission >= 0", name="amounts"),
    comment="Executed orders.",
    info=_EPISODE_TABLE,
)

tt_portfolio = Table(
    "tt_portfolio",
    metadata,
    _id(),
    _episode_id(),
    _timestamp("Session at whose close the account was marked."),
    _number("net_worth", "Cash plus positions at the close.", "USD"),
    _number("cash_balance", "Cash at the close.", "USD"),
    UniqueConstraint("episode_id", "timestamp"),
    comment="The account at each session's close.",
    info=_EPISODE_TABLE,
)

tt_holdings = Table(
    "tt_holdings",
    metadata,
    _id(),
    Column(
        "portfolio_id",
        BigInteger,
        ForeignKey("tt_portfolio.id", ondelete="CASCADE"),
        nullable=False,
        comment="The row of tt_portfolio (episode and session) these shares belong to.",
    ),
    _instrument(),
    _number("quantity", "Position held at the close.", "shares"),
    UniqueConstraint("portfolio_id", "instrument"),
    comment="Positions at each session's close, one row per instrument.",
    info=_EPISODE_TABLE,
)

tt_reward = Table(
    "tt_reward",
    metadata,
    _id(),
    _episode_id(),
    _timestamp("Session at whose close the reward was known."),
    _number("reward_value", "Reward of the decision taken one session before; may be negative.", "1"),
    UniqueConstraint("episode_id", "timestamp"),
    comment="Reward per step.",
    info=_EPISODE_TABLE,
)

tt_equity_curve = Table(
    "tt_equity_curve",
    metadata,
    _id(),
    _episode_id(),
    _timestamp("Session at whose close the account was marked."),
    _number("net_worth", "Cash plus positions at the close.", "USD"),
    UniqueConstraint("episode_id", "timestamp"),
    comment="Net worth per session.",
    info=_EPISODE_TABLE,
)

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        tt_prices,
        tt_features,
        tt_signal_scores,
        tt_policy,
        tt_episode,
        tt_observation,
        tt_action,
        tt_target_weights,
        tt_order,
        tt_portfolio,
        tt_holdings,
        tt_reward,
        tt_equity_curve,
    )
}
"""All thirteen by name, in flow order."""

BAR_FORMS: Mapping[str, BarForm] = {name: table.info["bars"] for name, table in TABLES.items() if "bars" in table.info}
"""How those of the thirteen are stored that are views."""

MARKET_TABLES: tuple[str, ...] = ("tt_prices", "tt_features", "tt_signal_scores")
"""Partitioned by trading session and instrument."""

EPISODE_TABLES: tuple[str, ...] = tuple(name for name, table in TABLES.items() if table.info["layer"] is Layer.EPISODES)
"""The nine that record an episode, parents before children."""

EPISODES_STEP = "episodes"
"""The step that makes the nine at once."""

HAND = "hand"
"""`tt_episode.strategy` of the episodes that people write row by row."""

OLD_AGENT = "old agent"
"""`tt_episode.strategy` of an agent's episode once the agent that took its place was rolled."""

LEDGER = Table(
    "tt_slice",
    metadata,
    _text("table_name", "Which of the thirteen tables."),
    Column("date", Date, nullable=False, comment="Date key of the partition: session, month or window, its first day."),
    _instrument("Instrument key of the partition: a symbol, or what an agent trades."),
    Column("rows", BigInteger, nullable=True, comment="Rows the slice holds; NULL where it holds nothing yet."),
    _text("digest", "BLAKE2b-128 of the rows in binary COPY form, hexadecimal; NULL as rows.", nullable=True),
    Column(
        "reads",
        BigInteger,
        nullable=True,
        comment="Sum, modulo 2^64, of the first 8 bytes of the digests of all slices with rows that it was computed "
        "from; NULL where that is not known.",
    ),
    _text("code", "Version of the definitions that computed it; NULL where that is not known.", nullable=True),
    Column("fetch", BigInteger, nullable=False, comment="Number drawn when reading what it was made from began."),
    _text("run_id", "Run that wrote it; NULL for what was written without one.", nullable=True),
    Column("written_at", DateTime(timezone=True), nullable=True, comment="When it was written."),
    _text("outcome", "What came of the partition, in words.", nullable=True),
    Column(
        "changed", JSON, nullable=True, comment="How its content came to differ from what stood there before, and why."
    ),
    Column(
        "failure", JSON, nullable=True, comment="Why the wished content could not be made (reason, run, time, tries)."
    ),
    _text("source", "State of the price source it was last tried on, as the sensors name it.", nullable=True),
    Column("tries", Integer, nullable=False, comment="Tries in vain on that state: failures, or no row again."),
    Column("tried_at", DateTime(timezone=True), nullable=True, comment="When it was last tried."),
    Column("told", Boolean, nullable=False, comment="Whether Dagster has the event of this content."),
    Column("written_in", BigInteger, nullable=False, comment="Transaction that changed what sensors read of this row."),
    PrimaryKeyConstraint("table_name", "date", "instrument"),
    CheckConstraint("(rows IS NULL) = (digest IS NULL)", name="held"),
    Index(None, "written_in"),
    Index("tt_slice_untold_idx", "table_name", postgresql_where=text("NOT told")),
    comment="What every partition of every table holds, written with its rows in one transaction.",
)
"""The ledger. Not one of the thirteen: it says of their slices what they hold, and no asset makes it."""

TRIALS = Table(
    "tt_trial",
    metadata,
    _id(),
    _instrument("What was tried on: one symbol or the name of a portfolio."),
    _text("source", "Who tried: report, sweep, promote, or a name of one's own."),
    _text("name", "What was tried, for people; may be empty."),
    _text("configuration", "SHA-256 of config_json, hexadecimal: trials of one configuration and code count once."),
    _text("config_json", "JSON object of every setting that shapes what is judged."),
    _text("code", "Version of the code that computes it: package, features, signals."),
    _text("bars", "Digest of the bars and channels it is judged on."),
    _text("windows", "First days of the walk-forward windows, ascending, with commas between."),
    _text("seeds", "Seeds of the agents, ascending, with commas between."),
    Column("registered_at", DateTime(timezone=True), nullable=False, comment="When it was registered: before judging."),
    Column("judged_at", DateTime(timezone=True), nullable=True, comment="When it was judged; NULL until then."),
    _text("failure", "Why it came to no returns, in one sentence.", nullable=True),
    _text("figures_json", "JSON object of its figures; NULL until it is judged.", nullable=True),
    Column("sessions", ARRAY(Date), nullable=True, comment="Sessions judged: those of the returns."),
    Column(
        "net_returns",
        ARRAY(Double),
        nullable=True,
        comment="Close-to-close returns of these sessions after all costs.",
        info={"unit": "fraction"},
    ),
    UniqueConstraint("instrument", "configuration", "code", "bars", "windows", "seeds"),
    CheckConstraint(_is_json_object("config_json"), name="config_json"),
    CheckConstraint("figures_json IS NULL OR " + _is_json_object("figures_json"), name="figures_json"),
    CheckConstraint(
        "(judged_at IS NULL) = (net_returns IS NULL) AND "
        "coalesce(cardinality(sessions), -1) = coalesce(cardinality(net_returns), -1)",
        name="judged",
    ),
    comment="What was tried, registered before it was judged. Rows are added and closed, never changed or deleted.",
)
"""Not one of the thirteen: no asset makes it, whoever judges registers in it."""

PROMOTIONS = Table(
    "tt_promotion",
    metadata,
    _id(),
    _instrument("What was asked to be promoted: one symbol or the name of a portfolio."),
    Column(
        "trial_id",
        BigInteger,
        ForeignKey("tt_trial.id", ondelete="CASCADE"),
        nullable=False,
        comment="The trial the decision rests on.",
    ),
    Column("decided_at", DateTime(timezone=True), nullable=False, comment="When it was decided."),
    Column("promoted", Boolean, nullable=False, comment="Whether every rule held."),
    _text("rule_version", "Version of the rules and their thresholds."),
    _text("rules_json", "JSON object: per rule its figure, its threshold, whether it held, and what it says."),
    _text("agents_json", "JSON object: window and seed to the SHA-256 of each agent."),
    _text("bars", "Digest of the bars and channels it was decided on; others make it lapse."),
    Column("last_session", Date, nullable=False, comment="Last session judged."),
    Column("expires", Date, nullable=False, comment="Last session for which the decision holds."),
    Index(None, "trial_id"),
    Index(None, "instrument", "decided_at"),
    CheckConstraint(_is_json_object("rules_json"), name="rules_json"),
    CheckConstraint(_is_json_object("agents_json"), name="agents_json"),
    comment="Decisions of the gate, promoted or not. Rows are added, never changed or deleted.",
)
"""Not one of the thirteen: `tt promote` adds to it."""

BESIDE: Mapping[str, Table] = {table.name: table for table in (LEDGER, TRIALS, PROMOTIONS)}
"""The tables beside the thirteen, which no asset makes."""

FETCHES = Sequence("tt_slice_fetch", metadata=metadata)
"""Numbers the readings of sources, so that the later one wins whatever the order of commits."""


def key_columns(table: Table) -> tuple[str, ...]:
    """The columns that identify a row in force by content: those of the table's unique rule, in its order."""
    rules: list[UniqueConstraint | Index] = [rule for rule in table.constraints if isinstance(rule, UniqueConstraint)]
    rules += [index for index in table.indexes if index.unique]
    (unique,) = rules
    return tuple(column.name for column in unique.columns)


def content_columns(table: Table) -> tuple[str, ...]:
    """The columns that make up a row's content, in the table's order: not its `id`, nor whether it is in force."""
    return tuple(column.name for column in table.columns if column.name != "id" and column.info.get("content", True))
