"""What a stored agent computes: from an observation to raw actions, in NumPy, float64, without BLAS.

Each network here is a frozen description of shapes that stands as JSON in an agent's config; its tensors are float32 in
safetensors. Sums run through `einsum`, whose order does not depend on threads, so recorded actions replay to the last
bit in any process. Torch is not needed to act.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

Tensors = Mapping[str, npt.NDArray[np.floating[Any]]]
Layer = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
Values = npt.NDArray[np.float64]

MOST_UNITS = 4_096
"""Units of a layer; a stored description beyond it is not one of ours."""


ACTIVATIONS = ("tanh", "relu")


@dataclass(frozen=True)
class Network(ABC):
    """Shape of an agent that reads `window` sessions of `channels` of each of `instruments`, held weights and cash.

    Parameters
    ----------
    instruments, channels, window : sizes of the observation: window · instruments · channels values, sessions oldest
        first, then the weight held of each instrument, then the share of cash (see `ObservationBuilder`).
    choices : how many actions are chosen from per instrument; 0 where actions are numbers.
    lowest : smallest raw action where actions are numbers; the largest is 1.
    """

    kind: ClassVar[str]

    instruments: int
    channels: int
    window: int
    choices: int
    lowest: float

    @property
    def inputs(self) -> int:
        """Values in an observation."""
        return self.window * self.instruments * self.channels + self.instruments + 1

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor by name with its shape."""

    @abstractmethod
    def outputs(self, tensors: Tensors, observation: npt.NDArray[np.float32]) -> Values:
        """What the network says of each instrument.

        Parameters
        ----------
        tensors : by name, as `shapes` says; float32 or float64.
        observation : of one account at a close (inputs, float32), scaled.

        Returns
        -------
        N mean actions, or N × choices scores, flat; float64. NaN in gives NaN.
        """

    def act(self, tensors: Tensors, observation: npt.NDArray[np.float32]) -> Values:
        """The likeliest action per instrument: a mean cut to its bounds, or the choice of the highest score.

        Parameters
        ----------
        tensors, observation : as of `outputs`.

        Returns
        -------
        Raw action (N), the same for the same bits. NaN where a value that is not finite leaves it open.
        """
        outputs = self.outputs(tensors, observation)
        if self.choices:
            scores = outputs.reshape(-1, self.choices)
            # argmax would take a NaN for the highest score.
            return np.where(np.isfinite(scores).all(axis=1), scores.argmax(axis=1), np.nan)
        return np.clip(outputs, self.lowest, 1.0)

    def to_mapping(self) -> dict[str, Any]:
        """The description as it stands in an agent's config."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """The description out of an agent's config.

        Raises
        ------
        ValueError : a key too many or too few, or a size that cannot be.
        """
        names = {field.name for field in fields(cls)}
        if set(stored) - {"kind"} != names:
            raise ValueError(f"network has the keys {', '.join(sorted(stored))}")
        for name, value in stored.items():
            sizes = value if isinstance(value, list | tuple) else [value]
            # `type` and not isinstance: JSON knows true, which is an int to Python and no size.
            if name not in ("kind", "lowest", "activation") and not all(
                type(size) is int and 0 <= size <= MOST_UNITS * MOST_UNITS for size in sizes
            ):
                raise ValueError(f"network has {name} {value!r}")
        if stored.get("activation", "tanh") not in ACTIVATIONS or not isinstance(stored["lowest"], int | float):
            raise ValueError(f"network has activation {stored.get('activation')!r} and lowest {stored['lowest']!r}")
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stored.items() if name in names
        }
        return cls(**given)


def _layer(tensors: Tensors, name: str) -> Layer:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    return weight.astype(np.float64, copy=False), bias.astype(np.float64, copy=False)


@dataclass(frozen=True)
class SharedEncoder(Network):
    """One encoder for all instruments, and a head that also reads the mean over them.

    h_i = tanh(E₂ tanh(E₁ x_i)) with x_i the channels of instrument i, its weight held and the cash share; the output of
    i is head(h_i, mean_j h_j), the mean left out where there is one instrument. Weights are shared, so their number
    does not grow with the instruments, and instruments in another order give the same actions in that order. (Deep
    Sets: Zaheer et al., "Deep Sets", NeurIPS 2017.)
    """

    kind: ClassVar[str] = "shared"

    hidden: int

    @property
    def pooled(self) -> bool:
        """Whether the head reads the mean over instruments."""
        return self.instruments > 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `Network`."""
        own, units = self.window * self.channels + 2, self.hidden
        read = 2 * units if self.pooled else units
        said = max(self.choices, 1)
        return {
            "encoder.0.weight": (units, own), "encoder.0.bias": (units,),
            "encoder.2.weight": (units, units), "encoder.2.bias": (units,),
            "head.0.weight": (units, read), "head.0.bias": (units,),
            "head.2.weight": (said, units), "head.2.bias": (said,),
        }  # fmt: skip

    def outputs(self, tensors: Tensors, observation: npt.NDArray[np.float32]) -> Values:
        """See `Network`."""
        number, block = self.instruments, self.instruments * self.channels * self.window
        seen = observation.astype(np.float64)
        channels = seen[:block].reshape(self.window, number, self.channels).transpose(1, 0, 2).reshape(number, -1)
        held = seen[block : block + number, None]
        own = np.concatenate([channels, held, np.full((number, 1), seen[-1])], axis=1)
        hidden = np.tanh(_dense(_layer(tensors, "encoder.0"), own))
        hidden = np.tanh(_dense(_layer(tensors, "encoder.2"), hidden))
        if self.pooled:
            mean = np.add.reduce(hidden, axis=0) / number
            hidden = np.concatenate([hidden, np.broadcast_to(mean, hidden.shape)], axis=1)
        hidden = np.tanh(_dense(_layer(tensors, "head.0"), hidden))
        outputs: Values = _dense(_layer(tensors, "head.2"), hidden).ravel()
        return outputs


