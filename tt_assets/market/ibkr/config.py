"""How the Interactive Brokers adapter behaves: every knob, with its unit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tt_assets.errors import UserError

DEFAULT_PORT = 4002
"""IB Gateway, paper account. 4001 is its live account, 7497 and 7496 are TWS paper and live."""
STRICT_REQUESTS = 60
STRICT_WINDOW = 600.0
"""The strict budget: at most 60 requests in any 600 seconds."""
MOST_OPEN = 50
"""Requests a gateway keeps open at once; it refuses more with error 322."""


class IbkrConfigError(UserError):
    """A setting of the Interactive Brokers source cannot be used."""


@dataclass(frozen=True)
class IbkrConfig:
    """Where the gateway is and how it is treated. Times are in seconds. Raises IbkrConfigError for a bad value.

    `min_interval`, `max_in_flight`, `strict_budget` and `repeat_interval` count historical and head timestamp requests;
    contract details are not under IBKR's pacing rules and go beside them, within its 50 messages a second.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    client_ids: tuple[int, ...] = tuple(range(81, 89))
    """Tried in this order; the first that is free is used. Never 0, which binds orders placed by hand."""
    timeout: float = 60.0
    """How long one answer may take."""
    connect_timeout: float = 12.0
    """How long TCP and handshake together may take."""
    min_interval: float = 0.15
    """Between the starts of two requests."""
    max_in_flight: int = 8
    strict_budget: bool = False
    """Keep to 60 requests in 10 minutes, IBKR's rule for small bars; daily bars do without."""
    repeat_interval: float = 15.0
    """Between the starts of two identical requests; IBKR counts a repeat within 15 s as a pacing violation."""
    pacing_pause: float = 10.0
    """All requests pause this long after a pacing violation; doubles with each."""
    attempts: int = 4
    """How often one instrument is asked before a passing failure counts as final."""
    backoff: float = 1.0
    """Before the second attempt; doubles with each, with jitter."""
    longest_backoff: float = 60.0
    reconnect_for: float = 900.0
    """How long a lost connection is tried again before the rest of the load is given up."""
    alive_timeout: float = 5.0
    """How long the gateway may take to say the time before the link counts as deaf."""
    overlap_sessions: int = 10
    """Stored sessions before the oldest missing one that are asked again, to be compared."""
    close_margin: timedelta = timedelta(minutes=30)
    """After the close, before a session's bar counts as final."""
    contracts_path: Path | None = None
    """File that remembers contract ids between runs; None: each load asks for the details of its instruments."""
    empty_sessions_path: Path | None = None
    """File that remembers which sessions have no bar between runs; None: a new source asks for them again."""

    def __post_init__(self) -> None:
        _require(bool(self.host.strip()), "TT_IBKR_HOST", self.host, "a host name or address, e.g. 127.0.0.1")
        _require(0 < self.port < 65536, "TT_IBKR_PORT", self.port, "4002, 4001 (Gateway), 7497 or 7496 (TWS)")
        ids = self.client_ids
        _require(
            bool(ids) and all(0 < number < 2**31 for number in ids) and len(set(ids)) == len(ids),
            "TT_IBKR_CLIENT_IDS",
            ",".join(map(str, ids)),
            "different whole numbers from 1 on, e.g. 81-88",
        )
        _require(self.timeout > 0, "TT_IBKR_TIMEOUT", self.timeout, "seconds > 0, e.g. 60")
        _require(self.min_interval >= 0, "TT_IBKR_MIN_INTERVAL", self.min_interval, "seconds >= 0, e.g. 0.15")
        _require(
            1 <= self.max_in_flight <= MOST_OPEN, "max_in_flight", self.max_in_flight, f"1 to {MOST_OPEN}; 8 is proven"
        )
        for name in ("connect_timeout", "alive_timeout", "attempts", "overlap_sessions"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "a number > 0")
        for name in ("repeat_interval", "pacing_pause", "backoff", "longest_backoff", "reconnect_for"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "seconds >= 0")

    @property
    def address(self) -> str:
        """Host and port as people write them."""
        return f"{self.host}:{self.port}"


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise IbkrConfigError(f"{name} is {value}; set it to {wanted}.")
