"""What stands before Dagster's webserver: who may ask, under which name, from which page.

Dagster's UI has no login and takes any Host and any Origin, so that a page anywhere on the web could launch runs
through the browser of whoever opens it. The rules are those of the Fetch Metadata and Origin headers, which a page
cannot forge; a program sends neither and is let through, since it is no browser somebody else's page could use.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tt_assets.web.credentials import ONCE, Credentials
from tt_assets.web.headers import HEADERS, PAGE_POLICY, POLICY, REMOVED
from tt_assets.web.hosts import Hosts, same_place

SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing; OPTIONS is answered to nobody, as no answer allows another origin anything."""


class Guard:
    """ASGI middleware around the whole application, WebSockets included.

    Parameters
    ----------
    app : what is guarded.
    hosts : the names it answers to.
    credentials : what a caller has to show, None where everybody who reaches it may in.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, credentials: Credentials | None = None) -> None:
        self._app, self._hosts, self._credentials = app, hosts, credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, refuse it, or hand it on with the headers of its answer completed."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None and self._credentials is not None:
            refusal = self._login(self._credentials, scope, headers)
        if refusal is None:
            await self._app(scope, receive, _completed(send, self._remember(scope, headers)))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it was accepted: answered as 403
        else:
            await refusal(scope, receive, _completed(send))

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """What answers a request that comes from where it may not come from; None for any other."""
        named = headers.getlist("host")
        if len(named) != 1 or named[0] not in self._hosts:
            return _said(421, "This server is not known under that name; TT_UI_HOSTS lists the names it answers to.")
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE
        origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
        if changes:
            foreign = any(not same_place(origin, named[0]) for origin in origins)
            if foreign or len(origins) > 1 or any(site not in ("same-origin", "none") for site in sites):
                return _said(403, "Only a page of this server may ask for that.")
        elif any(site == "cross-site" for site in sites) and headers.get("sec-fetch-mode") != "navigate":
            return _said(403, "From other sites a page may be opened here, and nothing be loaded.")
        return None

    def _login(self, credentials: Credentials, scope: Scope, headers: Headers) -> Response | None:
        if scope["type"] == "http" and scope["path"] == ONCE:
            code = parse_qs(scope["query_string"].decode("latin-1")).get("code", [""])[0]
            if credentials.opened_once_by(code):
                entered = RedirectResponse("/tt", 303)
                entered.headers["set-cookie"] = credentials.cookie(over_tls=scope["scheme"] == "https")
                return entered
            return _said(403, "This address was used before; any name and the token (TT_UI_TOKEN) let you in at /.")
        if credentials.opened_by(headers.get("authorization"), headers.get("cookie")):
            return None
        return _said(
            401,
            "The UI asks for a token: any name, with TT_UI_TOKEN as the password.",
            {"www-authenticate": 'Basic realm="tt_assets", charset="UTF-8"'},
        )

    def _remember(self, scope: Scope, headers: Headers) -> str | None:
        """A cookie for whoever typed the token: browsers do not send it along when they open a WebSocket."""
        typed = headers.get("authorization", "").lower().startswith("basic ")
        if self._credentials is None or scope["type"] != "http" or not typed:
            return None
        return self._credentials.cookie(over_tls=scope["scheme"] == "https")


def _said(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(text + "\n", status, {"cache-control": "no-store", **(headers or {})})


def _completed(send: Send, cookie: str | None = None) -> Send:
    """`send` with the security headers in every answer; a policy for pages only, which workers would not survive."""

    async def completed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name in REMOVED:
                del headers[name]
            headers.update(HEADERS)
            if headers.get("content-type", "").startswith("text/html") and POLICY not in headers:
                headers[POLICY] = PAGE_POLICY
            if cookie is not None:
                headers.append("set-cookie", cookie)
        await send(message)

    return completed
