"""A stand-in for IB Gateway: the part of the TWS socket protocol that daily bars need, served from a bars file.

It lets a person without an account see the Interactive Brokers path work, and it is what the tests drive the adapter
against. It is not IB Gateway: it knows no account, no order and no live price.
"""

from tt_assets.gateway.book import BarBook, WireBar
from tt_assets.gateway.client_requests import Kind, Request
from tt_assets.gateway.open_request import OpenRequest
from tt_assets.gateway.request_log import RequestLog, SeenRequest
from tt_assets.gateway.running import serve
from tt_assets.gateway.server import StandIn

__all__ = [
    "BarBook",
    "Kind",
    "OpenRequest",
    "Request",
    "RequestLog",
    "SeenRequest",
    "StandIn",
    "WireBar",
    "serve",
]
