"""Daily bars from Interactive Brokers, over the TWS protocol.

`IbkrBars` is the price source, `IbkrConfig` its knobs; `plan` says what a load would ask. A load is a session of its
own: `source` runs it on a thread, `opening` and `link` hold the connection, `loader` drives the instruments, `pacing`
says when, `wire` and `answer` judge what comes, `overlap` compares it with what is stored, `results` puts both
together, `contracts` and `empties` remember between runs, `faults` names what goes wrong.
"""

from tt_assets.market.ibkr.answer import Withheld
from tt_assets.market.ibkr.faults import (
    ClientIdsInUseError,
    GatewayError,
    GatewayRefusedError,
    GatewaySilentError,
    GatewayUnreachableError,
)
from tt_assets.market.ibkr.load_report import IbkrLoad, LoadReport
from tt_assets.market.ibkr.loader import LoadProgress, Retry
from tt_assets.market.ibkr.overlap import Overlap, Verdict, compare
from tt_assets.market.ibkr.plan import IbkrPlan, ReadStored, StoredBars, nothing_stored, plan
from tt_assets.market.ibkr.results import IbkrFetched
from tt_assets.market.ibkr.source import IbkrBars
from tt_assets.market.ibkr_config import IbkrConfig, IbkrConfigError

__all__ = [
    "ClientIdsInUseError",
    "GatewayError",
    "GatewayRefusedError",
    "GatewaySilentError",
    "GatewayUnreachableError",
    "IbkrBars",
    "IbkrConfig",
    "IbkrConfigError",
    "IbkrFetched",
    "IbkrLoad",
    "IbkrPlan",
    "LoadProgress",
    "LoadReport",
    "Overlap",
    "ReadStored",
    "Retry",
    "StoredBars",
    "Verdict",
    "Withheld",
    "compare",
    "nothing_stored",
    "plan",
]
