"""What the documents name is there: verbs, their options, and the keys of the files that they show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

import pytest
import yaml
from pydantic import TypeAdapter
from typer.main import get_command

from planner.cli.main import application
from specs.application import Application
from specs.infrastructure import Infrastructure

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*/README.md")])
EVERYWHERE: Final = frozenset({"--help", "--debug", "--version"})
NAME: Final = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*|-[a-z])(?![\w-])")


@cache
def verbs() -> Mapping[tuple[str, ...], frozenset[str]]:
    """The options of each verb, and of each verb below one."""
    found: dict[tuple[str, ...], frozenset[str]] = {}

    def walk(command: Any, path: tuple[str, ...]) -> None:
        found[path] = EVERYWHERE.union(*([*p.opts, *p.secondary_opts] for p in command.params))
        for name, below in getattr(command, "commands", {}).items():
            walk(below, (*path, name))

    walk(get_command(application([])), ())
    return found


def said(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each command in a page, in `code` or on an indented line, with its verb's path."""
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for span in [*spans, *re.findall(r"^ {4,}(?:\$ )?(planner .+)", text, re.MULTILINE)]:
        for part in re.split(r",|\|", span.split(" # ")[0]):
            words = part.split()
            named = words[:1] == ["planner"]
            words = words[1:] if named else words
            path = tuple(words[:2]) if tuple(words[:2]) in verbs() else tuple(words[:1])
            if path in verbs() and path and (named or len(words) > 1):
                yield path, part
            elif named and words and re.fullmatch("[a-z]+", words[0]):
                raise AssertionError(f"there is no verb {words[0]!r}: {part}")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_option_in_the_documents_is_an_option_of_its_verb(page: Path) -> None:
    wrong = [
        f"{part.strip()}: {name}"
        for path, part in said(page.read_text("utf-8"))
        for name in NAME.findall(part)
        if name not in verbs()[path]
    ]
    assert not wrong


def test_the_documents_name_many_options_and_every_verb() -> None:
    """So that what looks for them cannot have become blind."""
    found = [(path, NAME.findall(part)) for page in PAGES for path, part in said(page.read_text("utf-8"))]
    assert sum(len(names) for _, names in found) > 60
    table = {path[0] for path, _ in said((ROOT / "docs" / "command.md").read_text("utf-8"))}
    assert {path[0] for path in verbs() if path} - table == set()


def test_an_option_that_is_not_there_is_seen() -> None:
    ((path, part),) = said("use `planner solve app.yaml --gapp 1`")
    assert set(NAME.findall(part)) - verbs()[path] == {"--gapp"}


def snippets() -> Iterator[tuple[str, dict[str, Any]]]:
    """Indented blocks that are parts of app.yaml or infra.yaml, by page."""
    fields = {*Application.model_fields, *Infrastructure.model_fields}
    for page in PAGES:
        for block in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", page.read_text("utf-8"), re.MULTILINE):
            if (first := re.match(r" {4}(\w+):(?:\s|$)", block.lstrip("\n"))) and first[1] in fields:
                yield page.name, yaml.safe_load(dedent(block))


def test_every_yaml_in_the_documents_is_part_of_a_file_that_parses() -> None:
    found = list(snippets())
    assert {page for page, _ in found} >= {"spec.md", "hub.md", "catalogue.md"}
    for page, block in found:
        for key, value in block.items():
            model = Application if key in Application.model_fields else Infrastructure
            assert key in model.model_fields, (page, key)
            field = model.model_fields[key]
            TypeAdapter(field.rebuild_annotation()).validate_python(value)


def headings(page: Path) -> set[str]:
    """The anchors that a page's headings get where it is shown."""
    titles = re.findall(r"^#+ +(.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_between_the_documents_leads_to_a_file_and_a_heading(page: Path) -> None:
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in headings(target)):
            wrong.append(link)
    assert not wrong
