"""The webserver that `tt up` starts: the guarded UI of one workspace file, in a process of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import click
import dagster as dg
import uvicorn
from starlette.applications import Starlette

from tt_assets.postgres.reader import prepared_reader
from tt_assets.runs._dagster import workspace
from tt_assets.runtime.addresses import once_code
from tt_assets.runtime.current import current_settings
from tt_assets.runtime.up_record import read
from tt_assets.settings import Settings, database_of
from tt_assets.web.credentials import Credentials
from tt_assets.web.dashboard import dashboard
from tt_assets.web.hosts import Hosts
from tt_assets.web.server import guarded
from tt_assets.web.site import Health, Site

STATEMENT_LIMIT = 15_000
"""Milliseconds that one question of the UI to Dagster's storage may take."""
DEATHS_SHOWN = 5
LAST_ANSWERS = 3
"""Seconds for answers that are on their way when it is stopped."""


@click.command()
@click.option("--host", required=True)
@click.option("--port", required=True, type=int)
@click.option("--workspace", "workspace_file", required=True, type=click.Path(path_type=Path))
@click.option("--read-only", is_flag=True)
def main(host: str, port: int, workspace_file: Path, read_only: bool) -> None:
    """Serve the UI until SIGTERM."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    settings = current_settings()
    token = settings.ui_token
    credentials = Credentials(token.get_secret_value(), port, once_code(settings)) if token else None
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_LIMIT, pool_recycle=3600, max_overflow=20)
        with workspace(instance, workspace_file, read_only=read_only) as context:
            beside = dashboard(
                Site(settings, prepared_reader(database_of(settings, owner=True)), instance, partial(_health, settings))
            )
            app = guarded(context, Hosts.of(host, settings.ui_hosts), credentials, beside, lifespan=_lifespan)
            uvicorn.run(
                app,
                host=host,
                port=port,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=LAST_ANSWERS,
            )


def _health(settings: Settings) -> Health:
    """How the `tt up` of this home says that its processes are; the latest deaths first."""
    record = read(settings)
    if record is None:
        return Health()
    return Health(
        [(child.name, child.state, child.since) for child in record.children],
        [(death.at, death.name, death.why) for death in reversed(record.deaths)][:DEATHS_SHOWN],
    )


@asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    # uvicorn cancels what is still open when it is stopped; that is no error.
    try:
        yield
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    main()
