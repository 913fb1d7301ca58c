"""A trained agent as bytes and JSON, and back.

An agent acts in plain NumPy, float64, without BLAS. The recorded actions then replay to the last bit
whatever the number of threads, and rolling an episode needs no torch. Nothing here is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.errors import ConfigError, PolicyMismatch
from tt_assets.trading.panel import Floats, MarketPanel

FORMAT = 2
"""Raised when the stored form changes."""

_KEYS = {"format", "trading", "network", "channels", "instruments", "scaler", "seed", "training", "reward", "versions"}


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """Shape of the agent's network: `inputs` → tanh layers `hidden` → `outputs`; float32 tensors by name.

    With `choices` there are that many scores per instrument and the agent takes the highest; without, an output per
    instrument is its mean action, cut to `lowest` … 1.
    """

    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    choices: int
    lowest: float

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of a Stable-Baselines3 `MlpPolicy` of this shape, with a value head.

        Actions that are numbers have a diagonal Gaussian, whose `log_std` is a tensor of its own.
        """
        shapes: dict[str, tuple[int, ...]] = {} if self.choices else {"log_std": (self.outputs,)}
        for part in ("policy_net", "value_net"):
            width = self.inputs
            for layer, units in enumerate(self.hidden):
                shapes[f"mlp_extractor.{part}.{2 * layer}.weight"] = (units, width)
                shapes[f"mlp_extractor.{part}.{2 * layer}.bias"] = (units,)
                width = units
        for head, units in (("action_net", self.outputs), ("value_net", 1)):
            shapes[f"{head}.weight"] = (units, width)
            shapes[f"{head}.bias"] = (units,)
        return shapes


@dataclasses.dataclass(frozen=True)
class TrainedPolicy:
    """A trained agent: safetensors `weights`, everything else in `config_json`, and the SHA-256 of the two."""

    weights: bytes
    config_json: str
    sha256: str

    @cached_property
    def _stored(self) -> dict[str, Any]:
        stored: dict[str, Any] = json.loads(self.config_json)
        return stored

    @cached_property
    def config(self) -> TradingConfig:
        """The settings the agent was trained with."""
        return TradingConfig.from_mapping(self._stored["trading"])

    @cached_property
    def network(self) -> Network:
        """Shape of the network."""
        shape = self._stored["network"]
        if set(shape) != {field.name for field in dataclasses.fields(Network)}:
            raise ValueError(f"network has the keys {', '.join(sorted(shape))}")
        return Network(**{**shape, "hidden": tuple(shape["hidden"])})

    @cached_property
    def scaler(self) -> Scaler:
        """Statistics of the training span."""
        stored = self._stored["scaler"]
        shape = (len(self.instruments), len(self.channels))
        return Scaler(
            mean=np.array(stored["mean"], dtype=np.float64).reshape(shape),
            std=np.array(stored["std"], dtype=np.float64).reshape(shape),
        )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels in the order the network reads them."""
        return tuple(self._stored["channels"])

    @property
    def instruments(self) -> tuple[str, ...]:
        """Instruments in the order the network reads and weighs them."""
        return tuple(self._stored["instruments"])

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return int(self._stored["seed"])

    @cached_property
    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """The weights by name. Names, shapes and type must be those of the network; else PolicyMismatch."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = load(self.weights)
        except SafetensorError as error:
            raise PolicyMismatch(f"the policy's weights are no safetensors file ({error}); train it again.") from None
        expected = self.network.shapes()
        for name in sorted(set(expected) | set(tensors)):
            if name not in tensors or name not in expected:
                what = "lack" if name not in tensors else "hold an unknown"
                raise PolicyMismatch(f"the policy's weights {what} tensor {name}; train it again.")
            if tensors[name].shape != expected[name] or tensors[name].dtype != np.float32:
                raise PolicyMismatch(
                    f"the policy's tensor {name} is {tensors[name].dtype} {tensors[name].shape}, its config says "
                    f"float32 {expected[name]}; train it again."
                )
        return tensors

    @cached_property
    def _layers(self) -> list[tuple[Floats, Floats]]:
        names = [f"mlp_extractor.policy_net.{2 * layer}" for layer in range(len(self.network.hidden))] + ["action_net"]
        return [
            (self.tensors[f"{name}.weight"].astype(np.float64), self.tensors[f"{name}.bias"].astype(np.float64))
            for name in names
        ]

    def act(self, observation: npt.NDArray[np.float32]) -> Floats:
        """The likeliest action for one observation: a mean cut to its bounds, or a choice. Deterministic.

        Parameters
        ----------
        observation : of one account at a close (size, float32), scaled by `scaler`.

        Returns
        -------
        Raw action (N). NaN in an observation or a weight gives NaN, which no engine trades.
        """
        values = observation.astype(np.float64)
        for weight, bias in self._layers[:-1]:
            # einsum without `optimize` is NumPy's own loop: no BLAS, whose sums depend on threads and processor.
            values = np.tanh(np.einsum("oi,i->o", weight, values) + bias)
        weight, bias = self._layers[-1]
        outputs = np.einsum("oi,i->o", weight, values) + bias
        choices = self.network.choices
        if choices:
            scores = outputs.reshape(-1, choices)
            # argmax would take a NaN for the highest score.
            chosen: Floats = np.where(np.isfinite(scores).all(axis=1), scores.argmax(axis=1), np.nan)
            return chosen
        mean: Floats = np.clip(outputs, self.network.lowest, 1.0)
        return mean

    def check_fits(self, panel: MarketPanel) -> None:
        """PolicyMismatch naming the difference if `panel` offers other instruments or channels."""
        for what, own, offered in (
            ("instruments", self.instruments, panel.instruments),
            ("channels", self.channels, panel.feature_names),
        ):
            if own == offered:
                continue
            lacking, extra = sorted(set(own) - set(offered)), sorted(set(offered) - set(own))
            difference = "; ".join(
                text
                for text, names in (
                    (f"lacks {', '.join(lacking)}", lacking),
                    (f"adds {', '.join(extra)}", extra),
                    (f"orders them {', '.join(offered)} instead of {', '.join(own)}", not lacking and not extra),
                )
                if names
            )
            raise PolicyMismatch(
                f"the window's {what} differ from the policy's: it {difference}; train the policy again."
            )


