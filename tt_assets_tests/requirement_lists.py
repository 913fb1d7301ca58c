"""What `requirements/` says: the pinned packages, and the licence each one states about itself."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[1] / "requirements"

STATED_ELSEWHERE = {
    "ta-lib": "BSD-2-Clause",  # in the LICENSE of its sources; the wheel's metadata has none
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",  # a name that only brings NVIDIA's libraries, no files of its own
}
"""Licences of packages whose metadata does not name one."""


def pinned(name: str) -> dict[str, str]:
    """Package and version of every line of the list `name`, names as they are normalised."""
    text = (REQUIREMENTS / f"{name}.txt").read_text("utf-8")
    lines = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", text, re.MULTILINE)
    return {normalised(package): version for package, version in lines}


def normalised(package: str) -> str:
    """The one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", package).lower()


def stated_licence(package: str) -> str:
    """The licence in the installed package's metadata; empty where it states none.

    Raises importlib.metadata.PackageNotFoundError where it is not installed.
    """
    metadata = distribution(package).metadata
    classified = [
        line.rsplit(" :: ", 1)[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")
    ]
    first_line = (metadata.get("License") or "").strip().split("\n")[0]
    stated = metadata.get("License-Expression") or "; ".join(classified) or first_line[:60]
    return stated or STATED_ELSEWHERE.get(normalised(package), "")


def licences() -> dict[str, str]:
    """Licence of every package of the lists, by package."""
    return {package: stated_licence(package) for package in sorted(pinned("test"))}
