"""TA-Lib functions on panels with missing bars.

TA-Lib is called once per instrument and stretch of complete bars. Its comparisons lose their way at a
NaN, and a stretch is what a person at a terminal would feed it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

_Column = npt.NDArray[np.float64]


def by_stretch(indicator: Callable[..., _Column], *inputs: pd.DataFrame) -> pd.DataFrame:
    """Apply an indicator to every stretch of sessions without a NaN, instrument by instrument.

    Parameters
    ----------
    indicator : a function of as many one-dimensional arrays as `inputs`, oldest first, that gives one of their length.
        Its memory must be finite, which the caller vouches for.
    *inputs : sessions × instruments under the same axes.

    Returns
    -------
    Under those axes; NaN where an input is NaN or TA-Lib warms up. Row t is known when row t of the inputs is.
    """
    columns = [frame.to_numpy(dtype=np.float64).T.copy() for frame in inputs]
    result = np.full(columns[0].shape, np.nan)
    for n, complete in enumerate(~np.logical_or.reduce([np.isnan(column) for column in columns])):
        edges = np.flatnonzero(np.diff(np.r_[False, complete, False].astype(np.int8)))
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            result[n, first:last] = indicator(*(column[n, first:last] for column in columns))
    return pd.DataFrame(result.T, index=inputs[0].index, columns=inputs[0].columns)
