"""Contract ids: asked once per instrument, remembered in memory and, where a path is given, between runs."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

from tt_assets.market._watchlist_format import Instrument
from tt_assets.market.ibkr.faults import RequestFailed
from tt_assets.market.ibkr.link import Link
from tt_assets.market.sources import Outcome

FORMAT = 1


class ContractBook:
    """The contract id of each instrument known so far; `asked` counts the requests for details."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._ids = _read(path) if path else {}
        self._saved = dict(self._ids)
        self.asked = 0

    def known(self, instrument: Instrument) -> int | None:
        """The contract id, None before it was asked for."""
        return self._ids.get(_key(instrument))

    async def ask(self, instrument: Instrument, link: Link) -> int:
        """Ask for the contract id and remember it. Raises RequestFailed where there is none or more than one."""
        self.asked += 1
        matches = await link.matches(instrument)
        if not matches:
            raise RequestFailed(Outcome.UNKNOWN_INSTRUMENT, "no contract details came")
        if len(matches) > 1:
            places = ", ".join(f"{match.primary_exchange or '?'} in {match.currency}" for match in matches)
            raise RequestFailed(Outcome.BAD_REQUEST, f"{len(matches)} contracts fit: {places}")
        self._ids[_key(instrument)] = matches[0].contract_id
        return matches[0].contract_id

    def forget(self, instrument: Instrument) -> bool:
        """Drop a contract id that turned out stale; False where it was asked for in this life of the book."""
        return self._saved.pop(_key(instrument), None) is not None and self._ids.pop(_key(instrument), None) is not None

    def save(self) -> None:
        """Write what is known, in one step; a folder that cannot be written to only costs asking again."""
        if self._path is None or self._ids == self._saved:
            return
        rows = [{"instrument": dict(key), "contract_id": number} for key, number in sorted(self._ids.items())]
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"format": FORMAT, "contracts": rows}, file, indent=1)
            Path(name).replace(self._path)
            self._saved = dict(self._ids)


_Key = tuple[tuple[str, str], ...]


def _key(instrument: Instrument) -> _Key:
    fields = asdict(instrument)
    del fields["description"]
    return tuple(sorted(fields.items()))


def _read(path: Path) -> dict[_Key, int]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            return {}
        return {tuple(sorted(row["instrument"].items())): int(row["contract_id"]) for row in content["contracts"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a memory that cannot be read is asked for again
