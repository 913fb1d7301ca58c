"""The instance file of a home: what the settings make of it, and who may change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from pydantic import ValidationError

from tt_assets.errors import UserError
from tt_assets.runtime import instance_file as subject
from tt_assets.runtime import up_record
from tt_assets.runtime.instance_file import decides, instance_file, place_instance_file
from tt_assets.runtime.platform import limit_pools
from tt_assets.runtime.up_record import Owner
from tt_assets.settings import RunLauncherName, Settings, shared_file
from tt_assets_tests.conftest import need_cluster

SHARED = {"TT_DATABASE_URL": "postgresql://me@db.example/tt"}
RAY = SHARED | {"TT_RUN_LAUNCHER": "ray", "TT_RAY_ADDRESS": "http://head:8266"}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The instance file under some variables, parsed; every launcher's library is there."""
    monkeypatch.setattr(subject, "find_spec", lambda module: object())

    def parsed(**variables: str) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            return dict(yaml.safe_load(instance_file(Settings())))

    return parsed


def test_with_defaults_it_is_the_one_of_the_package_byte_for_byte() -> None:
    assert instance_file(Settings()) == shared_file("dagster.yaml").read_text(encoding="utf-8")


def test_more_runs_at_once_change_that_and_nothing_else(said: Any) -> None:
    own = yaml.safe_load(shared_file("dagster.yaml").read_text(encoding="utf-8"))
    own["concurrency"]["runs"]["max_concurrent_runs"] = 7
    assert said(TT_MAX_RUNS="7") == own


def test_ray_is_named_with_its_head_and_dead_machines_are_looked_for(said: Any) -> None:
    found = said(**RAY, TT_MAX_RUNS="4")
    assert found["run_launcher"] == {
        "module": "tt_assets.runtime.ray_launcher",
        "class": "RayLauncher",
        "config": {"ray": {"address": "http://head:8266", "num_cpus": 0.999, "env_vars": ["TT_WORKER=true"]}},
    }
    watch = found["run_monitoring"]
    assert watch["max_resume_run_attempts"] > 0
    assert watch["poll_interval_seconds"] <= 10
    assert watch["start_timeout_seconds"] >= 86_400  # it counts the wait for a place
    limits = {limit["key"]: limit["limit"] for limit in found["concurrency"]["runs"]["tag_concurrency_limits"]}
    assert limits == {"tt/place": 4, "tt/waits_for_runs": 1}


def test_dagster_takes_the_file_of_ray(said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_cluster("dagster_ray")
    file = said(**RAY, TT_MAX_RUNS="4")
    del file["storage"], file["local_artifact_storage"], file["compute_logs"]  # those want the database
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(file))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert type(instance.run_launcher).__name__ == "RayLauncher"
        assert type(instance.run_coordinator).__name__ == "Queue"
        assert instance.run_launcher.supports_resume_run
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 5


def test_kubernetes_has_what_its_own_file_says(said: Any, tmp_path: Path) -> None:
    config = tmp_path / "launcher.yaml"
    config.write_text("job_namespace: tt\nenv_vars: [TT_HOME=/home/tt]\n")
    found = said(**SHARED, TT_RUN_LAUNCHER="k8s", TT_K8S_LAUNCHER=str(config))["run_launcher"]
    assert (found["module"], found["class"]) == ("dagster_k8s", "K8sRunLauncher")
    assert found["config"] == {"job_namespace": "tt", "env_vars": ["TT_HOME=/home/tt", "TT_WORKER=true"]}


@pytest.mark.parametrize("text", [None, "a: [", "just words"])
def test_a_file_for_kubernetes_that_cannot_be_used_is_named(said: Any, tmp_path: Path, text: str | None) -> None:
    config = tmp_path / "launcher.yaml"
    if text is not None:
        config.write_text(text)
    with pytest.raises(UserError, match=r"launcher\.yaml"):
        said(**SHARED, TT_RUN_LAUNCHER="k8s", TT_K8S_LAUNCHER=str(config))


def test_a_launcher_that_is_not_installed_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "find_spec", lambda module: None)
    for name, value in RAY.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"`make cluster` in the checkout .* pip install '\.\[ray\]'"):
        instance_file(Settings())


@pytest.mark.parametrize("variable", [{"TT_RUN_LAUNCHER": "ray"}, {"TT_WORKER": "true"}])
def test_several_machines_without_a_shared_database_are_refused(variable: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variable.items():
            patch.setenv(name, value)
        with pytest.raises(ValidationError, match="set TT_DATABASE_URL"):
            Settings()


def test_a_worker_makes_a_file_that_is_missing_and_leaves_one_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SHARED | {"TT_WORKER": "true", "TT_MAX_RUNS": "3"}).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert not decides(settings)
    place_instance_file(settings)
    file = settings.home / "dagster" / "dagster.yaml"
    assert yaml.safe_load(file.read_text())["concurrency"]["runs"]["max_concurrent_runs"] == 3
    file.write_text("# the head's\n")
    place_instance_file(settings)
    assert file.read_text() == "# the head's\n"


def test_while_another_process_serves_its_file_and_its_pools_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    place_instance_file(settings)
    monkeypatch.setenv("TT_MAX_RUNS", "5")
    monkeypatch.setenv("TT_TRAIN_SLOTS", "4")
    other = Settings()
    monkeypatch.setattr(up_record, "owner", lambda settings: Owner(1, "somebody", "http://x", "its token"))
    file = settings.home / "dagster" / "dagster.yaml"
    place_instance_file(other)
    assert file.read_text() == shared_file("dagster.yaml").read_text()
    with dg.DagsterInstance.ephemeral() as instance:
        limit_pools(instance.event_log_storage, other)
        assert list(instance.event_log_storage.get_pool_limits()) == []
        monkeypatch.setenv("TT_SERVED_BY", "its token")  # a process that the other one started
        limit_pools(instance.event_log_storage, other)
        assert {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()} == {
            "ibkr": 1,
            "training": 4,
        }
    place_instance_file(other)
    assert file.read_text() == instance_file(other)


def test_every_launcher_but_the_local_one_has_an_extra() -> None:
    assert set(subject.EXTRAS) == set(RunLauncherName) - {RunLauncherName.LOCAL}


def test_what_people_look_at_lies_in_the_folder_that_all_machines_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tt_assets.runtime.platform import environment

    own = Settings()
    assert environment(own)["TT_DAGSTER_LOGS"] == str(own.home / "dagster" / "logs")
    assert own.shown == own.home
    monkeypatch.setenv("TT_SHARED_FOLDER", str(tmp_path / "all"))
    shared = Settings()
    assert environment(shared)["TT_DAGSTER_LOGS"] == str(tmp_path / "all" / "dagster" / "logs")
    assert shared.shown == tmp_path / "all"
    assert environment(shared)["DAGSTER_HOME"] == str(own.home / "dagster")
