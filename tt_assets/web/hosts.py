"""Under which names the UI may be asked for, and which addresses a person can open.

A page of a foreign name that resolves to this machine (DNS rebinding) has the browser send that name as Host. So a name
counts only when it is known; an address of this machine in figures needs no name server and always counts.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not listened on
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether `host`, as a server listens on it, is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_addresses() -> list[str]:
    """The addresses of this machine's network, IPv4 first; neither loopback nor those of one link only."""
    found = []
    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                address = ipaddress.ip_address(entry.address.partition("%")[0])
                if not (address.is_loopback or address.is_link_local):
                    found.append(address)
    return [str(address) for address in sorted(found, key=lambda address: (address.version, int(address)))]


def split_host(text: str) -> tuple[str, int | None] | None:
    """Name and port of a Host header or of the part of an Origin behind `//`; None for what is neither.

    The name is in small letters, an IPv6 address without its brackets.
    """
    name, bracket, rest = text.partition("]")
    if bracket:
        if not name.startswith("["):
            return None
        name, port = name[1:], rest
    else:
        name, colon, number = text.partition(":")
        port = colon + number
    if port and not (port.startswith(":") and port[1:].isascii() and port[1:].isdigit() and int(port[1:]) < 65_536):
        return None
    name = name.lower().removesuffix(".")
    if not name or any(character in name for character in "/\\@?# \t,[]"):
        return None
    return name, int(port[1:]) if port else None


@dataclass(frozen=True)
class Hosts:
    """The names under which the UI answers. A name that stands without a port counts with any: tunnels change it."""

    known: frozenset[tuple[str, int | None]]

    @classmethod
    def of(cls, listens_on: str, more: Iterable[str] = ()) -> Hosts:
        """Those of a server that listens on `listens_on`, and `more`: names with or without a port.

        Raises
        ------
        ValueError : one of `more` is no name.
        """
        names = [*LOOPBACK_NAMES]
        if listens_on in WILDCARDS:
            names += [*own_addresses(), socket.gethostname(), socket.getfqdn()]
        else:
            names.append(listens_on)
        known: set[tuple[str, int | None]] = {(name.lower(), None) for name in names}
        for given in more:
            parts = split_host(given)
            if parts is None:
                raise ValueError(f'"{given}" is no host name: write it as tt.example.com or tt.example.com:8443')
            known.add(parts)
        return cls(frozenset(known))

    def __contains__(self, host: str) -> bool:
        parts = split_host(host)
        return parts is not None and (parts in self.known or (parts[0], None) in self.known)


def same_place(origin: str, host: str) -> bool:
    """Whether a page of `origin` (`https://name:port`) was served by `host`, the Host it now asks."""
    scheme, separator, rest = origin.partition("://")
    if not separator or scheme not in ("http", "https"):
        return False
    default = 443 if scheme == "https" else 80
    there, here = split_host(rest), split_host(host)
    if there is None or here is None:
        return False
    return (there[0], there[1] or default) == (here[0], here[1] or default)


def addresses_to_open(listens_on: str, port: int) -> list[str]:
    """Where a browser reaches a server that listens on `listens_on`: one address, or all of a wildcard's."""
    hosts = [*own_addresses(), "127.0.0.1"] if listens_on in WILDCARDS else [listens_on]
    return [f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host in hosts]
