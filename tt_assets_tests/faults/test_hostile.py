"""Hostile input is refused in one line: nothing else is raised, nothing is written, memory is bounded.

HOSTILE_CASES says how many cases of each kind are tried (1,000), HOSTILE_SEED which.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import ValidationError

from tt_assets.cli import commands
from tt_assets.commands.mistakes import describe_setting, describe_usage
from tt_assets.commands.signals_import import import_scores
from tt_assets.errors import one_line
from tt_assets.gateway import BarBook, StandIn
from tt_assets.grid.keys import CellKey
from tt_assets.market.files import FileBars
from tt_assets.market.ibkr.faults import LinkDown, RequestFailed
from tt_assets.market.ibkr.opening import open_link
from tt_assets.market.ibkr_config import IbkrConfig
from tt_assets.market.watchlist import add, read_watchlist
from tt_assets.market.watchlist_format import Instrument
from tt_assets.postgres.database import Database
from tt_assets.settings import Settings
from tt_assets.settings.variables import variables
from tt_assets_tests.faults import hostile
from tt_assets_tests.faults.hostile import BARS, Tally, draws, spoilt_bytes, spoilt_text, token
from tt_assets_tests.gateway.worlds import walk

pytestmark = pytest.mark.slow

COLUMNS = ("Date", "Open", "High", "Low", "Close", "Volume")


def test_bytes_of_bars(tmp_path: Path) -> None:
    tally, path = Tally(), tmp_path / "ACME.csv"
    for number, chance in enumerate(draws("bars")):
        if number % 3 == 2:
            content = hostile.workbook(chance)
        else:
            content = hostile.container(chance, spoilt_text(chance, BARS).encode("utf-8", "surrogatepass"))
        path.write_bytes(content)
        os.utime(path, (1_000_000_000 + number, 1_000_000_000 + number))  # at rest: a fresh file is waited for
        tally.try_(FileBars(path).check, case=content[:60])
    assert list(tmp_path.iterdir()) == [path]
    tally.check("bytes of bars")


def test_types_of_columns(tmp_path: Path) -> None:
    tally, path = Tally(), tmp_path / "ACME.parquet"
    for number, chance in enumerate(draws("types")):
        path.write_bytes(hostile.typed_table(chance, COLUMNS))
        os.utime(path, (1_000_000_000 + number, 1_000_000_000 + number))
        tally.try_(FileBars(path).check, case=number)
    tally.check("types of columns")


def test_watchlists(tmp_path: Path) -> None:
    tally, path = Tally(), tmp_path / "watchlist.csv"
    good = "symbol,description,portfolio,listed,from,to\n" + "".join(
        f"S{n},about,core;more,2012-01-03,2012-01-03;2012-02-01,\n" for n in range(6)
    )
    for chance in draws("watchlists"):
        content = spoilt_bytes(chance, spoilt_text(chance, good).encode("utf-8", "surrogatepass"))
        path.write_bytes(content)
        if tally.try_(read_watchlist, path, case=content[:100]):
            more = {"portfolios": [token(chance)], "description": token(chance)}
            tally.try_(partial(add, path, token(chance), **more), case=(content[:100], more))
            if read_watchlist(path).symbols == ():
                tally.faults.append(f"an empty watchlist of {content[:100]!r}")
    assert list(tmp_path.iterdir()) == [path]
    tally.check("watchlists")


def _scores(database: Database) -> object:
    with database.connect() as connection:
        return connection.execute("SELECT count(*), max(id) FROM tt_signal_scores").fetchone()


def test_imports_of_signals(connected: Database, tmp_path: Path) -> None:
    tally, path = Tally(), tmp_path / "scores.csv"
    good = "instrument,timestamp,signal_name,score,meta_json\n" + "".join(
        f"AAPL,2012-05-{day},mine,0.5,\n" for day in (14, 15, 16, 17, 18)
    )
    before = _scores(connected)
    for number, chance in enumerate(draws("signals")):
        if number % 3 == 2:
            content = hostile.typed_table(chance, ("instrument", "timestamp", "signal_name", "score", "meta_json"))
        else:
            content = spoilt_bytes(chance, spoilt_text(chance, good).encode("utf-8", "surrogatepass"))
        path.write_bytes(content)
        taken = tally.try_(partial(import_scores, path, report=False), case=content[:200])
        after = _scores(connected)
        if not taken and after != before:
            tally.faults.append(f"rows were written of {content[:200]!r}")
        before = after
    tally.check("imports of signals")


def test_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tally = Tally()
    names = [variable.name for variable in variables()]
    monkeypatch.chdir(tmp_path)
    for chance in draws("settings"):
        given = {name: token(chance).replace("\0", "") for name in chance.sample(names, chance.randrange(1, 4))}
        given = {name: value for name, value in given.items() if "\ud800" not in value}  # the system takes neither
        with monkeypatch.context() as here:
            for name, value in given.items():
                here.setenv(name, value)
            try:
                Settings()
                tally.taken += 1
            except ValidationError as error:
                tally.refused += 1
                tally.line(describe_setting(error), given)
            except Exception as error:  # noqa: BLE001 - what is looked for
                tally.sort(error, given)
    assert list(tmp_path.iterdir()) == []
    tally.check("settings")


_SERVING = {"up", "gateway", "down", "demo", "psql", "start", "stop"}
"""Commands that serve, or end what serves."""


def _leaves(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found = []
    for name, command in group.commands.items():
        if name in _SERVING:
            continue
        if isinstance(command, click.Group):
            found += _leaves(command, (*path, name))
        else:
            found.append(((*path, name), command))
    return found


def _argument(chance: Any) -> str:
    """A text that the system would hand to a program."""
    return token(chance).replace("\0", "").encode("utf-8", "replace").decode()


def test_command_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    leaves = _leaves(commands)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/tt")
    (tmp_path / "watchlist.csv").write_text("symbol\nAAPL\n")
    monkeypatch.setenv("TT_WATCHLIST", str(tmp_path / "watchlist.csv"))
    for chance in draws("commands"):
        path, command = chance.choice(leaves)
        arguments = [*path]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and chance.random() < 0.5:
                arguments.append(parameter.opts[-1])
                if not parameter.is_flag:
                    arguments.append(_argument(chance))
            elif isinstance(parameter, click.Argument) and chance.random() < 0.9:
                arguments.append(_argument(chance))
        arguments += [_argument(chance)] * (chance.random() < 0.1)
        try:
            code = commands.main(arguments, prog_name="tt", standalone_mode=False)
            tally.taken += 1 if code in (0, None) else 0
        except click.ClickException as error:
            tally.refused += 1
            tally.line(one_line(" ".join(describe_usage(error).split())), arguments)
        except (click.Abort, click.exceptions.Exit, SystemExit):
            tally.refused += 1
        except Exception as error:  # noqa: BLE001 - sorted by the tally
            tally.sort(error, arguments)
        capsys.readouterr()
    tally.check("command lines")


def test_partition_keys() -> None:
    tally = Tally()
    for chance in draws("keys"):
        text = chance.choice((token(chance), f"{token(chance)}|{token(chance)}", f"2012-05-18|{token(chance)}"))
        tally.try_(CellKey.parse, text, case=text[:50], also=(ValueError,))
        found = CellKey.find(text)
        if found is not None and str(found) != text:
            tally.faults.append(f"{text[:50]!r} came back as {found}")
    tally.check("partition keys")


def _message(*fields: object) -> bytes:
    body = "".join(f"{field}\0" for field in fields).encode("utf-8", "replace")
    return struct.pack(">I", len(body)) + body


class _HostileGateway:
    """Answers each connection with a script of its own: parts of the protocol, noise, lengths, silence."""

    def __init__(self) -> None:
        self.chances = draws("wire")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chance = next(self.chances, None)
        try:
            if chance is None:
                return
            if chance.random() < 0.8:
                writer.write(_message(chance.choice((176, 176, 176, 1, 10**9, "x")), "20140102 10:00:00 EST"))
            if chance.random() < 0.5:
                writer.write(_message(15, 1, "DU1") + _message(9, 1, 1))
            for _ in range(chance.randrange(6)):
                match chance.randrange(6):
                    case 0:
                        writer.write(chance.randbytes(chance.randrange(2_000)))
                    case 1:
                        writer.write(struct.pack(">I", chance.choice((2**32 - 1, 2**30, 2**25))) + b"x" * 1_000)
                    case 2:
                        writer.write(_message(chance.randrange(-5, 110), *(token(chance)[:300] for _ in range(9))))
                    case 3:
                        writer.write(
                            _message(chance.randrange(110), 2, -1, chance.choice((502, 326, 1100, 200, 10**9)), "")
                        )
                    case 4:
                        writer.write(_message(4, 2, -1, 321, token(chance)[:500]) * chance.randrange(1, 2_000))
                    case _:
                        await asyncio.sleep(0.01)
            await writer.drain()
            if chance.random() < 0.5:
                await asyncio.sleep(0.6)
        except (ConnectionError, OSError):
            pass
        finally:
            writer.close()


async def _ask(port: int, tally: Tally, number: int) -> None:
    config = IbkrConfig(port=port, client_ids=(1,), connect_timeout=0.4, timeout=0.3, alive_timeout=0.2)

    async def session() -> None:
        link = await open_link(config)
        try:
            await link.matches(Instrument("A"))
        finally:
            link.close()

    try:
        await asyncio.wait_for(session(), 20)
        tally.taken += 1
    except (LinkDown, RequestFailed):
        tally.refused += 1
    except Exception as error:  # noqa: BLE001 - sorted by the tally
        tally.sort(error, number)


def test_what_a_gateway_sends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "ib_insync")  # gigabytes of it, in ten thousand cases
    tally = Tally()

    async def all_of_them() -> None:
        server = await asyncio.start_server(_HostileGateway().serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for first in range(0, hostile.CASES, 50):
            await asyncio.gather(*(_ask(port, tally, first + n) for n in range(min(50, hostile.CASES - first))))
        server.close()

    asyncio.run(all_of_them())
    tally.check("what a gateway sends")


def test_what_a_client_sends() -> None:
    """The stand-in hangs up on it, and serves the next one."""
    tally = Tally()

    async def client(port: int, chance: Any) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        content = chance.choice((b"API\0", b"API\0", b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0", chance.randbytes(30)))
        content += chance.choice((_message("v157..176"), struct.pack(">I", 2**32 - 1), chance.randbytes(200), b""))
        for _ in range(chance.randrange(5)):
            content += _message(
                chance.choice((71, 9, 20, 87, 49, 10**9, "x", "")), *(token(chance)[:200] for _ in range(8))
            )
        try:
            writer.write(content)
            await writer.drain()
            if chance.random() < 0.3:
                writer.write_eof()
            await asyncio.wait_for(reader.read(1 << 16), 0.05)
        except (TimeoutError, ConnectionError, OSError):
            pass
        finally:
            writer.close()
        tally.refused += 1

    async def all_of_them() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, context: tally.faults.append(str(context.get("exception") or context)[:300])
        )
        gateway = StandIn(BarBook(walk("A")))
        await gateway.start()
        chances = list(draws("clients"))
        for first in range(0, len(chances), 50):
            await asyncio.gather(*(client(gateway.port, chance) for chance in chances[first : first + 50]))
        link = await open_link(IbkrConfig(port=gateway.port, client_ids=(5,)))
        link.close()
        await gateway.stop()

    asyncio.run(all_of_them())
    tally.check("what a client sends")
