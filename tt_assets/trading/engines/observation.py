"""What the agent sees, built by one class for both engines.

At the close of session t: for the last W sessions (oldest first) and each instrument its channels, then each
instrument's current weight, then the share of cash. Channels are scaled by the mean and standard deviation of the
training span only; a NaN (warm-up, not listed yet) becomes 0, the mean, after scaling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tt_assets.trading.panel import Floats, MarketPanel

Observation = npt.NDArray[np.float32]
"""What one account sees at one close (size); `ObservationBuilder.names` says what each element is."""

CLIP = 10.0
"""Scaled channels are cut here: an outlier should be large, not decide everything."""


@dataclass(frozen=True, eq=False)
class Scaler:
    """Statistics of the training span, by which every observation of an agent is scaled.

    Parameters
    ----------
    mean, std : per instrument and channel (N × F), in the channel's unit; `std` is above 0.
    clip : scaled values are cut to ± this many standard deviations.
    """

    mean: Floats
    std: Floats
    clip: float = CLIP

    @classmethod
    def unscaled(cls, panel: MarketPanel) -> Scaler:
        """Values as they are, for who learns from none; unknown ones are 0 all the same."""
        shape = panel.features.shape[1:]
        return cls(np.zeros(shape), np.ones(shape), np.inf)

    @classmethod
    def fit(cls, panel: MarketPanel) -> Scaler:
        """Statistics (ddof 0) of the panel's span, look-back left out.

        Where an instrument has fewer than two values of a channel, all instruments' values of that channel are pooled;
        where there are none at all, mean 0 and standard deviation 1. A channel that does not vary has standard
        deviation 1.
        """
        span = panel.features[panel.start :]
        mean, std, count = _moments(span, axis=0)
        pooled_mean, pooled_std, _ = _moments(span.reshape(span.shape[0] * span.shape[1], span.shape[2]), axis=0)
        # An instrument listed at the end of training has no statistics of its own; those of its peers are nearest.
        few = count < 2
        mean = np.where(few, pooled_mean, mean)
        std = np.where(few, pooled_std, std)
        # Rounding leaves a little variance in a constant; what is that far below the mean is no variation.
        constant = std <= 1e-12 * np.maximum(np.abs(mean), 1e-12)
        return cls(mean=mean, std=np.where(constant, 1.0, std))

    def scale(self, features: Floats) -> npt.NDArray[np.float32]:
        """(value − mean) / std, cut to ±10, NaN as 0 (T × N × F)."""
        scaled = np.clip((features - self.mean) / self.std, -self.clip, self.clip)
        return np.where(np.isfinite(features), scaled, 0.0).astype(np.float32)


def _moments(values: Floats, axis: int) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Mean, standard deviation (ddof 0) and number of the finite values; 0, 0 and 0 where there are none."""
    finite = np.isfinite(values)
    count = finite.sum(axis=axis)
    divisor = np.maximum(count, 1)
    mean = np.where(finite, values, 0.0).sum(axis=axis) / divisor
    deviation = np.where(finite, values - mean, 0.0)
    return mean, np.sqrt((deviation * deviation).sum(axis=axis) / divisor), count


class ObservationBuilder:
    """Observations over a panel, float32, of length W · N · F + N + 1. Attributes: `size`, and `names` of the elements.

    Parameters
    ----------
    panel : channels (T × N × F); an observation at row t reads rows t − W + 1 … t, rows before the first are unknown.
    scaler : statistics of the training span (N × F); unknown values (NaN) are 0 after scaling.
    window : W, sessions that an observation shows, the deciding one included.
    """

    def __init__(self, panel: MarketPanel, scaler: Scaler, window: int) -> None:
        sessions, instruments, channels = panel.features.shape
        self.window = window
        self.scaled = scaler.scale(panel.features)
        row = instruments * channels
        self.size = window * row + instruments + 1
        # One row per session with the window laid out and room for the account: an observation is then one copy.
        # Sessions before the panel begins are unknown: 0, as every unknown.
        self._rows = np.zeros((sessions, self.size), dtype=np.float32)
        flat = self.scaled.reshape(sessions, row)
        for place in range(window):
            lag = window - 1 - place
            self._rows[lag:, place * row : (place + 1) * row] = flat[: max(sessions - lag, 0)]
        self.names: tuple[str, ...] = (
            *(
                f"{instrument} {channel} t" + (f"-{lag}" if lag else "")
                for lag in reversed(range(window))
                for instrument in panel.instruments
                for channel in panel.feature_names
            ),
            *(f"{instrument} weight" for instrument in panel.instruments),
            "cash share",
        )

    def observe(
        self,
        session: npt.NDArray[np.int64],
        weights: Floats,
        cash_share: Floats,
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """What accounts see at a close.

        Parameters
        ----------
        session : row of the panel for each account (B).
        weights : what each account holds (B × N), shares of net worth at that close.
        cash_share : the rest (B).
        out : where to write (B × size); a new array when None.

        Returns
        -------
        B × size, float32, without NaN where the account's books have none.
        """
        return self.observe_books(session, weights, cash_share, np.ones_like(cash_share), out)

    def observe_books(
        self,
        session: npt.NDArray[np.int64],
        positions: Floats,
        cash: Floats,
        net_worth: Floats,
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """As `observe`, from the books of the accounts at that close.

        Parameters
        ----------
        session : row of the panel for each account (B).
        positions : USD at the mark (B × N).
        cash, net_worth : USD (B).
        out : where to write (B × size); a new array when None.

        Returns
        -------
        B × size, float32, without NaN where the books have none.
        """
        from tt_assets.trading import kernels

        observation = np.empty((len(session), self.size), dtype=np.float32) if out is None else out
        kernels.observe(self._rows, session, positions, cash, net_worth, observation)
        return observation
