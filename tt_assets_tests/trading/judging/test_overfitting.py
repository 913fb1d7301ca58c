"""The probability of overfitting against a version written out in pandas, and on worlds whose answer is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from tt_assets.trading.judging.overfitting import CannotCrossValidate, probability_of_overfitting


def _written_out(returns: pd.DataFrame, blocks: int) -> float:
    length = len(returns) // blocks
    parts = [returns.iloc[number * length : (number + 1) * length] for number in range(blocks)]
    below = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = pd.concat([parts[number] for number in chosen])
        outside = pd.concat([parts[number] for number in range(blocks) if number not in chosen])
        best = (inside.mean() / inside.std()).idxmax()
        rank = (outside.mean() / outside.std()).rank()[best]
        share = rank / (returns.shape[1] + 1)
        below.append(np.log(share / (1.0 - share)) < 0.0)
    return float(np.mean(below))


def test_it_is_the_paper_s_written_out_in_pandas() -> None:
    for seed in range(3):
        returns = np.random.default_rng(seed).standard_normal((240, 12)) * 0.01
        assert probability_of_overfitting(returns, 8) == pytest.approx(_written_out(pd.DataFrame(returns), 8))


def test_noise_is_overfitted_and_skill_is_not() -> None:
    random = np.random.default_rng(0)
    noise = [probability_of_overfitting(random.standard_normal((504, 20))) for _ in range(30)]
    assert 0.4 < np.mean(noise) < 0.65
    skilled = random.standard_normal((504, 20))
    skilled[:, 3] += 0.3
    assert probability_of_overfitting(skilled) < 0.01


def test_equal_tries_are_a_coin() -> None:
    same = np.repeat(np.random.default_rng(0).standard_normal((320, 1)), 11, axis=1)
    assert probability_of_overfitting(same) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        (np.zeros((504, 9)), "9 trials"),
        (np.zeros((150, 10)), "150 sessions make 16 blocks of 9"),
        (np.full((504, 10), np.nan), "not a number"),
    ],
)
def test_too_little_is_a_sentence(returns, said) -> None:
    with pytest.raises(CannotCrossValidate, match=said):
        probability_of_overfitting(returns)
