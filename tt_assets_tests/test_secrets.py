"""No secret stands in a file of the repository or in its history; each promise of SECURITY.md has the test it names."""

from __future__ import annotations

import ast
import re
import subprocess

import pytest

from tt_assets_tests.docs.pages import TOP

FORMS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "key of a cloud": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}\b",
    "token of a forge": r"\b(?:ghp|gho|ghu|ghs|ghr)_[0-9A-Za-z]{36}\b|\bgithub_pat_\w{60,}|\bglpat-[\w-]{20}\b",
    "token of a registry": r"\bpypi-[\w-]{80,}|\bnpm_[0-9A-Za-z]{36}\b",
    "token of a messenger": r"\bxox[abprs]-[0-9A-Za-z-]{20,}|hooks\.slack\.com/services/T\w{8,}/B\w{8,}/\w{20,}",
    "signed token": r"\beyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{20,}",
}
SECRET = re.compile("|".join(f"(?P<form{index}>{form})" for index, form in enumerate(FORMS.values())))


def found_in(text: str) -> list[str]:
    """Forms of secrets in `text`; not the secrets, which would then be in a log."""
    names = list(FORMS)
    return [names[int(match.lastgroup[4:])] for match in SECRET.finditer(text) if match.lastgroup]


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "xoxb-" + "1" * 24,
        "eyJ" + "a" * 30 + ".eyJ" + "b" * 30 + "." + "c" * 30,
    ],
)
def test_a_secret_would_be_found(text: str) -> None:
    assert found_in(f"before {text} after")


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-c", "safe.directory=*", *arguments], cwd=TOP, capture_output=True, text=True, errors="replace"
    ).stdout


def test_no_secret_is_in_the_files_or_in_their_history() -> None:
    if not (TOP / ".git").exists():
        pytest.skip("not a clone, so there is no history")
    names = git("ls-files").splitlines()
    assert names
    assert {name for name in names if found_in((TOP / name).read_text("utf-8", errors="replace"))} == set()
    assert found_in(git("log", "--all", "--unified=0", "--patch", "--no-color")) == []
    assert [name for name in names if re.search(r"(^|/)(\.env|id_[a-z0-9]+|.*\.(pem|key|p12|pfx))$", name)] == []


def test_every_promise_names_a_test_there_is() -> None:
    named = re.findall(r"`(tt_assets_tests/[\w/]+\.py)::(\w+)`", (TOP / "SECURITY.md").read_text("utf-8"))
    assert len(named) >= 10
    for file, test in named:
        tree = ast.parse((TOP / file).read_text("utf-8"))
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}::{test}"