def _dense(layer: Layer, rows: Values) -> Values:
    weight, bias = layer
    given: Values = np.einsum("oi,ni->no", weight, rows) + bias
    return given


@dataclass(frozen=True)
class Dense(Network):
    """Fully connected layers over the whole observation, weights separate for each instrument.

    Parameters
    ----------
    hidden : units of each hidden layer.
    activation : after each hidden layer, tanh or relu.
    squashed : 1: a tanh stands after the last layer, and its −1 … 1 is stretched to `lowest` … 1, as off-policy
        algorithms of Stable-Baselines3 do. 0: none does.
    """

    kind: ClassVar[str] = "dense"

    hidden: tuple[int, ...]
    activation: str
    squashed: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `Network`."""
        widths = [self.inputs, *self.hidden, self.instruments * max(self.choices, 1)]
        shapes: dict[str, tuple[int, ...]] = {}
        for place, (read, given) in enumerate(pairwise(widths)):
            shapes[f"layers.{place}.weight"] = (given, read)
            shapes[f"layers.{place}.bias"] = (given,)
        return shapes

    def outputs(self, tensors: Tensors, observation: npt.NDArray[np.float32]) -> Values:
        """See `Network`."""
        values: Values = observation.astype(np.float64)
        for place in range(len(self.hidden)):
            weight, bias = _layer(tensors, f"layers.{place}")
            values = np.einsum("oi,i->o", weight, values) + bias
            values = np.tanh(values) if self.activation == "tanh" else np.maximum(values, 0.0)
        weight, bias = _layer(tensors, f"layers.{len(self.hidden)}")
        values = np.einsum("oi,i->o", weight, values) + bias
        if self.squashed:
            values = self.lowest + 0.5 * (np.tanh(values) + 1.0) * (1.0 - self.lowest)
        return values


@dataclass(frozen=True)
class StoredMlp(Dense):
    """A dense tanh network under the tensor names of Stable-Baselines3's `MlpPolicy`, its value head with it.

    Agents trained before there was a choice of learners are stored so (format 2); they act as they always did.
    """

    kind: ClassVar[str] = "mlp"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `Network`. Actions that are numbers have a diagonal Gaussian, whose `log_std` is a tensor of its own."""
        outputs = self.instruments * max(self.choices, 1)
        shapes: dict[str, tuple[int, ...]] = {} if self.choices else {"log_std": (outputs,)}
        for part in ("policy_net", "value_net"):
            width = self.inputs
            for layer, units in enumerate(self.hidden):
                shapes[f"mlp_extractor.{part}.{2 * layer}.weight"] = (units, width)
                shapes[f"mlp_extractor.{part}.{2 * layer}.bias"] = (units,)
                width = units
        for head, units in (("action_net", outputs), ("value_net", 1)):
            shapes[f"{head}.weight"] = (units, width)
            shapes[f"{head}.bias"] = (units,)
        return shapes

    def outputs(self, tensors: Tensors, observation: npt.NDArray[np.float32]) -> Values:
        """See `Network`."""
        names = [f"mlp_extractor.policy_net.{2 * place}" for place in range(len(self.hidden))] + ["action_net"]
        renamed = {
            f"layers.{place}.{part}": tensors[f"{name}.{part}"]
            for place, name in enumerate(names)
            for part in ("weight", "bias")
        }
        return super().outputs(renamed, observation)


