"""The shared encoder in torch, as Stable-Baselines3's PPO trains it. Imports both: import this module where needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from tt_assets.trading.agents.networks import SharedEncoder

FIRST_BIAS = 0.2
"""Where the mean action of numbers starts: mostly cash, with both bounds in reach of exploration."""
FIRST_SPREAD = 0.01
"""Standard deviation of the last layer's first weights: agents start alike, whatever they see."""


class SharedActor(nn.Module):
    """Encoder, head and critic of `SharedEncoder`; names and shapes of the first two are its tensors'.

    Parameters
    ----------
    network : the shapes.
    input_noise : standard deviation of the noise that the channels, not the held weights, carry in training mode; in
        units of scaled channels.
    """

    def __init__(self, network: SharedEncoder, input_noise: float) -> None:
        super().__init__()
        self.network = network
        self.input_noise = input_noise
        own, units, said = network.window * network.channels + 2, network.hidden, max(network.choices, 1)
        self.encoder = nn.Sequential(nn.Linear(own, units), nn.Tanh(), nn.Linear(units, units), nn.Tanh())
        read = 2 * units if network.pooled else units
        last = nn.Linear(units, said)
        self.head = nn.Sequential(nn.Linear(read, units), nn.Tanh(), last)
        self.critic = nn.Sequential(nn.Linear(own, units), nn.Tanh(), nn.Linear(units, 1))
        # What Stable-Baselines3 asks of an extractor: the sizes of what it gives the actor and the critic.
        self.latent_dim_pi, self.latent_dim_vf = network.instruments * said, 1
        nn.init.normal_(last.weight, std=FIRST_SPREAD)
        nn.init.constant_(last.bias, 0.0 if network.choices else FIRST_BIAS)

    def rows(self, observations: Tensor) -> Tensor:
        """B × N × inputs of one instrument: its channels, the weight held, the cash share."""
        batch, number = observations.shape[0], self.network.instruments
        block = self.network.window * number * self.network.channels
        channels = observations[:, :block].reshape(batch, self.network.window, number, self.network.channels)
        channels = channels.permute(0, 2, 1, 3).reshape(batch, number, -1)
        if self.input_noise and self.training:
            channels = channels + self.input_noise * torch.randn_like(channels)
        held = observations[:, block : block + number].unsqueeze(-1)
        cash = observations[:, -1:].unsqueeze(1).expand(batch, number, 1)
        return torch.cat([channels, held, cash], -1)

    def outputs(self, rows: Tensor) -> Tensor:
        """Mean actions (B × N), or scores (B × N·choices), from the rows of the instruments."""
        hidden = self.encoder(rows)
        if self.network.pooled:
            hidden = torch.cat([hidden, hidden.mean(1, keepdim=True).expand_as(hidden)], -1)
        outputs: Tensor = self.head(hidden).flatten(1)
        return outputs

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """What the actor and the critic say."""
        rows = self.rows(observations)
        return self.outputs(rows), self.critic(rows.mean(1))

    def forward_actor(self, observations: Tensor) -> Tensor:
        """What the actor says."""
        return self.outputs(self.rows(observations))

    def forward_critic(self, observations: Tensor) -> Tensor:
        """What the critic says."""
        value: Tensor = self.critic(self.rows(observations).mean(1))
        return value

    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """The actor's weights under the names of `SharedEncoder.shapes`."""
        return {
            name: np.ascontiguousarray(tensor.detach().numpy())
            for name, tensor in self.state_dict().items()
            if not name.startswith("critic.")
        }

    @classmethod
    def loaded(cls, network: SharedEncoder, tensors: Mapping[str, npt.NDArray[np.float32]]) -> Self:
        """The actor with stored weights, ready to be looked at or trained on; its critic is new."""
        actor = cls(network, input_noise=0.0)
        critic = {name: tensor for name, tensor in actor.state_dict().items() if name.startswith("critic.")}
        stored = {name: torch.from_numpy(tensor.copy()) for name, tensor in tensors.items()}
        actor.load_state_dict(critic | stored, strict=True)
        return actor.eval()


class CommonGaussian(DiagGaussianDistribution):
    """Actions a_i = m_i + σ_i (e_i + √c z) with e_i and z standard normal and z the same for all instruments.

    With independent noise alone the sum invested hardly moves where there are many instruments, and cash is never
    tried; z moves all of them together. The density is that of a normal distribution with covariance σ_i σ_j (δ_ij +
    c), whose inverse and determinant follow from Sherman and Morrison.

    Parameters
    ----------
    action_dim : N.
    common : c, at least 0; 0 is a diagonal Gaussian.
    """

    def __init__(self, action_dim: int, common: float) -> None:
        super().__init__(action_dim)
        self.common = common

    def proba_distribution(self, mean_actions: Tensor, log_std: Tensor) -> Self:
        """Set mean (B × N) and log σ (N)."""
        self.mean, self.log_std = mean_actions, log_std.expand_as(mean_actions)
        return self

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log density of `actions` (B)."""
        scaled = (actions - self.mean) * (-self.log_std).exp()
        number, common = scaled.shape[-1], self.common
        quadratic = (scaled * scaled).sum(-1) - common * scaled.sum(-1) ** 2 / (1.0 + common * number)
        constant = math.log1p(common * number) + number * math.log(2.0 * math.pi)
        return -0.5 * (quadratic + constant) - self.log_std.sum(-1)

    def entropy(self) -> Tensor:
        """Entropy in nats (B)."""
        number = self.log_std.shape[-1]
        constant = number * (1.0 + math.log(2.0 * math.pi)) + math.log1p(self.common * number)
        return self.log_std.sum(-1) + 0.5 * constant

    def sample(self) -> Tensor:
        """Actions drawn (B × N)."""
        together = torch.randn(self.mean.shape[0], 1)
        return self.mean + self.log_std.exp() * (torch.randn_like(self.mean) + math.sqrt(self.common) * together)

    def mode(self) -> Tensor:
        """The likeliest actions (B × N)."""
        return self.mean


class SharedPolicy(ActorCriticPolicy):
    """Stable-Baselines3's actor-critic over a `SharedActor`, which gives actions and value without a further layer.

    Parameters
    ----------
    *args : as of `ActorCriticPolicy`.
    network, input_noise : of the `SharedActor`.
    common : of `CommonGaussian`, where actions are numbers.
    **kwargs : as of `ActorCriticPolicy`.
    """

    def __init__(self, *args: Any, network: SharedEncoder, input_noise: float, common: float, **kwargs: Any) -> None:
        self._network, self._input_noise, self._common = network, input_noise, common
        kwargs["ortho_init"] = False  # the layers bring their own first weights
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = SharedActor(self._network, self._input_noise)  # type: ignore[assignment]

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        super()._build(lr_schedule)
        if not self._network.choices:
            self.action_dist = CommonGaussian(self._network.instruments, self._common)
        self.action_net = self.value_net = nn.Identity()  # type: ignore[assignment]
        # Anew: the optimizer that was built holds the layers that have just been taken out.
        options: dict[str, Any] = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(self.parameters(), **options)

    @property
    def actor(self) -> SharedActor:
        """The network that acts."""
        return self.mlp_extractor  # type: ignore[return-value]
