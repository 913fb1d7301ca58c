"""What cash earns: nothing, a rate, or a rate that changes from day to day."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tt_assets.errors import UserError
from tt_assets.market.small_files import small_text
from tt_assets.trading.metrics import SESSIONS_PER_YEAR
from tt_assets.trading.panel import Floats


class WrongCashRate(UserError):
    """TT_CASH_RATE is neither a rate nor a file of rates."""


@dataclass(frozen=True)
class CashRate:
    """Rates a year as fractions, each from its day on until the next; before the first day the first one.

    Parameters
    ----------
    days : ascending; empty for one rate throughout.
    rates : one a day, or one in all.
    text : what a report calls it.
    """

    days: tuple[date, ...] = ()
    rates: tuple[float, ...] = (0.0,)
    text: str = "0 %"

    @classmethod
    def parse(cls, text: str) -> CashRate:
        """From the text of a setting: a number such as 0.03, or the path of a CSV with the columns date and rate.

        Raises
        ------
        WrongCashRate : neither; a line that cannot be read; a rate that is no fraction a year.
        """
        try:
            rate = float(text or 0.0)
        except ValueError:
            return cls._from_file(text)
        return cls((), (_fraction(rate, f'TT_CASH_RATE "{text}"'),), f"{100.0 * rate:g} % a year")

    @classmethod
    def _from_file(cls, text: str) -> CashRate:
        path = Path(text)
        try:
            path = path.expanduser()
            lines = list(csv.reader(small_text(path).splitlines()))
        except (OSError, ValueError, RuntimeError, csv.Error) as error:
            raise WrongCashRate(
                f'TT_CASH_RATE "{path}" is no number and cannot be read as a file ({error}); give a fraction a year '
                "such as 0.03, or a CSV with the columns date and rate."
            ) from None
        found: dict[date, float] = {}
        for number, cells in enumerate(lines[1:], start=2):
            if not cells or (len(cells) > 1 and cells[1].strip() in ("", ".")):
                continue  # a closed day, as central banks write it
            try:
                found[date.fromisoformat(cells[0].strip())] = _fraction(float(cells[1]), f"{path}, line {number}")
            except (ValueError, IndexError):
                raise WrongCashRate(
                    f"{path}, line {number}: {','.join(cells)[:60]} is no date and rate; write 2012-05-18,0.0015."
                ) from None
        if not found:
            raise WrongCashRate(f"{path}: there is no rate in it; give a CSV with the columns date and rate.")
        days = tuple(sorted(found))
        return cls(days, tuple(found[day] for day in days), f"daily rates of {path.name}")

    def per_session(self, sessions: npt.NDArray[np.datetime64]) -> Floats:
        """What cash held at the close of one of `sessions` (S) earns until the close of the next (S − 1), fractions.

        The rate is the one known at the close before; a session is 1/252 of a year.
        """
        rates = np.array(self.rates)
        if self.days:
            known = np.array(self.days, dtype="datetime64[D]").searchsorted(
                sessions[:-1].astype("datetime64[D]"), "right"
            )
            yearly = rates[np.maximum(known - 1, 0)]
        else:
            yearly = np.full(max(len(sessions) - 1, 0), rates[0])
        earned: Floats = (1.0 + yearly) ** (1.0 / SESSIONS_PER_YEAR) - 1.0
        return earned


def _fraction(rate: float, where: str) -> float:
    if not math.isfinite(rate) or not -0.2 < rate < 1.0:
        raise WrongCashRate(f"{where}: {rate:g} is no fraction a year; 3 % is 0.03.")
    return rate
