"""Every public definition that others lean on says what it takes, what it gives and what it raises."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tt_assets_tests.docs.public_surface import PACKAGE, SURFACE, definitions, modules, of_module


def findings(path, code):
    path.write_text(dedent(code), "utf-8")
    return [(found.node.name, finding) for found in of_module(path, path.name) for finding in found.findings()]


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_the_public_surface_describes_its_parameters(path):
    assert [f"{found.place}: {finding}" for found in of_module(path) for finding in found.findings()] == []


def test_every_pattern_of_the_surface_finds_modules():
    assert [pattern for pattern in SURFACE if not list(PACKAGE.glob(pattern))] == []
    assert len(definitions()) > 500


def test_a_docstring_that_leaves_something_open_is_found(tmp_path):
    assert findings(
        tmp_path / "module.py",
        '''
        def mean(values, sessions) -> pd.DataFrame:
            """Mean over `sessions`."""

        def swapped(values, sessions) -> None:
            """Both.

            Parameters
            ----------
            sessions : how many.
            values : of what.
            """

        def renamed(values) -> None:
            """One.

            Parameters
            ----------
            rows : as it was called before.
            """

        def refuse(values) -> None:
            """Nothing is given back."""
            raise UserError("no")

        @dataclass
        class Pair:
            """Two."""

            one: int
            other: int

        class Holder:
            """Made of two.

            Parameters
            ----------
            one : the first.
            """

            def __init__(self, one, other):
                pass
        ''',
    ) == [
        ("mean", "not described: values, sessions"),
        ("mean", "no Returns: pd.DataFrame"),
        ("swapped", "in another order: sessions, values"),
        ("renamed", "not described: values"),
        ("renamed", "not a parameter: rows"),
        ("refuse", "no Raises: UserError"),
        ("Pair", "not described: one, other"),
        ("Holder", "not described: other"),
    ]


def test_what_is_described_once_need_not_be_again(tmp_path):
    assert (
        findings(
            tmp_path / "module.py",
            '''
            @dataclass
            class Pair:
                """Two.

                Parameters
                ----------
                one : the first. other : the second.
                """

                one: int
                other: int
                third: int
                """A field with a docstring of its own."""

            def doubled(values) -> pd.DataFrame:
                """One parameter leaves a summary room to say what it is, and what comes of it: twice its unit."""

            def raised(first, last, *more, **options) -> tuple[int, int]:
                """All kinds.

                Parameters
                ----------
                first, last : both included.
                *more, **options
                    In numpydoc's own form.

                Returns
                -------
                The two.
                """
                raise NotImplementedError

            class Model(CostModel):
                """Of a kind whose base says what its methods take."""

                def commission(self, shares, fill_price) -> Floats:
                    """A dollar an order."""

            @signal(name="mine", lookback=0, inputs=(), method="")
            def mine(bars, features) -> pd.DataFrame:
                """A signal; `Signal` says what it takes and gives."""
            ''',
        )
        == []
    )
