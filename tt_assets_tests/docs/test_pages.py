"""What the pages mention exists: links, files, commands, options, settings, targets of make."""

from __future__ import annotations

import re

import click
import pytest

from tt_assets import environments
from tt_assets.settings.dot_env import ENV_FILE
from tt_assets.settings.variables import variables
from tt_assets_tests.docs.command_pages import walk
from tt_assets_tests.docs.pages import TOP, Page, living_pages, pages

COMMANDS = {context.command_path: command for context, command in walk()}
OPTIONS = {
    path: {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    for path, command in COMMANDS.items()
}
MAKE = set(re.findall(r"^([a-z][a-z-]*):", (TOP / "Makefile").read_text(), re.MULTILINE))
VARIABLES = {variable.name for variable in variables()} | {ENV_FILE}

_TT = re.compile(r"(?:^|\s)tt((?: [a-z][a-z-]*)+)")


def commands_of(code: str) -> list[tuple[str, str]]:
    """The commands in a piece of code, each with what follows it."""
    found = []
    for match in _TT.finditer(code):
        words, path = match[1].split(), "tt"
        while words and isinstance(COMMANDS.get(path), click.Group):
            path = f"{path} {words.pop(0)}"
        found.append((path, code[match.start() :]))
    return found


@pytest.mark.parametrize("page", pages(), ids=str)
def test_every_relative_link_leads_somewhere(page: Page):
    dead = []
    for link in page.links:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        if not target.exists() or (anchor and anchor not in Page(target).anchors):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", living_pages(), ids=str)
def test_every_command_and_option_exists(page: Page):
    unknown = []
    for code in page.code:
        for path, call in commands_of(code):
            if path not in COMMANDS:
                unknown.append(path)
            else:
                unknown += [
                    f"{path} {option}"
                    for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", call)
                    if option not in OPTIONS[path]
                ]
    assert unknown == []


@pytest.mark.parametrize("page", living_pages(), ids=str)
def test_every_setting_exists(page: Page):
    assert set(re.findall(r"\bTT_[A-Z_]*[A-Z]\b", page.text)) - VARIABLES == set()


@pytest.mark.parametrize("page", living_pages(), ids=str)
def test_every_target_of_make_exists(page: Page):
    named = {target for code in page.code for target in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", code)}
    assert named - MAKE == set()


@pytest.mark.parametrize("page", living_pages(), ids=str)
def test_every_file_exists(page: Page):
    named = {word for code in page.code for word in re.findall(r"^(?:tt_assets|tt_assets_tests|docs)/[\w./-]*", code)}
    named -= {environments.ID}  # looks like a file and is a name of Gymnasium's
    assert {name for name in named if not (TOP / name).exists()} == set()


def test_every_page_is_linked_from_another():
    linked = {
        (page.path.parent / link.partition("#")[0]).resolve()
        for page in pages()
        for link in page.links
        if ":" not in link
    }
    assert {str(page) for page in pages() if page.path not in linked} <= {"README.md"}


@pytest.mark.parametrize("page", living_pages(), ids=str)
def test_pages_say_partition(page: Page):
    if page.path.parent.name != "reference":
        assert re.findall(r"\bcells?\b", re.sub(r"`[^`\n]*`", "", page.text)) == []


def test_a_page_names_what_is_not_there(tmp_path):
    page = Page(tmp_path / "page.md")
    page.path.write_text(
        "Run `tt backfil market` or `tt db stop`:\n\n    tt status --cell   # tt nothing\n\n[there](no.md)\n"
    )
    assert [path for code in page.code for path, _ in commands_of(code)] == ["tt status", "tt backfil", "tt db stop"]
    assert page.links == ["no.md"]