@dataclass(frozen=True)
class Forecast(Network):
    """A linear forecast of the next session's return, traded where it clears its costs.

    The forecast of instrument i is σ_i · (b · x_i + a) over its channels x_i of the deciding session. A full position
    is taken where it is above `cost`, none (or a short one, with `lowest` −1) where it is below −`cost`, and what is
    held is kept in between. `volatility` is the place of the channel that holds σ, undone by the scaler's statistics in
    `sigma.mean` and `sigma.std`; −1 takes the training span's σ of each instrument, which then stands in `sigma.mean`.
    """

    kind: ClassVar[str] = "forecast"

    reads_volatility: int

    HELD: ClassVar[float] = 1e-4
    """A weight of less than this is no position: rounding, and what is left of a sold one."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See `Network`."""
        number = self.instruments
        return {
            "coefficients": (self.channels,), "intercept": (1,), "cost": (1,),
            "volatility": (self.channels,), "sigma.mean": (number,), "sigma.std": (number,),
        }  # fmt: skip

    def outputs(self, tensors: Tensors, observation: npt.NDArray[np.float32]) -> Values:
        """See `Network`; with `choices` the scores of the choice that is taken are 1, those of the others 0."""
        number, row = self.instruments, self.instruments * self.channels
        block = row * self.window
        seen = observation.astype(np.float64)
        latest = seen[block - row : block].reshape(number, self.channels)
        wide = {name: tensor.astype(np.float64, copy=False) for name, tensor in tensors.items()}
        sigma = wide["sigma.mean"]
        if self.reads_volatility:
            sigma = np.maximum(np.einsum("f,nf->n", wide["volatility"], latest) * wide["sigma.std"] + sigma, 0.0)
        forecast = (np.einsum("f,nf->n", wide["coefficients"], latest) + wide["intercept"]) * sigma
        held = seen[block : block + number]
        kept = np.where(held > self.HELD, 1.0, np.where(held < -self.HELD, -1.0, 0.0))
        cost = wide["cost"]
        below = self.lowest if not self.choices else (-1.0 if self.choices > 2 else 0.0)
        wanted = np.where(forecast > cost, 1.0, np.where(forecast < -cost, below, kept))
        wanted = np.where(np.isfinite(forecast), wanted, np.nan)
        if not self.choices:
            return wanted
        chosen = np.where(wanted < 0.0, 2.0, wanted)  # flat, long, short
        return np.where(np.isnan(chosen)[:, None], np.nan, chosen[:, None] == np.arange(self.choices)).ravel()


NETWORKS: Mapping[str, type[Network]] = {network.kind: network for network in (SharedEncoder, Dense, Forecast)}
"""Networks by the `kind` that stands in an agent's config."""


def network_of(stored: Mapping[str, Any]) -> Network:
    """The network that an agent's config describes.

    Raises
    ------
    ValueError : its kind is unknown, or its description cannot be.
    """
    kind = stored.get("kind")
    if not isinstance(kind, str) or kind not in NETWORKS:
        raise ValueError(f"network {kind!r} is unknown; known are {', '.join(NETWORKS)}")
    return NETWORKS[kind].of(stored)
