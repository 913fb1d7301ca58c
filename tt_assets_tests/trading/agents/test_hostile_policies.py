"""A stored agent that was changed by somebody who knows its digest is refused in one line."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from tt_assets.trading.agents.policy import TrainedPolicy, digest, load_policy
from tt_assets_tests.faults.hostile import Tally, draws, spoilt_bytes, token

pytestmark = pytest.mark.slow


def _spoilt_config(chance: Any, config: dict[str, Any]) -> str:
    """A config with a value, anywhere in it, that is none."""
    copy: Any = json.loads(json.dumps(config))
    place = copy
    for _ in range(chance.randrange(1, 4)):
        keys = list(place) if isinstance(place, dict) else list(range(len(place))) if isinstance(place, list) else []
        if not keys:
            break
        key = chance.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and chance.random() < 0.7:
            place = place[key]
            continue
        place[key] = chance.choice(
            (
                None,
                "text",
                -1,
                0,
                10**9,
                2**70,
                1e308,
                [],
                {},
                [[]],
                True,
                "1",
                ["A"] * 50,
                {"x": {}},
                token(chance)[:500],
            )
        )
        break
    text = json.dumps(copy)
    return chance.choice((text, text, text, text[: chance.randrange(len(text))], "[" * 100_000, '{"a":' * 100_000))


def _spoilt_weights(chance: Any, weights: bytes) -> bytes:
    match chance.randrange(6):
        case 0:
            return spoilt_bytes(chance, weights)
        case 1:  # a header that is longer than everything
            return struct.pack("<Q", chance.choice((2**63, 2**40, len(weights) + 1))) + weights[8:]
        case 2:  # tensors of any number and shape
            header = {
                f"t{n}": {"dtype": "F32", "shape": [chance.choice((0, 1, 2**40))], "data_offsets": [0, 0]}
                for n in range(chance.choice((1, 10, 3_000)))
            }
            text = json.dumps(header).encode()
            return struct.pack("<Q", len(text)) + text
        case 3:
            text = (b'{"a":' * 10_000) + b"1" + b"}" * 10_000
            return struct.pack("<Q", len(text)) + text
        case _:
            return weights


def test_tampered_policies(small_policy: TrainedPolicy) -> None:
    tally = Tally()
    config = json.loads(small_policy.config_json)
    for chance in draws("policies"):
        text = _spoilt_config(chance, config) if chance.random() < 0.7 else small_policy.config_json
        weights = _spoilt_weights(chance, small_policy.weights)
        text = text.encode("utf-8", "replace").decode()
        sha256 = digest(weights, text)
        tally.try_(load_policy, weights, text, sha256, case=text[:300])
    tally.check("tampered policies")


def test_a_policy_of_three_hundred_thousand_tensors(small_policy: TrainedPolicy) -> None:
    header = {f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(300_000)}
    text = json.dumps(header).encode()
    weights = struct.pack("<Q", len(text)) + text
    tally = Tally()
    sha256 = digest(weights, small_policy.config_json)
    tally.try_(load_policy, weights, small_policy.config_json, sha256, case="300,000")
    assert tally.refused == 1
    tally.check("tensors")
