"""What of the past a walk-forward window may learn from: training, then validation, then an embargo, then the window.

The checkpoint of a training is chosen on the validation sessions, which stand after everything it
learned from and before the embargo, so the traded window decides nothing about the agent that trades it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tt_assets.trading.config import SIGMA_SESSIONS, TradingConfig, TrainingSpan
from tt_assets.trading.errors import NotEnoughHistory
from tt_assets.trading.panel import MarketPanel

MIN_TRAINING_SESSIONS = 42
"""Sessions at whose close at least one instrument can be held: two months, the shortest span worth learning from."""


@dataclass(frozen=True, eq=False)
class Split:
    """A training span cut in three, in order of time.

    Parameters
    ----------
    training : what is learned from.
    validation : what chooses the checkpoint; None where none is asked for.
    embargo : sessions after it that nothing reads.
    """

    training: MarketPanel
    validation: MarketPanel | None
    embargo: int


def split_span(panel: MarketPanel, config: TradingConfig) -> Split:
    """The panel's span cut into training, validation and embargo; it ends where the traded window begins.

    Parameters
    ----------
    panel : bars and channels; the span is from `panel.start` on. Validation reads the sessions before it as look-back.
    config : the last `embargo_sessions` are left out altogether, the `validation_sessions` before them choose the
        checkpoint.

    Raises
    ------
    NotEnoughHistory : nothing is left to train on.
    """
    sessions = len(panel.sessions) - panel.start
    reserved = config.embargo_sessions + config.validation_sessions
    if sessions <= reserved:
        raise not_enough(panel, config, 0)
    # By default the embargo is what an observation reads back, so that none of the window shows a bar of the training.
    stop = len(panel.sessions) - config.embargo_sessions
    trained = stop - config.validation_sessions
    return Split(
        training=panel.until(trained),
        validation=panel.until(stop, start=trained) if config.validation_sessions else None,
        embargo=config.embargo_sessions,
    )


def training_windows(window: int, train_windows: int, span: TrainingSpan) -> range:
    """Which windows an agent trains on.

    Parameters
    ----------
    window : the one it trades, counted from the first, which is 0.
    train_windows : how many it takes to train.
    span : rolling trains on the `train_windows` before it, anchored on all before it.

    Returns
    -------
    Numbers of windows; empty while there are fewer than `train_windows` before it.
    """
    if window < train_windows:
        return range(0)
    return range(window - train_windows if span is TrainingSpan.ROLLING else 0, window)


def not_enough(panel: MarketPanel, config: TradingConfig, usable: int) -> NotEnoughHistory:
    """The error for a span that is too short to train on.

    Parameters
    ----------
    panel, config : as of `train_policy`.
    usable : sessions of it that could be traded in training.
    """
    priced = panel.priced_sessions
    return NotEnoughHistory(
        f"training {', '.join(panel.instruments)} on {panel.span_text()}: {priced} sessions have prices and {usable} "
        f"can be traded after the {SIGMA_SESSIONS} that the volatility needs and before the "
        f"{config.validation_sessions} of validation and {config.embargo_sessions} of embargo; training needs "
        f"{MIN_TRAINING_SESSIONS}. Start the history earlier or choose a later window."
    )
