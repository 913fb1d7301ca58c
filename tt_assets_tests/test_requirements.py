"""The lists of `requirements/` are complete, hashed and what setup.py asks for; no licence among them is unknown."""

from __future__ import annotations

import re
import runpy
from unittest.mock import patch

import pytest
from packaging.requirements import Requirement

from tt_assets_tests.requirement_lists import REQUIREMENTS, licences, normalised, pinned

LISTS = ("runtime", "test", "cluster", "tools")
REFUSED = re.compile(r"(?<!L)GPL|Affero|AGPL|Commons Clause|Non-?Commercial", re.IGNORECASE)


def asked_for() -> dict[str, list[Requirement]]:
    """Requirements of setup.py: of the package, of its tests, and of runs on several machines."""
    with patch("setuptools.setup") as setup:
        runpy.run_path(str(REQUIREMENTS.parent / "setup.py"))
    said = setup.call_args.kwargs
    runtime = [Requirement(line) for line in said["install_requires"]]
    extras = {name: [Requirement(line) for line in lines] for name, lines in said["extras_require"].items()}
    test = runtime + extras["test"]
    return {"runtime": runtime, "test": test, "cluster": test + extras["ray"] + extras["test-deploy"]}


@pytest.mark.parametrize("name", ["runtime", "test", "cluster"])
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


def test_what_is_left_out_is_not_in_the_lists() -> None:
    for package in ("tensorflow", "triton", "keras", "tensorboard"):
        assert package not in pinned("cluster")


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
