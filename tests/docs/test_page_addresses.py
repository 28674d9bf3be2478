"""Whoever installed the package with pip has no docs/: what the package says names a page by its address."""

import ast
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import reliable_email
from reliable_email.diagnosis.verdict import Health
from reliable_email.management.screens.outbox_view import health_lines
from reliable_email.monitoring.documentation import DOCUMENTATION, page_address
from reliable_email.monitoring.findings import Finding, Topic
from reliable_email.monitoring.health import SiteHealth
from tests.docs.pages import DOCS

ROOT = Path(reliable_email.__file__).parent
PROJECT = ROOT.parents[1]
# What a path of the repository looks like, and what the pages' folders are called.
_OF_THE_REPOSITORY = re.compile(r"(?<![\w./-])docs/|(?:how-to|reference|explanation)/|\w\.md\b|\bpage on\b")


def spoken(path: Path) -> Iterator[str]:
    """What a file may say to people: strings outside of docstrings, and all of what is not Python."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        yield from (line for line in text.splitlines() if not line.lstrip().startswith("#"))
        return
    tree = ast.parse(text)
    quiet = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node) is not None
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in quiet:
            yield node.value


def test_no_text_names_a_page_by_its_place_in_the_repository() -> None:
    """In commands, findings, checks, errors, templates, rules, providers, scripts and the German catalogue."""
    files = [one for one in ROOT.rglob("*") if one.suffix in {".py", ".html", ".toml", ".js", ".po"}]
    assert len(files) > 250
    asked_by = re.compile(r"page_address\(\s*f?\"[^\"]*\"\s*\)")
    found = []
    for path in files:
        allowed = {f"how-to/{one}" for one in ("growth", "")} if asked_by.search(path.read_text("utf-8")) else set()
        found += [
            f"{path.relative_to(ROOT)}: {one}"
            for one in spoken(path)
            if _OF_THE_REPOSITORY.search(one) and "https://" not in one and one not in allowed
        ]
    assert found == []


def test_the_address_is_the_projects_own() -> None:
    """The first page of [project.urls], and each page beside it is there."""
    urls = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    assert page_address("index") == urls["Documentation"]
    assert (DOCS / "how-to/growth.md").is_file()


@pytest.mark.parametrize("topic", [one for one in Topic if one is not Topic.NONE])
def test_a_finding_in_the_terminal_names_its_runbooks_address(topic: Topic) -> None:
    """A terminal makes a link of it."""
    finding = Finding(verdict=Health.DEGRADED, text="it is so", topic=topic, name="gmail")
    health = SiteHealth(at=datetime.now(UTC), verdict=Health.DEGRADED, findings=(finding,))
    told = list(health_lines(health))
    assert [one for one in told if "Runbook" in one] == [f"  Runbook: {topic.runbook}"]
    assert topic.runbook.startswith(DOCUMENTATION)
