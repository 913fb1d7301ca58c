"""The classes that `dagster.yaml` names, so that a Dagster command finds the instance of `tt` without a variable set.

Dagster makes them in each of its processes. The first process of a family sees to the server, the schema, the partition
keys and the pools, as a `tt` command does; those it starts inherit that, and only connect. Their configuration is
empty: what Dagster hands from process to process, on command lines among others, holds no address and no password.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import dagster as dg

from tt_assets.grid.run_tags import PLACE, WAITS
from tt_assets.grid.source_version import source_version
from tt_assets.runs._dagster_folders import LocalArtifactStorage, LocalComputeLogManager
from tt_assets.runs.dagster_storage import PostgresStorage
from tt_assets.runtime.instance_file import LITTLE, dagster_home, logs_folder
from tt_assets.runtime.platform import READY, add_keys, environment, limit_pools, upgraded
from tt_assets.settings import Settings, database_of


class Storage(PostgresStorage):
    """Dagster's runs, events and schedules in the database beside the tables."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No configuration: the settings have it."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Storage:
        """The storage, connected to a server that runs. Raises a `UserError` as `platform.prepare`."""
        settings = Settings()
        if os.environ.get(READY) == str(settings.home):
            return cls(database_of(settings).dagster_url(), inst_data=inst_data)
        platform = upgraded(settings)
        storage = cls(platform.database.dagster_url(), inst_data=inst_data)
        if not settings.worker:
            add_keys(storage.event_log_storage, platform.watchlist)
        limit_pools(storage.event_log_storage, settings)
        # DAGSTER_HOME stays as it is: Dagster has found its file already, and reads another one where it is set.
        variables = {name: value for name, value in environment(settings).items() if name != "DAGSTER_HOME"}
        os.environ.update({**variables, READY: str(settings.home)})
        return storage


class Artifacts(LocalArtifactStorage):
    """What steps leave behind on disk, under TT_HOME."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No configuration: the settings have it."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Artifacts:
        """The folder under the TT_HOME of the settings."""
        return cls(str(dagster_home(Settings())), inst_data)


class ComputeLogs(LocalComputeLogManager):
    """What steps print, and the pictures of the assets' pages, in the folder of logs."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No configuration: the settings have it."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> ComputeLogs:
        """The folder under TT_HOME, or under TT_SHARED_FOLDER where one is set."""
        return cls(str(logs_folder(Settings())), inst_data=inst_data)


class Queue(dg.QueuedRunCoordinator):
    """The queue of runs where other machines carry them out: each says of which bars it is, and what it takes."""

    def submit_run(self, context: dg.SubmitRunContext) -> dg.DagsterRun:
        """Take a run into the queue, whoever made it. Raises a `UserError` where bars or watchlist cannot be read."""
        run = context.dagster_run
        if run.status is dg.DagsterRunStatus.NOT_STARTED:
            settings = Settings()
            taken = LITTLE.get(settings.run_launcher, {}) if WAITS in run.tags else {PLACE: "yes"}
            own = {name: text for name, text in taken.items() if name not in run.tags}
            self._instance.add_run_tags(run.run_id, {**source_version(settings), **own})
        return super().submit_run(context)
