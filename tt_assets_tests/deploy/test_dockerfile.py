"""The Dockerfile of deploy/, read: what it says is held against the checkout, without Docker."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

from tt_assets.settings import checkout
from tt_assets_tests.requirement_lists import pinned

TOP = checkout() or Path()
pytestmark = pytest.mark.skipif(checkout() is None, reason="deploy/ is in a checkout")


def instructions() -> list[tuple[str, str]]:
    """Each instruction with what follows it; lines that go on are one."""
    text = (TOP / "deploy" / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def of(kind: str) -> list[str]:
    """What follows each instruction of a kind."""
    return [rest for word, rest in instructions() if word == kind]


def installations() -> list[str]:
    """Every command that calls `pip install`."""
    commands = [command.strip() for run in of("RUN") for command in run.split("&&")]
    return [command for command in commands if re.search(r"\bpip3? install\b", command)]


def copied() -> list[str]:
    """Every path of the checkout that is copied by its name."""
    copies = [rest.split() for rest in of("COPY") if not rest.startswith("--from")]
    return [source for words in copies for source in words[:-1] if source != "."]


def excluded(path: str) -> bool:
    """Whether .dockerignore keeps `path`, or a folder that it is in, out of the build."""
    patterns = (TOP / ".dockerignore").read_text("utf-8").split()
    assert not [pattern for pattern in patterns if pattern.startswith(("!", "#"))]
    ways = [str(way) for way in (PurePosixPath(path), *PurePosixPath(path).parents) if str(way) != "."]
    return any(
        fnmatch(way, pattern) or (pattern.startswith("**/") and fnmatch(PurePosixPath(way).name, pattern[3:]))
        for way in ways
        for pattern in patterns
    )


def test_packages_come_from_one_list_whole_and_held_against_its_hashes() -> None:
    lists = [command for command in installations() if re.search(r"(?<!\S)(-r|--requirement)\b", command)]
    assert len(lists) == 1
    assert {"--no-deps", "--require-hashes", "requirements/image.txt"} <= set(lists[0].split())
    assert "--constraint" not in " ".join(installations())


def test_nothing_else_is_fetched_from_an_index() -> None:
    (ours,) = [command for command in installations() if "-r" not in command.split()]
    assert {"--no-deps", "--no-build-isolation", "."} <= set(ours.split())
    # Built by what the list has.
    assert int(pinned("image")["setuptools"].split(".")[0]) >= 77
    assert 'requires = ["setuptools>=77"]' in (TOP / "pyproject.toml").read_text("utf-8")


def test_pip_check_which_misses_what_is_left_out_stops_no_build() -> None:
    assert [run for run in of("RUN") if "pip check" in run] == []


def test_the_list_has_what_runs_as_jobs_need() -> None:
    assert {"dagster-k8s", "kubernetes", "dagster", "psycopg2-binary"} <= pinned("image").keys()


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    assert copied() == ["requirements/image.txt"]
    built_from = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "dagster.yaml", "workspace.yaml", "tt_assets")
    for path in (*copied(), *built_from):
        assert (TOP / path).exists(), path
        assert not excluded(path), path


@pytest.mark.parametrize(
    "path",
    [".env", ".git/config", ".venv/bin/python", ".tools/bin/uv", ".tt/.env", "tt_assets/web/__pycache__/hosts.pyc"],
)
def test_what_is_a_developers_own_stays_out_of_the_image(path: str) -> None:
    assert excluded(path)


def test_runs_find_dagster_and_nobody_is_root() -> None:
    assert any("PATH=/opt/tt/bin:$PATH" in said for said in of("ENV"))
    assert of("USER") == ["10001"]
    assert of("ENTRYPOINT") == ['["tt"]']
