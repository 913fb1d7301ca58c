"""`tt signals import`: scores that come from elsewhere, from a CSV or parquet file.

The file goes through the same checks as scores by hand and lands whole or not at all; a bad row is named
with its line.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from tt_assets.errors import UserError
from tt_assets.market.small_files import refuse_device

if TYPE_CHECKING:
    from tt_assets.population import Upserted

COLUMNS = ("instrument", "timestamp", "signal_name", "score")
OPTIONAL = ("meta_json",)
_PARQUET = b"PAR1"
_NESTED = (list, tuple, dict, set, np.ndarray)


class ScoresFileError(UserError):
    """A file of scores as a whole cannot be used: missing, unreadable, or without the columns of a score."""


def import_scores(path: Path, *, report: bool = True) -> Upserted:
    """Write the scores in `path` to `tt_signal_scores` and report their cells to Dagster.

    Columns instrument, timestamp (ISO date), signal_name, score in [-1, 1], and perhaps meta_json; where that is
    absent, or a cell of it empty, the method is the import of this file. Scores of the same instrument,
    session and signal are replaced, all others stay. Raises ScoresFileError, and what `upsert_signal_scores` raises,
    with nothing written.
    """
    from tt_assets.notebook.engines import get_engine
    from tt_assets.notebook.market_writes import default_meta_json, write_scores

    scores, lines = read_scores(path)
    method = f"imported from {path.name}"
    if "meta_json" in scores.columns:
        empty = scores["meta_json"].isna() | (scores["meta_json"] == "")
        scores["meta_json"] = scores["meta_json"].mask(empty, default_meta_json(method))
    return write_scores(get_engine(), scores, method=method, report=report, lines=lambda: lines)


def read_scores(path: Path) -> tuple[pd.DataFrame, Sequence[int] | None]:
    """The rows of a file as they stand there, and the line of each; None for parquet and for cells over two lines."""
    try:
        refuse_device(path)
        with path.open("rb") as file:
            parquet = file.read(4) == _PARQUET
        scores = pd.read_parquet(path) if parquet else _csv(path)
    except OSError as error:
        raise ScoresFileError(f"{path}: no scores can be read ({error.strerror or error}). Name a file.") from None
    except (ValueError, OverflowError, pa.ArrowException, csv.Error) as error:
        why = " ".join(str(error).split())
        raise ScoresFileError(f"{path} cannot be read ({why}). Save it as UTF-8 CSV or parquet.") from None
    absent = [name for name in COLUMNS if name not in scores.columns]
    if absent:
        raise ScoresFileError(
            f"{path} lacks the column{'s' * (len(absent) > 1)} {', '.join(absent)} (there are: "
            f"{', '.join(map(str, scores.columns)) or 'none'}). Name the columns {', '.join(COLUMNS)}."
        )
    for name in scores.columns.intersection([*COLUMNS, *OPTIONAL]):
        if any(isinstance(cell, _NESTED) for cell in scores[name]):
            raise ScoresFileError(f"{path}: column {name} holds lists or objects. Write one value in each row.")
    kept = [*COLUMNS, *(name for name in OPTIONAL if name in scores.columns)]
    return scores[kept], None if parquet else _lines(path, len(scores))


def _csv(path: Path) -> pd.DataFrame:
    _refuse_other_widths(path)
    # NA and TRUE are symbols, so nothing but the scores is converted; a score that is no number is named later.
    rows = pd.read_csv(path, encoding="utf-8-sig", dtype=str, keep_default_na=False, index_col=False)
    if "score" in rows.columns:
        rows["score"] = rows["score"].map(_number).astype(object)
    return rows


def _refuse_other_widths(path: Path) -> None:
    """Raise ScoresFileError for a row with more or fewer fields than the header; pandas would drop those beyond it."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        odd = [(rows.line_num, len(row)) for row in rows if row and len(row) != len(header)]
    if odd:
        (line, fields), more = odd[0], len(odd) - 1
        raise ScoresFileError(
            f"{path}, line {line}{f' and {more:,} more' if more else ''}: {fields} fields where the header has "
            f"{len(header)}. Write scores with a decimal point, or put what holds a comma in quotes."
        )


def _number(text: str) -> float | str:
    try:
        return float(text)  # correctly rounded, so that the double stored is the one nearest to the text
    except ValueError:
        return text


def _lines(path: Path, rows: int) -> Sequence[int] | None:
    with path.open(encoding="utf-8-sig") as file:
        filled = [number for number, line in enumerate(file, start=1) if line.strip()][1:]
    return filled if len(filled) == rows else None
