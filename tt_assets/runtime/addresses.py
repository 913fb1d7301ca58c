"""Where `tt up` serves its UI, and what is said of that: which address to open, and what others could do there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tt_assets.errors import UserError
from tt_assets.settings import Settings
from tt_assets.web.credentials import ONCE, OnceCode
from tt_assets.web.hosts import addresses_to_open, is_loopback


@dataclass(frozen=True)
class Address:
    """Where the UI listens, and whether it may change anything."""

    host: str
    port: int
    read_only: bool = False

    def said(self, settings: Settings) -> Iterator[str]:
        """The lines that tell a person where the UI is and who else can reach it."""
        first, *others = addresses_to_open(self.host, self.port)
        what = "UI (read-only)" if self.read_only else "UI"
        also = f" (also {', '.join(others)})" if others else ""
        yield f"{what} at {first}{also}, dashboard at {first}/tt, logs in {settings.home / 'logs'}. Ctrl-C stops it."
        if settings.ui_token:
            yield f"To enter, open {first}{ONCE}?code={once_code(settings).new()} (it works once),"
            yield "or give any name with TT_UI_TOKEN as the password; programs send it as Bearer."
        if not is_loopback(self.host):
            yield "Others can reach it, and nothing is encrypted on the way: put a proxy with TLS in front and name it"
            yield "in TT_UI_HOSTS, or listen on 127.0.0.1 and come through an SSH tunnel (docs/security.md)."


def refuse_open_door(settings: Settings, host: str) -> None:
    """Raise UserError where `host` is reached from other machines and nobody would be asked for a token."""
    if settings.ui_token is None and not is_loopback(host):
        raise UserError(
            f"--host {host} lets others reach the UI, and it has no login: set TT_UI_TOKEN to a secret of 16 "
            "characters or more (`openssl rand -hex 16`), or leave --host at 127.0.0.1."
        )


def once_code(settings: Settings) -> OnceCode:
    """The code of this home that opens the UI once."""
    return OnceCode(settings.home / "dagster" / "ui_code")
