"""The command line in this process: as fast as a function call, with everything it changes put back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tt_assets import cli


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    def is_one_line_of_advice(self) -> bool:
        """Nothing on standard output and one line on standard error, as for a mistake of the user's."""
        return self.code == 2 and self.out == "" and self.err.startswith("tt: ") and self.err.count("\n") == 1


Tt = Callable[..., Answer]


@pytest.fixture
def tt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Tt]:
    """Run `tt` with arguments; keyword arguments are settings."""
    environment, path = dict(os.environ), list(sys.path)

    def run(*arguments: str, **settings: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["tt", *arguments])
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return Answer(int(ended.value.code or 0), told.out, told.err)

    yield run
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
