"""Stored networks against torch, and against what must hold of them whatever their weights are."""

import numpy as np
import pytest

from tt_assets.trading.agents.networks import NETWORKS, Dense, Forecast, SharedEncoder, network_of

SHAPE = {"instruments": 4, "channels": 3, "window": 2, "choices": 0, "lowest": 0.0}


def weights(network, seed=0):
    random = np.random.default_rng(seed)
    return {name: random.normal(0, 0.7, shape).astype(np.float32) for name, shape in network.shapes().items()}


def observations(network, number=50):
    return np.random.default_rng(1).normal(size=(number, network.inputs)).astype(np.float32)


@pytest.mark.parametrize("choices", [0, 2, 3])
@pytest.mark.parametrize("instruments", [1, 4])
def test_the_shared_encoder_agrees_with_torch(choices, instruments):
    import torch

    from tt_assets.trading.agents.shared_actor import SharedActor

    network = SharedEncoder(**SHAPE | {"choices": choices, "instruments": instruments}, hidden=8)
    tensors, seen = weights(network), observations(network)
    with torch.no_grad():
        told = SharedActor.loaded(network, tensors).forward_actor(torch.from_numpy(seen)).numpy()
    np.testing.assert_allclose([network.outputs(tensors, row) for row in seen], told, atol=1e-5)
    acted = np.array([network.act(tensors, row) for row in seen])
    expected = told.reshape(50, instruments, choices).argmax(-1) if choices else told.clip(0.0, 1.0)
    np.testing.assert_allclose(acted, expected, atol=1e-5)


def test_instruments_in_another_order_get_the_same_actions_in_that_order():
    network = SharedEncoder(**SHAPE, hidden=8)
    tensors, seen, order = weights(network), observations(network, 1)[0], np.array([2, 0, 3, 1])
    channels = seen[:24].reshape(2, 4, 3)[:, order].ravel()
    permuted = np.concatenate([channels, seen[24:28][order], seen[28:]])
    np.testing.assert_allclose(network.act(tensors, permuted), network.act(tensors, seen)[order], atol=1e-12)


def test_the_number_of_weights_does_not_grow_with_the_instruments():
    sizes = {
        number: sum(
            np.prod(shape) for shape in SharedEncoder(**SHAPE | {"instruments": number}, hidden=16).shapes().values()
        )
        for number in (2, 200)
    }
    assert sizes[2] == sizes[200]


@pytest.mark.parametrize("squashed", [0, 1])
def test_dense_layers_agree_with_the_formula_written_out(squashed):
    network = Dense(**SHAPE | {"lowest": -1.0}, hidden=(5,), activation="relu", squashed=squashed)
    tensors, seen = weights(network), observations(network)
    hidden = np.maximum(seen @ tensors["layers.0.weight"].T + tensors["layers.0.bias"], 0.0)
    told = hidden @ tensors["layers.1.weight"].T + tensors["layers.1.bias"]
    expected = np.tanh(told) if squashed else told.clip(-1.0, 1.0)
    np.testing.assert_allclose([network.act(tensors, row) for row in seen], expected, atol=1e-5)


def test_a_forecast_is_traded_above_its_cost_and_kept_in_between():
    network = Forecast(**SHAPE | {"window": 1}, reads_volatility=0)
    tensors = {
        "coefficients": np.array([1, 0, 0], np.float32), "intercept": np.zeros(1, np.float32),
        "cost": np.array([0.001], np.float32), "volatility": np.zeros(3, np.float32),
        "sigma.mean": np.full(4, 0.01, np.float32), "sigma.std": np.zeros(4, np.float32),
    }  # fmt: skip
    channels = np.zeros((4, 3), np.float32)
    channels[:, 0] = (0.5, -0.5, 0.05, 0.05)  # forecasts of 50, −50, 5 and 5 basis points
    held = np.array([0.0, 0.3, 0.0, 0.3], np.float32)
    seen = np.concatenate([channels.ravel(), held, [0.4]]).astype(np.float32)
    np.testing.assert_array_equal(network.act(tensors, seen), [1.0, 0.0, 0.0, 1.0])
    chosen = Forecast(**SHAPE | {"window": 1, "choices": 2}, reads_volatility=0)
    np.testing.assert_array_equal(chosen.act(tensors, seen), [1.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_a_network_is_what_its_description_says_and_a_value_that_is_not_finite_gives_no_action(kind):
    own = {
        "shared": {"hidden": 8},
        "dense": {"hidden": (5,), "activation": "tanh", "squashed": 0},
        "forecast": {"reads_volatility": 1},
    }[kind]
    network = NETWORKS[kind](**SHAPE, **own)
    assert network_of(network.to_mapping()) == network
    seen = observations(network, 1)[0]
    seen[:] = np.nan
    assert np.isnan(network.act(weights(network), seen)).all()


@pytest.mark.parametrize(
    "stored",
    [
        {"kind": "pickle"},
        {},
        {"kind": "shared", **SHAPE},
        {"kind": "shared", **SHAPE, "hidden": -1},
        {"kind": "shared", **SHAPE, "hidden": 10**12},
        {"kind": "shared", **SHAPE, "hidden": "16"},
        {"kind": "dense", **SHAPE, "hidden": [True], "activation": "tanh", "squashed": 0},
        {"kind": ["shared"], **SHAPE, "hidden": 8},
    ],
)
def test_a_description_that_cannot_be_is_refused(stored):
    with pytest.raises(ValueError, match="network"):
        network_of(stored)
