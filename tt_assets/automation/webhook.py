"""One message to a Slack-compatible webhook, and what became of it.

The address is a secret (whoever has it can write to the channel), so nothing here ever says it; redirects
are refused, because they would hand the message to another address.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import Any

TIMEOUT = 5.0
"""Longest wait for one step of the exchange, seconds."""

WORTH_ANOTHER_TRY = {408, 425, 429}
"""Answers of the 400s that time mends; those of the 500s are such too."""


@dataclass(frozen=True)
class Delivery:
    """What became of one message. `problem` is empty where it was taken; `again` says whether a later try may help.

    `wait` is how long the receiver asked to be left alone, seconds.
    """

    problem: str = ""
    again: bool = False
    wait: float = 0.0

    @property
    def taken(self) -> bool:
        """Whether the receiver has the message."""
        return not self.problem


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(url: str, text: str, timeout: float = TIMEOUT) -> Delivery:
    """Send `text` to `url` as `{"text": …}`. Never raises and never names `url`."""
    try:
        request = urllib.request.Request(  # noqa: S310 - settings take http and https only
            url, json.dumps({"text": escaped(text)}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.build_opener(_StayHere).open(request, timeout=timeout):
            return Delivery()
    except urllib.error.HTTPError as error:
        again = error.code >= 500 or error.code in WORTH_ANOTHER_TRY
        return Delivery(f"HTTP {error.code} {error.reason}".strip(), again, _asked_wait(error.headers))
    except TimeoutError:
        return Delivery(f"no answer within {timeout:g} s", again=True)
    except urllib.error.URLError as error:
        late = isinstance(error.reason, TimeoutError)
        return Delivery(f"no answer within {timeout:g} s" if late else _why(error.reason), again=True)
    except (OSError, http.client.HTTPException) as error:
        return Delivery(_why(error), again=True)
    except ValueError:
        return Delivery("the address is none; set TT_ALERT_WEBHOOK to one that begins with https://")


def masked(url: str) -> str:
    """The address without what makes it a secret: scheme and host."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or '?'}/…"


def escaped(text: str) -> str:
    """`text` with the three signs that Slack reads as its own replaced."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _why(error: object) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or type(error).__name__)


def _asked_wait(headers: Message | None) -> float:
    try:
        return max(0.0, float((headers and headers["Retry-After"]) or 0))
    except ValueError:
        return 0.0  # a date, which nobody sends with webhooks
