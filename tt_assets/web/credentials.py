"""The token that is demanded where the UI can be reached from elsewhere: how it may be shown, and for how long.

A program shows it as Bearer, a person as the password of Basic, or opens an address that works once. A browser then
keeps a cookie, which is not the token but a date signed with it: whoever reads the cookie cannot make another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

COOKIE_LIVES = 7 * 24 * 3600
"""Seconds."""
ONCE = "/tt/enter"
"""The path of the address that works once; its code follows as `?code=`."""


class OnceCode:
    """A code that opens the UI one time. Only its digest is stored, in a file that the first use removes.

    A file, because the webserver may be started again between the moment the address is printed and its use.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def new(self) -> str:
        """A new code in the place of any earlier one."""
        code = secrets.token_urlsafe(24)
        self.forget()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch(mode=0o600)
        self._file.write_text(_digest(code), encoding="ascii")
        return code

    def use(self, code: str) -> bool:
        """Whether `code` is the one; it is none any more afterwards."""
        try:
            if not hmac.compare_digest(self._file.read_text(encoding="ascii"), _digest(code)):
                return False
            self._file.unlink()  # of two who come at once only one removes it
        except (OSError, ValueError):
            return False
        return True

    def forget(self) -> None:
        """No code opens anything any more."""
        self._file.unlink(missing_ok=True)


class Credentials:
    """Who may in: holders of the token, of a cookie made with it, or of a code that was not used yet.

    Parameters
    ----------
    token : the secret.
    port : of the server; it is part of the cookie's name because browsers send a cookie to every port of a host.
    once : the code that works once.
    """

    def __init__(self, token: str, port: int, once: OnceCode) -> None:
        self._token = token.encode()
        self._cookie = f"tt_ui_{port}"
        self._once = once

    def opened_by(self, authorization: str | None, cookies: str | None) -> bool:
        """Whether the Authorization or the Cookie header of a request opens the UI."""
        return self._authorized(authorization or "") or self._remembered(cookies or "")

    def opened_once_by(self, code: str) -> bool:
        """Whether `code` opens it; it does so once."""
        return self._once.use(code)

    def cookie(self, *, over_tls: bool) -> str:
        """The Set-Cookie header that spares a browser the token for a week."""
        ends = str(int(time.time()) + COOKIE_LIVES)
        flags = f"Path=/; Max-Age={COOKIE_LIVES}; HttpOnly; SameSite=Strict{'; Secure' if over_tls else ''}"
        return f"{self._cookie}={ends}.{self._signature(ends)}; {flags}"

    def _authorized(self, header: str) -> bool:
        scheme, _, rest = header.strip().partition(" ")
        shown = rest.strip()
        if scheme.lower() == "basic":
            try:
                shown = base64.b64decode(shown, validate=True).decode().partition(":")[2]
            except ValueError:  # neither base64 nor text
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(shown.encode(), self._token)

    def _remembered(self, header: str) -> bool:
        try:
            found: Mapping[str, object] = SimpleCookie(header)
        except CookieError:
            return False
        kept = getattr(found.get(self._cookie), "value", "")
        ends, _, signature = kept.partition(".")
        if not (ends.isascii() and ends.isdigit() and len(ends) < 12):
            return False
        return hmac.compare_digest(signature.encode(), self._signature(ends).encode()) and time.time() < int(ends)

    def _signature(self, ends: str) -> str:
        return hmac.new(self._token, f"tt ui cookie {self._cookie} until {ends}".encode(), hashlib.sha256).hexdigest()


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
