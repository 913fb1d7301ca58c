"""The surface that other people's code leans on, read from the source: what has to say what it takes and gives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeGuard

from tt_assets_tests.docs.pages import TOP

PACKAGE = TOP / "tt_assets"

SURFACE = (
    # what `tt_assets` exports
    "population.py",
    "notebook/*.py",
    "testing.py",
    "environments.py",
    # what a plug-in is held to
    "plugins.py",
    "automation/alert_desk.py",
    "automation/alerts.py",
    "market/*.py",
    "research/*.py",
    "trading/rules/*.py",
    # stores
    "postgres/*.py",
    "runs/io_managers.py",
    "runs/market_reader.py",
    "runs/slices_read.py",
    "grid/*.py",
    # learners, simulator, books, judging
    "trading/*.py",
    "trading/agents/*.py",
    "trading/engines/*.py",
    "trading/episodes/*.py",
    "trading/judging/*.py",
)
"""Modules of the surface, below the package."""

SECTION = re.compile(r"^(?P<title>[A-Z][a-z]+)\n-{3,}$", re.MULTILINE)
ENTRY = re.compile(r"(?:^|[.;] )(?P<names>\*{0,2}[a-z_]\w*(?:, \*{0,2}[a-z_]\w*)*) : ")
ALONE = re.compile(r"^\*{0,2}[a-z_]\w*(?:, \*{0,2}[a-z_]\w*)*$")
SHAPED = re.compile(r"Floats|Booleans|Actions|Array|DataFrame|Series|Index|tuple|dict|Mapping|float|None|Any")
"""Answers whose type does not say what they hold: shapes, units, order, or what None stands for."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Definition:
    """One public class, function or method: where it stands, what its signature names and what its docstring says."""

    place: str
    node: ast.ClassDef | Function
    parameters: tuple[str, ...]
    documented: frozenset[str]
    """Fields that a docstring of their own describes."""
    answer: str
    """The annotation of what is returned; empty for a class."""
    raised: frozenset[str]

    @property
    def sections(self) -> dict[str, str]:
        text = ast.get_docstring(self.node) or ""
        if isinstance(self.node, ast.ClassDef):
            for child in self.node.body:
                if isinstance(child, Function) and child.name == "__init__":
                    text += "\n\n" + (ast.get_docstring(child) or "")
        starts = list(SECTION.finditer(text))
        ends = [*[match.start() for match in starts], len(text)][1:]
        return {match["title"]: text[match.end() : end] for match, end in zip(starts, ends, strict=True)}

    @property
    def owes_returns(self) -> bool:
        """Whether the type alone leaves open what is returned; one parameter leaves a summary that says it."""
        return len(self.parameters) > 1 and self.answer != "None" and bool(SHAPED.search(self.answer))

    def named_in(self, *titles: str) -> list[str]:
        """The names that the entries of these sections are of, in their order."""
        lines = [line for title in titles for line in self.sections.get(title, "").splitlines()]
        groups = []
        for line in lines:
            if not line.startswith(" "):
                groups += [line] if ALONE.match(line) else [match["names"] for match in ENTRY.finditer(line)]
        return [name.lstrip("*") for group in groups for name in group.split(", ")]

    def findings(self) -> Iterator[str]:
        """What the docstring leaves to be guessed."""
        if not ast.get_docstring(self.node):
            yield "no docstring"
            return
        named = [name for name in self.named_in("Parameters", "Attributes") if name in self.parameters]
        expected = [name for name in self.parameters if name not in self.documented]
        if (len(self.parameters) > 1 or "Parameters" in self.sections) and named != expected:
            absent = [name for name in expected if name not in named]
            yield f"not described: {', '.join(absent)}" if absent else f"in another order: {', '.join(named)}"
        strangers = [name for name in self.named_in("Parameters") if name not in self.parameters]
        if strangers:
            yield f"not a parameter: {', '.join(strangers)}"
        if self.owes_returns and not {"Returns", "Yields"} & self.sections.keys():
            yield f"no Returns: {self.answer}"
        said = set(re.findall(r"\w+", self.sections.get("Raises", "")))
        if unsaid := sorted(self.raised - said):
            yield f"no Raises: {', '.join(unsaid)}"


def definitions() -> list[Definition]:
    """Everything public of the surface's modules, in the order of the source."""
    return [found for path in modules() for found in of_module(path)]


def modules() -> list[Path]:
    """The files of the surface."""
    return sorted({path for pattern in SURFACE for path in PACKAGE.glob(pattern)})


def of_module(path: Path, place: str = "") -> Iterator[Definition]:
    """The public definitions of one file; what overrides a method of a base class is described there."""
    place = place or path.relative_to(TOP).as_posix()
    for node in parsed(path).body:
        if is_public(node) and not made_a_plugin(node):
            yield of_function(f"{place} {node.name}", node)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if not constructed_as_base(node):
                yield of_class(f"{place} {node.name}", node)
            for child in node.body:
                if is_public(child) and not described_elsewhere(node, child):
                    yield of_function(f"{place} {node.name}.{child.name}", child)


