"""The thirteen tables, from prices to the equity curve."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tt_prices",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column("instrument", sa.Text(), nullable=False, comment="Symbol as Interactive Brokers writes it."),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment="Session date, New York, at 00:00."),
        sa.Column("open", sa.Double(), nullable=False, comment="First trade of the regular session, split-adjusted."),
        sa.Column("high", sa.Double(), nullable=False, comment="Highest trade of the regular session, split-adjusted."),
        sa.Column("low", sa.Double(), nullable=False, comment="Lowest trade of the regular session, split-adjusted."),
        sa.Column(
            "close",
            sa.Double(),
            nullable=False,
            comment="Last trade of the regular session, split-adjusted; known at the close.",
        ),
        sa.Column("volume", sa.Double(), nullable=False, comment="Traded volume of the regular session."),
        sa.CheckConstraint(
            "open > 0 AND open < 'Infinity' "
            "AND high > 0 AND high < 'Infinity' AND low > 0 AND low < 'Infinity' "
            "AND close > 0 AND close < 'Infinity'",
            name="tt_prices_finite_check",
        ),
        sa.CheckConstraint("volume >= 0 AND volume < 'Infinity'", name="tt_prices_volume_check"),
        sa.CheckConstraint("low <= LEAST(open, close) AND high >= GREATEST(open, close)", name="tt_prices_order_check"),
        sa.PrimaryKeyConstraint("id", name="tt_prices_pkey"),
        sa.UniqueConstraint("instrument", "timestamp", name="tt_prices_key"),
        comment="Daily bars, split-adjusted, one row per instrument and trading session.",
    )
    op.create_table(
        "tt_features",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column("instrument", sa.Text(), nullable=False, comment="Symbol as Interactive Brokers writes it."),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment="Session at whose close the value is known."),
        sa.Column("feature", sa.Text(), nullable=False, comment="Name in the feature registry."),
        sa.Column(
            "value",
            sa.Double(),
            nullable=False,
            comment="Value of the feature; an undefined value (warm-up) is no row.",
        ),
        sa.CheckConstraint("value > '-Infinity' AND value < 'Infinity'", name="tt_features_value_check"),
        sa.PrimaryKeyConstraint("id", name="tt_features_pkey"),
        sa.UniqueConstraint("instrument", "timestamp", "feature", name="tt_features_key"),
        comment="Technical features in long form, one row per instrument, session and feature.",
    )
    op.create_table(
        "tt_signal_scores",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column("instrument", sa.Text(), nullable=False, comment="Symbol as Interactive Brokers writes it."),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment="Session at whose close the score is known."),
        sa.Column("signal_name", sa.Text(), nullable=False, comment="Name in the signal registry."),
        sa.Column("score", sa.Double(), nullable=False, comment="Conviction: -1 strongly short, +1 strongly long."),
        sa.Column("meta_json", sa.Text(), nullable=False, comment="JSON: lookback in sessions, inputs, method."),
        sa.CheckConstraint("json_typeof(meta_json::json) = 'object'", name="tt_signal_scores_meta_json_check"),
        sa.CheckConstraint("score BETWEEN -1 AND 1", name="tt_signal_scores_score_check"),
        sa.PrimaryKeyConstraint("id", name="tt_signal_scores_pkey"),
        sa.UniqueConstraint("instrument", "timestamp", "signal_name", name="tt_signal_scores_key"),
        comment="Signal scores in [-1, 1], one row per instrument, session and signal.",
    )
    op.create_table(
        "tt_policy",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column(
            "window_start", sa.Date(), nullable=False, comment="First day of the walk-forward quarter the agent trades."
        ),
        sa.Column(
            "instrument",
            sa.Text(),
            nullable=False,
            comment="What the agent trades: one symbol or the name of a portfolio.",
        ),
        sa.Column("seed", sa.Integer(), nullable=False, comment="Seed of every random draw of the training."),
        sa.Column("weights", sa.LargeBinary(), nullable=False, comment="Network weights as safetensors."),
        sa.Column(
            "config_json",
            sa.Text(),
            nullable=False,
            comment="JSON: everything needed to rebuild the agent from the weights.",
        ),
        sa.Column(
            "sha256", sa.Text(), nullable=False, comment="SHA-256 of the weights followed by config_json, hexadecimal."
        ),
        sa.CheckConstraint("json_typeof(config_json::json) = 'object'", name="tt_policy_config_json_check"),
        sa.PrimaryKeyConstraint("id", name="tt_policy_pkey"),
        sa.UniqueConstraint("window_start", "instrument", "seed", name="tt_policy_key"),
        comment="Trained agents, one row per walk-forward window, traded instrument or portfolio, and seed.",
    )
    op.create_table(
        "tt_episode",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column(
            "window_start",
            sa.Date(),
            nullable=False,
            comment="First day of the walk-forward quarter the episode trades.",
        ),
        sa.Column(
            "instrument",
            sa.Text(),
            nullable=False,
            comment="What the episode trades: one symbol or the name of a portfolio.",
        ),
        sa.Column("policy_id", sa.BigInteger(), nullable=True, comment="The agent that acted."),
        sa.Column("start_time", sa.DateTime(), nullable=False, comment="First session of the episode."),
        sa.Column(
            "end_time",
            sa.DateTime(),
            nullable=True,
            comment="Last session of the episode; NULL while it is unfinished.",
        ),
        sa.Column(
            "stop_reason",
            sa.Text(),
            nullable=True,
            comment="evaluation_complete, terminated, truncated, reset_called or env_closed; NULL while unfinished.",
        ),
        sa.Column("max_drawdown", sa.Double(), nullable=True, comment="Largest fall of net worth from its peak."),
        sa.Column(
            "sharpe_ratio",
            sa.Double(),
            nullable=True,
            comment="Mean over standard deviation of close-to-close returns, times sqrt(252).",
        ),
        sa.Column(
            "turnover",
            sa.Double(),
            nullable=True,
            comment="Mean over steps and instruments of the absolute change of target weight.",
        ),
        sa.Column(
            "config_json",
            sa.Text(),
            nullable=False,
            comment="JSON: settings of the episode and the sha256 of its agent.",
        ),
        sa.CheckConstraint("json_typeof(config_json::json) = 'object'", name="tt_episode_config_json_check"),
        sa.CheckConstraint(
            "stop_reason IN ('evaluation_complete', 'terminated', 'truncated', 'reset_called', 'env_closed')",
            name="tt_episode_stop_reason_check",
        ),
        sa.CheckConstraint("(end_time IS NULL) = (stop_reason IS NULL)", name="tt_episode_finished_check"),
        sa.CheckConstraint("max_drawdown BETWEEN 0 AND 1", name="tt_episode_max_drawdown_check"),
        sa.ForeignKeyConstraint(["policy_id"], ["tt_policy.id"], name="tt_episode_policy_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="tt_episode_pkey"),
        sa.UniqueConstraint("window_start", "instrument", "policy_id", name="tt_episode_key"),
        comment="Evaluation episodes. A row without end_time was interrupted; running its partition again replaces it.",
    )
    op.create_index("tt_episode_policy_id_idx", "tt_episode", ["policy_id"], unique=False)
    op.create_table(
        "tt_observation",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column("episode_id", sa.BigInteger(), nullable=False, comment="The episode this row belongs to."),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment="Session at whose close the agent saw this."),
        sa.Column(
            "features",
            sa.Text(),
            nullable=False,
            comment="JSON object of what the agent saw, named values after scaling.",
        ),
        sa.CheckConstraint("json_typeof(features::json) = 'object'", name="tt_observation_features_check"),
        sa.ForeignKeyConstraint(
            ["episode_id"], ["tt_episode.id"], name="tt_observation_episode_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="tt_observation_pkey"),
        sa.UniqueConstraint("episode_id", "timestamp", name="tt_observation_key"),
        comment="What the agent saw at the close of each session it decided on.",
    )
    op.create_table(
        "tt_action",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column("episode_id", sa.BigInteger(), nullable=False, comment="The episode this row belongs to."),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment="Session at whose close the agent decided."),
        sa.Column("instrument", sa.Text(), nullable=False, comment="Symbol as Interactive Brokers writes it."),
        sa.Column(
            "action_value",
            sa.Double(),
            nullable=False,
            comment="Raw output of the agent for the instrument, before the action scheme.",
        ),
        sa.ForeignKeyConstraint(
            ["episode_id"], ["tt_episode.id"], name="tt_action_episode_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="tt_action_pkey"),
        sa.UniqueConstraint("episode_id", "timestamp", "instrument", name="tt_action_key"),
        comment="The agent's raw output, one row per decision and instrument.",
    )
    op.create_table(
        "tt_target_weights",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column("episode_id", sa.BigInteger(), nullable=False, comment="The episode this row belongs to."),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment="Session at whose close the target was set."),
        sa.Column("instrument", sa.Text(), nullable=False, comment="Symbol, or CASH for what is left."),
        sa.Column(
            "target_weight", sa.Double(), nullable=False, comment="Share of net worth; the rows of a session sum to 1."
        ),
        sa.Column("strategy", sa.Text(), nullable=False, comment="The action scheme that made the weight."),
        sa.Column("rationale", sa.Text(), nullable=False, comment="Why, in words and figures."),
        sa.ForeignKeyConstraint(
            ["episode_id"], ["tt_episode.id"], name="tt_target_weights_episode_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="tt_target_weights_pkey"),
        sa.UniqueConstraint("episode_id", "timestamp", "instrument", name="tt_target_weights_key"),
        comment="What the action scheme made of the agent's output, with a CASH row.",
    )
    op.create_table(
        "tt_order",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column("episode_id", sa.BigInteger(), nullable=False, comment="The episode this row belongs to."),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment="Session in which the order was filled."),
        sa.Column("instrument", sa.Text(), nullable=False, comment="Symbol as Interactive Brokers writes it."),
        sa.Column("order_type", sa.Text(), nullable=False, comment="buy or sell."),
        sa.Column("size", sa.Double(), nullable=False, comment="Quantity filled."),
        sa.Column("price", sa.Double(), nullable=False, comment="Fill price, slippage included."),
        sa.Column("commission", sa.Double(), nullable=False, comment="Commission charged."),
        sa.CheckConstraint("order_type IN ('buy', 'sell')", name="tt_order_order_type_check"),
        sa.CheckConstraint("size > 0 AND price > 0 AND commission >= 0", name="tt_order_amounts_check"),
        sa.ForeignKeyConstraint(["episode_id"], ["tt_episode.id"], name="tt_order_episode_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="tt_order_pkey"),
        sa.UniqueConstraint("episode_id", "timestamp", "instrument", name="tt_order_key"),
        comment="Executed orders.",
    )
    op.create_table(
        "tt_portfolio",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column("episode_id", sa.BigInteger(), nullable=False, comment="The episode this row belongs to."),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment="Session at whose close the account was marked."),
        sa.Column("net_worth", sa.Double(), nullable=False, comment="Cash plus positions at the close."),
        sa.Column("cash_balance", sa.Double(), nullable=False, comment="Cash at the close."),
        sa.ForeignKeyConstraint(
            ["episode_id"], ["tt_episode.id"], name="tt_portfolio_episode_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="tt_portfolio_pkey"),
        sa.UniqueConstraint("episode_id", "timestamp", name="tt_portfolio_key"),
        comment="The account at each session's close.",
    )
    op.create_table(
        "tt_holdings",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column(
            "portfolio_id",
            sa.BigInteger(),
            nullable=False,
            comment="The row of tt_portfolio (episode and session) these shares belong to.",
        ),
        sa.Column("instrument", sa.Text(), nullable=False, comment="Symbol as Interactive Brokers writes it."),
        sa.Column("quantity", sa.Double(), nullable=False, comment="Position held at the close."),
        sa.ForeignKeyConstraint(
            ["portfolio_id"], ["tt_portfolio.id"], name="tt_holdings_portfolio_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="tt_holdings_pkey"),
        sa.UniqueConstraint("portfolio_id", "instrument", name="tt_holdings_key"),
        comment="Positions at each session's close, one row per instrument.",
    )
    op.create_table(
        "tt_reward",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column("episode_id", sa.BigInteger(), nullable=False, comment="The episode this row belongs to."),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment="Session at whose close the reward was known."),
        sa.Column(
            "reward_value",
            sa.Double(),
            nullable=False,
            comment="Reward of the decision taken one session before; may be negative.",
        ),
        sa.ForeignKeyConstraint(
            ["episode_id"], ["tt_episode.id"], name="tt_reward_episode_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="tt_reward_pkey"),
        sa.UniqueConstraint("episode_id", "timestamp", name="tt_reward_key"),
        comment="Reward per step.",
    )
    op.create_table(
        "tt_equity_curve",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column("episode_id", sa.BigInteger(), nullable=False, comment="The episode this row belongs to."),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment="Session at whose close the account was marked."),
        sa.Column("net_worth", sa.Double(), nullable=False, comment="Cash plus positions at the close."),
        sa.ForeignKeyConstraint(
            ["episode_id"], ["tt_episode.id"], name="tt_equity_curve_episode_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="tt_equity_curve_pkey"),
        sa.UniqueConstraint("episode_id", "timestamp", name="tt_equity_curve_key"),
        comment="Net worth per session.",
    )


def downgrade() -> None:
    op.drop_table("tt_equity_curve")
    op.drop_table("tt_reward")
    op.drop_table("tt_holdings")
    op.drop_table("tt_portfolio")
    op.drop_table("tt_order")
    op.drop_table("tt_target_weights")
    op.drop_table("tt_action")
    op.drop_table("tt_observation")
    op.drop_table("tt_episode")
    op.drop_table("tt_policy")
    op.drop_table("tt_signal_scores")
    op.drop_table("tt_features")
    op.drop_table("tt_prices")
