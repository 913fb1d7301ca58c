"""A stand-in gateway that a script makes go wrong: which reaction, if any, stands in the way of a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tt_assets.gateway import OpenRequest, Request, StandIn


class Reaction(Protocol):
    """What happens instead of the right answer. A request that is never answered stays open until it is cancelled."""

    async def __call__(self, call: OpenRequest) -> None:
        """Answer `call`, rightly, wrongly or not at all."""
        ...


Script = Callable[[Request], Reaction | None]
"""Which reaction, if any, stands in the way of a request."""


def no_script(_: Request) -> None:
    """Every request is answered rightly."""


class ScriptedStandIn(StandIn):
    """A stand-in whose requests go wrong as the script says."""

    def __init__(self, *args: Any, script: Script = no_script, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.script = script

    async def answer(self, request: OpenRequest) -> None:
        await (self.script(request.request) or OpenRequest.respond)(request)
