"""The chart of deploy/, rendered and held against Kubernetes' schemas offline, down to the Job that a run becomes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml

from tt_assets.automation import MARKET_JOB
from tt_assets.runs._dagster import code_origin, job_origin
from tt_assets.runtime.instance_file import LITTLE, instance_file
from tt_assets.settings import RunLauncherName, Settings, checkout
from tt_assets.settings.variables import variables
from tt_assets.web.hosts import Hosts
from tt_assets_tests.conftest import need_cluster
from tt_assets_tests.dagster_runs import current_definitions

helm, kubernetes_validate, dagster_k8s = need_cluster("helm_python", "kubernetes_validate", "dagster_k8s")

TOP = checkout()
pytestmark = pytest.mark.skipif(TOP is None, reason="deploy/ is in a checkout")
CHART = (TOP or Path()) / "deploy" / "chart"
KUBERNETES = "1.31"
"""The oldest version that it is held against; fields it uses are older still."""
IMAGE = {"repository": "registry.example/tt-assets", "tag": "1.2.3"}
FULL = {
    "image": IMAGE | {"pullSecrets": ["pull"]},
    "secret": "mine",
    "settings": {"TT_BARS_PATH": "/bars", "TT_SEEDS": "2"},
    "claims": {"bars": "bars", "shared": "shown"},
    "runs": {"atOnce": 7, "trainAtOnce": 3, "nodeSelector": {"pool": "work"}, "tolerations": [{"operator": "Exists"}]},
    "up": {"nodeSelector": {"pool": "web"}, "tolerations": [{"operator": "Exists"}]},
}


def rendered(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The resources of a release with `values`."""
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(dict(values), name="demo", namespace="trading")
    documents = [document for text in files.values() for document in yaml.safe_load_all(text)]
    return [document for document in documents if document]


def one(resources: list[dict[str, Any]], kind: str, ending: str = "") -> dict[str, Any]:
    (found,) = [each for each in resources if each["kind"] == kind and each["metadata"]["name"].endswith(ending)]
    return found


