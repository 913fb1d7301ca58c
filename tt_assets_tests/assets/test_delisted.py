"""A delisted name through the episode books in Postgres: agents and baselines are paid out, and the books hold."""

from tt_assets_tests.assets.sample_window import (
    AGENTS,
    CENT,
    WINDOW,
    gaps_of_cash,
    gaps_of_positions,
    sample_window,
)
from tt_assets_tests.dagster_runs import query, run_job

LAST_BAR = "2012-08-03"
CLOSED = "2012-08-20"
"""The eleventh session after the last bar: after ten without one it is known, in the next it is closed."""
QUICK = {
    "TT_TRAIN_STEPS": "2048",
    "TT_TRAIN_WORKERS": "1",
    "TT_SEEDS": "1",
    "TT_BASELINES": "equal_weight_hold,equal_weight_rebalanced",
}


def test_a_delisted_name_is_paid_out_at_its_last_close_in_every_episode(postgres, tmp_path):
    with sample_window(postgres, tmp_path, ("sample",), **QUICK) as rolled:
        with rolled.database.connect() as connection:
            for table in ("tt_prices", "tt_features", "tt_signal_scores"):
                connection.execute(f"DELETE FROM {table} WHERE instrument = 'IBM' AND timestamp > %s", [LAST_BAR])
        assert run_job(rolled.instance, AGENTS, f"{WINDOW}|sample").success
        paid = query(
            rolled.database,
            "SELECT e.strategy, o.timestamp::date::text, o.price - b.close, o.commission, o.size - h.quantity "
            "FROM tt_order o JOIN tt_episode e ON e.id = o.episode_id "
            "JOIN tt_prices b ON b.instrument = 'IBM' AND b.timestamp = %s "
            "JOIN tt_portfolio p ON p.episode_id = e.id AND p.timestamp = '2012-08-17' "
            "JOIN tt_holdings h ON h.portfolio_id = p.id AND h.instrument = 'IBM' "
            "WHERE o.order_type = 'delisted_sell' AND o.instrument = 'IBM' ORDER BY 1",
            LAST_BAR,
        )
        assert [row[:2] for row in paid] == [
            ("agent", CLOSED),
            ("equal_weight_hold", CLOSED),
            ("equal_weight_rebalanced", CLOSED),
        ]
        for _, _, off_price, commission, off_size in paid:
            assert abs(off_price) < 1e-9
            assert commission == 0.0
            assert abs(off_size) < 1e-9
        assert max(abs(gap) for _, gap in gaps_of_cash(rolled.database)) < CENT
        assert max(abs(gap) for _, gap in gaps_of_positions(rolled.database)) < 1e-6
        assert query(
            rolled.database,
            "SELECT max(abs(h.quantity)) FROM tt_holdings h JOIN tt_portfolio p ON p.id = h.portfolio_id "
            "WHERE h.instrument = 'IBM' AND p.timestamp >= %s",
            CLOSED,
        ) == [(0.0,)]
        # Closed, so every check of every episode held.
        assert query(rolled.database, "SELECT count(*) FROM tt_episode WHERE end_time IS NULL") == [(0,)]
