"""Dagster's webserver behind the guard: the same UI, with fewer ways to ask it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dagster_webserver.webserver import DagsterWebserver
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from tt_assets.web.credentials import Credentials
from tt_assets.web.guard import Guard
from tt_assets.web.headers import BESIDE_DAGSTERS
from tt_assets.web.hosts import Hosts

JSON = "application/json"
POLL_EVERY = 2_000
"""Milliseconds between two looks of the UI at its assets, as Dagster's own command has it."""


class GuardedWebserver(DagsterWebserver):  # type: ignore[type-arg] # one context of Dagster's own, behind the door
    """The UI of one workspace. GraphQL is taken in one form only: POST of exactly `application/json`.

    The rules of that form stand in the endpoint itself, so that no spelling of its path goes around them.

    Parameters
    ----------
    process_context : Dagster's workspace, as `runs._dagster.workspace` opens it.
    hosts : the names it answers to.
    credentials : what a caller has to show, None where everybody who reaches it may in.
    beside : routes of ours, which go before Dagster's.
    """

    def __init__(
        self,
        process_context: Any,
        hosts: Hosts,
        credentials: Credentials | None = None,
        beside: Sequence[BaseRoute] = (),
    ) -> None:
        self._hosts, self._credentials, self._beside = hosts, credentials, list(beside)
        super().__init__(process_context, live_data_poll_rate=POLL_EVERY)

    def build_middleware(self) -> list[Middleware]:
        """The guard before everything else."""
        return [Middleware(Guard, hosts=self._hosts, credentials=self._credentials), *super().build_middleware()]

    def build_routes(self) -> list[BaseRoute]:
        """Ours first: Dagster's last route answers everything."""
        return [*self._beside, *super().build_routes()]  # type: ignore[no-untyped-call] # Dagster's is bare

    def make_csp_header(self, nonce: str) -> str:
        """Dagster's policy for its UI, with what it leaves open."""
        return f"{super().make_csp_header(nonce).strip().rstrip(';')}; {BESIDE_DAGSTERS}"

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """GraphiQL for a browser that opens the address, answers to POST of JSON, nothing else."""
        if request.method == "POST":
            kinds = [kind.strip().lower() for kind in request.headers.getlist("content-type")]
            if kinds != [JSON] or "query" in request.query_params:
                return PlainTextResponse(f"GraphQL is asked by POST of {JSON}, with the query in the body.\n", 415)
        elif request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(f"GraphQL is asked by POST of {JSON}.\n", 405, {"allow": "POST"})
        answer: Response = await super().graphql_http_endpoint(request)
        return answer


def guarded(
    process_context: Any,
    hosts: Hosts,
    credentials: Credentials | None = None,
    beside: Sequence[BaseRoute] = (),
    **starlette: Any,
) -> Starlette:
    """The application to serve; `starlette` goes to Starlette's constructor."""
    app: Starlette = GuardedWebserver(process_context, hosts, credentials, beside).create_asgi_app(**starlette)
    return app
