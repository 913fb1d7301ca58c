"""`dagster.yaml` in the home: the one of this package, with who carries out queued runs and how many at once.

One process family decides over it: the `tt up` that serves the home, or whoever runs a command while none does. A
worker carries out what another machine queued, and leaves a file that is there as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from tt_assets.errors import UserError
from tt_assets.grid.run_tags import PLACE, WAITS
from tt_assets.runtime import up_record
from tt_assets.runtime.home import home_unusable, make_home
from tt_assets.runtime.served import TOKEN
from tt_assets.settings import RunLauncherName, Settings, shared_file

FAR_OFF = 86_400
"""Seconds a run may wait for a place on Ray or Kubernetes; Dagster counts that as starting."""
RESUMED = 2
"""How often a run whose machine died is taken up on another one."""
LOOKED_AFTER = 10
"""Seconds between two looks at whether the machines of runs live."""
EXTRAS = {RunLauncherName.RAY: ("dagster_ray", "ray"), RunLauncherName.K8S: ("dagster_k8s", "kubernetes")}
"""The modules that a launcher needs beside Dagster's own; the extra that brings them has its name."""
ON_A_WORKER = "TT_WORKER=true"
A_RUN, A_WAIT = 0.999, 0.001
"""Processors of Ray that a run takes, and one that only waits for others: both fit on a worker that has one."""
LITTLE = {
    RunLauncherName.RAY: {"dagster-ray/config": json.dumps({"num_cpus": A_WAIT})},
    RunLauncherName.K8S: {
        "dagster-k8s/config": json.dumps({"container_config": {"resources": {"requests": {"cpu": "10m"}}}})
    },
}
"""Tags by which a launcher gives a run that only waits next to no processor: it would hold what it waits for."""


def dagster_home(settings: Settings) -> Path:
    """The folder of Dagster's files: its logs, what steps leave behind, and the instance file of `tt`'s processes."""
    return settings.home / "dagster"


def logs_folder(settings: Settings) -> Path:
    """The folder of what steps print, and of pictures."""
    return settings.shown / "dagster" / "logs"


def decides(settings: Settings) -> bool:
    """Whether this process may change the instance file, pools and schema: no worker, and no other's `tt up` serves."""
    if settings.worker:
        return False
    serving = up_record.owner(settings)
    return serving is None or serving.pid == os.getpid() or os.environ.get(TOKEN) == serving.token


def place_instance_file(settings: Settings) -> None:
    """Have the instance file in the DAGSTER_HOME of `tt`'s processes, as the settings say it.

    Raises
    ------
    UserError : this package's own file is missing, the home cannot be written, or the launcher's library is missing.
    """
    target = dagster_home(settings) / "dagster.yaml"
    text = instance_file(settings)
    make_home(settings.home)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or (decides(settings) and target.read_text(encoding="utf-8") != text):
            staged = target.with_suffix(f".{os.getpid()}.new")
            staged.write_text(text, encoding="utf-8")
            staged.replace(target)
    except OSError as error:
        raise home_unusable(settings.home, error) from None


def instance_file(settings: Settings) -> str:
    """What the instance file says with these settings; on one machine with defaults it is this package's own.

    Raises
    ------
    UserError : this package's own file is missing, or a launcher needs what is not installed or cannot be read.
    """
    source = shared_file("dagster.yaml")
    if not source.exists():
        raise UserError(f"{source} is missing; install tt_assets again or run it from a checkout.")
    text = source.read_text(encoding="utf-8")
    said: dict[str, Any] = yaml.safe_load(text)
    several = settings.run_launcher is not RunLauncherName.LOCAL
    if not several and said["concurrency"]["runs"]["max_concurrent_runs"] == settings.max_runs:
        return text
    runs = said["concurrency"]["runs"]
    runs["max_concurrent_runs"] = settings.max_runs
    if several:
        said["run_launcher"] = _launcher(settings)
        # One that waits for others takes no place from them, or all places could be held by those who wait.
        runs["max_concurrent_runs"] += 1
        runs["tag_concurrency_limits"] = [{"key": PLACE, "limit": settings.max_runs}, {"key": WAITS, "limit": 1}]
        said["run_coordinator"] |= {"module": "tt_assets.runtime.dagster_instance", "class": "Queue"}
        said["run_monitoring"] = {
            "enabled": True,
            "poll_interval_seconds": LOOKED_AFTER,
            "max_resume_run_attempts": RESUMED,
            "start_timeout_seconds": FAR_OFF,
        }
    head = "# Written by tt from its own dagster.yaml and TT_RUN_LAUNCHER, TT_MAX_RUNS: change those.\n"
    return head + str(yaml.safe_dump(said, sort_keys=False))


def _launcher(settings: Settings) -> Mapping[str, Any]:
    """Who carries out queued runs, as an instance file names it."""
    name = settings.run_launcher
    if missing := [module for module in EXTRAS[name] if find_spec(module) is None]:
        raise UserError(
            f"TT_RUN_LAUNCHER={name} needs {', '.join(missing)}, which is not installed: "
            f"`make cluster` in the checkout brings it, or pip install '.[{name}]' there; on every machine."
        )
    if name is RunLauncherName.RAY:
        ray = {"address": settings.ray_address, "num_cpus": A_RUN, "env_vars": [ON_A_WORKER]}
        return {"module": "tt_assets.runtime.ray_launcher", "class": "RayLauncher", "config": {"ray": ray}}
    path = settings.k8s_launcher or Path()
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"TT_K8S_LAUNCHER {path} cannot be read ({str(error).splitlines()[0]}): mend it.") from None
    if not isinstance(config, dict):
        raise UserError(f"TT_K8S_LAUNCHER {path} holds no names and values: write K8sRunLauncher's configuration.")
    config["env_vars"] = [*config.get("env_vars", []), ON_A_WORKER]
    return {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": config}
