"""A trained agent as bytes and JSON, and back.

An agent acts in plain NumPy, float64, without BLAS. The recorded actions then replay to the last bit
whatever the number of threads, and rolling an episode needs no torch. Nothing here is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tt_assets.trading.agents.networks import Network, StoredMlp, network_of
from tt_assets.trading.config import TradingConfig
from tt_assets.trading.engines.observation import Scaler
from tt_assets.trading.errors import ConfigError, PolicyMismatch
from tt_assets.trading.panel import Floats, MarketPanel

FORMAT = 3
"""Raised when the stored form changes."""

_KEYS = {
    2: {"format", "trading", "network", "channels", "instruments", "scaler", "seed", "training", "reward", "versions"},
    3: {"format", "agent", "trading", "network", "channels", "instruments", "scaler", "seed", "training", "versions"},
}
"""Keys of config_json by format. Agents of format 2 are still read: they roll and replay as they did."""

_MOST_OF_A_TENSOR = 500
"""Bytes that the header of a safetensors file takes for a tensor beside its name; its type, shape and place are 100."""


@dataclasses.dataclass(frozen=True)
class TrainedPolicy:
    """A trained agent.

    Parameters
    ----------
    weights : safetensors file, float32.
    config_json : everything else: settings, network, channels, instruments, scaler, seed, how it was trained.
    sha256 : of the two, as `digest` says.
    """

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
        """Shape of the network.

        Raises
        ------
        ValueError : the description in config_json cannot be.
        """
        shape = self._stored["network"]
        if self._stored["format"] > 2:
            return network_of(shape)
        if set(shape) != {"inputs", "hidden", "outputs", "choices", "lowest"}:
            raise ValueError(f"network has the keys {', '.join(sorted(shape))}")
        return StoredMlp(
            instruments=len(self.instruments),
            channels=len(self.channels),
            window=self.config.observation_window,
            choices=shape["choices"],
            lowest=shape["lowest"],
            hidden=tuple(shape["hidden"]),
            activation="tanh",
            squashed=0,
        )

    @property
    def agent(self) -> str:
        """Name of the learner that trained it; agents of format 2 are PPO's."""
        return str(self._stored.get("agent", "ppo"))

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
        """The weights by name.

        Raises
        ------
        PolicyMismatch : they are no safetensors file, or names, shapes or type are not those of the network.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        expected = self.network.shapes()
        header = int.from_bytes(self.weights[:8], "little")
        most = sum(_MOST_OF_A_TENSOR + len(name) for name in expected)
        if most < header <= len(self.weights):  # 300,000 tensors would be read for six seconds, only to be refused
            raise PolicyMismatch(
                f"the policy's weights have a header of {header:,} bytes, its {len(expected)} tensors need {most:,} at "
                "most; train it again."
            )
        try:
            tensors = load(self.weights)
        except SafetensorError as error:
            raise PolicyMismatch(f"the policy's weights are no safetensors file ({error}); train it again.") from None
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

    def act(self, observation: npt.NDArray[np.float32]) -> Floats:
        """The likeliest action for one observation: a mean cut to its bounds, or a choice. Deterministic.

        Parameters
        ----------
        observation : of one account at a close (size, float32), scaled by `scaler`.

        Returns
        -------
        Raw action (N). NaN in an observation or a weight gives NaN, which no engine trades.
        """
        return self.network.act(self._wide, observation)

    @cached_property
    def _wide(self) -> dict[str, Floats]:
        """The weights in double precision, converted once."""
        return {name: tensor.astype(np.float64) for name, tensor in self.tensors.items()}

    def check_fits(self, panel: MarketPanel) -> None:
        """Refuse a panel that offers other instruments or channels than the agent reads, or in another order.

        Raises
        ------
        PolicyMismatch : names the difference.
        """
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
    """A policy with the digest of its content.

    Parameters
    ----------
    weights, config_json : as of `TrainedPolicy`.
    """
    return TrainedPolicy(weights, config_json, digest(weights, config_json))


def digest(weights: bytes, config_json: str) -> str:
    """SHA-256 of the weights followed by config_json (UTF-8), hexadecimal.

    Parameters
    ----------
    weights, config_json : as of `TrainedPolicy`.
    """
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
        form = stored.get("format") if isinstance(stored, dict) else None
        if form not in _KEYS:
            raise PolicyMismatch(f"its format is {form}, this version reads {' and '.join(map(str, _KEYS))}")
        if set(stored) != _KEYS[form]:
            found = ", ".join(sorted(set(stored) ^ _KEYS[form]))
            raise PolicyMismatch(f"config_json has other keys than a policy of format {form} ({found})")
        network = policy.network
        if form == 2:
            _check_sizes_of_format_2(stored["network"], network)
        read = (len(policy.instruments), len(policy.channels), policy.config.observation_window)
        shape = (network.instruments, network.channels, network.window)
        if shape != read:
            raise PolicyMismatch(
                "its network reads {} instruments, {} channels and {} sessions, its config names {}, {} and {}".format(
                    *shape, *read
                )
            )
        # Both are read when they are first asked for; here an error can still name the row.
        _ = policy.scaler, policy.tensors
    except PolicyMismatch as error:
        raise PolicyMismatch(f"{name}: {str(error).removeprefix('the policy: ')}") from None
    except (ConfigError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PolicyMismatch(f"{name}: config_json cannot be read ({error}); train it again.") from None
    return policy


def _check_sizes_of_format_2(shape: Mapping[str, Any], network: Network) -> None:
    if shape["inputs"] != network.inputs:
        raise PolicyMismatch(f"its network reads {shape['inputs']} values, its channels give {network.inputs}")
    outputs = network.instruments * max(network.choices, 1)
    if shape["outputs"] != outputs:
        raise PolicyMismatch(f"its network gives {shape['outputs']} values for {network.instruments} instruments")
