"""A hypothesis strategy for long bars: two instruments, missing bars, ties, and prices that stand still."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from tt_assets.market.calendar import sessions

SESSIONS = sessions(date(2012, 1, 3), date(2012, 4, 20))


@st.composite
def long_bars(draw: st.DrawFn, count: int = 60) -> pd.DataFrame:
    """`count` sessions of A and B; consistent bars with about one in `gaps` missing; few distinct prices give ties."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = draw(st.sampled_from([0.0, 0.5, 0.0137]))
    gaps = draw(st.sampled_from([0.0, 0.01, 0.05]))
    frames = []
    for instrument in ("A", "B"):
        close = 50 + step * random.integers(-2, 3, count).cumsum()
        opened = close + step * random.integers(-1, 2, count)
        frame = pd.DataFrame(
            {
                "instrument": instrument,
                "timestamp": SESSIONS[:count],
                "open": opened,
                "high": np.maximum(opened, close) + step * random.integers(0, 2, count),
                "low": np.minimum(opened, close) - step * random.integers(0, 2, count),
                "close": close,
                "volume": random.integers(0, 4, count) * 100.0,
            }
        )
        frames.append(frame[random.random(count) >= gaps])
    return pd.concat(frames, ignore_index=True)