@pytest.fixture(params=["least", "full"])
def resources(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The release with nothing but an image, and with everything."""
    return rendered({"image": IMAGE} if request.param == "least" else FULL)


def test_every_resource_is_what_kubernetes_knows(resources: list[dict[str, Any]]) -> None:
    assert {each["kind"] for each in resources} == {
        *("ConfigMap", "Deployment", "Role", "RoleBinding", "Service", "ServiceAccount"),
    }
    for each in resources:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_helm_finds_nothing_wrong() -> None:
    assert [found for found in helm.lint(str(CHART), {"image": IMAGE}) if "ERROR" in json.dumps(found)] == []


def test_without_an_image_it_says_so() -> None:
    with pytest.raises(Exception, match=r"image\.repository"):
        rendered({})


def test_there_is_one_guarded_ui_with_probes_resources_and_no_rights_of_root(resources: list[dict[str, Any]]) -> None:
    deployment = one(resources, "Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][0] == "up"  # our own, behind the guard; never a bare webserver
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert container["resources"]["requests"]
    assert container["resources"]["limits"]["memory"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/home/tt", "/tmp", "/etc/tt"} <= mounted
    named = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == named


def test_a_selector_finds_the_pod_and_the_service_finds_it_too(resources: list[dict[str, Any]]) -> None:
    deployment = one(resources, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    assert deployment["selector"]["matchLabels"].items() <= labels
    service = one(resources, "Service")["spec"]
    assert service["selector"].items() <= labels
    (port,) = deployment["template"]["spec"]["containers"][0]["ports"]
    assert service["ports"][0]["targetPort"] == port["name"]


def test_secrets_are_named_and_never_written(resources: list[dict[str, Any]]) -> None:
    assert "Secret" not in {each["kind"] for each in resources}
    settings = one(resources, "ConfigMap", "-settings")["data"]
    secret = {variable.name for variable in variables() if variable.secret}
    assert secret >= {"TT_DATABASE_URL", "TT_UI_TOKEN"}
    assert not secret & settings.keys()


def test_every_setting_of_the_chart_is_one_of_ours() -> None:
    settings = one(rendered(FULL), "ConfigMap", "-settings")["data"]
    known = {variable.name for variable in variables()}
    assert {name for name in settings if name.startswith("TT_")} <= known
    assert settings["TT_MAX_RUNS"] == "7"
    assert settings["TT_SHARED_FOLDER"] == "/shared"
    assert settings["TT_SEEDS"] == "2"


def test_a_claim_with_bars_is_what_is_loaded_unless_another_place_in_it_is_named() -> None:
    def bars(**values: Any) -> str | None:
        found = one(rendered({"image": IMAGE, **values}), "ConfigMap", "-settings")["data"].get("TT_BARS_PATH")
        return str(found) if found else None

    assert bars() is None
    assert bars(claims={"bars": "mine"}) == "/bars"
    assert bars(claims={"bars": "mine"}, settings={"TT_BARS_PATH": "/bars/daily"}) == "/bars/daily"


def test_numbers_reach_the_platform_as_they_were_written() -> None:
    written = {
        "TT_TRAIN_STEPS": 2_000_000,
        "TT_INITIAL_CASH": 12_345_678.5,
        "TT_COMMISSION_BPS": 0.00001,
        "TT_AUTOMATION": False,
        "TT_START_DATE": "2011-01-03",
        "TT_BASELINES": ["cash", "random"],
    }
    resources = rendered({"image": IMAGE, "settings": written, "runs": {"keptFor": 2_592_000, "atOnce": 1_000_000}})
    found = one(resources, "ConfigMap", "-settings")["data"]
    assert found["TT_TRAIN_STEPS"] == "2000000"
    assert found["TT_MAX_RUNS"] == "1000000"
    assert float(found["TT_INITIAL_CASH"]) == 12_345_678.5
    assert float(found["TT_COMMISSION_BPS"]) == 0.00001
    assert found["TT_AUTOMATION"] == "false"
    assert found["TT_START_DATE"] == "2011-01-03"
    assert found["TT_BASELINES"] == "cash,random"
    launcher = yaml.safe_load(one(resources, "ConfigMap", "-launcher")["data"]["launcher.yaml"])
    assert launcher["run_k8s_config"]["job_spec_config"]["ttl_seconds_after_finished"] == 2_592_000


def test_the_documented_way_to_the_ui_leads_there() -> None:
    page = (CHART.parents[1] / "docs" / "scaling.md").read_text("utf-8")
    ((service, here, there, host),) = re.findall(r"port-forward svc/(\S+) (\d+):(\d+).*then http://(\S+)", page)
    made = one(rendered({"image": IMAGE}), "Service")
    assert (made["metadata"]["name"], made["spec"]["ports"][0]["port"]) == (service, int(there))
    assert host == f"localhost:{here}"
    assert host in Hosts.of("0.0.0.0")  # what the pod listens on


def test_jobs_may_be_made_by_the_ui_and_by_nobody_else(resources: list[dict[str, Any]]) -> None:
    (subject,) = one(resources, "RoleBinding")["subjects"]
    account = one(resources, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    assert subject == {"kind": "ServiceAccount", "name": account, "namespace": "trading"}
    assert one(resources, "ServiceAccount", "-runs")["automountServiceAccountToken"] is False
    rules = {resource: rule["verbs"] for rule in one(resources, "Role")["rules"] for resource in rule["resources"]}
    assert "create" in rules["jobs"]
    assert "create" not in rules["pods"]


class Jobs:
    """Stands in for the API of Kubernetes; keeps what it is to make."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def create_namespaced_job(self, body: Any, namespace: str, **_: Any) -> None:
        """Keep the Job."""
        self.made.append((body, namespace))


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What a run becomes with the launcher of a rendered chart: the Job as Kubernetes would get it."""
    from dagster_k8s import launcher as module
    from kubernetes.client import ApiClient

    monkeypatch.setattr(module, "load_kubernetes_config", lambda **_: None)
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:

        def job(values: Mapping[str, Any], **tags: str) -> tuple[dict[str, Any], str]:
            config = tmp_path / "launcher.yaml"
            config.write_text(one(rendered(values), "ConfigMap", "-launcher")["data"]["launcher.yaml"])
            settings = Settings(database_url="postgresql://me@db.example/tt", run_launcher="k8s", k8s_launcher=config)
            said = yaml.safe_load(instance_file(settings))["run_launcher"]
            assert (said["module"], said["class"]) == ("dagster_k8s", "K8sRunLauncher")
            api = Jobs()
            checked = dagster_k8s.K8sRunLauncher.config_type()
            assert set(said["config"]) <= set(checked)
            launcher = dagster_k8s.K8sRunLauncher(
                **said["config"], k8s_client_batch_api=api, k8s_client_core_api=SimpleNamespace()
            )
            launcher.register_instance(instance)
            run = instance.create_run_for_job(
                current_definitions().resolve_job_def(MARKET_JOB),
                remote_job_origin=job_origin(MARKET_JOB),
                job_code_origin=code_origin(MARKET_JOB),
                tags=tags,
            )
            launcher.launch_run(SimpleNamespace(dagster_run=run))
            ((body, namespace),) = api.made
            return ApiClient().sanitize_for_serialization(body), namespace

        yield job


@pytest.mark.parametrize("values", [{"image": IMAGE}, FULL], ids=["least", "full"])
def test_a_run_becomes_a_job_that_kubernetes_takes(launched: Any, values: dict[str, Any]) -> None:
    job, namespace = launched(values)
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    assert (job["kind"], namespace) == ("Job", "trading")
    assert job["spec"]["ttlSecondsAfterFinished"] == 86_400
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "registry.example/tt-assets:1.2.3"
    assert container["args"][:3] == ["dagster", "api", "execute_run"]
    assert {"name": "TT_WORKER", "value": "true"} in container["env"]
    assert {"configMapRef": {"name": "demo-tt-settings"}} in container["envFrom"]
    secret = values.get("secret", "tt-assets")
    assert {"secretRef": {"name": secret}} in container["envFrom"]
    assert container["resources"]["limits"]["memory"] == "3Gi"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["serviceAccountName"] == "demo-tt-runs"
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}


def test_what_a_person_chooses_for_runs_reaches_the_job(launched: Any) -> None:
    job, _ = launched(FULL)
    pod = job["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "work"}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["/bars"]["readOnly"]
    assert "/shared" in mounts


def test_a_run_that_waits_for_others_leaves_them_the_processor(launched: Any) -> None:
    job, _ = launched(FULL, **LITTLE[RunLauncherName.K8S])
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"] == {"cpu": "10m", "memory": "1Gi"}
    assert container["resources"]["limits"]["memory"] == "3Gi"
    assert container["securityContext"]["readOnlyRootFilesystem"]
