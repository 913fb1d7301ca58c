"""The lists of `requirements/` are complete, hashed and what setup.py asks for; no licence among them is unknown."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterable
from importlib.metadata import distribution
from unittest.mock import patch

import pytest
from packaging.requirements import Requirement

from tt_assets_tests.conftest import need_cluster
from tt_assets_tests.requirement_lists import REQUIREMENTS, licences, normalised, pinned

LISTS = ("runtime", "test", "cluster", "image", "tools")
LEFT_OUT = ("tensorflow", "triton", "keras", "tensorboard")
REFUSED = re.compile(r"(?<!L)GPL|Affero|AGPL|Commons Clause|Non-?Commercial", re.IGNORECASE)


def asked_for() -> dict[str, list[Requirement]]:
    """Requirements of setup.py: of the package, of its tests, of runs on several machines, and of the image."""
    with patch("setuptools.setup") as setup:
        runpy.run_path(str(REQUIREMENTS.parent / "setup.py"))
    said = setup.call_args.kwargs
    runtime = [Requirement(line) for line in said["install_requires"]]
    extras = {name: [Requirement(line) for line in lines] for name, lines in said["extras_require"].items()}
    test = runtime + extras["test"]
    cluster = test + extras["ray"] + extras["test-deploy"]
    return {"runtime": runtime, "test": test, "cluster": cluster, "image": runtime + extras["k8s"]}


def needed(requirements: Iterable[Requirement]) -> set[str]:
    """Normalised names of all that `requirements` bring here, by what installed packages say, but what is left out."""
    found: set[tuple[str, str]] = set()
    waiting = [(normalised(each.name), extra) for each in requirements for extra in ("", *each.extras)]
    while waiting:
        package, extra = waiting.pop()
        if (package, extra) in found or package in LEFT_OUT:
            continue
        found.add((package, extra))
        for line in distribution(package).requires or []:
            asked = Requirement(line)
            if asked.marker is None or asked.marker.evaluate({"extra": extra}):
                waiting += [(normalised(asked.name), more) for more in ("", *asked.extras)]
    return {package for package, _ in found}


@pytest.mark.parametrize("name", ["runtime", "test", "cluster", "image"])
def test_a_list_has_what_setup_asks_for(name: str) -> None:
    versions = pinned(name)
    for requirement in asked_for()[name]:
        version = versions.get(normalised(requirement.name))
        assert version is not None, f"{requirement} is not in requirements/{name}.txt; run `make lock`"
        assert requirement.specifier.contains(version), f"{requirement} against {version}; run `make lock`"


@pytest.mark.parametrize("name", LISTS)
def test_every_line_is_pinned_with_hashes_and_names_no_address(name: str) -> None:
    text = (REQUIREMENTS / f"{name}.txt").read_text("utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if not entry.startswith("#")]
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[^\]]*\])?==[^\s;]+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert "://" not in text


def test_what_the_tests_run_on_is_what_the_package_runs_on() -> None:
    runtime, test, cluster = pinned("runtime"), pinned("test"), pinned("cluster")
    assert runtime.items() <= test.items() <= cluster.items()
    assert runtime.items() <= pinned("image").items() <= cluster.items()


def test_the_image_lacks_nothing_that_its_packages_ask_for() -> None:
    """It is installed without resolving, so a list with a gap would be found by whoever runs the image."""
    need_cluster("dagster_k8s")
    assert needed(asked_for()["image"]) - pinned("image").keys() == set()


def test_what_is_left_out_is_not_in_the_lists() -> None:
    for package in LEFT_OUT:
        assert package not in pinned("cluster") | pinned("image")


def test_every_licence_is_known_and_none_binds_the_whole() -> None:
    stated = licences()
    assert {package for package, licence in stated.items() if not licence or "UNKNOWN" in licence.upper()} == set()
    assert {package: licence for package, licence in stated.items() if REFUSED.search(licence)} == {}
    # Lesser GPL: used as a library, replaceable by whoever installs.
    assert {package for package, licence in stated.items() if re.search("LGPL|Lesser", licence)} == {
        "psycopg",
        "psycopg-binary",
        "psycopg2-binary",
    }
