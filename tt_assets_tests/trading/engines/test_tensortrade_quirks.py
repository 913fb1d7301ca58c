"""What TensorTrade 1.0.4 does that the platform works around. A failing test means: take the work-around out."""

import ast
import importlib.util
import inspect
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tt_assets.trading.engines import tensortrade_parts as tt


def portfolio_of(prices: dict[str, list[float]], precision: int = 8, commission: float = 0.0, cash: float = 10_000):
    """TensorTrade's own exchange, wallets and observer over named price streams; an environment around them."""
    exchange = tt.Exchange("x", service=tt.execute_order, options=tt.ExchangeOptions(commission=commission))(
        *[tt.Stream.source(path, dtype="float").rename(f"USD-{name}") for name, path in prices.items()]
    )
    usd = tt.Instrument("USD", precision)
    instruments = {name: tt.Instrument(name, precision) for name in prices}
    wallets = {name: tt.Wallet(exchange, 0 * instrument) for name, instrument in instruments.items()}
    cash_wallet = tt.Wallet(exchange, cash * usd)
    portfolio = tt.Portfolio(usd, [cash_wallet, *wallets.values()])
    feed = tt.DataFeed([tt.Stream.source([0.0] * len(next(iter(prices.values()))), dtype="float").rename("row")])

    class Scheme(tt.TensorTradeActionScheme):
        registered_name = "actions"

        def __init__(self):
            super().__init__()
            self.portfolio = portfolio

        @property
        def action_space(self):
            from gymnasium import spaces

            return spaces.Discrete(1)

        def get_orders(self, action, portfolio):
            return list(action)

    class Reward(tt.TensorTradeRewardScheme):
        registered_name = "rewards"

        def get_reward(self, portfolio):
            return 0.0

    class Never(tt.Stopper):
        registered_name = "stopper"

        def stop(self, env):
            return False

    class Nothing(tt.Informer):
        registered_name = "monitor"

        def info(self, env):
            return {}

    env = tt.TradingEnv(
        action_scheme=Scheme(),
        reward_scheme=Reward(),
        observer=tt.TensorTradeObserver(portfolio=portfolio, feed=feed),
        stopper=Never(),
        informer=Nothing(),
        renderer=tt.EmptyRenderer(),
    )
    env.reset()

    def order(side, name: str, amount: float):
        pair = tt.ExchangePair(exchange, usd / instruments[name])
        source = usd if side is tt.TradeSide.BUY else instruments[name]
        return tt.Order(
            step=portfolio.clock.step,
            side=side,
            trade_type=tt.TradeType.MARKET,
            exchange_pair=pair,
            price=pair.price,
            quantity=Decimal(str(amount)) * source,
            portfolio=portfolio,
        )

    return env, portfolio, cash_wallet, wallets, order


def test_a_price_stream_is_chosen_by_the_end_of_its_name():
    env, portfolio, _, _, order = portfolio_of({"MSFT": [30.0] * 3, "T": [10.0] * 3})
    env.step([order(tt.TradeSide.BUY, "T", 1000.0)])
    # 100 shares of T at 10 USD are marked at the price of MSFT.
    assert portfolio.net_worth == pytest.approx(9_000 + 100 * 30)


def test_with_two_decimals_a_small_commission_is_rounded_up():
    env, _, cash, wallets, order = portfolio_of({"AAAA": [100.0] * 3}, precision=2, commission=0.001)
    env.step([order(tt.TradeSide.BUY, "AAAA", 3.5)])
    paid = 3.5 - float(wallets["AAAA"].balance.size) * 100
    assert paid / 3.5 > 0.0025
    assert cash.balance.as_float() == pytest.approx(9_996.5)


def test_an_order_locks_its_funds_when_it_is_built():
    _, _, cash, _, order = portfolio_of({"AAAA": [100.0] * 3})
    order(tt.TradeSide.BUY, "AAAA", 6_000.0)
    assert cash.balance.as_float() == 4_000.0
    assert cash.locked_balance.as_float() == 6_000.0


def test_a_buy_is_charged_on_the_outlay_not_on_the_notional():
    env, _, _, wallets, order = portfolio_of({"AAAA": [100.0] * 3}, precision=12, commission=0.001)
    env.step([order(tt.TradeSide.BUY, "AAAA", 1_000.0)])
    notional = wallets["AAAA"].balance.as_float() * 100.0
    assert notional == pytest.approx(999.0)
    assert (1_000.0 - notional) / notional == pytest.approx(1 / 999)


def test_buys_report_usd_and_sells_report_shares():
    env, _, _, _, order = portfolio_of({"AAAA": [100.0] * 4}, precision=12, commission=0.001)
    buy = order(tt.TradeSide.BUY, "AAAA", 1_000.0)
    env.step([buy])
    sell = order(tt.TradeSide.SELL, "AAAA", 5.0)
    env.step([sell])
    bought, sold = buy.trades[0], sell.trades[0]
    assert str(bought.quantity.instrument) == str(bought.commission.instrument) == "USD"
    assert str(sold.quantity.instrument) == str(sold.commission.instrument) == "AAAA"
    assert float(sold.commission.size) == pytest.approx(0.005)


def test_the_ledger_belongs_to_the_class_and_is_shared_by_all_environments():
    env, portfolio, *_, order = portfolio_of({"AAAA": [100.0] * 3})
    _, other, *_ = portfolio_of({"BBBB": [100.0] * 3})
    before = len(other.ledger.transactions)
    env.step([order(tt.TradeSide.BUY, "AAAA", 100.0)])
    assert portfolio.ledger is other.ledger
    assert len(other.ledger.transactions) > before


def test_stepping_past_the_end_repeats_the_last_row_silently():
    env, portfolio, *_, order = portfolio_of({"AAAA": [100.0, 101.0, 105.0]})
    env.step([order(tt.TradeSide.BUY, "AAAA", 10_000.0)])
    env.step([])
    assert not env.observer.has_next()
    worth = portfolio.net_worth
    for _ in range(3):
        *_, terminated, truncated, _ = env.step([])
        assert not terminated
        assert not truncated
        assert portfolio.net_worth == worth


def test_executed_orders_are_kept_for_ever():
    env, *_, order = portfolio_of({"AAAA": [100.0] * 9})
    for _ in range(5):
        env.step([order(tt.TradeSide.BUY, "AAAA", 10.0)])
    assert len(env.action_scheme.broker.executed) == 5


def test_reset_takes_a_seed_and_does_not_use_it():
    tree = ast.parse(inspect.getsource(tt.TradingEnv.reset).lstrip())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "seed"]


def test_a_price_of_nothing_is_refused_so_an_unlisted_instrument_needs_a_placeholder():
    *_, order = portfolio_of({"AAAA": [0.0] * 3})
    with pytest.raises(ValueError, match="is 0"):
        order(tt.TradeSide.BUY, "AAAA", 10.0)
    env, portfolio, *_ = portfolio_of({"AAAA": [float("nan")] * 3})
    env.step([])
    assert portfolio.net_worth != portfolio.net_worth


def test_the_root_package_imports_its_agents_and_an_empty_module_in_their_place_is_enough():
    source = Path(importlib.util.find_spec("tensortrade").origin).read_text(encoding="utf-8")
    assert "from . import agents" in source
    code = (
        "import sys, tt_assets.trading.engines.tensortrade_env; "
        "assert not hasattr(sys.modules['tensortrade.agents'], '__path__'); "
        "assert not {'tensorflow', 'torch', 'stable_baselines3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
