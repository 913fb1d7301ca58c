"""What the ledger says of slices, said of slices of another width: pure functions of frames.

Rows and digests of the new slices come from the stored rows. The rest is taken over from the slices they are made of,
or cut out of.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

from tt_assets.assets.outcomes import SAID
from tt_assets.grain import DateGrain
from tt_assets.market.sources import SessionOutcome
from tt_assets.postgres.slice_encoding import NOTHING
from tt_assets.postgres.standing import Slice

LOADED, NO_ROWS = "loaded", "no rows"
KEY = ["date", "instrument"]


def regrained(
    old: pd.DataFrame, stored: Sequence[Slice], source: DateGrain, target: DateGrain, keys: Sequence[str]
) -> pd.DataFrame:
    """Entries of the ledger at another grain, but for what they were computed from.

    Parameters
    ----------
    old : entries of some instruments of one table (`postgres.regrained.ENTRY`).
    stored : the slices of the new grain that hold rows.
    source, target : grain of `old`, and the one that is wanted.
    keys : date keys of the new grain that there are, ascending.

    Returns
    -------
    Columns of `old`, NaN where nothing is known; `reads` is NaN.
    """
    wider = bool(keys) and target.holds(source)
    merged = _joined(old, target) if wider else _cut(old, source, keys)
    held = pd.DataFrame(stored, columns=[*KEY, "rows", "digest"])
    new = merged.drop(columns=["rows", "digest", "reads"]).merge(held, how="outer", on=KEY)
    empty = new["rows"].isna() & new["held"].eq(other=True)
    new["rows"] = new["rows"].astype(object).mask(empty, 0)
    new["digest"] = new["digest"].astype(object).mask(empty, NOTHING)
    new["fetch"] = _whole(new["fetch"])
    new["tries"] = _whole(new["tries"])
    new["outcome"] = _outcomes(new, wider=wider)
    return new.assign(reads=np.nan)[list(old.columns)]


def _joined(old: pd.DataFrame, target: DateGrain) -> pd.DataFrame:
    """The slices of each new one taken together: the newest reading, the latest word, what is still open."""
    keys = {day: target.key_of(date.fromisoformat(day)).isoformat() for day in old["date"].unique()}
    told = old.assign(held=old["rows"].notna(), date=old["date"].map(keys))
    grouped = told.groupby(KEY, sort=False)
    whole = grouped.last()  # of each column the last that is known
    whole["held"] = grouped["held"].any()
    for column in ("fetch", "written_at", "tried_at", "tries"):
        whole[column] = told.dropna(subset=[column]).groupby(KEY, sort=False)[column].max()
    words = told.dropna(subset=["outcome"]).drop_duplicates([*KEY, "outcome"])
    whole["outcome"] = words.groupby(KEY, sort=False)["outcome"].agg(", ".join)
    # Tries in vain are of a failure, or of a slice without a row; whether that is so is seen when the rows are there.
    return whole.reset_index().assign(tries=lambda own: own["tries"].where(own["failure"].notna(), 0))


def _cut(old: pd.DataFrame, source: DateGrain, keys: Sequence[str]) -> pd.DataFrame:
    """The partitions inside each slice; what failed or changed in it is said of the last of them."""
    inside = pd.DataFrame({"key": list(keys)})
    inside["date"] = [source.key_of(date.fromisoformat(key)).isoformat() for key in keys]
    told = old.assign(held=old["rows"].notna()).merge(inside, on="date")
    told = told.assign(date=told["key"]).drop(columns="key").sort_values(["instrument", "date"], ignore_index=True)
    origin = [source.key_of(date.fromisoformat(key)).isoformat() for key in told["date"]]
    last = ~pd.DataFrame({"instrument": told["instrument"], "origin": origin}).duplicated(keep="last")
    for column in ("failure", "changed"):
        told[column] = told[column].where(last)
    told["tries"] = told["tries"].where(told["failure"].notna(), 0)
    return told[told["held"] | told["failure"].notna()]


def _whole(column: pd.Series) -> pd.Series:
    """Whole numbers that are kept as objects beside what is not known, which counts as 0."""
    return pd.to_numeric(column).fillna(0).astype(int)


def _outcomes(new: pd.DataFrame, *, wider: bool) -> pd.Series:
    """What came of each slice, in the words of a load."""
    filled = new["rows"].notna() & (_whole(new["rows"]) > 0)
    spans = new[filled].groupby("instrument")["date"].agg(["min", "max"])
    first, last = (new["instrument"].map(spans[side]).fillna("") for side in ("min", "max"))
    plain = np.where(filled, LOADED, NO_ROWS)
    said = [
        _words(outcome, is_first, is_last, has_rows, usual, wider=wider)
        for outcome, is_first, is_last, has_rows, usual in zip(
            new["outcome"], new["date"] < first, new["date"] > last, filled, plain, strict=True
        )
    ]
    words = pd.Series(said, index=new.index, dtype=object)
    return words.where(new["rows"].notna())


def _words(outcome: object, before: bool, after: bool, has_rows: bool, usual: str, *, wider: bool) -> str:
    """The words of a slice made of, or cut out of, those with `outcome`; those of no load stay as they are."""
    text = outcome if isinstance(outcome, str) else usual
    known = sorted((text.index(words), words) for words in SAID.values() if words in text)
    if not known or text == NO_ROWS:
        return usual if text in (LOADED, NO_ROWS) or not wider else _once(text)
    if wider:
        return ", ".join(words for _, words in known)
    if has_rows:
        return LOADED
    likely = SessionOutcome.NOT_LISTED_YET if before else SessionOutcome.AFTER_LAST if after else SessionOutcome.MISSING
    inside = [words for _, words in known if words != LOADED]
    return SAID[likely] if SAID[likely] in inside else inside[0] if inside else usual


def _once(text: str) -> str:
    return ", ".join(dict.fromkeys(text.split(", ")))
