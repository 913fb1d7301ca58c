"""What can go wrong between here and Interactive Brokers, as typed errors, and what IBKR's error codes mean.

Code 162 carries five meanings and is told apart by its text; a text nobody knows counts as a passing
failure, since taking it for "no data" would lose bars in silence.
"""

from __future__ import annotations

from tt_assets.errors import UserError
from tt_assets.market.ibkr_config import IbkrConfig
from tt_assets.market.sources import Outcome

HISTORICAL_ERROR = 162
CLIENT_ID_IN_USE = 326
LINK_LOST, LINK_RESTORED_EMPTY, LINK_RESTORED = 1100, 1101, 1102
"""Between the gateway and IBKR's servers; after 1101 what was asked must be asked again."""


class GatewayError(UserError):
    """No session with the gateway can be had; every instrument fails for the same reason."""


class GatewayUnreachableError(GatewayError):
    """Nothing answers at the address, or what answers is no gateway."""


class GatewaySilentError(GatewayError):
    """The port is open but the handshake is not answered: nobody is logged in, or a dialog waits."""


class GatewayRefusedError(GatewayError):
    """The gateway answers and refuses the session."""


class ClientIdsInUseError(GatewayError):
    """Every client id of the pool is taken."""


class RequestFailed(Exception):
    """One request failed; `detail` is the text of the gateway or the adapter."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome = outcome
        self.detail = detail


class LinkDown(Exception):
    """The connection was lost while a request was open; it is asked again on the next one."""


class LoadGivenUp(Exception):
    """The connection stayed away longer than the configured patience."""


_BY_CODE = {
    100: Outcome.PACED,
    200: Outcome.UNKNOWN_INSTRUMENT,
    203: Outcome.NOT_PERMITTED,
    320: Outcome.BAD_REQUEST,
    321: Outcome.BAD_REQUEST,
    322: Outcome.PACED,
    354: Outcome.NOT_PERMITTED,
    420: Outcome.NOT_PERMITTED,
    10089: Outcome.NOT_PERMITTED,
    10090: Outcome.NOT_PERMITTED,
    10186: Outcome.NOT_PERMITTED,
    10299: Outcome.BAD_REQUEST,
    10314: Outcome.BAD_REQUEST,
    CLIENT_ID_IN_USE: Outcome.CLIENT_ID_IN_USE,
}
_BY_TEXT = (
    ("pacing violation", Outcome.PACED),
    ("no data", Outcome.NO_BARS),
    ("no head time stamp", Outcome.NO_BARS),
    ("permission", Outcome.NOT_PERMITTED),
    ("not subscribed", Outcome.NOT_PERMITTED),
    ("subscription", Outcome.NOT_PERMITTED),
)


def classify(code: int, text: str) -> Outcome:
    """The outcome of a request that ended with this error; what is not known is UNAVAILABLE."""
    words = text.lower()
    if code in (HISTORICAL_ERROR, 165):
        return next((outcome for phrase, outcome in _BY_TEXT if phrase in words), Outcome.UNAVAILABLE)
    if code == 200 and "ambiguous" in words:
        return Outcome.BAD_REQUEST
    if code == 420 and "pacing" in words:
        return Outcome.PACED
    return _BY_CODE.get(code, Outcome.UNAVAILABLE)


def reason(symbol: str, failed: RequestFailed, attempts: int, config: IbkrConfig) -> str:
    """One line for people: the instrument, the error, what to do."""
    asked = f" after {attempts} attempts" if attempts > 1 else ""
    detail = failed.detail.rstrip(". ")
    return f"{symbol}: {_words(failed.outcome)}{asked} ({detail}). {_remedy(symbol, failed, config)}"


def _words(outcome: Outcome) -> str:
    return {
        Outcome.NO_BARS: "IBKR has no daily bars",
        Outcome.BAD_BARS: "IBKR's bars cannot be used",
        Outcome.UNKNOWN_INSTRUMENT: "IBKR knows no contract",
        Outcome.NOT_PERMITTED: "the account may not see its history",
        Outcome.BAD_REQUEST: "IBKR refused the request",
        Outcome.PACED: "IBKR asked for fewer requests",
        Outcome.TIMED_OUT: "no answer",
        Outcome.BAD_DATA: "the answer was garbled or incomplete",
        Outcome.CLIENT_ID_IN_USE: "the client id is in use",
    }.get(outcome, "IBKR could not serve it")


def _remedy(symbol: str, failed: RequestFailed, config: IbkrConfig) -> str:  # noqa: PLR0911 - one for each outcome
    match failed.outcome:
        case Outcome.NO_BARS:
            return "Check that it trades and that the dates are right, or take it off the watchlist."
        case Outcome.UNKNOWN_INSTRUMENT:
            spaced = symbol.replace(".", " ").replace("/", " ")
            hint = f'IBKR writes share classes with a space: "{spaced}". ' if spaced != symbol else ""
            return f"{hint}Fix the symbol, exchange or currency on the watchlist."
        case Outcome.NOT_PERMITTED:
            return "Subscribe to the exchange's market data in IBKR's Client Portal, or take it off the watchlist."
        case Outcome.BAD_REQUEST:
            return "Name its primary_exchange and currency on the watchlist."
        case Outcome.PACED:
            return f"Raise TT_IBKR_MIN_INTERVAL (now {config.min_interval:g} s) and run it again."
        case Outcome.TIMED_OUT:
            return f"Run it again, or raise TT_IBKR_TIMEOUT (now {config.timeout:g} s)."
        case Outcome.BAD_BARS:
            return "The rows already stored stay as they are."
        case _:
            return "Run it again; what has landed is not asked again."