def is_public(node: ast.AST) -> TypeGuard[Function]:
    return isinstance(node, Function) and not node.name.startswith("_")


def made_a_plugin(node: Function) -> bool:
    """Whether `@feature` or `@signal` makes something else of it, of which the contract says what it takes and gives.

    Its source, docstring included, is also its version: what was computed with it would be out of date.
    """
    return any(
        name_of(each.func) in {"feature", "signal"} for each in node.decorator_list if isinstance(each, ast.Call)
    )


def constructed_as_base(node: ast.ClassDef) -> bool:
    """Whether it is made of the same arguments as a class of ours that it derives from."""
    bases = [classes()[name_of(base)] for base in node.bases if name_of(base) in classes()]
    made = [[ast.unparse(child.args) for child in one.body if is_constructor(child)] for one in (node, *bases)]
    return bool(made[0]) and made[0] in made[1:]


def described_elsewhere(owner: ast.ClassDef, method: Function) -> bool:
    """Whether a class it derives from, a library's too, or a protocol of ours says what the method takes and gives."""
    bases = {name_of(base) for base in owner.bases} - {"ABC", "Protocol", "Generic", "NamedTuple", "BaseModel", "Enum"}
    if any(base not in classes() or method.name in methods_of(base) for base in bases):
        return True
    return "Protocol" not in map(name_of, owner.bases) and ast.unparse(method.args) in protocols().get(method.name, ())


def of_function(place: str, node: Function) -> Definition:
    arguments = node.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
    names += [arguments.vararg.arg] if arguments.vararg else []
    names += [each.arg for each in arguments.kwonlyargs]
    names += [arguments.kwarg.arg] if arguments.kwarg else []
    own = tuple(name for name in names if name not in {"self", "cls"} and not name.startswith("_"))
    answer = ast.unparse(node.returns) if node.returns else ""
    return Definition(place, node, own, frozenset(), answer, raised_by(node))


def of_class(place: str, node: ast.ClassDef) -> Definition:
    constructors = [child for child in node.body if is_constructor(child)]
    if constructors:
        constructor = constructors[0]
        assert isinstance(constructor, Function)
        taken = of_function(place, constructor)
        return Definition(place, node, taken.parameters, frozenset(), "", taken.raised)
    fields, documented = [], set()
    for child, after in zip(node.body, [*node.body[1:], ast.Pass()], strict=True):
        if isinstance(child, ast.AnnAssign) and is_field(child) and has_fields(node):
            assert isinstance(child.target, ast.Name)
            fields.append(child.target.id)
            if "description=" in ast.unparse(child) or is_text(after):
                documented.add(child.target.id)
    checks = [child for child in node.body if isinstance(child, Function) and child.name == "__post_init__"]
    raised = frozenset(name for check in checks for name in raised_by(check))
    return Definition(place, node, tuple(fields), frozenset(documented), "", raised)


def has_fields(node: ast.ClassDef) -> bool:
    """Whether its annotations make its constructor: dataclasses, named tuples, models of pydantic."""
    made = {name_of(each.func if isinstance(each, ast.Call) else each) for each in node.decorator_list}
    return bool(made & {"dataclass"} or {name_of(base) for base in node.bases} & {"NamedTuple", "BaseModel"})


def is_constructor(child: ast.AST) -> bool:
    return isinstance(child, Function) and child.name == "__init__"


def is_field(child: ast.AnnAssign) -> bool:
    name, kind = ast.unparse(child.target), ast.unparse(child.annotation)
    return not name.startswith("_") and "ClassVar" not in kind and "init=False" not in ast.unparse(child)


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def raised_by(node: Function) -> frozenset[str]:
    """Exceptions by name that the function itself raises; a bare `raise` and what a call makes are its callees'."""
    found = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Raise) and child.exc is not None:
            name = name_of(child.exc.func if isinstance(child.exc, ast.Call) else child.exc)
            if name[:1].isupper() and not name.isupper() and name != "NotImplementedError":
                found.add(name)
    return frozenset(found)


def name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def classes() -> dict[str, ast.ClassDef]:
    """Every class of the package by name."""
    trees = [parsed(path) for path in PACKAGE.rglob("*.py")]
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}


@cache
def protocols() -> dict[str, list[str]]:
    """The methods of every protocol of the package: the arguments that bear a name."""
    found: dict[str, list[str]] = {}
    for node in classes().values():
        for child in node.body:
            if isinstance(child, Function) and "Protocol" in map(name_of, node.bases):
                found.setdefault(child.name, []).append(ast.unparse(child.args))
    return found


@cache
def methods_of(name: str) -> frozenset[str]:
    """What a class of ours and those it derives from call their methods."""
    node = classes().get(name)
    if node is None:
        return frozenset()
    own = {child.name for child in node.body if isinstance(child, Function)}
    # A class may be called as the library's that it derives from.
    return frozenset(own.union(*(methods_of(name_of(base)) for base in node.bases if name_of(base) != name)))
