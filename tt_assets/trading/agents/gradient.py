"""The gradient learner: the shared network up the gradient of the account's own net growth.

Prices do not answer a trader of this size, so growth over the training span is a known function of the weights held,
costs included, and can be differentiated through the action scheme. No returns have to be estimated by trying.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tt_assets.trading.agents.expected_costs import cost_rates
from tt_assets.trading.agents.learner import CurvePoint, Learned, Learner, Lesson
from tt_assets.trading.agents.networks import SharedEncoder
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.errors import ConfigError, NotFinite
from tt_assets.trading.panel import Floats, MarketPanel
from tt_assets.trading.rules.registry import action_scheme
from tt_assets.trading.rules.schemes import ActionScheme, scale_while_listed

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 200
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1.0
INPUT_NOISE = 0.6
ACTION_NOISE = 0.5
"""Standard deviation added to actions while learning: at a bound the gradient of the action itself is 0."""
SMALLEST_GROWTH = -0.9


class Gradient(Learner):
    """Gradient ascent on 100 × mean log growth a session, net of costs."""

    name: ClassVar[str] = "gradient"

    def check(self, config: TradingConfig) -> None:
        """See `Learner`."""
        scheme = action_scheme(config)
        if scheme.choices or type(scheme).weights is not ActionScheme.weights:
            raise ConfigError(
                f"agent gradient needs a scheme whose actions are numbers and weights conviction × scale; "
                f"{scheme.name} is none. Choose volatility_target or long_only_weights, or agent ppo."
            )

    def train(self, lesson: Lesson) -> Learned:
        """See `Learner`. Raises ConfigError for a scheme whose weights are not those of `ActionScheme.weights`."""
        config, scheme = lesson.config, action_scheme(lesson.config)
        self.check(config)
        import torch

        from tt_assets.trading.agents.shared_actor import SharedActor

        torch.manual_seed(lesson.seed)
        panel = lesson.split.training
        network = SharedEncoder(**lesson.shape(scheme), hidden=config.hidden_units)
        actor = SharedActor(network, INPUT_NOISE).train()
        acting = [*actor.encoder.parameters(), *actor.head.parameters()]
        optimizer = torch.optim.AdamW(acting, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        first, last = lesson.first, len(panel.sessions) - 2
        rows = slice(first, last)
        seen = _windows(lesson, rows)
        # Row t of either is of the decision at t, which fills in the session after and at its costs.
        held_at_most, costs = scale_while_listed(scheme, panel, config), _next(cost_rates(panel, config))
        scale, rates = (_tensor(values[rows]) for values in (held_at_most, costs))
        earned = _tensor(earned_between_fills(panel, lesson)[rows])

        def weights(actions: Tensor) -> Tensor:
            wanted = actions.clamp(scheme.lowest, 1.0) * scale
            gross = wanted.abs().sum(-1, keepdim=True).clamp(min=1e-9)
            return wanted * (scheme.max_leverage / gross).clamp(max=1.0)

        def observed(held: Tensor, noise: float) -> Tensor:
            channels = seen + noise * torch.randn_like(seen) if noise else seen
            cash = (1.0 - held.sum(1))[:, None, None].expand(-1, network.instruments, 1)
            return torch.cat([channels, held.unsqueeze(-1), cash], -1)

        held = torch.zeros_like(scale)
        curve: list[CurvePoint] = []
        for step in range(STEPS):
            actions = actor.outputs(observed(held, INPUT_NOISE))
            target = weights(actions + ACTION_NOISE * torch.randn_like(actions))
            with torch.no_grad():
                # What the agent as it is now would come to each session with: its own weights of the one before.
                own = weights(actor.outputs(observed(held, 0.0)))
                held = torch.cat([torch.zeros_like(own[:1]), own[:-1]])
            net = (target * earned).sum(-1) - (rates * (target - held).abs()).sum(-1)
            growth = 100.0 * torch.log1p(net.clamp(min=SMALLEST_GROWTH)).mean()
            if not torch.isfinite(growth):
                raise NotFinite(f"the growth of step {step} of the training is {float(growth)}; check the bars.")
            optimizer.zero_grad()
            (-growth).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % 10 == 9:
                curve.append((step + 1, float(growth.detach()), None))
                lesson.tell(step + 1, STEPS)
        return Learned(network, actor.tensors(), STEPS, STEPS, curve=curve)


def earned_between_fills(panel: MarketPanel, lesson: Lesson) -> Floats:
    """Return of holding an instrument from the fill after the decision at t to the fill after that at t+1.

    Parameters
    ----------
    panel : bars of the training span (T × N).
    lesson : its config says whether fills are at the open or the close.

    Returns
    -------
    T × N, fractions; row t is known in t+2 only. Where nothing fills a position is worth its last mark. The last two
    rows, whose fills are unknown, are 0.
    """
    fills = panel.fill_prices(lesson.config.execution)
    price = np.where(np.isfinite(fills), fills, panel.marks)
    earned = np.zeros_like(price)
    np.divide(price[2:], price[1:-1], out=earned[:-2], where=price[1:-1] > 0.0)
    earned[:-2] = np.where(price[1:-1] > 0.0, earned[:-2] - 1.0, 0.0)
    return np.nan_to_num(earned)


def _next(rows: Floats) -> Floats:
    return np.concatenate([rows[1:], rows[-1:]])


def _tensor(values: Floats) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _windows(lesson: Lesson, rows: slice) -> Tensor:
    """Scaled channels of the sessions of an observation (T × N × W·F), as the shared encoder reads them."""
    panel, window = lesson.split.training, lesson.config.observation_window
    scaled = lesson.scaler.scale(panel.features)
    before = np.zeros((window - 1, *scaled.shape[1:]), dtype=scaled.dtype)
    padded = np.concatenate([before, scaled])
    lagged = [padded[place : place + len(scaled)] for place in range(window)]
    return _tensor(np.concatenate(lagged, axis=-1)[rows])
