"""Tables with a little of everything that a page shows, by hand: two instruments, one portfolio, one window."""

from __future__ import annotations

import json
from datetime import date, datetime

from tt_assets.market.calendar import sessions
from tt_assets.postgres.database import Database
from tt_assets.postgres.trials import Trial, register

TRADED = "pair <&'\">"
"""A name that would break a page which does not escape."""
NAMES = ("AAPL", "BRK B")
DAYS = [datetime(day.year, day.month, day.day) for day in sessions(date(2012, 1, 3), date(2012, 6, 29))]
WINDOW = date(2012, 4, 1)
STEPS = [day for day in DAYS if day.date() >= WINDOW]
RULE = "The lead is not told from chance."
REASON = "price not finite and positive -1.0"


def fill(database: Database) -> None:
    """Write them into empty tables."""
    config = json.dumps({"trading": {"initial_cash": 10_000.0}, "borrow_fees_usd": 0.0, "sessions": len(STEPS)})
    trial = register(database, Trial(TRADED, {"trading": {"agent": "ppo"}}, "code", "bars", [WINDOW], [0, 1]))
    with database.connect() as connection, connection.cursor() as cursor:
        for number, name in enumerate(NAMES, start=1):
            bars = [(name, day, 10.0 * number + place % 7, place) for place, day in enumerate(DAYS)]
            cursor.executemany(
                "INSERT INTO tt_prices (instrument, timestamp, open, high, low, close, volume) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [(own, day, price, price + 1, price - 1, price + 0.5, 1e6 + at) for own, day, price, at in bars],
            )
            cursor.executemany(
                "INSERT INTO tt_features (instrument, timestamp, feature, value) VALUES (%s, %s, 'return_1', %s)",
                [(own, day, (at % 5 - 2) / 100) for own, day, _, at in bars],
            )
            cursor.executemany(
                "INSERT INTO tt_signal_scores (instrument, timestamp, signal_name, score, meta_json) "
                "VALUES (%s, %s, 'momentum_20d', %s, '{}')",
                [(own, day, (at % 9 - 4) / 4) for own, day, _, at in bars],
            )
            changed = json.dumps({"was": {"close": 9.0}, "now": {"close": 9.5}, "cause": "revision"})
            failed = json.dumps({"reason": REASON})
            cursor.executemany(
                'INSERT INTO tt_slice (table_name, date, instrument, rows, digest, "fetch", written_at, outcome, '
                "tries, told, written_in, changed, failure) "
                "VALUES ('tt_prices', %s, %s, %s, %s, 1, now(), 'loaded', 0, true, 1, %s, %s)",
                [(day, own, 0 if at == 3 else 1, "ab" * 16, changed if at == 5 else None, failed if at == 3 else None)
                 for own, day, _, at in bars],
            )  # fmt: skip
        told = {"rules": [{"name": "paired", "held": False, "figure": "p 0.3", "threshold": "p 0.05", "words": RULE}]}
        cursor.execute(
            "INSERT INTO tt_promotion (instrument, trial_id, decided_at, promoted, rule_version, rules_json, "
            "agents_json, bars, last_session, expires) VALUES (%s, %s, now(), false, '1', %s, '{}', '', %s, %s)",
            [TRADED, trial, json.dumps({**told, "refusal": "no"}), DAYS[-1], DAYS[-1]],
        )
        for strategy, seed in (("agent", 0), ("agent", 1), ("equal_weight_hold", 0), ("ensemble", 0)):
            ((episode,),) = cursor.execute(
                "INSERT INTO tt_episode (window_start, instrument, strategy, seed, start_time, end_time, stop_reason, "
                "max_drawdown, sharpe_ratio, turnover, config_json) VALUES (%s, %s, %s, %s, %s, %s, "
                "'evaluation_complete', 0.1, 1.0, 0.05, %s) RETURNING id",
                [WINDOW, TRADED, strategy, seed, STEPS[0], STEPS[-1], config],
            ).fetchall()
            for at, day in enumerate(STEPS):
                worth = 10_000.0 * (1 + 0.001 * at * (5 if strategy == "ensemble" else seed + 1))
                cursor.execute(
                    "INSERT INTO tt_equity_curve (episode_id, timestamp, net_worth) VALUES (%s, %s, %s)",
                    [episode, day, worth],
                )
                ((portfolio,),) = cursor.execute(
                    "INSERT INTO tt_portfolio (episode_id, timestamp, net_worth, cash_balance) "
                    "VALUES (%s, %s, %s, 100) RETURNING id",
                    [episode, day, worth],
                ).fetchall()
                for name in NAMES:
                    cursor.execute(
                        "INSERT INTO tt_holdings (portfolio_id, instrument, quantity) VALUES (%s, %s, 10)",
                        [portfolio, name],
                    )
                if at == len(STEPS) - 1:
                    break
                for name, weight in (*((name, 0.4) for name in NAMES), ("CASH", 0.2)):
                    cursor.execute(
                        "INSERT INTO tt_target_weights (episode_id, timestamp, instrument, target_weight, strategy, "
                        "rationale) VALUES (%s, %s, %s, %s, 'volatility_target', '<script>alert(1)</script>')",
                        [episode, day, name, weight],
                    )
                for name in NAMES:
                    cursor.execute(
                        "INSERT INTO tt_action (episode_id, timestamp, instrument, action_value) "
                        "VALUES (%s, %s, %s, 1)",
                        [episode, day, name],
                    )
                    if at in (0, 5):
                        sold = "delisted_sell" if name == NAMES[-1] else "sell"
                        cursor.execute(
                            "INSERT INTO tt_order (episode_id, timestamp, instrument, order_type, size, price, "
                            "commission) VALUES (%s, %s, %s, %s, %s, 11, 3)",
                            [episode, STEPS[at + 1], name, "buy" if at == 0 else sold, 10.0 if at == 0 else 4.0],
                        )
                cursor.execute(
                    "INSERT INTO tt_reward (episode_id, timestamp, reward_value) VALUES (%s, %s, 0.5)", [episode, day]
                )
                cursor.execute(
                    "INSERT INTO tt_observation (episode_id, timestamp, features) VALUES (%s, %s, %s)",
                    [episode, day, json.dumps({f"{name} return_1 t": 0.5 for name in NAMES})],
                )
