"""How the Interactive Brokers adapter behaves: every knob, declared once with its unit, its bound and its text.

Beside the adapter's own modules and not among them: the settings nest it, and load nothing of what the adapter needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from tt_assets.errors import UserError

DEFAULT_PORT = 4002
"""IB Gateway, paper account. 4001 is its live account, 7497 and 7496 are TWS paper and live."""
STRICT_REQUESTS = 60
STRICT_WINDOW = 600.0
"""The strict budget: at most 60 requests in any 600 seconds."""
MOST_CLIENT_IDS = 1_000
"""Client ids that are tried at most; one try may take `connect_timeout`."""
MOST_OPEN = 50
"""Requests a gateway keeps open at once; it refuses more with error 322."""


class IbkrConfigError(UserError):
    """A setting of the Interactive Brokers source cannot be used."""


def _numbers(value: Any) -> Any:
    """One text is numbers and spans of numbers, "81-88" or "81,82", as an environment variable writes them."""
    if not isinstance(value, str):
        return value
    found: list[int] = []
    for part in filter(None, (piece.strip() for piece in value.split(","))):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if span.stop - span.start > MOST_CLIENT_IDS or len(found) + len(span) > MOST_CLIENT_IDS:
            raise ValueError(f"it names more than {MOST_CLIENT_IDS:,} ids; a few are enough, as 81-88")
        found.extend(span)
    return tuple(found)


class IbkrConfig(BaseModel):
    """Where the gateway is and how it is treated. Immutable and hashable. Times are in seconds.

    `min_interval`, `max_in_flight`, `strict_budget` and `repeat_interval` count historical and head timestamp requests;
    contract details are not under IBKR's pacing rules and go beside them, within its 50 messages a second.

    Raises
    ------
    IbkrConfigError
        On one line with the name, the value and what may be given. As a field of another pydantic model a wrong value
        is an error of that model, with its place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    NOT_SETTINGS: ClassVar[frozenset[str]] = frozenset(
        {
            "connect_timeout",
            "max_in_flight",
            "repeat_interval",
            "pacing_pause",
            "attempts",
            "backoff",
            "longest_backoff",
            "reconnect_for",
            "alive_timeout",
            "overlap_sessions",
            "close_margin",
            "contracts_path",
            "empty_sessions_path",
        }
    )
    """Fields that no environment variable sets."""

    host: str = Field("127.0.0.1", description="Where TWS or IB Gateway listens, e.g. 127.0.0.1.")
    port: int = Field(
        DEFAULT_PORT,
        gt=0,
        lt=65536,
        description="4002 and 4001: Gateway paper and live; 7497 and 7496: TWS paper and live.",
    )
    client_ids: Annotated[tuple[int, ...], BeforeValidator(_numbers)] = Field(
        tuple(range(81, 89)),
        description="Client ids tried in this order, as 81-88 or 81,82; the first that is free is used. Never 0, which "
        "binds orders placed by hand.",
    )
    timeout: float = Field(60.0, gt=0, description="How long one answer may take, seconds.")
    connect_timeout: float = Field(12.0, gt=0, description="How long TCP and handshake together may take, seconds.")
    min_interval: float = Field(0.15, ge=0, description="Between the starts of two requests, seconds.")
    max_in_flight: int = Field(8, ge=1, le=MOST_OPEN, description="Requests that are open at one time; 8 is proven.")
    strict_budget: bool = Field(
        False,
        description="Keep to 60 requests in 10 minutes, IBKR's rule for small bars; daily bars do without.",
    )
    total_return: bool = Field(
        False,
        description="Ask for prices adjusted for dividends too (ADJUSTED_LAST) instead of trades adjusted for splits "
        "only. After a change set TT_IBKR_REFETCH once, so that no history is half of each.",
    )
    refetch: bool = Field(False, description="Ask again for sessions whose bars are stored already.")
    repeat_interval: float = Field(
        15.0,
        ge=0,
        description="Between the starts of two identical requests, seconds; IBKR takes a repeat within 15 for a "
        "violation.",
    )
    pacing_pause: float = Field(
        10.0, ge=0, description="All requests pause this long after a pacing violation, seconds; doubles with each."
    )
    attempts: int = Field(
        4, gt=0, description="How often one instrument is asked before a passing failure counts as final."
    )
    backoff: float = Field(1.0, ge=0, description="Before the second attempt, seconds; doubles with each, with jitter.")
    longest_backoff: float = Field(60.0, ge=0, description="The longest wait between two attempts, seconds.")
    reconnect_for: float = Field(
        900.0,
        ge=0,
        description="How long a lost connection is tried again before the rest of the load is given up, seconds.",
    )
    alive_timeout: float = Field(
        5.0, gt=0, description="How long the gateway may take to say the time before the link counts as deaf, seconds."
    )
    overlap_sessions: int = Field(
        10, gt=0, description="Stored sessions before the oldest missing one that are asked again, to be compared."
    )
    close_margin: timedelta = Field(
        timedelta(minutes=30), description="After the close, before a session's bar counts as final."
    )
    contracts_path: Path | None = Field(
        None,
        description="File that remembers contract ids between runs. None: each load asks for the details of its "
        "instruments.",
    )
    empty_sessions_path: Path | None = Field(
        None,
        description="File that remembers which sessions have no bar between runs. None: a new source asks for them "
        "again.",
    )

    if not TYPE_CHECKING:  # the type checker keeps the signature that pydantic makes of the fields

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _config_error(error, values) from None

        # As in TradingConfig: inside another model a wrong value is that model's error, with its place.
        __init__.__pydantic_base_init__ = True

    @field_validator("host")
    @classmethod
    def _named(cls, host: str) -> str:
        if not host.strip():
            raise ValueError("it is empty; give a host name or an address, e.g. 127.0.0.1")
        return host

    @field_validator("client_ids")
    @classmethod
    def _different(cls, ids: tuple[int, ...]) -> tuple[int, ...]:
        if not ids or len(set(ids)) < len(ids) or not all(0 < number < 2**31 for number in ids):
            raise ValueError("give different whole numbers from 1 on, e.g. 81-88")
        return ids

    @property
    def what_to_show(self) -> str:
        """What a historical request asks for, in IBKR's word."""
        return "ADJUSTED_LAST" if self.total_return else "TRADES"

    @property
    def address(self) -> str:
        """Host and port as people write them."""
        return f"{self.host}:{self.port}"

    def replace(self, **changes: Any) -> Self:
        """This config with `changes`, held against the bounds, which `model_copy` would not be."""
        return type(self)(**{**dict(self), **changes})


def _config_error(error: ValidationError, values: Mapping[str, Any]) -> IbkrConfigError:
    """The first thing wrong with `values`, on one line."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    known = IbkrConfig.model_fields
    if name not in known:
        return IbkrConfigError(f"unknown IBKR setting {name}; known are: {', '.join(sorted(known))}.")
    variable = name if name in IbkrConfig.NOT_SETTINGS else f"TT_IBKR_{name.upper()}"
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    value = values[name]
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
    return IbkrConfigError(f"{variable} is {shown}; set it to {reason}: {known[name].description}")
