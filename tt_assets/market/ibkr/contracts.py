"""Contract ids: asked once per instrument, remembered in memory and, where a path is given, between runs."""

from __future__ import annotations

from pathlib import Path

from tt_assets.market.ibkr.faults import RequestFailed
from tt_assets.market.ibkr.link import Link
from tt_assets.market.ibkr.memory import identity, read_rows, save_rows
from tt_assets.market.sources import Outcome
from tt_assets.market.watchlist_format import Instrument


class ContractBook:
    """The contract id of each instrument known so far; `asked` counts the requests for details."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._ids = dict(read_rows(path, "contracts", lambda row: int(row["contract_id"])))
        self._saved = dict(self._ids)
        self.asked = 0

    def known(self, instrument: Instrument) -> int | None:
        """The contract id, None before it was asked for."""
        return self._ids.get(identity(instrument))

    async def ask(self, instrument: Instrument, link: Link) -> int:
        """Ask for the contract id and remember it. Raises RequestFailed where there is none or more than one."""
        self.asked += 1
        matches = await link.matches(instrument)
        if not matches:
            raise RequestFailed(Outcome.UNKNOWN_INSTRUMENT, "no contract details came")
        if len(matches) > 1:
            places = ", ".join(f"{match.primary_exchange or '?'} in {match.currency}" for match in matches)
            raise RequestFailed(Outcome.BAD_REQUEST, f"{len(matches)} contracts fit: {places}")
        self._ids[identity(instrument)] = matches[0].contract_id
        return matches[0].contract_id

    def forget(self, instrument: Instrument) -> bool:
        """Drop a contract id that turned out stale; False where it was asked for in this life of the book."""
        return (
            self._saved.pop(identity(instrument), None) is not None
            and self._ids.pop(identity(instrument), None) is not None
        )

    def save(self) -> None:
        """Write what is known."""
        if self._path is None or self._ids == self._saved:
            return
        rows = [(key, {"contract_id": number}) for key, number in sorted(self._ids.items())]
        save_rows(self._path, "contracts", rows)
        self._saved = dict(self._ids)