def seal(weights: bytes, config_json: str) -> TrainedPolicy:
    """A policy with the digest of its content."""
    return TrainedPolicy(weights, config_json, digest(weights, config_json))


def digest(weights: bytes, config_json: str) -> str:
    """SHA-256 of the weights followed by config_json (UTF-8), hexadecimal."""
    return hashlib.sha256(weights + config_json.encode()).hexdigest()


def load_policy(weights: bytes, config_json: str, sha256: str, name: str = "the policy") -> TrainedPolicy:
    """The stored policy, checked whole: digest, format, settings, tensor names and shapes.

    Parameters
    ----------
    weights : safetensors file. Nothing of it is run or unpickled, and no module is imported for it.
    config_json : as `TrainedPolicy.config_json`.
    sha256 : digest of the two that was stored with them.
    name : what errors call the policy.

    Raises
    ------
    PolicyMismatch
        Anything differs: the row was changed, or another version wrote it.
    """
    weights = bytes(weights)
    actual = digest(weights, config_json)
    if actual != sha256:
        raise PolicyMismatch(
            f"{name}: sha256 of weights and config is {actual[:12]}…, the row says {sha256[:12]}…; "
            "the row was changed after training, train it again."
        )
    policy = TrainedPolicy(weights, config_json, sha256)
    try:
        stored = policy._stored  # noqa: SLF001 - of this module
        if not isinstance(stored, dict) or set(stored) != _KEYS:
            found = ", ".join(sorted(set(stored) ^ _KEYS)) if isinstance(stored, dict) else "no object"
            raise PolicyMismatch(f"config_json has other keys than a policy of format {FORMAT} ({found})")
        if stored["format"] != FORMAT:
            raise PolicyMismatch(f"its format is {stored['format']}, this version reads {FORMAT}")
        inputs = policy.config.observation_window * len(policy.instruments) * len(policy.channels)
        if policy.network.inputs != inputs + len(policy.instruments) + 1:
            raise PolicyMismatch(f"its network reads {policy.network.inputs} values, its channels give {inputs}")
        if policy.network.outputs != len(policy.instruments) * max(policy.network.choices, 1):
            raise PolicyMismatch(
                f"its network gives {policy.network.outputs} values for {len(policy.instruments)} instruments"
            )
        _ = policy.scaler, policy.tensors
    except PolicyMismatch as error:
        raise PolicyMismatch(f"{name}: {str(error).removeprefix('the policy: ')}") from None
    except (ConfigError, ValueError, KeyError, TypeError) as error:
        raise PolicyMismatch(f"{name}: config_json cannot be read ({error}); train it again.") from None
    return policy
