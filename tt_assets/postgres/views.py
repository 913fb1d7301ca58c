"""Views for people and BI tools: what is asked most often, joined once.

Each reads with the rights of whoever asks (`security_invoker`), so a view opens nothing that its tables keep closed.
A change of one is a migration that replaces it; a test compares what is declared here with what the migrations make.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql


@dataclass(frozen=True)
class View:
    """One view.

    Parameters
    ----------
    name : of the view. comment : what a row is.
    columns : in order, each with what it means.
    statement : the SELECT behind it.
    """

    name: str
    comment: str
    columns: tuple[tuple[str, str], ...]
    statement: str


_EPISODE = (
    ("episode_id", "The episode, `id` in tt_episode."),
    ("window_start", "First day of the walk-forward quarter the episode trades."),
    ("traded", "What the episode trades: one symbol or the name of a portfolio."),
    ("strategy", "Who acted: agent, old agent (one that another took the place of), the name of a baseline, or hand."),
    ("seed", "Seed of the agent, or of a baseline that draws; 0 otherwise."),
)

VIEWS: tuple[View, ...] = (
    View(
        "v_equity",
        "Each account at each session's close, with what it earned and how far it is below its peak.",
        (
            *_EPISODE,
            ("session", "Session at whose close the account was marked."),
            ("net_worth", "Cash plus positions at the close."),
            ("cash_balance", "Cash at the close."),
            (
                "net_return",
                "Change of net worth since the session before, as a fraction, after costs; NULL for the first.",
            ),
            ("drawdown", "Net worth over its highest in the episode so far, less one; 0 at a peak, negative below it."),
        ),
        """
SELECT e.id AS episode_id, e.window_start, e.instrument AS traded, e.strategy, e.seed,
       p.timestamp::date AS session, p.net_worth, p.cash_balance,
       p.net_worth / NULLIF(lag(p.net_worth) OVER so_far, 0) - 1 AS net_return,
       p.net_worth / NULLIF(max(p.net_worth) OVER so_far, 0) - 1 AS drawdown
FROM tt_portfolio AS p JOIN tt_episode AS e ON e.id = p.episode_id
WINDOW so_far AS (PARTITION BY e.window_start, e.instrument, e.strategy, e.seed, e.id ORDER BY p.timestamp)
""",
    ),
    View(
        "v_trades",
        "Each fill, with the episode it belongs to.",
        (
            *_EPISODE,
            ("session", "Session in which the order was filled."),
            ("instrument", "Symbol that was traded."),
            ("side", "buy or sell."),
            ("delisted", "Whether it closed the position in a delisted instrument at its last close."),
            ("size", "Quantity filled, in shares."),
            ("price", "Fill price per share, slippage included."),
            ("value", "Size times price; what was bought is positive, what was sold negative."),
            ("commission", "Commission charged."),
        ),
        """
SELECT e.id AS episode_id, e.window_start, e.instrument AS traded, e.strategy, e.seed,
       o.timestamp::date AS session, o.instrument,
       CASE WHEN o.order_type LIKE '%buy' THEN 'buy' ELSE 'sell' END AS side,
       o.order_type LIKE 'delisted%' AS delisted, o.size, o.price,
       CASE WHEN o.order_type LIKE '%buy' THEN 1 ELSE -1 END * o.size * o.price AS value, o.commission
FROM tt_order AS o JOIN tt_episode AS e ON e.id = o.episode_id
""",
    ),
    View(
        "v_weights",
        "Each target of each decision, with a CASH row: the weight, what was held at that close, and why.",
        (
            *_EPISODE,
            ("session", "Session at whose close the target was set."),
            ("instrument", "Symbol, or CASH for what is left."),
            ("target_weight", "Share of net worth; the rows of a session sum to 1."),
            ("held", "Shares held at that close, before the target is traded; for CASH the cash, as an amount."),
            ("rationale", "Why, in words and figures."),
        ),
        """
SELECT e.id AS episode_id, e.window_start, e.instrument AS traded, e.strategy, e.seed,
       w.timestamp::date AS session, w.instrument, w.target_weight,
       CASE WHEN w.instrument = 'CASH' THEN p.cash_balance ELSE coalesce(h.quantity, 0) END AS held, w.rationale
FROM tt_target_weights AS w JOIN tt_episode AS e ON e.id = w.episode_id
LEFT JOIN tt_portfolio AS p ON p.episode_id = w.episode_id AND p.timestamp = w.timestamp
LEFT JOIN tt_holdings AS h ON h.portfolio_id = p.id AND h.instrument = w.instrument
""",
    ),
    View(
        "v_partitions",
        "Each partition of each table that was ever tried: what it holds, and why it failed where it did.",
        (
            ("table_name", "Which of the thirteen tables."),
            ("date", "Date key of the partition: session, month or window, its first day."),
            ("instrument", "Instrument key of the partition: a symbol, or what an agent trades."),
            ("state", "failed, materialized (it holds rows), empty (tried, and there are none) or missing."),
            (
                "rows",
                "Rows it holds; NULL where it holds nothing yet. A failed one may still hold what it held before.",
            ),
            ("reason", "Why it failed, or what came of it, in words."),
            ("tries", "Tries in vain on the present state of the source."),
            ("written_at", "When it was last written."),
            ("tried_at", "When it was last tried."),
            ("run_id", "Dagster's run that wrote it; NULL for what was written without one."),
        ),
        """
SELECT s.table_name, s.date, s.instrument,
       CASE WHEN s.failure IS NOT NULL THEN 'failed' WHEN s.rows > 0 THEN 'materialized' WHEN s.rows = 0 THEN 'empty'
            ELSE 'missing' END AS state,
       s.rows, coalesce(s.failure ->> 'reason', s.outcome) AS reason, s.tries, s.written_at, s.tried_at, s.run_id
FROM tt_slice AS s
""",
    ),
)
"""All of them, in the order of the reference."""


def definition(view: View) -> list[sql.Composed]:
    """The statements that make `view` and its comments."""
    name = sql.Identifier(view.name)
    made = sql.SQL("CREATE VIEW {} WITH (security_invoker = true) AS {}").format(name, sql.SQL(view.statement))
    said = [sql.SQL("COMMENT ON VIEW {} IS {}").format(name, sql.Literal(view.comment))]
    for column, comment in view.columns:
        place = sql.Identifier(view.name, column)
        said.append(sql.SQL("COMMENT ON COLUMN {} IS {}").format(place, sql.Literal(comment)))
    return [made, *said]
